// The part of the list of layers that is about state: which kind of values the map shows, and what their colours mean.

import { element } from './dom.js';
import { legendOf } from './state.js';
import { number, t, unit } from './texts.js';

/**
 * @param {object} given
 * @param {ObservedKind[]} given.kinds
 * @param {string | null} given.chosen
 * @param {(kind: string) => string[]} given.marks what a kind's values rest on, in words
 * @param {(kind: string | null) => void} given.onChoose
 */
export function kindChoice({ kinds, chosen, marks, onChoose }) {
  const row = (/** @type {string | null} */ kind, /** @type {Child} */ title, /** @type {Child} */ more) =>
    element(
      'div',
      {},
      element(
        'div',
        { class: 'layer-row' },
        element(
          'label',
          {},
          element('input', {
            type: 'radio', name: 'state-kind', id: `state-${kind ?? 'none'}`, value: kind ?? '', checked: kind === chosen,
            onchange: () => onChoose(kind),
          }),
          title,
        ),
      ),
      more,
    );
  return element(
    'fieldset',
    { class: 'agency state-choice' },
    element('legend', {}, t('state')),
    kinds.map((kind) =>
      row(
        kind.kind,
        [
          element('span', { class: 'layer-title' }, kind.title, unit(kind.unit) && element('span', { class: 'state-unit' }, ` ${unit(kind.unit)}`)),
          marks(kind.kind).map((mark) => element('span', { class: 'mark' }, mark)),
        ],
        kind.kind === chosen && legend(kind),
      ),
    ),
    row(null, element('span', { class: 'layer-title' }, t('state_none')), false),
  );
}

/** @param {ObservedKind} kind */
function legend(kind) {
  const classes = legendOf(kind);
  const [scale, ...others] = kind.scales;
  const sources = new Set(scale ? [scale, ...others.filter(({ name }) => name === scale.name)].map(({ source }) => source) : []);
  return element(
    'div',
    { class: 'layer-more state-legend' },
    element(
      'ul',
      { class: 'legend' },
      classes.map(({ grade, from, to }) =>
        element('li', {}, dot(grade.color), element('span', { class: 'state-class' }, grade.title), element('span', { class: 'state-range' }, range(from, to))),
      ),
      element('li', {}, dot(null), element('span', { class: 'state-class' }, t('state_old'))),
    ),
    [...sources].map((source) => element('p', {}, t('state_source', { source }))),
  );
}

// The sign of a class; hollow and grey for what says nothing of the present.
/** @param {string | null} color */
export function dot(color) {
  const sign = element('span', { class: color ? 'state-dot' : 'state-dot state-dot-old' });
  if (color) sign.style.background = color;
  return element('span', { class: 'swatch', 'aria-hidden': 'true' }, sign);
}

/**
 * @param {number | null} from
 * @param {number | null} to
 */
function range(from, to) {
  if (from === null && to === null) return '';
  if (from === null) return `< ${number(/** @type {number} */ (to))}`;
  return to === null ? `> ${number(from)}` : `${number(from)}–${number(to)}`;
}

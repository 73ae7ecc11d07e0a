// The list of layers: an agency at a time, each layer with its switch, its legend and what it is.

import { element, icon, ICONS } from './dom.js';
import { date, number, t } from './texts.js';

const UNTINTED = '#d9dee1';
const COLORS_IN_SWATCH = 4;
// On a narrow screen the list covers the map, so Escape puts it away.
const SHEET = '(max-width: 640px)';

export class Panel {
  // `onSwitch(collection, shown)` runs when a reader switches a layer.
  /**
   * @param {object} given
   * @param {HTMLElement} given.root
   * @param {HTMLElement} given.button
   * @param {(collection: string, shown: boolean) => void} given.onSwitch
   * @param {string} given.timeZone
   */
  constructor({ root, button, onSwitch, timeZone }) {
    this.root = root;
    this.button = button;
    this.onSwitch = onSwitch;
    this.timeZone = timeZone;
    // What stands above the agencies.
    /** @type {(() => HTMLElement) | null} */
    this.extra = null;
    /** @type {Set<string>} */
    this.unfolded = new Set();
    button.addEventListener('click', () => this.toggle());
    root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && window.matchMedia(SHEET).matches) this.toggle(false);
    });
  }

  /** @param {boolean} open */
  toggle(open = this.root.hidden) {
    this.root.hidden = !open;
    this.button.setAttribute('aria-expanded', String(open));
    const first = /** @type {HTMLElement | null} */ (this.root.querySelector('button, input'));
    if (open) first?.focus({ preventScroll: true });
    else if (this.root.contains(document.activeElement) || document.activeElement === document.body) this.button.focus();
  }

  /**
   * @param {Collection[]} collections
   * @param {Set<string>} shown
   * @param {number} zoom
   */
  render(collections, shown, zoom) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement?.id : '';
    const scrolled = this.root.querySelector('.panel-list')?.scrollTop ?? 0;
    this.button.hidden = false;
    this.button.replaceChildren(icon(...ICONS.layers), element('span', {}, t('layers')));
    const list = element('div', { class: 'panel-list' });
    if (!collections.length) list.append(element('p', { class: 'panel-empty' }, t('no_collections')));
    if (this.extra) list.append(this.extra());
    for (const [title, ofAgency] of byAgency(collections)) {
      // Said once for the agency where it holds for all of its layers.
      const allSample = ofAgency.every((collection) => collection.sample);
      list.append(
        element(
          'fieldset',
          { class: 'agency' },
          element('legend', {}, title, allSample && sampleMark()),
          ofAgency.map((collection) => this.#row(collection, shown, zoom, allSample)),
        ),
      );
    }
    list.append(element('p', { class: 'panel-catalogue' }, catalogueLink('', t('catalogue'))));
    this.root.setAttribute('aria-label', t('layers'));
    this.root.replaceChildren(
      element(
        'div',
        { class: 'sheet-head' },
        element('h2', {}, t('layers')),
        element(
          'button',
          { type: 'button', class: 'icon-button', 'aria-label': t('close_layers'), onclick: () => this.toggle(false) },
          icon(...ICONS.close),
        ),
      ),
      list,
    );
    list.scrollTop = scrolled;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  // Tell which layers the present zoom is too small for.
  /** @param {number} zoom */
  showZoom(zoom) {
    /** @type {NodeListOf<HTMLElement>} */
    const hints = this.root.querySelectorAll('[data-minzoom]');
    for (const hint of hints) {
      hint.hidden = zoom >= Number(hint.dataset.minzoom) - 0.5;
    }
  }

  /**
   * @param {Collection} collection
   * @param {Set<string>} shown
   * @param {number} zoom
   * @param {boolean} markedAbove
   */
  #row(collection, shown, zoom, markedAbove) {
    const { id, title, sample } = collection;
    // Before its features a collection may show how many there are in the cells of a grid.
    const minzoom = (collection.style.cells && collection.rollup?.minzoom) || collection.minzoom;
    const unfolded = this.unfolded.has(id);
    const more = element('div', { class: 'layer-more', id: `more-${id}`, hidden: !unfolded }, this.#details(collection));
    const fold = element(
      'button',
      {
        type: 'button',
        id: `fold-${id}`,
        class: 'icon-button',
        'aria-expanded': String(unfolded),
        'aria-controls': more.id,
        'aria-label': t('details_of', { title }),
        onclick: () => {
          more.hidden = !more.hidden;
          if (!more.hidden) more.scrollIntoView({ block: 'nearest' });
          fold.setAttribute('aria-expanded', String(!more.hidden));
          if (more.hidden) this.unfolded.delete(id);
          else this.unfolded.add(id);
        },
      },
      icon(...ICONS.chevron),
    );
    const box = element('input', {
      type: 'checkbox',
      id: `layer-${id}`,
      'data-layer': id,
      checked: shown.has(id),
      onchange: (event) => this.onSwitch(id, event.target.checked),
    });
    const hint = element('small', { 'data-minzoom': minzoom, hidden: zoom >= minzoom - 0.5 }, t('zoom_to_see'));
    return element(
      'div',
      {},
      element(
        'div',
        { class: 'layer-row' },
        element(
          'label',
          {},
          box,
          swatch(mainColors(collection), shapeOf(collection)),
          element('span', { class: 'layer-title' }, title, hint),
          sample && !markedAbove && sampleMark(),
        ),
        fold,
      ),
      more,
    );
  }

  /** @param {Collection} collection */
  #details(collection) {
    const { description, legend = [], featureCount, published } = collection;
    const facts = featureCount === null ? [] : [t('features', { count: number(featureCount) })];
    if (published) facts.push(t('published', { date: date(published, this.timeZone) }));
    const entries = legend.filter((entry) => entry.label);
    return [
      description && element('p', {}, description),
      entries.length > 0 &&
        element(
          'ul',
          { class: 'legend' },
          entries.map(({ label, color }) => element('li', {}, swatch([color], shapeOf(collection)), label)),
        ),
      element('p', {}, facts.join(' · ')),
      element('p', {}, catalogueLink(`/${encodeURIComponent(collection.id)}`, t('catalogue_entry'))),
    ];
  }
}

/**
 * @param {string} entry
 * @param {string} text
 */
function catalogueLink(entry, text) {
  return element('a', { href: `/catalogue${entry}?f=html&lang=${document.documentElement.lang}` }, text);
}

function sampleMark() {
  return element('span', { class: 'mark' }, t('sample_mark'));
}

/** @param {Collection[]} collections */
function byAgency(collections) {
  /** @type {Map<string, [string, Collection[]]>} */
  const agencies = new Map();
  for (const collection of collections) {
    const { name, title } = collection.agency;
    const known = agencies.get(name);
    if (known) known[1].push(collection);
    else agencies.set(name, [title, [collection]]);
  }
  return agencies.values();
}

// A layer of one colour shows it; one with a legend shows the first few of its colours side by side.
/** @param {Collection} collection */
function mainColors({ legend = [], style }) {
  const drawn = style.fill ?? style.circle?.color ?? style.line?.color;
  if (typeof drawn === 'string') return [drawn];
  const colors = [...new Set(legend.map((entry) => entry.color))];
  return colors.length ? colors.slice(0, COLORS_IN_SWATCH) : [UNTINTED];
}

/** @param {Collection} collection */
function shapeOf({ geometry, style }) {
  if (geometry === 'polygon' && !style.fill) return 'outline';
  return { line: 'line', point: 'dot', polygon: 'area' }[geometry];
}

/**
 * @param {string[]} colors
 * @param {string} shape
 */
function swatch(colors, shape) {
  const sign = element('span', { class: `sign sign-${shape}` });
  const known = colors.filter((color) => /^#[0-9a-f]{6}$/i.test(color ?? ''));
  if (shape === 'outline') sign.style.borderColor = known[0] ?? UNTINTED;
  else sign.style.background = bands(known);
  return element('span', { class: 'swatch', 'aria-hidden': 'true' }, sign);
}

/** @param {string[]} colors */
function bands(colors) {
  const edge = (/** @type {number} */ i) => `${(100 * i) / colors.length}%`;
  const stops = colors.map((color, i) => `${color} ${edge(i)} ${edge(i + 1)}`);
  return stops.length > 1 ? `linear-gradient(90deg, ${stops.join(', ')})` : (colors[0] ?? UNTINTED);
}

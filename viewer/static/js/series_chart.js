// A small chart of a stream's last day: what lies where (pure), and the drawing of it with a table that says the same.

import { element } from './dom.js';

const WIDTH = 320;
const HEIGHT = 120;
const MARGIN = { top: 8, right: 8, bottom: 18, left: 40 };
const TICKS = 3;
const SVG = 'http://www.w3.org/2000/svg';

// Lines between buckets that follow each other, dots where one stands alone; a bucket without a value ends a line.
/**
 * @param {SeriesBucket[]} buckets
 * @returns {SeriesBucket[][]}
 */
export function unbroken(buckets) {
  /** @type {SeriesBucket[][]} */
  const runs = [];
  let open = false;
  for (const bucket of buckets) {
    if (bucket.value === null) open = false;
    else if (open) runs[runs.length - 1].push(bucket);
    else {
      runs.push([bucket]);
      open = true;
    }
  }
  return runs;
}

// -> { low, high, ticks }: round numbers that hold all values; from zero where none is negative and zero is near.
/** @param {number[]} values */
export function rangeOf(values) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const from = least >= 0 && least < most / 2 ? 0 : least;
  const spread = most - from || Math.abs(most) || 1;
  const power = 10 ** Math.floor(Math.log10(spread / TICKS));
  const step = ([1, 2, 5].find((one) => one * power * TICKS >= spread) ?? 10) * power;
  const low = Math.floor(from / step) * step;
  const high = Math.max(low + step, Math.ceil(most / step) * step);
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
  return { low, high, ticks };
}

// The classes that a range of values meets: [from, to, colour].
/**
 * @param {{ limits: number[], grades: { color: string }[] } | null} scale
 * @param {number} low
 * @param {number} high
 * @returns {[number, number, string][]}
 */
export function bandsOf(scale, low, high) {
  if (!scale) return [];
  const edges = [-Infinity, ...scale.limits, Infinity];
  return scale.grades
    .map(({ color }, i) => /** @type {[number, number, string]} */ ([Math.max(low, edges[i]), Math.min(high, edges[i + 1]), color]))
    .filter(([from, to]) => to > from);
}

/**
 * @param {object} given
 * @param {Series} given.series
 * @param {number} given.from seconds since 1970
 * @param {number} given.to
 * @param {string} given.title
 * @param {string} given.description
 * @param {(value: number) => string} given.write
 * @param {{ at: number, text: string }[]} given.hours
 */
export function drawChart({ series, from, to, title, description, write, hours }) {
  const values = series.buckets.flatMap(({ value }) => (value === null ? [] : [value]));
  const { low, high, ticks } = rangeOf(values);
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const x = (/** @type {number} */ at) => round(MARGIN.left + (inner.width * (at - from)) / (to - from));
  const y = (/** @type {number} */ value) => round(MARGIN.top + (inner.height * (high - value)) / (high - low));
  const middle = (/** @type {SeriesBucket} */ { start }) =>
    x(Math.max(from, Math.min(to, Date.parse(start) / 1000 + series.every / 2)));
  const children = [
    text('title', {}, title),
    text('desc', {}, description),
    ...bandsOf(series.scale, low, high).map(([bottom, top, color]) =>
      node('rect', { class: 'chart-band', x: MARGIN.left, y: y(top), width: inner.width, height: round(y(bottom) - y(top)), fill: color }),
    ),
    ...ticks.flatMap((tick) => [
      node('path', { class: 'chart-grid', d: `M${MARGIN.left} ${y(tick)}h${inner.width}` }),
      text('text', { class: 'chart-tick', x: MARGIN.left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, write(tick)),
    ]),
    ...hours.flatMap((hour) => [
      node('path', { class: 'chart-grid', d: `M${x(hour.at)} ${MARGIN.top}v${inner.height}` }),
      text('text', { class: 'chart-tick', x: x(hour.at), y: HEIGHT - 4, 'text-anchor': 'middle' }, hour.text),
    ]),
    ...unbroken(series.buckets).map((run) => {
      const points = run.map((bucket) => `${middle(bucket)} ${y(/** @type {number} */ (bucket.value))}`);
      if (run.length > 1) return node('path', { class: 'chart-line', d: `M${points.join('L')}` });
      const [cx, cy] = points[0].split(' ');
      return node('circle', { class: 'chart-dot', cx, cy, r: 3 });
    }),
  ];
  const svg = node('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}. ${description}` });
  svg.append(...children);
  return svg;
}

/**
 * @param {object} given
 * @param {SeriesBucket[]} given.buckets
 * @param {string} given.summary
 * @param {[string, string]} given.head
 * @param {(start: string) => string} given.when
 * @param {(value: number | null) => string} given.what
 */
export function chartTable({ buckets, summary, head, when, what }) {
  return element(
    'details',
    { class: 'chart-table' },
    element('summary', {}, summary),
    element(
      'div',
      { class: 'chart-rows', tabindex: '0', role: 'region', 'aria-label': summary },
      element(
        'table',
        {},
        element('thead', {}, element('tr', {}, head.map((name) => element('th', { scope: 'col' }, name)))),
        element(
          'tbody',
          {},
          [...buckets].reverse().map(({ start, value }) =>
            element('tr', {}, element('th', { scope: 'row' }, when(start)), element('td', {}, what(value))),
          ),
        ),
      ),
    ),
  );
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} content
 */
function text(name, attributes, content) {
  const made = node(name, attributes);
  made.textContent = content;
  return made;
}

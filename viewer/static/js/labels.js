// The labels of all layers as one thing: gathered from the tiles in view, laid out together, drawn on top.

import { layOut } from './label_layout.js';
import { parseColor, radiusOf } from './style.js';

export const FONT = '"Be Vietnam Pro", "Noto Sans", "Segoe UI", "Helvetica Neue", "DejaVu Sans", system-ui, sans-serif';
const WEIGHT = 500;
const SETTLE_MS = 120;
const MOST_CANDIDATES = 1500;
// Glyphs are drawn about twice as large as they are shown; much larger ones would lose their thin marks.
const SDF = { sdf: true, fontSize: 32, buffer: 8, radius: 10, cutoff: 0.19, smoothing: 0.13 };
const HALO = 3;
const SIZE_SCALE = 1.12;
const ON_TOP = { depthWriteEnabled: false, depthCompare: 'always' };

const MEASURED_AT = 32;
const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement('canvas').getContext('2d'));
/** @type {Map<string, number>} */
const widths = new Map();

/** @param {string} text */
function measure(text) {
  let width = widths.get(text);
  if (width === undefined) {
    pen.font = `${WEIGHT} ${MEASURED_AT}px ${FONT}`;
    width = pen.measureText(text).width / MEASURED_AT;
    widths.set(text, width);
  }
  return width;
}

/** @typedef {{ halo: string, labels: Omit<Placed, 'candidate'>[] }} Group */

export class Labels {
  // `sources()` gives the shown TwinTileLayers, `viewport()` the camera, `onPlaced()` runs when labels changed.
  /**
   * @param {object} given
   * @param {any} given.deck
   * @param {() => Source[]} given.sources
   * @param {() => Viewport | null} given.viewport
   * @param {() => void} given.onPlaced
   */
  constructor({ deck, sources, viewport, onPlaced }) {
    this.deck = deck;
    this.sources = sources;
    this.viewport = viewport;
    this.onPlaced = onPlaced;
    /** @type {Placed[]} */
    this.placed = [];
    /** @type {Set<string>} */
    this.held = new Set();
    this.timer = 0;
    // Labels that do not come from tiles.
    /** @type {() => Candidate[]} */
    this.extras = () => [];
    /** @type {Group[]} */
    this.groups = [];
  }

  get settled() {
    return this.timer === 0;
  }

  // Lay out again soon; many requests make one layout.
  request() {
    if (this.timer === 0) this.timer = setTimeout(() => this.#place(), SETTLE_MS);
  }

  #place() {
    this.timer = 0;
    const viewport = this.viewport();
    if (!viewport) return;
    this.placed = layOut(this.#candidates(viewport), viewport, measure, this.held);
    this.held = new Set(this.placed.map((label) => label.candidate.key));
    const groups = groupByHalo(this.placed);
    const unchanged = JSON.stringify(groups) === JSON.stringify(this.groups);
    this.groups = groups;
    if (!unchanged) this.onPlaced();
  }

  /** @param {Viewport} viewport */
  #candidates(viewport) {
    /** @type {Candidate[]} */
    const found = this.extras();
    for (const source of this.sources()) {
      const { style, collection } = source.props;
      const { label } = style;
      if (!label || viewport.zoom < (label.minzoom ?? 0)) continue;
      const make = candidateMaker(collection, { ...style, label }, viewport.zoom);
      for (const content of source.shownTiles()) found.push(...content.labels.map(make));
    }
    if (found.length <= MOST_CANDIDATES) return found;
    return found.sort((a, b) => b.priority - a.priority || b.rank - a.rank).slice(0, MOST_CANDIDATES);
  }

  layers() {
    return this.groups.map(
      ({ halo, labels }) =>
        new this.deck.TextLayer({
          id: `labels-${halo}`,
          data: labels,
          characterSet: 'auto',
          fontFamily: FONT,
          fontWeight: WEIGHT,
          fontSettings: SDF,
          lineHeight: 1.15,
          outlineWidth: HALO,
          outlineColor: [...parseColor(halo), 235],
          getText: (/** @type {any} */ d) => d.text,
          getPosition: (/** @type {any} */ d) => d.position,
          getSize: (/** @type {any} */ d) => d.size,
          getColor: (/** @type {any} */ d) => d.color,
          getAngle: (/** @type {any} */ d) => d.angle,
          getPixelOffset: (/** @type {any} */ d) => d.offset,
          parameters: ON_TOP,
        }),
    );
  }
}

/**
 * @param {string} collection
 * @param {Style & { label: LabelStyle }} style
 * @param {number} zoom
 * @returns {(label: TileLabel) => Candidate}
 */
function candidateMaker(collection, style, zoom) {
  const { label, circle } = style;
  const circles = circle && Math.round(zoom) >= (circle.minzoom ?? 0);
  const radius = radiusOf(circle, Math.round(zoom));
  const color = parseColor(label.color);
  return ({ text, position, path, rank, feature }) => ({
    text,
    position,
    path,
    rank,
    size: (label.size ?? 12) * SIZE_SCALE,
    priority: label.priority ?? 0,
    gap: circles ? radius(feature.properties) + 2 : 0,
    halo: label.halo ?? '#ffffff',
    color,
    key: `${collection}|${text}|${feature.id}`,
  });
}

/**
 * @param {Placed[]} placed
 * @returns {Group[]}
 */
function groupByHalo(placed) {
  /** @type {Map<string, Group['labels']>} */
  const groups = new Map();
  for (const { candidate, text, position, angle, offset, size } of placed) {
    const halo = candidate.halo ?? '#ffffff';
    const label = { text, position: Array.from(position), angle, offset, size, color: candidate.color };
    groups.set(halo, [...(groups.get(halo) ?? []), label]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([halo, labels]) => ({ halo, labels }));
}

// Draws the state of one kind: features of lines and areas in the colour of their class, cells as hexagons, the rest as
// circles. Another value changes colours only: data and geometry stay.

import { parseColor } from './style.js';

const INK = [34, 48, 58, 255];
const PAPER = [255, 255, 255, 235];
const OLD = [108, 119, 127, 255];
const OLD_LINE = [150, 158, 163, 255];
// Features of a painted layer of which no stream tells, where the layer's own colours would be taken for a state.
const UNTOLD = [214, 218, 220, 255];
const OLD_CELL = [120, 130, 136, 70];
const CELL_ALPHA = 165;
const RADIUS = 7;
const VALUES_FROM_ZOOM = 13;
const VALUE_SIZE = 12;
// Values win the place against every name.
const VALUE_PRIORITY = 1_000;
const ON_TOP = { depthWriteEnabled: false, depthCompare: 'always' };
const FLAT = { depthWriteEnabled: false, depthCompare: 'less-equal' };
// Mean length of an edge of H3's hexagons in metres, by resolution.
const EDGES = [
  1_107_713, 418_676, 158_245, 59_811, 22_606, 8_544, 3_229, 1_221, 461.4, 174.4, 65.9, 24.9, 9.4, 3.6, 1.3, 0.5,
];
const METRES_A_DEGREE = 111_195;
const NEAR_POINT = 14;
const NEAR_LINE = 7;

/** @typedef {import('./state.js').CityState} CityState */

export class StateLayers {
  /** @param {CityState} state */
  constructor(state) {
    this.state = state;
    this.version = 0;
    /** @type {ReturnType<CityState['drawn']>} */
    this.drawn = { features: new Map(), cells: [], points: [] };
  }

  // Choose what is drawn; the colours of it follow the state with each `recolor`.
  /**
   * @param {string | null} kind
   * @param {Set<string>} painted
   */
  choose(kind, painted) {
    this.drawn = this.state.drawn(kind, painted);
  }

  recolor() {
    this.version += 1;
  }

  // The layers over the map's own.
  layers() {
    const { H3HexagonLayer, ScatterplotLayer } = globalThis.deck;
    const { cells, points } = this.drawn;
    const trigger = this.version;
    return [
      cells.length > 0 &&
        new H3HexagonLayer({
          id: 'state-cells',
          data: cells,
          getHexagon: (/** @type {Stream} */ d) => d.cell,
          getFillColor: (/** @type {Stream} */ d) => this.#color(d.id, CELL_ALPHA) ?? OLD_CELL,
          updateTriggers: { getFillColor: trigger },
          extruded: false,
          stroked: false,
          parameters: FLAT,
        }),
      points.length > 0 &&
        new ScatterplotLayer({
          id: 'state-points',
          data: points,
          getPosition: (/** @type {Stream} */ d) => d.position,
          getFillColor: (/** @type {Stream} */ d) => this.#color(d.id) ?? PAPER,
          getLineColor: (/** @type {Stream} */ d) => (this.#color(d.id) ? INK : OLD),
          getLineWidth: (/** @type {Stream} */ d) => (this.#color(d.id) ? 1.25 : 2.25),
          updateTriggers: { getFillColor: trigger, getLineColor: trigger, getLineWidth: trigger },
          getRadius: RADIUS,
          radiusUnits: 'pixels',
          lineWidthUnits: 'pixels',
          stroked: true,
          billboard: true,
          parameters: ON_TOP,
        }),
    ].filter(Boolean);
  }

  // The colours of features by collection; the base map keeps its own where no stream tells of a feature.
  /**
   * @param {Set<string>} baseMap
   * @returns {Map<string, Paint>}
   */
  paints(baseMap) {
    const paints = new Map();
    for (const [collection, features] of this.drawn.features) {
      const colors = new Map();
      for (const [fid, id] of features) colors.set(fid, this.#color(id) ?? OLD_LINE);
      paints.set(collection, { version: this.version, colors, old: OLD_LINE, other: baseMap.has(collection) ? null : UNTOLD });
    }
    return paints;
  }

  // The values beside the circles, to be laid out with the map's labels.
  /**
   * @param {number} zoom
   * @param {(id: number) => string} write
   * @returns {Candidate[]}
   */
  values(zoom, write) {
    if (zoom < VALUES_FROM_ZOOM) return [];
    return this.drawn.points
      .map(({ id, position }) => ({
        text: write(id),
        position: /** @type {number[]} */ (position),
        rank: this.state.reading(id)?.grade ?? 0,
        priority: VALUE_PRIORITY,
        size: VALUE_SIZE,
        gap: RADIUS + 2,
        halo: '#ffffff',
        color: (this.state.isNormal(id) ? INK : OLD).slice(0, 3),
        key: `state|${id}`,
        repeats: true,
        solid: true,
      }));
  }

  // The streams at a pixel: of the nearest circle, else of the painted line there, else of the cell; and where the circle is.
  /**
   * @param {Viewport} viewport
   * @param {number} x
   * @param {number} y
   * @param {Source[] | null} sources null where the ground is covered
   * @returns {{ streams: number[], position: Pair | null }}
   */
  at(viewport, x, y, sources) {
    const { state } = this;
    const point = nearest(this.drawn.points, NEAR_POINT, ({ position }) => {
      const [px, py] = viewport.project(/** @type {Pair} */ (position));
      return Math.hypot(px - x, py - y);
    });
    if (point) {
      const same = point.fid !== null && state.ofFeature(point.collection, point.fid);
      return { streams: chosenFirst(point.id, same || this.#sameThing(point)), position: point.position };
    }
    if (!sources) return { streams: [], position: null };
    for (const source of sources) {
      const features = this.drawn.features.get(source.props.collection);
      if (!features) continue;
      const lines = source.shownTiles().flatMap((tile) => tile.lines);
      const known = lines.filter(({ feature }) => feature.id !== null && features.has(feature.id));
      const line = nearest(known, NEAR_LINE, ({ path }) => distanceTo(path, viewport, x, y));
      if (!line) continue;
      const fid = /** @type {number} */ (line.feature.id);
      const id = /** @type {number} */ (features.get(fid));
      return { streams: chosenFirst(id, state.ofFeature(source.props.collection, fid)), position: null };
    }
    const ground = viewport.unproject([x, y], { targetZ: 0 });
    const cell = nearest(this.drawn.cells, 1, (stream) => inCell(stream, ground));
    return { streams: cell ? chosenFirst(cell.id, state.ofCell(/** @type {string} */ (cell.cell))) : [], position: null };
  }

  /** @param {Stream} stream */
  #sameThing({ thing }) {
    return [...this.state.streams.values()].filter((one) => one.thing.id === thing.id).map(({ id }) => id);
  }

  /**
   * @param {number} id
   * @param {number} alpha
   */
  #color(id, alpha = 255) {
    const color = this.state.colorOf(id);
    return color === null ? null : [...parseColor(color), alpha];
  }
}

/**
 * @param {number} id
 * @param {number[]} ids
 */
function chosenFirst(id, ids) {
  return [id, ...ids.filter((other) => other !== id)];
}

/**
 * @template Thing
 * @param {Thing[]} things
 * @param {number} farthest
 * @param {(thing: Thing) => number} distance
 */
function nearest(things, farthest, distance) {
  /** @type {Thing | null} */
  let found = null;
  let least = farthest;
  for (const thing of things) {
    const far = distance(thing);
    if (far <= least) [found, least] = [thing, far];
  }
  return found;
}

/**
 * @param {Path} path
 * @param {Viewport} viewport
 * @param {number} x
 * @param {number} y
 */
function distanceTo(path, viewport, x, y) {
  let least = Infinity;
  let [ax, ay] = viewport.project([path[0], path[1]]);
  for (let i = 2; i < path.length; i += 2) {
    const [bx, by] = viewport.project([path[i], path[i + 1]]);
    const length = (bx - ax) ** 2 + (by - ay) ** 2;
    const share = length ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0;
    least = Math.min(least, Math.hypot(ax + share * (bx - ax) - x, ay + share * (by - ay) - y));
    [ax, ay] = [bx, by];
  }
  return least;
}

// How far a point is from the middle of a cell, in edges of it: a hexagon is where its middle is the nearest one.
/**
 * @param {Stream} stream
 * @param {number[]} point
 */
function inCell({ cell, position }, [longitude, latitude]) {
  if (!cell || !position) return Infinity;
  const north = (latitude - position[1]) * METRES_A_DEGREE;
  const east = (longitude - position[0]) * METRES_A_DEGREE * Math.cos((latitude * Math.PI) / 180);
  return Math.hypot(north, east) / EDGES[Number.parseInt(cell[1], 16)];
}

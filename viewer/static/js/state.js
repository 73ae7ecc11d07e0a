// What is known of the city's state: its streams, what they say now or said at a past moment, and what that means.
// Pure: it asks nobody and draws nothing.

const PREFERRED = ['traffic_speed', 'pm2_5', 'water_level', 'rain', 'flood_depth'];
// By bit; the words are texts `flag_…`.
const FLAGS = ['missing', 'out_of_range', 'stuck', 'future', 'unit', 'suspect', 'too_old'];
const NO_GRADE = 255;

export class CityState {
  /** @param {() => number} [clock] seconds since 1970 */
  constructor(clock = () => Date.now() / 1000) {
    this.clock = clock;
    /** @type {Map<number, Stream>} */
    this.streams = new Map();
    /** @type {Map<string, ObservedKind>} */
    this.kinds = new Map();
    /** @type {Map<number, Reading>} */
    this.latest = new Map();
    /** @type {Map<number, Reading>} */
    this.past = new Map();
    // The past moment that is shown, in seconds since 1970; null is now.
    /** @type {number | null} */
    this.at = null;
    /** @type {Map<string, number[]>} */
    this.byFeature = new Map();
    /** @type {Map<string, number[]>} */
    this.byCell = new Map();
    /** @type {Map<number, Scale | null>} */
    this.scales = new Map();
  }

  /**
   * @param {Stream[]} streams
   * @param {ObservedKind[]} kinds
   */
  describe(streams, kinds) {
    this.streams = new Map(streams.map((stream) => [stream.id, stream]));
    this.kinds = new Map(kinds.map((kind) => [kind.kind, kind]));
    this.byFeature = new Map();
    this.byCell = new Map();
    this.scales = new Map();
    for (const stream of streams) {
      if (stream.fid !== null) add(this.byFeature, featureKey(stream.collection, stream.fid), stream.id);
      if (stream.cell) add(this.byCell, stream.cell, stream.id);
    }
  }

  // Take rows [stream, value, grade, flag, seconds] of `/live`; -> the streams that are not known.
  /**
   * @param {StateRow[]} rows
   * @returns {number[]}
   */
  take(rows) {
    const unknown = [];
    for (const [id, value, grade, flag, seconds] of rows) {
      this.latest.set(id, { value, grade, flag, seconds });
      if (!this.streams.has(id)) unknown.push(id);
    }
    return unknown;
  }

  // Show the values of a past moment, or those of now.
  /**
   * @param {number | null} at
   * @param {ArrayBuffer[]} columns
   */
  show(at, columns = []) {
    this.at = at;
    this.past = new Map(columns.flatMap((buffer) => [...readColumns(buffer)]));
  }

  // The moment that is shown, in seconds since 1970.
  get moment() {
    return this.at ?? this.clock();
  }

  /**
   * @param {number} id
   * @returns {Reading | null}
   */
  reading(id) {
    return (this.at === null ? this.latest : this.past).get(id) ?? null;
  }

  // How long before the shown moment a stream was heard of, in seconds.
  /** @param {number} id */
  ageOf(id) {
    const reading = this.reading(id);
    return reading ? Math.max(0, this.moment - reading.seconds) : null;
  }

  /** @param {number} id */
  isFresh(id) {
    const age = this.ageOf(id);
    return age !== null && age <= (this.streams.get(id)?.freshSeconds ?? 0);
  }

  // Whether the value says how things are: there is one, no flag speaks against it, and it is not too old.
  /** @param {number} id */
  isNormal(id) {
    const reading = this.reading(id);
    return reading !== null && reading.value !== null && reading.flag === 0 && this.isFresh(id);
  }

  // The scale of a stream. A kind may have several, by place and date: the one that has the grade which the server named.
  /**
   * @param {number} id
   * @returns {Scale | null}
   */
  scaleOf(id) {
    let scale = this.scales.get(id);
    if (scale === undefined) {
      const stream = this.streams.get(id);
      const known = (stream?.kind && this.kinds.get(stream.kind)?.scales) || [];
      const named = stream?.latest?.grade;
      scale = known.find(({ grades }) => grades.some(({ key }) => key === named)) ?? known[0] ?? null;
      this.scales.set(id, scale);
    }
    return scale;
  }

  // The class of a value, however old it is.
  /**
   * @param {number} id
   * @returns {Grade | null}
   */
  gradeOf(id) {
    const reading = this.reading(id);
    return (reading && this.scaleOf(id)?.grades[reading.grade]) || null;
  }

  // The colour to draw a stream in; null where its value must not look like a normal one.
  /** @param {number} id */
  colorOf(id) {
    return this.isNormal(id) ? (this.gradeOf(id)?.color ?? null) : null;
  }

  /** @param {number} id */
  flagsOf(id) {
    const flag = this.reading(id)?.flag ?? 0;
    return FLAGS.filter((_, bit) => flag & (1 << bit));
  }

  /**
   * @param {string} collection
   * @param {number | null} fid
   * @param {string | null} kind
   */
  ofFeature(collection, fid, kind = null) {
    return this.#ofKind(fid === null ? [] : (this.byFeature.get(featureKey(collection, fid)) ?? []), kind);
  }

  /**
   * @param {string} cell
   * @param {string | null} kind
   */
  ofCell(cell, kind = null) {
    return this.#ofKind(this.byCell.get(cell) ?? [], kind);
  }

  /**
   * @param {number[]} ids
   * @param {string | null} kind
   */
  #ofKind(ids, kind) {
    return kind === null ? ids : ids.filter((id) => this.streams.get(id)?.kind === kind);
  }

  // The kinds of the streams that are on the map, those that concern most people first.
  /** @returns {ObservedKind[]} */
  kindsOnTheMap() {
    const names = new Set();
    for (const stream of this.streams.values()) if (stream.position || stream.cell) names.add(stream.kind);
    const rank = (/** @type {ObservedKind} */ { kind }) => (PREFERRED.indexOf(kind) + 1 || PREFERRED.length + 1);
    return [...this.kinds.values()].filter(({ kind }) => names.has(kind)).sort((a, b) => rank(a) - rank(b));
  }

  // What values of a kind rest on: "measured", "simulated", …
  /** @param {string} kind */
  basesOf(kind) {
    const found = [...this.streams.values()].filter((stream) => stream.kind === kind && (stream.position || stream.cell));
    return [...new Set(found.map((stream) => stream.basis))];
  }

  // How the streams of a kind are drawn: as features of layers that are painted, as cells, the others as points.
  /**
   * @param {string | null} kind
   * @param {Set<string>} painted
   */
  drawn(kind, painted) {
    /** @type {{ features: Map<string, Map<number, number>>, cells: Stream[], points: Stream[] }} */
    const found = { features: new Map(), cells: [], points: [] };
    for (const stream of this.streams.values()) {
      if (kind === null || stream.kind !== kind) continue;
      if (stream.fid !== null && painted.has(stream.collection)) {
        const features = found.features.get(stream.collection) ?? new Map();
        found.features.set(stream.collection, features.set(stream.fid, stream.id));
      } else if (stream.cell) found.cells.push(stream);
      else if (stream.position) found.points.push(stream);
    }
    return found;
  }
}

/**
 * @param {string} collection
 * @param {number} fid
 */
function featureKey(collection, fid) {
  return `${collection} ${fid}`;
}

/**
 * @param {Map<string, number[]>} index
 * @param {string} key
 * @param {number} id
 */
function add(index, key, id) {
  const known = index.get(key);
  if (known) known.push(id);
  else index.set(key, [id]);
}

// The binary form of `/collections/{layer}/state`: the number n, then n each of Uint32 stream, Float32 value, Uint32
// seconds, Uint8 grade (255 none) and Uint8 flag.
/**
 * @param {ArrayBuffer} buffer
 * @returns {Map<number, Reading>}
 */
export function readColumns(buffer) {
  const view = new DataView(buffer);
  const n = view.getUint32(0, true);
  const readings = new Map();
  for (let i = 0; i < n; i++) {
    const value = view.getFloat32(4 + 4 * (n + i), true);
    const grade = view.getUint8(4 + 12 * n + i);
    readings.set(view.getUint32(4 + 4 * i, true), {
      value: Number.isNaN(value) ? null : value,
      grade: grade === NO_GRADE ? -1 : grade,
      flag: view.getUint8(4 + 13 * n + i),
      seconds: view.getUint32(4 + 8 * n + 4 * i, true),
    });
  }
  return readings;
}

// A length of time in the largest unit of which there is at least one.
/**
 * @param {number} seconds
 * @returns {[number, 'second' | 'minute' | 'hour' | 'day']}
 */
export function largestUnit(seconds) {
  if (seconds < 60) return [Math.floor(seconds), 'second'];
  if (seconds < 3_600) return [Math.floor(seconds / 60), 'minute'];
  if (seconds < 86_400) return [Math.floor(seconds / 3_600), 'hour'];
  return [Math.floor(seconds / 86_400), 'day'];
}

// The classes of a kind with the values from and to which they reach; without limits where these differ by place.
/**
 * @param {ObservedKind} kind
 * @returns {{ grade: Grade, from: number | null, to: number | null }[]}
 */
export function legendOf({ scales }) {
  const [scale] = scales;
  if (!scale) return [];
  const alike = scales.filter(({ name }) => name === scale.name);
  const limits = new Set(alike.map((one) => one.limits.join())).size === 1 ? scale.limits : [];
  return scale.grades.map((grade, i) => ({ grade, from: limits[i - 1] ?? null, to: limits[i] ?? null }));
}

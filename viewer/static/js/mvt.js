// Mapbox Vector Tiles (2.1) -> features in tile units. Every read is bounded by the bytes that are there, so a
// damaged or hostile tile ends in an error, never in an endless loop; the caller turns the error into an empty tile.

const POINT = 1;
const LINE = 2;
const POLYGON = 3;
/** @type {Record<number, Feature['kind']>} */
const KINDS = { [POINT]: 'point', [LINE]: 'line', [POLYGON]: 'polygon' };
const MOVE_TO = 1;
const LINE_TO = 2;
const CLOSE_PATH = 7;

const text = new TextDecoder('utf-8');

class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  get done() {
    return this.at >= this.bytes.length;
  }

  varint() {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (this.at >= this.bytes.length) throw new RangeError('tile ends inside a number');
      const byte = this.bytes[this.at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new RangeError('number longer than ten bytes');
  }

  // Negative int64 values are written as 64-bit two's complement, which a double cannot hold before the sign is known.
  int64() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.at >= this.bytes.length) throw new RangeError('tile ends inside a number');
      const byte = this.bytes[this.at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
    throw new RangeError('number longer than ten bytes');
  }

  block() {
    const length = this.varint();
    if (length > this.bytes.length - this.at) throw new RangeError('tile ends inside a block');
    const block = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return block;
  }

  /**
   * @param {number} size
   * @param {(this: DataView, at: number, littleEndian: boolean) => number} read
   */
  fixed(size, read) {
    if (size > this.bytes.length - this.at) throw new RangeError('tile ends inside a number');
    const value = read.call(this.view, this.at, true);
    this.at += size;
    return value;
  }

  /** @param {number} wire */
  skip(wire) {
    if (wire === 0) this.varint();
    else if (wire === 1) this.fixed(8, DataView.prototype.getFloat64);
    else if (wire === 2) this.block();
    else if (wire === 5) this.fixed(4, DataView.prototype.getFloat32);
    else throw new RangeError(`unknown wire type ${wire}`);
  }

  // Call `visit(field, wire)` for each field of the message; it returns false to have the field skipped.
  /** @param {(field: number, wire: number) => boolean} visit */
  fields(visit) {
    while (!this.done) {
      const tag = this.varint();
      const wire = tag % 8;
      if (visit(Math.floor(tag / 8), wire) === false) this.skip(wire);
    }
  }
}

/** @param {number} value */
function zigzag(value) {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/**
 * @param {Uint8Array} bytes
 * @returns {number[]}
 */
function packed(bytes) {
  const reader = new Reader(bytes);
  /** @type {number[]} */
  const values = [];
  while (!reader.done) values.push(reader.varint());
  return values;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Value}
 */
function decodeValue(bytes) {
  const reader = new Reader(bytes);
  /** @type {Value} */
  let value = null;
  reader.fields((field) => {
    if (field === 1) value = text.decode(reader.block());
    else if (field === 2) value = reader.fixed(4, DataView.prototype.getFloat32);
    else if (field === 3) value = reader.fixed(8, DataView.prototype.getFloat64);
    else if (field === 4) value = reader.int64();
    else if (field === 5) value = reader.varint();
    else if (field === 6) value = zigzag(reader.varint());
    else if (field === 7) value = reader.varint() !== 0;
    else return false;
    return true;
  });
  return value;
}

// The drawing commands of one feature: a list of flat [x, y, x, y, ...] paths in tile units, rings left open.
/**
 * @param {number[]} commands
 * @returns {number[][]}
 */
function decodePaths(commands) {
  /** @type {number[][]} */
  const paths = [];
  /** @type {number[] | null} */
  let path = null;
  let x = 0;
  let y = 0;
  let at = 0;
  while (at < commands.length) {
    const command = commands[at] % 8;
    const count = Math.floor(commands[at] / 8);
    at += 1;
    if (command === CLOSE_PATH) continue;
    if (command !== MOVE_TO && command !== LINE_TO) throw new RangeError(`unknown drawing command ${command}`);
    if (count * 2 > commands.length - at) throw new RangeError('tile ends inside a geometry');
    for (let i = 0; i < count; i++, at += 2) {
      x += zigzag(commands[at]);
      y += zigzag(commands[at + 1]);
      if (command === MOVE_TO || path === null) {
        path = [];
        paths.push(path);
      }
      path.push(x, y);
    }
  }
  return paths;
}

// Twice the signed area; positive for clockwise rings as seen on the map (tile y runs down).
/** @param {number[]} ring */
export function signedArea(ring) {
  let sum = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    sum += ring[j] * ring[i + 1] - ring[i] * ring[j + 1];
  }
  return sum;
}

/** @param {number[]} ring */
function reversed(ring) {
  const turned = new Array(ring.length);
  for (let i = 0; i < ring.length; i += 2) {
    turned[ring.length - 2 - i] = ring[i];
    turned[ring.length - 1 - i] = ring[i + 1];
  }
  return turned;
}

// Rings -> polygons [[outer, hole, ...], ...], outer rings clockwise. The first ring is an outer one by definition,
// so its turn tells how this encoder writes outer rings.
/**
 * @param {number[][]} rings
 * @returns {number[][][]}
 */
function groupRings(rings) {
  /** @type {number[][][]} */
  const polygons = [];
  let outerTurn = 0;
  for (const ring of rings) {
    const area = ring.length >= 6 ? signedArea(ring) : 0;
    if (area === 0) continue;
    outerTurn ||= Math.sign(area);
    const turned = outerTurn > 0 ? ring : reversed(ring);
    if (Math.sign(area) === outerTurn) polygons.push([turned]);
    else polygons[polygons.length - 1].push(turned);
  }
  return polygons;
}

/**
 * @param {Uint8Array} bytes
 * @param {string[]} keys
 * @param {Value[]} values
 * @returns {Feature}
 */
function decodeFeature(bytes, keys, values) {
  const reader = new Reader(bytes);
  /** @type {Feature} */
  const feature = { id: null, kind: null, properties: Object.create(null), paths: [], polygons: [] };
  let kind = 0;
  /** @type {number[]} */
  let commands = [];
  reader.fields((field) => {
    if (field === 1) {
      feature.id = reader.varint();
    } else if (field === 2) {
      const tags = packed(reader.block());
      for (let i = 0; i + 1 < tags.length; i += 2) {
        const key = keys[tags[i]];
        if (key !== undefined) feature.properties[key] = values[tags[i + 1]] ?? null;
      }
    } else if (field === 3) {
      kind = reader.varint();
    } else if (field === 4) {
      commands = packed(reader.block());
    } else {
      return false;
    }
    return true;
  });
  feature.kind = KINDS[kind] ?? null;
  feature.paths = decodePaths(commands);
  if (kind === POLYGON) feature.polygons = groupRings(feature.paths);
  return feature;
}

/**
 * @param {Uint8Array} bytes
 * @returns {TileLayerData}
 */
function decodeLayer(bytes) {
  const reader = new Reader(bytes);
  /** @type {TileLayerData} */
  const layer = { name: '', extent: 4096, features: [] };
  /** @type {string[]} */
  const keys = [];
  /** @type {Value[]} */
  const values = [];
  /** @type {Uint8Array[]} */
  const blocks = [];
  reader.fields((field) => {
    if (field === 1) layer.name = text.decode(reader.block());
    else if (field === 2) blocks.push(reader.block());
    else if (field === 3) keys.push(text.decode(reader.block()));
    else if (field === 4) values.push(decodeValue(reader.block()));
    else if (field === 5) layer.extent = reader.varint();
    else return false;
    return true;
  });
  if (!(layer.extent >= 1)) throw new RangeError('layer without an extent');
  layer.features = blocks.map((block) => decodeFeature(block, keys, values));
  return layer;
}

// A whole tile: Map of layer name -> { name, extent, features }.
/**
 * @param {ArrayBuffer} buffer
 * @returns {Tile}
 */
export function decodeTile(buffer) {
  const reader = new Reader(new Uint8Array(buffer));
  /** @type {Tile} */
  const layers = new Map();
  reader.fields((field) => {
    if (field !== 3) return false;
    const layer = decodeLayer(reader.block());
    layers.set(layer.name, layer);
    return true;
  });
  return layers;
}

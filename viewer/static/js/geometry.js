// Plane geometry on flat [x, y, x, y, ...] arrays: clipping to a tile, WGS84, and small measures.

// Keep what lies inside `axis >= limit` (side 1) or `axis <= limit` (side -1); one Sutherland-Hodgman step.
/**
 * @param {Path} ring
 * @param {number} axis
 * @param {number} limit
 * @param {number} side
 * @returns {Path}
 */
function clipRingSide(ring, axis, limit, side) {
  /** @type {number[]} */
  const kept = [];
  const size = ring.length;
  for (let i = 0; i < size; i += 2) {
    const j = (i + size - 2) % size;
    const inside = side * (ring[i + axis] - limit) >= 0;
    const wasInside = side * (ring[j + axis] - limit) >= 0;
    if (inside !== wasInside) {
      const t = (limit - ring[j + axis]) / (ring[i + axis] - ring[j + axis]);
      const crossing = [ring[j] + t * (ring[i] - ring[j]), ring[j + 1] + t * (ring[i + 1] - ring[j + 1])];
      kept.push(crossing[0], crossing[1]);
    }
    if (inside) kept.push(ring[i], ring[i + 1]);
  }
  return kept;
}

/**
 * @param {Path} path
 * @returns {Box}
 */
export function bounds(path) {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < path.length; i += 2) {
    west = Math.min(west, path[i]);
    east = Math.max(east, path[i]);
    south = Math.min(south, path[i + 1]);
    north = Math.max(north, path[i + 1]);
  }
  return [west, south, east, north];
}

// An open ring cut to the square [low, high]²; empty when nothing of it is inside.
/**
 * @param {Path} ring
 * @param {number} low
 * @param {number} high
 * @returns {Path}
 */
export function clipRing(ring, low, high) {
  const [west, south, east, north] = bounds(ring);
  if (west >= low && south >= low && east <= high && north <= high) return ring;
  if (east <= low || north <= low || west >= high || south >= high) return [];
  let kept = ring;
  for (const [axis, limit, side] of [[0, low, 1], [0, high, -1], [1, low, 1], [1, high, -1]]) {
    if (kept.length) kept = clipRingSide(kept, axis, limit, side);
  }
  return kept.length >= 6 ? kept : [];
}

// The part [t0, t1] of a segment that lies in the square, or null (Liang-Barsky).
/**
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 * @param {number} extent
 */
function clipSegment(x0, y0, x1, y1, extent) {
  let [from, to] = [0, 1];
  for (const [delta, distance] of [
    [x0 - x1, x0],
    [x1 - x0, extent - x0],
    [y0 - y1, y0],
    [y1 - y0, extent - y0],
  ]) {
    if (delta === 0) {
      if (distance < 0) return null;
    } else if (delta < 0) {
      from = Math.max(from, distance / delta);
    } else {
      to = Math.min(to, distance / delta);
    }
  }
  return from < to ? [from, to] : null;
}

// A ring's outline inside the tile, as open paths: the edges that clipping would add are never drawn.
/**
 * @param {Path} ring
 * @param {number} extent
 * @returns {number[][]}
 */
export function outlineInside(ring, extent) {
  /** @type {number[][]} */
  const paths = [];
  /** @type {number[] | null} */
  let path = null;
  for (let i = 0; i < ring.length; i += 2) {
    const j = (i + 2) % ring.length;
    const [x0, y0, x1, y1] = [ring[i], ring[i + 1], ring[j], ring[j + 1]];
    // The tiler itself cuts at the edge of its buffer; an edge that runs along the tile's outside is such a cut.
    const part = clipSegment(x0, y0, x1, y1, extent);
    if (part === null) {
      path = null;
      continue;
    }
    const at = (/** @type {number} */ t) => [x0 + t * (x1 - x0), y0 + t * (y1 - y0)];
    if (path === null || part[0] > 0) {
      path = at(part[0]);
      paths.push(path);
    }
    path.push(...at(part[1]));
    if (part[1] < 1) path = null;
  }
  return paths;
}

// Tile units -> longitude and latitude in degrees (WGS84), closing rings on request.
/**
 * @param {Path} path
 * @param {Frame} frame
 * @param {boolean} close
 */
export function toLngLat(path, { x, y, z, extent }, close = false) {
  const size = path.length;
  const out = new Float64Array(size + (close ? 2 : 0));
  const scale = 1 / (extent * 2 ** z);
  for (let i = 0; i < size; i += 2) {
    out[i] = (x * extent + path[i]) * scale * 360 - 180;
    out[i + 1] = (Math.atan(Math.sinh(Math.PI * (1 - 2 * (y * extent + path[i + 1]) * scale))) * 180) / Math.PI;
  }
  if (close) {
    out[size] = out[0];
    out[size + 1] = out[1];
  }
  return out;
}

// Join paths that share an end point, so that a street cut at its crossings is one line again.
/**
 * @param {Path[]} paths
 * @returns {number[][]}
 */
export function joinPaths(paths) {
  const open = paths.filter((path) => path.length >= 4).map((path) => Array.from(path));
  const key = (/** @type {number} */ x, /** @type {number} */ y) => `${x},${y}`;
  const tailOf = (/** @type {number[]} */ path) => key(path[path.length - 2], path[path.length - 1]);
  /** @type {Map<string, number[][]>} */
  const ends = new Map();
  /** @type {Set<number[]>} */
  const joined = new Set();
  const register = (/** @type {number[]} */ path) => {
    for (const end of [key(path[0], path[1]), tailOf(path)]) {
      const known = ends.get(end);
      if (known) known.push(path);
      else ends.set(end, [path]);
    }
  };
  const flip = (/** @type {number[]} */ path) => {
    /** @type {number[]} */
    const points = [];
    for (let i = path.length - 2; i >= 0; i -= 2) points.push(path[i], path[i + 1]);
    path.splice(0, path.length, ...points);
  };
  open.forEach(register);
  for (const path of open) {
    if (joined.has(path)) continue;
    for (let side = 0; side < 2; side++) {
      for (let grown = true; grown; ) {
        const tail = tailOf(path);
        const next = (ends.get(tail) ?? []).find((other) => other !== path && !joined.has(other));
        grown = next !== undefined;
        if (next === undefined) break;
        joined.add(next);
        if (key(next[0], next[1]) !== tail) flip(next);
        for (let i = 2; i < next.length; i++) path.push(next[i]);
      }
      flip(path);
    }
  }
  return open.filter((path) => !joined.has(path));
}

// Where the segment a -> b runs inside the closed flat ring(s): sorted parameters at which it crosses an edge.
/**
 * @param {Path[]} rings
 * @param {number} ax
 * @param {number} ay
 * @param {number} bx
 * @param {number} by
 * @returns {number[]}
 */
export function crossings(rings, ax, ay, bx, by) {
  /** @type {number[]} */
  const found = [];
  for (const ring of rings) {
    for (let i = 0; i + 3 < ring.length; i += 2) {
      const [px, py, qx, qy] = [ring[i], ring[i + 1], ring[i + 2], ring[i + 3]];
      const cross = (bx - ax) * (qy - py) - (by - ay) * (qx - px);
      if (cross === 0) continue;
      const t = ((px - ax) * (qy - py) - (py - ay) * (qx - px)) / cross;
      const u = ((px - ax) * (by - ay) - (py - ay) * (bx - ax)) / cross;
      if (t >= 0 && t <= 1 && u >= 0 && u < 1) found.push(t);
    }
  }
  return found.sort((a, b) => a - b);
}

/**
 * @param {Path[]} rings
 * @param {number} x
 * @param {number} y
 */
export function contains(rings, x, y) {
  let inside = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const crosses = ring[i + 1] > y !== ring[j + 1] > y;
      if (crosses && x < ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1]) + ring[i]) {
        inside = !inside;
      }
    }
  }
  return inside;
}

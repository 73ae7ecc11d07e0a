// Chooses which labels are shown and where, on the screen: important ones first, none over another, no name twice
// close together. Pure: candidates in, placements out.

const SAME_NAME_PIXELS = 250;
const CELL_PIXELS = 64;
const LINE_HEIGHT = 1.15;
const PADDING = 3;
const LONGEST_LINE = 18;
// A label that is already there wins against its equals, so that small moves do not make names swap.
const HELD_BONUS = 0.5;
const ALONG_TRIES = [0.5, 0.35, 0.65, 0.2, 0.8];
const STRAIGHT = 0.97;
// Far labels are a little smaller, near ones a little larger.
const SMALLEST = 0.88;
const LARGEST = 1.06;

// Boxes that are taken, found through a coarse grid.
class Taken {
  constructor() {
    /** @type {Map<string, Box[]>} */
    this.cells = new Map();
  }

  /** @param {Box} box */
  *#near([west, north, east, south]) {
    for (let i = Math.floor(west / CELL_PIXELS); i <= Math.floor(east / CELL_PIXELS); i++) {
      for (let j = Math.floor(north / CELL_PIXELS); j <= Math.floor(south / CELL_PIXELS); j++) yield `${i},${j}`;
    }
  }

  /** @param {Box} box */
  free(box) {
    for (const cell of this.#near(box)) {
      for (const other of this.cells.get(cell) ?? []) {
        if (box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]) return false;
      }
    }
    return true;
  }

  /** @param {Box} box */
  take(box) {
    for (const cell of this.#near(box)) {
      const there = this.cells.get(cell);
      if (there) there.push(box);
      else this.cells.set(cell, [box]);
    }
  }
}

// Long names break once, at the space nearest their middle.
/** @param {string} text */
export function wrap(text) {
  if (text.length <= LONGEST_LINE) return text;
  const middle = text.length / 2;
  let best = -1;
  for (let at = text.indexOf(' '); at !== -1; at = text.indexOf(' ', at + 1)) {
    if (best === -1 || Math.abs(at - middle) < Math.abs(best - middle)) best = at;
  }
  return best === -1 ? text : `${text.slice(0, best)}\n${text.slice(best + 1)}`;
}

// deck.gl draws "pixels" at their true size only at the distance of the map's middle; nearer they grow, farther they
// shrink. -> { seen, drawn }: how much larger a label at this position shall look, and what to ask deck for.
/**
 * @param {Viewport} viewport
 * @param {ArrayLike<number>} position
 */
function perspective(viewport, position) {
  const m = viewport.viewProjectionMatrix;
  const depth = (/** @type {number[]} */ [x, y, z = 0]) => m[3] * x + m[7] * y + m[11] * z + m[15];
  const growth = depth(viewport.center) / depth(viewport.projectPosition([position[0], position[1], 0]));
  const seen = Math.min(LARGEST, Math.max(SMALLEST, Math.sqrt(growth)));
  return { seen, drawn: seen / growth, growth };
}

// candidates: [{ text, position | path, rank, priority, size, gap, key }]
// -> [{ candidate, text, position, angle, offset, size }], best first. `measure(text)` is the width at size 1.
/**
 * @param {Candidate[]} candidates
 * @param {Viewport} viewport
 * @param {(text: string) => number} measure
 * @param {Set<string>} held
 * @returns {Placed[]}
 */
export function layOut(candidates, viewport, measure, held = new Set()) {
  const taken = new Taken();
  /** @type {Map<string, number[][]>} */
  const shownAt = new Map();
  const weight = (/** @type {Candidate} */ c) => c.priority + (held.has(c.key) ? HELD_BONUS : 0);
  const sorted = [...candidates].sort((a, b) => weight(b) - weight(a) || b.rank - a.rank);
  /** @type {Placed[]} */
  const placed = [];
  for (const candidate of sorted) {
    const { path, position } = candidate;
    const spots = path
      ? alongSpots({ ...candidate, path }, viewport, measure)
      : pointSpots({ ...candidate, position: position ?? [] }, viewport, measure);
    const spot = spots.find((s) => s.boxes.every((box) => taken.free(box)) && (candidate.repeats || !near(shownAt, candidate.text, s.at)));
    if (!spot) continue;
    spot.boxes.forEach((box) => taken.take(box));
    shownAt.set(candidate.text, [...(shownAt.get(candidate.text) ?? []), spot.at]);
    const { text, angle, offset, size } = spot;
    placed.push({ candidate, text, position: spot.position, angle, offset, size });
  }
  return placed;
}

/**
 * @param {Map<string, number[][]>} shownAt
 * @param {string} text
 * @param {number[]} point
 */
function near(shownAt, text, [x, y]) {
  return (shownAt.get(text) ?? []).some(([u, v]) => Math.hypot(x - u, y - v) < SAME_NAME_PIXELS);
}

/**
 * @param {number[]} point
 * @param {Viewport} viewport
 * @param {number} margin
 */
function onScreen([x, y], viewport, margin) {
  return x > -margin && y > -margin && x < viewport.width + margin && y < viewport.height + margin;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} halfWidth
 * @param {number} halfHeight
 * @returns {Generator<Box, void>}
 */
function* boxesAround(x, y, halfWidth, halfHeight) {
  yield [x - halfWidth - PADDING, y - halfHeight - PADDING, x + halfWidth + PADDING, y + halfHeight + PADDING];
}

// A label at a point: over it, or beside its circle (below, right, left, above).
/**
 * @param {Candidate & { position: Path }} candidate
 * @param {Viewport} viewport
 * @param {(text: string) => number} measure
 * @returns {Spot[]}
 */
function pointSpots(candidate, viewport, measure) {
  const at = viewport.project(candidate.position);
  if (!onScreen(at, viewport, 20)) return [];
  const text = wrap(candidate.text);
  const lines = text.split('\n');
  const { seen, drawn, growth } = perspective(viewport, candidate.position);
  const size = candidate.size * seen;
  const halfWidth = (Math.max(...lines.map(measure)) * size) / 2;
  const halfHeight = (lines.length * size * LINE_HEIGHT) / 2;
  const gap = candidate.gap * growth;
  const offsets = gap
    ? [[0, gap + halfHeight], [gap + halfWidth + 2, 0], [-gap - halfWidth - 2, 0], [0, -gap - halfHeight]]
    : [[0, 0]];
  // A circle that says something must not be written over.
  const circle = candidate.solid ? [...boxesAround(at[0], at[1], gap - PADDING, gap - PADDING)] : [];
  return offsets.map((offset) => ({
    at,
    text,
    position: candidate.position,
    angle: 0,
    size: candidate.size * drawn,
    offset: offset.map((pixels) => pixels / growth),
    boxes: [...circle, ...boxesAround(at[0] + offset[0], at[1] + offset[1], halfWidth, halfHeight)],
  }));
}

// A label along a line: on stretches that are long and straight enough to carry it, the middle one first.
/**
 * @param {Candidate & { path: Path }} candidate
 * @param {Viewport} viewport
 * @param {(text: string) => number} measure
 * @returns {Spot[]}
 */
function alongSpots(candidate, viewport, measure) {
  const { path, text } = candidate;
  const half = 2 * Math.floor(path.length / 4);
  const size = candidate.size * perspective(viewport, [path[half], path[half + 1]]).seen;
  const points = [];
  for (let i = 0; i < path.length; i += 2) points.push(viewport.project([path[i], path[i + 1]]));
  const along = [0];
  for (let i = 1; i < points.length; i++) {
    along.push(along[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
  }
  const total = along[along.length - 1];
  const width = measure(text) * size;
  if (!(total > width * 1.1)) return [];
  /** @type {Spot[]} */
  const spots = [];
  for (const share of ALONG_TRIES) {
    const start = Math.min(Math.max(share * total - width / 2, 0), total - width);
    const from = pointAt(points, along, start);
    const to = pointAt(points, along, start + width);
    const chord = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const at = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
    if (chord < STRAIGHT * width || !onScreen(at, viewport, -size)) continue;
    const middle = pointAt(points, along, start + width / 2);
    const bow = Math.hypot(middle[0] - at[0], middle[1] - at[1]);
    if (bow > size * 0.6) continue;
    const position = viewport.unproject(at);
    const spot = { at, text, position, offset: [0, 0], size: candidate.size * perspective(viewport, position).drawn };
    spots.push({ ...spot, ...alongSpot(from, to, width, size) });
  }
  return spots;
}

/**
 * @param {number[]} from
 * @param {number[]} to
 * @param {number} width
 * @param {number} size
 */
function alongSpot(from, to, width, size) {
  let angle = (Math.atan2(from[1] - to[1], to[0] - from[0]) * 180) / Math.PI;
  if (angle > 90) angle -= 180;
  else if (angle <= -90) angle += 180;
  const count = Math.max(1, Math.round(width / size));
  /** @type {Box[]} */
  const boxes = [];
  for (let i = 0; i < count; i++) {
    const share = (i + 0.5) / count;
    const x = from[0] + share * (to[0] - from[0]);
    const y = from[1] + share * (to[1] - from[1]);
    boxes.push(...boxesAround(x, y, size / 2, size / 2));
  }
  return { angle, boxes };
}

/**
 * @param {number[][]} points
 * @param {number[]} along
 * @param {number} distance
 */
function pointAt(points, along, distance) {
  let i = 1;
  while (i < along.length - 1 && along[i] < distance) i += 1;
  const share = (distance - along[i - 1]) / (along[i] - along[i - 1] || 1);
  const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
  return [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
}

// A theme's style -> functions of a feature's properties. Three forms: a constant, a value a category, or stops
// between which numbers and colours are interpolated.

const UNKNOWN = [184, 184, 184];

/**
 * @param {string | null | undefined} hex
 * @returns {Color}
 */
export function parseColor(hex) {
  const digits = /^#([0-9a-f]{6})$/i.exec(hex ?? '')?.[1];
  if (!digits) return UNKNOWN;
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}

/**
 * @param {number | number[]} low
 * @param {any} high
 * @param {number} share
 */
function mix(low, high, share) {
  return Array.isArray(low) ? low.map((value, i) => value + share * (high[i] - value)) : low + share * (high - low);
}

/**
 * @param {[number, any][]} stops
 * @param {number} value
 */
function atStops(stops, value) {
  const above = stops.findIndex(([limit]) => limit > value);
  if (above === 0) return stops[0][1];
  if (above === -1) return stops[stops.length - 1][1];
  const [[from, low], [to, high]] = [stops[above - 1], stops[above]];
  return mix(low, high, (value - from) / (to - from));
}

/**
 * @param {Expression} expression
 * @param {(value: any) => any} read
 * @param {any} fallback
 * @returns {(properties: Properties) => any}
 */
function compile(expression, read, fallback) {
  if (expression === null || expression === undefined) return () => fallback;
  if (typeof expression !== 'object') {
    const constant = read(expression);
    return () => constant;
  }
  const { field } = expression;
  const other = expression.other === undefined ? fallback : read(expression.other);
  if (expression.stops) {
    /** @type {[number, any][]} */
    const stops = expression.stops.map(([limit, value]) => [limit, read(value)]);
    return (properties) => (Number.isFinite(properties[field]) ? atStops(stops, properties[field]) : other);
  }
  const categories = new Map(Object.entries(expression.categories ?? {}).map(([name, value]) => [name, read(value)]));
  return (properties) => categories.get(String(properties[field])) ?? other;
}

// -> function of properties giving [r, g, b, a]
/**
 * @param {Expression} expression
 * @param {number} opacity
 * @returns {(properties: Properties) => Color}
 */
export function colorOf(expression, opacity = 1) {
  const alpha = Math.round(255 * opacity);
  return compile(expression, (value) => [...parseColor(value), alpha], [...UNKNOWN, alpha]);
}

// -> function of properties giving a number
/**
 * @param {Expression} expression
 * @param {number} fallback
 * @returns {(properties: Properties) => number}
 */
export function numberOf(expression, fallback = 0) {
  return compile(expression, Number, fallback);
}

// Height in metres: measured, else storeys times their usual height, else the theme's default.
/**
 * @param {Extrude} extrude
 * @returns {(properties: Properties) => number}
 */
export function heightOf(extrude) {
  const levels = extrude.levels?.field;
  return (properties) => {
    const height = properties[extrude.field];
    if (Number.isFinite(height) && height > 0) return height;
    const storeys = levels === undefined ? undefined : properties[levels];
    if (Number.isFinite(storeys) && storeys > 0) return storeys * (extrude.metres_per_level ?? 3.5);
    return extrude.default ?? 3.5;
  };
}

// Circles at full size from this zoom on; farther out they shrink, so that a city full of them stays readable.
const FULL_CIRCLE_ZOOM = 15;
const SHRINK_PER_ZOOM = 0.14;
const SMALLEST_CIRCLE = 0.4;

// Radius in pixels at a tile zoom, as a function of properties.
/**
 * @param {CircleStyle | undefined} circle
 * @param {number} zoom
 * @returns {(properties: Properties) => number}
 */
export function radiusOf(circle, zoom) {
  const radius = numberOf(circle?.radius, 4);
  const share = Math.min(1, Math.max(SMALLEST_CIRCLE, 1 - SHRINK_PER_ZOOM * (FULL_CIRCLE_ZOOM - zoom)));
  return (properties) => radius(properties) * share;
}

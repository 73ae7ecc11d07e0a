// The view in the page's address: #lng,lat,zoom,pitch,bearing;+shown,-hidden;kind@moment

const LIMITS = { longitude: 180, latitude: 85 };
const NO_KIND = '-';
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/;

/**
 * @param {string} hash
 * @returns {{ view: View | null, switched: Map<string, boolean>, state: StateAddress }}
 */
export function readHash(hash) {
  const [camera = '', layers = '', state = ''] = hash.replace(/^#/, '').split(';');
  const [longitude, latitude, zoom, pitch, bearing] = camera.split(',').map((part) => Number.parseFloat(part));
  const switched = new Map();
  for (const part of layers.split(',')) {
    const name = decode(part.slice(1));
    if (name && part[0] === '+') switched.set(name, true);
    if (name && part[0] === '-') switched.set(name, false);
  }
  const rest = { switched, state: readState(state) };
  const sensible = Math.abs(longitude) <= LIMITS.longitude && Math.abs(latitude) <= LIMITS.latitude && zoom >= 0;
  if (!sensible) return { view: null, ...rest };
  return {
    view: { longitude, latitude, zoom, pitch: clamp(pitch, 0, 60), bearing: clamp(bearing, -180, 180) },
    ...rest,
  };
}

/**
 * @param {View} view
 * @param {Iterable<[string, boolean]>} switched
 * @param {StateAddress} state
 */
export function writeHash(view, switched, state = {}) {
  const camera = [
    view.longitude.toFixed(5),
    view.latitude.toFixed(5),
    view.zoom.toFixed(2),
    Math.round(view.pitch),
    Math.round(view.bearing),
  ].join(',');
  const layers = [...switched].map(([name, shown]) => (shown ? '+' : '-') + encodeURIComponent(name)).join(',');
  return `#${[camera, layers, writeState(state)].join(';').replace(/;+$/, '')}`;
}

// `kind` is undefined where the reader chose none, and null where he chose to see no state; `at` is in seconds since 1970.
/**
 * @param {string} text
 * @returns {StateAddress}
 */
function readState(text) {
  const [kind = '', moment = ''] = decode(text).split('@');
  /** @type {StateAddress} */
  const state = {};
  if (kind === NO_KIND) state.kind = null;
  else if (/^\w+$/.test(kind)) state.kind = kind;
  const at = MOMENT.test(moment) ? Date.parse(moment) / 1000 : Number.NaN;
  if (Number.isFinite(at)) state.at = at;
  return state;
}

/** @param {StateAddress} state */
function writeState({ kind, at }) {
  const moment = at === undefined ? '' : `@${new Date(at * 1000).toISOString().replace(/(:00)?\.\d+Z$/, 'Z')}`;
  return (kind === null ? NO_KIND : (kind ?? '')) + moment;
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : 0;
}

// The view in the page's address: #lng,lat,zoom,pitch,bearing;+shown,-hidden

const LIMITS = { longitude: 180, latitude: 85 };

/**
 * @param {string} hash
 * @returns {{ view: View | null, switched: Map<string, boolean> }}
 */
export function readHash(hash) {
  const [camera = '', layers = ''] = hash.replace(/^#/, '').split(';');
  const [longitude, latitude, zoom, pitch, bearing] = camera.split(',').map((part) => Number.parseFloat(part));
  const switched = new Map();
  for (const part of layers.split(',')) {
    const name = decode(part.slice(1));
    if (name && part[0] === '+') switched.set(name, true);
    if (name && part[0] === '-') switched.set(name, false);
  }
  const sensible = Math.abs(longitude) <= LIMITS.longitude && Math.abs(latitude) <= LIMITS.latitude && zoom >= 0;
  if (!sensible) return { view: null, switched };
  return {
    view: { longitude, latitude, zoom, pitch: clamp(pitch, 0, 60), bearing: clamp(bearing, -180, 180) },
    switched,
  };
}

/**
 * @param {View} view
 * @param {Iterable<[string, boolean]>} switched
 */
export function writeHash(view, switched) {
  const camera = [
    view.longitude.toFixed(5),
    view.latitude.toFixed(5),
    view.zoom.toFixed(2),
    Math.round(view.pitch),
    Math.round(view.bearing),
  ].join(',');
  const layers = [...switched].map(([name, shown]) => (shown ? '+' : '-') + encodeURIComponent(name)).join(',');
  return `#${camera}${layers ? `;${layers}` : ''}`;
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

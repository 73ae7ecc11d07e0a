// What a click on the slanted map means: the roof or wall that is seen there, else the ground. Computed from the
// footprints in memory, so that no picking pass slows down pointer moves.

import { bounds, contains, crossings } from './geometry.js';
import { heightOf } from './style.js';

const TALLEST_METRES = 600;

// -> { longitude, latitude, height } of the point seen at pixel (x, y)
/**
 * @param {Viewport} viewport
 * @param {number} x
 * @param {number} y
 * @param {Source[]} sources
 * @param {boolean} raised
 * @returns {Place}
 */
export function pointSeen(viewport, x, y, sources, raised) {
  const [longitude, latitude] = viewport.unproject([x, y], { targetZ: 0 });
  const ground = { longitude, latitude, height: 0 };
  if (!raised) return ground;
  // Above the camera there is nothing to see, and the projection turns over.
  const camera = viewport.cameraPosition[2] / viewport.distanceScales.unitsPerMeter[2];
  const top = Math.min(TALLEST_METRES, camera * 0.8);
  const [topLongitude, topLatitude] = viewport.unproject([x, y], { targetZ: top });
  const ray = { ax: topLongitude, ay: topLatitude, bx: longitude, by: latitude, top };
  /** @type {{ at: number, point: Place } | null} */
  let best = null;
  for (const source of sources) {
    const { extrude } = source.props.style;
    if (!extrude) continue;
    const height = heightOf(extrude);
    for (const content of source.shownTiles()) {
      for (const fill of content.fills) {
        const hit = hitOf(ray, fill, height(fill.feature.properties));
        if (hit && (!best || hit.at < best.at)) best = hit;
      }
    }
  }
  return best ? best.point : ground;
}

// The ray runs from height `top` (at 0) down to the ground (at 1); it meets a prism by a wall or by the roof.
/**
 * @param {{ ax: number, ay: number, bx: number, by: number, top: number }} ray
 * @param {Fill} fill
 * @param {number} height
 * @returns {{ at: number, point: Place } | null}
 */
function hitOf({ ax, ay, bx, by, top }, fill, height) {
  fill.box ??= bounds(fill.rings[0]);
  const [west, south, east, north] = fill.box;
  if (Math.max(ax, bx) < west || Math.min(ax, bx) > east) return null;
  if (Math.max(ay, by) < south || Math.min(ay, by) > north) return null;
  const stops = crossings(fill.rings, ax, ay, bx, by);
  if (contains(fill.rings, ax, ay)) stops.unshift(0);
  if (contains(fill.rings, bx, by)) stops.push(1);
  const roof = 1 - height / top;
  for (let i = 0; i + 1 < stops.length; i += 2) {
    const [enter, leave] = [stops[i], stops[i + 1]];
    if (leave < roof) continue;
    const at = Math.max(enter, roof);
    // A point on a wall belongs to nobody for sure; go in half-way, under the roof.
    const inside = roof > enter ? at : (enter + leave) / 2;
    return {
      at,
      point: { longitude: ax + inside * (bx - ax), latitude: ay + inside * (by - ay), height: Math.max(0, height) },
    };
  }
  return null;
}

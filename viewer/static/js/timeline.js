// The moments that the time control offers. Pure: seconds since 1970 in and out.

export const STEP_SECONDS = 600;
const LENGTH_SECONDS = 86_400;

// -> { start, steps }: the last 24 hours in steps of ten minutes; from the shown moment on if that lies before them. The
// step after the last is now.
/**
 * @param {number} now
 * @param {number | null} at
 */
export function timeline(now, at) {
  const end = Math.floor(now / STEP_SECONDS) * STEP_SECONDS;
  const start = Math.min(end - LENGTH_SECONDS, at === null ? end : Math.floor(at / STEP_SECONDS) * STEP_SECONDS);
  return { start, steps: (end - start) / STEP_SECONDS + 1 };
}

// The moment of a step; null is now.
/**
 * @param {{ start: number, steps: number }} line
 * @param {number} step
 */
export function momentAt({ start, steps }, step) {
  return step >= steps ? null : start + step * STEP_SECONDS;
}

/**
 * @param {{ start: number, steps: number }} line
 * @param {number | null} at
 */
export function stepOf({ start, steps }, at) {
  return at === null ? steps : Math.max(0, Math.min(steps - 1, Math.round((at - start) / STEP_SECONDS)));
}

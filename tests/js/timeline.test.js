import assert from 'node:assert/strict';
import { test } from 'node:test';

import { momentAt, stepOf, timeline } from '../../viewer/static/js/timeline.js';

const NOW = 1_700_000_123;
const TEN = Math.floor(NOW / 600) * 600;

test('the line is the last 24 hours in steps of ten minutes, and its end is now', () => {
  const line = timeline(NOW, null);
  assert.deepEqual(line, { start: TEN - 86_400, steps: 145 });
  assert.deepEqual([momentAt(line, 0), momentAt(line, 144), momentAt(line, 145)], [TEN - 86_400, TEN, null]);
});

test('a moment and its step name each other', () => {
  const line = timeline(NOW, TEN - 7_200);
  for (let step = 0; step <= line.steps; step++) assert.equal(stepOf(line, momentAt(line, step)), step);
});

test('a moment before the last day is on the line too', () => {
  const at = TEN - 3 * 86_400;
  const line = timeline(NOW, at);
  assert.equal(line.start, at);
  assert.equal(stepOf(line, at), 0);
  assert.equal(momentAt(line, line.steps - 1), TEN);
});

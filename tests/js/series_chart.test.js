import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bandsOf, rangeOf, unbroken } from '../../viewer/static/js/series_chart.js';

const buckets = (...values) => values.map((value, i) => ({ start: String(i), value }));

test('a gap ends a line, and a value that stands alone is a line of one', () => {
  const runs = unbroken(buckets(null, 1, 2, null, null, 3, null, 4, 5));
  assert.deepEqual(runs.map((run) => run.map(({ value }) => value)), [[1, 2], [3], [4, 5]]);
  assert.deepEqual(unbroken(buckets(null, null)), []);
});

test('the axis has round numbers and holds all values', () => {
  for (const values of [[12, 57], [-0.4, 1.31], [0], [1.5, 1.5], [980, 1012], [0.001, 0.004]]) {
    const { low, high, ticks } = rangeOf(values);
    assert.ok(low <= Math.min(...values) && high >= Math.max(...values) && low < high, String(values));
    assert.ok(ticks.length >= 2 && ticks.length <= 6, String(values));
  }
  assert.deepEqual(rangeOf([12, 57]), { low: 0, high: 60, ticks: [0, 20, 40, 60] });
});

test('bands are the classes that the axis meets', () => {
  const scale = { limits: [25, 50], grades: [{ color: 'g' }, { color: 'y' }, { color: 'r' }] };
  assert.deepEqual(bandsOf(scale, 0, 40), [[0, 25, 'g'], [25, 40, 'y']]);
  assert.deepEqual(bandsOf(scale, 60, 80), [[60, 80, 'r']]);
  assert.deepEqual(bandsOf(null, 0, 1), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CityState, largestUnit, legendOf, readColumns } from '../../viewer/static/js/state.js';

const grade = (key, color) => ({ key, color, title: key });
const KINDS = [
  {
    kind: 'pm2_5', title: 'PM2.5', unit: 'ug/m3', digits: 1,
    scales: [{ name: 'pm2_5', limits: [25, 50], grades: [grade('good', '#00aa00'), grade('poor', '#ffaa00'), grade('bad', '#aa0000')] }],
  },
  {
    kind: 'water_level', title: 'Water', unit: 'm', digits: 2,
    scales: [
      { name: 'alarm', limits: [1.4, 1.5], grades: [grade('below', '#0000aa'), grade('one', '#ffaa00'), grade('two', '#aa0000')] },
      { name: 'alarm', limits: [1.6], grades: [grade('below_3', '#0000aa'), grade('three', '#550000')] },
    ],
  },
  { kind: 'humidity', title: 'Humidity', unit: '%', digits: 0, scales: [] },
];
const stream = (id, more = {}) => ({
  id, collection: 'env.air', kind: 'pm2_5', fid: null, cell: null, position: [106, 10], freshSeconds: 600, basis: 'measured',
  latest: null, ...more,
});

function cityAt(now, streams) {
  const state = new CityState(() => now);
  state.describe(streams, KINDS);
  return state;
}

// The columns as the server writes them.
function columns(rows) {
  const n = rows.length;
  const view = new DataView(new ArrayBuffer(4 + 14 * n));
  view.setUint32(0, n, true);
  rows.forEach(([id, value, seconds, rank, flag], i) => {
    view.setUint32(4 + 4 * i, id, true);
    view.setFloat32(4 + 4 * (n + i), value, true);
    view.setUint32(4 + 4 * (2 * n + i), seconds, true);
    view.setUint8(4 + 12 * n + i, rank);
    view.setUint8(4 + 13 * n + i, flag);
  });
  return view.buffer;
}

test('a normal value has the colour of its class', () => {
  const state = cityAt(1000, [stream(1)]);
  assert.deepEqual(state.take([[1, 30, 1, 0, 990]]), []);
  assert.equal(state.colorOf(1), '#ffaa00');
  assert.equal(state.gradeOf(1).key, 'poor');
  assert.equal(state.ageOf(1), 10);
});

test('a value that is old, flagged or missing is never shown as a normal one', () => {
  const state = cityAt(1000, [stream(1), stream(2), stream(3), stream(4)]);
  state.take([[1, 30, 1, 0, 399], [2, 30, -1, 6, 990], [3, null, -1, 1, 990]]);
  for (const id of [1, 2, 3, 4]) assert.equal(state.colorOf(id), null);
  assert.deepEqual(state.flagsOf(2), ['out_of_range', 'stuck']);
  assert.deepEqual([state.isFresh(1), state.isFresh(2), state.reading(4)], [false, true, null]);
});

test('streams that nobody described are told, and their values are kept', () => {
  const state = cityAt(1000, [stream(1)]);
  assert.deepEqual(state.take([[1, 1, 0, 0, 990], [7, 1, 0, 0, 990]]), [7]);
  state.describe([stream(1), stream(7)], KINDS);
  assert.equal(state.colorOf(7), '#00aa00');
});

test('the past is what the columns say, and now is there again afterwards', () => {
  const state = cityAt(100_000, [stream(1), stream(2)]);
  state.take([[1, 10, 0, 0, 99_990], [2, 10, 0, 0, 99_990]]);
  state.show(50_000, [columns([[1, 80.5, 49_900, 2, 0]])]);
  assert.deepEqual(state.reading(1), { value: 80.5, grade: 2, flag: 0, seconds: 49_900 });
  assert.deepEqual([state.ageOf(1), state.colorOf(1), state.reading(2)], [100, '#aa0000', null]);
  // Values that come meanwhile are of now.
  state.take([[1, 30, 1, 0, 99_995]]);
  assert.equal(state.colorOf(1), '#aa0000');
  state.show(null);
  assert.equal(state.colorOf(1), '#ffaa00');
});

test('columns hold missing values and missing classes', () => {
  assert.deepEqual([...readColumns(columns([[5, Number.NaN, 12, 255, 1]]))], [[5, { value: null, grade: -1, flag: 1, seconds: 12 }]]);
  assert.equal(readColumns(columns([])).size, 0);
});

test('a place with limits of its own is graded by them', () => {
  const state = cityAt(1000, [
    stream(1, { kind: 'water_level', latest: { grade: 'below_3' } }), stream(2, { kind: 'water_level', latest: { grade: 'one' } }),
  ]);
  state.take([[1, 1.7, 1, 0, 990], [2, 1.45, 1, 0, 990]]);
  assert.deepEqual([state.gradeOf(1).key, state.gradeOf(2).key], ['three', 'one']);
});

test('streams are found by feature and by cell', () => {
  const state = cityAt(0, [stream(1, { fid: 4 }), stream(2, { fid: 4, kind: 'humidity' }), stream(3, { cell: '89a', fid: null })]);
  assert.deepEqual(state.ofFeature('env.air', 4), [1, 2]);
  assert.deepEqual(state.ofFeature('env.air', 4, 'humidity'), [2]);
  assert.deepEqual([state.ofFeature('env.water', 4), state.ofFeature('env.air', null), state.ofCell('89a')], [[], [], [3]]);
});

test('features of painted layers, cells and points are drawn each in their way', () => {
  const state = cityAt(0, [
    stream(1, { fid: 4, collection: 'a.roads' }), stream(2, { fid: 9 }), stream(3, { cell: '89a' }), stream(4, { position: null }),
    stream(5, { kind: 'humidity' }),
  ]);
  const { features, cells, points } = state.drawn('pm2_5', new Set(['a.roads']));
  assert.deepEqual([...features.get('a.roads')], [[4, 1]]);
  assert.deepEqual([cells.map((s) => s.id), points.map((s) => s.id)], [[3], [2]]);
  assert.deepEqual(state.drawn(null, new Set()).points, []);
});

test('only kinds that are on the map are offered, with what their values rest on', () => {
  const state = cityAt(0, [
    stream(1, { kind: 'humidity' }), stream(2, { basis: 'simulated' }), stream(3, { kind: 'water_level', position: null }),
  ]);
  assert.deepEqual(state.kindsOnTheMap().map(({ kind }) => kind), ['pm2_5', 'humidity']);
  assert.deepEqual(state.basesOf('pm2_5'), ['simulated']);
});

test('a legend names limits where they hold for all places', () => {
  assert.deepEqual(legendOf(KINDS[0]).map(({ from, to }) => [from, to]), [[null, 25], [25, 50], [50, null]]);
  assert.deepEqual(legendOf(KINDS[1]).map(({ from, to }) => [from, to]), [[null, null], [null, null], [null, null]]);
  assert.deepEqual(legendOf(KINDS[2]), []);
});

test('a length of time is told in its largest unit', () => {
  assert.deepEqual([0, 59.9, 60, 3_599, 3_600, 86_400, 200_000].map(largestUnit), [
    [0, 'second'], [59, 'second'], [1, 'minute'], [59, 'minute'], [1, 'hour'], [1, 'day'], [2, 'day'],
  ]);
});

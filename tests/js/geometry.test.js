import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bounds, clipRing, contains, crossings, joinPaths, outlineInside, toLngLat } from '../../viewer/static/js/geometry.js';
import { signedArea } from '../../viewer/static/js/mvt.js';
import { random } from './random.js';

const SQUARE = [0, 0, 10, 0, 10, 10, 0, 10];

test('a ring inside the tile is left as it is, and one outside gives nothing', () => {
  assert.equal(clipRing(SQUARE, -1, 11), SQUARE);
  assert.deepEqual(clipRing(SQUARE, 20, 30), []);
});

test('a clipped ring lies in the square and has the area of the intersection', () => {
  const next = random(7);
  for (let round = 0; round < 300; round++) {
    const [west, south] = [next() * 20 - 10, next() * 20 - 10];
    const [width, height] = [1 + next() * 15, 1 + next() * 15];
    const kept = clipRing([west, south, west + width, south, west + width, south + height, west, south + height], 0, 10);
    const overlap = (low, size) => Math.max(0, Math.min(10, low + size) - Math.max(0, low));
    const expected = overlap(west, width) * overlap(south, height);
    assert.ok(Math.abs(Math.abs(kept.length ? signedArea(kept) / 2 : 0) - expected) < 1e-9);
    assert.ok(kept.every((value) => value >= -1e-9 && value <= 10 + 1e-9));
  }
});

test('an outline leaves out the edges that run along the tile and those outside of it', () => {
  assert.deepEqual(outlineInside([-5, 2, 5, 2, 5, 8, -5, 8], 10), [[0, 2, 5, 2, 5, 8, 0, 8]]);
  assert.deepEqual(outlineInside([20, 20, 30, 20, 30, 30], 10), []);
});

test('tile units become longitude and latitude, the world from edge to edge', () => {
  const world = { x: 0, y: 0, z: 0, extent: 4096 };
  const [west, north, east, south] = toLngLat([0, 0, 4096, 4096], world);
  assert.deepEqual([west, east], [-180, 180]);
  assert.ok(Math.abs(north - 85.0511287798) < 1e-9 && Math.abs(south + north) < 1e-9);
  assert.equal(toLngLat(SQUARE, world, true).length, SQUARE.length + 2);
  const closed = toLngLat(SQUARE, world, true);
  assert.deepEqual([...closed.slice(-2)], [...closed.slice(0, 2)]);
});

test('pieces of a street become one line, whichever way each runs', () => {
  const pieces = [[0, 0, 1, 0], [3, 0, 2, 0], [1, 0, 2, 0]];
  const [joined, ...more] = joinPaths(pieces);
  assert.deepEqual(more, []);
  const xs = joined.filter((_, i) => i % 2 === 0);
  assert.ok(xs.every((x, i) => i === 0 || Math.abs(x - xs[i - 1]) === 1) && xs.length === 4);
  assert.deepEqual(pieces[0], [0, 0, 1, 0], 'what was given stays as it was');
});

test('a closed loop is joined once and the joining ends', () => {
  assert.equal(joinPaths([[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0]]).length, 1);
});

test('a point is inside a ring and not in its hole', () => {
  const rings = [[0, 0, 10, 0, 10, 10, 0, 10, 0, 0], [4, 4, 6, 4, 6, 6, 4, 6, 4, 4]];
  assert.equal(contains(rings, 1, 1), true);
  assert.equal(contains(rings, 5, 5), false);
  assert.equal(contains(rings, 11, 5), false);
});

test('a ray meets a ring with a hole four times, in order', () => {
  const rings = [[0, 0, 10, 0, 10, 10, 0, 10, 0, 0], [4, 4, 6, 4, 6, 6, 4, 6, 4, 4]];
  assert.deepEqual(crossings(rings, -10, 5, 20, 5).map((t) => Math.round(t * 30 - 10)), [0, 4, 6, 10]);
});

test('bounds hold every point', () => {
  assert.deepEqual(bounds([3, -1, 7, 2, -4, 9]), [-4, -1, 7, 9]);
});

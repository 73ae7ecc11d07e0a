import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodeTile, signedArea } from '../../viewer/static/js/mvt.js';
import { tile } from './encode.js';
import { random } from './random.js';

const OUTER = [0, 0, 100, 0, 100, 100, 0, 100];
const HOLE = [20, 20, 20, 40, 40, 40, 40, 20];

test('features come back with their ids, properties and points', () => {
  const properties = { name: 'Phường Bến Nghé', height: -12.5, storeys: 3, below: -(2 ** 52), open: true, empty: '' };
  const features = [
    { id: 2 ** 52 + 7, kind: 1, paths: [[5, 6]], properties },
    { kind: 2, paths: [[0, 0, 10, -3, 4096, 4096]] },
  ];
  const layer = decodeTile(tile([{ name: 'a.b', extent: 512, features }])).get('a.b');
  assert.equal(layer.extent, 512);
  const [point, line] = layer.features;
  assert.deepEqual([point.id, point.kind, point.paths], [2 ** 52 + 7, 'point', [[5, 6]]]);
  assert.deepEqual({ ...point.properties }, properties);
  assert.deepEqual([line.id, line.kind, line.paths], [null, 'line', [[0, 0, 10, -3, 4096, 4096]]]);
});

test('holes go with the ring before them, and outer rings are clockwise however they were written', () => {
  const turned = (ring) => ring.map((_, i) => ring[ring.length - 2 - i + 2 * (i % 2)]);
  for (const paths of [[OUTER, HOLE], [turned(OUTER), turned(HOLE)]]) {
    const [feature] = decodeTile(tile([{ name: 'l', features: [{ kind: 3, paths }] }])).get('l').features;
    assert.equal(feature.polygons.length, 1);
    const [outer, hole] = feature.polygons[0];
    assert.ok(signedArea(outer) > 0 && signedArea(hole) < 0);
    assert.deepEqual([signedArea(outer) / 2, signedArea(hole) / 2], [10_000, -400]);
  }
});

test('a property called like a part of every object is only a property', () => {
  const [feature] = decodeTile(
    tile([{ name: 'l', features: [{ kind: 1, paths: [[1, 1]], properties: { constructor: 'x', ['__proto__']: 'y' } }] }]),
  ).get('l').features;
  assert.equal(feature.properties.constructor, 'x');
  assert.equal(feature.properties.toString, undefined);
});

test('several layers of a tile are told apart, and an empty tile has none', () => {
  const one = { features: [{ kind: 1, paths: [[1, 1]] }] };
  assert.deepEqual([...decodeTile(tile([{ name: 'a', ...one }, { name: 'b', ...one }])).keys()], ['a', 'b']);
  assert.equal(decodeTile(new ArrayBuffer(0)).size, 0);
});

test('a damaged tile ends in an error or in features, and never hangs', () => {
  const whole = new Uint8Array(tile([{ name: 'l', features: [{ id: 1, kind: 3, paths: [OUTER, HOLE], properties: { a: 'b' } }] }]));
  for (let length = 1; length < whole.length; length++) {
    assert.throws(() => decodeTile(whole.slice(0, length).buffer), RangeError);
  }
  const next = random(11);
  for (let round = 0; round < 3000; round++) {
    const damaged = whole.slice();
    for (let change = 0; change < 3; change++) damaged[Math.floor(next() * damaged.length)] = Math.floor(next() * 256);
    try {
      decodeTile(damaged.buffer);
    } catch (error) {
      assert.ok(error instanceof RangeError, error);
    }
  }
});

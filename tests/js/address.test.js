import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readHash, writeHash } from '../../viewer/static/js/address.js';

const VIEW = { longitude: 106.7, latitude: 10.77, zoom: 14.25, pitch: 40, bearing: -12 };

test('a view and switched layers come back from the address that they were written to', () => {
  const switched = new Map([['parks.trees', true], ['odd,;+-name', false]]);
  assert.deepEqual(readHash(writeHash(VIEW, switched)), { view: VIEW, switched });
});

test('an address that is no view gives none, and its layers all the same', () => {
  for (const camera of ['', 'x', '181,0,3,0,0', '106,86,3,0,0', '106,10,-1,0,0']) {
    assert.deepEqual(readHash(`#${camera};+a.b,-c.d`), { view: null, switched: new Map([['a.b', true], ['c.d', false]]) });
  }
});

test('pitch and bearing stay within what the map can show', () => {
  const { view } = readHash('#106,10,3,500,-999');
  assert.deepEqual([view.pitch, view.bearing], [60, -180]);
  assert.deepEqual([readHash('#106,10,3').view.pitch, readHash('#106,10,3').view.bearing], [0, 0]);
});

test('a layer whose name is not encoded rightly is left out', () => {
  assert.deepEqual(readHash('#;+%E0%A4%A,-ok').switched, new Map([['ok', false]]));
});

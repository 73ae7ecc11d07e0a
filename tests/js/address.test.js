import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readHash, writeHash } from '../../viewer/static/js/address.js';

const VIEW = { longitude: 106.7, latitude: 10.77, zoom: 14.25, pitch: 40, bearing: -12 };

test('a view and switched layers come back from the address that they were written to', () => {
  const switched = new Map([['parks.trees', true], ['odd,;+-name', false]]);
  assert.deepEqual(readHash(writeHash(VIEW, switched)), { view: VIEW, switched, state: {} });
});

test('an address that is no view gives none, and its layers all the same', () => {
  for (const camera of ['', 'x', '181,0,3,0,0', '106,86,3,0,0', '106,10,-1,0,0']) {
    const { view, switched } = readHash(`#${camera};+a.b,-c.d`);
    assert.deepEqual([view, switched], [null, new Map([['a.b', true], ['c.d', false]])]);
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

test('the kind and the moment of the state come back from the address', () => {
  const at = Date.UTC(2026, 10, 29, 7, 20) / 1000;
  for (const state of [{}, { kind: 'pm2_5' }, { kind: null }, { at }, { kind: 'rain', at }, { kind: null, at: at + 5 }]) {
    assert.deepEqual(readHash(writeHash(VIEW, [], state)).state, state);
  }
  assert.match(writeHash(VIEW, [], { kind: 'rain', at }), /;;rain@2026-11-29T07:20Z$/);
  assert.ok(!writeHash(VIEW, []).includes(';'));
});

test('a state that cannot be read is none', () => {
  for (const text of ['@', '@yesterday', '@2026-13-45T99:99Z', '<b>', '%E0']) assert.deepEqual(readHash(`#1,1,9;;${text}`).state, {});
});

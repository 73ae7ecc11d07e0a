import assert from 'node:assert/strict';
import { test } from 'node:test';

import { colorOf, heightOf, numberOf, parseColor, radiusOf } from '../../viewer/static/js/style.js';

const GREY = [184, 184, 184];

test('a colour is six hexadecimal digits, anything else is grey', () => {
  assert.deepEqual(parseColor('#a8CFe6'), [168, 207, 230]);
  for (const wrong of ['#fff', 'red', '', null, undefined, '#12345g']) assert.deepEqual(parseColor(wrong), GREY);
});

test('a constant colour takes the opacity, and no expression is grey', () => {
  assert.deepEqual(colorOf('#000000', 0.5)({}), [0, 0, 0, 128]);
  assert.deepEqual(colorOf(undefined)({}), [...GREY, 255]);
});

test('a category has its colour, and what is unknown or missing the other one', () => {
  const color = colorOf({ field: 'kind', categories: { river: '#0000ff', 3: '#00ff00' }, other: '#ff0000' });
  assert.deepEqual(color({ kind: 'river' }), [0, 0, 255, 255]);
  assert.deepEqual(color({ kind: 3 }), [0, 255, 0, 255]);
  for (const kind of ['lake', null, undefined, 'constructor']) assert.deepEqual(color({ kind }), [255, 0, 0, 255]);
});

test('between two stops a value is mixed, beyond the ends it is that of the end', () => {
  const number = numberOf({ field: 'n', stops: [[0, 10], [100, 20]] }, 7);
  assert.deepEqual([-5, 0, 25, 100, 1e9].map((n) => number({ n })), [10, 10, 12.5, 20, 20]);
  for (const n of [null, undefined, '50', Number.NaN]) assert.equal(number({ n }), 7);
  const color = colorOf({ field: 'n', stops: [[0, '#000000'], [10, '#0000ff']] });
  assert.deepEqual(color({ n: 5 }), [0, 0, 127.5, 255]);
});

test('a height is measured, else follows from storeys, else is the default of the theme', () => {
  const height = heightOf({ field: 'height', levels: { field: 'storeys' }, metres_per_level: 3, default: 5 });
  assert.deepEqual([{ height: 12, storeys: 2 }, { height: 0, storeys: 2 }, { storeys: -1 }, {}].map(height), [12, 6, 5, 5]);
  assert.equal(heightOf({ field: 'height' })({}), 3.5);
});

test('circles shrink when far away, but not to nothing', () => {
  const at = (zoom) => radiusOf({ radius: 10 }, zoom)({});
  assert.deepEqual([at(15), at(18), at(0)], [10, 10, 4]);
  assert.ok(at(13) < at(14) && at(14) < 10);
  assert.equal(radiusOf(undefined, 15)({}), 4);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { layOut, wrap } from '../../viewer/static/js/label_layout.js';
import { random } from './random.js';

// Seen from straight above, a pixel a unit: what is far is as large as what is near.
const viewport = {
  width: 800,
  height: 600,
  center: [0, 0, 0],
  viewProjectionMatrix: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  project: ([x, y]) => [x, y],
  unproject: ([x, y]) => [x, y],
  projectPosition: ([x, y]) => [x, y, 0],
};
const measure = (text) => text.length * 0.6;
const label = (given) => ({ rank: 0, priority: 0, size: 12, gap: 0, key: given.text, ...given });
const texts = (placed) => placed.map((p) => p.candidate.text);

test('of two labels in one place the more important one is shown', () => {
  const candidates = [label({ text: 'small', position: [100, 100], rank: 1 }), label({ text: 'large', position: [102, 100], rank: 9 })];
  assert.deepEqual(texts(layOut(candidates, viewport, measure)), ['large']);
  assert.deepEqual(texts(layOut([...candidates, label({ text: 'first', position: [101, 101], priority: 1 })], viewport, measure)), ['first']);
});

test('a label that is there already wins against its equals', () => {
  const candidates = [label({ text: 'a', position: [100, 100] }), label({ text: 'b', position: [101, 100] })];
  assert.deepEqual(texts(layOut(candidates, viewport, measure, new Set(['b']))), ['b']);
});

test('no name stands twice close together, and farther apart it does', () => {
  const twice = (distance) => [label({ text: 'x', key: '1', position: [100, 100] }), label({ text: 'x', key: '2', position: [100 + distance, 100] })];
  assert.equal(layOut(twice(200), viewport, measure).length, 1);
  assert.equal(layOut(twice(300), viewport, measure).length, 2);
});

test('no two labels overlap and none is off the screen, whatever is asked for', () => {
  const next = random(3);
  const candidates = Array.from({ length: 400 }, (_, i) =>
    label({ text: `name ${i}`, position: [next() * 1000 - 100, next() * 800 - 100], rank: next() }),
  );
  const placed = layOut(candidates, viewport, measure);
  assert.ok(placed.length > 20);
  const boxes = placed.map(({ text, position, offset, size }) => {
    const [x, y] = [position[0] + offset[0], position[1] + offset[1]];
    const width = (measure(text) * size) / 2;
    return [x - width, y - size / 2, x + width, y + size / 2];
  });
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(i + 1)) assert.ok(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]);
  }
  assert.ok(placed.every(({ position: [x, y] }) => x > -21 && y > -21 && x < 821 && y < 621));
});

test('a label beside a circle does not cover it', () => {
  const [placed] = layOut([label({ text: 'x', position: [100, 100], gap: 10 })], viewport, measure);
  assert.ok(Math.hypot(...placed.offset) > 10);
});

test('a name along a line reads from left to right and needs a line that is long enough', () => {
  const street = (path) => layOut([label({ text: 'Lê Lợi', path })], viewport, measure);
  assert.equal(street([100, 100, 300, 100])[0].angle, 0);
  assert.ok(Math.abs(street([300, 100, 100, 100])[0].angle) < 1e-9);
  assert.equal(street([100, 100, 120, 100]).length, 0);
  assert.ok(Math.abs(street([100, 300, 300, 100])[0].angle - 45) < 1e-9);
});

test('a long name breaks once, at the blank nearest its middle', () => {
  assert.equal(wrap('Bệnh viện Chợ Rẫy'), 'Bệnh viện Chợ Rẫy');
  assert.equal(wrap('Trường Đại học Bách khoa'), 'Trường Đại\nhọc Bách khoa');
  assert.equal(wrap('Donaudampfschifffahrt'), 'Donaudampfschifffahrt');
});

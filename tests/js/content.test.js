import assert from 'node:assert/strict';
import { test } from 'node:test';

import { contentOf, pictureOf } from '../../viewer/static/js/content.js';
import { decodeTile } from '../../viewer/static/js/mvt.js';
import { tile } from './encode.js';

const INDEX = { x: 0, y: 0, z: 0 };
const read = (...layers) => decodeTile(tile(layers));
const near = (a, b) => Math.abs(a - b) < 1e-6;

test('points are drawn by the one tile that holds them', () => {
  const features = [{ kind: 1, paths: [[10, 10]] }, { kind: 1, paths: [[4096, 10]] }, { kind: 1, paths: [[-1, 10]] }];
  assert.equal(contentOf(read({ name: 'c', features }), 'c', INDEX, { circle: {} }).points.length, 1);
});

test('flat fills end at the edge of the tile, buildings reach a little over it', () => {
  const features = [{ kind: 3, paths: [[-100, 0, 2048, 0, 2048, 2048, -100, 2048]] }];
  const west = (style) => Math.min(...contentOf(read({ name: 'c', features }), 'c', INDEX, style).fills[0].polygon.filter((_, i) => i % 2 === 0));
  assert.ok(near(west({ fill: '#000000' }), -180));
  assert.ok(near(west({ fill: '#000000', extrude: { field: 'h' } }), -180 - (4 / 4096) * 360));
});

test('a polygon with a hole is one list of positions with the place of its hole', () => {
  const outer = [0, 0, 100, 0, 100, 100, 0, 100];
  const hole = [20, 20, 20, 40, 40, 40, 40, 20];
  const [fill] = contentOf(read({ name: 'c', features: [{ kind: 3, paths: [outer, hole] }] }), 'c', INDEX, { fill: '#000000' }).fills;
  assert.equal(fill.rings.length, 2);
  assert.deepEqual(fill.polygon.holeIndices, [10]);
  assert.equal(fill.polygon.positions.length, 20);
});

test('outlines are drawn only where the style has lines', () => {
  const layers = { name: 'c', features: [{ kind: 3, paths: [[0, 0, 100, 0, 100, 100, 0, 100]] }] };
  assert.equal(contentOf(read(layers), 'c', INDEX, { fill: '#000000' }).outlines.length, 0);
  assert.equal(contentOf(read(layers), 'c', INDEX, { line: {} }).outlines.length, 1);
});

test('a street in pieces has one label, written along it', () => {
  const features = [
    { kind: 2, paths: [[0, 0, 10, 0]], properties: { name: ' Lê Lợi ' } },
    { kind: 2, paths: [[10, 0, 20, 0]], properties: { name: 'Lê Lợi' } },
    { kind: 2, paths: [[0, 50, 20, 50]] },
  ];
  const { labels, lines } = contentOf(read({ name: 'c', features }), 'c', INDEX, { label: { field: 'name', along: true }, line: {} });
  assert.equal(lines.length, 3);
  assert.deepEqual(labels.map((label) => [label.text, label.rank]), [['Lê Lợi', 20]]);
});

test('names come in the composed form, whichever form the tile has', () => {
  const features = [{ kind: 1, paths: [[5, 5]], properties: { name: 'Bến Nghé'.normalize('NFD') } }];
  const { labels } = contentOf(read({ name: 'c', features }), 'c', INDEX, { label: { field: 'name' } });
  assert.equal(labels[0].text, 'Bến Nghé'.normalize('NFC'));
});

test('labels and cells come from layers of their own, and a tile without the collection is empty', () => {
  const point = { kind: 1, paths: [[5, 5]], properties: { name: 'x', rank: 3 } };
  const cell = { kind: 3, paths: [[0, 0, 9000, 0, 9000, 9000, 0, 9000]] };
  const found = read({ name: 'c:label', features: [point] }, { name: 'c:cells', features: [cell] });
  const content = contentOf(found, 'c', INDEX, { label: { field: 'name' }, cells: { color: '#000000' } });
  assert.deepEqual(content.labels.map((label) => label.rank), [3]);
  assert.equal(content.cells.length, 1);
  assert.ok(Math.max(...content.cells[0].polygon.filter((_, i) => i % 2 === 0)) <= 180 + 1e-9);
  const none = contentOf(found, 'other', INDEX, { label: { field: 'name' } });
  assert.deepEqual([none.fills, none.labels, none.cells, none.points], [[], [], [], []]);
});

test('a picture has no features', () => {
  const image = { width: 1 };
  const content = pictureOf(image, INDEX);
  assert.equal(content.image, image);
  assert.equal(content.fills.length + content.points.length, 0);
});

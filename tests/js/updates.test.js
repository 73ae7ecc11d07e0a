import assert from 'node:assert/strict';
import { test } from 'node:test';

import { changesSince, Updates } from '../../viewer/static/js/updates.js';

const collections = [{ id: 'a.b', version: 3 }, { id: 'c.d', version: 1 }];

test('a list of versions says what was published, rolled back, shown and hidden', () => {
  assert.deepEqual(changesSince(collections, { 'a.b': 3, 'c.d': 1 }), []);
  assert.deepEqual(changesSince(collections, { 'a.b': 4, 'e.f': 1 }), [
    { layer: 'a.b', version: 4, kind: 'published' },
    { layer: 'e.f', version: 1, kind: 'shown' },
    { layer: 'c.d', version: null, kind: 'hidden' },
  ]);
  assert.deepEqual(changesSince(collections, { 'a.b': 2, 'c.d': 1 }), [{ layer: 'a.b', version: 2, kind: 'rolled-back' }]);
});

test('a change is applied when the list and the deck both know of it, though one is late', async () => {
  let asked = 0;
  const applied = [];
  const updates = new Updates({
    fetchParts: async () => {
      asked += 1;
      const version = asked < 3 ? 1 : 2;
      return [[{ id: 'a.b', version: 2 }], { layers: [{ collection: 'a.b', data: `/tiles/a.b@${version}/{z}/{x}/{y}.mvt` }] }];
    },
    apply: (...given) => applied.push(given),
  });
  await updates.take([{ layer: 'a.b', version: 2, kind: 'published' }]);
  assert.equal(asked, 3);
  assert.equal(applied.length, 1);
  assert.deepEqual(applied[0][2], [{ layer: 'a.b', version: 2, kind: 'published' }]);
});

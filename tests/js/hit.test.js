import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pointSeen } from '../../viewer/static/js/hit.js';

// A camera that looks north at an angle of 45°: what is a metre higher is seen a unit farther south.
const viewport = {
  cameraPosition: [0, 0, 1000],
  distanceScales: { unitsPerMeter: [1, 1, 1] },
  unproject: ([x, y], { targetZ }) => [x, y - targetZ],
};
const building = (height) => ({
  props: { style: { extrude: { field: 'height' } } },
  shownTiles: () => [{ fills: [{ feature: { properties: { height } }, rings: [[0, 0, 10, 0, 10, 10, 0, 10, 0, 0]] }] }],
});

test('a click on the ground is the ground, and on a flat map everything is', () => {
  assert.deepEqual(pointSeen(viewport, 5, -50, [building(20)], true), { longitude: 5, latitude: -50, height: 0 });
  assert.equal(pointSeen(viewport, 5, 5, [building(20)], false).height, 0);
});

test('a click on the roof is the building under it, not what lies behind', () => {
  const seen = pointSeen(viewport, 5, 25, [building(20)], true);
  assert.equal(seen.height, 20);
  assert.ok(Math.abs(seen.latitude - 5) < 1e-9);
});

test('a click on a wall is the building too', () => {
  const seen = pointSeen(viewport, 5, 5, [building(20)], true);
  assert.equal(seen.height, 20);
  assert.ok(seen.latitude > 0 && seen.latitude < 10);
});

test('layers that are not raised hide nothing', () => {
  const flat = { ...building(20), props: { style: { fill: '#000000' } } };
  assert.equal(pointSeen(viewport, 5, 25, [flat], true).height, 0);
});

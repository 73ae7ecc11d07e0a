// One collection's part of one tile, made ready for drawing and labelling: WGS84, cut at the tile's edge, features
// of points only in the tile that holds them.

import { clipRing, joinPaths, outlineInside, toLngLat } from './geometry.js';

const LABEL_SUFFIX = ':label';
// Coarser cells that stand for features where these are too many to be drawn.
const CELLS_SUFFIX = ':cells';
// Buildings reach this many tile units into the neighbouring tile: their roofs overlap unseen, where roofs that only
// met would leave a crack. Flat fills must meet exactly, or a see-through one would be darker along the seam.
const SOLID_OVERLAP = 4;

// A raster's tile is a picture and has no features.
/**
 * @param {ImageBitmap | null} image
 * @param {TileIndex} index
 * @returns {Content}
 */
export function pictureOf(image, index) {
  return { ...nothing(index), image };
}

/**
 * @param {TileIndex} index
 * @returns {Content}
 */
function nothing(index) {
  return { ...index, fills: [], outlines: [], lines: [], points: [], labels: [], cells: [] };
}

/**
 * @param {Tile} tile
 * @param {string} collection
 * @param {TileIndex} index
 * @param {Style} style
 */
export function contentOf(tile, collection, index, style) {
  const content = nothing(index);
  const layer = tile.get(collection);
  if (layer) fillContent(content, layer, { ...index, extent: layer.extent }, style);
  const cells = tile.get(collection + CELLS_SUFFIX);
  if (cells && style.cells) addCells(content, cells, { ...index, extent: cells.extent });
  const labels = tile.get(collection + LABEL_SUFFIX);
  if (labels && style.label) addLabels(content, labels, { ...index, extent: labels.extent }, style.label.field);
  return content;
}

// Cut at the tile's edge: where see-through cells of two tiles lay over each other, the seam would show.
/**
 * @param {Content} content
 * @param {TileLayerData} layer
 * @param {Frame} frame
 */
function addCells(content, layer, frame) {
  for (const feature of layer.features) {
    for (const [outer] of feature.polygons ?? []) {
      const ring = clipRing(outer, 0, frame.extent);
      if (ring.length) content.cells.push(fill(feature, [ring], frame));
    }
  }
}

/**
 * @param {Content} content
 * @param {TileLayerData} layer
 * @param {Frame} frame
 * @param {Style} style
 */
function fillContent(content, layer, frame, style) {
  for (const feature of layer.features) {
    if (feature.kind === 'polygon') addPolygons(content, feature, frame, style);
    else if (feature.kind === 'line') addLines(content, feature, frame);
    else if (feature.kind === 'point') addPoints(content, feature, frame);
  }
  if (!style.label) return;
  if (style.label.along) addLineLabels(content, layer, frame, style.label.field);
  else addPointLabels(content, style.label.field);
}

/**
 * @param {Content} content
 * @param {Feature} feature
 * @param {Frame} frame
 * @param {Style} style
 */
function addPolygons(content, feature, frame, style) {
  const overlap = style.extrude ? SOLID_OVERLAP : 0;
  for (const rings of feature.polygons) {
    const [outer, ...holes] = rings.map((ring) => clipRing(ring, -overlap, frame.extent + overlap));
    if (outer.length) {
      content.fills.push(fill(feature, [outer, ...holes.filter((hole) => hole.length)], frame));
    }
    if (!style.line) continue;
    for (const ring of rings) {
      for (const path of outlineInside(ring, frame.extent)) {
        content.outlines.push({ feature, path: toLngLat(path, frame) });
      }
    }
  }
}

/**
 * @param {Feature} feature
 * @param {Path[]} rings
 * @param {Frame} frame
 * @returns {Fill}
 */
function fill(feature, rings, frame) {
  const parts = rings.map((ring) => toLngLat(ring, frame, true));
  if (parts.length === 1) return { feature, rings: parts, polygon: parts[0] };
  const positions = new Float64Array(parts.reduce((size, part) => size + part.length, 0));
  /** @type {number[]} */
  const holeIndices = [];
  let at = 0;
  for (const part of parts) {
    if (at) holeIndices.push(at);
    positions.set(part, at);
    at += part.length;
  }
  return { feature, rings: parts, polygon: { positions, holeIndices } };
}

/**
 * @param {Content} content
 * @param {Feature} feature
 * @param {Frame} frame
 */
function addLines(content, feature, frame) {
  for (const path of feature.paths) {
    if (path.length >= 4) content.lines.push({ feature, path: toLngLat(path, frame) });
  }
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} extent
 */
function inTile(x, y, extent) {
  return x >= 0 && y >= 0 && x < extent && y < extent;
}

/**
 * @param {Content} content
 * @param {Feature} feature
 * @param {Frame} frame
 */
function addPoints(content, feature, frame) {
  for (const path of feature.paths) {
    if (inTile(path[0], path[1], frame.extent)) {
      content.points.push({ feature, position: toLngLat(path.slice(0, 2), frame) });
    }
  }
}

/**
 * @param {Content} content
 * @param {string} field
 */
function addPointLabels(content, field) {
  for (const { feature, position } of content.points) {
    const text = labelText(feature, field);
    if (text) content.labels.push({ text, position, rank: feature.properties.rank ?? 0, feature });
  }
}

/**
 * @param {Content} content
 * @param {TileLayerData} layer
 * @param {Frame} frame
 * @param {string} field
 */
function addLabels(content, layer, frame, field) {
  for (const feature of layer.features) {
    const text = labelText(feature, field);
    const [path] = feature.paths;
    if (text && path && inTile(path[0], path[1], frame.extent)) {
      const rank = Number(feature.properties.rank) || 0;
      content.labels.push({ text, position: toLngLat(path.slice(0, 2), frame), rank, feature });
    }
  }
}

/**
 * @param {Content} content
 * @param {TileLayerData} layer
 * @param {Frame} frame
 * @param {string} field
 */
function addLineLabels(content, layer, frame, field) {
  /** @type {Map<string, { feature: Feature, paths: Path[] }>} */
  const named = new Map();
  for (const feature of layer.features) {
    const text = feature.kind === 'line' && labelText(feature, field);
    if (!text) continue;
    const known = named.get(text);
    if (known) known.paths.push(...feature.paths);
    else named.set(text, { feature, paths: [...feature.paths] });
  }
  for (const [text, { feature, paths }] of named) {
    for (const path of joinPaths(paths)) {
      content.labels.push({ text, path: toLngLat(path, frame), rank: length(path), feature });
    }
  }
}

/** @param {Path} path */
function length(path) {
  let sum = 0;
  for (let i = 2; i < path.length; i += 2) sum += Math.hypot(path[i] - path[i - 2], path[i + 1] - path[i - 1]);
  return sum;
}

/**
 * @param {Feature} feature
 * @param {string} field
 */
function labelText(feature, field) {
  const value = feature.properties[field];
  return value === null || value === undefined ? '' : String(value).trim().normalize('NFC');
}

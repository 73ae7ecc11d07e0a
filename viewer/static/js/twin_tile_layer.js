// Draws one collection from the shared tiles, as its style says. The class name is what the deck's JSON asks for.

import { contentOf, pictureOf } from './content.js';
import { colorOf, heightOf, numberOf, radiusOf } from './style.js';
import { decodePicture } from './tiles.js';

/** @typedef {{ feature: Feature }} Drawn */

const EARTH_CIRCUMFERENCE_M = 40_075_016.7;
const TILE_PIXELS = 512;
const CASING_PIXELS = 0.9;
const TILES_AT_ONCE = 8;
const STATE_RIM = [34, 48, 58, 170];
const NO_RIM = [0, 0, 0, 0];

// What is drawn first over all tiles, so that one tile's casing never covers its neighbour's road.
const PASS = { fill: 0, casing: 1, line: 2, circle: 3 };

// Flat things leave no depth, so they never fight each other, yet buildings drawn before them hide what is behind.
const FLAT = { depthWriteEnabled: false, depthCompare: 'less-equal' };
const SOLID = { depthWriteEnabled: true, depthCompare: 'less-equal', cullMode: 'back' };
const ON_TOP = { depthWriteEnabled: false, depthCompare: 'always' };

// With the deck's lights a roof keeps its legend colour and walls fall to 85, 77 and 70 percent of it.
const WALL_OFFSET = [2, 8];
const WALLS = { ambient: 0.56, diffuse: 0.26, shininess: 1, specularColor: [0, 0, 0] };

// Lines of a tile in the order in which they are drawn.
/** @type {WeakMap<DrawnPath[], DrawnPath[]>} */
const byWidth = new WeakMap();

// The colour that the city's state gives to a feature, if any.
/**
 * @param {Paint | null} paint
 * @param {Drawn} drawn
 */
function painted(paint, { feature }) {
  return paint?.colors.get(feature.id ?? -1) ?? paint?.other;
}

/** @param {TileIndex} tile */
function metresPerPixel({ y, z }) {
  const latitude = Math.atan(Math.sinh(Math.PI * (1 - (2 * (y + 0.5)) / 2 ** z)));
  return (EARTH_CIRCUMFERENCE_M * Math.cos(latitude)) / (TILE_PIXELS * 2 ** z);
}

/**
 * @param {string} template
 * @param {TileIndex} tile
 */
export function tileUrl(template, { x, y, z }) {
  return template.replace('{z}', String(z)).replace('{x}', String(x)).replace('{y}', String(y));
}

/**
 * @param {any} deck
 * @param {import("./tiles.js").TileStore} store
 * @returns {any}
 */
export function defineTwinTileLayer(deck, store) {
  const { BitmapLayer, TileLayer, SolidPolygonLayer, PathLayer, ScatterplotLayer } = deck;

  // Walls are drawn a hair farther away than roofs: where a tile cuts a building, the cut's wall then stays under the
  // neighbour's roof instead of shining through it as a line.
  class BuildingLayer extends SolidPolygonLayer {
    /** @param {any} options */
    draw(options) {
      const { sideModel, topModel } = this.state;
      if (!sideModel) {
        super.draw(options);
        return;
      }
      this.context.device.withParametersWebGL({ polygonOffsetFill: true, polygonOffset: WALL_OFFSET }, () => {
        this.state.topModel = null;
        super.draw(options);
      });
      Object.assign(this.state, { sideModel: null, topModel });
      super.draw(options);
      this.state.sideModel = sideModel;
    }
  }
  BuildingLayer.layerName = 'BuildingLayer';

  class TwinTileLayer extends TileLayer {
    /**
     * @param {{ index: TileIndex, signal: AbortSignal }} tile
     * @returns {Promise<Content>}
     */
    async getTileData({ index, signal }) {
      const { data, collection, pixels, style } = this.props;
      if (pixels) return pictureOf(await store.load(tileUrl(pixels, index), signal, decodePicture), index);
      const tile = await store.load(tileUrl(data, index), signal);
      return contentOf(tile, collection, index, style);
    }

    // Tiles that are on the screen now with their content, for labels and for clicks.
    /** @returns {Content[]} */
    shownTiles() {
      const tiles = this.state?.tileset?.tiles ?? [];
      return tiles.filter((/** @type {any} */ t) => t.isVisible && t.content).map((/** @type {any} */ t) => t.content);
    }

    // Ask again for the tiles that the server could not give; the others stay.
    retry() {
      const tiles = this.state?.tileset?.tiles ?? [];
      for (const tile of tiles) if (tile.isLoaded && tile.content === null) tile.setNeedsReload();
      this.setNeedsUpdate();
    }

    renderLayers() {
      // Which tiles show is settled by now; whoever labels them may look again.
      this.props.onShown();
      const layers = super.renderLayers().flat().filter(Boolean);
      return layers.sort((/** @type {any} */ a, /** @type {any} */ b) => a.props.pass - b.props.pass);
    }

    /** @param {any} given */
    renderSubLayers({ id, data: content, style, raised, paint, tile }) {
      if (!content) return null;
      if (content.image) return [this.#picture(id, content.image, style, tile.boundingBox)];
      const layers = [];
      if (content.cells.length && style.cells) layers.push(this.#cells(id, content, style.cells));
      if (content.fills.length && style.fill) layers.push(this.#fills(id, content, style, raised, paint));
      if (content.outlines.length && style.line) layers.push(...this.#paths(id, content, content.outlines, style.line));
      if (content.lines.length && style.line) layers.push(...this.#paths(id, content, content.lines, style.line, paint));
      if (content.points.length && content.z >= (style.circle?.minzoom ?? 0) && style.circle) {
        layers.push(this.#circles(id, content, style.circle));
      }
      return layers;
    }

    // Pixels keep sharp edges: blended, two classes would make the colour of a third, and where the picture turns
    // transparent a dark rim would show. Quantities were blended by the server.
    /**
     * @param {string} id
     * @param {ImageBitmap} image
     * @param {Style} style
     * @param {[Pair, Pair]} box
     */
    #picture(id, image, style, [[west, south], [east, north]]) {
      return new BitmapLayer({
        id: `${id}-picture`,
        pass: PASS.fill,
        image,
        bounds: [west, south, east, north],
        // deck takes a root of it, as screens brighten; polygons take their opacity as it is, and so shall pictures.
        opacity: (style.opacity ?? 1) ** 2.2,
        textureParameters: { minFilter: 'nearest', magFilter: 'nearest', mipmapFilter: 'none' },
        parameters: FLAT,
      });
    }

    // Where little is counted hardly anything is drawn: streets and water stay to be seen.
    /**
     * @param {string} id
     * @param {Content} content
     * @param {NonNullable<Style["cells"]>} style
     */
    #cells(id, content, { color, opacity }) {
      const paint = colorOf(color);
      const share = numberOf(opacity, 0.3);
      const tint = (/** @type {Drawn} */ { feature: { properties } }) => {
        const [red, green, blue] = paint(properties);
        return [red, green, blue, Math.round(255 * share(properties))];
      };
      return new SolidPolygonLayer({
        id: `${id}-cells`,
        pass: PASS.fill,
        data: content.cells,
        positionFormat: 'XY',
        _normalize: false,
        getPolygon: (/** @type {Fill} */ d) => d.polygon,
        getFillColor: tint,
        getPolygonOffset: () => [0, 0],
        parameters: FLAT,
      });
    }

    /**
     * @param {string} id
     * @param {Content} content
     * @param {Style} style
     * @param {boolean} raised
     * @param {Paint | null} paint
     */
    #fills(id, content, style, raised, paint) {
      const color = colorOf(style.fill, style.opacity);
      const extruded = Boolean(style.extrude) && raised;
      const height = style.extrude ? heightOf(style.extrude) : () => 0;
      return new (style.extrude ? BuildingLayer : SolidPolygonLayer)({
        id: `${id}-fill`,
        pass: PASS.fill,
        data: content.fills,
        positionFormat: 'XY',
        // Rings come closed and clockwise from the decoder.
        _normalize: false,
        getPolygon: (/** @type {Fill} */ d) => d.polygon,
        getFillColor: (/** @type {Drawn} */ d) => painted(paint, d) ?? color(d.feature.properties),
        updateTriggers: { getFillColor: paint?.version },
        getElevation: (/** @type {Drawn} */ d) => height(d.feature.properties),
        extruded,
        // deck lifts each later layer a little; between tiles that would show as cracks across roofs.
        getPolygonOffset: () => [0, 0],
        material: WALLS,
        parameters: extruded ? SOLID : FLAT,
      });
    }

    // Widths are metres on the ground but never thinner than their least pixels at this tile's zoom.
    /**
     * @param {string} id
     * @param {Content} content
     * @param {DrawnPath[]} data
     * @param {LineStyle} line
     * @param {Paint | null} paint
     */
    #paths(id, content, data, line, paint = null) {
      const pixel = metresPerPixel(content);
      const metres = numberOf(line.width, 1);
      const least = numberOf(line.min_pixels, 0.5);
      const width = (/** @type {Drawn} */ d) => Math.max(metres(d.feature.properties), least(d.feature.properties) * pixel);
      const color = colorOf(line.color, line.opacity);
      // The same array each time, or deck would make the geometry anew when only colours change.
      const sorted = byWidth.get(data) ?? [...data].sort((a, b) => width(a) - width(b));
      byWidth.set(data, sorted);
      const common = {
        data: sorted,
        positionFormat: 'XY',
        _pathType: 'open',
        getPath: (/** @type {DrawnPath} */ d) => d.path,
        widthUnits: 'meters',
        widthMinPixels: 0.4,
        jointRounded: true,
        capRounded: true,
        parameters: FLAT,
      };
      const drawn = new PathLayer({
        ...common,
        id: `${id}-line`,
        pass: PASS.line,
        getWidth: width,
        getColor: (/** @type {Drawn} */ d) => painted(paint, d) ?? color(d.feature.properties),
        updateTriggers: { getColor: paint?.version },
      });
      if (!line.casing && !paint) return [drawn];
      // A pale class would be lost on pale ground: what has a colour of its state gets a dark rim.
      const casing = line.casing ? colorOf(line.casing) : () => NO_RIM;
      const rim = (/** @type {Drawn} */ { feature }) => {
        const own = paint?.colors.get(feature.id ?? -1);
        return own && own !== paint?.old ? STATE_RIM : casing(feature.properties);
      };
      return [
        new PathLayer({
          ...common,
          id: `${id}-casing`,
          pass: PASS.casing,
          getWidth: (/** @type {Drawn} */ d) => width(d) + 2 * CASING_PIXELS * pixel,
          getColor: rim,
          updateTriggers: { getColor: paint?.version },
        }),
        drawn,
      ];
    }

    /**
     * @param {string} id
     * @param {Content} content
     * @param {CircleStyle} circle
     */
    #circles(id, content, circle) {
      const color = colorOf(circle.color);
      const radius = radiusOf(circle, content.z);
      const stroke = colorOf(circle.stroke ?? '#ffffff');
      return new ScatterplotLayer({
        id: `${id}-circle`,
        pass: PASS.circle,
        data: content.points,
        getPosition: (/** @type {any} */ d) => d.position,
        getFillColor: (/** @type {Drawn} */ d) => color(d.feature.properties),
        getRadius: (/** @type {Drawn} */ d) => radius(d.feature.properties),
        getLineColor: (/** @type {Drawn} */ d) => stroke(d.feature.properties),
        radiusUnits: 'pixels',
        lineWidthUnits: 'pixels',
        getLineWidth: 1.25,
        stroked: true,
        billboard: true,
        parameters: ON_TOP,
      });
    }
  }

  TwinTileLayer.layerName = 'TwinTileLayer';
  TwinTileLayer.defaultProps = {
    collection: '',
    pixels: '',
    style: { type: 'object', value: {} },
    raised: true,
    paint: { type: 'object', value: null, optional: true },
    onShown: { type: 'function', value: () => {} },
    maxRequests: TILES_AT_ONCE,
    onTileError: { type: 'function', value: () => {} },
    refinementStrategy: 'best-available',
  };
  return TwinTileLayer;
}

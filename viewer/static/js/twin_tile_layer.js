// Draws one collection from the shared tiles, as its style says. The class name is what the deck's JSON asks for.

import { contentOf, pictureOf } from './content.js';
import { colorOf, heightOf, numberOf, radiusOf } from './style.js';
import { decodePicture } from './tiles.js';

const EARTH_CIRCUMFERENCE_M = 40_075_016.7;
const TILE_PIXELS = 512;
const CASING_PIXELS = 0.9;
const TILES_AT_ONCE = 8;

// What is drawn first over all tiles, so that one tile's casing never covers its neighbour's road.
const PASS = { fill: 0, casing: 1, line: 2, circle: 3 };

// Flat things leave no depth, so they never fight each other, yet buildings drawn before them hide what is behind.
const FLAT = { depthWriteEnabled: false, depthCompare: 'less-equal' };
const SOLID = { depthWriteEnabled: true, depthCompare: 'less-equal', cullMode: 'back' };
const ON_TOP = { depthWriteEnabled: false, depthCompare: 'always' };

// With the deck's lights a roof keeps its legend colour and walls fall to 85, 77 and 70 percent of it.
const WALL_OFFSET = [2, 8];
const WALLS = { ambient: 0.56, diffuse: 0.26, shininess: 1, specularColor: [0, 0, 0] };

function metresPerPixel({ y, z }) {
  const latitude = Math.atan(Math.sinh(Math.PI * (1 - (2 * (y + 0.5)) / 2 ** z)));
  return (EARTH_CIRCUMFERENCE_M * Math.cos(latitude)) / (TILE_PIXELS * 2 ** z);
}

export function tileUrl(template, { x, y, z }) {
  return template.replace('{z}', z).replace('{x}', x).replace('{y}', y);
}

export function defineTwinTileLayer(deck, store) {
  const { BitmapLayer, TileLayer, SolidPolygonLayer, PathLayer, ScatterplotLayer } = deck;

  // Walls are drawn a hair farther away than roofs: where a tile cuts a building, the cut's wall then stays under the
  // neighbour's roof instead of shining through it as a line.
  class BuildingLayer extends SolidPolygonLayer {
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
    async getTileData({ index, signal }) {
      const { data, collection, pixels, style } = this.props;
      if (pixels) return pictureOf(await store.load(tileUrl(pixels, index), signal, decodePicture), index);
      const tile = await store.load(tileUrl(data, index), signal);
      return contentOf(tile, collection, index, style);
    }

    // Tiles that are on the screen now with their content, for labels and for clicks.
    shownTiles() {
      const tiles = this.state?.tileset?.tiles ?? [];
      return tiles.filter((tile) => tile.isVisible && tile.content).map((tile) => tile.content);
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
      return layers.sort((a, b) => a.props.pass - b.props.pass);
    }

    renderSubLayers({ id, data: content, style, raised, tile }) {
      if (!content) return null;
      if (content.image) return [this.#picture(id, content.image, style, tile.boundingBox)];
      const layers = [];
      if (content.cells.length && style.cells) layers.push(this.#cells(id, content, style.cells));
      if (content.fills.length && style.fill) layers.push(this.#fills(id, content, style, raised));
      if (content.outlines.length) layers.push(...this.#paths(id, content, content.outlines, style.line));
      if (content.lines.length && style.line) layers.push(...this.#paths(id, content, content.lines, style.line));
      if (content.points.length && content.z >= (style.circle?.minzoom ?? 0) && style.circle) {
        layers.push(this.#circles(id, content, style.circle));
      }
      return layers;
    }

    // Pixels keep sharp edges: blended, two classes would make the colour of a third, and where the picture turns
    // transparent a dark rim would show. Quantities were blended by the server.
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
    #cells(id, content, { color, opacity }) {
      const paint = colorOf(color);
      const share = numberOf(opacity, 0.3);
      const tint = ({ feature: { properties } }) => {
        const [red, green, blue] = paint(properties);
        return [red, green, blue, Math.round(255 * share(properties))];
      };
      return new SolidPolygonLayer({
        id: `${id}-cells`,
        pass: PASS.fill,
        data: content.cells,
        positionFormat: 'XY',
        _normalize: false,
        getPolygon: (d) => d.polygon,
        getFillColor: tint,
        getPolygonOffset: () => [0, 0],
        parameters: FLAT,
      });
    }

    #fills(id, content, style, raised) {
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
        getPolygon: (d) => d.polygon,
        getFillColor: (d) => color(d.feature.properties),
        getElevation: (d) => height(d.feature.properties),
        extruded,
        // deck lifts each later layer a little; between tiles that would show as cracks across roofs.
        getPolygonOffset: () => [0, 0],
        material: WALLS,
        parameters: extruded ? SOLID : FLAT,
      });
    }

    // Widths are metres on the ground but never thinner than their least pixels at this tile's zoom.
    #paths(id, content, data, line) {
      const pixel = metresPerPixel(content);
      const metres = numberOf(line.width, 1);
      const least = numberOf(line.min_pixels, 0.5);
      const width = (d) => Math.max(metres(d.feature.properties), least(d.feature.properties) * pixel);
      const color = colorOf(line.color, line.opacity);
      const sorted = [...data].sort((a, b) => width(a) - width(b));
      const common = {
        data: sorted,
        positionFormat: 'XY',
        _pathType: 'open',
        getPath: (d) => d.path,
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
        getColor: (d) => color(d.feature.properties),
      });
      if (!line.casing) return [drawn];
      const casing = colorOf(line.casing);
      return [
        new PathLayer({
          ...common,
          id: `${id}-casing`,
          pass: PASS.casing,
          getWidth: (d) => width(d) + 2 * CASING_PIXELS * pixel,
          getColor: (d) => casing(d.feature.properties),
        }),
        drawn,
      ];
    }

    #circles(id, content, circle) {
      const color = colorOf(circle.color);
      const radius = radiusOf(circle, content.z);
      const stroke = colorOf(circle.stroke ?? '#ffffff');
      return new ScatterplotLayer({
        id: `${id}-circle`,
        pass: PASS.circle,
        data: content.points,
        getPosition: (d) => d.position,
        getFillColor: (d) => color(d.feature.properties),
        getRadius: (d) => radius(d.feature.properties),
        getLineColor: (d) => stroke(d.feature.properties),
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
    onShown: { type: 'function', value: () => {} },
    maxRequests: TILES_AT_ONCE,
    onTileError: { type: 'function', value: () => {} },
    refinementStrategy: 'best-available',
  };
  return TwinTileLayer;
}

// Types of the page's JavaScript, for its checks only: browsers never load this file.

/** Flat coordinates: x, y, x, y, … */
type Path = number[] | Float64Array;
type Pair = [number, number];
/** west, north, east, south in pixels, or west, south, east, north in degrees */
type Box = [number, number, number, number];
type Color = number[];
type Value = string | number | boolean | null;
type Properties = Record<string, any>;
type Language = 'vi' | 'en';

interface TileIndex {
  x: number;
  y: number;
  z: number;
}

interface Frame extends TileIndex {
  extent: number;
}

interface Feature {
  id: number | null;
  kind: 'point' | 'line' | 'polygon' | null;
  properties: Properties;
  paths: number[][];
  polygons: number[][][];
}

interface TileLayerData {
  name: string;
  extent: number;
  features: Feature[];
}

type Tile = Map<string, TileLayerData>;

interface Fill {
  feature: Feature;
  rings: Float64Array[];
  polygon: Float64Array | { positions: Float64Array; holeIndices: number[] };
  box?: Box;
}

interface DrawnPath {
  feature: Feature;
  path: Float64Array;
}

interface TileLabel {
  text: string;
  rank: number;
  feature: Feature;
  position?: Path;
  path?: Path;
}

/** One collection's part of one tile. */
interface Content extends TileIndex {
  fills: Fill[];
  outlines: DrawnPath[];
  lines: DrawnPath[];
  points: { feature: Feature; position: Float64Array }[];
  labels: TileLabel[];
  cells: Fill[];
  image?: ImageBitmap | null;
}

/** A constant, a value a category, or stops: see “Styles” in docs/architecture.md. */
type Expression =
  | string
  | number
  | null
  | undefined
  | { field: string; other?: string | number; stops?: [number, any][]; categories?: Record<string, any> };

interface Extrude {
  field: string;
  levels?: { field: string };
  metres_per_level?: number;
  default?: number;
}

interface LineStyle {
  color?: Expression;
  width?: Expression;
  min_pixels?: Expression;
  opacity?: number;
  casing?: Expression;
}

interface CircleStyle {
  color?: Expression;
  radius?: Expression;
  stroke?: Expression;
  minzoom?: number;
}

interface LabelStyle {
  field: string;
  size?: number;
  color?: string;
  halo?: string;
  minzoom?: number;
  priority?: number;
  along?: boolean;
}

interface Style {
  order?: number;
  opacity?: number;
  fill?: Expression;
  extrude?: Extrude;
  cells?: { color?: Expression; opacity?: Expression };
  line?: LineStyle;
  circle?: CircleStyle;
  label?: LabelStyle;
}

interface LegendEntry {
  label: string;
  color: string;
}

/** A layer as `/collections` describes it. */
interface Collection {
  id: string;
  title: string;
  description?: string;
  agency: { name: string; title: string };
  version: number;
  visible: boolean;
  sample: boolean;
  geometry: 'point' | 'line' | 'polygon';
  minzoom: number;
  rollup?: { minzoom: number };
  style: Style;
  legend?: LegendEntry[];
  featureCount: number;
  published?: string;
  attribution?: string;
}

interface View {
  longitude: number;
  latitude: number;
  zoom: number;
  pitch: number;
  bearing: number;
}

/** A place on the map; `height` in metres is that of the roof which was clicked. */
interface Place {
  longitude: number;
  latitude: number;
  height?: number;
  cell?: string;
}

interface LayerSpec {
  '@@type': string;
  collection: string;
  data: string;
  [name: string]: any;
}

/** The deck's JSON. */
interface Spec {
  initialViewState: View & { minZoom: number; maxZoom: number; maxPitch: number };
  layers: LayerSpec[];
  [name: string]: any;
}

interface Change {
  layer: string;
  kind: string;
  version: number | null;
}

/** What a label wants to be, before its place is found. */
interface Candidate {
  text: string;
  rank: number;
  priority: number;
  size: number;
  gap: number;
  key: string;
  position?: Path;
  path?: Path;
  halo?: string;
  color?: Color;
}

interface Placed {
  candidate: Candidate;
  text: string;
  position: Path;
  angle: number;
  offset: number[];
  size: number;
}

interface Spot extends Omit<Placed, 'candidate'> {
  at: number[];
  boxes: Box[];
}

/** What is used of deck.gl's WebMercatorViewport. */
interface Viewport {
  width: number;
  height: number;
  zoom: number;
  center: number[];
  cameraPosition: number[];
  distanceScales: { unitsPerMeter: number[] };
  viewProjectionMatrix: number[];
  project(position: ArrayLike<number>): number[];
  unproject(pixel: number[], options?: { targetZ?: number }): number[];
  projectPosition(position: ArrayLike<number>): number[];
}

/** A shown layer of the deck. */
interface Source {
  props: { style: Style; collection: string; [name: string]: any };
  shownTiles(): Content[];
  isLoaded?: boolean;
  retry?(): void;
}

interface CardFact {
  title: string;
  value: string | number | null;
  unit?: string;
}

interface CardFeature {
  title?: string;
  here: boolean;
  display: CardFact[];
}

interface CardLayer {
  layer: string;
  title: string;
  version: number;
  licence?: string;
  published?: string;
  sample: boolean;
  total: number;
  features: CardFeature[];
}

interface CardAgency {
  agency: { name: string; title: string };
  layers: CardLayer[];
}

interface CardAnswer {
  cell: string;
  agencies: CardAgency[];
}

type Attributes = Record<string, string | number | boolean | null | undefined | ((event: any) => void)>;
type Child = Node | string | number | boolean | null | undefined | Child[];

// The bundle of deck.gl has no types of its own.
declare var deck: any;
declare var createDeck: any;

interface Window {
  /** For tests and for people at the browser's console. */
  twin: {
    deck: any;
    map: any;
    store: any;
    ready?: Promise<void>;
    idle?: () => Promise<void>;
    live?: () => number;
    placeAt?: (x: number, y: number) => Place;
    labels?: () => string[];
  };
}

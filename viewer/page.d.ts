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
  baseMap: boolean;
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
  /** Of what the city's state shows there, the chosen one first. */
  streams?: number[];
  /** Whether a circle stands there already, so that the mark goes around it. */
  circled?: boolean;
}

/** A stream as `/streams` lists it. */
interface Stream {
  id: number;
  collection: string;
  name: string;
  thing: { id: number; name: string };
  kind: string | null;
  title: string;
  unit: string | null;
  fid: number | null;
  cell: string | null;
  position: Pair | null;
  freshSeconds: number;
  basis: string;
  latest: { grade: string | null } | null;
}

interface Grade {
  key: string;
  color: string;
  title: string;
}

interface Scale {
  name: string;
  title: string;
  source: string;
  limits: number[];
  grades: Grade[];
}

/** A kind of values as `/streams/kinds` describes it. */
interface ObservedKind {
  kind: string;
  title: string;
  unit: string;
  digits: number;
  scales: Scale[];
}

/** stream, value, grade (-1 for none), flag, seconds since 1970 */
type StateRow = [number, number | null, number, number, number];

interface Reading {
  value: number | null;
  grade: number;
  flag: number;
  seconds: number;
}

interface SeriesBucket {
  start: string;
  value: number | null;
}

interface Series {
  every: number;
  scale: { limits: number[]; grades: { color: string }[] } | null;
  buckets: SeriesBucket[];
}

/** The part of the address that is about the city's state. */
interface StateAddress {
  kind?: string | null;
  at?: number;
}

/** Colours of a collection's features; another version when they are others. */
interface Paint {
  version: number;
  colors: Map<number, Color>;
  /** The one of values that do not tell the present. */
  old: Color;
  /** Of features that have none; null where they keep the colour of their style. */
  other: Color | null;
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
  /** The same text may stand near by. */
  repeats?: boolean;
  /** No other label may stand over its circle. */
  solid?: boolean;
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
    state?: any;
    ready?: Promise<void>;
    idle?: () => Promise<void>;
    live?: () => number;
    placeAt?: (x: number, y: number) => Place;
    labels?: () => string[];
  };
}

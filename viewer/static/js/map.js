// The map itself: the deck, its camera, which layers it draws, and what was clicked.

import { defineTwinTileLayer } from './twin_tile_layer.js';
import { pointSeen } from './hit.js';
import { Labels } from './labels.js';

const CAMERA = ['longitude', 'latitude', 'zoom', 'pitch', 'bearing'];
// Seen from straight above, buildings are footprints; a little tilt raises them.
const RAISED_FROM_PITCH = 3;
const CLICK_PIXELS = 6;
const CLICK_MS = 700;
const DOUBLE_CLICK_MS = 230;
const MARK = [11, 110, 153];
const ON_TOP = { depthWriteEnabled: false, depthCompare: 'always' };

const still = window.matchMedia('(prefers-reduced-motion: reduce)');

export class TwinMap extends EventTarget {
  // `spec` is the server's deck JSON, `view` an optional camera that replaces its own.
  /**
   * @param {object} given
   * @param {HTMLElement} given.container
   * @param {Spec} given.spec
   * @param {View | null} given.view
   * @param {Iterable<string>} given.shown
   * @param {import('./tiles.js').TileStore} given.store
   */
  constructor({ container, spec, view, shown, store }) {
    super();
    this.container = container;
    this.store = store;
    this.home = pickCamera(spec.initialViewState);
    this.view = { ...this.home, ...view };
    this.raised = this.view.pitch > RAISED_FROM_PITCH;
    this.shown = new Set(shown);
    /** @type {Place | null} */
    this.mark = null;
    this.moves = 0;
    /** @type {any[]} */
    this.base = [];
    // Layers of the city's state, over those of the collections, and the colours that it gives to their features.
    /** @type {any[]} */
    this.over = [];
    /** @type {Map<string, Paint>} */
    this.paints = new Map();
    // What of the state is at a pixel, where there is any; what lies on the ground may be covered by a building.
    /** @type {((x: number, y: number, covered: boolean) => { streams: number[], position: Pair | null }) | null} */
    this.hits = null;
    const { deck: library, createDeck } = globalThis;
    this.Layer = defineTwinTileLayer(library, store);
    this.deck = createDeck({
      container,
      jsonInput: { ...spec, initialViewState: { ...spec.initialViewState, ...this.view } },
      configuration: { classes: { TwinTileLayer: this.Layer } },
      tooltip: false,
      handleEvent: (/** @type {string} */ name, /** @type {any} */ info) => this.#onEvent(name, info),
    });
    this.all = this.deck.props.layers.filter(Boolean);
    this.labels = new Labels({
      deck: library,
      sources: () => this.sources(),
      viewport: () => this.viewport(),
      onPlaced: () => this.draw(),
    });
    this.#listenForClicks();
    this.update();
  }

  /** @returns {Viewport | null} */
  viewport() {
    return this.deck.isInitialized ? this.deck.getViewports()[0] : null;
  }

  // The live layers of the collections that are switched on.
  /** @returns {Source[]} */
  sources() {
    const live = this.deck.layerManager?.getLayers() ?? [];
    return live.filter((/** @type {any} */ layer) => layer instanceof this.Layer);
  }

  // Rebuild the collections' layers (something about them changed), then draw.
  update() {
    // A layer that left the deck is finished for good, so each round gets fresh ones; deck matches them by id.
    this.base = this.all
      .filter((/** @type {any} */ layer) => this.shown.has(layer.props.collection))
      .map((/** @type {any} */ layer) => {
        // A style decides what is taken from a tile as well.
        const updateTriggers = { getTileData: JSON.stringify(layer.props.style) };
        const paint = this.paints.get(layer.props.collection) ?? null;
        const onShown = () => this.labels.request();
        return layer.clone({ visible: true, raised: this.raised, updateTriggers, paint, onShown });
      });
    this.draw();
    this.labels.request();
  }

  draw() {
    this.deck.setProps({ layers: [...this.base, ...this.over, ...this.#marks(), ...this.labels.layers()] });
  }

  // Show another state: layers of its own, and colours of features. Collections whose colours stay are not touched.
  /**
   * @param {any[]} over
   * @param {Map<string, Paint>} paints
   */
  setState(over, paints) {
    this.over = over;
    this.paints = paints;
    this.base = this.base.map((layer) => {
      const paint = paints.get(layer.props.collection) ?? null;
      return paint === layer.props.paint ? layer : layer.clone({ paint });
    });
    this.draw();
    this.labels.request();
  }

  /**
   * @param {string} collection
   * @param {boolean} shown
   */
  setShown(collection, shown) {
    if (shown) this.shown.add(collection);
    else this.shown.delete(collection);
    this.update();
  }

  // Take over a newer spec (other versions of the same collections) without moving the camera.
  /** @param {Spec} spec */
  adopt(spec) {
    this.all = spec.layers.map(({ '@@type': _, ...props }) => new this.Layer(props));
    this.update();
  }

  /**
   * @param {Partial<View>} view
   * @param {number} milliseconds
   */
  moveTo(view, milliseconds = 300) {
    this.view = { ...this.view, ...view };
    const { minZoom, maxZoom, maxPitch } = this.deck.props.initialViewState;
    this.view.zoom = Math.min(maxZoom, Math.max(minZoom, this.view.zoom));
    const transitionDuration = still.matches ? 0 : milliseconds;
    // deck ignores an initial view that equals the last one it was given, even after the reader moved away from it.
    this.moves += 1;
    const limits = { minZoom, maxZoom, maxPitch };
    this.deck.setProps({ initialViewState: { ...this.view, ...limits, transitionDuration, moves: this.moves } });
    this.#moved();
  }

  /** @param {Place | null} mark */
  setMark(mark) {
    this.mark = mark;
    this.draw();
  }

  retry() {
    this.store.failed.clear();
    for (const source of this.sources()) source.retry?.();
  }

  // Resolves when every tile in view is drawn and the labels stand.
  async idle() {
    for (let calm = 0; calm < 3; ) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const loaded = this.deck.isInitialized && this.sources().every((layer) => layer.isLoaded);
      calm = loaded && this.store.pending === 0 && this.labels.settled ? calm + 1 : 0;
    }
  }

  // The place that is seen at a pixel of the map.
  /**
   * @param {number} x
   * @param {number} y
   * @returns {Place}
   */
  placeAt(x, y) {
    return pointSeen(/** @type {Viewport} */ (this.viewport()), x, y, this.sources(), this.raised);
  }

  /**
   * @param {string} name
   * @param {any} info
   */
  #onEvent(name, info) {
    if (name === 'deck-view-state-change-event') {
      this.view = pickCamera(info);
      this.#moved();
    } else if (name === 'deck-resize-event') {
      this.labels?.request();
    }
  }

  #moved() {
    const raised = this.view.pitch > RAISED_FROM_PITCH;
    if (raised !== this.raised) {
      this.raised = raised;
      this.update();
    }
    this.labels.request();
    this.dispatchEvent(new CustomEvent('move', { detail: this.view }));
  }

  // deck's own click waits for a GPU pick and drops clicks on slow machines; a press and a release are enough.
  #listenForClicks() {
    /** @type {PointerEvent | null} */
    let down = null;
    let pending = 0;
    this.container.addEventListener('pointerdown', (event) => {
      down = event.isPrimary && event.button === 0 ? event : null;
      clearTimeout(pending);
    });
    this.container.addEventListener('pointerup', (event) => {
      const start = down;
      down = null;
      if (!start || !event.isPrimary || isControl(event.target)) return;
      const moved = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY);
      if (moved > CLICK_PIXELS || event.timeStamp - start.timeStamp > CLICK_MS) return;
      const frame = this.container.getBoundingClientRect();
      const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
      // A second press within this time means "zoom in", not "ask".
      pending = setTimeout(() => this.ask(x, y), DOUBLE_CLICK_MS);
    });
    this.container.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      // The card takes the focus; the same key press must not go on to press its button.
      event.preventDefault();
      this.ask(this.container.clientWidth / 2, this.container.clientHeight / 2);
    });
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  ask(x, y) {
    const place = this.placeAt(x, y);
    const { streams, position } = this.hits?.(x, y, Boolean(place.height)) ?? {};
    // A circle stands for a point, which is then what the click is about.
    if (position) Object.assign(place, { longitude: position[0], latitude: position[1], height: 0, circled: true });
    this.dispatchEvent(new CustomEvent('ask', { detail: { ...place, streams } }));
  }

  #marks() {
    if (!this.mark) return [];
    const { longitude, latitude, height, cell, circled } = this.mark;
    const { H3HexagonLayer, ScatterplotLayer } = globalThis.deck;
    const outline =
      cell &&
      new H3HexagonLayer({
        id: 'mark-cell',
        data: [cell],
        getHexagon: (/** @type {string} */ d) => d,
        extruded: false,
        filled: true,
        getFillColor: [...MARK, 26],
        stroked: true,
        getLineColor: [...MARK, 200],
        getLineWidth: 1.5,
        lineWidthUnits: 'pixels',
        parameters: ON_TOP,
      });
    const ring = new ScatterplotLayer({
      id: 'mark-point',
      data: [[longitude, latitude, height]],
      getPosition: (/** @type {number[]} */ d) => d,
      getRadius: circled ? 11 : 8,
      radiusUnits: 'pixels',
      filled: !circled,
      getFillColor: [...MARK, 255],
      stroked: true,
      getLineColor: circled ? MARK : [255, 255, 255],
      getLineWidth: 3,
      lineWidthUnits: 'pixels',
      billboard: true,
      parameters: ON_TOP,
    });
    return [outline, ring].filter(Boolean);
  }
}

/**
 * @param {Record<string, any>} view
 * @returns {View}
 */
function pickCamera(view) {
  return /** @type {any} */ (Object.fromEntries(CAMERA.map((name) => [name, view[name] ?? 0])));
}

/** @param {EventTarget | null} target */
function isControl(target) {
  return target instanceof Element && target.closest('button, a, input') !== null;
}

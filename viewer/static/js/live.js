// What changes in the city, as the server sends it while it happens: over one connection while the page is looked at, and
// over none while it is not, for a browser has only a few for each server.

const HIDDEN_MS = 5_000;
const AGAIN_MS = 20_000;
// Layers that are published together come as one change.
const TOGETHER_MS = 150;

export class Live {
  // `onCurrent(versions, again)` runs when a connection stands and the state is not the one that was known: version
  // numbers by layer, and whether there was a connection before. `onChanges(changes)` runs with what the server sends,
  // `onState(rows)` with values of streams, `onConnection(stands)` when the connection is made or lost.
  /**
   * @param {object} given
   * @param {(versions: Record<string, number>, again: boolean) => void} given.onCurrent
   * @param {(changes: Change[]) => void} given.onChanges
   * @param {(rows: StateRow[]) => void} given.onState
   * @param {(stands: boolean) => void} given.onConnection
   */
  constructor({ onCurrent, onChanges, onState, onConnection }) {
    this.onCurrent = onCurrent;
    this.onChanges = onChanges;
    this.onState = onState;
    this.onConnection = onConnection;
    // When the server was last heard.
    this.heard = 0;
    /** @type {EventSource | null} */
    this.source = null;
    /** @type {string | null} */
    this.state = null;
    /** @type {Map<string, Change>} */
    this.pending = new Map();
    this.timers = { hide: 0, again: 0, tell: 0 };
    document.addEventListener('visibilitychange', () => this.#follow());
    window.addEventListener('pagehide', () => this.close());
    window.addEventListener('pageshow', () => this.#follow());
    this.#follow();
  }

  #follow() {
    clearTimeout(this.timers.hide);
    if (document.visibilityState === 'visible') this.#open();
    else this.timers.hide = setTimeout(() => this.close(), HIDDEN_MS);
  }

  #open() {
    if (this.source) return;
    clearTimeout(this.timers.again);
    const source = new EventSource('/live?state=true');
    this.source = source;
    this.heard = Date.now();
    source.addEventListener('open', () => {
      this.heard = Date.now();
      this.onConnection(true);
    });
    source.addEventListener('state', (event) => {
      this.heard = Date.now();
      this.onState(JSON.parse(event.data).values);
    });
    source.addEventListener('current', (event) => {
      const again = this.state !== null;
      if (this.#know(event)) this.onCurrent(JSON.parse(event.data).layers, again);
    });
    source.addEventListener('layer', (event) => {
      this.#know(event);
      const change = JSON.parse(event.data);
      this.pending.set(change.layer, change);
      this.timers.tell ||= setTimeout(() => this.#tell(), TOGETHER_MS);
    });
    source.addEventListener('error', () => {
      this.onConnection(false);
      // A lost connection is made again by the browser; one that the server refused is not.
      if (source.readyState !== EventSource.CLOSED) return;
      this.close();
      const wait = AGAIN_MS * (1 + Math.random());
      this.timers.again = setTimeout(() => this.#follow(), wait);
    });
  }

  // Whether the layers that an event's id names are others than those known; what follows the point is of the values.
  /** @param {MessageEvent} event */
  #know({ lastEventId }) {
    const [layers] = lastEventId.split('.');
    const isNew = layers !== this.state;
    this.state = layers;
    return isNew;
  }

  #tell() {
    const changes = [...this.pending.values()];
    this.pending.clear();
    this.timers.tell = 0;
    this.onChanges(changes);
  }

  // Make the connection anew, where it may be gone without the browser's knowing.
  reopen() {
    this.close();
    this.#follow();
  }

  close() {
    clearTimeout(this.timers.again);
    this.source?.close();
    this.source = null;
  }
}

// What changes in the city, as the server sends it while it happens: over one connection while the page is looked at, and
// over none while it is not, for a browser has only a few for each server.

const HIDDEN_MS = 5_000;
const AGAIN_MS = 20_000;
// Layers that are published together come as one change.
const TOGETHER_MS = 150;

export class Live {
  // `onCurrent(versions, again)` runs when a connection stands and the state is not the one that was known: version
  // numbers by layer, and whether there was a connection before. `onChanges(changes)` runs with what the server sends.
  /**
   * @param {object} given
   * @param {(versions: Record<string, number>, again: boolean) => void} given.onCurrent
   * @param {(changes: Change[]) => void} given.onChanges
   */
  constructor({ onCurrent, onChanges }) {
    this.onCurrent = onCurrent;
    this.onChanges = onChanges;
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
    const source = new EventSource('/live');
    this.source = source;
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
      // A lost connection is made again by the browser; one that the server refused is not.
      if (source.readyState !== EventSource.CLOSED) return;
      this.close();
      const wait = AGAIN_MS * (1 + Math.random());
      this.timers.again = setTimeout(() => this.#follow(), wait);
    });
  }

  // Whether the state that an event names is another than the one known.
  /** @param {MessageEvent} event */
  #know({ lastEventId }) {
    const isNew = lastEventId !== this.state;
    this.state = lastEventId;
    return isNew;
  }

  #tell() {
    const changes = [...this.pending.values()];
    this.pending.clear();
    this.timers.tell = 0;
    this.onChanges(changes);
  }

  close() {
    clearTimeout(this.timers.again);
    this.source?.close();
    this.source = null;
  }
}

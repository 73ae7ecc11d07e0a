// Tiles shared by the layers that draw from them: one request a URL however many layers ask, given up when none of
// them waits any more, kept while recently used.

import { decodeTile } from './mvt.js';

const KEPT_TILES = 400;
const RETRY_AFTER_MS = 600;

/**
 * @typedef {object} Entry
 * @property {number} waiting
 * @property {boolean} settled
 * @property {AbortController} abort
 * @property {Promise<any>} tile
 */

export class TileError extends Error {
  /**
   * @param {string} url
   * @param {number} status
   */
  constructor(url, status) {
    super(`tile ${url}: ${status || 'no answer'}`);
    this.name = 'TileError';
    this.url = url;
    this.status = status;
  }
}

export class TileStore {
  // `onActivity(pending)` runs whenever a request starts or ends, `onFailure(error)` when one is given up.
  /**
   * @param {object} [given]
   * @param {(pending: number) => void} [given.onActivity]
   * @param {(error: TileError) => void} [given.onFailure]
   * @param {number} [given.kept]
   */
  constructor({ onActivity = () => {}, onFailure = () => {}, kept = KEPT_TILES } = {}) {
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    this.kept = kept;
    this.pending = 0;
    /** @type {Set<string>} */
    this.failed = new Set();
    this.onActivity = onActivity;
    this.onFailure = onFailure;
  }

  // The decoded tile (Map of layers, empty for "nothing here"); rejects with AbortError or TileError. `decode(bytes, url)`
  // is for tiles of another kind.
  /**
   * @param {string} url
   * @param {AbortSignal} [signal]
   * @param {(bytes: ArrayBuffer, url: string) => any} decode
   * @returns {Promise<any>}
   */
  load(url, signal, decode = decodeOrEmpty) {
    let entry = this.entries.get(url);
    if (entry) {
      this.entries.delete(url);
    } else {
      entry = { waiting: 0, settled: false, abort: new AbortController(), tile: Promise.resolve() };
      entry.tile = this.#request(url, entry, decode);
    }
    this.entries.set(url, entry);
    if (entry.settled) return entry.tile;
    return this.#waitFor(entry, url, signal);
  }

  /**
   * @param {Entry} entry
   * @param {string} url
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  #waitFor(entry, url, signal) {
    entry.waiting += 1;
    return new Promise((resolve, reject) => {
      const leave = () => {
        entry.waiting -= 1;
        if (entry.waiting === 0 && !entry.settled) {
          entry.abort.abort();
          if (this.entries.get(url) === entry) this.entries.delete(url);
        }
        reject(new DOMException('no longer needed', 'AbortError'));
      };
      signal?.addEventListener('abort', leave, { once: true });
      entry.tile.then(resolve, reject).finally(() => signal?.removeEventListener('abort', leave));
    });
  }

  /**
   * @param {string} url
   * @param {Entry} entry
   * @param {(bytes: ArrayBuffer, url: string) => any} decode
   */
  async #request(url, entry, decode) {
    this.pending += 1;
    this.onActivity(this.pending);
    try {
      const bytes = await this.#fetchTwice(url, entry.abort.signal);
      this.failed.delete(url);
      return await decode(bytes, url);
    } catch (error) {
      if (this.entries.get(url) === entry) this.entries.delete(url);
      if (error instanceof TileError) {
        this.failed.add(url);
        this.onFailure(error);
      }
      throw error;
    } finally {
      entry.settled = true;
      this.pending -= 1;
      this.#forget();
      this.onActivity(this.pending);
    }
  }

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   */
  async #fetchTwice(url, signal) {
    try {
      return await fetchBytes(url, signal);
    } catch (error) {
      const hopeless = !(error instanceof TileError) || (error.status >= 400 && error.status < 500);
      if (hopeless) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
      signal.throwIfAborted();
      return fetchBytes(url, signal);
    }
  }

  #forget() {
    for (const [url, entry] of this.entries) {
      if (this.entries.size <= this.kept) break;
      if (entry.settled) this.entries.delete(url);
    }
  }
}

/**
 * @param {string} url
 * @param {AbortSignal} signal
 */
async function fetchBytes(url, signal) {
  let answer;
  try {
    answer = await fetch(url, { signal });
    if (answer.ok) return await answer.arrayBuffer();
  } catch (error) {
    if (nameOf(error) === 'AbortError') throw error;
    throw new TileError(url, 0);
  }
  throw new TileError(url, answer.status);
}

// A picture as the graphics card takes it; null, as for a tile that shows nothing, where it cannot be read.
/**
 * @param {ArrayBuffer} bytes
 * @param {string} url
 */
export async function decodePicture(bytes, url) {
  try {
    return await createImageBitmap(new Blob([bytes]), { premultiplyAlpha: 'none', colorSpaceConversion: 'none' });
  } catch (error) {
    console.warn(`tile ${url} cannot be read:`, error);
    return null;
  }
}

/**
 * @param {ArrayBuffer} bytes
 * @param {string} url
 * @returns {Tile}
 */
function decodeOrEmpty(bytes, url) {
  try {
    return decodeTile(bytes);
  } catch (error) {
    console.warn(`tile ${url} cannot be read:`, error);
    return new Map();
  }
}

/** @param {unknown} error */
function nameOf(error) {
  return error instanceof Error || error instanceof DOMException ? error.name : '';
}

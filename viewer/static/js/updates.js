// Takes over what changed in the layers: asks for their list and the deck anew until both say what was sent, for the
// server may be several processes, of which one hears of a change a moment before another.

const TRIES = 8;
const BETWEEN_MS = 250;
const AFTER_FAILURE_MS = 3_000;

export class Updates {
  // `fetchParts()` gives [collections, spec]; `apply(collections, spec, changes)` shows them.
  /**
   * @param {object} given
   * @param {() => Promise<[Collection[], Spec]>} given.fetchParts
   * @param {(collections: Collection[], spec: Spec, changes: Change[]) => void} given.apply
   */
  constructor({ fetchParts, apply }) {
    this.fetchParts = fetchParts;
    this.apply = apply;
    /** @type {Map<string, Change> | null} */
    this.waiting = null;
    /** @type {Promise<void> | null} */
    this.running = null;
  }

  // Changes that come while others are taken over are next.
  /** @param {Change[]} changes */
  take(changes) {
    this.waiting ??= new Map();
    for (const change of changes) this.waiting.set(change.layer, change);
    this.running ??= this.#run().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  async #run() {
    while (this.waiting) {
      const changes = [...this.waiting.values()];
      this.waiting = null;
      try {
        this.apply(...(await this.#parts(changes)), changes);
      } catch (error) {
        console.warn('what changed could not be fetched; trying again:', error);
        const later = this.waiting ?? new Map();
        this.waiting = new Map(changes.map((change) => [change.layer, change]));
        for (const [layer, change] of later) this.waiting.set(layer, change);
        await pause(AFTER_FAILURE_MS);
      }
    }
  }

  /**
   * @param {Change[]} changes
   * @returns {Promise<[Collection[], Spec]>}
   */
  async #parts(changes) {
    for (let left = TRIES; ; left -= 1) {
      const [collections, spec] = await this.fetchParts();
      const says = (/** @type {Change} */ { layer, version }) => isIn(collections, layer, version) && isDrawn(spec, layer, version);
      if (left === 0 || changes.every(says)) return [collections, spec];
      await pause(BETWEEN_MS);
    }
  }
}

// What a list of version numbers means for collections that were fetched before.
/**
 * @param {Collection[]} collections
 * @param {Record<string, number>} versions
 */
export function changesSince(collections, versions) {
  const known = new Map(collections.map((c) => [c.id, c.version]));
  /** @type {Change[]} */
  const found = [];
  for (const [layer, version] of Object.entries(versions)) {
    const before = known.get(layer);
    if (before === version) continue;
    const later = before !== undefined && version > before ? 'published' : 'rolled-back';
    found.push({ layer, version, kind: before === undefined ? 'shown' : later });
  }
  for (const layer of known.keys()) if (!(layer in versions)) found.push({ layer, version: null, kind: 'hidden' });
  return found;
}

/**
 * @param {Collection[]} collections
 * @param {string} layer
 * @param {number | null} version
 */
function isIn(collections, layer, version) {
  return (collections.find((c) => c.id === layer)?.version ?? null) === version;
}

/**
 * @param {Spec} spec
 * @param {string} layer
 * @param {number | null} version
 */
function isDrawn(spec, layer, version) {
  const drawn = spec.layers.find((l) => l.collection === layer);
  return version === null ? !drawn : drawn !== undefined && drawn.data.split(/[/,]/).includes(`${layer}@${version}`);
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

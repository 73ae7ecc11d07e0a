// Ties the city's state to the page: the map's colours, the list of layers, the card and the time control. Loaded when
// the server sends the first value; a city without streams never asks for it.

import { element } from './dom.js';
import { CityState } from './state.js';
import { StateSection } from './state_card.js';
import { StateLayers } from './state_layers.js';
import { kindChoice } from './state_panel.js';
import { StateWords } from './state_words.js';
import { learn, t, unit } from './texts.js';
import { TimeControl } from './time_control.js';

const PAGE_OF_STREAMS = 10_000;
// Values may come ten times a second; nobody can look that fast.
const RECOLOR_MS = 400;
const TICK_MS = 1_000;
// What nobody hears of grows old: looked at this often.
const AGE_EVERY_TICKS = 10;
const MOMENT_AFTER_MS = 150;
const DESCRIBE_EVERY_MS = 5_000;
// A connection that is silent for so long is asked for; together with the wait for the answer less than 20 s.
const SILENT_MS = 12_000;
const ANSWER_MS = 4_000;

export class StateView {
  /**
   * @param {object} given
   * @param {import('./map.js').TwinMap} given.map
   * @param {import('./panel.js').Panel} given.panel
   * @param {import('./card.js').Card} given.card
   * @param {import('./live.js').Live} given.live
   * @param {HTMLElement} given.stage
   * @param {string} given.assets
   * @param {string} given.timeZone
   * @param {() => { language: Language, collections: Collection[], shown: Set<string> }} given.page
   * @param {(collection: string, shown: boolean) => void} given.onSwitch
   * @param {() => void} given.onChange runs when the list of layers or the address has to be written anew
   */
  constructor({ map, panel, card, live, stage, assets, timeZone, page, onSwitch, onChange }) {
    this.map = map;
    this.panel = panel;
    this.card = card;
    this.live = live;
    this.stage = stage;
    this.assets = assets;
    this.page = page;
    this.onSwitch = onSwitch;
    this.onChange = onChange;
    this.state = new CityState();
    this.words = new StateWords(this.state, timeZone);
    this.layers = new StateLayers(this.state);
    // undefined until the reader chooses; null where he wants none.
    /** @type {string | null | undefined} */
    this.chosen = undefined;
    /** @type {StateSection | null} */
    this.section = null;
    /** @type {TimeControl | null} */
    this.control = null;
    /** @type {Set<number>} */
    this.unlisted = new Set();
    // Layers that are on only because the chosen kind is drawn by them.
    /** @type {Set<string>} */
    this.lent = new Set();
    this.request = new AbortController();
    this.timers = { recolor: 0, moment: 0, describe: 0 };
    this.ticks = 0;
    this.described = 0;
    this.probing = false;
  }

  /**
   * @param {StateRow[]} rows
   * @param {StateAddress} address
   */
  async start(rows, address) {
    const sheet = element('link', { rel: 'stylesheet', href: `${this.assets}css/state.css` });
    const styled = new Promise((resolve, reject) => {
      sheet.onload = resolve;
      sheet.onerror = () => reject(new Error('state.css'));
    });
    document.head.append(sheet);
    await Promise.all([styled, learn(this.page().language, this.assets, 'state'), this.#describe()]);
    this.state.take(rows);
    this.chosen = address.kind;
    if (this.state.kindsOnTheMap().length) await this.#open(address.at ?? null);
  }

  /** @param {number | null} moment */
  async #open(moment) {
    const root = element('section', { class: 'dock' });
    this.stage.insertBefore(root, this.stage.querySelector('.controls'));
    this.stage.classList.add('has-dock');
    this.control = new TimeControl({
      root, state: this.state, words: this.words,
      onMoment: (at) => this.#goTo(at),
      onKind: () => this.#openPanel(),
    });
    this.panel.extra = () => this.#choice();
    this.map.labels.extras = () => this.layers.values(this.map.view.zoom, (id) => this.#written(id));
    this.map.hits = (x, y, covered) =>
      this.layers.at(/** @type {Viewport} */ (this.map.viewport()), x, y, covered ? null : this.map.sources());
    this.card.extra = (place) => this.#cardSection(place);
    if (moment !== null) {
      this.control.set(moment);
      await this.#fetchMoment(moment);
    }
    this.#showLayers();
    this.render();
    this.onChange();
    setInterval(() => this.#tick(), TICK_MS);
    window.addEventListener('offline', () => this.setConnected(false));
  }

  // What the address says of the state.
  /** @returns {StateAddress} */
  get address() {
    /** @type {StateAddress} */
    const address = {};
    if (this.chosen !== undefined) address.kind = this.chosen;
    const at = this.control?.at ?? null;
    if (at !== null) address.at = at;
    return address;
  }

  /** @param {StateAddress} address */
  goTo({ kind, at }) {
    this.chosen = kind;
    this.control?.set(at ?? null);
    this.#showLayers();
    this.#goTo(at ?? null);
    this.render();
  }

  // The kind that is shown: the chosen one if it is there, else the first.
  get kind() {
    const kinds = this.state.kindsOnTheMap();
    if (this.chosen === null) return null;
    return kinds.find(({ kind }) => kind === this.chosen) ?? kinds[0] ?? null;
  }

  /** @param {StateRow[]} rows */
  take(rows) {
    const unknown = this.state.take(rows).filter((id) => !this.unlisted.has(id));
    if (unknown.length && !this.timers.describe) {
      const wait = Math.max(0, this.described + DESCRIBE_EVERY_MS - Date.now());
      this.timers.describe = setTimeout(() => this.#learnNew(), wait);
    }
    if (this.state.at === null && this.control) this.#recolorSoon();
  }

  /** @param {boolean} connected */
  setConnected(connected) {
    this.control?.setConnected(connected);
  }

  // Say everything in another language.
  /** @param {Language} language */
  async speak(language) {
    await Promise.all([learn(language, this.assets, 'state'), this.#describe()]);
    this.render();
  }

  // Draw what is chosen, and say what it is.
  render() {
    if (!this.control) return;
    const { kind } = this;
    this.layers.choose(kind?.kind ?? null, this.#painted());
    this.control.setKind(
      kind
        ? {
            title: [kind.title, unit(kind.unit) && `(${unit(kind.unit)})`].filter(Boolean).join(' '),
            colors: (kind.scales[0]?.grades ?? []).map(({ color }) => color),
            marks: this.#marks(kind.kind),
          }
        : { title: t('state_off'), colors: [], marks: [] },
    );
    this.control.render();
    this.#recolor();
  }

  #recolorSoon() {
    this.timers.recolor ||= setTimeout(() => this.#recolor(), RECOLOR_MS);
  }

  #recolor() {
    clearTimeout(this.timers.recolor);
    this.timers.recolor = 0;
    this.layers.recolor();
    const baseMap = new Set(this.page().collections.filter((c) => c.baseMap).map(({ id }) => id));
    this.map.setState(this.layers.layers(), this.layers.paints(baseMap));
    this.section?.tick();
  }

  #tick() {
    this.ticks += 1;
    this.section?.tick();
    this.control?.render();
    if (this.ticks % AGE_EVERY_TICKS === 0 && this.state.at === null) this.#recolor();
    this.#watch();
  }

  // A connection may be gone without a word: after some silence the server is asked whether it is there.
  async #watch() {
    const { live } = this;
    if (this.probing || !live.source || Date.now() - live.heard < SILENT_MS) return;
    this.probing = true;
    try {
      const answer = await fetch('/health/live', { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS) });
      if (!answer.ok) throw new Error(`health: ${answer.status}`);
      live.heard = Date.now();
      if (live.source?.readyState === EventSource.OPEN) this.setConnected(true);
    } catch {
      this.setConnected(false);
      live.reopen();
    } finally {
      this.probing = false;
    }
  }

  /** @param {number | null} at */
  #goTo(at) {
    clearTimeout(this.timers.moment);
    this.request.abort();
    this.onChange();
    if (at === null) {
      this.control?.setBusy(false);
      this.state.show(null);
      this.#recolor();
      this.section?.refresh();
    } else {
      this.timers.moment = setTimeout(() => this.#fetchMoment(at), MOMENT_AFTER_MS);
    }
  }

  /** @param {number} at */
  async #fetchMoment(at) {
    this.request = new AbortController();
    const { signal } = this.request;
    this.control?.setBusy(true);
    const layers = new Set([...this.state.streams.values()].map(({ collection }) => collection));
    const moment = new Date(at * 1000).toISOString();
    try {
      const columns = await Promise.all([...layers].map(async (layer) => {
        const answer = await fetch(`/collections/${encodeURIComponent(layer)}/state?at=${moment}&f=bin`, { signal });
        if (!answer.ok) throw new Error(`state: ${answer.status}`);
        return answer.arrayBuffer();
      }));
      if (signal.aborted) return;
      this.state.show(at, columns);
    } catch (error) {
      if (signal.aborted) return;
      // Nothing is known of that moment then, and nothing is shown as if it were.
      console.warn('the state of a past moment could not be fetched:', error);
      this.state.show(at);
    }
    this.control?.setBusy(false);
    this.#recolor();
    this.section?.refresh();
  }

  async #describe() {
    this.described = Date.now();
    const { language } = this.page();
    /** @type {Stream[]} */
    const streams = [];
    const kinds = json(`/streams/kinds?lang=${language}`);
    for (let next = `/streams?placed=true&limit=${PAGE_OF_STREAMS}&lang=${language}`; next; ) {
      const answer = await json(next);
      streams.push(...answer.streams);
      const after = answer.next && new URL(answer.next);
      next = after ? after.pathname + after.search : '';
    }
    this.state.describe(streams, (await kinds).kinds);
    this.unlisted = new Set([...this.state.latest.keys()].filter((id) => !this.state.streams.has(id)));
  }

  async #learnNew() {
    try {
      await this.#describe();
      if (this.control) this.render();
      else if (this.state.kindsOnTheMap().length) await this.#open(null);
      this.onChange();
    } catch (error) {
      console.warn('new streams could not be fetched:', error);
    } finally {
      this.timers.describe = 0;
    }
  }

  // The value beside a circle; one that a flag speaks against is not written there.
  /** @param {number} id */
  #written(id) {
    const reading = this.state.reading(id);
    return this.words.number(id, reading?.flag === 0 ? reading.value : null);
  }

  /** @param {string} kind */
  #marks(kind) {
    return this.state.basesOf(kind).map((basis) => this.words.basis(basis)).filter(Boolean);
  }

  #choice() {
    return kindChoice({
      kinds: this.state.kindsOnTheMap(),
      chosen: this.kind?.kind ?? null,
      marks: (kind) => this.#marks(kind),
      onChoose: (kind) => this.#choose(kind),
    });
  }

  /** @param {string | null} kind */
  #choose(kind) {
    this.chosen = kind;
    this.#showLayers();
    this.render();
    this.onChange();
  }

  // Features are drawn by their layer, so it has to be on.
  #showLayers() {
    const { shown } = this.page();
    const { features } = this.state.drawn(this.kind?.kind ?? null, this.#painted());
    for (const layer of this.lent) if (!features.has(layer) && shown.has(layer)) this.onSwitch(layer, false);
    for (const layer of this.lent) if (!features.has(layer)) this.lent.delete(layer);
    for (const layer of features.keys()) {
      if (shown.has(layer)) continue;
      this.lent.add(layer);
      this.onSwitch(layer, true);
    }
  }

  // The layers whose features take the colour of their state.
  #painted() {
    return new Set(this.page().collections.filter(({ geometry }) => geometry !== 'point').map(({ id }) => id));
  }

  #openPanel() {
    this.panel.toggle(true);
    const chosen = this.panel.root.querySelector('.state-choice input:checked');
    chosen?.scrollIntoView({ block: 'nearest' });
    if (chosen instanceof HTMLElement) chosen.focus({ preventScroll: true });
  }

  /** @param {Place} place */
  #cardSection({ streams = [] }) {
    this.section?.close();
    this.section = streams.length ? new StateSection({ state: this.state, words: this.words, streams }) : null;
    return this.section?.node ?? null;
  }
}

/**
 * @param {string} url
 * @returns {Promise<any>}
 */
async function json(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

// The card of one place: what each agency says there. Things at the very point come first, the rest of the cell after.

import { element, icon, ICONS } from './dom.js';
import { date, number, t, unit } from './texts.js';

const MOST_AROUND = 20;

export class Card {
  // `onPlace(mark)` runs when the card is about another place, with null when it closes.
  /**
   * @param {object} given
   * @param {HTMLElement} given.root
   * @param {HTMLElement} given.stage
   * @param {string} given.timeZone
   * @param {(place: Place | null) => void} given.onPlace
   */
  constructor({ root, stage, timeZone, onPlace }) {
    this.root = root;
    this.stage = stage;
    this.timeZone = timeZone;
    this.onPlace = onPlace;
    /** @type {Place | null} */
    this.place = null;
    this.request = new AbortController();
    // What else is said of a place, before what the agencies say.
    /** @type {((place: Place) => HTMLElement | null) | null} */
    this.extra = null;
    /** @type {HTMLElement | null} */
    this.first = null;
    /** @type {Element | null} */
    this.opener = null;
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.place) this.close();
    });
  }

  /**
   * @param {Place} place
   * @param {string} language
   */
  async open(place, language) {
    this.request.abort();
    this.request = new AbortController();
    if (!this.place) this.opener = document.activeElement;
    this.place = place;
    this.first = this.extra?.(place) ?? null;
    this.root.hidden = false;
    this.stage.classList.add('has-card');
    this.onPlace(place);
    this.#show(wait());
    this.#button()?.focus({ preventScroll: true });
    const { signal } = this.request;
    try {
      const answer = await ask(place, language, signal);
      this.onPlace({ ...place, cell: answer.cell });
      this.#show(this.#answer(answer), answer);
    } catch (error) {
      if (signal.aborted) return;
      this.#show([
        element('p', { class: 'card-note', role: 'alert' }, detailOf(error) ?? t('card_failed')),
        element(
          'button',
          { type: 'button', class: 'card-retry', onclick: () => this.open(place, language) },
          t('retry'),
        ),
      ]);
    }
  }

  // Ask again, without a word, if what the card says comes from one of these layers.
  /**
   * @param {string[]} layers
   * @param {string} language
   */
  async renew(layers, language) {
    const place = this.place;
    const named = [...this.root.querySelectorAll('[data-layer]')].map((node) => node.getAttribute('data-layer'));
    if (!place || !layers.some((layer) => named.includes(layer))) return;
    const { signal } = this.request;
    try {
      const answer = await ask(place, language, signal);
      const body = this.root.querySelector('.card-body');
      const scrolled = body?.scrollTop ?? 0;
      this.#show(this.#answer(answer), answer);
      this.root.querySelector('.card-body')?.scrollTo(0, scrolled);
    } catch {
      // What is shown names its version, so it may stay.
    }
  }

  close() {
    this.request.abort();
    this.place = null;
    this.root.hidden = true;
    this.stage.classList.remove('has-card');
    this.onPlace(null);
    if (this.opener instanceof HTMLElement) this.opener.focus({ preventScroll: true });
  }

  #button() {
    return this.root.querySelector('button');
  }

  /**
   * @param {Child[]} content
   * @param {CardAnswer | null} answer
   */
  #show(content, answer = null) {
    const { latitude, longitude } = /** @type {Place} */ (this.place);
    const degrees = { minimumFractionDigits: 5, maximumFractionDigits: 5 };
    const where = `${number(latitude, degrees)}° ${t('north_sign')}, ${number(longitude, degrees)}° ${t('east_sign')}`;
    this.root.setAttribute('aria-label', t('card'));
    this.root.setAttribute('aria-busy', String(!answer));
    const hadFocus = this.root.contains(document.activeElement);
    this.root.replaceChildren(
      element(
        'div',
        { class: 'sheet-head' },
        element(
          'div',
          { class: 'card-heading' },
          element('h2', {}, t('card_title')),
          element('p', { class: 'card-where' }, where),
        ),
        element(
          'button',
          { type: 'button', class: 'icon-button', 'aria-label': t('close_card'), onclick: () => this.close() },
          icon(...ICONS.close),
        ),
      ),
      element('div', { class: 'card-body', tabindex: '-1' }, this.first, content),
    );
    if (hadFocus) this.#button()?.focus({ preventScroll: true });
  }

  /**
   * @param {CardAnswer} answer
   * @returns {Child[]}
   */
  #answer({ agencies, cell }) {
    const known = agencies.filter((agency) => agency.layers.length);
    if (!known.length) return [element('p', { class: 'card-note' }, t('card_empty')), cellLine(cell)];
    const isHere = (/** @type {CardAgency} */ agency) => agency.layers.some((layer) => layer.features.some((feature) => feature.here));
    const here = known.filter(isHere);
    const around = known.filter((agency) => !isHere(agency));
    return [
      here.length === 0 && element('p', { class: 'card-note' }, t('card_nothing_here')),
      [...here, ...around].map((agency) => this.#agency(agency)),
      cellLine(cell),
    ];
  }

  /** @param {CardAgency} agency */
  #agency({ agency, layers }) {
    const rank = (/** @type {CardLayer} */ layer) => (layer.features.some((feature) => feature.here) ? 0 : 1);
    return element(
      'section',
      { class: 'card-agency', 'data-agency': agency.name },
      element('h3', {}, agency.title),
      [...layers].sort((a, b) => rank(a) - rank(b)).map((layer) => this.#layer(layer)),
    );
  }

  /** @param {CardLayer} layer */
  #layer(layer) {
    const here = layer.features.filter((feature) => feature.here);
    const around = layer.features.filter((feature) => !feature.here);
    // The answer may hold fewer features than the cell does; `total` counts them all.
    const count = Math.max(layer.total - here.length, around.length);
    const unlisted = count - Math.min(around.length, MOST_AROUND);
    const meta = [
      layer.licence && t('licence', { licence: layer.licence }),
      t('version', { version: layer.version }),
      layer.published && date(layer.published, this.timeZone),
    ].filter(Boolean);
    return element(
      'div',
      { class: 'card-layer', 'data-layer': layer.layer },
      element('h4', {}, layer.title, layer.sample && element('span', { class: 'mark' }, t('sample_mark'))),
      here.map((feature) => item(feature)),
      count > 0 &&
        element(
          'details',
          { class: 'around' },
          element('summary', {}, t('around', { count: number(count) })),
          around.slice(0, MOST_AROUND).map((feature) => item(feature)),
          unlisted > 0 && element('p', { class: 'card-meta' }, t('around_more', { count: number(unlisted) })),
        ),
      element('p', { class: 'card-meta' }, meta.join(' · ')),
    );
  }
}

/**
 * @param {Place} place
 * @param {string} language
 * @param {AbortSignal} signal
 * @returns {Promise<CardAnswer>}
 */
async function ask({ longitude, latitude }, language, signal) {
  const query = new URLSearchParams({ lng: longitude.toFixed(7), lat: latitude.toFixed(7), lang: language });
  const answer = await fetch(`/cells/at?${query}`, { signal });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error('cells'), { detail: body.detail ?? body.title });
  return body;
}

/** @param {unknown} error */
function detailOf(error) {
  return error instanceof Error && 'detail' in error ? String(error.detail) : null;
}

function wait() {
  return [
    element('p', { class: 'card-note', role: 'status' }, t('card_loading')),
    element('div', { class: 'card-wait', 'aria-hidden': 'true' }, [1, 2, 3].map(() => element('span'))),
  ];
}

/** @param {string} cell */
function cellLine(cell) {
  return element('p', { class: 'card-cell' }, t('cell', { cell }));
}

/** @param {CardFeature} feature */
function item({ title, display }) {
  return element(
    'article',
    { class: 'item' },
    (title || display.length === 0) && element('p', { class: 'item-title' }, title || t('unnamed')),
    display.length > 0 &&
      element(
        'dl',
        { class: 'facts' },
        display.map((fact) => [
          element('dt', {}, fact.title),
          element('dd', {}, [fact.value, unit(fact.unit)].filter((part) => part !== '' && part !== null).join(' ')),
        ]),
      ),
  );
}

// Starts the page: asks for texts, collections, the deck and its bundle at once, then ties the parts together.

import { readHash, writeHash } from './address.js';
import { Card } from './card.js';
import { Controls } from './controls.js';
import { element } from './dom.js';
import { Live } from './live.js';
import { Progress, Toasts, trouble } from './notices.js';
import { Panel } from './panel.js';
import { number, speak, t } from './texts.js';
import { TileStore } from './tiles.js';
import { changesSince, Updates } from './updates.js';

/** @type {Language[]} */
const LANGUAGES = ['vi', 'en'];
const HASH_AFTER_MS = 300;
const REFRESH_EVERY_MS = 30_000;
const WIDE = '(min-width: 1024px)';

// The elements of index.html, which are always there.
const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const { city, assets, language: firstLanguage } = JSON.parse($('facts').textContent ?? '');

/**
 * @type {{
 *   language: Language, collections: Collection[], known: Set<string>, shown: Set<string>,
 *   map: import('./map.js').TwinMap | null, refreshed: number,
 * }}
 */
const page = {
  language: firstLanguage,
  collections: [],
  // Those that were in the list once keep the switch that the reader gave them.
  known: new Set(),
  shown: new Set(),
  map: null,
  refreshed: 0,
};
const progress = new Progress($('progress'));
const toasts = new Toasts($('toasts'));
const store = new TileStore({
  onActivity: (pending) => onActivity(pending),
  onFailure: (error) => onTileFailure(error),
});
const panel = new Panel({ root: $('panel'), button: $('layers-button'), onSwitch, timeZone: city.timeZone });
const card = new Card({
  root: $('card'),
  stage: $('stage'),
  timeZone: city.timeZone,
  onPlace: (place) => page.map?.setMark(place),
});
/** @type {Controls | null} */
let controls = null;
/** @type {Live | null} */
let live = null;
/** @type {import('./state_view.js').StateView | null} */
let state = null;
// Values that came before what shows them was loaded; null where it is not asked for yet.
/** @type {Map<number, StateRow> | null} */
let early = null;
const updates = new Updates({ fetchParts: () => Promise.all([getCollections(), getSpec()]), apply: takeOver });

// The map, for what only runs while there is one.
function theMap() {
  if (page.map === null) throw new Error('there is no map yet');
  return page.map;
}

/** @param {number} pending */
function onActivity(pending) {
  progress.update(pending);
  if (pending === 0 && store.failed.size === 0) toasts.hide('tiles');
}

/**
 * @param {string} url
 * @returns {Promise<any>}
 */
async function json(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw Object.assign(new Error(`${url}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** @returns {Promise<Collection[]>} */
const getCollections = async () => (await json(`/collections?lang=${page.language}`)).collections;
/** @returns {Promise<Spec>} */
const getSpec = () => json(`/deck.json?lang=${page.language}`);

function loadBundle() {
  return new Promise((resolve, reject) => {
    const script = element('script', { src: `${assets}deck.js` });
    script.onload = resolve;
    script.onerror = () => reject(new Error('bundle'));
    document.head.append(script);
  });
}

function hasWebGL2() {
  return document.createElement('canvas').getContext('webgl2') !== null;
}

async function start() {
  await speak(page.language, assets);
  renderLanguages();
  const collections = getCollections();
  if (!hasWebGL2()) {
    page.collections = await collections;
    /** @type {[string, string][]} */
    const links = page.collections.map((c) => [c.title, `/collections/${encodeURIComponent(c.id)}`]);
    trouble($('opening'), t('no_webgl_title'), t('no_webgl'), links);
    return;
  }
  const bundle = loadBundle();
  const module = bundle.then(() => import('./map.js'));
  const parts = await Promise.all([collections, getSpec(), module]);
  page.collections = parts[0];
  const { TwinMap } = parts[2];
  const { view, switched } = readHash(location.hash);
  page.shown = shownWith(switched);
  page.known = new Set(page.collections.map((c) => c.id));
  const map = new TwinMap({ container: $('map'), spec: parts[1], view, shown: page.shown, store });
  page.map = map;
  Object.assign(window.twin, { deck: map.deck, map });
  controls = new Controls({ root: $('controls'), foot: $('foot'), map });
  map.addEventListener('move', onMove);
  map.addEventListener('ask', (event) => card.open(/** @type {CustomEvent<Place>} */ (event).detail, page.language));
  window.addEventListener('hashchange', onHashChange);
  render();
  panel.toggle(window.matchMedia(WIDE).matches);
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  $('opening').hidden = true;
  live = new Live({
    onCurrent,
    onChanges: (changes) => updates.take(changes),
    onState,
    onConnection: (stands) => state?.setConnected(stands),
  });
}

// A city that sends values has a state to show; what shows it is loaded then.
/** @param {StateRow[]} rows */
async function onState(rows) {
  if (state) {
    state.take(rows);
    return;
  }
  if (rows.length === 0) return;
  const isFirst = early === null;
  early ??= new Map();
  for (const row of rows) early.set(row[0], row);
  if (!isFirst) return;
  try {
    const { StateView } = await import('./state_view.js');
    const view = new StateView({
      map: theMap(), panel, card, live: /** @type {Live} */ (live), stage: $('stage'), assets, timeZone: city.timeZone,
      page: () => page, onSwitch, onChange: onStateChange,
    });
    await view.start([...early.values()], readHash(location.hash).state);
    state = view;
    state.take([...early.values()]);
    window.twin.state = state;
    onStateChange();
  } catch (error) {
    console.warn('the state of the city cannot be shown; trying again with the next values:', error);
    early = null;
  }
}

function onStateChange() {
  if (!state) return;
  writeAddress();
  renderPanel();
}

/**
 * @param {Record<string, number>} versions
 * @param {boolean} again
 */
function onCurrent(versions, again) {
  const changes = changesSince(page.collections, versions);
  // Nothing but what is said of the layers can be another then.
  if (changes.length || again) updates.take(changes);
}

// Show other versions of the layers; the view, the switches and the chosen place stay.
/**
 * @param {Collection[]} collections
 * @param {Spec} spec
 * @param {Change[]} changes
 */
function takeOver(collections, spec, changes) {
  const before = new Map(page.collections.map((c) => [c.id, c]));
  page.collections = collections;
  for (const { id, visible } of collections) {
    if (!page.known.has(id) && visible) page.shown.add(id);
    page.known.add(id);
  }
  const map = theMap();
  map.shown = new Set(page.shown);
  map.adopt(spec);
  render();
  card.renew(changes.map((change) => change.layer), page.language);
  const text = newsOf(changes, before);
  if (text) toasts.tell('news', text);
}

// One sentence on what a reader can notice: layers that are on the map, and new ones.
/**
 * @param {Change[]} changes
 * @param {Map<string, Collection>} before
 */
function newsOf(changes, before) {
  const noticed = changes.filter(({ layer, kind }) => kind === 'shown' || (kind !== 'changed' && page.shown.has(layer)));
  if (noticed.length === 0) return '';
  if (noticed.length > 1) return t('news_several', { count: number(noticed.length) });
  const [{ layer, kind, version }] = noticed;
  const { title } = page.collections.find((c) => c.id === layer) ?? before.get(layer) ?? { title: layer };
  return t(`news_${kind}`, { title, version });
}

/** @param {Map<string, boolean>} switched */
function shownWith(switched) {
  const isShown = (/** @type {Collection} */ c) => switched.get(c.id) ?? c.visible;
  return new Set(page.collections.filter(isShown).map((c) => c.id));
}

// What differs from each collection's own default, for the address.
/** @returns {[string, boolean][]} */
function switchedLayers() {
  const isLent = (/** @type {Collection} */ c) => page.shown.has(c.id) && state?.lent.has(c.id);
  const differs = page.collections.filter((c) => page.shown.has(c.id) !== c.visible && !isLent(c));
  return differs.map((c) => [c.id, page.shown.has(c.id)]);
}

function render() {
  document.title = city.title[page.language];
  $('title').textContent = city.title[page.language];
  $('map').setAttribute('aria-label', t('map'));
  document.querySelector('.skip')?.replaceChildren(t('skip_to_map'));
  renderLanguages();
  const visible = page.collections.filter((c) => page.shown.has(c.id));
  const sample = $('sample');
  sample.hidden = !visible.some((c) => c.sample);
  sample.textContent = t('sample');
  sample.title = t('sample_hint');
  renderPanel();
  controls?.render([...new Set(visible.map((c) => c.attribution ?? '').filter(Boolean))]);
  state?.render();
}

function renderPanel() {
  panel.render(page.collections, page.shown, theMap().view.zoom);
}

function renderLanguages() {
  $('languages').setAttribute('aria-label', t('language'));
  const focused = $('languages').contains(document.activeElement);
  $('languages').replaceChildren(
    ...LANGUAGES.map((code) =>
      element(
        'button',
        {
          type: 'button',
          lang: code,
          'data-language': code,
          'aria-pressed': String(code === page.language),
          onclick: () => switchLanguage(code),
        },
        code.toUpperCase(),
      ),
    ),
  );
  const chosen = /** @type {HTMLElement | null} */ ($('languages').querySelector('[aria-pressed="true"]'));
  if (focused) chosen?.focus();
}

/** @param {Language} language */
async function switchLanguage(language) {
  if (language === page.language) return;
  const address = new URL(location.href);
  address.searchParams.set('lang', language);
  if (!page.map) {
    location.replace(address);
    return;
  }
  const before = page.language;
  page.language = language;
  try {
    const [collections] = await Promise.all([getCollections(), speak(language, assets)]);
    page.collections = collections;
    await state?.speak(language);
  } catch {
    page.language = before;
    toasts.show('server', t('no_server'), () => switchLanguage(language));
    return;
  }
  history.replaceState(null, '', address);
  render();
  if (card.place) card.open(card.place, language);
}

/**
 * @param {string} collection
 * @param {boolean} shown
 */
function onSwitch(collection, shown) {
  if (shown) page.shown.add(collection);
  else page.shown.delete(collection);
  theMap().setShown(collection, shown);
  writeAddress();
  render();
}

let addressTimer = 0;

/** @param {Event} event */
function onMove(event) {
  panel.showZoom(/** @type {CustomEvent<View>} */ (event).detail.zoom);
  clearTimeout(addressTimer);
  addressTimer = setTimeout(writeAddress, HASH_AFTER_MS);
}

function writeAddress() {
  const hash = writeHash(theMap().view, switchedLayers(), state?.address ?? readHash(location.hash).state);
  if (hash !== location.hash) history.replaceState(null, '', hash);
}

function onHashChange() {
  const { view, switched, state: address } = readHash(location.hash);
  page.shown = shownWith(switched);
  const map = theMap();
  map.shown = new Set(page.shown);
  map.update();
  if (view) map.moveTo(view, 0);
  render();
  state?.goTo(address);
}

/** @param {import("./tiles.js").TileError} error */
function onTileFailure(error) {
  // A tile that is gone belongs to a version that was retired since: take over the present ones.
  const gone = error.status === 404 || error.status === 410;
  if (gone && Date.now() - page.refreshed > REFRESH_EVERY_MS) {
    page.refreshed = Date.now();
    updates.take([]);
    return;
  }
  toasts.show('tiles', error.status === 0 ? t('no_server') : t('tiles_failed'), () => theMap().retry());
}


async function open() {
  try {
    await start();
  } catch (error) {
    console.warn('the page could not start:', error);
    const text = error instanceof Error && error.message === 'bundle' ? t('bundle_failed') : t('no_server');
    trouble($('opening'), city.title[page.language], text, [], () => location.reload());
    throw error;
  }
}

window.twin = { deck: null, map: null, store };
const ready = open();
ready.catch(() => {});
window.twin.ready = ready;
window.twin.idle = async () => {
  await ready;
  await page.map?.idle();
};
window.twin.live = () => live?.source?.readyState ?? EventSource.CLOSED;
window.twin.placeAt = (/** @type {number} */ x, /** @type {number} */ y) => theMap().placeAt(x, y);
window.twin.labels = () => theMap().labels.placed.map((label) => label.candidate.text);

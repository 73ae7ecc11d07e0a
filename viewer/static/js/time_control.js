// The one control of time: now, a slider over the last day, and play. It also says whether what is shown is live.

import { element, icon } from './dom.js';
import { momentAt, stepOf, timeline, STEP_SECONDS } from './timeline.js';
import { t } from './texts.js';

const FASTER = 60;
const PLAY = ['M8 5.5v13l10.5-6.5Z'];
const PAUSE = ['M9 6v12M15 6v12'];

export class TimeControl {
  // `onMoment(at)` runs when the reader goes to a moment, with null for now; `onKind()` when he presses the kind's name.
  /**
   * @param {object} given
   * @param {HTMLElement} given.root
   * @param {import('./state.js').CityState} given.state
   * @param {import('./state_words.js').StateWords} given.words
   * @param {(at: number | null) => void} given.onMoment
   * @param {() => void} given.onKind
   */
  constructor({ root, state, words, onMoment, onKind }) {
    this.root = root;
    this.state = state;
    this.words = words;
    this.onMoment = onMoment;
    /** @type {number | null} */
    this.at = null;
    this.playing = 0;
    /** @type {number | null} */
    this.lostSince = null;
    this.kind = element('button', { type: 'button', class: 'dock-kind', onclick: onKind });
    this.status = element('p', { class: 'dock-status', role: 'status' });
    this.slider = element('input', {
      type: 'range', min: 0, step: 1, class: 'dock-slider',
      oninput: () => this.#go(momentAt(this.line, Number(this.slider.value))),
    });
    this.play = element('button', { type: 'button', class: 'icon-button dock-play', onclick: () => this.toggle() });
    this.time = element('output', { class: 'dock-time' });
    this.now = element('button', { type: 'button', class: 'dock-now', onclick: () => this.#go(null) });
    this.line = timeline(state.clock(), null);
    root.replaceChildren(
      element('div', { class: 'dock-head' }, this.kind, this.status),
      element('div', { class: 'dock-row' }, this.play, this.slider, this.time, this.now),
    );
  }

  /**
   * @param {object} given
   * @param {string} given.title
   * @param {string[]} given.colors
   * @param {string[]} given.marks
   */
  setKind({ title, colors, marks }) {
    const strip = element('span', { class: 'dock-strip', 'aria-hidden': 'true' }, colors.map((color) => {
      const part = element('span');
      part.style.background = color;
      return part;
    }));
    this.kind.replaceChildren(
      ...(colors.length ? [strip] : []),
      element('span', { class: 'dock-title' }, title),
      ...marks.map((mark) => element('span', { class: 'mark' }, mark)),
    );
    this.kind.title = t('dock_kind');
  }

  // Show a moment that was chosen elsewhere, such as in the address.
  /** @param {number | null} at */
  set(at) {
    this.at = at;
    this.render();
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.root.setAttribute('aria-busy', String(busy));
  }

  /** @param {boolean} connected */
  setConnected(connected) {
    if (connected === (this.lostSince === null)) return;
    this.lostSince = connected ? null : this.state.clock();
    this.render();
  }

  // Say the time anew, in the present language.
  render() {
    const now = this.state.clock();
    const { at, words } = this;
    this.line = timeline(now, at);
    this.root.setAttribute('aria-label', t('dock'));
    this.root.classList.toggle('is-past', at !== null);
    this.root.parentElement?.classList.toggle('shows-past', at !== null);
    this.root.classList.toggle('is-lost', this.lostSince !== null);
    this.slider.max = String(this.line.steps);
    this.slider.value = String(stepOf(this.line, at));
    this.slider.setAttribute('aria-label', t('dock_slider'));
    this.slider.setAttribute('aria-valuetext', at === null ? t('now') : words.fullMoment(at));
    this.time.textContent = words.moment(at ?? now, now);
    this.now.textContent = t('now');
    this.now.setAttribute('aria-pressed', String(at === null));
    const label = this.playing ? t('dock_pause') : t('dock_play', { factor: FASTER });
    this.play.setAttribute('aria-label', label);
    this.play.title = label;
    this.play.replaceChildren(icon(...(this.playing ? PAUSE : PLAY)));
    const said = this.#status(now);
    if (this.status.textContent !== said) this.status.textContent = said;
  }

  /** @param {number} now */
  #status(now) {
    if (this.lostSince !== null) return t('dock_lost', { moment: this.words.moment(this.lostSince, now) });
    return this.at === null ? t('dock_live') : t('dock_past', { moment: this.words.moment(this.at, now) });
  }

  toggle() {
    if (this.playing) this.pause();
    else {
      if (this.at === null) this.#go(this.line.start, true);
      this.playing = setInterval(() => this.#step(), (STEP_SECONDS / FASTER) * 1000);
      this.render();
    }
  }

  pause() {
    clearInterval(this.playing);
    this.playing = 0;
    this.render();
  }

  #step() {
    const line = timeline(this.state.clock(), this.at);
    this.#go(momentAt(line, stepOf(line, this.at) + 1), true);
  }

  /**
   * @param {number | null} at
   * @param {boolean} played
   */
  #go(at, played = false) {
    if (this.playing && (!played || at === null)) {
      clearInterval(this.playing);
      this.playing = 0;
    }
    this.at = at;
    this.render();
    this.onMoment(at);
  }
}

// Quiet notices: the line that moves while tiles load, and messages with a way out.

import { element } from './dom.js';
import { t } from './texts.js';

const SHOW_AFTER_MS = 200;
const TELL_MS = 7_000;

export class Progress {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.timer = 0;
  }

  /** @param {number} pending */
  update(pending) {
    this.root.setAttribute('aria-label', t('tiles_loading'));
    if (pending === 0) {
      clearTimeout(this.timer);
      this.timer = 0;
      this.root.hidden = true;
    } else if (this.timer === 0) {
      this.timer = setTimeout(() => {
        this.root.hidden = false;
      }, SHOW_AFTER_MS);
    }
  }
}

export class Toasts {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
  }

  // One message of a kind at a time; `action` is what its button does.
  /**
   * @param {string} kind
   * @param {string} text
   * @param {() => void} action
   */
  show(kind, text, action) {
    if (this.shown.has(kind)) return;
    const toast = element(
      'div',
      { class: 'toast', 'data-kind': kind },
      element('span', {}, text),
      element('button', { type: 'button', onclick: () => { this.hide(kind); action(); } }, t('retry')),
    );
    this.shown.set(kind, toast);
    this.root.append(toast);
  }

  // A message without a way out, which goes by itself; a newer one of its kind takes its place.
  /**
   * @param {string} kind
   * @param {string} text
   */
  tell(kind, text) {
    this.hide(kind);
    const toast = element('div', { class: 'toast toast-news', 'data-kind': kind }, element('span', {}, text));
    this.shown.set(kind, toast);
    this.root.append(toast);
    setTimeout(() => {
      if (this.shown.get(kind) === toast) this.hide(kind);
    }, TELL_MS);
  }

  /** @param {string} kind */
  hide(kind) {
    this.shown.get(kind)?.remove();
    this.shown.delete(kind);
  }
}

// Shown in place of the map when it cannot be drawn at all; `items` are [text, address] pairs.
/**
 * @param {HTMLElement} root
 * @param {string} title
 * @param {string} text
 * @param {[string, string][]} items
 * @param {(() => void) | null} retry
 */
export function trouble(root, title, text, items = [], retry = null) {
  root.hidden = false;
  root.replaceChildren(
    element(
      'div',
      { class: 'trouble', role: 'alert' },
      element('h2', {}, title),
      text && element('p', {}, text),
      items.length > 0 && element('ul', {}, items.map(([name, href]) => element('li', {}, element('a', { href }, name)))),
      retry && element('button', { type: 'button', class: 'card-retry', onclick: retry }, t('retry')),
    ),
  );
}

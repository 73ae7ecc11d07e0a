// Buttons on the map (zoom, north, tilt, home), the scale bar and the line of sources.

import { element, icon, ICONS } from './dom.js';
import { number, t } from './texts.js';

const TILTED = 50;
const FLAT_BELOW = 3;
const EARTH_CIRCUMFERENCE_M = 40_075_016.7;
const SCALE_PIXELS = 96;

export class Controls {
  /**
   * @param {object} given
   * @param {HTMLElement} given.root
   * @param {HTMLElement} given.foot
   * @param {import('./map.js').TwinMap} given.map
   */
  constructor({ root, foot, map }) {
    this.root = root;
    this.foot = foot;
    this.map = map;
    this.needle = needle();
    this.tilt = element('button');
    this.scale = element('div');
    map.addEventListener('move', (event) => this.follow(/** @type {CustomEvent<View>} */ (event).detail));
  }

  /** @param {string[]} sources */
  render(sources) {
    const { map } = this;
    /** @type {(name: string, label: string, content: Child, onclick: () => void) => HTMLButtonElement} */
    const button = (name, label, content, onclick) =>
      element('button', { type: 'button', 'data-control': name, 'aria-label': label, title: label, onclick }, content);
    this.tilt = button('tilt', '', '', () => {
      map.moveTo({ pitch: map.view.pitch > FLAT_BELOW ? 0 : TILTED }, 500);
    });
    this.root.replaceChildren(
      element(
        'div',
        { class: 'control-group' },
        button('in', t('zoom_in'), icon(...ICONS.plus), () => map.moveTo({ zoom: map.view.zoom + 1 })),
        button('out', t('zoom_out'), icon(...ICONS.minus), () => map.moveTo({ zoom: map.view.zoom - 1 })),
      ),
      element(
        'div',
        { class: 'control-group' },
        button('north', t('north'), this.needle, () => map.moveTo({ bearing: 0 }, 500)),
        this.tilt,
        button('home', t('home'), icon(...ICONS.home), () => map.moveTo(map.home, 700)),
      ),
    );
    this.scale = element('div', { class: 'scale', role: 'img', 'aria-label': t('scale') });
    this.foot.replaceChildren(this.scale, sourceLine(sources));
    this.follow(map.view);
  }

  /** @param {View} view */
  follow({ bearing, pitch, latitude, zoom }) {
    this.needle.style.transform = `rotate(${-bearing}deg) rotateX(${pitch * 0.7}deg)`;
    const flat = pitch <= FLAT_BELOW;
    const label = flat ? t('tilt') : t('flat');
    this.tilt.textContent = flat ? '3D' : '2D';
    this.tilt.setAttribute('aria-label', label);
    this.tilt.title = label;
    const metres = (EARTH_CIRCUMFERENCE_M * Math.cos((latitude * Math.PI) / 180)) / (512 * 2 ** zoom);
    const length = niceLength(metres * SCALE_PIXELS);
    this.scale.style.width = `${Math.round(length / metres)}px`;
    this.scale.textContent =
      length >= 1000
        ? t('kilometres', { value: number(length / 1000) })
        : t('metres', { value: number(length) });
  }
}

// The largest 1, 2 or 5 times a power of ten that is not longer.
/** @param {number} metres */
function niceLength(metres) {
  const power = 10 ** Math.floor(Math.log10(metres));
  return power * ([5, 2].find((step) => step * power <= metres) ?? 1);
}

/** @param {string[]} sources */
function sourceLine(sources) {
  const text = t('attribution', { sources: sources.join(' · ') });
  return sources.length ? element('p', { class: 'sources', tabindex: '0', title: text }, text) : '';
}

function needle() {
  const svg = icon('M12 2 16 12H8Z', 'M12 22 8 12h8Z');
  svg.classList.replace('icon', 'needle');
  svg.children[0].classList.add('needle-north');
  svg.children[1].classList.add('needle-south');
  return svg;
}

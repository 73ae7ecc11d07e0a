// Builds elements. Text only ever enters as text: there is no way to pass markup.

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (name === 'class') node.className = String(value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  const shown = /** @type {any[]} */ (children).flat(Infinity);
  node.append(...shown.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

// A 24-unit line icon from path data; decorative, its button carries the name.
/** @param {string[]} paths */
export function icon(...paths) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon');
  for (const d of paths) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

export const ICONS = {
  plus: ['M12 5v14M5 12h14'],
  minus: ['M5 12h14'],
  home: ['M4 11.5 12 5l8 6.5M6.5 10v9h11v-9'],
  close: ['M6 6l12 12M18 6 6 18'],
  layers: ['M12 4 3.5 8.8 12 13.6l8.5-4.8L12 4Z', 'm4 13.2 8 4.6 8-4.6'],
  chevron: ['m8 10 4 4 4-4'],
};

// The page's words in the chosen language, and how that language writes numbers and dates.

/** @type {Record<string, string>} */
let words = {};
let tag = 'vi';

/**
 * @param {string} language
 * @param {string} assets
 */
export async function speak(language, assets) {
  const answer = await fetch(`${assets}i18n/${language}.json`);
  if (!answer.ok) throw new Error(`texts: ${answer.status}`);
  words = await answer.json();
  tag = language === 'vi' ? 'vi-VN' : 'en-GB';
  document.documentElement.lang = language;
}

// Add the words of a part of the page that is loaded later.
/**
 * @param {string} language
 * @param {string} assets
 * @param {string} part
 */
export async function learn(language, assets, part) {
  const answer = await fetch(`${assets}i18n/${part}.${language}.json`);
  if (!answer.ok) throw new Error(`texts: ${answer.status}`);
  words = { ...words, ...(await answer.json()) };
}

// The language as `Intl` names it.
export function languageTag() {
  return tag;
}

// One text with its {places} filled; a missing key shows itself, which the tests notice.
/**
 * @param {string} key
 * @param {Record<string, unknown>} values
 */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

/**
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 */
export function number(value, options) {
  return new Intl.NumberFormat(tag, options).format(value);
}

/**
 * @param {string} iso
 * @param {string} timeZone
 */
export function date(iso, timeZone) {
  const day = new Date(iso);
  if (Number.isNaN(day.getTime())) return '';
  return new Intl.DateTimeFormat(tag, { dateStyle: 'medium', timeZone }).format(day);
}

// UCUM codes that read badly on a card -> the usual sign.
/** @param {string | undefined} code */
export function unit(code) {
  if (!code) return '';
  const key = `unit_${code}`;
  return words[key] ?? code;
}

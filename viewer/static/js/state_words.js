// How values, moments and lengths of time of the city's state are written: in the language, in the city's time.

import { largestUnit } from './state.js';
import { languageTag, number, t, unit } from './texts.js';

const MEASURED = 'measured';

export class StateWords {
  /**
   * @param {import('./state.js').CityState} state
   * @param {string} timeZone
   */
  constructor(state, timeZone) {
    this.state = state;
    this.timeZone = timeZone;
  }

  /**
   * @param {number} id
   * @param {number | null} value
   */
  number(id, value) {
    if (value === null) return '–';
    const kind = this.state.kinds.get(this.state.streams.get(id)?.kind ?? '');
    const digits = kind?.digits ?? 1;
    return number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  /**
   * @param {number} id
   * @param {number | null} value
   */
  quantity(id, value) {
    return [this.number(id, value), unit(this.state.streams.get(id)?.unit ?? '')].filter(Boolean).join(' ');
  }

  /** @param {number} seconds */
  ago(seconds) {
    const [length, name] = largestUnit(seconds);
    return new Intl.RelativeTimeFormat(languageTag(), { style: 'short', numeric: 'always' }).format(-length, name);
  }

  // The time of day; with the day where that is not the one of `now`.
  /**
   * @param {number} seconds
   * @param {number} now
   */
  moment(seconds, now) {
    const day = (/** @type {number} */ at) => this.#format(at, { dateStyle: 'short' });
    const time = this.#format(seconds, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    if (day(seconds) === day(now)) return time;
    const sameYear = this.#format(seconds, { year: 'numeric' }) === this.#format(now, { year: 'numeric' });
    /** @type {Intl.DateTimeFormatOptions} */
    const form = { day: 'numeric', month: 'numeric', ...(sameYear ? {} : { year: 'numeric' }) };
    return t('time_on_day', { time, day: this.#format(seconds, form) });
  }

  // The moment with its whole date, for who cannot see the surroundings.
  /** @param {number} seconds */
  fullMoment(seconds) {
    return this.#format(seconds, { dateStyle: 'full', timeStyle: 'short' });
  }

  // The hours of the day that are multiples of six, within a stretch of time.
  /**
   * @param {number} from
   * @param {number} to
   */
  hours(from, to) {
    const found = [];
    for (let at = Math.ceil(from / 3600) * 3600; at <= to; at += 3600) {
      const hour = Number(this.#format(at, { hour: '2-digit', hourCycle: 'h23' }).replace(/\D/g, ''));
      if (hour % 6 === 0) found.push({ at, text: this.#format(at, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }) });
    }
    return found;
  }

  /** @param {string} basis */
  basis(basis) {
    return basis === MEASURED ? '' : t(`basis_${basis}`);
  }

  /**
   * @param {number} seconds
   * @param {Intl.DateTimeFormatOptions} options
   */
  #format(seconds, options) {
    return new Intl.DateTimeFormat(languageTag(), { ...options, timeZone: this.timeZone }).format(seconds * 1000);
  }
}

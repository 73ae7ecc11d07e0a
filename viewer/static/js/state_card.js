// What the streams of a place say, at the top of its card: value, class, age, and the last day as a chart.

import { element } from './dom.js';
import { chartTable, drawChart } from './series_chart.js';
import { dot } from './state_panel.js';
import { number, t } from './texts.js';

const MOST_SHOWN = 8;
const DAY_SECONDS = 86_400;
const EVERY = '15m';

export class StateSection {
  /**
   * @param {object} given
   * @param {import('./state.js').CityState} given.state
   * @param {import('./state_words.js').StateWords} given.words
   * @param {number[]} given.streams
   */
  constructor({ state, words, streams }) {
    this.state = state;
    this.words = words;
    this.request = new AbortController();
    this.items = streams.slice(0, MOST_SHOWN).flatMap((id, i) => {
      const stream = state.streams.get(id);
      return stream ? [{ stream, facts: element('div'), chart: element('div', { class: 'state-chart' }), open: i === 0 }] : [];
    });
    this.when = element('p', { class: 'state-when', hidden: true });
    this.node = this.#build();
    this.refresh();
  }

  #build() {
    let thing = '';
    return element(
      'section',
      { class: 'card-agency state-card', 'aria-label': t('state') },
      element('h3', {}, t('state')),
      this.when,
      this.items.map((item) => {
        const { stream, facts, chart, open } = item;
        const isNew = stream.thing.name !== thing;
        thing = stream.thing.name;
        const basis = this.words.basis(stream.basis);
        return [
          isNew && element('h4', { class: 'state-thing' }, thing, basis && element('span', { class: 'mark' }, basis)),
          element(
            'article',
            { class: 'item state-item', 'data-stream': stream.id },
            element('p', { class: 'item-title' }, stream.title),
            facts,
            open
              ? chart
              : element(
                  'details',
                  {
                    class: 'around',
                    ontoggle: (/** @type {Event} */ event) => {
                      item.open = /** @type {HTMLDetailsElement} */ (event.currentTarget).open;
                      if (item.open) this.#draw(item);
                    },
                  },
                  element('summary', {}, t('state_day')),
                  chart,
                ),
          ),
        ];
      }),
    );
  }

  // Say everything anew, charts as well: another moment is shown, or the card was just opened.
  refresh() {
    this.request.abort();
    this.request = new AbortController();
    const { at } = this.state;
    this.when.hidden = at === null;
    if (at !== null) this.when.textContent = t('state_at', { moment: this.words.moment(at, this.state.clock()) });
    this.tick();
    for (const item of this.items) if (item.open) this.#draw(item);
  }

  // Say what the streams say now, and how long ago they were heard of.
  tick() {
    for (const { stream, facts } of this.items) {
      const lines = this.#facts(stream);
      const said = lines.map((line) => line.textContent).join('\n');
      if (facts.dataset.said === said) continue;
      facts.dataset.said = said;
      facts.replaceChildren(...lines);
    }
  }

  close() {
    this.request.abort();
  }

  /** @param {Stream} stream */
  #facts({ id }) {
    const { state, words } = this;
    const reading = state.reading(id);
    if (!reading) return [element('p', { class: 'state-none' }, state.at === null ? t('state_no_value') : t('state_no_value_then'))];
    const normal = state.isNormal(id);
    const grade = state.gradeOf(id);
    const flags = state.flagsOf(id).map((name) => t(`flag_${name}`));
    return [
      element(
        'p',
        { class: normal ? 'state-value' : 'state-value state-value-old' },
        element('strong', {}, words.quantity(id, reading.value)),
        normal && grade && element('span', { class: 'state-grade' }, dot(grade.color), grade.title),
        !normal && element('span', { class: 'state-grade' }, dot(null), flags.length ? t('state_flagged') : t('state_stale')),
      ),
      flags.length > 0 && element('p', { class: 'state-flags' }, t('state_flags', { flags: flags.join(', ') })),
      element(
        'p',
        { class: 'card-meta' },
        element(
          'time',
          { datetime: new Date(reading.seconds * 1000).toISOString(), title: words.fullMoment(reading.seconds) },
          state.at === null
            ? t('state_seen', { age: words.ago(/** @type {number} */ (state.ageOf(id))) })
            : t('state_seen_at', { moment: words.moment(reading.seconds, state.clock()) }),
        ),
      ),
    ].filter((line) => line !== false);
  }

  /** @param {{ stream: Stream, chart: HTMLElement }} item */
  async #draw({ stream, chart }) {
    const { signal } = this.request;
    const to = Math.ceil(this.state.moment);
    const from = to - DAY_SECONDS;
    try {
      const query = new URLSearchParams({ from: iso(from), to: iso(to), every: EVERY });
      const answer = await fetch(`/streams/${stream.id}/series?${query}`, { signal });
      if (!answer.ok) throw new Error(`series: ${answer.status}`);
      chart.replaceChildren(...this.#chart(stream, await answer.json(), from, to));
    } catch {
      if (!signal.aborted) chart.replaceChildren(element('p', { class: 'card-meta', role: 'alert' }, t('state_no_chart')));
    }
  }

  /**
   * @param {Stream} stream
   * @param {Series} series
   * @param {number} from
   * @param {number} to
   */
  #chart({ id, title }, series, from, to) {
    const { words, state } = this;
    const values = series.buckets.flatMap(({ value }) => (value === null ? [] : [value]));
    if (!values.length) return [element('p', { class: 'card-meta' }, t('state_no_day'))];
    const description = t('chart_description', {
      low: words.quantity(id, Math.min(...values)),
      high: words.quantity(id, Math.max(...values)),
      gaps: series.buckets.length - values.length,
      count: series.buckets.length,
    });
    const when = (/** @type {string} */ start) => words.moment(Date.parse(start) / 1000, state.clock());
    return [
      drawChart({
        series, from, to, description, title: t('chart_title', { title }),
        write: (value) => number(value), hours: words.hours(from, to),
      }),
      chartTable({
        buckets: series.buckets, summary: t('chart_table'), head: [t('chart_time'), title], when,
        what: (value) => words.quantity(id, value),
      }),
    ];
  }
}

/** @param {number} seconds */
function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

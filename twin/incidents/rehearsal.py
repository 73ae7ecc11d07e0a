"""What a rule would have found in the past: the same evaluation over stored values, and nothing stored or sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

import asyncpg

from twin.catalogue.catalogue import SNAPSHOT_SQL, parse_snapshot
from twin.incidents.conditions import Change, PairState, step
from twin.incidents.engine import RATES_SQL, raise_stream
from twin.incidents.evaluation import evaluate
from twin.incidents.incident import stamp
from twin.incidents.rule_book import Grades, PlaceRule, StoredRule, StreamPairs, Test, pairs_of, place_rule, selection
from twin.incidents.rules import Aggregate, AlertRule, Silence
from twin.incidents.ticker import aggregate, compare, raise_place
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.latest import LatestValue
from twin.streams.writer import Observation
from twin.text import Text

# Aggregates are looked at so often in the past.
STEP = timedelta(minutes=1)
MOST_VALUES = 5_000_000

VALUES_SQL = """
SELECT stream, time, value, flag FROM live.observation
WHERE stream = ANY($1::int4[]) AND time >= $2 AND time <= $3 ORDER BY time, stream LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One incident that would have been opened; `until` is None for one that would be open still."""

    subject: int
    began: datetime
    title: Text
    value: float | None
    until: datetime | None = None


@dataclass(slots=True)
class Rehearsal:
    """What one rule would have found, on how many streams."""

    rule: AlertRule
    streams: int = 0
    incidents: list[Rehearsed] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        incidents = [
            {"stream": i.subject or None, "began": stamp(i.began), "until": stamp(i.until), "title": i.title.as_dict(),
             "value": i.value}
            for i in self.incidents
        ]  # fmt: skip
        return {"rule": self.rule.name, "agency": self.rule.agency, "streams": self.streams, "incidents": incidents}

    def turn(self, change: Change, subject: int, moment: datetime, title: Text, value: float | None) -> None:
        """Note what became of the rule with one subject."""
        if change is Change.OPEN:
            self.incidents.append(Rehearsed(subject, moment, title, value))
        elif change is Change.CLOSE:
            place = max(n for n, i in enumerate(self.incidents) if i.subject == subject)
            self.incidents[place] = replace(self.incidents[place], until=moment)


async def rehearse(
    connection: asyncpg.Connection, rule: AlertRule, grades: Grades, zone: tzinfo, start: datetime, end: datetime, *,
    every_agency: bool = False,
) -> Rehearsal:  # fmt: skip
    """Apply a rule to the stored values between two moments."""
    stored = StoredRule(0, 0, 0, every_agency, rule)
    entries = await read_entries(connection)
    layers = parse_snapshot(await connection.fetchval(SNAPSHOT_SQL))
    selected = selection(rule, every_agency, entries, layers)
    found = Rehearsal(rule, len(selected))
    rows = await connection.fetch(VALUES_SQL, [entry.key for entry in selected], start, end, MOST_VALUES)
    batch = [Observation(row["stream"], row["time"], row["value"], None, row["flag"]) for row in rows]
    if isinstance(rule.when, Silence):
        _silences(found, stored, selected, batch, grades, zone, start, end)
    elif isinstance(rule.when, Aggregate):
        place = await place_rule(connection, stored, rule.when, selected, layers)
        if place is not None:
            found.streams = len(place.entries)
            _aggregates(found, place, batch, grades, zone, start, end)
    else:
        by_stream = {pair.entry.key: pair for pair in pairs_of(stored, selected, grades, end)}
        pairs = {stream: StreamPairs.of([pair]) for stream, pair in by_stream.items()}
        concerned = [o for o in batch if o.stream in pairs]
        rates = {}
        if any(pair.test is Test.RATE for pair in by_stream.values()):
            good = [o for o in concerned if o.value is not None and not o.flag]
            windows = [by_stream[o.stream].window for o in good]
            asked = [o.stream for o in good], [o.time for o in good], [o.value for o in good], windows
            rates = {
                (row["stream"], row["time"], row["seconds"]): float(row["rate"])
                for row in await connection.fetch(RATES_SQL, *asked)
            }  # fmt: skip
        for turn in evaluate(pairs, concerned, {}, rates, grades, None).turns:
            raised = raise_stream(stored, turn.pair.entry, turn.time, turn.value, turn.pair.limit, grades, zone)
            found.turn(turn.change, turn.pair.entry.key, turn.time, raised.title, turn.value)
    return found


def _silences(
    found: Rehearsal, stored: StoredRule, selected: Sequence[StreamEntry], batch: Sequence[Observation],
    grades: Grades, zone: tzinfo, start: datetime, end: datetime,
) -> None:  # fmt: skip
    seconds = stored.definition.when.seconds
    times: dict[int, list[datetime]] = {entry.key: [start] for entry in selected}
    for o in batch:
        times[o.stream].append(o.time)
    for entry in selected:
        moments = times[entry.key]
        for last, following in zip(moments, [*moments[1:], end], strict=True):
            if (following - last).total_seconds() >= seconds:
                began = last + timedelta(seconds=seconds)
                title = raise_stream(stored, entry, last, None, None, grades, zone).title
                found.turn(Change.OPEN, entry.key, began, title, None)
                if following is not end:
                    found.turn(Change.CLOSE, entry.key, following, title, None)


def _aggregates(
    found: Rehearsal, place: PlaceRule, batch: Sequence[Observation], grades: Grades, zone: tzinfo, start: datetime,
    end: datetime,
) -> None:  # fmt: skip
    values: dict[int, LatestValue] = {}
    state = PairState(start)
    position, moment = 0, start
    while moment <= end:
        while position < len(batch) and batch[position].time <= moment:
            o = batch[position]
            values[o.stream] = LatestValue(o.time, o.time, o.value, o.flag, 0)
            position += 1
        result = aggregate(place, values, moment)
        if result is not None:
            raised, clear = compare(place, result[0])
            change = step(state, place.holding, moment, raised, clear, True)
            title = raise_place(place, *result, moment, grades, zone).title
            found.turn(change, 0, moment, title, result[0])
        moment += STEP

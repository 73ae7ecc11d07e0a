"""The rules that no single value decides: silence, and aggregates of many streams. Looked at every second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial

import asyncpg
import h3

from twin.incidents.conditions import Change, Holding, PairState, step
from twin.incidents.engine import AlertEngine, raise_stream
from twin.incidents.raising import (
    PLACE_SUBJECT,
    Key,
    Raised,
    close_empty_storms,
    close_incidents,
    keep_states,
    open_incidents,
    read_states,
)
from twin.incidents.rule_book import Grades, PlaceRule, RuleBook
from twin.incidents.rules import SEVERITIES
from twin.incidents.words import clock, number, same
from twin.streams.flags import BAD
from twin.streams.latest import LatestValue, LatestValues
from twin.text import Text

TICK_SECONDS = 1.0
# Of several programs that tick, one does at a time.
TICK_LOCK = 7_310_545_004

CREATED_SQL = "SELECT id, created_at FROM live.datastream WHERE id = ANY($1::int4[])"
ORPHANS_SQL = "SELECT rule_id, stream, incident_id FROM live.rule_state ORDER BY rule_id, stream FOR UPDATE"
RAISED_SQL = "SELECT rule_id, stream FROM live.rule_state WHERE rule_id = ANY($1::int4[])"


class Ticker:
    """Follows the latest values, and applies the rules on silence and aggregates to them."""

    def __init__(self, engine: AlertEngine) -> None:
        self._engine = engine
        self._latest = LatestValues()
        self._created: dict[int, datetime] = {}
        self._swept: RuleBook | None = None

    async def tick(self, connection: asyncpg.Connection) -> None:
        """Look at all rules once, in a transaction of its own."""
        engine = self._engine
        await engine.refresh(connection, datetime.now(UTC), frozenset())
        # The writers may read the rules again meanwhile: this look keeps to these.
        book = engine.book
        if not book.silent and not book.places and self._swept is book:
            return
        async with connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", TICK_LOCK):
                return
            if self._swept is not book:
                await self._sweep(connection, book)
                self._swept = book
            if not book.silent and not book.places:
                return
            await self._latest.follow(connection)
            # After the look: no value that it found is younger.
            now = datetime.now(UTC)
            await self._silence(connection, book, now)
            await self._places(connection, book, now)

    async def _sweep(self, connection: asyncpg.Connection, book: RuleBook) -> None:
        """End what was raised for streams that are gone, or that their rules do not select any more."""
        known = {(pair.rule.key, stream) for stream, of in book.by_stream.items() for pair in (*of.limits, *of.others)}
        known |= {(pair.rule.key, pair.entry.key) for pair in book.silent}
        known |= {(place.rule.key, PLACE_SUBJECT) for place in book.places}
        rows = await connection.fetch(ORPHANS_SQL)
        orphans = [row for row in rows if (row["rule_id"], row["stream"]) not in known and row["rule_id"] in book.rules]
        now = datetime.now(UTC)
        incidents = sorted({row["incident_id"] for row in orphans if row["incident_id"] is not None})
        await keep_states(connection, {(row["rule_id"], row["stream"]): PairState(now) for row in orphans})
        await close_incidents(connection, incidents, now, book.rules)
        await close_empty_storms(connection, incidents, now, book.rules)

    async def _silence(self, connection: asyncpg.Connection, book: RuleBook, now: datetime) -> None:
        silent = book.silent
        if not silent:
            return
        await self._read_created(connection, [pair.entry.key for pair in silent])
        values = self._latest.values
        rules = list({pair.rule.key for pair in silent})
        known = {(row["rule_id"], row["stream"]) for row in await connection.fetch(RAISED_SQL, rules)}
        raised: dict[Key, tuple[bool, Holding]] = {}
        told: dict[Key, Callable[[], Raised]] = {}
        for pair in silent:
            key = (pair.rule.key, pair.entry.key)
            value = values.get(pair.entry.key)
            last = value.time if value is not None else self._created.get(pair.entry.key, now)
            is_silent = (now - last).total_seconds() >= pair.seconds
            if is_silent or key in known:
                clear_seconds = pair.rule.definition.when.clear_seconds
                raised[key] = is_silent, Holding(0.0, clear_seconds)
                told[key] = partial(
                    raise_stream, pair.rule, pair.entry, last, value.value if value else None, None,
                    self._engine.grades, self._engine.zone,
                )  # fmt: skip
        await self._take(connection, book, raised, told, now)

    async def _read_created(self, connection: asyncpg.Connection, streams: Sequence[int]) -> None:
        if missing := [stream for stream in streams if stream not in self._created]:
            self._created |= dict(await connection.fetch(CREATED_SQL, missing))

    async def _places(self, connection: asyncpg.Connection, book: RuleBook, now: datetime) -> None:
        decided: dict[Key, tuple[bool, bool, Holding]] = {}
        told: dict[Key, Callable[[], Raised]] = {}
        for place in book.places:
            found = aggregate(place, self._latest.values, now)
            if found is None:
                continue
            value, count = found
            key = (place.rule.key, PLACE_SUBJECT)
            decided[key] = (*compare(place, value), place.holding)
            told[key] = partial(raise_place, place, value, count, now, self._engine.grades, self._engine.zone)
        states = await read_states(connection, [PLACE_SUBJECT], [rule for rule, _ in decided])
        await self._decide(connection, book, decided, states, told, now)

    async def _take(
        self, connection: asyncpg.Connection, book: RuleBook, raised: Mapping[Key, tuple[bool, Holding]],
        told: Mapping[Key, Callable[[], Raised]], now: datetime,
    ) -> None:  # fmt: skip
        if not raised:
            return
        states = await read_states(connection, list({s for _, s in raised}), list({r for r, _ in raised}))
        decided = {key: (is_raised, not is_raised, holding) for key, (is_raised, holding) in raised.items()}
        await self._decide(connection, book, decided, states, told, now)

    async def _decide(
        self, connection: asyncpg.Connection, book: RuleBook, decided: Mapping[Key, tuple[bool, bool, Holding]],
        states: dict[Key, PairState], told: Mapping[Key, Callable[[], Raised]], now: datetime,
    ) -> None:  # fmt: skip
        rules = book.rules
        changed: dict[Key, PairState] = {}
        opening: list[Key] = []
        closing: set[int] = set()
        for key, (is_raised, is_clear, holding) in decided.items():
            state = states.get(key)
            if state is None:
                if not is_raised:
                    continue
                state = states[key] = PairState(now)
            before = (state.phase, state.since, state.clear_since)
            change = step(state, holding, now, is_raised, is_clear, True)
            if change is Change.OPEN:
                opening.append(key)
            elif change is Change.CLOSE and state.incident is not None:
                closing.add(state.incident)
                state.incident = None
            if before != (state.phase, state.since, state.clear_since):
                changed[key] = state
        if not changed:
            return
        if opening:
            opened = await open_incidents(connection, [told[key]() for key in opening], now)
            if opened is None:
                self._engine.forget()
                return
            for key, incident in opened.items():
                states[key].incident = incident
        await close_incidents(connection, list(closing), now, rules)
        await keep_states(connection, changed)
        await close_empty_storms(connection, list(closing), now, rules)


def raise_place(place: PlaceRule, value: float, count: int, now: datetime, grades: Grades, zone: tzinfo) -> Raised:
    """Return all that is told of a rule on many streams that is raised by an aggregate of `count` values."""
    definition, condition = place.rule.definition, place.condition
    kind = definition.streams.kinds[0] if definition.streams.kinds else ""
    entry = place.entries[0] if place.entries and condition.of != "count" else None
    unit = entry.unit if entry is not None else None
    digits = grades.digits(entry) if entry is not None else 0
    words: Mapping[str, Text] = {
        "value": number(value, digits), "limit": number(condition.raise_at or 0.0, digits),
        "unit": same(unit or ""), "count": number(count, 0), "time": clock(now, zone),
        "layer": same(", ".join(place.layers)),
    }  # fmt: skip
    text = definition.text.fill(words) if definition.text else SEVERITIES[definition.severity]
    feature = condition.feature
    return Raised(
        place.rule, PLACE_SUBJECT, place.layers, definition.title.fill(words), text, now, value, unit,
        place.longitude, place.latitude, _cell(definition.streams.cell), feature.layer if feature else None,
        feature.id if feature else None, {"of": condition.of, "streams": count, **({"kind": kind} if kind else {})},
    )  # fmt: skip


def aggregate(place: PlaceRule, values: Mapping[int, LatestValue], now: datetime) -> tuple[float, int] | None:
    """Return the aggregate of the fresh, normal values and on how many it rests; None if they are too few."""
    numbers = []
    for entry in place.entries:
        latest = values.get(entry.key)
        if latest is None or latest.value is None or latest.flag & BAD:
            continue
        if latest.time + timedelta(seconds=entry.fresh_seconds) >= now:
            numbers.append(latest.value)
    condition = place.condition
    if len(numbers) < condition.at_least:
        return None
    match condition.of:
        case "count":
            limit = condition.from_value
            return float(sum(1 for n in numbers if limit is None or n >= limit)), len(numbers)
        case _ if not numbers:
            return None
        case "mean":
            return sum(numbers) / len(numbers), len(numbers)
        case "sum":
            return sum(numbers), len(numbers)
        case "max":
            return max(numbers), len(numbers)
        case "min":
            return min(numbers), len(numbers)


def compare(place: PlaceRule, value: float) -> tuple[bool, bool]:
    """Tell whether an aggregate raises its rule, and whether it clears it."""
    condition = place.condition
    sign = 1.0 if condition.direction == "above" else -1.0
    high = float(condition.raise_at or 0.0) * sign
    low = high if condition.clear_at is None else condition.clear_at * sign
    return value * sign >= high, value * sign < low


def _cell(cell: str | None) -> int | None:
    return h3.str_to_int(cell) if cell is not None else None

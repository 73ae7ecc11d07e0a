"""All rules as the evaluation needs them: by stream, with numbers for limits; read whole whenever one changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Protocol

import asyncpg
import shapely

from twin.access.permit import readable_streams
from twin.access.principals import Principal
from twin.catalogue.catalogue import SNAPSHOT_SQL, Layer, parse_snapshot
from twin.incidents.conditions import Holding
from twin.incidents.rules import Aggregate, AlertRule, Flagged, LevelChange, Rate, Silence, Threshold
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.flags import Flag
from twin.text import Text


class Grades(Protocol):
    """What the grades of streams' values are; the package of themes knows."""

    def index(self, entry: StreamEntry, value: float, time: datetime) -> int:
        """Return the place of a value's grade in its scale; -1 for none."""

    def title(self, entry: StreamEntry, value: float, time: datetime) -> Text | None:
        """Return what a value's grade is called."""

    def limit(self, entry: StreamEntry, grade: str, time: datetime, above: bool) -> float | None:
        """Return the lowest value of a grade, or (not `above`) the highest; None where there is no such grade."""

    def digits(self, entry: StreamEntry) -> int:
        """Return the decimals that its values are shown with."""


class Test(IntEnum):
    """What is looked at in an observation."""

    LIMIT = 0
    RATE = 1
    LEVEL = 2
    FLAG = 3


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as the database has it."""

    key: int
    version: int
    agency_id: int
    every_agency: bool
    definition: AlertRule


@dataclass(frozen=True, slots=True)
class Pair:
    """A rule with one of its streams. Values are compared after multiplication by `sign`, so that above is worse."""

    rule: StoredRule
    entry: StreamEntry
    test: Test
    holding: Holding
    sign: float = 1.0
    high: float = math.inf
    low: float = math.inf
    mask: int = 0
    window: float = 0.0

    @property
    def limit(self) -> float | None:
        """The limit as the rule means it; None where there is none."""
        return self.high * self.sign if math.isfinite(self.high) else None


@dataclass(frozen=True, slots=True)
class StreamPairs:
    """The rules on one stream. As long as nothing is raised, a value between `down` and `up` concerns no limit."""

    limits: tuple[Pair, ...]
    others: tuple[Pair, ...]
    up: float
    down: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> StreamPairs:
        """Return pairs of one stream so that most values are compared with two numbers."""
        limits = tuple(pair for pair in pairs if pair.test is Test.LIMIT)
        others = tuple(pair for pair in pairs if pair.test is not Test.LIMIT)
        up = min((pair.high for pair in limits if pair.sign > 0), default=math.inf)
        down = max((-pair.high for pair in limits if pair.sign < 0), default=-math.inf)
        return cls(limits, others, up, down)


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """A rule about many streams at once."""

    rule: StoredRule
    condition: Aggregate
    holding: Holding
    entries: tuple[StreamEntry, ...]
    # Whoever may read these may know of its incidents: the streams' layers, and that of the feature.
    layers: tuple[str, ...]
    longitude: float | None = None
    latitude: float | None = None


@dataclass(frozen=True, slots=True)
class SilentPair:
    """A rule that waits for one stream's values."""

    rule: StoredRule
    entry: StreamEntry
    seconds: float


@dataclass
class RuleBook:
    """The enabled rules; `stamp` tells whether it is still the newest."""

    stamp: int = -1
    entries: Mapping[int, StreamEntry] = field(default_factory=dict)
    by_stream: Mapping[int, StreamPairs] = field(default_factory=dict)
    # The ids of the rules in `by_stream`.
    on_streams: tuple[int, ...] = ()
    places: tuple[PlaceRule, ...] = ()
    silent: tuple[SilentPair, ...] = ()
    rules: Mapping[int, StoredRule] = field(default_factory=dict)


STAMP_SQL = "SELECT coalesce(sum(version), 0)::bigint FROM live.alert_rule"

RULES_SQL = """
SELECT r.id, r.version, r.agency_id, r.every_agency, r.definition::text AS definition, a.name AS agency
FROM live.alert_rule r JOIN twin.agency a ON a.id = r.agency_id
WHERE r.removed_at IS NULL AND r.enabled ORDER BY r.id
"""


TABLE_SQL = """
SELECT v.table_name FROM twin.layer l JOIN twin.layer_version v ON v.id = l.current_version_id WHERE l.id = $1
"""


async def read_book(connection: asyncpg.Connection, grades: Grades, moment: datetime) -> RuleBook:
    """Read the enabled rules, and the streams that they are about.

    Limits that are grades are those of `moment`: scales change with the date, so a book is read again now and then.
    """
    stamp: int = await connection.fetchval(STAMP_SQL)
    rules = [_stored(row) for row in await connection.fetch(RULES_SQL)]
    if not rules:
        return RuleBook(stamp)
    entries = await read_entries(connection)
    layers = parse_snapshot(await connection.fetchval(SNAPSHOT_SQL))
    by_stream: dict[int, list[Pair]] = {}
    places: list[PlaceRule] = []
    silent: list[SilentPair] = []
    for rule in rules:
        selected = selection(rule.definition, rule.every_agency, entries, layers)
        condition = rule.definition.when
        if isinstance(condition, Aggregate):
            place = await place_rule(connection, rule, condition, selected, layers)
            if place is not None:
                places.append(place)
        elif isinstance(condition, Silence):
            silent += [SilentPair(rule, entry, condition.seconds) for entry in selected]
        else:
            for pair in pairs_of(rule, selected, grades, moment):
                by_stream.setdefault(pair.entry.key, []).append(pair)
    return RuleBook(
        stamp, entries, {stream: StreamPairs.of(pairs) for stream, pairs in by_stream.items()},
        tuple({pair.rule.key for pairs in by_stream.values() for pair in pairs}), tuple(places), tuple(silent),
        {rule.key: rule for rule in rules},
    )  # fmt: skip


def allowed_layers(agency: str, every_agency: bool, layers: Mapping[str, Layer]) -> frozenset[str]:
    """Return the layers whose streams a rule may look at: its agency's own; an operator's, all that it may read."""
    readable = readable_streams(Principal("rule", agency), layers)
    return readable if every_agency else frozenset(name for name in readable if name.partition(".")[0] == agency)


def selection(
    rule: AlertRule, every_agency: bool, entries: Mapping[int, StreamEntry], layers: Mapping[str, Layer]
) -> list[StreamEntry]:
    """Return the streams that a rule selects and may look at."""
    allowed = allowed_layers(rule.agency, every_agency, layers)
    return [entry for entry in entries.values() if entry.layer in allowed and rule.streams.takes(entry)]


def pairs_of(rule: StoredRule, entries: Sequence[StreamEntry], grades: Grades, moment: datetime) -> list[Pair]:
    """Return a rule with each of its streams; one whose scale has no such grade is left out."""
    condition = rule.definition.when
    found = []
    for entry in entries:
        match condition:
            case Threshold(grade=None) | Rate():
                sign = 1.0 if condition.direction == "above" else -1.0
                high = float(condition.raise_at or 0.0) * sign
                low = high if condition.clear_at is None else condition.clear_at * sign
                window = condition.window_seconds if isinstance(condition, Rate) else 0.0
                test = Test.RATE if isinstance(condition, Rate) else Test.LIMIT
                found.append(Pair(rule, entry, test, _holding(condition, entry), sign, high, low, window=window))
            case Threshold():
                above = condition.direction == "above"
                limit = grades.limit(entry, str(condition.grade), moment, above)
                if limit is not None:
                    sign = 1.0 if above else -1.0
                    high = limit * sign
                    holding = _holding(condition, entry)
                    found.append(Pair(rule, entry, Test.LIMIT, holding, sign, high, high - condition.margin))
            case LevelChange():
                found.append(Pair(rule, entry, Test.LEVEL, _holding(condition, entry)))
            case Flagged():
                mask = sum(int(Flag[name.upper()]) for name in set(condition.flags))
                found.append(Pair(rule, entry, Test.FLAG, _holding(condition, entry), mask=mask))
    return found


def _holding(condition: Any, entry: StreamEntry) -> Holding:
    return Holding(condition.seconds, condition.clear_seconds, max(entry.fresh_seconds, entry.every_seconds or 0.0))


async def place_rule(
    connection: asyncpg.Connection,
    rule: StoredRule,
    condition: Aggregate,
    selected: Sequence[StreamEntry],
    layers: Mapping[str, Layer],
) -> PlaceRule | None:
    """Return a rule on many streams with those it is about; None if there are none, or its feature is not there."""
    named = {entry.layer for entry in selected}
    longitude = latitude = None
    if condition.feature is not None:
        shape = await feature_shape(connection, rule.definition, condition, layers)
        if shape is None:
            return None
        shapely.prepare(shape)
        selected = [
            entry for entry in selected
            if entry.longitude is not None and shapely.intersects_xy(shape, entry.longitude, entry.latitude)
        ]  # fmt: skip
        named = {entry.layer for entry in selected} | {condition.feature.layer}
        point = shape.representative_point()
        longitude, latitude = point.x, point.y
    if not named:
        return None
    holding = Holding(condition.seconds, condition.clear_seconds)
    return PlaceRule(rule, condition, holding, tuple(selected), tuple(sorted(named)), longitude, latitude)


async def feature_shape(
    connection: asyncpg.Connection, rule: AlertRule, condition: Aggregate, layers: Mapping[str, Layer]
) -> shapely.Geometry | None:
    """Return the shape of the feature that a rule keeps to; None if its agency may not read it, or it is not there."""
    feature = condition.feature
    if feature is None or feature.layer not in readable_streams(Principal("rule", rule.agency), layers):
        return None
    table = await connection.fetchval(TABLE_SQL, layers[feature.layer].key)
    if table is None:
        return None
    # The name of a table comes from the catalogue.
    found = await connection.fetchval(f'SELECT ST_AsBinary(geom) FROM layer_data."{table}" WHERE id = $1', feature.id)  # noqa: S608
    return shapely.from_wkb(found) if found is not None else None


def _stored(row: Mapping[str, Any]) -> StoredRule:
    definition = AlertRule.model_validate_json(row["definition"])
    return StoredRule(row["id"], row["version"], row["agency_id"], row["every_agency"], definition)

"""One change of a client, in one transaction: whose it is, what it may link to, and what it still has to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from tiles.sensorthings.bodies import at, id_of, object_of, wrong
from tiles.sensorthings.errors import refuse
from tiles.sensorthings.fields import TABLES, Columns
from twin.streams.declare import notify_streams, place_things
from twin.streams.stream import StreamDirectory
from twin.streams.writer import EARLIEST, FUTURE_SECONDS, Observation, StreamWriter

# Entities that one request may make.
MOST_MADE = 2_000

# Which agency an entity is of.
AGENCY_SQL = {
    "Thing": "SELECT y.agency_id FROM live.thing x JOIN twin.layer y ON y.id = x.layer_id WHERE x.id = $1 "
    "FOR UPDATE OF x",
    "HistoricalLocation": "SELECT y.agency_id FROM live.historical_location x JOIN live.thing t ON t.id = x.thing_id "
    "JOIN twin.layer y ON y.id = t.layer_id WHERE x.id = $1 FOR UPDATE OF x",
    **{
        name: f"SELECT agency_id FROM {TABLES[name]} WHERE id = $1 FOR {lock}"  # noqa: S608  # names of ours
        for name, lock in (
            ("Location", "SHARE"), ("Datastream", "SHARE"), ("Sensor", "SHARE"), ("ObservedProperty", "SHARE"),
            ("FeatureOfInterest", "SHARE"),
        )
    },
}  # fmt: skip

DEFAULT_FEATURE_SQL = """
SELECT l.id, l.name, l.description, l.encoding_type, l.location, l.geom, f.id AS feature
FROM live.datastream s JOIN live.thing_location tl ON tl.thing_id = s.thing_id
JOIN live.location l ON l.id = tl.location_id LEFT JOIN live.feature_of_interest f ON f.location_id = l.id
WHERE s.id = $1 ORDER BY l.geom IS NULL, l.id DESC LIMIT 1
"""

MAKE_FEATURE_SQL = """
INSERT INTO live.feature_of_interest (agency_id, name, description, encoding_type, feature, geom, location_id)
SELECT $2, name, description, encoding_type, location, geom, id FROM live.location WHERE id = $1
ON CONFLICT (location_id) DO UPDATE SET location_id = excluded.location_id RETURNING id
"""


# Of values that are numbers now: what stood there before, and is kept by the corrections, was none.
CLEAR_SQL = """
UPDATE live.observation_detail d SET result = NULL
FROM unnest($1::int4[], $2::timestamptz[]) AS g (stream, time)
WHERE d.stream = g.stream AND d.time = g.time AND d.result IS NOT NULL
"""


@dataclass(slots=True)
class Change:
    """A change by an account of an agency. `layers_to_place` are those whose things may have moved to a feature."""

    connection: asyncpg.Connection
    agency: int
    agency_name: str
    actor: str
    now: datetime
    own_layer: int | None = None
    entities_changed: bool = False
    layers_to_place: set[str] = field(default_factory=set)
    made: int = 0
    _observations: list[Observation] = field(default_factory=list)
    _features: dict[int, int] = field(default_factory=dict)

    def count(self) -> None:
        """Count an entity that is made."""
        self.made += 1
        if self.made > MOST_MADE:
            raise refuse(
                "One request makes at most {most:,} entities.", "Mỗi yêu cầu tạo tối đa {most:,} thực thể.",
                most=MOST_MADE,
            )  # fmt: skip

    async def is_own(self, entity: str, key: int) -> bool:
        """Tell whether an entity is the agency's own, and keep it from being removed meanwhile."""
        return bool(await self.connection.fetchval(AGENCY_SQL[entity], key) == self.agency)

    async def linked(self, entity: str, body: Any, pointer: str) -> int | None:
        """Return the id of a link, which has an `@iot.id`; None if the body describes a new entity."""
        given = object_of(body, pointer)
        # Clients send the rest of the entity along.
        name = "@iot.id" if "@iot.id" in given else "id"
        if name not in given or (name == "id" and len(given) > 1):
            return None
        key = id_of(given[name], at(pointer, name))
        if not await self.is_own(entity, key):
            raise wrong(
                at(pointer, name), "“{agency}” has no {entity} {id}.", "“{agency}” không có {entity} {id}.",
                agency=self.agency_name, entity=entity, id=key,
            )  # fmt: skip
        return key

    async def insert(self, entity: str, columns: Columns) -> int:
        """Insert a row; return its id."""
        found = await self.insert_unless(entity, columns, "")
        return found or 0

    async def insert_unless(self, entity: str, columns: Columns, conflict: str) -> int | None:
        """Insert a row unless it is in conflict; return its id, or None."""
        names = ", ".join(columns)
        places = ", ".join(_place(n, kind) for n, (_, kind) in enumerate(columns.values(), 1))
        text = f"INSERT INTO {TABLES[entity]} ({names}) VALUES ({places}) {conflict} RETURNING id"  # noqa: S608
        self.entities_changed = True
        found: int | None = await self.connection.fetchval(text, *(value for value, _ in columns.values()))
        return found

    async def update(self, entity: str, key: int, columns: Columns) -> None:
        """Change columns of a row."""
        self.entities_changed = True
        if columns:
            changed = ", ".join(
                f"{name} = {_place(n, kind)}" for n, (name, (_, kind)) in enumerate(columns.items(), 2)
            )  # fmt: skip
            text = f"UPDATE {TABLES[entity]} SET {changed} WHERE id = $1"  # noqa: S608  # names of ours
            await self.connection.execute(text, key, *(value for value, _ in columns.values()))

    # Observations

    def observe(self, observation: Observation, pointer: str) -> None:
        """Take an observation, to be written at the end."""
        reason = set_aside_reason(observation, self.now)
        if reason is not None:
            raise wrong(pointer + "/phenomenonTime", reason[0], reason[1])
        self.count()
        self._observations.append(observation)

    async def default_feature(self, stream: int, pointer: str) -> int | None:
        """Return the feature of interest of a stream's observation that names none, if it is not the stream's own.

        It is made once from the location of the stream's thing.
        """
        if stream not in self._features:
            own = await self.connection.fetchval(
                "SELECT feature_of_interest_id FROM live.datastream WHERE id = $1", stream
            )  # fmt: skip
            row = await self.connection.fetchrow(DEFAULT_FEATURE_SQL, stream)
            if row is None and own is None:
                raise wrong(
                    pointer, "a FeatureOfInterest is needed, for the Thing of this Datastream has no Location.",
                    "cần FeatureOfInterest, vì Thing của Datastream này không có Location.",
                )  # fmt: skip
            feature = own if row is None else row["feature"]
            if feature is None and row is not None:
                feature = await self.connection.fetchval(MAKE_FEATURE_SQL, row["id"], self.agency)
            if own is None:
                await self.connection.execute(
                    "UPDATE live.datastream SET feature_of_interest_id = $2 WHERE id = $1 "
                    "AND feature_of_interest_id IS NULL", stream, feature,
                )  # fmt: skip
            self._features[stream] = 0 if own in (None, feature) else feature
        return self._features[stream] or None

    async def finish(self) -> None:
        """Write the observations, place things on their features, and tell everybody."""
        if self._observations:
            # A writer of its own: what it remembers of this transaction may be taken back.
            await StreamWriter(StreamDirectory()).write(self.connection, self._observations, self.actor)
            await clear_results(self.connection, self._observations)
        for layer in sorted(self.layers_to_place):
            await place_things(self.connection, layer)
        if self.entities_changed:
            await notify_streams(self.connection)


def set_aside_reason(observation: Observation, now: datetime) -> tuple[str, str] | None:
    """Return why a value would be set aside, in English and Vietnamese; None if its time is believed."""
    if (observation.time - now).total_seconds() > FUTURE_SECONDS:
        return "this time is in the future.", "thời điểm này ở tương lai."
    if observation.time < EARLIEST:
        return "times before 1990 are not kept.", "không lưu thời điểm trước năm 1990."
    return None


async def clear_results(connection: asyncpg.Connection, written: Sequence[Observation]) -> None:
    """Take away the results that were no numbers where a number was written since."""
    numbers = [one for one in written if one.value is not None and "result" not in (one.detail or {})]
    if numbers:
        await connection.execute(CLEAR_SQL, [one.stream for one in numbers], [one.time for one in numbers])


def _place(number: int, kind: str) -> str:
    return f"ST_GeomFromWKB(${number}::bytea, 4326)" if kind == "bytea" else f"${number}::{kind}"

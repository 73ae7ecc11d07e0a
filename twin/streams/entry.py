"""What readers are told of a stream: whose it is, what it observes, where it is. Read whole and kept in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from twin.text import Text


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A Datastream with its Thing and place, as the catalogue of streams has it.

    `longitude` and `latitude` are None for one that is not placed; `note` then says why. `fid` and `feature` are of the
    layer's feature, `cell` is an H3 index.
    """

    key: int
    code: str
    layer: str
    thing: int
    thing_name: str
    name: str
    kind: str
    unit: str | None
    fresh_seconds: float
    every_seconds: float | None
    rolls_up: str
    basis: str
    feature: str | None
    fid: int | None
    cell: int | None
    longitude: float | None
    latitude: float | None
    note: Text
    properties: Mapping[str, Any]

    @property
    def is_placed(self) -> bool:
        """Tell whether it is on the map."""
        return self.longitude is not None


ENTRIES_SQL = """
SELECT d.id AS key, d.code, a.name || '.' || y.name AS layer, t.id AS thing, t.name AS thing_name, d.name, d.kind,
    d.unit_symbol AS unit, d.fresh_seconds, d.every_seconds, d.rolls_up, d.basis, t.feature_id AS feature, t.fid,
    t.cell, d.properties::text AS properties, ST_X(p.point) AS longitude, ST_Y(p.point) AS latitude,
    t.place_note_en, t.place_note_vi
FROM live.datastream d
JOIN live.thing t ON t.id = d.thing_id
JOIN twin.layer y ON y.id = d.layer_id
JOIN twin.agency a ON a.id = y.agency_id
LEFT JOIN LATERAL (
    SELECT ST_PointOnSurface(l.geom) AS point FROM live.thing_location tl JOIN live.location l ON l.id = tl.location_id
    WHERE tl.thing_id = t.id AND l.geom IS NOT NULL ORDER BY l.id DESC LIMIT 1
) p ON true
ORDER BY d.id
"""


async def read_entries(connection: asyncpg.Connection) -> dict[int, StreamEntry]:
    """Read all streams by id."""
    return {row["key"]: _entry(row) for row in await connection.fetch(ENTRIES_SQL)}


def _entry(row: Mapping[str, Any]) -> StreamEntry:
    values = dict(row)
    note = Text(en=values.pop("place_note_en"), vi=values.pop("place_note_vi"))
    return StreamEntry(**{**values, "properties": orjson.loads(values["properties"])}, note=note)

"""Declaring streams: what is observed where, by whom, in which unit; and placing them on their layer's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import h3
import orjson

from twin.errors import NotFound
from twin.events import CHANNEL
from twin.text import Text

MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"

# Topics and addresses hold it: letters, digits and a few signs, none of which a broker or an address treats apart.
CODE = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing is: a feature of its layer, an H3 cell, or a declared point; else nowhere, with the reason.

    `point` is longitude and latitude in degrees. `note` names the source of a declared point, or says why there is
    none.
    """

    feature: str | None = None
    cell: str | None = None
    point: tuple[float, float] | None = None
    note: Text | None = None


@dataclass(frozen=True, slots=True)
class StreamDeclaration:
    """One stream, as an agency declares it. Values of `Stream` have the same meaning."""

    thing: str
    thing_name: str
    code: str
    kind: str
    name: str
    place: Place = Place()
    description: str = ""
    unit: str | None = None
    unit_name: str | None = None
    definition: str = ""
    property_name: str = ""
    sensor: str = "unknown"
    sensor_name: str = ""
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    factor: float = 1.0
    offset: float = 0.0
    lowest: float | None = None
    highest: float | None = None
    fresh_seconds: float = 3600.0
    every_seconds: float | None = None
    stuck_seconds: float | None = None
    stuck_except: tuple[float, ...] = ()
    rolls_up: str = "mean"
    basis: str = "measured"
    properties: Mapping[str, Any] = field(default_factory=dict)


LAYER_SQL = """
SELECT l.id, l.agency_id, v.table_name FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id
LEFT JOIN twin.layer_version v ON v.id = l.current_version_id
WHERE a.name || '.' || l.name = $1
"""

THINGS_SQL = """
INSERT INTO live.thing AS t (layer_id, code, name, feature_id, cell, place_note_vi, place_note_en)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::text[], $7::text[])
ON CONFLICT (layer_id, code) DO UPDATE SET name = excluded.name, feature_id = excluded.feature_id,
    cell = excluded.cell, place_note_vi = excluded.place_note_vi, place_note_en = excluded.place_note_en
RETURNING id, code
"""

SENSORS_SQL = """
INSERT INTO live.sensor (agency_id, code, name) SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT (agency_id, code) DO UPDATE SET name = excluded.name RETURNING id, code
"""

PROPERTIES_SQL = """
INSERT INTO live.observed_property (agency_id, code, name, definition)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
ON CONFLICT (agency_id, code) DO UPDATE SET name = excluded.name, definition = excluded.definition
RETURNING id, code
"""

DATASTREAM_COLUMNS: dict[str, str] = {
    "thing_id": "int4", "sensor_id": "int4", "observed_property_id": "int4", "code": "text", "kind": "text",
    "name": "text", "description": "text", "unit_name": "text", "unit_symbol": "text", "unit_definition": "text",
    "units": "jsonb", "factor": "float8", '"offset"': "float8", "lowest": "float8", "highest": "float8",
    "fresh_seconds": "float8", "every_seconds": "float8", "stuck_seconds": "float8", "stuck_except": "jsonb",
    "rolls_up": "text", "basis": "text", "properties": "jsonb",
}  # fmt: skip
# An array of arrays of different lengths cannot be sent: that column comes as JSON.
_SELECTED = ", ".join(
    "ARRAY(SELECT jsonb_array_elements_text(i.stuck_except)::float8)" if name == "stuck_except" else f"i.{name}"
    for name in DATASTREAM_COLUMNS
)
DATASTREAMS_SQL = f"""
INSERT INTO live.datastream AS d (layer_id, agency_id, {", ".join(DATASTREAM_COLUMNS)})
SELECT $1, $2, {_SELECTED}
FROM unnest({", ".join(f"${n}::{kind}[]" for n, kind in enumerate(DATASTREAM_COLUMNS.values(), 3))})
    AS i ({", ".join(DATASTREAM_COLUMNS)})
ON CONFLICT (agency_id, code) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in ("layer_id", *DATASTREAM_COLUMNS))}
RETURNING id, code
"""  # noqa: S608  # names of ours

FEATURES_SQL = """
UPDATE live.thing t SET fid = f.fid FROM {table} f
WHERE t.layer_id = $1 AND f.id = t.feature_id AND t.fid IS DISTINCT FROM f.fid
"""

# A thing that is not where its newest location says is given another one; the old one stays in its history.
MOVED_SQL = """
SELECT t.id, t.name, ST_AsGeoJSON(ST_PointOnSurface(f.geom), 7) AS point
FROM live.thing t JOIN {table} f ON f.id = t.feature_id
WHERE t.layer_id = $1 AND NOT EXISTS (
    SELECT FROM live.thing_location tl JOIN live.location l ON l.id = tl.location_id
    WHERE tl.thing_id = t.id AND ST_DWithin(l.geom, ST_PointOnSurface(f.geom), 1e-6))
"""

LOCATE_SQL = """
WITH place AS (
    INSERT INTO live.location (agency_id, name, location, geom)
    VALUES ($1, $3, $4::jsonb, ST_SetSRID(ST_GeomFromGeoJSON($4), 4326)) RETURNING id
), past AS (
    INSERT INTO live.historical_location (thing_id, time) VALUES ($2, now()) RETURNING id
), kept AS (
    INSERT INTO live.historical_location_location SELECT past.id, place.id FROM past, place
)
INSERT INTO live.thing_location SELECT $2, id FROM place
"""


async def declare_streams(
    connection: asyncpg.Connection, layer: str, declarations: Sequence[StreamDeclaration]
) -> dict[str, int]:
    """Make streams of a layer, or bring them up to date, in one transaction; return their ids by code.

    Raises
    ------
    NotFound
        If there is no such layer.
    """
    async with connection.transaction():
        found = await connection.fetchrow(LAYER_SQL, layer)
        if found is None:
            raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp “{id}”.").format(id=layer[:80]))
        things = await _things(connection, found["id"], declarations)
        agency = found["agency_id"]
        sensors = {d.sensor: d.sensor_name or d.sensor for d in declarations}
        sensor_ids = _by_code(await connection.fetch(SENSORS_SQL, agency, list(sensors), list(sensors.values())))
        # Streams of one kind share an entity, which tells of none of them: it is called by the kind.
        properties = {d.kind or d.code: d for d in declarations}
        property_ids = _by_code(
            await connection.fetch(
                PROPERTIES_SQL, agency, list(properties),
                [d.property_name or d.kind or d.name for d in properties.values()],
                [d.definition for d in properties.values()],
            )
        )  # fmt: skip
        rows = [
            (
                things[d.thing], sensor_ids[d.sensor], property_ids[d.kind or d.code], d.code, d.kind, d.name,
                d.description, d.unit_name, d.unit, f"ucum:{d.unit}" if d.unit else None, _json(dict(d.units)),
                d.factor, d.offset, d.lowest, d.highest, d.fresh_seconds, d.every_seconds, d.stuck_seconds,
                _json(list(d.stuck_except)), d.rolls_up, d.basis, _json(dict(d.properties)),
            )
            for d in declarations
        ]  # fmt: skip
        ids = _by_code(
            await connection.fetch(DATASTREAMS_SQL, found["id"], agency, *map(list, zip(*rows, strict=True)))
        )
        await _place(connection, found, declarations, things)
        await notify_streams(connection)
        return ids


async def _things(
    connection: asyncpg.Connection, layer: int, declarations: Sequence[StreamDeclaration]
) -> dict[str, int]:
    things = {d.thing: d for d in declarations}
    places = [d.place for d in things.values()]
    rows = await connection.fetch(
        THINGS_SQL, layer, list(things), [d.thing_name for d in things.values()],
        [place.feature for place in places],
        [h3.str_to_int(place.cell) if place.cell else None for place in places],
        [place.note.vi if place.note else "" for place in places],
        [place.note.en if place.note else "" for place in places],
    )  # fmt: skip
    return _by_code(rows)


async def _place(
    connection: asyncpg.Connection,
    layer: Mapping[str, Any],
    declarations: Sequence[StreamDeclaration],
    things: Mapping[str, int],
) -> None:
    if layer["table_name"]:
        await _place_on_features(connection, layer["id"], layer["agency_id"], layer["table_name"])
    located = {
        row["thing_id"]
        for row in await connection.fetch(
            "SELECT thing_id FROM live.thing_location WHERE thing_id = ANY($1::int4[])", list(things.values())
        )
    }
    for declaration in {d.thing: d for d in declarations}.values():
        place, thing = declaration.place, things[declaration.thing]
        if thing in located:
            continue
        if place.cell:
            latitude, longitude = h3.cell_to_latlng(place.cell)
            point: tuple[float, float] | None = (longitude, latitude)
        else:
            point = place.point
        if point is not None:
            geojson = _json({"type": "Point", "coordinates": [round(point[0], 7), round(point[1], 7)]})
            await connection.execute(LOCATE_SQL, layer["agency_id"], thing, declaration.thing_name, geojson)


async def place_things(connection: asyncpg.Connection, layer: str) -> None:
    """Put the things of a layer where its current version has their features; call it after a publish."""
    async with connection.transaction():
        found = await connection.fetchrow(LAYER_SQL, layer)
        if found is None or not found["table_name"]:
            return
        if await _place_on_features(connection, found["id"], found["agency_id"], found["table_name"]):
            await notify_streams(connection)


async def _place_on_features(connection: asyncpg.Connection, layer: int, agency: int, table: str) -> bool:
    quoted = f'layer_data."{table}"'
    changed: str = await connection.execute(FEATURES_SQL.format(table=quoted), layer)
    moved = await connection.fetch(MOVED_SQL.format(table=quoted), layer)
    if moved:
        await connection.execute(
            "DELETE FROM live.thing_location WHERE thing_id = ANY($1::int4[])", [row["id"] for row in moved]
        )
        await connection.executemany(LOCATE_SQL, [(agency, row["id"], row["name"], row["point"]) for row in moved])
    return bool(moved) or not changed.endswith(" 0")


async def notify_streams(connection: asyncpg.Connection) -> None:
    """Tell all programs, at the commit, that streams were declared, changed or removed."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, '{"kind": "stream"}')


def _by_code(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {row["code"]: row["id"] for row in rows}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

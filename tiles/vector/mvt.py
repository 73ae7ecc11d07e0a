"""Vector tiles (MVT 2.1) as one SQL statement: what is drawn at each zoom, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import asyncpg

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.http.content_encoding import Encoding, encode
from tiles.vector.tile_cache import CachedTile
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Grid, Place
from twin.access.permit import Permit
from twin.cells.rollup import parent_sql, resolution_for
from twin.db.tables import DATA_SCHEMA

EXTENT = 4096
# Wide enough that a wide line or a label's symbol at the edge is drawn whole.
BUFFER = 64
# Beyond this zoom a client enlarges the tiles it has: they hold every vertex already.
MAX_DATA_ZOOM = 16
# A tile's budget, compressed, for all its layers together. One that is larger is made again with fewer features, the
# least important of each layer left out.
TILE_BYTES = 500_000
ATTEMPTS = 4
# What the mark of a layer that is cut takes at most.
MARK_BYTES = 128
# What is aimed at: fewer features do not make exactly as many bytes fewer.
AIM = 0.9
# From this zoom on, cells stand for the features of layers that have them, up to the zoom that draws the features.
ROLLUP_MIN_ZOOM = 6
# Features of less than this many screen pixels (of 256 a tile) each way are not drawn.
SMALLEST_PIXELS = 0.25
# Nor are polygons that are thinner than this: one unit of the tile's own grid, and a little more.
THINNEST_PIXELS = 1.5 / 16


@dataclass(frozen=True, slots=True)
class FeatureCondition:
    """Which features of each layer a tile is to show, as SQL by layer id with bound values; all of them without.

    `name` tells one from another in the cache's keys and in entity tags.
    """

    conditions: Mapping[str, str] = field(default_factory=dict)
    values: tuple[Any, ...] = ()
    name: str = ""


EVERYTHING = FeatureCondition()


async def make_tile(
    connection: asyncpg.Connection, chosen: Sequence[Permit], z: int, x: int, y: int, encoding: Encoding = "gzip",
    grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING,
) -> CachedTile:  # fmt: skip
    """Make a tile of some layers' versions, within its budget of bytes."""
    (tile,) = await make_tiles(connection, chosen, [((z, x, y), encoding)], grid, where)
    return tile


async def make_tiles(
    connection: asyncpg.Connection, chosen: Sequence[Permit], wanted: Sequence[tuple[Place, Encoding]],
    grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING,
) -> list[CachedTile]:  # fmt: skip
    """Make tiles of one zoom with one question; those beyond their budget of bytes again, one by one."""
    read = await _read(connection, chosen, grid, [place for place, _ in wanted], None, where)
    made = []
    for (place, encoding), parts in zip(wanted, read, strict=True):
        kept = await _within_budget(connection, chosen, grid, place, parts, where)
        cut = tuple(dict.fromkeys(part.layer for part in kept if part.cut))
        body = b"".join([part.body for part in kept] + [await _cut_mark(connection, layer) for layer in cut])
        made.append(CachedTile(cut, {encoding: encode(body, encoding)}))
    return made


@dataclass(frozen=True, slots=True)
class _LayerStatement:
    """An MVT layer of a tile: the number of the city layer that it is of, and how many features were read for it."""

    number: int
    name: str
    cut: bool
    features: int
    body: bytes

    @property
    def layer(self) -> str:
        """The id of the city layer."""
        return self.name.partition(":")[0]


async def _within_budget(
    connection: asyncpg.Connection,
    chosen: Sequence[Permit],
    grid: Grid,
    place: Place,
    parts: list[_LayerStatement],
    where: FeatureCondition,
) -> list[_LayerStatement]:
    """Return the parts of a tile, made again with fewer features until they keep to the budget together."""
    budget = max(0, TILE_BYTES - MARK_BYTES * len(chosen))
    for _ in range(ATTEMPTS - 1):
        size = _size(parts)
        if size <= budget:
            return parts
        share = AIM * budget / size
        rooms = [1] * len(chosen)
        for part in parts:
            # What a layer really has there counts, not what it might have.
            rooms[part.number] = max(rooms[part.number], int(part.features * share))
        (parts,) = await _read(connection, chosen, grid, [place], rooms, where)
    # A few features that are larger than the whole budget: the largest layers stay out.
    while _size(parts) > budget:
        largest = max(parts, key=lambda part: len(part.body))
        parts[parts.index(largest)] = replace(largest, cut=True, body=b"")
    return parts


def _size(parts: Sequence[_LayerStatement]) -> int:
    """Return the bytes of a tile as gzip, so that what it shows does not depend on the requested encoding."""
    body = b"".join(part.body for part in parts)
    return len(body) if len(body) <= TILE_BYTES else len(encode(body, "gzip"))


async def _read(
    connection: asyncpg.Connection, chosen: Sequence[Permit], grid: Grid, places: Sequence[Place],
    rooms: Sequence[int] | None, where: FeatureCondition,
) -> list[list[_LayerStatement]]:  # fmt: skip
    """Return the parts of each tile; `rooms` says how many features of each layer there is room for."""
    statement = tile_sql(chosen, places[0][0], grid, where)
    tiles: list[list[_LayerStatement]] = [[] for _ in places]
    if statement is None:
        return tiles
    for row in await connection.fetch(statement, *grid.values(places), rooms, *where.values):
        tile, number, name, cut, features, body = row
        tiles[tile - 1].append(_LayerStatement(number, name, cut, features, body or b""))
    return tiles


async def _cut_mark(connection: asyncpg.Connection, layer: str) -> bytes:
    mark: bytes = await connection.fetchval(CUT_SQL, f"{layer}:cut")
    return mark


# A tile that does not hold all that it should says so itself, wherever it may be copied to: by a layer with one point
# in its middle.
CUT_SQL = (
    f"SELECT ST_AsMVT(mark, $1::text, {EXTENT}, 'geom') FROM (SELECT true AS cut, "
    f"ST_AsMVTGeom(ST_Point(1, 1, 3857), ST_MakeEnvelope(0, 0, 2, 2, 3857), {EXTENT}, 0) AS geom) AS mark"
)


def tile_sql(
    chosen: Sequence[Permit], matrix: int, grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING
) -> str | None:
    """Return one statement for all layers of some tiles: the number of the tile, then a row for each MVT layer, whose
    bytes are put one after another.

    The first parameters are the grid's for the places; the next is how many features of each layer there is room for,
    or NULL for as many as its theme says; then come those of the conditions.
    """
    zoom = grid.zoom(matrix)
    parts = [
        part
        for number, c in enumerate(chosen)
        for part in _parts_of(number, c, grid, zoom, where.conditions.get(c.layer.id, ""))
    ]
    if not parts:
        return None
    # A part may do without some of the values, and PostgreSQL must know the type of each: these find nothing.
    for c in chosen:
        if condition := where.conditions.get(c.layer.id):
            source = f"{DATA_SCHEMA}.{c.version.table} AS f"
            parts.append(f"SELECT 0, ''::text, false, 0::bigint, ''::bytea FROM {source} WHERE ({condition}) AND false")
    places = f"(SELECT *, ${grid.parameters + 1}::bigint[] AS rooms FROM {grid.places_sql(BUFFER / EXTENT)} AS places)"
    layers = " UNION ALL ".join(parts)
    return (
        f"SELECT place.n, part.* FROM {places} AS place, LATERAL ({layers}) AS part(number, name, cut, features, tile)"
    )


def _parts_of(number: int, c: Permit, grid: Grid, zoom: int, condition: str) -> tuple[str, ...]:
    of, version, rollup = theme_of(c.layer), c.version, c.rollup
    if of.detail(zoom) is not None:
        columns = tuple((column.name, column.sql("f")) for column in c.columns)
        return _parts(number, c.layer.id, version.table, of, columns, grid, zoom, condition)
    if rollup is None or zoom < ROLLUP_MIN_ZOOM:
        return ()
    resolution = min(resolution_for(zoom, of.rollup_cells), max(rollup["resolutions"]))
    least, names = c.least_count, tuple(rollup["columns"])
    if condition:
        return (_counted(number, c.layer.id, version.table, version.rollup_table, resolution, grid, condition, least),)
    return (_cells(number, c.layer.id, version.rollup_table, names, resolution, grid, least),)


@lru_cache(maxsize=4096)
def _cells(
    number: int, layer_id: str, table: str, columns: tuple[str, ...], resolution: int, grid: Grid, least: int
) -> str:
    """Return the SELECT of the coarser cells that stand for features where these are too many to be drawn."""
    properties = "".join(f', "{name}"' for name in columns)
    found = (
        f"SELECT cell, features{properties}, geom FROM {DATA_SCHEMA}.{table} "
        f"WHERE resolution = {resolution} AND geom && place.reach{_at_least(least)}"
    )
    return _drawn(number, layer_id, found, properties, grid)


@lru_cache(maxsize=1024)
def _counted(
    number: int, layer_id: str, table: str, rollup: str, resolution: int, grid: Grid, condition: str, least: int
) -> str:
    """Return the same for some of the features: counted now, in the cells that were laid out for all."""
    own = f"SELECT cell, geom FROM {DATA_SCHEMA}.{rollup} WHERE resolution = {resolution} AND geom && place.reach"
    # Cells reach a little beyond the tile, and their features with them.
    area = f"(SELECT ST_Expand(ST_Extent(geom)::geometry, 0.0001) FROM ({own}) AS cells)"
    found = (
        f"SELECT own.cell, counted.features, own.geom FROM ({own}) AS own JOIN ("
        f"SELECT {parent_sql('f.cell', resolution)} AS cell, count(*) AS features FROM {DATA_SCHEMA}.{table} AS f "
        f"WHERE f.geom && ST_SetSRID({area}, 4326) AND ({condition}) GROUP BY 1"
        f") AS counted USING (cell) WHERE true{_at_least(least)}"
    )
    return _drawn(number, layer_id, found, "", grid)


def _at_least(least: int) -> str:
    """Leave out the cells with fewer features than may be shown."""
    return f" AND features >= {least}" if least > 1 else ""


def _drawn(number: int, layer_id: str, found: str, properties: str, grid: Grid) -> str:
    # Of a sphere, as H3 itself measures its cells; they differ by a third over the earth.
    density = "round((features / ST_Area(geom::geography, false) * 1e6)::numeric, 1)::float8"
    return (
        f"SELECT {number} AS number, '{layer_id}:cells' AS name, false AS cut, count(*) AS features, "
        f"ST_AsMVT(tile, '{layer_id}:cells', {EXTENT}, 'geom') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT to_hex(cell) AS cell, features, {density} AS per_km2{properties}, "
        f"ST_AsMVTGeom({grid.on_grid('geom')}, place.box, {EXTENT}, {BUFFER}) AS geom FROM ({found}) AS found"
        ") AS tile"
    )


@lru_cache(maxsize=4096)
def _parts(
    number: int,
    layer_id: str,
    table: str,
    of: Theme,
    columns: tuple[tuple[str, str], ...],
    grid: Grid,
    zoom: int,
    condition: str = "",
) -> tuple[str, ...]:
    """Return the SELECTs of one layer's features and of its labels; none where it draws nothing.

    `columns` are those that may be shown, with the SQL that reads them. Every name comes from the catalogue: they are
    checked identifiers.
    """
    detail = of.detail(zoom)
    if detail is None:
        return ()
    wanted = detail.fields if detail.fields is not None else of.tile_fields
    shown = dict(columns)
    properties = "".join(f', "{name}"' for name in wanted if name in shown)
    read = "".join(f', {shown[name]} AS "{name}"' for name in wanted if name in shown)
    source = f"{DATA_SCHEMA}.{table} AS f"
    important = f"AND importance >= {detail.importance:.17g}" if detail.importance else ""
    condition_sql = f"AND ({condition})" if condition else ""
    room = f"coalesce(place.rooms[{number + 1}], {detail.limit})"
    # One feature more than there is room for tells that some are left out.
    features = (
        f"SELECT {number} AS number, '{layer_id}' AS name, count(*) > {room} AS cut, count(*) AS features, "
        f"ST_AsMVT(tile, '{layer_id}', {EXTENT}, 'geom', 'fid') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT fid{properties}, ST_AsMVTGeom({grid.on_grid(_simplified(of, zoom))}, "
        f"place.box, {EXTENT}, {BUFFER}) AS geom FROM ("
        f"SELECT fid{read}, geom FROM {source} "
        f"WHERE geom && place.reach {important} {_large_enough(of, zoom)} {condition_sql} "
        f"ORDER BY importance DESC, fid LIMIT {room} + 1) AS chosen) AS tile"
    )
    if not (of.label and of.geometry == "polygon" and f'"{of.label}"' in properties):
        return (features,)
    # The label stands in the one tile that holds its point; no buffer, or neighbours would repeat it.
    labels = (
        f"SELECT {number}, '{layer_id}', false, count(*), ST_AsMVT(tile, '{layer_id}:label', {EXTENT}, 'geom', 'fid') "
        f"FILTER (WHERE geom IS NOT NULL) FROM (SELECT fid{read}, importance AS rank, "
        f"ST_AsMVTGeom({grid.on_grid('label_point')}, place.box, {EXTENT}, 0) AS geom "
        f"FROM {source} WHERE label_point && place.inside "
        f"AND {shown[of.label]} IS NOT NULL {important} {condition_sql} "
        f"ORDER BY importance DESC, fid LIMIT {room}) AS tile"
    )
    return features, labels


def _degrees(zoom: int, pixels: float) -> float:
    """Return how wide some screen pixels are at the equator, in degrees."""
    return 360.0 / 2.0**zoom / 256 * pixels


def _large_enough(of: Theme, zoom: int) -> str:
    """Leaves out what would be no more than a speck."""
    if of.geometry == "point" or zoom >= MAX_DATA_ZOOM:
        return ""
    least = f"{_degrees(zoom, SMALLEST_PIXELS):.12g}"
    speck = f"AND (ST_XMax(geom) - ST_XMin(geom) >= {least} OR ST_YMax(geom) - ST_YMin(geom) >= {least})"
    if of.geometry != "polygon":
        return speck
    # A strip thinner than the tile's own grid would come and go from zoom to zoom, as it happens to be rounded.
    return f"{speck} AND 2 * ST_Area(geom) >= {_degrees(zoom, THINNEST_PIXELS):.12g} * ST_Perimeter(geom)"


def _simplified(of: Theme, zoom: int) -> str:
    """Return the geometry without vertices that fall within a quarter of a screen pixel of each other at this zoom."""
    if of.geometry == "point" or zoom >= MAX_DATA_ZOOM:
        return "geom"
    tolerance = f"{_degrees(zoom, 0.25):.12g}"
    if of.geometry == "polygon":
        # Less than a quarter of how wide it is, or a strip would be simplified away.
        tolerance = f"least({tolerance}, 0.5 * ST_Area(geom) / nullif(ST_Perimeter(geom), 0))"
    return f"ST_Simplify(geom, {tolerance}, true)"

"""Vector tiles (MVT 2.1) as one SQL statement: what is drawn at each zoom, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import asyncpg

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.cache import Tile
from tiles.choice import Chosen
from tiles.encodings import Encoding, encode
from tiles.grids import WEB_MERCATOR, Grid, Place
from twin.db.tables import DATA_SCHEMA
from twin.rollup import parent_sql, resolution_for

EXTENT = 4096
# Wide enough that a wide line or a label's symbol at the edge is drawn whole.
BUFFER = 64
# Beyond this zoom a client enlarges the tiles it has: they hold every vertex already.
MAX_DATA_ZOOM = 16
# A tile's budget, compressed. One that is larger is made again with fewer features, the least important left out.
TILE_BYTES = 500_000
ATTEMPTS = 4
# From this zoom on, cells stand for the features of layers that have them, up to the zoom that draws the features.
ROLLUP_MIN_ZOOM = 6
# Features of less than this many screen pixels (of 256 a tile) each way are not drawn.
SMALLEST_PIXELS = 0.25


@dataclass(frozen=True, slots=True)
class Where:
    """Which features of each layer a tile is to show, as SQL by layer id with bound values; all of them without.

    `name` tells one from another in the cache's keys and in entity tags.
    """

    conditions: Mapping[str, str] = field(default_factory=dict)
    values: tuple[Any, ...] = ()
    name: str = ""


EVERYTHING = Where()


async def make_tile(
    connection: asyncpg.Connection, chosen: Sequence[Chosen], z: int, x: int, y: int, encoding: Encoding = "gzip",
    grid: Grid = WEB_MERCATOR, where: Where = EVERYTHING,
) -> Tile:  # fmt: skip
    """Make a tile of some layers' versions, within its budget of bytes."""
    (tile,) = await make_tiles(connection, chosen, [((z, x, y), encoding)], grid, where)
    return tile


async def make_tiles(
    connection: asyncpg.Connection, chosen: Sequence[Chosen], wanted: Sequence[tuple[Place, Encoding]],
    grid: Grid = WEB_MERCATOR, where: Where = EVERYTHING,
) -> list[Tile]:  # fmt: skip
    """Make tiles of one zoom with one question; those beyond their budget of bytes again, one by one."""
    read = await _read(connection, chosen, grid, [place for place, _ in wanted], 1.0, where)
    made = []
    for (place, encoding), (body, cut) in zip(wanted, read, strict=True):
        packed, share = encode(body, encoding), 1.0
        for _ in range(ATTEMPTS - 1):
            if len(packed) <= TILE_BYTES:
                break
            share *= 0.9 * TILE_BYTES / len(packed)
            ((body, cut),) = await _read(connection, chosen, grid, [place], share, where)
            packed = encode(body, encoding)
        made.append(Tile(cut, {encoding: packed}))
    return made


async def _read(
    connection: asyncpg.Connection, chosen: Sequence[Chosen], grid: Grid, places: Sequence[Place], share: float,
    where: Where,
) -> list[tuple[bytes, tuple[str, ...]]]:  # fmt: skip
    """The bytes of each tile, and the layers of which it leaves something out for want of room."""
    statement = tile_sql(chosen, places[0][0], grid, where)
    if statement is None:
        return [(b"", ())] * len(places)
    bodies = [b""] * len(places)
    cut: list[tuple[str, ...]] = [()] * len(places)
    for number, name, is_cut, body in await connection.fetch(statement, *grid.values(places), share, *where.values):
        bodies[number - 1] += body or b""
        if is_cut:
            bodies[number - 1] += await connection.fetchval(CUT_SQL, f"{name}:cut")
            cut[number - 1] += (name,)
    return list(zip(bodies, cut, strict=True))


# A tile that does not hold all that it should says so itself, wherever it may be copied to: by a layer with one point
# in its middle.
CUT_SQL = (
    f"SELECT ST_AsMVT(mark, $1::text, {EXTENT}, 'geom') FROM (SELECT true AS cut, "
    f"ST_AsMVTGeom(ST_Point(1, 1, 3857), ST_MakeEnvelope(0, 0, 2, 2, 3857), {EXTENT}, 0) AS geom) AS mark"
)


def tile_sql(chosen: Sequence[Chosen], matrix: int, grid: Grid = WEB_MERCATOR, where: Where = EVERYTHING) -> str | None:
    """One statement for all layers of some tiles: the number of the tile, then a row for each MVT layer, whose bytes
    are put one after another.

    The first parameters are the grid's for the places; the next is the share of the usual number of features that
    there is room for; then come those of the conditions.
    """
    zoom = grid.zoom(matrix)
    parts = [part for c in chosen for part in _parts_of(c, grid, zoom, where.conditions.get(c.layer.id, ""))]
    if not parts:
        return None
    # A part may do without some of the values, and PostgreSQL must know the type of each: these find nothing.
    for c in chosen:
        if condition := where.conditions.get(c.layer.id):
            source = f"{DATA_SCHEMA}.{c.version.table} AS f"
            parts.append(f"SELECT ''::text, false, ''::bytea FROM {source} WHERE ({condition}) AND false")
    asked = f"(SELECT *, ${grid.parameters + 1}::float8 AS share FROM {grid.asked(BUFFER / EXTENT)} AS asked)"
    layers = " UNION ALL ".join(parts)
    return f"SELECT place.n, part.* FROM {asked} AS place, LATERAL ({layers}) AS part(name, cut, tile)"


def _parts_of(c: Chosen, grid: Grid, zoom: int, condition: str) -> tuple[str, ...]:
    of, version = theme_of(c.layer), c.version
    if of.detail(zoom) is not None:
        names = tuple(column.name for column in version.columns)
        return _parts(c.layer.id, version.table, of, names, grid, zoom, condition)
    if version.rollup is None or zoom < ROLLUP_MIN_ZOOM:
        return ()
    resolution = min(resolution_for(zoom, of.rollup_cells), max(version.rollup["resolutions"]))
    if condition:
        return (_counted(c.layer.id, version.table, version.rollup_table, resolution, grid, condition),)
    return (_cells(c.layer.id, version.rollup_table, tuple(version.rollup["columns"]), resolution, grid),)


@lru_cache(maxsize=4096)
def _cells(layer_id: str, table: str, columns: tuple[str, ...], resolution: int, grid: Grid) -> str:
    """The SELECT of the coarser cells that stand for features where these are too many to be drawn."""
    properties = "".join(f', "{name}"' for name in columns)
    found = (
        f"SELECT cell, features{properties}, geom FROM {DATA_SCHEMA}.{table} "
        f"WHERE resolution = {resolution} AND geom && place.reach"
    )
    return _drawn(layer_id, found, properties, grid)


@lru_cache(maxsize=1024)
def _counted(layer_id: str, table: str, rollup: str, resolution: int, grid: Grid, condition: str) -> str:
    """The same for some of the features: counted now, in the cells that were laid out for all."""
    own = f"SELECT cell, geom FROM {DATA_SCHEMA}.{rollup} WHERE resolution = {resolution} AND geom && place.reach"
    # Cells reach a little beyond the tile, and their features with them.
    area = f"(SELECT ST_Expand(ST_Extent(geom)::geometry, 0.0001) FROM ({own}) AS cells)"
    found = (
        f"SELECT own.cell, counted.features, own.geom FROM ({own}) AS own JOIN ("
        f"SELECT {parent_sql('f.cell', resolution)} AS cell, count(*) AS features FROM {DATA_SCHEMA}.{table} AS f "
        f"WHERE f.geom && ST_SetSRID({area}, 4326) AND ({condition}) GROUP BY 1"
        ") AS counted USING (cell)"
    )
    return _drawn(layer_id, found, "", grid)


def _drawn(layer_id: str, found: str, properties: str, grid: Grid) -> str:
    # Of a sphere, as H3 itself measures its cells; they differ by a third over the earth.
    density = "round((features / ST_Area(geom::geography, false) * 1e6)::numeric, 1)::float8"
    return (
        f"SELECT '{layer_id}:cells' AS name, false AS cut, "
        f"ST_AsMVT(tile, '{layer_id}:cells', {EXTENT}, 'geom') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT to_hex(cell) AS cell, features, {density} AS per_km2{properties}, "
        f"ST_AsMVTGeom({grid.on_grid('geom')}, place.box, {EXTENT}, {BUFFER}) AS geom FROM ({found}) AS found"
        ") AS tile"
    )


@lru_cache(maxsize=4096)
def _parts(
    layer_id: str, table: str, of: Theme, columns: tuple[str, ...], grid: Grid, zoom: int, condition: str = ""
) -> tuple[str, ...]:
    """The SELECTs of one layer's features and of its labels; none where it draws nothing.

    Every name in them comes from the catalogue, whose names are checked identifiers.
    """
    detail = of.detail(zoom)
    if detail is None:
        return ()
    wanted = detail.fields if detail.fields is not None else of.tile_fields
    properties = "".join(f', "{name}"' for name in wanted if name in columns)
    source = f"{DATA_SCHEMA}.{table} AS f"
    important = f"AND importance >= {detail.importance:.17g}" if detail.importance else ""
    asked = f"AND ({condition})" if condition else ""
    room = f"greatest(1, ({detail.limit} * place.share)::bigint)"
    # One feature more than there is room for tells that some are left out.
    features = (
        f"SELECT '{layer_id}' AS name, count(*) > {room} AS cut, "
        f"ST_AsMVT(tile, '{layer_id}', {EXTENT}, 'geom', 'fid') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT fid{properties}, ST_AsMVTGeom({grid.on_grid(_simplified(of, zoom))}, "
        f"place.box, {EXTENT}, {BUFFER}) AS geom FROM ("
        f"SELECT fid{properties}, geom FROM {source} "
        f"WHERE geom && place.reach {important} {_large_enough(of, zoom)} {asked} "
        f"ORDER BY importance DESC, fid LIMIT {room} + 1) AS chosen) AS tile"
    )
    if not (of.label and of.geometry == "polygon" and f'"{of.label}"' in properties):
        return (features,)
    # The label stands in the one tile that holds its point; no buffer, or neighbours would repeat it.
    labels = (
        f"SELECT '{layer_id}', false, ST_AsMVT(tile, '{layer_id}:label', {EXTENT}, 'geom', 'fid') "
        f"FILTER (WHERE geom IS NOT NULL) FROM (SELECT fid{properties}, importance AS rank, "
        f"ST_AsMVTGeom({grid.on_grid('label_point')}, place.box, {EXTENT}, 0) AS geom "
        f"FROM {source} WHERE label_point && place.inside "
        f'AND "{of.label}" IS NOT NULL {important} {asked} '
        f"ORDER BY importance DESC, fid LIMIT {room}) AS tile"
    )
    return features, labels


def _degrees(zoom: int, pixels: float) -> float:
    """How wide some screen pixels are at the equator, in degrees."""
    return 360.0 / 2**zoom / 256 * pixels


def _large_enough(of: Theme, zoom: int) -> str:
    """Leaves out what would be no more than a speck."""
    if of.geometry == "point" or zoom >= MAX_DATA_ZOOM:
        return ""
    least = f"{_degrees(zoom, SMALLEST_PIXELS):.12g}"
    return f"AND (ST_XMax(geom) - ST_XMin(geom) >= {least} OR ST_YMax(geom) - ST_YMin(geom) >= {least})"


def _simplified(of: Theme, zoom: int) -> str:
    """The geometry without vertices that fall within a quarter of a screen pixel of each other at this zoom."""
    if of.geometry == "point" or zoom >= MAX_DATA_ZOOM:
        return "geom"
    return f"ST_Simplify(geom, {_degrees(zoom, 0.25):.12g}, true)"

"""Vector tiles (MVT 2.1) as one SQL statement: what is drawn at each zoom, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import asyncpg
import h3

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.cache import Tile
from tiles.choice import Chosen
from tiles.encodings import Encoding, encode
from twin.db.tables import DATA_SCHEMA
from twin.rollup import resolution_for

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


async def make_tile(
    connection: asyncpg.Connection, chosen: Sequence[Chosen], z: int, x: int, y: int, encoding: Encoding = "gzip"
) -> Tile:
    """Make a tile of some layers' versions, within its budget of bytes."""
    share = 1.0
    for attempt in range(1, ATTEMPTS + 1):
        body, cut = await _read(connection, chosen, z, x, y, share)
        packed = encode(body, encoding)
        if len(packed) <= TILE_BYTES or attempt == ATTEMPTS:
            break
        share *= 0.9 * TILE_BYTES / len(packed)
    return Tile(cut, {encoding: packed})


async def _read(
    connection: asyncpg.Connection, chosen: Sequence[Chosen], z: int, x: int, y: int, share: float
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a tile, and the layers of which it leaves something out for want of room."""
    statement = tile_sql(chosen, z)
    if statement is None:
        return b"", ()
    rows = await connection.fetch(statement, z, x, y, share)
    body = b"".join(row["tile"] or b"" for row in rows)
    cut = tuple(row["name"] for row in rows if row["cut"])
    for name in cut:
        body += await connection.fetchval(CUT_SQL, f"{name}:cut", z, x, y)
    return body, cut


# A tile that does not hold all that it should says so itself, wherever it may be copied to: by a layer with one point
# in its middle.
CUT_SQL = f"""
SELECT ST_AsMVT(mark, $1::text, {EXTENT}, 'geom') FROM (
  SELECT true AS cut, ST_AsMVTGeom(ST_Centroid(box), box, {EXTENT}, 0) AS geom
  FROM ST_TileEnvelope($2, $3, $4) AS box) AS mark
"""


def tile_sql(chosen: Sequence[Chosen], zoom: int) -> str | None:
    """One statement for all layers of a tile: a row for each MVT layer, whose bytes are put one after another.

    $1, $2, $3 are z, x, y; $4 is the share of the usual number of features that there is room for.
    """
    parts = [part for c in chosen for part in _parts_of(c, zoom)]
    return " UNION ALL ".join(parts) if parts else None


def _parts_of(c: Chosen, zoom: int) -> tuple[str, ...]:
    of = theme_of(c.layer)
    if of.detail(zoom) is not None:
        return _parts(c.layer.id, c.version.table, of, tuple(column.name for column in c.version.columns), zoom)
    if c.version.rollup is None or zoom < ROLLUP_MIN_ZOOM:
        return ()
    resolution = min(resolution_for(zoom, of.rollup_cells), max(c.version.rollup["resolutions"]))
    return (_cells(c.layer.id, c.version.rollup_table, tuple(c.version.rollup["columns"]), resolution),)


@lru_cache(maxsize=4096)
def _cells(layer_id: str, table: str, columns: tuple[str, ...], resolution: int) -> str:
    """The SELECT of the coarser cells that stand for features where these are too many to be drawn."""
    properties = "".join(f', "{name}"' for name in columns)
    box = f"ST_Transform(ST_TileEnvelope($1, $2, $3, margin => {BUFFER / EXTENT:.17g}), 4326)"
    area = h3.average_hexagon_area(resolution)
    return (
        f"SELECT '{layer_id}:cells' AS name, false AS cut, "
        f"ST_AsMVT(tile, '{layer_id}:cells', {EXTENT}, 'geom') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT to_hex(cell) AS cell, features, round(features / {area:.12g}, 1)::float8 AS per_km2{properties}, "
        f"ST_AsMVTGeom(ST_Transform(geom, 3857), ST_TileEnvelope($1, $2, $3), {EXTENT}, {BUFFER}) AS geom "
        f"FROM {DATA_SCHEMA}.{table} WHERE resolution = {resolution} AND geom && {box} "
        # The parameter of the other SELECTs is used by all, or PostgreSQL could not tell its type.
        "AND $4::float8 > 0) AS tile"
    )


@lru_cache(maxsize=4096)
def _parts(layer_id: str, table: str, of: Theme, columns: tuple[str, ...], zoom: int) -> tuple[str, ...]:
    """The SELECTs of one layer's features and of its labels; none where it draws nothing.

    Every name in them comes from the catalogue, whose names are checked identifiers.
    """
    detail = of.detail(zoom)
    if detail is None:
        return ()
    wanted = detail.fields if detail.fields is not None else of.tile_fields
    properties = "".join(f', "{name}"' for name in wanted if name in columns)
    source = f"{DATA_SCHEMA}.{table}"
    important = f"AND importance >= {detail.importance:.17g}" if detail.importance else ""
    # Margin first, then the reprojection: the box is grown in the tile's own plane.
    box = "ST_Transform(ST_TileEnvelope($1, $2, $3, margin => {margin:.17g}), 4326)"
    room = f"greatest(1, ({detail.limit} * $4::float8)::bigint)"
    # One feature more than there is room for tells that some are left out.
    features = (
        f"SELECT '{layer_id}' AS name, count(*) > {room} AS cut, "
        f"ST_AsMVT(tile, '{layer_id}', {EXTENT}, 'geom', 'fid') FILTER (WHERE geom IS NOT NULL) AS tile FROM ("
        f"SELECT fid{properties}, ST_AsMVTGeom(ST_Transform({_simplified(of, zoom)}, 3857), "
        f"ST_TileEnvelope($1, $2, $3), {EXTENT}, {BUFFER}) AS geom FROM ("
        f"SELECT fid{properties}, geom FROM {source} "
        f"WHERE geom && {box.format(margin=BUFFER / EXTENT)} {important} {_large_enough(of, zoom)} "
        f"ORDER BY importance DESC, fid LIMIT {room} + 1) AS chosen) AS tile"
    )
    if not (of.label and of.geometry == "polygon" and f'"{of.label}"' in properties):
        return (features,)
    # The label stands in the one tile that holds its point; no buffer, or neighbours would repeat it.
    labels = (
        f"SELECT '{layer_id}', false, ST_AsMVT(tile, '{layer_id}:label', {EXTENT}, 'geom', 'fid') "
        f"FILTER (WHERE geom IS NOT NULL) FROM (SELECT fid{properties}, importance AS rank, "
        f"ST_AsMVTGeom(ST_Transform(label_point, 3857), ST_TileEnvelope($1, $2, $3), {EXTENT}, 0) AS geom "
        f"FROM {source} WHERE label_point && {box.format(margin=0)} "
        f'AND "{of.label}" IS NOT NULL {important} '
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

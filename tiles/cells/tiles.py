"""A layer's cells as vector tiles (MVT 2.1), on every tile matrix set."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import asyncpg
import morecantile
import shapely

from tiles.cells.answers import as_text, densities
from tiles.cells.outlines import outlines
from tiles.cells.statement import CellsQuery, first
from tiles.http.content_encoding import Encoding, encode
from tiles.vector.mvt import BUFFER, EXTENT
from tiles.vector.tile_cache import CachedTile
from tiles.vector.tile_matrix_sets import Grid, placed
from twin.cells.rollup import Rolled, resolution_for

# A tile of more cells than this could be neither drawn nor sent well.
MOST_CELLS = 10_000
# What a cell's value is in PostgreSQL, by the type that it has in the answer; tiles have no dates.
SQL = {"text": "text", "integer": "bigint", "number": "float8", "boolean": "boolean", "date": "text", "time": "text"}


def finest_at(zoom: int) -> int:
    """Return the finest resolution that a tile of this zoom may have."""
    return resolution_for(zoom, MOST_CELLS)


async def make_tile(
    connection: asyncpg.Connection, layer_id: str, query: CellsQuery, grid: Grid, z: int, x: int, y: int,
    encoding: Encoding,
) -> CachedTile:  # fmt: skip
    """Make the tile: the cells that meet it are read, their outlines computed here, and written by the database."""
    # A few times the usual number: near the poles a tile holds more of the earth's cells than elsewhere.
    found, more = await first(connection, replace(query, area=_area(grid, z, x, y)), 4 * MOST_CELLS)
    values = [as_text(found.cells), found.features, densities(found), *map(_plain, found.values)]
    shapes = shapely.to_wkb(outlines(found.cells)).tolist()
    statement = _statement(f"{layer_id}:cells", query.columns, grid)
    body: bytes = await connection.fetchval(statement, *grid.values([(z, x, y)]), shapes, *values) or b""
    return CachedTile((layer_id,) if more else (), {encoding: encode(body, encoding)})


def _area(grid: Grid, z: int, x: int, y: int) -> shapely.Polygon:
    """Return what may show on the tile, and a little more: what lies outside is left out when it is clipped."""
    if grid.between:
        return shapely.box(*placed(grid, z, x, y)[4:8])
    west, south, east, north = grid.document().bounds(morecantile.Tile(x, y, z))
    aside, above = (2 * BUFFER / EXTENT * side for side in (east - west, north - south))
    return shapely.box(
        max(west - aside, -180), max(south - above, -90), min(east + aside, 180), min(north + above, 90)
    )  # fmt: skip


def _plain(values: list[object]) -> list[object]:
    return [v.isoformat() if isinstance(v, date) else v for v in values]


def _statement(name: str, columns: tuple[Rolled, ...], grid: Grid) -> str:
    """Return the statement; its parameters are the grid's for the place, then outlines and values, cell by cell."""
    typed = [
        ("cell", "text"),
        ("features", "bigint"),
        ("per_km2", "float8"),
        *((c.name, SQL[c.result]) for c in columns),
    ]
    names = ", ".join(f'"{n}"' for n, _ in typed)
    outline = grid.parameters + 1
    arrays = ", ".join(f"${i}::{t}[]" for i, (_, t) in enumerate(typed, outline + 1))
    return (
        f"SELECT ST_AsMVT(tile, '{name}', {EXTENT}, 'geom') FROM (SELECT {names}, "
        f"ST_AsMVTGeom({grid.on_grid('ST_GeomFromWKB(wkb, 4326)')}, place.box, {EXTENT}, {BUFFER}) AS geom "
        f"FROM {grid.places_sql(BUFFER / EXTENT)} AS place, "
        f"unnest(${outline}::bytea[], {arrays}) AS cells(wkb, {names})) AS tile WHERE geom IS NOT NULL"
    )

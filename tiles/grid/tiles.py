"""A layer's cells as vector tiles (MVT 2.1)."""

from __future__ import annotations

from datetime import date

import asyncpg
import morecantile
import shapely

from tiles.cache import Tile
from tiles.choice import Chosen
from tiles.encodings import Encoding, encode
from tiles.grid.answers import as_text, densities
from tiles.grid.outlines import outlines
from tiles.grid.question import Question, first
from tiles.mvt import BUFFER, EXTENT
from twin.rollup import Rolled, resolution_for

# A tile of more cells than this could be neither drawn nor sent well.
MOST_CELLS = 10_000
# What a cell's value is in PostgreSQL, by the type that it has in the answer; tiles have no dates.
SQL = {"text": "text", "integer": "bigint", "number": "float8", "boolean": "boolean", "date": "text", "time": "text"}
TILES = morecantile.tms.get("WebMercatorQuad")


def finest_at(zoom: int) -> int:
    """The finest resolution that a tile of this zoom may have."""
    return resolution_for(zoom, MOST_CELLS)


async def make_tile(
    connection: asyncpg.Connection, chosen: Chosen, columns: tuple[Rolled, ...], resolution: int,
    z: int, x: int, y: int, encoding: Encoding,
) -> Tile:  # fmt: skip
    """Make the tile: the cells that meet it are read, their outlines computed here, and written by the database."""
    asked = Question(chosen.version, resolution, columns, _area(z, x, y))
    # A few times the usual number: near the poles a tile holds more of the earth's cells than elsewhere.
    found, more = await first(connection, asked, 4 * MOST_CELLS)
    values = [as_text(found.cells), found.features, densities(found), *map(_plain, found.values)]
    shapes = shapely.to_wkb(outlines(found.cells)).tolist()
    statement = _statement(f"{chosen.layer.id}:cells", columns)
    body: bytes = await connection.fetchval(statement, z, x, y, shapes, *values) or b""
    return Tile((chosen.layer.id,) if more else (), {encoding: encode(body, encoding)})


def _area(z: int, x: int, y: int) -> shapely.Polygon:
    """The tile with more than its buffer around it: what lies outside is left out when it is clipped."""
    west, south, east, north = TILES.bounds(morecantile.Tile(x, y, z))
    aside, above = (2 * BUFFER / EXTENT * side for side in (east - west, north - south))
    return shapely.box(
        max(west - aside, -180), max(south - above, -90), min(east + aside, 180), min(north + above, 90)
    )  # fmt: skip


def _plain(values: list[object]) -> list[object]:
    return [v.isoformat() if isinstance(v, date) else v for v in values]


def _statement(name: str, columns: tuple[Rolled, ...]) -> str:
    """$1, $2, $3 are z, x, y; $4 the outlines; the others the values, cell by cell."""
    typed = [
        ("cell", "text"),
        ("features", "bigint"),
        ("per_km2", "float8"),
        *((c.name, SQL[c.result]) for c in columns),
    ]
    names = ", ".join(f'"{n}"' for n, _ in typed)
    arrays = ", ".join(f"${i}::{t}[]" for i, (_, t) in enumerate(typed, 5))
    return (
        f"SELECT ST_AsMVT(tile, '{name}', {EXTENT}, 'geom') FROM (SELECT {names}, "
        "ST_AsMVTGeom(ST_Transform(ST_GeomFromWKB(wkb, 4326), 3857), ST_TileEnvelope($1, $2, $3), "
        f"{EXTENT}, {BUFFER}) AS geom FROM unnest($4::bytea[], {arrays}) AS cells(wkb, {names})) AS tile "
        "WHERE geom IS NOT NULL"
    )

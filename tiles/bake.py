"""Baking: an area's tiles of some layers' versions in one PMTiles archive, for a CDN, a disk or a phone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import morecantile
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from tiles.choice import Chosen
from tiles.encodings import encode
from tiles.grids import WEB_MERCATOR, Place
from tiles.making import TileMaker
from twin import __version__
from twin.catalogue import Bounds
from twin.db.database import Database
from twin.db.tables import DATA_SCHEMA

GRID = morecantile.tms.get("WebMercatorQuad")
# Connections that make tiles at the same time, how many tiles are waited for, and how many seconds for each.
AT_ONCE, A_ROUND, PATIENCE = 4, 64, 86_400
# A tile without anything, compressed.
NOTHING = encode(b"", "gzip")

# Told as work goes on: the zoom, how many of its tiles are done, and how many there are.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Baked:
    """What came of it: tiles that were written, those that were cut to their budget, and the archive's size."""

    tiles: int
    cut: int
    size: int


async def bake(
    database: Database, chosen: Sequence[Chosen], metadata: dict[str, Any], area: Bounds, zooms: range, target: Path,
    progress: Progress,
) -> Baked:  # fmt: skip
    """Write the tiles of an area (degrees) and some zooms; the archive appears when it is whole.

    Where a tile holds nothing of any layer, nothing below it is asked for.
    """
    async with asyncpg.create_pool(**database.asyncpg_options("reader"), min_size=1, max_size=AT_ONCE) as pool:
        written = cut = 0
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                writer = Writer(file)
                inside = [(t.z, t.x, t.y) for t in GRID.tiles(*area, zooms=[zooms[0]])]
                for zoom in zooms:
                    occupied: list[Place] = []
                    # An archive is read fastest if its tiles stand in the order of their numbers.
                    inside.sort(key=lambda place: zxy_to_tileid(*place))
                    done = 0
                    async for place, tile in _made(pool, chosen, inside):
                        done += 1
                        progress(zoom, done, len(inside))
                        if tile is None:
                            continue
                        occupied.append(place)
                        body, was_cut = tile
                        cut += was_cut
                        if body:
                            writer.write_tile(zxy_to_tileid(*place), body)
                            written += 1
                    inside = [child for place in occupied for child in _children(place, area)]
                writer.finalize(_header(area, zooms), metadata | {"generator": f"twin {__version__}"})
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return Baked(written, cut, target.stat().st_size)


async def _made(
    pool: asyncpg.Pool, chosen: Sequence[Chosen], places: Sequence[Place]
) -> AsyncIterator[tuple[Place, tuple[bytes, bool] | None]]:
    """Make tiles, some at once, and give them in order; None for one without any feature of any layer."""
    there = " OR ".join(
        f"EXISTS (SELECT 1 FROM {DATA_SCHEMA}.{c.version.table} WHERE geom && place.reach)" for c in chosen
    )
    occupied_sql = f"SELECT place.n FROM {WEB_MERCATOR.asked(0.0625)} AS place WHERE {there}"
    maker = TileMaker(pool.acquire, AT_ONCE, PATIENCE)
    for start in range(0, len(places), A_ROUND):
        part = places[start : start + A_ROUND]
        occupied = [n - 1 for (n,) in await pool.fetch(occupied_sql, *WEB_MERCATOR.values(part))]
        made = await asyncio.gather(*(maker.make(chosen, part[n], "gzip") for n in occupied))
        tiles = dict(zip(occupied, made, strict=True))
        for n, place in enumerate(part):
            if n not in tiles:
                yield place, None
                continue
            tile = tiles[n]
            body = tile.encoded["gzip"]
            # An empty tile is not stored: a reader takes what is not there as empty.
            yield place, (b"" if body == NOTHING else body, bool(tile.cut))


def _children(place: Place, area: Bounds) -> list[Place]:
    z, x, y = place
    west, south, east, north = area
    found = []
    for child in ((z + 1, 2 * x + dx, 2 * y + dy) for dx in (0, 1) for dy in (0, 1)):
        box = GRID.bounds(morecantile.Tile(child[1], child[2], child[0]))
        if box.left <= east and box.right >= west and box.bottom <= north and box.top >= south:
            found.append(child)
    return found


def _header(area: Bounds, zooms: range) -> dict[str, Any]:
    west, south, east, north = (round(value * 1e7) for value in area)
    return {
        "tile_type": TileType.MVT,
        "tile_compression": Compression.GZIP,
        "min_zoom": zooms[0], "max_zoom": zooms[-1],
        "min_lon_e7": west, "min_lat_e7": south, "max_lon_e7": east, "max_lat_e7": north,
        "center_zoom": min(max(12, zooms[0]), zooms[-1]),
        "center_lon_e7": (west + east) // 2, "center_lat_e7": (south + north) // 2,
    }  # fmt: skip

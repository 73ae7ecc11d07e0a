"""Baking: an area's tiles of some layers, or of a raster, in one PMTiles archive for a CDN, a disk or a phone."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import morecantile
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from tiles.http.content_encoding import encode
from tiles.raster.files import RasterFiles
from tiles.raster.image import RasterStyle, draw, empty, is_outside
from tiles.raster.routes import zooms as zooms_of
from tiles.vector.archives import NOTHING_THERE
from tiles.vector.batching import TileBatcher
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Place
from twin import __version__
from twin.access.permit import Permit
from twin.catalogue.catalogue import Bounds, outwards
from twin.catalogue.raster_files import RasterFolder
from twin.db.database import Database
from twin.db.tables import DATA_SCHEMA
from twin.errors import BadInput
from twin.private_files import open_private
from twin.text import Text

GRID = morecantile.tms.get("WebMercatorQuad")
# Connections that make tiles at the same time, how many tiles are waited for, and how many seconds for each.
AT_ONCE, A_ROUND, PATIENCE = 4, 64, 86_400
# A tile without anything, compressed.
NOTHING = encode(b"", "gzip")

# Tiles in the order of the places that were requested: the bytes, and whether something was left out for want of room;
# None where nothing below needs to be made.
Tiles = AsyncIterator[tuple[Place, tuple[bytes, bool] | None]]
Make = Callable[[Sequence[Place]], Tiles]
# Told as work goes on: the zoom, how many of its tiles are done, and how many there are.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class BakeResult:
    """What came of it: tiles that were written, those that were cut to their budget, and the archive's size."""

    tiles: int
    cut: int
    size: int


async def bake(
    database: Database, chosen: Sequence[Permit], metadata: dict[str, Any], area: Bounds, zooms: range, target: Path,
    progress: Progress,
) -> BakeResult:  # fmt: skip
    """Write the vector tiles of an area (degrees) and some zooms; the archive appears when it is whole.

    Where a tile holds nothing of any layer, nothing below it is made.
    """
    async with asyncpg.create_pool(**database.asyncpg_options("reader"), min_size=1, max_size=AT_ONCE) as pool:
        form = TileType.MVT, Compression.GZIP
        return await _write(partial(_made, pool, chosen), form, metadata, area, zooms, target, progress)


async def bake_pictures(
    folder: RasterFolder, one: Permit, look: RasterStyle, metadata: dict[str, Any], area: Bounds, zooms: range | None,
    target: Path, progress: Progress,
) -> BakeResult:  # fmt: skip
    """Write the pictures of a raster in the same way; without zooms, those that its file has pixels for."""
    files = RasterFiles(folder, PATIENCE)
    files.keep([one.version.key])
    try:
        if zooms is None:
            first, last = await files.run(one, zooms_of)
            zooms = range(first, last + 1)
        form = TileType[look.form.upper()], Compression.NONE
        metadata = metadata | {NOTHING_THERE: base64.b64encode(empty(one, look)).decode()}
        return await _write(partial(_drawn, files, one, look), form, metadata, area, zooms, target, progress)
    finally:
        files.close()


async def _write(
    make: Make, form: tuple[TileType, Compression], metadata: dict[str, Any], area: Bounds, zooms: range,
    target: Path, progress: Progress,
) -> BakeResult:  # fmt: skip
    written = cut = 0
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open_private(unfinished, "wb") as file:
            writer = Writer(file)
            inside = [(t.z, t.x, t.y) for t in GRID.tiles(*area, zooms=[zooms[0]])]
            for zoom in zooms:
                occupied: list[Place] = []
                # An archive is read fastest if its tiles stand in the order of their numbers.
                inside.sort(key=lambda place: zxy_to_tileid(*place))
                done = 0
                async for place, tile in make(inside):
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
            if not written:
                raise BadInput(
                    Text(
                        en="No tile of this area shows anything at these zooms: there is nothing to bake. Give another "
                        "--bbox or --zoom.",
                        vi="Không ô bản đồ nào của khu vực này có nội dung ở các mức thu phóng đó: không có gì để ghi. "
                        "Hãy đổi --bbox hoặc --zoom.",
                    )
                )
            writer.finalize(_header(form, area, zooms), metadata | {"generator": f"twin {__version__}"})
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return BakeResult(written, cut, target.stat().st_size)


async def _made(pool: asyncpg.Pool, chosen: Sequence[Permit], places: Sequence[Place]) -> Tiles:
    """Make tiles, some at once, and give them in order; None for one without any feature of any layer."""
    there = " OR ".join(
        f"EXISTS (SELECT 1 FROM {DATA_SCHEMA}.{c.version.table} WHERE geom && place.reach)" for c in chosen
    )
    occupied_sql = f"SELECT place.n FROM {WEB_MERCATOR.places_sql(0.0625)} AS place WHERE {there}"
    maker = TileBatcher(pool.acquire, AT_ONCE, PATIENCE)
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


async def _drawn(files: RasterFiles, one: Permit, look: RasterStyle, places: Sequence[Place]) -> Tiles:
    """Draw a raster's tiles, some at once, and give them in order; None for one outside of it."""
    nothing, outline = empty(one, look), (one.version.raster or {}).get("outline")

    async def draw_one(place: Place) -> tuple[bytes, bool] | None:
        if is_outside(outline, *place):
            return None
        body = await files.run(one, lambda opened: draw(opened, one, *place, look))
        return (b"" if body == nothing else body), False

    for start in range(0, len(places), A_ROUND):
        part = places[start : start + A_ROUND]
        for place, tile in zip(part, await asyncio.gather(*map(draw_one, part)), strict=True):
            yield place, tile


def _children(place: Place, area: Bounds) -> list[Place]:
    z, x, y = place
    west, south, east, north = area
    found = []
    for child in ((z + 1, 2 * x + dx, 2 * y + dy) for dx in (0, 1) for dy in (0, 1)):
        box = GRID.bounds(morecantile.Tile(child[1], child[2], child[0]))
        if box.left <= east and box.right >= west and box.bottom <= north and box.top >= south:
            found.append(child)
    return found


def _header(form: tuple[TileType, Compression], area: Bounds, zooms: range) -> dict[str, Any]:
    # In whole units of 1e-7 degrees, outwards.
    west, south, east, north = (round(value * 1e7) for value in outwards(area))
    return {
        "tile_type": form[0], "tile_compression": form[1],
        "min_zoom": zooms[0], "max_zoom": zooms[-1],
        "min_lon_e7": west, "min_lat_e7": south, "max_lon_e7": east, "max_lat_e7": north,
        "center_zoom": min(max(12, zooms[0]), zooms[-1]),
        "center_lon_e7": (west + east) // 2, "center_lat_e7": (south + north) // 2,
    }  # fmt: skip

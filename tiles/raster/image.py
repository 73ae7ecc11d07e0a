"""From a raster's pixels to a picture: read at a tile's place and scale, coloured as the theme says, encoded."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from layers.contracts import theme_of
from layers.palette import Palette, known_pixels, palette_of
from layers.theme import Theme
from tiles.raster.files import OpenRaster
from twin.access.permit import Permit

Form = Literal["png", "webp"]
Style = Literal["default", "terrain-rgb"]

SIDE = 256
# Half of the way round the earth, in metres of EPSG:3857.
HALF = math.pi * 6378137.0
# Heights as Mapbox's Terrain-RGB writes them: tenths of a metre, counted from this one on.
TERRAIN_FROM, TERRAIN_STEP = -10000.0, 0.1

# What is wrong with a file is logged once, by tiles/raster/files.py.
logging.getLogger("rasterio").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class RasterStyle:
    """How a tile is drawn: its style, the form of the picture, and how many pixels make one of the map's."""

    style: Style = "default"
    form: Form = "png"
    scale: int = 1

    @property
    def side(self) -> int:
        """Width and height of the picture in pixels."""
        return SIDE * self.scale

    @property
    def media_type(self) -> str:
        """The media type of the picture."""
        return f"image/{self.form}"

    def __str__(self) -> str:
        return f"{self.style}/{self.form}/{self.scale}"


def tile_bounds(z: int, x: int, y: int) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a tile, in metres of EPSG:3857."""
    size = 2 * HALF / 2**z
    return x * size - HALF, HALF - (y + 1) * size, (x + 1) * size - HALF, HALF - y * size


def is_outside(outline: tuple[float, float, float, float] | None, z: int, x: int, y: int) -> bool:
    """Tell whether a tile surely shows nothing of a raster with this outline in degrees."""
    if outline is None:
        return False
    west, south, east, north = outline
    # A little wider, for outlines are computed and not measured.
    margin = 0.001 + 0.001 * max(east - west, north - south)
    left, bottom = mercator(west - margin, south - margin)
    right, top = mercator(east + margin, north + margin)
    of = tile_bounds(z, x, y)
    return of[2] < left or of[0] > right or of[3] < bottom or of[1] > top


def mercator(longitude: float, latitude: float) -> tuple[float, float]:
    """Longitude and latitude in metres of EPSG:3857, which ends short of the poles."""
    kept = max(-85.0511287, min(85.0511287, latitude))
    return longitude / 180 * HALF, math.log(math.tan(math.pi / 4 + math.radians(kept) / 2)) / math.pi * HALF


def draw(opened: OpenRaster, chosen: Permit, z: int, x: int, y: int, look: RasterStyle) -> bytes:
    """Make the picture of one tile."""
    of = theme_of(chosen.layer)
    values, known = read_tile(opened, chosen, z, x, y, look.side)
    if look.style == "terrain-rgb":
        return _encode_heights(values, known, look)
    palette = palette_for(chosen)
    return _encode_colors(palette, palette.index(values, known_pixels(of, values, known)), look)


def empty(chosen: Permit, look: RasterStyle) -> bytes:
    """Return the picture of a place where the raster has nothing."""
    nothing = np.zeros((look.side, look.side))
    if look.style == "terrain-rgb":
        return _encode_heights(nothing, nothing > 0, look)
    return _encode_colors(palette_for(chosen), nothing.astype(np.uint8), look)


def codes_of(chosen: Permit) -> dict[int, str] | None:
    """The terms that the codes of a raster of classes stand for, as its version was published; None for quantities."""
    assert chosen.version.raster is not None  # noqa: S101  # `only_rasters` saw to it
    classes = chosen.version.raster.get("classes")
    return None if classes is None else {int(code): term for code, (term, _) in classes.items()}


def palette_for(chosen: Permit) -> Palette:
    """Return the colours of a version's raster."""
    codes = codes_of(chosen)
    return _palette(theme_of(chosen.layer), None if codes is None else tuple(sorted(codes.items())))


@lru_cache(maxsize=256)
def _palette(of: Theme, codes: tuple[tuple[int, str], ...] | None) -> Palette:
    return palette_of(of, None if codes is None else dict(codes))


def read_tile(
    opened: OpenRaster, chosen: Permit, z: int, x: int, y: int, side: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the values of a tile's pixels, and which of them have data.

    Classes are never mixed: a pixel shows the class at its place, or the most frequent one of those that it covers.
    Quantities are blended from the pixels around, over as many as lie under one of the picture's.
    """
    from rasterio.crs import CRS
    from rasterio.transform import from_bounds
    from rio_tiler import reader

    bounds = tile_bounds(z, x, y)
    classes = codes_of(chosen) is not None
    size = (bounds[2] - bounds[0]) / side
    band = int((chosen.version.raster or {}).get("band", 1))
    data = opened.at(size, band)
    # Moved to the picture's own pixels at once: by default rio-tiler moves to pixels of the raster's size first, which
    # is slower, and far in it is off by up to half of one of those.
    placed: dict[str, Any] = {
        "crs": CRS.from_epsg(3857), "transform": from_bounds(*bounds, side, side), "width": side, "height": side,
        "dtype": data.dtypes[band - 1],
    }  # fmt: skip
    if opened.shifted:
        placed["src_crs"] = opened.shifted
    if not classes and data.nodata is not None and math.isfinite(data.nodata):
        # Pixels without data are transparent, in the same pass: rio-tiler would read all of it once more.
        placed |= {"add_alpha": True, "nodata": None, "init_dest_nodata": False, "INIT_DEST": repr(data.nodata)}
    method: Any = "bilinear" if not classes else "nearest" if size <= opened.pixel else "mode"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = reader.read(data, indexes=band, vrt_options=placed, unscale=True, reproject_method=method)
    pixels = image.array[0]
    return np.asarray(pixels.data), ~np.ma.getmaskarray(pixels)


def _encode_colors(palette: Palette, index: npt.NDArray[np.uint8], look: RasterStyle) -> bytes:
    """A picture of few colours: PNG with a palette, WebP without loss; both a third of the size of full colours."""
    from rasterio.io import MemoryFile
    from rio_tiler.utils import render

    table = np.concatenate([np.zeros((1, 3), np.uint8), palette.colors])
    if look.form == "webp":
        pixels = np.moveaxis(table[index], -1, 0)
        mask = np.where(index > 0, 255, 0).astype(np.uint8)
        return render(pixels, mask, "WEBP", LOSSLESS=True, QUALITY=20)
    with warnings.catch_warnings(), MemoryFile() as memory:
        # A picture has no place on the earth, which is what would be warned of.
        warnings.simplefilter("ignore")
        with memory.open(
            driver="PNG", width=look.side, height=look.side, count=1, dtype="uint8", nodata=0, zlevel=6
        ) as picture:
            picture.write(index, 1)
            picture.write_colormap(1, {i: (int(r), int(g), int(b), 255) for i, (r, g, b) in enumerate(table)})
        return bytes(memory.read())


def _encode_heights(values: npt.NDArray[Any], known: npt.NDArray[np.bool_], look: RasterStyle) -> bytes:
    """Heights as colours, without loss. Where nothing is known stands 0 m, for readers take no heed of transparency."""
    from rio_tiler.utils import render

    heights = np.where(known & np.isfinite(values), values, 0.0).astype(np.float64)
    steps = np.clip(np.round((heights - TERRAIN_FROM) / TERRAIN_STEP), 0, 2**24 - 1).astype(np.uint32)
    pixels = np.stack([steps >> 16, steps >> 8 & 255, steps & 255]).astype(np.uint8)
    options: dict[str, Any] = {"LOSSLESS": True, "QUALITY": 20} if look.form == "webp" else {"ZLEVEL": 6}
    return render(pixels, None, look.form, **options)

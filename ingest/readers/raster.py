"""GeoTIFF rasters: described, copied as Cloud-Optimised GeoTIFF, and sampled to H3 cells, block by block."""

from __future__ import annotations

import errno
import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h3
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
import shapely
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ingest.readers.cell_tally import CellValues, How, Tally
from ingest.readers.limits import exceeded
from ingest.readers.source import CRS_IN_FILE, CRS_SILENT, FileReader, ReadOptions, cannot_read
from twin.cells.cover import point_cells
from twin.crs import to_wgs84, transform
from twin.errors import BadInput, Unavailable
from twin.text import Text

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SIDE = 1024
CACHE_MEGABYTES = 128
ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError)
# Files that GDAL would look for beside the raster are left alone. The drivers that are taken out are named anew: this
# library's GDAL is not the one of vector files, and warns of names that it does not know.
SETTINGS = {
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": CACHE_MEGABYTES,
    "GDAL_NUM_THREADS": "1",
    "GDAL_SKIP": "VRT,WMS,WMTS,WCS,HTTP,EEDAI,PLMosaic,DAAS,STACIT,STACTA,DERIVED",
}
# It also writes a warning to the log for each, and for the copy that gets its system first; neither is anybody's worry.
logging.getLogger("rasterio._env").setLevel(logging.ERROR)
MOST_SAMPLES = 16
# A copy with its overviews, while it is being made, takes at most so many times the size of the pixels.
MOST_SPACE = 2
RASTERS_FULL = Text(
    en="The disk of the rasters ({folder}) is full. Free some space and run the same command again: nothing was "
    "changed.",
    vi="Đĩa chứa ảnh raster ({folder}) đã đầy. Hãy giải phóng dung lượng rồi chạy lại lệnh này: chưa có gì bị "
    "thay đổi.",
)


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a raster: its size, place, values. `bounds` are in its own CRS, `outline` in longitude and
    latitude.
    """

    driver: str
    width: int
    height: int
    bands: int
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    crs: CRS | None
    crs_reason: Text
    bounds: tuple[float, float, float, float]
    outline: tuple[float, float, float, float] | None
    pixel: tuple[float, float]
    block: tuple[int, int]
    band_names: tuple[str | None, ...]
    units: tuple[str | None, ...]
    colours: bool
    picture: bool
    overviews: int
    cloud_optimised: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a band: where it lies, its values (scaled as the file says), which have data, which are numbers."""

    window: Window
    values: Floats
    known: Mask
    finite: Mask


class RasterReader(FileReader):
    """An opened GeoTIFF. Pixels are decoded on demand, block by block."""

    format = "GeoTIFF"
    driver = "GTiff"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        try:
            with rasterio.Env(**SETTINGS):
                self._data = rasterio.open(path, driver=self.driver)
        except ERRORS as error:
            raise cannot_read(path, error) from None
        data = self._data
        if data.width * data.height * data.count > self.limits.pixels:
            self.close()
            raise exceeded(path.name, self.limits, "pixels")
        block = max(
            h * w * np.dtype(t).itemsize for (h, w), t in zip(data.block_shapes, map(_dtype, data.dtypes), strict=True)
        )
        if (
            block * (data.count if data.interleaving and data.interleaving.value == "PIXEL" else 1)
            > self.limits.object_bytes
        ):
            self.close()
            raise exceeded(path.name, self.limits, "object_bytes")
        found = CRS.from_wkt(data.crs.to_wkt()) if data.crs else None
        self._in_file = found
        self.set_crs_of_file(found, CRS_IN_FILE if found is not None else CRS_SILENT)
        self.layer, self.layers = path.stem, (path.stem,)
        self.count = data.count

    def describe(self) -> Description:
        """Describe the raster without reading its pixels."""
        data = self._data
        bounds = tuple(float(v) for v in data.bounds)
        return Description(
            driver=self.driver, width=data.width, height=data.height, bands=data.count, dtypes=tuple(data.dtypes),
            nodata=tuple(data.nodatavals), crs=self.crs, crs_reason=self.crs_reason,
            bounds=(bounds[0], bounds[1], bounds[2], bounds[3]), outline=self._outline(),
            pixel=(float(data.res[0]), float(data.res[1])), block=tuple(data.block_shapes[0]),
            band_names=tuple(data.descriptions), units=tuple(data.units),
            colours=ColorInterp.palette in data.colorinterp, picture=ColorInterp.red in data.colorinterp,
            overviews=len(data.overviews(1)), cloud_optimised=data.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG",
        )  # fmt: skip

    def _outline(self) -> tuple[float, float, float, float] | None:
        if self.crs is None:
            return None
        data = self._data
        columns, rows = np.array([0, data.width, data.width, 0]), np.array([0, 0, data.height, data.height])
        corners = self._place(columns, rows)
        # The edges bend on their way to degrees: they are given points in between.
        edge = shapely.segmentize(shapely.Polygon(corners), max(shapely.Polygon(corners).length / 400, 1e-9))
        west, south, east, north = to_wgs84(np.array([edge], dtype=object), self.crs)[0].bounds
        return float(west), float(south), float(east), float(north)

    def to_cog(self, target: Path) -> None:
        """Write the raster as a Cloud-Optimised GeoTIFF in the CRS it is read in; `target` appears when it is whole."""
        unfinished = target.with_name(f".{target.name}.part")
        plain = target.with_name(f".{target.name}.plain.part")
        average = all(np.dtype(_dtype(t)).kind == "f" for t in self._data.dtypes)
        try:
            with rasterio.Env(**SETTINGS):
                source: Any = self._data
                if self.crs is not None and self.crs != self._in_file:
                    # A file that names no CRS, or a wrong one, is copied with the right one first.
                    rasterio.shutil.copy(source, plain, driver="GTiff", tiled=True, compress="DEFLATE", bigtiff="YES")
                    with rasterio.open(plain, "r+") as copy:
                        copy.crs = self.crs.to_wkt("WKT2_2019")
                    source = str(plain)
                rasterio.shutil.copy(
                    source, unfinished, driver="COG", compress="DEFLATE", predictor="YES", bigtiff="IF_SAFER",
                    overview_resampling="AVERAGE" if average else "NEAREST", num_threads=1,
                )  # fmt: skip
            unfinished.replace(target)
        except ERRORS as error:
            if self._found_no_room(error, target.parent):
                raise Unavailable(RASTERS_FULL.format(folder=target.parent)) from None
            raise cannot_read(self.path, error) from None
        finally:
            for left in target.parent.glob(f".{target.name}.*"):
                left.unlink(missing_ok=True)

    def _found_no_room(self, error: Exception, folder: Path) -> bool:
        """Return whether a write failed because the disk is full: GDAL says that it failed, and not why."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        data = self._data
        pixels = sum(np.dtype(_dtype(t)).itemsize for t in data.dtypes) * data.width * data.height
        message = " ".join(str(e) for e in (error, error.__cause__, error.__context__)).casefold()
        return "write" in message and folder.is_dir() and shutil.disk_usage(folder).free < MOST_SPACE * pixels

    def cell_values(self, resolution: int, how: How | None = None, band: int = 1) -> CellValues:
        """Sample a band to cells: the mean of the pixels in each cell, or the most frequent value.

        By default classes (whole numbers of one byte, or with a palette) give the most frequent value, quantities the
        mean. Where pixels are larger than cells each is sampled at several points, so that every cell inside the
        raster gets the value that lies at it. Pixels without data do not count.
        """
        if self.crs is None:
            raise BadInput(
                Text(
                    en="{file} does not say in which coordinate system it is. Say it (for example EPSG:9210).",
                    vi="{file} không ghi hệ tọa độ. Hãy cho biết (ví dụ EPSG:9210).",
                ).format(file=self.path.name)
            )
        if not 1 <= band <= self._data.count:
            raise BadInput(
                Text(en="{file} has no band {band}.", vi="{file} không có kênh {band}.").format(
                    file=self.path.name, band=band
                )
            )
        tally = Tally(how or self._default_how(band))
        fine = self.samples_a_side(resolution)
        for block in self.blocks(band, fine):
            where = block.known & block.finite
            if where.any():
                tally.add(*self.cells(block, where, fine, resolution))
        return tally.result()

    def blocks(self, band: int = 1, fine: int = 1) -> Iterator[Block]:
        """Read a band part by part; `fine` points a side will be made of each pixel, so parts get smaller by it."""
        scale, offset = float(self._data.scales[band - 1]), float(self._data.offsets[band - 1])
        try:
            with rasterio.Env(**SETTINGS):
                for window in self._windows(fine):
                    read = self._data.read(band, window=window, masked=True)
                    # What GDAL takes for "no data" may be NaN, which is no number either.
                    values = np.asarray(read.data.real, dtype=np.float64)
                    finite = np.isfinite(values)
                    if (scale, offset) != (1.0, 0.0):
                        values = values * scale + offset
                    yield Block(window, values, ~np.ma.getmaskarray(read), finite)
        except ERRORS as error:
            raise cannot_read(self.path, error) from None

    def overview(self, band: int = 1, side: int = 256) -> tuple[Floats, Mask, Floats]:
        """Return at most `side` times `side` pixels spread over a band: values, which have data, and places in its own
        CRS.
        """
        data = self._data
        rows, columns = min(side, data.height), min(side, data.width)
        try:
            with rasterio.Env(**SETTINGS):
                read = data.read(band, out_shape=(rows, columns), masked=True)
        except ERRORS as error:
            raise cannot_read(self.path, error) from None
        values = np.asarray(read.data.real, dtype=np.float64) * data.scales[band - 1] + data.offsets[band - 1]
        down, right = np.meshgrid(
            (np.arange(rows) + 0.5) * data.height / rows, (np.arange(columns) + 0.5) * data.width / columns,
            indexing="ij",
        )  # fmt: skip
        return (
            values.ravel(),
            (~np.ma.getmaskarray(read) & np.isfinite(values)).ravel(),
            self._place(right.ravel(), down.ravel()),
        )

    def place_of(self, row: int, column: int) -> tuple[float, float] | None:
        """Return longitude and latitude of a pixel's middle."""
        ((x, y),) = transform(self._place(np.array([column + 0.5]), np.array([row + 0.5])), self.crs)
        return (float(x), float(y)) if np.isfinite([x, y]).all() else None

    def _default_how(self, band: int) -> How:
        classes = self._data.dtypes[band - 1] in ("uint8", "int8") or ColorInterp.palette in self._data.colorinterp
        return "mode" if classes else "mean"

    def samples_a_side(self, resolution: int) -> int:
        """Return how many points a side a pixel needs so that no cell within it is missed."""
        data = self._data
        row, column = data.height / 2, data.width / 2
        corner = self._place(np.array([column, column + 1, column]), np.array([row, row, row + 1]))
        degrees = transform(corner, self.crs)
        if not np.isfinite(degrees).all():
            return 1
        (x, y), *others = degrees
        metres = max(
            math.hypot((ox - x) * 111_195 * math.cos(math.radians(y)), (oy - y) * 111_195) for ox, oy in others
        )
        # Half a cell's edge is well inside its smallest width.
        edge = float(h3.average_hexagon_edge_length(resolution, unit="m"))
        return max(1, min(MOST_SAMPLES, math.ceil(metres / (edge * 0.8))))

    def _place(self, columns: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return where columns and rows lie, counted from the upper left corner, in the raster's own CRS."""
        to = self._data.transform
        return np.column_stack([to.a * columns + to.b * rows + to.c, to.d * columns + to.e * rows + to.f])

    def _windows(self, fine: int) -> Iterator[Window]:
        """Yield windows on the raster's own blocks, of about a million samples each."""
        data = self._data
        high, wide = data.block_shapes[0]
        side = max(1, SIDE // fine)
        rows = max(high, side // high * high)
        columns = max(wide, side // wide * wide)
        # A strip as wide as the raster is cut to fewer rows, but never below its own height.
        rows = max(high, min(rows, side * side // columns // high * high or high))
        for top in range(0, data.height, rows):
            for left in range(0, data.width, columns):
                yield Window(left, top, min(columns, data.width - left), min(rows, data.height - top))

    def cells(
        self, block: Block, where: Mask, fine: int, resolution: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the cells of some pixels of a block, with their values; `fine` times `fine` points stand for each
        pixel.
        """
        window = block.window
        row, column = np.nonzero(where)
        value = block.values[row, column]
        steps = (np.arange(fine) + 0.5) / fine
        down, right = (a.ravel() for a in np.meshgrid(steps, steps, indexing="ij"))
        rows = (row[:, None] + window.row_off + down).ravel()
        columns = (column[:, None] + window.col_off + right).ravel()
        place = transform(self._place(columns, rows), self.crs)
        on_earth = np.isfinite(place).all(axis=1)
        cells = point_cells(place[on_earth, 0], place[on_earth, 1], resolution)
        return cells, np.repeat(value, fine * fine)[on_earth]

    def close(self) -> None:
        """Close the file and remove what was unpacked."""
        self._data.close()
        super().close()


def _dtype(name: str) -> str:
    # Complex integers exist in GDAL alone.
    return "complex64" if name.startswith("complex_") else name

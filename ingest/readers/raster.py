"""GeoTIFF rasters: described, copied as Cloud-Optimised GeoTIFF, and sampled to H3 cells, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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

from ingest.limits import exceeded
from ingest.readers.source import CRS_IN_FILE, CRS_SILENT, FileReader, ReadOptions, cannot_read
from twin.cells import point_cells
from twin.crs import to_wgs84, transform
from twin.errors import BadInput
from twin.text import Text

How = Literal["mean", "mode"]

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
MOST_SAMPLES = 16
PENDING = 4_000_000


@dataclass(frozen=True, slots=True)
class Description:
    """What a raster is: its size, place, values. `bounds` are in its own CRS, `outline` in longitude and latitude."""

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
    colours: bool
    overviews: int
    cloud_optimised: bool


@dataclass(frozen=True, slots=True)
class CellValues:
    """Values of cells, ascending by cell: the mean or the most frequent value, and how many samples it rests on."""

    cell: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    samples: npt.NDArray[np.int64]
    how: How


class RasterReader(FileReader):
    """An opened GeoTIFF. Nothing is decoded until it is asked for, and then block by block."""

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
        self.say_crs(found, CRS_IN_FILE if found is not None else CRS_SILENT)
        self.layer, self.layers = path.stem, (path.stem,)
        self.count = data.count

    def describe(self) -> Description:
        """What the raster is, without reading its pixels."""
        data = self._data
        bounds = tuple(float(v) for v in data.bounds)
        return Description(
            driver=self.driver, width=data.width, height=data.height, bands=data.count, dtypes=tuple(data.dtypes),
            nodata=tuple(data.nodatavals), crs=self.crs, crs_reason=self.crs_reason,
            bounds=(bounds[0], bounds[1], bounds[2], bounds[3]), outline=self._outline(),
            pixel=(float(data.res[0]), float(data.res[1])), block=tuple(data.block_shapes[0]),
            band_names=tuple(data.descriptions), colours=ColorInterp.palette in data.colorinterp,
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
        """Write the raster as a Cloud-Optimised GeoTIFF; `target` appears when it is whole."""
        unfinished = target.with_name(f".{target.name}.part")
        average = all(np.dtype(_dtype(t)).kind == "f" for t in self._data.dtypes)
        try:
            with rasterio.Env(**SETTINGS):
                rasterio.shutil.copy(
                    self._data, unfinished, driver="COG", compress="DEFLATE", predictor="YES", bigtiff="IF_SAFER",
                    overview_resampling="AVERAGE" if average else "NEAREST", num_threads=1,
                )  # fmt: skip
            unfinished.replace(target)
        except ERRORS as error:
            raise cannot_read(self.path, error) from None
        finally:
            for left in target.parent.glob(f"{unfinished.name}*"):
                left.unlink(missing_ok=True)

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
        how = how or self._default_how(band)
        tally = _Tally(how)
        fine = self._samples_a_side(resolution)
        try:
            with rasterio.Env(**SETTINGS):
                for window in self._windows(fine):
                    values = self._data.read(band, window=window, masked=True)
                    known = ~np.ma.getmaskarray(values) & np.isfinite(values.data)
                    if known.any():
                        tally.add(*self._cells(window, values.data, known, fine, resolution))
        except ERRORS as error:
            raise cannot_read(self.path, error) from None
        return tally.result()

    def _default_how(self, band: int) -> How:
        classes = self._data.dtypes[band - 1] in ("uint8", "int8") or ColorInterp.palette in self._data.colorinterp
        return "mode" if classes else "mean"

    def _samples_a_side(self, resolution: int) -> int:
        """How many points a side a pixel needs so that no cell within it is missed."""
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
        return max(
            1, min(MOST_SAMPLES, math.ceil(metres / (h3.average_hexagon_edge_length(resolution, unit="m") * 0.8)))
        )

    def _place(self, columns: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Where columns and rows lie, counted from the upper left corner, in the raster's own CRS."""
        to = self._data.transform
        return np.column_stack([to.a * columns + to.b * rows + to.c, to.d * columns + to.e * rows + to.f])

    def _windows(self, fine: int) -> Iterator[Window]:
        """Windows on the raster's own blocks, of about a million samples each."""
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

    def _cells(
        self, window: Window, values: npt.NDArray[Any], known: npt.NDArray[np.bool_], fine: int, resolution: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        row, column = np.nonzero(known)
        value = values[row, column].astype(np.float64)
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


class _Tally:
    """Sums or counts of cells, gathered from many blocks; memory follows the number of cells."""

    def __init__(self, how: How) -> None:
        self.how = how
        self._parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]] = []
        self._pending = 0

    def add(self, cells: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        part = self._gather(cells, values, np.ones(len(cells), np.int64))
        self._parts.append(part)
        self._pending += len(part[0])
        if self._pending > PENDING:
            self._parts = [self._merged()]
            self._pending = 0

    def _gather(
        self, cells: npt.NDArray[np.int64], values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """One row a cell with the sum of its values; for the mode, one row a cell and value."""
        by_value = self.how == "mode"
        order = np.lexsort((values, cells)) if by_value else np.argsort(cells, kind="stable")
        cells, values, counts = cells[order], values[order], counts[order]
        if not len(cells):
            return cells, values, counts
        new = np.r_[True, cells[1:] != cells[:-1]]
        if by_value:
            new |= np.r_[True, values[1:] != values[:-1]]
        starts = np.flatnonzero(new)
        totals = values[starts] if by_value else np.add.reduceat(values, starts)
        return cells[starts], totals, np.add.reduceat(counts, starts)

    def _merged(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        if not self._parts:
            return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        cells, values, counts = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        return self._gather(cells, values, counts)

    def result(self) -> CellValues:
        cells, values, counts = self._merged()
        if self.how == "mean":
            return CellValues(cells, values / np.maximum(counts, 1), counts, self.how)
        if not len(cells):
            return CellValues(cells, values, counts, self.how)
        starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
        totals = np.add.reduceat(counts, starts)
        # Within a cell the most frequent value first; of equally frequent ones, the smaller.
        order = np.lexsort((values, -counts, cells))
        return CellValues(cells[starts], values[order][starts], totals, self.how)

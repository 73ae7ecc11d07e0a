"""A raster whose file is read by another process; to those who use it, a raster like any other."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from ingest.apart.started import ReadingEnded, ReadingProcess
from ingest.readers.raster import RASTERS_FULL, Block, Floats, Mask, RasterReader
from ingest.readers.source import ReadOptions
from twin.errors import Unavailable

COPY = "copy.tif"


def facts_of(reader: RasterReader) -> dict[str, Any]:
    """Return what the methods of a raster ask of its file, but for the pixels, as plain values."""
    data = reader._data
    return {
        "width": data.width, "height": data.height, "count": data.count, "dtypes": tuple(data.dtypes),
        "nodatavals": tuple(data.nodatavals), "bounds": tuple(map(float, data.bounds)), "res": tuple(data.res),
        "block_shapes": tuple(data.block_shapes), "descriptions": tuple(data.descriptions), "units": tuple(data.units),
        "scales": tuple(data.scales), "offsets": tuple(data.offsets), "transform": tuple(data.transform)[:6],
        "colorinterp": tuple(int(kind) for kind in data.colorinterp), "overviews": tuple(data.overviews(1)),
        "structure": dict(data.tags(ns="IMAGE_STRUCTURE")),
    }  # fmt: skip


class ApartRaster(RasterReader):
    """A GeoTIFF that another process has opened: pixels come from there, what is computed of them is computed here."""

    def __init__(
        self, process: ReadingProcess, path: Path, options: ReadOptions, attributes: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.path, self.options, self.limits = path, options, options.limits
        self._folders = []
        self._process = process
        overviews, structure = facts["overviews"], facts["structure"]
        self._data = SimpleNamespace(
            **{
                **facts,
                "transform": Affine(*facts["transform"]),
                "colorinterp": [ColorInterp(kind) for kind in facts["colorinterp"]],
                "overviews": lambda _band: list(overviews),
                "tags": lambda ns: structure,
                "close": process.close,
            }
        )
        self.crs, self.crs_reason = attributes["crs"], attributes["crs_reason"]
        self.layer, self.layers = attributes["layer"], attributes["layers"]
        self.count = attributes["count"]

    def blocks(self, band: int = 1, fine: int = 1) -> Iterator[Block]:
        """Read a band part by part; see `RasterReader.blocks`."""
        for window, values, known, finite in self._process.items("blocks", band, fine):
            yield Block(Window(*window), values, known, finite)

    def overview(self, band: int = 1, side: int = 256) -> tuple[Floats, Mask, Floats]:
        """Read pixels spread over a band; see `RasterReader.overview`."""
        self._process.send("overview", band, side)
        _, values, known, places = self._process.receive()
        return values, known, places

    def to_cog(self, target: Path) -> None:
        """Let the other process write the copy in its own folder, and take it from there."""
        self._process.send("cog", self.crs, COPY)
        self._process.receive()
        unfinished = target.with_name(f".{target.name}.part")
        try:
            with _regular(self._process.folder / COPY) as made, unfinished.open("wb") as copy:
                shutil.copyfileobj(made, copy, 1 << 20)
            unfinished.replace(target)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(RASTERS_FULL.format(folder=target.parent)) from None
            raise
        finally:
            unfinished.unlink(missing_ok=True)


def _regular(path: Path) -> Any:
    """Open a file that the other process has made. A link in its place would lead to what it may not read itself."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ReadingEnded from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ReadingEnded
    return os.fdopen(handle, "rb")

"""The sample city's ground as a GeoTIFF, as a surveyor would hand it in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from ingest.sample.city import SampleCity

# About 22 m, several pixels in each cell of the theme.
PIXEL_DEGREES = 0.0002
NO_DATA = -9999.0
ROWS = 256


@contextmanager
def terrain_file(city: SampleCity) -> Iterator[Path]:
    """Write the ground in metres (EPSG:4326), band by band of rows; the file is removed in the end."""
    west, south, east, north = city.bounds
    width, height = (max(1, round(span / PIXEL_DEGREES)) for span in (east - west, north - south))
    with tempfile.TemporaryDirectory(prefix="twin-terrain-") as folder:
        path = Path(folder) / "elevation.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=1, dtype="float32", nodata=NO_DATA,
            crs="EPSG:4326", transform=from_origin(west, north, PIXEL_DEGREES, PIXEL_DEGREES), compress="deflate",
        ) as file:  # fmt: skip
            file.units = ("m",)
            longitude = west + (np.arange(width) + 0.5) * PIXEL_DEGREES
            for top in range(0, height, ROWS):
                rows = min(ROWS, height - top)
                latitude = north - (top + np.arange(rows) + 0.5) * PIXEL_DEGREES
                ground = city.elevation(*np.meshgrid(longitude, latitude))
                known = np.where(np.isfinite(ground), ground, NO_DATA).astype(np.float32)
                file.write(known, 1, window=Window(0, top, width, rows))
        yield path

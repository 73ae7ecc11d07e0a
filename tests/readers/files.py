"""Small files of every format, written by the tests themselves."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely

from ingest.readers.opening import open_file
from ingest.readers.source import PROBLEM, Reader, ReadOptions

LOTS = gpd.GeoDataFrame(
    {"ten": ["Bến Nghé", "Bến Thành", "Đa Kao"], "so": [1, 2, 3], "cao": [10.5, 3.25, 7.0]},
    geometry=[shapely.box(106.70 + i / 100, 10.77, 106.705 + i / 100, 10.775) for i in range(3)],
    crs=4326,
)


def write(path: Path, driver: str, frame: gpd.GeoDataFrame = LOTS, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.write_dataframe(frame, path, driver=driver, **options)
    return path


def pack(path: Path, files: Iterable[Path]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def read(path: Path, rows: int = 1000, **options: Any) -> tuple[Reader, gpd.GeoDataFrame]:
    """Open a file, read all of it, and close it again."""
    with closing(open_file(path, ReadOptions(**options))) as reader:
        batches = list(reader.batches(rows))
        assert all(len(batch) <= rows for batch in batches)
        return reader, gpd.GeoDataFrame(pd.concat(batches, ignore_index=True), geometry="geometry")


def problems(frame: gpd.GeoDataFrame) -> list[str | None]:
    """The reason of each row's problem, without its detail."""
    return [None if p is None else p.partition(":")[0] for p in frame[PROBLEM]]


def geojson(path: Path, features: list[dict[str, Any]], **members: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return path


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}

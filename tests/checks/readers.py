"""A reader of what is already in memory, for the tests of the checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio

from ingest.readers.source import Pick
from layers.theme import FieldType
from twin.text import Text

SAYS = Text(en="the file says so", vi="tệp ghi như vậy")
SILENT = Text(en="the file does not say", vi="tệp không ghi")


@dataclass
class Memory:
    """A file in memory, as readers give it."""

    frame: gpd.GeoDataFrame
    crs: Any = 4326
    raw_text: bool = False
    format: str = "GeoPackage"
    driver: str = "GPKG"
    layer: str | None = "layer"
    layers: tuple[str, ...] = ("layer",)
    encoding: str | None = None
    encoding_reason: Text = SAYS
    path: Path = Path("layer.gpkg")
    solids: tuple[str, ...] = ()
    has_geometry: bool = True
    columns: Mapping[str, FieldType] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = {
            str(c): _type(self.frame[c]) for c in self.frame.columns if c != self.frame.geometry.name
        }  # fmt: skip

    @property
    def crs_reason(self) -> Text:
        return SILENT if self.crs is None else SAYS

    @property
    def count(self) -> int:
        return len(self.frame)

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        for start in range(0, len(self.frame), rows):
            yield self.frame.iloc[start : start + rows].reset_index(drop=True)

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        for batch in self.batches(rows):
            yield batch.iloc[pick(len(batch))], len(batch)


def _type(values: pd.Series) -> FieldType:
    kind = values.dtype.kind
    return "integer" if kind in "iu" else "number" if kind == "f" else "boolean" if kind == "b" else "text"


def memory(columns: Mapping[str, list[Any]], geometry: list[Any], **more: Any) -> Memory:
    shapes = np.empty(len(geometry), dtype=object)
    shapes[:] = geometry
    return Memory(gpd.GeoDataFrame(pd.DataFrame(columns), geometry=shapes), **more)


def opened(path: Path, **more: Any) -> Memory:
    """A file, all of it."""
    frame = pyogrio.read_dataframe(path)
    more.setdefault("crs", frame.crs)
    return Memory(frame.set_crs(None, allow_override=True), path=Path(path), **more)

"""Tables with coordinates: CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.readers.source import cannot_read, missing_columns
from ingest.spec import Source
from layers.theme import FieldType
from twin.errors import BadInput
from twin.text import Text


class CsvReader:
    """A CSV file whose rows are points; every column is text until a field gives it a type."""

    def __init__(self, path: Path, source: Source) -> None:
        if source.longitude is None or source.latitude is None:
            raise BadInput(
                Text(
                    en="{file} is a table: say which columns hold the coordinates (longitude = …, latitude = …).",
                    vi="{file} là bảng: hãy cho biết cột tọa độ (longitude = …, latitude = …).",
                ).format(file=path.name)
            )
        self.path = path
        self._encoding = source.encoding or "utf-8-sig"
        self._x, self._y = source.longitude, source.latitude
        self.crs = source.crs or 4326
        header = self._read(nrows=0)
        self.columns: Mapping[str, FieldType] = dict.fromkeys(header.columns, "text")
        missing_columns(path, {self._x, self._y}, self.columns)

    def _read(self, **options: object) -> pd.DataFrame:
        try:
            return pd.read_csv(
                self.path,
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                encoding=self._encoding,
                **options,
            )
        except (ValueError, OSError) as error:
            raise cannot_read(self.path, error) from error

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` rows at a time; a row without both coordinates has no geometry."""
        chunks = iter(self._read(chunksize=rows))
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except (ValueError, OSError) as error:
                raise cannot_read(self.path, error) from error
            x = pd.to_numeric(chunk[self._x], errors="coerce").to_numpy()
            y = pd.to_numeric(chunk[self._y], errors="coerce").to_numpy()
            known = np.isfinite(x) & np.isfinite(y)
            geometry = np.full(len(chunk), None, dtype=object)
            geometry[known] = shapely.points(x[known], y[known])
            yield gpd.GeoDataFrame(chunk.reset_index(drop=True), geometry=geometry)

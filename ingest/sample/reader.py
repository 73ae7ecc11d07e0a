"""The sample city's layers, given as readers give files: drawn when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np

from ingest.frames import objects
from ingest.readers.source import CRS_OF_FORMAT, UNICODE, FeatureReader, ReadOptions, make_batch
from ingest.sample.city import SampleLayer
from layers.theme import FieldType, Theme
from twin.crs import parse_crs


class SampleReader(FeatureReader):
    """A layer of the sample city, with the columns of its theme and `id`, in EPSG:4326."""

    format = "sample city"
    driver = "sample"
    encoding_reason = UNICODE

    def __init__(self, layer: SampleLayer, theme: Theme) -> None:
        super().__init__(Path(layer.name), ReadOptions())
        self._layer = layer
        self.layer, self.layers = layer.name, (layer.name,)
        self.columns: Mapping[str, FieldType] = {"id": "text", **{f.name: f.type for f in theme.fields}}
        self.crs, self.crs_reason = parse_crs(4326), CRS_OF_FORMAT

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Draw the features, one tile of the city after the other, at most `rows` at a time."""
        for drawn in self._layer.batches():
            for start in range(0, len(drawn), rows):
                some = drawn.iloc[start : start + rows]
                nothing = objects(None, len(some))
                columns = {
                    name: some[name].reset_index(drop=True) if name in some else nothing for name in self.columns
                }
                yield make_batch(columns, np.asarray(some.geometry.values, dtype=object))

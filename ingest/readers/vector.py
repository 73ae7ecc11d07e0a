"""Vector files through GDAL: GeoJSON, GeoPackage, Shapefile, FlatGeobuf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import geopandas as gpd
import pyogrio

from ingest.readers.source import cannot_read
from ingest.spec import Source
from layers.theme import FieldType
from twin.errors import BadInput
from twin.text import Text

DRIVERS = frozenset({"GeoJSON", "GPKG", "ESRI Shapefile", "FlatGeobuf", "GeoJSONSeq"})


class VectorReader:
    """A file that GDAL reads, if its driver is one of those allowed."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self._encoding = source.encoding
        try:
            info = pyogrio.read_info(path, encoding=source.encoding)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
            raise cannot_read(path, error) from error
        if info["driver"] not in DRIVERS:
            raise BadInput(
                Text(
                    en="{file} is of the format {driver}, which is not accepted. Accepted: {known}.",
                    vi="{file} có định dạng {driver}, không được chấp nhận. Chấp nhận: {known}.",
                ).format(file=path.name, driver=info["driver"], known=", ".join(sorted(DRIVERS)))
            )
        self.columns: Mapping[str, FieldType] = {
            name: _type(dtype) for name, dtype in zip(info["fields"], info["dtypes"], strict=True)
        }
        self.crs = source.crs or info["crs"] or 4326

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` features at a time, by Arrow where the driver can."""
        start = 0
        while True:
            try:
                batch = pyogrio.read_dataframe(
                    self.path,
                    skip_features=start,
                    max_features=rows,
                    encoding=self._encoding,
                    use_arrow=False,
                )
            except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, ValueError) as error:
                raise cannot_read(self.path, error) from error
            if len(batch):
                yield batch
            if len(batch) < rows:
                return
            start += rows


def _type(dtype: str) -> FieldType:
    if dtype.startswith(("int", "uint")):
        return "integer"
    if dtype.startswith("float"):
        return "number"
    if dtype == "bool":
        return "boolean"
    return "text"

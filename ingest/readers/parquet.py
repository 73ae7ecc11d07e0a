"""GeoParquet, and Parquet tables with coordinates, read by row group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS

from ingest.readers.arrow import column_type, to_series
from ingest.readers.geoarrow import NATIVE, from_native, is_native
from ingest.readers.limits import exceeded
from ingest.readers.source import (
    CRS_IN_FILE,
    CRS_OF_FORMAT,
    CRS_SILENT,
    FeatureReader,
    ReadOptions,
    cannot_read,
    check_columns,
    choose_layer,
    make_batch,
    unique_names,
)
from ingest.readers.table import find_place, points
from ingest.readers.wkb import from_wkb, from_wkt
from twin.errors import BadInput
from twin.text import Text

ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)


class ParquetReader(FeatureReader):
    """A GeoParquet file with its geometry as WKB; without the "geo" entry, a table with coordinates or WKT."""

    driver = "pyarrow"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        try:
            self._file = pq.ParquetFile(path, buffer_size=1 << 20, thrift_string_size_limit=64 << 20)
            schema = self._file.schema_arrow
        except ERRORS:
            raise self._unreadable() from None
        check_columns(path.name, schema.names, self.limits)
        metadata = self._file.metadata
        self.count = metadata.num_rows
        if (
            sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
            > self.limits.unpacked_bytes
        ):
            raise exceeded(path.name, self.limits, "unpacked_bytes")
        self._geometry: str | None = None
        self._native: str | None = None
        # A column of boxes that only helps programs to find rows; its numbers are those of the geometry.
        self._covering: str | None = None
        if b"geo" in (schema.metadata or {}):
            self.format = "GeoParquet"
            self._read_geo(schema, schema.metadata[b"geo"])
        else:
            self.format = "Parquet"
            self.layer, self.layers = path.stem, (path.stem,)
            self._read_table(schema)
        if len(set(schema.names)) < len(schema.names):
            raise cannot_read(
                path,
                Text(en="two of its columns have one name; rename one", vi="có hai cột trùng tên; hãy đổi tên một cột"),
            )
        self._fields = [f.name for f in schema if f.name not in (self._geometry, self._covering)]
        self._names = unique_names(self._fields)
        self.columns = {
            name: column_type(schema.field(field).type) for field, name in zip(self._fields, self._names, strict=True)
        }

    def _read_geo(self, schema: pa.Schema, stored: bytes) -> None:
        try:
            geo = json.loads(stored)
            described = {n: c for n, c in geo["columns"].items() if n in schema.names}
            primary = str(geo["primary_column"])
        except (*ERRORS, AttributeError):
            raise cannot_read(
                self.path,
                Text(
                    en="its description of the geometry (“geo”) is not that of a GeoParquet; write it anew",
                    vi="phần mô tả hình học (“geo”) không đúng chuẩn GeoParquet; hãy ghi lại tệp",
                ),
            ) from None
        # Several columns of geometry are several layers of the file.
        self.layers = tuple(described)
        wanted = self.options.layer or (primary if primary in described else None)
        self._geometry = self.layer = choose_layer(self.path.name, self.layers, wanted)
        column: dict[str, Any] = described[self._geometry]
        encoding = str(column.get("encoding", "WKB")).upper()
        if encoding != "WKB":
            self._native = encoding
            if encoding not in NATIVE or not is_native(schema.field(self._geometry).type, encoding):
                raise cannot_read(
                    self.path,
                    Text(
                        en="its geometry is not WKB; write it with geometry_encoding=WKB",
                        vi="hình không ở dạng WKB; hãy ghi với geometry_encoding=WKB",
                    ),
                )
        covering = _covering(column)
        if covering in schema.names and pa.types.is_struct(schema.field(covering).type):
            self._covering = covering
        if "crs" not in column:
            self.set_crs_of_file(4326, CRS_OF_FORMAT)
        elif column["crs"] is None:
            self.set_crs_of_file(None, CRS_SILENT)
        else:
            try:
                self.set_crs_of_file(CRS.from_json_dict(column["crs"]), CRS_IN_FILE)
            except (RuntimeError, ValueError, TypeError):
                self.set_crs_of_file(
                    None, Text(en="the file's coordinate system is not readable", vi="không đọc được hệ tọa độ của tệp")
                )

    def _read_table(self, schema: pa.Schema) -> None:
        first = next(self._file.iter_batches(batch_size=1), None)
        texts = [f.name for f in schema if column_type(f.type) == "text" and not pa.types.is_timestamp(f.type)]
        sample = {f: str(first.column(f)[0].as_py()) for f in texts} if first is not None and first.num_rows else {}
        self._place = find_place(self.path, schema.names, self.options, sample)
        self._geometry = self._place.wkt
        self.set_crs_of_file(4326 if self._place.degrees else None, CRS_SILENT)

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` rows at a time, pages of one row group after another."""
        try:
            for batch in self._file.iter_batches(batch_size=rows, use_threads=False):
                yield self._batch(batch)
        except ERRORS:
            raise self._unreadable() from None

    def _batch(self, batch: pa.RecordBatch) -> gpd.GeoDataFrame:
        problems = np.full(batch.num_rows, None, dtype=object)
        raw = np.full(batch.num_rows, None, dtype=object)
        if self._geometry is not None:
            stored = batch.column(self._geometry)
            if isinstance(stored, pa.ExtensionArray):
                stored = stored.storage
            if self._native is not None:
                shapes, problems, raw = from_native(stored, self._native, self.limits)
            else:
                texts = pa.types.is_string(stored.type) or pa.types.is_large_string(stored.type)
                read = from_wkt if texts else from_wkb
                shapes, problems, raw = read(stored.to_numpy(zero_copy_only=False), self.limits)
        values = {
            name: to_series(batch.column(field), name, self.limits, problems)
            for field, name in zip(self._fields, self._names, strict=True)
        }
        if self._geometry is None:
            place = dict(zip(self._fields, self._names, strict=True))
            shapes = points(values[place[str(self._place.x)]], values[place[str(self._place.y)]])
        return make_batch(values, shapes, problems, raw)

    def _unreadable(self) -> BadInput:
        return cannot_read(
            self.path,
            Text(
                en="the Parquet file is damaged or cut off; write it anew, or send it as GeoPackage",
                vi="tệp Parquet bị hỏng hoặc bị cụt; hãy ghi lại, hoặc gửi dạng GeoPackage",
            ),
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _covering(column: dict[str, Any]) -> str | None:
    """Return the column that the file names as the boxes of its geometries (GeoParquet 1.1)."""
    try:
        return str(column["covering"]["bbox"]["xmin"][0])
    except (KeyError, IndexError, TypeError):
        return None

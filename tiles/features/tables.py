"""Features as tables: CSV that is safe to open in a spreadsheet, FlatGeobuf, GeoParquet; written batch by batch."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from layers.theme import GeometryKind
from tiles.features.statement import AFTER_FID
from tiles.features.streaming import Chunks
from twin.catalogue.catalogue import Column
from twin.query.reference import WGS84, Reference
from twin.spreadsheets import cell

RowQuery = Sequence[Sequence[Any]]
RowBatches = AsyncGenerator[RowQuery, None]

ARROW: dict[str, pa.DataType] = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(), "time": pa.timestamp("ms", tz="UTC"),
}  # fmt: skip
CHUNK = 256 * 1024
# By this mark at the beginning, Excel knows UTF-8.
BYTE_ORDER_MARK = "\ufeff"
PARQUET_ROWS = 20_000
RecordBatches = AsyncGenerator[pa.RecordBatch, None]


# CSV -----------------------------------------------------------------------------------------------


async def as_csv(
    rows: RowBatches, keys: int, columns: Sequence[Column], kind: GeometryKind, of: Reference, mark: str = ""
) -> Chunks:
    """Rows as CSV (RFC 4180, UTF-8): the id, the properties, coordinates of points, the geometry as WKT."""
    start_mark = mark.encode()
    start = AFTER_FID + keys
    axes = ("longitude", "latitude") if of.is_wgs84 else ("x", "y")
    points = list(axes) if kind == "point" else []
    taken = {c.name for c in columns}
    wkt = next(name for name in ("wkt", "geometry_wkt", "_wkt") if name not in taken)
    # Named by what they are, so that the order of axes is no question here.
    points = [name if name not in taken else f"geometry_{name}" for name in points]
    out: list[list[Any]] = [["id", *(c.name for c in columns), *points, wkt]]
    async with aclosing(rows):
        async for batch in rows:
            shapes = of.from_wgs84(_shapes(batch), in_own_order=False)
            texts = shapely.to_wkt(shapes, rounding_precision=of.digits)
            single = shapely.get_type_id(shapes) == 0
            xy = np.column_stack([shapely.get_x(shapes), shapely.get_y(shapes)])
            for i, row in enumerate(batch):
                where = (xy[i].tolist() if single[i] else ["", ""]) if points else []
                out.append([*(cell(value) for value in row[start:-1]), *where, texts[i]])
            yield start_mark + _written(out)
            out, start_mark = [], b""
    if out:
        yield start_mark + _written(out)


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _shapes(rows: RowQuery) -> Any:
    return shapely.from_wkb(np.array([row[-1] for row in rows], dtype=object))


# Arrow ---------------------------------------------------------------------------------------------


def _schema(columns: Sequence[Column], metadata: dict[bytes, bytes] | None = None) -> pa.Schema:
    fields = [pa.field("id", pa.string()), *(pa.field(c.name, ARROW[c.type]) for c in columns)]
    of_geometry = {b"ARROW:extension:name": b"geoarrow.wkb"} if metadata is None else None
    return pa.schema([*fields, pa.field(_geometry_name(columns), pa.binary(), metadata=of_geometry)], metadata)


def _geometry_name(columns: Sequence[Column]) -> str:
    return "geometry" if "geometry" not in {c.name for c in columns} else "geom"


def _batch(rows: RowQuery, keys: int, schema: pa.Schema, of: Reference) -> pa.RecordBatch:
    # Formats of Arrow put x before y in every system.
    wkb = [row[-1] for row in rows]
    if not of.is_wgs84:
        wkb = list(shapely.to_wkb(of.from_wgs84(_shapes(rows), in_own_order=False)))
    values = list(zip(*(row[AFTER_FID + keys : -1] for row in rows), strict=True))
    arrays = [pa.array(v, f.type) for v, f in zip([*values, wkb], schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


async def as_geoparquet(
    rows: RowBatches, keys: int, columns: Sequence[Column], of: Reference, metadata: Mapping[str, str] | None = None
) -> Chunks:
    """Rows as GeoParquet 1.1 (WKB), a row group at a time, sent as it is written; `metadata` describes the file."""
    name = _geometry_name(columns)
    about: dict[str, Any] = {"encoding": "WKB", "geometry_types": []}
    if not (of.is_wgs84 and of == WGS84):
        about["crs"] = json.loads(CRS.from_epsg(of.code).to_json())
    geo = {"version": "1.1.0", "primary_column": name, "columns": {name: about}}
    words = {name.encode(): text.encode() for name, text in (metadata or {}).items()}
    schema = _schema(columns, {b"geo": json.dumps(geo).encode(), **words})

    async def batches() -> RecordBatches:
        async with aclosing(rows):
            async for some in rows:
                yield await asyncio.to_thread(_batch, some, keys, schema, of)

    async with aclosing(write_parquet(batches(), schema)) as written:
        async for chunk in written:
            yield chunk


async def write_parquet(batches: RecordBatches, schema: pa.Schema) -> Chunks:
    """Batches as Parquet, a row group at a time, sent as it is written."""
    sink = Sink()
    writer = await asyncio.to_thread(pq.ParquetWriter, sink, schema, compression="zstd")
    waiting: list[pa.RecordBatch] = []

    def write() -> None:
        writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=PARQUET_ROWS)
        waiting.clear()

    async with aclosing(batches):
        async for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= PARQUET_ROWS:
                await asyncio.to_thread(write)
                yield sink.taken()
    if waiting:
        await asyncio.to_thread(write)
    await asyncio.to_thread(writer.close)
    yield sink.taken()


class Sink(io.RawIOBase):
    """A file that only grows, whose beginning may be taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Return how much was written in all."""
        return self._position

    def write(self, data: Any) -> int:
        """Add to the end."""
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def as_flatgeobuf(rows: RowBatches, keys: int, columns: Sequence[Column], of: Reference) -> Chunks:
    """Rows as FlatGeobuf with its spatial index: written to a temporary file first, for the index comes before them."""
    with tempfile.TemporaryDirectory(prefix="twin-") as folder:
        path = Path(folder) / "features.fgb"
        await write_with_gdal(
            rows, keys, columns, of, path, driver="FlatGeobuf", layer="features", SPATIAL_INDEX="YES",
            TEMPORARY_DIR=folder,
        )  # fmt: skip
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk


async def write_with_gdal(
    rows: RowBatches, keys: int, columns: Sequence[Column], of: Reference, path: Path, **options: Any
) -> None:
    """Write rows into a file by one of GDAL's drivers, batch by batch, in a thread; `options` are pyogrio's."""
    schema = _schema(columns)
    loop = asyncio.get_running_loop()
    given_up = False
    failures: list[Exception] = []

    async def following() -> RowQuery | None:
        try:
            return None if given_up else await anext(rows, None)
        except Exception as error:
            # On its way through the writer it would lose its kind.
            failures.append(error)
            return None

    def arrow_batches() -> Iterator[pa.RecordBatch]:
        while (batch := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield _batch(batch, keys, schema, of)

    def write() -> None:
        # Loads GDAL, and pandas with it, which nothing else here needs.
        import pyogrio

        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, arrow_batches()), path, geometry_name=_geometry_name(columns),
            geometry_type="Unknown", crs=f"EPSG:{of.code}", **options,
        )  # fmt: skip

    async with aclosing(rows):
        writing = asyncio.ensure_future(asyncio.to_thread(write))
        try:
            await asyncio.shield(writing)
        except BaseException:
            # A thread cannot be stopped; it ends when there is nothing more to write.
            given_up = True
            with anyio.CancelScope(shield=True):
                await asyncio.wait([writing])
            raise
        if failures:
            raise failures[0]

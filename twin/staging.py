"""A version being made: staged in tables of its own, filled by COPY, indexed, then swapped in."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import shapely
import sqlalchemy as sa
from adbc_driver_manager import Error as AdbcError
from geoalchemy2.shape import from_shape

from twin import __version__
from twin.catalogue import Column, split_layer_id
from twin.cells import Cover, cover
from twin.db.database import DISK_FULL, Database
from twin.db.tables import DATA_SCHEMA, Layer, LayerVersion, Quarantine, State
from twin.errors import Conflict, Unavailable
from twin.rasters import RasterFolder, digest_of
from twin.text import Text
from twin.versions import abandon, lock, point_to, qualified, retire

SQL_TYPES = {
    "text": "text", "integer": "bigint", "number": "double precision",
    "boolean": "boolean", "date": "date", "time": "timestamptz",
}  # fmt: skip
ARROW_TYPES = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(), "time": pa.timestamp("us", tz="UTC"),
}  # fmt: skip

# Batches that may wait to be copied, and the size of one that is worth a process of its own to cover.
AHEAD = 2
WORTH_A_PROCESS = 20_000

# Replace all features; replace those of the same id and add the others; only add.
Mode = Literal["replace", "upsert", "append"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version comes from: who publishes it, from which file, why."""

    actor: str
    source: str
    sha256: str | None = None
    fingerprint: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a version's tables look like; `label` is the column whose text is written inside polygons, if any."""

    columns: tuple[Column, ...]
    resolution: int
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a publish came to. `unchanged`: the content equals the current version's, and no new one was made."""

    layer: str
    number: int
    features: int
    cells: int
    quarantined: int
    unchanged: bool = False
    retired: tuple[int, ...] = ()


@dataclass
class _Tally:
    """What is measured while a version is filled, so that nothing needs to be scanned afterwards."""

    features: int = 0
    cells: int = 0
    quarantined: int = 0
    digest: int = 0
    bounds: list[float] = field(default_factory=lambda: [np.inf, np.inf, -np.inf, -np.inf])

    def add(self, features: gpd.GeoDataFrame, row_hashes: npt.NDArray[np.uint64]) -> None:
        self.features += len(features)
        # Stored as signed numbers; shifted to positive ones, their sum is the same here and in SQL.
        signed = row_hashes.view(np.int64)
        self.digest = (self.digest + int(signed.astype(object).sum()) + len(signed) * 2**63) % 2**64
        west, south, east, north = features.total_bounds
        b = self.bounds
        self.bounds = [min(b[0], west), min(b[1], south), max(b[2], east), max(b[3], north)]

    def content(self, shape: Shape, raster: Mapping[str, Any] | None = None) -> str:
        columns = ",".join(f"{c.name}:{c.type}" for c in shape.columns)
        text = f"{self.features}/{self.digest:016x}/{self.quarantined}/{shape.resolution}/{columns}"
        if raster is not None:
            text += f"/{raster['sha256']}"
        return hashlib.sha256(text.encode()).hexdigest()


class _Work:
    """What goes on beside the caller: copying in a thread, and covering of large batches in another process.

    H3's library holds Python's lock while it covers, so that a thread would not help it. At most `AHEAD` batches
    wait to be copied: memory stays bounded.
    """

    def __init__(self) -> None:
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="copy")
        self._coverer: ProcessPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def cover(self, geometries: npt.NDArray[np.object_], resolution: int) -> Future[Cover]:
        """Cover geometries; small batches at once, since another process takes a second to start."""
        if len(geometries) < WORTH_A_PROCESS and self._coverer is None:
            return _done(cover(geometries, resolution))
        if self._coverer is None:
            self._coverer = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return self._coverer.submit(_cover_wkb, shapely.to_wkb(geometries), resolution)

    def copy(self, task: Callable[[], None]) -> None:
        """Do a task after those before it; an error of an earlier one is raised here."""
        self._waiting.append(self._copier.submit(task))
        while len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait until all is copied."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Give up what still waits, and end the helpers."""
        for task in self._waiting:
            task.cancel()
        self._copier.shutdown(wait=True, cancel_futures=True)
        if self._coverer is not None:
            self._coverer.shutdown(wait=False, cancel_futures=True)


def _done(covered: Cover) -> Future[Cover]:
    future: Future[Cover] = Future()
    future.set_result(covered)
    return future


def _cover_wkb(wkb: npt.NDArray[np.object_], resolution: int) -> Cover:
    return cover(shapely.from_wkb(wkb), resolution)


class Staging:
    """A version being made. Nothing of it can be seen before `publish`; leaving without it leaves nothing behind.

    Use as a context manager; call `append` for each batch, `quarantine` for what is left out, then `publish`.
    """

    def __init__(
        self,
        database: Database,
        layer_id: str,
        shape: Shape,
        provenance: Provenance,
        keep: int = 5,
        mode: Mode = "replace",
        rasters: RasterFolder | None = None,
    ) -> None:
        self.database = database
        self.layer_id = layer_id
        self.shape = shape
        self.provenance = provenance
        self.keep = keep
        self.mode = mode
        self.rasters = rasters
        self._raster: dict[str, Any] | None = None
        self._tally = _Tally()
        self._work = _Work()
        self._version_key = 0
        self.number = 0
        self.table = ""

    def __enter__(self) -> Self:
        self._held = lock(self.database, self.layer_id)
        self._layer_key = self._held.__enter__()
        try:
            self._begin()
        except BaseException:
            self._held.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._work.close()
            with suppress(AdbcError):
                self._cursor.close()
            with suppress(AdbcError):
                self._bulk.close()  # rolls back what was not committed
            abandon(self.database, self._layer_key, self.rasters)
        finally:
            self._held.__exit__(None, None, None)

    def _begin(self) -> None:
        abandon(self.database, self._layer_key, self.rasters)
        agency, name = split_layer_id(self.layer_id)
        with self.database.session() as session:
            last = session.scalar(
                sa.select(sa.func.max(LayerVersion.number)).where(LayerVersion.layer_id == self._layer_key)
            )
            self.number = (last or 0) + 1
            self.table = f"{agency}_{name}_v{self.number}"
            version = LayerVersion(
                layer_id=self._layer_key, number=self.number, state=State.STAGING.value, table_name=self.table,
                columns=[c.as_dict() for c in self.shape.columns], resolution=self.shape.resolution,
                source=self.provenance.source, source_sha256=self.provenance.sha256,
                fingerprint=self.provenance.fingerprint, reason=self.provenance.reason,
                created_by=self.provenance.actor, tool_version=__version__,
            )  # fmt: skip
            session.add(version)
            session.flush()
            self._version_key = version.id
        self._bulk = self.database.bulk()
        self._cursor = self._bulk.cursor()
        for statement in _table_ddl(self.table, self.shape):
            self._execute(statement)

    def append(self, features: gpd.GeoDataFrame, covered: Cover | None = None) -> None:
        """Copy a batch of features into the version.

        Columns: `fid` (int64, stable, unique), `id` (text), `importance` (float64), those of the shape, and the
        geometry (EPSG:4326). Cells are computed here unless they are given, and label points are.
        """
        if features.empty:
            return
        geometries = np.asarray(features.geometry.values, dtype=object)
        cells = self._work.cover(geometries, self.shape.resolution) if covered is None else _done(covered)
        table, row_hashes = _as_arrow(features, geometries, self.shape)
        fids = features["fid"].to_numpy()
        self._tally.add(features, row_hashes)

        def copy() -> None:
            self._copy(self.table, table)
            found = cells.result()
            self._tally.cells += len(found)
            self._copy(f"{self.table}_cells", _cells_as_arrow(fids, found))

        self._work.copy(copy)

    def quarantine(self, entries: Sequence[dict[str, Any]]) -> None:
        """Keep what the version leaves out: `feature_id`, `reason`, `detail`, `properties`, `geometry` (WKB)."""
        if not entries:
            return
        with self.database.session() as session:
            session.execute(sa.insert(Quarantine), [{"version_id": self._version_key, **entry} for entry in entries])
        self._tally.quarantined += len(entries)

    def keep_raster(self, facts: Mapping[str, Any], writer: Callable[[Path], None]) -> None:
        """Keep a raster's file with the version: `writer` makes it, `facts` are what the catalogue says of it."""
        if self.rasters is None:
            raise ValueError("a staging without a raster folder cannot keep a raster")
        name = self.rasters.new_name(self.table)
        with self.database.session() as session:
            session.get_one(LayerVersion, self._version_key).raster = {"path": name}
        path = self.rasters.write(name, writer)
        self._raster = {"path": name, **facts, "bytes": path.stat().st_size, "sha256": digest_of(path)}

    def publish(self) -> Outcome:
        """Index the version and make it the current one; where nothing changed, leave the current one in place."""
        self._work.finish()
        for statement in _key_ddl(self.table):
            self._execute(statement)
        if self.mode != "replace":
            self._carry_over()
        content = self._tally.content(self.shape, self._raster)
        if unchanged := self._same_as_current(content):
            return unchanged
        for statement in _index_ddl(self.table, self.shape):
            self._execute(statement)
        try:
            self._bulk.commit()
        except AdbcError as error:
            raise _explain(error) from error
        self._swap(content)
        retired = retire(self.database, self.layer_id, self.keep, self.rasters)
        tally = self._tally
        return Outcome(
            self.layer_id, self.number, tally.features, tally.cells, tally.quarantined, retired=tuple(retired)
        )

    def existing_ids(self) -> Iterator[npt.NDArray[np.object_]]:
        """The ids of the current version, in batches: an addition may not repeat them."""
        current = self._current()
        if current is not None:
            self._execute(f"SELECT id FROM {qualified(current.table_name)}")
            for batch in self._cursor.fetch_record_batch():
                yield batch.column("id").to_numpy(zero_copy_only=False)

    def _current(self) -> LayerVersion | None:
        with self.database.session() as session:
            layer = session.get_one(Layer, self._layer_key)
            return session.get(LayerVersion, layer.current_version_id) if layer.current_version_id else None

    def _carry_over(self) -> None:
        """Take along the current version's features whose ids did not come again, with their cells."""
        current = self._current()
        if current is None:
            return
        if current.resolution != self.shape.resolution:
            raise Conflict(
                Text(
                    en="The theme's cells changed since version {number}. Publish the whole layer with --mode replace.",
                    vi="Ô H3 của chuyên đề đã đổi từ phiên bản {number}. Hãy công bố cả lớp với --mode replace.",
                ).format(number=current.number)
            )
        known = {column["name"] for column in current.columns}
        shared = [f'"{c.name}"' for c in self.shape.columns if c.name in known]
        label = ["label_point"] if self.shape.label else []
        columns = ", ".join(["fid", "id", *shared, "importance", "digest", "geom", *label])
        old, new = qualified(current.table_name), qualified(self.table)
        stays = f"NOT EXISTS (SELECT 1 FROM {new} AS n WHERE n.id = o.id)"
        # Cells first: afterwards every id is in the new table.
        self._execute(
            f"INSERT INTO {qualified(self.table + '_cells')} (cell, fid, whole) SELECT c.cell, c.fid, c.whole "
            f"FROM {qualified(current.table_name + '_cells')} AS c JOIN {old} AS o USING (fid) WHERE {stays}"
        )
        self._execute(f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {old} AS o WHERE {stays}")
        self._count()

    def _count(self) -> None:
        """Measure what stands in the tables now, after features came along from the version before."""
        self._execute(
            "SELECT count(*), "
            "coalesce(mod(sum(digest::numeric + 9223372036854775808), 18446744073709551616), 0)::text, "
            "ST_XMin(ST_Extent(geom)), ST_YMin(ST_Extent(geom)), ST_XMax(ST_Extent(geom)), ST_YMax(ST_Extent(geom)), "
            f"(SELECT count(*) FROM {qualified(self.table + '_cells')}) FROM {qualified(self.table)}"
        )
        (row,) = self._cursor.fetchall()
        self._tally.features, self._tally.digest, self._tally.cells = row[0], int(row[1]), row[6]
        if row[0]:
            self._tally.bounds = list(row[2:6])

    def _same_as_current(self, content: str) -> Outcome | None:
        with self.database.session() as session:
            layer = session.get_one(Layer, self._layer_key)
            if layer.current_version_id is None:
                return None
            current = session.get_one(LayerVersion, layer.current_version_id)
            if current.content != content:
                return None
            # The same content by another road: remember the road, so that it need not be taken again.
            current.fingerprint = self.provenance.fingerprint
            return Outcome(
                self.layer_id,
                current.number,
                current.features,
                current.cells,
                current.quarantined,
                unchanged=True,
            )

    def _swap(self, content: str) -> None:
        tally = self._tally
        with self.database.session() as session:
            version = session.get_one(LayerVersion, self._version_key)
            version.features, version.cells, version.quarantined = (
                tally.features,
                tally.cells,
                tally.quarantined,
            )
            version.bounds = from_shape(shapely.box(*tally.bounds), srid=4326) if tally.features else None
            version.content = content
            version.raster = self._raster
            version.published_at = session.scalar(sa.select(sa.func.clock_timestamp()))
            version.state = State.PUBLISHED.value
            point_to(session, version, self.layer_id, self.provenance.actor, "publish", self.provenance.reason)

    def _copy(self, table: str, rows: pa.Table) -> None:
        try:
            self._cursor.adbc_ingest(table, rows, mode="append", db_schema_name=DATA_SCHEMA)
        except AdbcError as error:
            raise _explain(error) from error

    def _execute(self, statement: str) -> None:
        try:
            self._cursor.execute(statement)
        except AdbcError as error:
            raise _explain(error) from error


def _explain(error: AdbcError) -> Exception:
    state = error.sqlstate or ""
    if state == "53100":
        return Unavailable(DISK_FULL)
    if state[:2] in ("08", "57") or "connection" in str(error).lower():
        return Unavailable(
            Text(
                en="The connection to the database was lost. Run the same command again: nothing was changed.",
                vi="Mất kết nối với cơ sở dữ liệu. Hãy chạy lại lệnh này: chưa có gì bị thay đổi.",
            )
        )
    return error


def _table_ddl(table: str, shape: Shape) -> Iterator[str]:
    columns = "".join(f', "{c.name}" {SQL_TYPES[c.type]}' for c in shape.columns)
    label = ", label_point geometry(Point, 4326)" if shape.label else ""
    # A number may be given again after a failed attempt whose tables somebody made by hand: ours are always new.
    yield f"DROP TABLE IF EXISTS {qualified(table)}, {qualified(table + '_cells')}"
    yield (
        f"CREATE TABLE {qualified(table)} (fid bigint NOT NULL, id text NOT NULL{columns}, "
        f"importance double precision NOT NULL, digest bigint NOT NULL, geom geometry(Geometry, 4326) NOT NULL{label})"
    )
    yield (
        f"CREATE TABLE {qualified(table + '_cells')} "
        "(cell bigint NOT NULL, fid bigint NOT NULL, whole boolean NOT NULL)"
    )


def _key_ddl(table: str) -> Iterator[str]:
    features = qualified(table)
    yield f"ALTER TABLE {features} ADD PRIMARY KEY (fid)"
    yield f"CREATE UNIQUE INDEX ON {features} (id)"


def _index_ddl(table: str, shape: Shape) -> Iterator[str]:
    features, cells = qualified(table), qualified(table + "_cells")
    yield f"CREATE INDEX ON {features} USING gist (geom)"
    if shape.label:
        yield f"CREATE INDEX ON {features} USING gist (label_point)"
    # Everything a question about a cell needs is in the index: the table itself is not read.
    yield f"CREATE INDEX ON {cells} (cell) INCLUDE (fid, whole)"
    yield f"ANALYZE {features}"
    yield f"ANALYZE {cells}"


def _as_arrow(
    features: gpd.GeoDataFrame, geometries: npt.NDArray[np.object_], shape: Shape
) -> tuple[pa.Table, npt.NDArray[np.uint64]]:
    """The rows as PostgreSQL's binary COPY takes them, and a hash of each row's content."""
    arrays: dict[str, pa.Array] = {
        "fid": pa.array(features["fid"].to_numpy(), pa.int64()),
        "id": pa.array(features["id"].to_numpy(dtype=object), pa.string()),
    }
    hashed = _mix(pd.util.hash_array(features["id"].to_numpy(dtype=object)), 0)
    wkb = shapely.to_wkb(geometries)
    hashed += _mix(pd.util.hash_array(wkb, categorize=False), 1)
    for column in shape.columns:
        array = pa.array(features[column.name], ARROW_TYPES[column.type], from_pandas=True)
        arrays[column.name] = array
        # A value that is missing adds nothing, so that a new empty column leaves every row as it was.
        here = np.asarray(array.is_valid())
        seed = int(pd.util.hash_array(np.array([column.name], dtype=object))[0])
        hashed[here] += _mix(pd.util.hash_array(_plain(array.filter(array.is_valid()))), seed)
    # Stirred once more: or the sum over all rows would not see two features exchange a value.
    hashed = _mix(hashed, 2)
    arrays["importance"] = pa.array(np.asarray(features["importance"], dtype=np.float64))
    arrays["digest"] = pa.array(hashed.view(np.int64))
    arrays["geom"] = _ewkb(wkb)
    if shape.label:
        arrays["label_point"] = _label_points(geometries, arrays[shape.label])
    return pa.table(arrays), hashed


def _ewkb(wkb: npt.NDArray[np.object_]) -> pa.Array:
    """WKB with the SRID that PostGIS asks for, put in behind the byte order and the type (little-endian)."""
    return pa.array([_EWKB_HEAD[w[1]] + w[5:] if w is not None else None for w in wkb], pa.binary())


# By the type's code, 1 point to 7 collection, in two dimensions.
_EWKB_HEAD = {code: b"\x01" + struct.pack("<II", code | 0x20000000, 4326) for code in range(1, 8)}


def _label_points(geometries: npt.NDArray[np.object_], names: pa.Array) -> pa.Array:
    """A point inside each polygon that has a name to be written there."""
    points = np.full(len(geometries), None, dtype=object)
    named = np.asarray(names.is_valid())
    points[named] = shapely.to_wkb(shapely.point_on_surface(geometries[named]))
    return _ewkb(points)


def _plain(array: pa.Array) -> npt.NDArray[np.object_]:
    """Values as text, whose hash does not depend on how pandas happened to hold them (1 and 1.0)."""
    text: npt.NDArray[np.object_] = array.cast(pa.string()).to_numpy(zero_copy_only=False)
    return text


def _mix(hashed: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Stir hashes with a seed (as MurmurHash3 ends), so that equal values in two columns do not cancel out."""
    mixed = hashed ^ np.uint64(seed)
    with np.errstate(over="ignore"):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    stirred: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(33))
    return stirred


def _cells_as_arrow(fids: npt.NDArray[np.int64], cells: Cover) -> pa.Table:
    return pa.table({"cell": cells.cell, "fid": fids[cells.feature], "whole": cells.whole})

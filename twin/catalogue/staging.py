"""A version being made: staged in tables of its own, filled by COPY, indexed, then swapped in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
import sqlalchemy as sa
from adbc_driver_manager import Error as AdbcError
from geoalchemy2.shape import from_shape

from twin import __version__
from twin.catalogue.catalogue import Column, split_layer_id
from twin.catalogue.loading import Loading
from twin.catalogue.raster_files import RasterFolder, digest_of
from twin.catalogue.rows import to_rows
from twin.catalogue.versions import abandon, lock, point_to, qualified, retire, tables_of
from twin.cells import rollup
from twin.cells.cover import Cover, Measured, measure
from twin.cells.rollup_rows import build
from twin.db.database import DISK_FULL, Database
from twin.db.sql import storable
from twin.db.tables import DATA_SCHEMA, Layer, LayerVersion, Quarantine, State
from twin.errors import Conflict, Unavailable
from twin.text import Text

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

SQL_TYPES = {
    "text": "text", "integer": "bigint", "number": "double precision",
    "boolean": "boolean", "date": "date", "time": "timestamptz",
}  # fmt: skip

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
    """What a version's tables look like.

    `label` is the column whose text is written inside polygons, if any; `rollup` says how features come to coarser
    cells, if they do.
    """

    columns: tuple[Column, ...]
    resolution: int
    label: str | None = None
    rollup: rollup.Plan | None = None


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

    def add(self, bounds: npt.NDArray[np.float64], row_hashes: npt.NDArray[np.uint64]) -> None:
        self.features += len(row_hashes)
        # Stored as signed numbers; shifted to positive ones, their sum is the same here and in SQL.
        shifted = row_hashes ^ np.uint64(2**63)
        self.digest = (self.digest + int(shifted.sum(dtype=np.uint64))) % 2**64
        west, south, east, north = map(float, bounds)
        b = self.bounds
        self.bounds = [min(b[0], west), min(b[1], south), max(b[2], east), max(b[3], north)]

    def content(self, shape: Shape, raster: Mapping[str, Any] | None = None) -> str:
        columns = ",".join(f"{c.name}:{c.type}" for c in shape.columns)
        text = f"{self.features}/{self.digest:016x}/{self.quarantined}/{shape.resolution}/{columns}"
        if raster is not None:
            text += f"/{raster['sha256']}"
        return hashlib.sha256(text.encode()).hexdigest()


class Staging:
    """A version being made. Nothing of it can be seen before `publish`; leaving without it leaves nothing behind.

    Use as a context manager; call `append` for each batch, `quarantine` for what is left out, then `publish`.
    `loading` is what covers and copies, if it was made before; it is closed here.
    """

    def __init__(
        self,
        database: Database,
        layer_id: str,
        shape: Shape,
        provenance: Provenance,
        keep: int = 5,
        mode: Mode = "replace",
        loading: Loading | None = None,
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
        self._work = loading or Loading()
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

    def append(
        self, features: gpd.GeoDataFrame, covered: Cover | None = None, measured: Measured | None = None
    ) -> None:
        """Copy a batch of features into the version.

        Columns: `fid` (int64, stable, unique), `id` (text), `importance` (float64), those of the shape, and the
        geometry (EPSG:4326). Cells are computed here unless they are given, and label points are; `measured` is what
        is known of the geometries already.
        """
        if features.empty:
            return
        geometries = np.asarray(features.geometry.values, dtype=object)
        measured = measured or measure(geometries)
        wkb = shapely.to_wkb(geometries) if measured.wkb is None else measured.wkb
        if covered is None:
            cells = self._work.cover(geometries, wkb, self.shape.resolution, measured)
        else:
            given = [covered]
            cells = lambda: given  # noqa: E731
        table, digests = to_rows(features, wkb, self.shape.columns, self.shape.label)
        fids = features["fid"].to_numpy()
        self._tally.add(measured.total_bounds, digests)

        def copy() -> None:
            covers = cells()
            home = _home_cells(len(fids), covers)
            self._copy(self.table, table.append_column("cell", pa.array(home)))
            for found in covers:
                self._tally.cells += len(found)
                self._copy(f"{self.table}_cells", _cells_as_arrow(fids, found))

        self._work.copy(copy)

    def quarantine(self, entries: Sequence[dict[str, Any]]) -> None:
        """Keep what the version leaves out: `feature_id`, `reason`, `detail`, `properties`, `geometry` (WKB)."""
        if not entries:
            return
        with self.database.session() as session:
            rows = [storable({"version_id": self._version_key, **entry}) for entry in entries]
            session.execute(sa.insert(Quarantine), rows)
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
        if self.mode != "replace":
            for statement in (*_unique_ddl(self.table), _primary_key(self.table)):
                self._execute(statement)
            self._carry_over()
        content = self._tally.content(self.shape, self._raster)
        if unchanged := self._same_as_current(content):
            return unchanged
        # From here on others could see the tables, and nobody looks: the version is not published yet. Should this
        # program die, whoever publishes next drops them.
        self._commit()
        self._index()
        self._swap(content)
        retired = retire(self.database, self.layer_id, self.keep, self.rasters)
        tally = self._tally
        return Outcome(
            self.layer_id, self.number, tally.features, tally.cells, tally.quarantined, retired=tuple(retired)
        )

    def existing_ids(self) -> Iterator[npt.NDArray[np.object_]]:
        """Yield the ids of the current version, in batches: an addition may not repeat them."""
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
        home = f"(SELECT fid, min(cell) AS cell FROM {qualified(current.table_name + '_cells')} GROUP BY fid) AS home"
        old, new = qualified(current.table_name), qualified(self.table)
        stays = f"NOT EXISTS (SELECT 1 FROM {new} AS n WHERE n.id = o.id)"
        # Cells first: afterwards every id is in the new table.
        self._execute(
            f"INSERT INTO {qualified(self.table + '_cells')} (cell, fid, whole) SELECT c.cell, c.fid, c.whole "
            f"FROM {qualified(current.table_name + '_cells')} AS c JOIN {old} AS o USING (fid) WHERE {stays}"
        )
        kept = f"SELECT {columns}, home.cell FROM {old} AS o JOIN {home} USING (fid) WHERE {stays}"
        self._execute(f"INSERT INTO {new} ({columns}, cell) {kept}")
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
            version.rollup = self.shape.rollup.as_dict() if self.shape.rollup else None
            version.published_at = session.scalar(sa.select(sa.func.clock_timestamp()))
            version.state = State.PUBLISHED.value
            point_to(session, version, self.layer_id, self.provenance.actor, "publish", self.provenance.reason)

    def _copy(self, table: str, rows: pa.Table) -> None:
        _ingest(self._cursor, table, rows)

    def _index(self) -> None:
        """Build the indexes on two connections beside each other, each of which keeps one core busy."""
        places, others = _index_ddl(self.table, self.shape)
        unique = _unique_ddl(self.table) if self.mode == "replace" else []
        with self._second() as cursor, ThreadPoolExecutor(1) as beside:
            tasks = [beside.submit(_run_all, cursor, others)]
            # Statistics and the making of a table's indexes lock each other out: meanwhile the other is at the cells.
            self._execute(f"ANALYZE {qualified(self.table)}")
            self._commit()
            tasks += [beside.submit(_run_all, cursor, unique), beside.submit(self._roll_up, cursor)]
            _run_all(self._cursor, places)
            for task in tasks:
                task.result()
        # Ends the locks of the indexes: a primary key asks for the table alone.
        self._commit()
        if self.mode == "replace":
            self._execute(_primary_key(self.table))
            self._commit()

    def _roll_up(self, cursor: Cursor) -> None:
        plan = self.shape.rollup
        if plan is None:
            return
        features, target = qualified(self.table), qualified(f"{self.table}_rollup")
        sums = _ask(cursor, rollup.sums_sql(features, plan))
        modes = {
            c.name: _ask(cursor, rollup.mode_sql(features, c, plan.finest)) for c in plan.columns if c.rule == "mode"
        }
        _run(cursor, rollup.ddl(target, plan.columns, SQL_TYPES))
        _ingest(cursor, f"{self.table}_rollup", build(plan, sums, modes))
        _run(cursor, f"CREATE INDEX ON {target} USING gist (geom)")
        _run(cursor, f"ANALYZE {target}")

    @contextmanager
    def _second(self) -> Iterator[Cursor]:
        with self.database.bulk() as connection, connection.cursor() as cursor:
            yield cursor
            connection.commit()

    def _commit(self) -> None:
        try:
            self._bulk.commit()
        except AdbcError as error:
            raise _explain(error) from error

    def _execute(self, statement: str) -> None:
        _run(self._cursor, statement)


def _ingest(cursor: Cursor, table: str, rows: pa.Table) -> None:
    try:
        cursor.adbc_ingest(table, rows, mode="append", db_schema_name=DATA_SCHEMA)
    except AdbcError as error:
        raise _explain(error) from error


def _ask(cursor: Cursor, statement: str) -> pa.Table:
    _run(cursor, statement)
    return cursor.fetch_arrow_table()


def _run(cursor: Cursor, statement: str) -> None:
    try:
        cursor.execute(statement)
    except AdbcError as error:
        raise _explain(error) from error


def _run_all(cursor: Cursor, statements: Sequence[str]) -> None:
    for statement in statements:
        _run(cursor, statement)


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
    yield f"DROP TABLE IF EXISTS {tables_of(table)}"
    yield (
        f"CREATE TABLE {qualified(table)} (fid bigint NOT NULL, id text NOT NULL{columns}, "
        f"importance double precision NOT NULL, digest bigint NOT NULL, geom geometry(Geometry, 4326) NOT NULL{label}, "
        "cell bigint NOT NULL)"
    )
    yield (
        f"CREATE TABLE {qualified(table + '_cells')} "
        "(cell bigint NOT NULL, fid bigint NOT NULL, whole boolean NOT NULL)"
    )


def _unique_ddl(table: str) -> list[str]:
    features = qualified(table)
    return [f'CREATE UNIQUE INDEX "{table}_fid" ON {features} (fid)', f"CREATE UNIQUE INDEX ON {features} (id)"]


def _primary_key(table: str) -> str:
    return f'ALTER TABLE {qualified(table)} ADD PRIMARY KEY USING INDEX "{table}_fid"'


def _index_ddl(table: str, shape: Shape) -> tuple[list[str], list[str]]:
    """Statements for the indexes of places, and those for the others: about as much work each."""
    features, cells = qualified(table), qualified(table + "_cells")
    places = [f"CREATE INDEX ON {features} USING gist (geom)"]
    if shape.label:
        places.append(f"CREATE INDEX ON {features} USING gist (label_point) WHERE label_point IS NOT NULL")
    # Everything a question about a cell needs is in the index: the table itself is not read.
    return places, [f"CREATE INDEX ON {cells} (cell) INCLUDE (fid, whole)", f"ANALYZE {cells}"]


def _home_cells(features: int, covers: Sequence[Cover]) -> npt.NDArray[np.int64]:
    """One cell for each feature: the lowest of its cells."""
    home = np.full(features, np.iinfo(np.int64).max, np.int64)
    for covered in covers:
        if len(covered):
            starts = np.flatnonzero(np.concatenate([[True], covered.feature[1:] != covered.feature[:-1]]))
            # A feature's cells stand together, ordered.
            home[covered.feature[starts]] = np.minimum.reduceat(covered.cell, starts)
    return home


def _cells_as_arrow(fids: npt.NDArray[np.int64], cells: Cover) -> pa.Table:
    return pa.table({"cell": cells.cell, "fid": fids[cells.feature], "whole": cells.whole})

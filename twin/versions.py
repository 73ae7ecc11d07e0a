"""Versions of a layer: staged in tables of their own, filled by COPY, indexed, swapped in, rolled back, retired.

A published version never changes. Readers see the old one or the new one: the swap is one row in one transaction.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg
import pyarrow as pa
import shapely
import sqlalchemy as sa
from adbc_driver_manager import Error as AdbcError
from geoalchemy2.shape import from_shape
from sqlalchemy.orm import Session

from twin import __version__
from twin.catalogue import Column, split_layer_id
from twin.cells import Cover, cover
from twin.db.database import DISK_FULL, Database, libpq, speaking_of_database
from twin.db.tables import DATA_SCHEMA, Agency, Audit, Layer, LayerVersion, Quarantine, State
from twin.errors import Conflict, NotFound, Unavailable
from twin.events import Event, notify
from twin.text import Text

SQL_TYPES = {
    "text": "text", "integer": "bigint", "number": "double precision",
    "boolean": "boolean", "date": "date", "time": "timestamptz",
}  # fmt: skip
ARROW_TYPES = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(), "time": pa.timestamp("us", tz="UTC"),
}  # fmt: skip

# The first half of the advisory lock that a publisher holds; the second is the layer's key.
PUBLISH_LOCK = 731_054
# A loader that was killed may have left a backend that is still building an index.
LOCK_WAIT_SECONDS = 60.0
DROP_LOCK_TIMEOUT = "3s"


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
    """What a version's tables look like; `label_points` gives polygons a point to write their name at."""

    columns: tuple[Column, ...]
    resolution: int
    label_points: bool


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

    def add(self, features: gpd.GeoDataFrame, row_hashes: npt.NDArray[np.uint64], cells: int) -> None:
        self.features += len(features)
        self.cells += cells
        self.digest = (self.digest + int(row_hashes.sum(dtype=np.uint64))) % 2**64
        west, south, east, north = features.total_bounds
        b = self.bounds
        self.bounds = [min(b[0], west), min(b[1], south), max(b[2], east), max(b[3], north)]

    def content(self, shape: Shape) -> str:
        columns = ",".join(f"{c.name}:{c.type}" for c in shape.columns)
        text = f"{self.features}/{self.digest:016x}/{self.quarantined}/{shape.resolution}/{columns}"
        return hashlib.sha256(text.encode()).hexdigest()


class Staging:
    """A version being made. Nothing of it can be seen before `publish`; leaving without it leaves nothing behind.

    Use as a context manager; call `append` for each batch, `quarantine` for what is left out, then `publish`.
    """

    def __init__(self, database: Database, layer_id: str, shape: Shape, provenance: Provenance, keep: int = 5) -> None:
        self.database = database
        self.layer_id = layer_id
        self.shape = shape
        self.provenance = provenance
        self.keep = keep
        self._tally = _Tally()
        self._version_key = 0
        self.number = 0
        self.table = ""

    def __enter__(self) -> Self:
        self._held = _lock(self.database, self.layer_id)
        self._layer_key = self._held.__enter__()
        try:
            self._begin()
        except BaseException:
            self._held.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with suppress(AdbcError):
                self._cursor.close()
            with suppress(AdbcError):
                self._bulk.close()  # rolls back what was not committed
            _abandon(self.database, self._layer_key)
        finally:
            self._held.__exit__(None, None, None)

    def _begin(self) -> None:
        _abandon(self.database, self._layer_key)
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

    def append(self, features: gpd.GeoDataFrame) -> None:
        """Copy a batch of features into the version.

        Columns: `fid` (int64, stable, unique), `id` (text), `importance` (float64), those of the shape, and the
        geometry (EPSG:4326). Cells and label points are computed here.
        """
        if features.empty:
            return
        geometries = np.asarray(features.geometry.values, dtype=object)
        table, row_hashes = _as_arrow(features, geometries, self.shape)
        cells = cover(geometries, self.shape.resolution)
        self._copy(self.table, table)
        self._copy(f"{self.table}_cells", _cells_as_arrow(features["fid"].to_numpy(), cells))
        self._tally.add(features, row_hashes, len(cells))

    def quarantine(self, entries: Sequence[dict[str, Any]]) -> None:
        """Keep what the version leaves out: `feature_id`, `reason`, `detail`, `properties`, `geometry` (WKB)."""
        if not entries:
            return
        with self.database.session() as session:
            session.execute(sa.insert(Quarantine), [{"version_id": self._version_key, **entry} for entry in entries])
        self._tally.quarantined += len(entries)

    def publish(self) -> Outcome:
        """Index the version and make it the current one; where nothing changed, leave the current one in place."""
        content = self._tally.content(self.shape)
        if unchanged := self._same_as_current(content):
            return unchanged
        for statement in _index_ddl(self.table, self.shape):
            self._execute(statement)
        try:
            self._bulk.commit()
        except AdbcError as error:
            raise _explain(error) from error
        self._swap(content)
        retired = retire(self.database, self.layer_id, self.keep)
        tally = self._tally
        return Outcome(
            self.layer_id, self.number, tally.features, tally.cells, tally.quarantined, retired=tuple(retired)
        )

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
            version.published_at = session.scalar(sa.select(sa.func.clock_timestamp()))
            version.state = State.PUBLISHED.value
            _point_to(session, version, self.layer_id, self.provenance.actor, "publish", self.provenance.reason)

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


def _qualified(table: str) -> str:
    return f'{DATA_SCHEMA}."{table}"'


def _table_ddl(table: str, shape: Shape) -> Iterator[str]:
    columns = "".join(f', "{c.name}" {SQL_TYPES[c.type]}' for c in shape.columns)
    label = ", label_point geometry(Point, 4326)" if shape.label_points else ""
    # A number may be given again after a failed attempt whose tables somebody made by hand: ours are always new.
    yield f"DROP TABLE IF EXISTS {_qualified(table)}, {_qualified(table + '_cells')}"
    yield (
        f"CREATE TABLE {_qualified(table)} (fid bigint NOT NULL, id text NOT NULL{columns}, "
        f"importance double precision NOT NULL, geom geometry(Geometry, 4326) NOT NULL{label})"
    )
    yield (
        f"CREATE TABLE {_qualified(table + '_cells')} "
        "(cell bigint NOT NULL, fid bigint NOT NULL, whole boolean NOT NULL)"
    )


def _index_ddl(table: str, shape: Shape) -> Iterator[str]:
    features, cells = _qualified(table), _qualified(table + "_cells")
    yield f"ALTER TABLE {features} ADD PRIMARY KEY (fid)"
    yield f"CREATE UNIQUE INDEX ON {features} (id)"
    yield f"CREATE INDEX ON {features} USING gist (geom)"
    if shape.label_points:
        yield f"CREATE INDEX ON {features} USING gist (label_point)"
    # Everything a question about a cell needs is in the index: the table itself is not read.
    yield f"CREATE INDEX ON {cells} (cell) INCLUDE (fid, whole)"
    yield f"ANALYZE {features}"
    yield f"ANALYZE {cells}"


def _as_arrow(
    features: gpd.GeoDataFrame, geometries: npt.NDArray[np.object_], shape: Shape
) -> tuple[pa.Table, npt.NDArray[np.uint64]]:
    """The rows as PostgreSQL's binary COPY takes them, and a hash of each row's content."""
    wkb = shapely.to_wkb(geometries)
    hashed: npt.NDArray[np.uint64] = pd.util.hash_array(features["id"].to_numpy(dtype=object))
    hashed = _mix(hashed, pd.util.hash_array(wkb))
    arrays: dict[str, pa.Array] = {
        "fid": pa.array(features["fid"].to_numpy(), pa.int64()),
        "id": pa.array(features["id"].to_numpy(dtype=object), pa.string()),
    }
    for column in shape.columns:
        values = features[column.name]
        arrays[column.name] = pa.array(values, ARROW_TYPES[column.type], from_pandas=True)
        hashed = _mix(hashed, pd.util.hash_array(_plain(arrays[column.name])))
    arrays["importance"] = pa.array(np.asarray(features["importance"], dtype=np.float64))
    arrays["geom"] = _ewkb(geometries)
    if shape.label_points:
        arrays["label_point"] = _ewkb(shapely.point_on_surface(geometries))
    return pa.table(arrays), hashed


def _ewkb(geometries: npt.NDArray[np.object_]) -> pa.Array:
    return pa.array(shapely.to_wkb(shapely.set_srid(geometries, 4326), include_srid=True), pa.binary())


def _plain(array: pa.Array) -> npt.NDArray[np.object_]:
    """Values whose hash does not depend on how pandas happened to hold them (1 and 1.0, None and NaN)."""
    text: npt.NDArray[np.object_] = array.cast(pa.string()).fill_null("\0").to_numpy(zero_copy_only=False)
    return text


def _mix(hashed: npt.NDArray[np.uint64], more: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        mixed: npt.NDArray[np.uint64] = (hashed ^ more) * np.uint64(0x9E3779B97F4A7C15) + more
    return mixed ^ (mixed >> np.uint64(29))


def _cells_as_arrow(fids: npt.NDArray[np.int64], cells: Cover) -> pa.Table:
    return pa.table({"cell": cells.cell, "fid": fids[cells.feature], "whole": cells.whole})


# The swap, and what keeps publishers apart ---------------------------------------------------------


@contextmanager
def _lock(database: Database, layer_id: str) -> Iterator[int]:
    """Hold the layer for one publisher; give the layer's key. The database frees it when the program dies."""
    agency, name = split_layer_id(layer_id)
    url, settings = database.login("writer")
    options = " ".join(f"-c {k}={v}" for k, v in settings.items() if k == "role")
    with speaking_of_database(), psycopg.connect(libpq(url), autocommit=True, options=options) as connection:
        found = connection.execute(
            "SELECT l.id FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id WHERE a.name = %s AND l.name = %s",
            [agency, name],
        ).fetchone()
        if found is None:
            raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp dữ liệu “{id}”.").format(id=layer_id))
        (key,) = found
        until = time.monotonic() + LOCK_WAIT_SECONDS
        while not _taken(connection, key):
            if time.monotonic() > until:
                raise Conflict(
                    Text(
                        en="“{id}” is being published by somebody else at this moment. Try again when that is done.",
                        vi="Người khác đang công bố lớp “{id}”. Hãy thử lại khi việc đó xong.",
                    ).format(id=layer_id)
                )
            time.sleep(0.2)
        yield key


def _taken(connection: psycopg.Connection[Any], key: int) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [PUBLISH_LOCK, key]).fetchone()
    return bool(row and row[0])


def _abandon(database: Database, layer_key: int) -> None:
    """Give up the layer's unfinished versions. Only the holder of the layer's lock may: nobody else is filling one."""
    with database.session() as session:
        unfinished = session.scalars(
            sa.select(LayerVersion).where(LayerVersion.layer_id == layer_key, LayerVersion.state == State.STAGING.value)
        )
        for version in unfinished:
            _drop(session, version.table_name)
            session.delete(version)


def _drop(session: Session, table: str) -> None:
    session.execute(sa.text(f"DROP TABLE IF EXISTS {_qualified(table)}, {_qualified(table + '_cells')}"))


def _point_to(session: Session, version: LayerVersion, layer_id: str, actor: str, action: str, reason: str) -> None:
    layer = session.get_one(Layer, version.layer_id)
    before = layer.current_version_id
    layer.current_version_id = version.id
    session.add(
        Audit(
            actor=actor,
            action=action,
            layer=layer_id,
            version=version.number,
            detail={"before": before, "source": version.source, "reason": reason},
        )
    )
    notify(session, Event("layer", layer_id, version.number))


def rollback(database: Database, layer_id: str, number: int | None, actor: str, reason: str = "") -> int:
    """Make an earlier version the current one: the given one, else the one before the current; give its number."""
    with _lock(database, layer_id) as key, database.session() as session:
        layer = session.get_one(Layer, key)
        kept = list(
            session.scalars(
                sa.select(LayerVersion)
                .where(LayerVersion.layer_id == key, LayerVersion.state == State.PUBLISHED.value)
                .order_by(LayerVersion.number.desc())
            )
        )
        current = next((v for v in kept if v.id == layer.current_version_id), None)
        if number is None and current is not None:
            chosen = next((v for v in kept if v.number < current.number), None)
        else:
            chosen = next((v for v in kept if v.number == number), None)
        if chosen is None:
            raise NotFound(
                Text(
                    en="“{id}” has no such version to go back to. Kept versions: {kept}.",
                    vi="Lớp “{id}” không có phiên bản đó để quay lại. Các phiên bản còn giữ: {kept}.",
                ).format(id=layer_id, kept=", ".join(str(v.number) for v in kept) or "—")
            )
        _point_to(session, chosen, layer_id, actor, "rollback", reason)
        return chosen.number


def retire(database: Database, layer_id: str, keep: int) -> list[int]:
    """Drop the oldest versions beyond the last `keep`; the current one always stays. Gives the numbers dropped.

    A table that a reader holds at this moment is left for the next time.
    """
    agency, name = split_layer_id(layer_id)
    with database.session() as session:
        layer = session.scalars(sa.select(Layer).join(Agency).where(Agency.name == agency, Layer.name == name)).one()
        published = session.scalars(
            sa.select(LayerVersion)
            .where(LayerVersion.layer_id == layer.id, LayerVersion.state == State.PUBLISHED.value)
            .order_by(LayerVersion.number.desc())
        )
        old = [v.id for v in list(published)[keep:] if v.id != layer.current_version_id]
    done = []
    for key in old:
        with suppress(sa.exc.OperationalError), database.session() as session:
            session.execute(sa.text(f"SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'"))
            version = session.get_one(LayerVersion, key)
            _drop(session, version.table_name)
            version.state = State.RETIRED.value
            notify(session, Event("layer", layer_id))
            done.append(version.number)
    return done

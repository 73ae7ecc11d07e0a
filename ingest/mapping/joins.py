"""Joins by key: rows of another table, or features of a published layer with their shapes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import sqlalchemy as sa
import sqlalchemy.exc

from ingest.frames import objects, with_geometry
from ingest.mapping.description import Join
from ingest.readers import archive
from ingest.readers.limits import load_limits
from ingest.readers.opening import open_file
from ingest.readers.source import Reader, ReadOptions, inside, missing_columns
from layers.contracts import theme_of
from layers.theme import FieldType
from twin.access.permit import Permit, every_permit, operator_permits
from twin.access.principals import Principal
from twin.catalogue.catalogue import read_catalogue, split_layer_id
from twin.db.database import Database
from twin.db.tables import DATA_SCHEMA, Sharing
from twin.errors import BadInput, NotFound, TwinError
from twin.text import Text

Mask = npt.NDArray[np.bool_]
Opener = Callable[[Path, ReadOptions], Reader]

# The column of a version's table that holds the feature ids.
ID = "id"
# A table without coordinates is compared with layers of at most so many features, and by so many of its values.
COMPARED_FEATURES = 50_000
COMPARED_VALUES = 2_000
# This share of a column's values must name features before a join is proposed.
NAMES_FEATURES = 0.8
BATCH = 50_000


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Values that a partner has for some keys.

    `found` tells which keys have exactly one partner, `ambiguous` which have several; `padded` which were found only
    with leading zeros that a program had dropped. `values` and `shapes` (EPSG:4326, or None) are aligned with the keys.
    """

    found: Mask
    ambiguous: Mask
    padded: Mask
    values: Mapping[str, pd.Series]
    shapes: npt.NDArray[np.object_] | None = None

    def take(self, rows: Mask) -> JoinedRows:
        """Return what belongs to some of the keys."""
        values = {name: column[rows].reset_index(drop=True) for name, column in self.values.items()}
        shapes = None if self.shapes is None else self.shapes[rows]
        return JoinedRows(self.found[rows], self.ambiguous[rows], self.padded[rows], values, shapes)


class Partner(Protocol):
    """A table or a layer that rows are joined with. `columns` are those that it adds."""

    title: Text
    columns: Mapping[str, FieldType]
    has_shapes: bool
    fingerprint: str

    def match(self, keys: npt.NDArray[np.object_]) -> JoinedRows:
        """Find the partner of each key; None is no key."""


class TablePartner:
    """A table of a file, one row a key: numbers averaged, rows counted, other columns from a key's first row."""

    has_shapes = False

    def __init__(self, path: Path, join: Join, opener: Opener = open_file) -> None:
        self.title = Text(en=path.name, vi=path.name)
        self.fingerprint = ""
        key = str(join.key)
        with closing(opener(path, ReadOptions())) as reader:
            missing_columns(path, {key, *join.mean, *join.columns}, reader.columns)
            wanted = list(dict.fromkeys([key, *join.columns, *join.mean]))
            parts = [pd.DataFrame(batch[wanted]) for batch in reader.batches(BATCH)]
            types = {name: reader.columns[name] for name in join.columns}
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=wanted)
        table[key] = as_text(table[key]).str.strip()
        table[list(join.mean)] = table[list(join.mean)].apply(pd.to_numeric, errors="coerce")
        groups = table.groupby(key)
        self._rows = groups[list(join.mean)].mean()
        for name in join.columns:
            self._rows[name] = groups[name].first()
        if join.count:
            self._rows[join.count] = groups.size()
        count_column: dict[str, FieldType] = {join.count: "integer"} if join.count else {}
        self.columns: Mapping[str, FieldType] = {**types, **dict.fromkeys(join.mean, "number"), **count_column}

    def match(self, keys: npt.NDArray[np.object_]) -> JoinedRows:
        """Find the row of each key."""
        place = self._rows.index.get_indexer(pd.Index(keys))
        found = (place >= 0) & ~pd.isna(keys)
        rows = self._rows.take(np.where(found, place, 0)) if len(self._rows) else self._rows.reindex(range(len(keys)))
        values = {name: rows[name].reset_index(drop=True).where(found) for name in self.columns}
        none = np.zeros(len(keys), dtype=bool)
        return JoinedRows(found, none, none, values)


class LayerPartner:
    """The current version of a published layer: its features by id or by a column, with their shapes."""

    has_shapes = True

    def __init__(self, database: Database, permit: Permit, join: Join) -> None:
        layer, version = permit.layer, permit.version
        shown = {column.name: column for column in permit.columns}
        types = {column.name: column.type for column in permit.columns}
        key = join.key or ID
        if absent := [name for name in (key, *join.columns) if name not in types and name != ID]:
            raise BadInput(
                Text(
                    en="“{layer}” has no column {absent} to join by. Its columns are: {present}.",
                    vi="“{layer}” không có cột {absent} để nối. Các cột hiện có: {present}.",
                ).format(layer=layer.id, absent=", ".join(absent), present=", ".join((ID, *types)))
            )
        self.title = Text(
            en="{layer} (version {n}), by {key}", vi="{layer} (phiên bản {n}), theo {key}"
        ).format(layer=layer.id, n=version.number, key=key)  # fmt: skip
        self.fingerprint = f"{layer.id}@{version.number}"
        self.columns: Mapping[str, FieldType] = {name: types.get(name, "text") for name in join.columns}  # type: ignore[misc]
        self._database = database
        self._table = f'{DATA_SCHEMA}."{version.table}" AS f'
        self._sql = {name: shown[name].sql("f") if name in shown else f'f."{name}"' for name in (key, *join.columns)}
        self._key = f"{self._sql[key]}::text"

    def match(self, keys: npt.NDArray[np.object_]) -> JoinedRows:
        """Find the feature of each key; a number that lost its leading zeros is found by what is left of it."""
        frame = self._rows(self._key, [k for k in pd.unique(pd.Series(keys, dtype=object)) if isinstance(k, str)])
        found, ambiguous, place = _places(frame, keys)
        padded = np.zeros(len(keys), dtype=bool)
        bare = np.array([k if isinstance(k, str) and k.isdigit() and k[0] != "0" else None for k in keys], dtype=object)
        bare[found | ambiguous] = None
        if any(k is not None for k in bare):
            stripped = self._rows(f"ltrim({self._key}, '0')", [k for k in pd.unique(bare) if k is not None])
            padded, several, there = _places(stripped, bare)
            place = np.where(padded, there + len(frame), place)
            ambiguous |= several
            found |= padded
            frame = pd.concat([frame, stripped], ignore_index=True)
        rows = frame.take(np.where(found, place, 0)) if len(frame) else frame.reindex(range(len(keys)))
        values = {name: rows[name].reset_index(drop=True).where(found) for name in self.columns}
        shapes = np.full(len(keys), None, dtype=object)
        if found.any():
            shapes[found] = shapely.from_wkb(rows["__wkb"].to_numpy(dtype=object)[found])
        return JoinedRows(found, ambiguous, padded, values, shapes)

    def _rows(self, key: str, wanted: Sequence[str]) -> pd.DataFrame:
        names = "".join(f', {self._sql[name]} AS "{name}"' for name in self.columns)
        statement = f"SELECT {key} AS __key, ST_AsBinary(geom) AS __wkb{names} FROM {self._table} WHERE {key} = ANY(:k)"  # noqa: S608  # names of the catalogue
        with self._database.session() as session:
            # No feature's key has a NUL, which the database does not take.
            result = session.execute(sa.text(statement), {"k": [key for key in wanted if "\0" not in key]})
            return pd.DataFrame(result.all(), columns=list(result.keys()), dtype=object)


def _places(frame: pd.DataFrame, keys: npt.NDArray[np.object_]) -> tuple[Mask, Mask, npt.NDArray[np.intp]]:
    """Return which keys stand once in a frame, which several times, and in which row."""
    index = pd.Index(frame["__key"])
    repeated = set(index[index.duplicated(keep=False)])
    known = ~pd.isna(keys)
    ambiguous = known & np.array([key in repeated for key in keys], dtype=bool)
    place = index.drop_duplicates().get_indexer(pd.Index(keys))
    first = np.flatnonzero(~index.duplicated())
    found = known & (place >= 0) & ~ambiguous
    return found, ambiguous, np.where(found, first[place] if len(first) else 0, 0)


def as_text(values: pd.Series) -> pd.Series:
    """Write values as people write an id or a code: whole numbers without a decimal point."""
    if pd.api.types.is_float_dtype(values.dtype):
        present = values.dropna()
        if ((present % 1 == 0) & (present.abs() < 2**53)).all():
            values = values.astype("Int64")
    return values.astype("string")


@dataclass(frozen=True, slots=True)
class Partners:
    """Sources of the partners of joins.

    `folder` is where joined files lie (None: nowhere), `archive` a ZIP file that may hold them, `database` opens the
    database of published layers, and `principal` is who reads them (None: whoever runs the program). `opener` opens
    joined files.
    """

    folder: Path | None = None
    archive: Path | None = None
    database: Callable[[], Database] | None = None
    principal: Principal | None = None
    opener: Opener = open_file

    def open(self, join: Join) -> Partner:
        """Open the partner of a join."""
        if join.file is None:
            return LayerPartner(*self._layer(str(join.layer)), join)
        if self.archive is not None and (member := _member(self.archive, join.file)):
            folder = archive.unpack(self.archive, ReadOptions(), [member])
            try:
                return TablePartner(folder / member, join, self.opener)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        if self.folder is None:
            raise BadInput(
                Text(
                    en="The file to join, “{file}”, is not there: upload both files in one ZIP archive, or publish it "
                    'as a layer and join that (join = {{ layer = "agency.name", on = "COLUMN" }}).',
                    vi="Không có tệp cần nối “{file}”: hãy tải lên cả hai tệp trong một tệp ZIP, hoặc công bố tệp đó "
                    'thành lớp rồi nối lớp (join = {{ layer = "đơn_vị.tên", on = "CỘT" }}).',
                ).format(file=str(join.file))
            )
        return TablePartner(inside(self.folder, join.file), join, self.opener)

    def _layer(self, layer_id: str) -> tuple[Database, Permit]:
        split_layer_id(layer_id)
        database = self._opened()
        permits = {permit.layer.id: permit for permit in self._permits(database)}
        if layer_id not in permits:
            raise NotFound(
                Text(en="There is no layer “{id}” to join.", vi="Không có lớp “{id}” để nối.").format(id=layer_id)
            )
        return database, permits[layer_id]

    def _opened(self) -> Database:
        if self.database is None:
            raise BadInput(
                Text(
                    en="A published layer can be joined only where the database is.",
                    vi="Chỉ nối được với lớp đã công bố ở nơi có cơ sở dữ liệu.",
                )
            )
        return self.database()

    def _permits(self, database: Database) -> list[Permit]:
        """Read the catalogue and return the permits for the layers that may be joined."""
        with database.session() as session:
            layers = read_catalogue(session)
        if self.principal is None:
            return list(operator_permits(layers, (name for name, layer in layers.items() if layer.current)))
        return every_permit(self.principal, layers)

    def propose(self, table: pd.DataFrame) -> Join | None:
        """Propose a layer whose features a table without coordinates names, and the columns that do so.

        The layer is the one in which the largest share of a column's different values names a feature; of equal ones
        a layer of the base map.
        """
        if self.database is None or not len(table):
            return None
        # Tables with coordinates never come here: a layer is not joined unless nothing else says where a row lies.
        values = {name: _distinct(table[name]) for name in table.columns}
        values = {name: distinct for name, distinct in values.items() if len(distinct) > 1}
        every = sorted({value for distinct in values.values() for value in distinct})
        if not every:
            return None
        database = self._opened()
        try:
            permits = self._permits(database)
        except (TwinError, sa.exc.SQLAlchemyError):
            # A file can be checked where no database runs; nothing is proposed then.
            return None
        best: tuple[tuple[float, bool, int, int], Join] | None = None
        for permit in permits:
            layer, version = permit.layer, permit.version
            # Shapes of a layer that is not open are taken only by who names it.
            if version.raster or layer.sharing is not Sharing.OPEN:
                continue
            if not 0 < version.features <= COMPARED_FEATURES:
                continue
            for rank, key in enumerate(_keys(permit)):
                known = _known(database, version.table, key, every)
                for column, distinct in values.items():
                    share = len(known & set(distinct)) / len(distinct)
                    score = (round(share, 2), theme_of(layer).base_map, -rank, -version.features)
                    if share >= NAMES_FEATURES and (best is None or score > best[0]):
                        best = score, Join(layer=layer.id, on=column, key=None if key == ID else key)
        return best and best[1]


def _member(path: Path, file: Path) -> str | None:
    """Return the name of a file in a ZIP archive, if it is there."""
    names = [entry.filename for entry in archive.members(path, load_limits())]
    return next((name for name in names if name == file.as_posix()), None)


def _keys(permit: Permit) -> Iterable[str]:
    """Return the columns that name a layer's features: the id, the code, the label of its theme."""
    present = {column.name for column in permit.columns if column.type == "text"}
    label = theme_of(permit.layer).label
    return (ID, *(name for name in ("code", label) if name in present))


def _distinct(values: pd.Series) -> list[str]:
    texts = as_text(values.dropna()).str.strip()
    return [str(value) for value in texts.unique()[:COMPARED_VALUES] if 0 < len(value) <= 200 and "\0" not in value]


def _known(database: Database, table: str, key: str, values: list[str]) -> set[str]:
    statement = f'SELECT DISTINCT "{key}"::text FROM {DATA_SCHEMA}."{table}" WHERE "{key}"::text = ANY(:values)'  # noqa: S608  # names of the catalogue
    with database.session() as session:
        return set(session.scalars(sa.text(statement), {"values": values}))


def joined(
    raw: gpd.GeoDataFrame, values: Mapping[str, Any], shapes: npt.NDArray[np.object_] | None
) -> gpd.GeoDataFrame:
    """Put a partner's columns, and its shapes if it has some, beside the rows that they belong to."""
    columns = {str(name): column for name, column in raw.items() if name != raw.geometry.name}
    more = {name: objects(column.to_numpy(dtype=object), len(raw)) for name, column in values.items()}
    own = np.asarray(raw.geometry.values, dtype=object)
    return with_geometry({**columns, **more}, own if shapes is None else shapes)

"""What every reader gives, and which reader a file gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd

from ingest.spec import Source
from layers.theme import FieldType
from twin.errors import BadInput
from twin.text import Text


class Reader(Protocol):
    """An opened file: its columns with their types, its CRS, and its features in batches.

    A batch is a GeoDataFrame with those columns and the geometry in `crs`; rows come in the file's order.
    """

    columns: Mapping[str, FieldType]
    crs: Any

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features, at most `rows` at a time."""


def open_source(source: Source, folder: Path) -> Reader:
    """Open a source's file with the reader for it. Paths are relative to `folder` and stay below it."""
    path = inside(folder, source.file)
    suffix = path.suffix.lower()
    if path.name.lower().endswith(".osm.pbf"):
        from ingest.readers.osm import OsmReader

        return OsmReader(path, source)
    if suffix == ".csv":
        from ingest.readers.table import CsvReader

        return CsvReader(path, source)
    from ingest.readers.vector import VectorReader

    return VectorReader(path, source)


def inside(folder: Path, file: Path) -> Path:
    """Resolve a file of a description; it must exist, below the folder that was named."""
    root = folder.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root):
        raise BadInput(
            Text(
                en="“{file}” lies outside the data folder {folder}.",
                vi="“{file}” nằm ngoài thư mục dữ liệu {folder}.",
            ).format(file=file, folder=folder)
        )
    if not path.is_file():
        raise BadInput(
            Text(en="The file “{file}” is missing in {folder}.", vi="Thiếu tệp “{file}” trong {folder}.").format(
                file=file, folder=folder
            )
        )
    return path


def cannot_read(path: Path, reason: object) -> BadInput:
    """The error for a file that is not what its name says."""
    return BadInput(
        Text(en="{file} cannot be read: {reason}", vi="Không đọc được {file}: {reason}").format(
            file=path.name, reason=str(reason).strip().split("\n")[0][:300]
        )
    )


def missing_columns(path: Path, wanted: set[str], present: Mapping[str, FieldType]) -> None:
    """Refuse a file that lacks columns which the description names."""
    if absent := wanted - set(present):
        raise BadInput(
            Text(
                en="{file} has no column {absent}. Its columns are: {present}.",
                vi="{file} không có cột {absent}. Các cột hiện có: {present}.",
            ).format(file=path.name, absent=", ".join(sorted(absent)), present=", ".join(present))
        )

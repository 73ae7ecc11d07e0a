"""Checks of a GeoPackage, which is a SQLite database, before GDAL reads it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ingest.readers.limits import Limits
from ingest.readers.source import cannot_read
from ingest.readers.sqlite_queries import check_queries
from twin.text import Text

# Virtual tables run code of the program that opens them, and some read other files. These two only index.
_HARMLESS = re.compile(r"\bUSING\s+(rtree|fts[345])\b", re.IGNORECASE)
_VIRTUAL = re.compile(r"^\s*CREATE\s+VIRTUAL\s+TABLE\b", re.IGNORECASE)
# Types that pyogrio knows with a third number; it refuses the whole file because of any other.
_KNOWN_WITH_Z = frozenset({
    "POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION",
})  # fmt: skip
_KNOWN = _KNOWN_WITH_Z | {"GEOMETRY"}


def check_schema(path: Path, limits: Limits | None = None) -> bool:
    """Refuse a database with virtual tables other than indexes, or with queries that do not end.

    Tell whether types need to be made plain.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
            connection.text_factory = lambda stored: stored.decode("utf-8", "replace")
            schema = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            _refuse_virtual_tables(path, [str(statement) for _, statement in schema])
            check_queries(connection, path, limits or Limits())
            names = {str(name).lower() for name, _ in schema}
            types = []
            if "gpkg_geometry_columns" in names:
                types = connection.execute("SELECT geometry_type_name, z, m FROM gpkg_geometry_columns").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        raise cannot_read(
            path,
            Text(
                en="the database in it is damaged or cut off; export the layer to a new GeoPackage",
                vi="cơ sở dữ liệu bên trong bị hỏng hoặc bị cụt; hãy xuất lớp sang GeoPackage mới",
            ),
        ) from None
    if not names & {"gpkg_contents", "gpkg_geometry_columns"}:
        raise cannot_read(
            path,
            Text(
                en="it is a SQLite database but no GeoPackage (an MBTiles of tiles, a SpatiaLite, or of another "
                "program); export the layer to GeoPackage",
                vi="đây là cơ sở dữ liệu SQLite nhưng không phải GeoPackage (MBTiles, SpatiaLite hoặc của phần mềm "
                "khác); hãy xuất lớp sang GeoPackage",
            ),
        )
    return any(
        str(name).upper() not in (_KNOWN if z in (0, None) and m in (0, None) else _KNOWN_WITH_Z)
        for name, z, m in types
    )


def _refuse_virtual_tables(path: Path, statements: list[str]) -> None:
    for statement in statements:
        if _VIRTUAL.match(statement) and not _HARMLESS.search(statement):
            raise cannot_read(
                path,
                Text(
                    en="it has a virtual table, which could read other files; export the layer to a new GeoPackage",
                    vi="có bảng ảo có thể đọc tệp khác; hãy xuất lớp sang GeoPackage mới",
                ),
            )


def with_plain_types(path: Path, folder: Path) -> Path:
    """Copy a GeoPackage with the types that pyogrio does not know written as "any geometry"; its features stay."""
    copy = folder / "copy.gpkg"
    shutil.copyfile(path, copy)
    known = ", ".join(f"'{name}'" for name in sorted(_KNOWN_WITH_Z))
    try:
        with closing(sqlite3.connect(copy)) as connection, connection:
            # Triggers would be run by the change, and they are the file's own.
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in triggers:
                connection.execute('DROP TRIGGER "' + str(name).replace('"', '""') + '"')
            connection.execute(
                "UPDATE gpkg_geometry_columns SET geometry_type_name = 'GEOMETRY', z = 0, m = 0 "
                f"WHERE upper(geometry_type_name) NOT IN ({known})"
            )
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from None
    return copy


def has_column(path: Path, table: str | None, column: str) -> bool:
    """Return whether a table or view of a database has a column of this name."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
            found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return column.lower() in {str(name).lower() for (name,) in found}

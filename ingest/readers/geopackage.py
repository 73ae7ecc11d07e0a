"""What is looked at in a GeoPackage, which is a SQLite database, before GDAL reads it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

from ingest.limits import Limits
from ingest.readers.source import cannot_read
from ingest.readers.sqlite_queries import check_queries
from twin.text import Text

# Virtual tables run code of the program that opens them, and some read other files. These two only index.
_HARMLESS = re.compile(r"\bUSING\s+(rtree|fts[345])\b", re.IGNORECASE)
_VIRTUAL = re.compile(r"^\s*CREATE\s+VIRTUAL\s+TABLE\b", re.IGNORECASE)


def check_schema(path: Path, limits: Limits | None = None) -> None:
    """Refuse a database with virtual tables other than indexes, or with queries that do not end."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            statements = [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
            _refuse_virtual_tables(path, statements)
            check_queries(connection, path, limits or Limits())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise cannot_read(path, error) from None


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

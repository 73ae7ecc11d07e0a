"""Queries inside a SQLite file, run once with a limit of time before GDAL runs them without one."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from ingest.readers.limits import Limits, exceeded
from ingest.readers.source import cannot_read
from twin.text import Text

# So many steps of SQLite's machine between two looks at the clock: a few milliseconds.
STEPS = 100_000
# Sorting and recursion may hold so much; a query that needs more cannot be a layer of a city.
HEAP_BYTES = 2**30
# Action codes of SQLite's authorizer, which Python's module does not name.
_RECURSIVE = 33
_UNKNOWN = re.compile(r"no such function: (\w+)")
_MOST_FUNCTIONS = 100


def check_queries(connection: sqlite3.Connection, path: Path, limits: Limits) -> None:
    """Refuse a file with a view, or a computed column, that does not end in time or grows without bound.

    Functions that GDAL adds stand for themselves as a constant: how often they are called does not depend on what they
    give, but in a recursion, which is refused together with them.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.object_bytes)
    connection.execute("PRAGMA temp_store = MEMORY")
    # For the rest of the process: this limit of the library can be lowered, never raised.
    connection.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
    until = time.monotonic() + limits.query_seconds
    connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        for name in _computed(connection):
            _run(connection, name, path, limits)
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


def _computed(connection: sqlite3.Connection) -> Iterator[str]:
    """Name the views, and the tables with columns that are computed when they are read."""
    tables = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('view', 'table')").fetchall()
    for name, kind, statement in tables:
        if kind == "view" or re.search(r"\bAS\s*\(", str(statement), re.IGNORECASE):
            yield str(name)


def _run(connection: sqlite3.Connection, name: str, path: Path, limits: Limits) -> None:
    recursive = foreign = False

    def authorise(action: int, *_: object) -> int:
        nonlocal recursive
        recursive |= action == _RECURSIVE
        return sqlite3.SQLITE_OK

    connection.set_authorizer(authorise)
    query = 'SELECT * FROM "{}"'.format(name.replace('"', '""'))  # noqa: S608  # quoted as SQLite does
    for _ in range(_MOST_FUNCTIONS):
        try:
            cursor = connection.execute(query)
            if recursive and foreign:
                raise _refused(path, name, Text(en="calls itself with functions", vi="tự gọi lại kèm theo hàm"))
            for _row in cursor:
                pass
            return
        except sqlite3.OperationalError as error:
            unknown = _UNKNOWN.search(str(error))
            if unknown is None:
                if "interrupted" in str(error):
                    raise exceeded(path.name, limits, "query_seconds") from None
                # A view of a table that is not there, for instance: GDAL says so where that layer is wanted.
                if "no such" in str(error):
                    return
                raise _refused(path, name, Text(en=f"fails ({error})", vi=f"bị lỗi ({error})")) from None
            connection.create_function(unknown[1], -1, lambda *_: 1)
            foreign = True
        except (sqlite3.Error, MemoryError):
            raise _refused(
                path, name, Text(en="needs more memory than is allowed", vi="cần nhiều bộ nhớ hơn mức cho phép")
            ) from None
    raise _refused(path, name, Text(en="calls too many functions", vi="gọi quá nhiều hàm"))


def _refused(path: Path, name: str, what: Text) -> Exception:
    return cannot_read(
        path,
        Text(
            en="its view “{name}” {what}; export the layer to a table of a new GeoPackage",
            vi="khung nhìn “{name}” trong tệp {what}; hãy xuất lớp thành bảng trong GeoPackage mới",
        ).format(name=name[:80], what=what),
    )

"""The names that filters and sorting may use: the columns of a version, with their kinds in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from twin.catalogue.catalogue import Column

Kind = Literal["text", "number", "boolean", "date", "time", "geometry"]

KINDS: dict[str, Kind] = {
    "text": "text", "integer": "number", "number": "number", "boolean": "boolean", "date": "date", "time": "time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Queryable:
    """A name that filters and sorting may use: its kind, and the SQL that reads it from the table `f`."""

    name: str
    kind: Kind
    sql: str


@lru_cache(maxsize=1024)
def _of_columns(columns: tuple[Column, ...]) -> Mapping[str, Queryable]:
    found = {"id": Queryable("id", "text", "f.id"), "geometry": Queryable("geometry", "geometry", "f.geom")}
    for column in columns:
        kind = KINDS[column.type]
        # Numbers are compared as numbers, whichever of the two SQL types holds them.
        cast = "::float8" if column.type == "integer" else ""
        # A column that is called like the geometry's queryable is read by its own name all the same.
        found[column.name] = Queryable(column.name, kind, column.sql("f") + cast)
    return found


def queryables(columns: tuple[Column, ...]) -> Mapping[str, Queryable]:
    """Return the queryables of features with these columns, by name."""
    return _of_columns(columns)


def moment_of(columns: Sequence[Column]) -> Column | None:
    """Return the column that says when a feature was: the first one that is a time or a date."""
    return next((c for c in columns if c.type in ("time", "date")), None)

"""What features can be asked by: the columns of a version, with their kinds in SQL and their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from layers.contracts import theme_of
from layers.theme import Field, GeometryKind
from twin.catalogue import Column, Layer, Version
from twin.text import Language, Text

Kind = Literal["text", "number", "boolean", "date", "time", "geometry"]

KINDS: dict[str, Kind] = {
    "text": "text", "integer": "number", "number": "number", "boolean": "boolean", "date": "date", "time": "time",
}  # fmt: skip
JSON_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "date-time"},
}
GEOMETRY_FORMATS: dict[GeometryKind, str] = {
    "point": "geometry-point-or-multipoint",
    "line": "geometry-linestring-or-multilinestring",
    "polygon": "geometry-polygon-or-multipolygon",
}
GEOMETRY_TITLE = Text(en="Geometry", vi="Hình học")
ID_TITLE = Text(en="Identifier", vi="Mã định danh")


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
        found[column.name] = Queryable(column.name, kind, f'f."{column.name}"{cast}')
    return found


def queryables(version: Version) -> Mapping[str, Queryable]:
    """Everything that a version's features can be asked by, by name."""
    return _of_columns(version.columns)


def moment_of(version: Version) -> Column | None:
    """The column that says when a feature was: the first one that is a time or a date."""
    return next((c for c in version.columns if c.type in ("time", "date")), None)


def properties_schema(layer: Layer, version: Version, language: Language) -> dict[str, Any]:
    """JSON Schemas of the properties, in the order of the columns, with their part in OGC's features."""
    of, moment = theme_of(layer), moment_of(version)
    found = {}
    for position, column in enumerate(version.columns, 1):
        schema = _column(column, of.by_name.get(column.name), language) | {"x-ogc-propertySeq": position}
        if column is moment:
            schema["x-ogc-role"] = "primary-instant"
        found[column.name] = schema
    return found


def _column(column: Column, field: Field | None, language: Language) -> dict[str, Any]:
    schema: dict[str, Any] = {"title": column.title.in_language(language), **JSON_TYPES[column.type]}
    if column.unit:
        schema |= {"x-ogc-unit": column.unit, "x-ogc-unitLang": "UCUM"}
    if column.source and column.source != column.name:
        schema["description"] = f"← {column.source}"
    if field is None:
        return schema
    if field.vocabulary:
        schema["enum"] = list(field.vocabulary)
        schema["x-enum-titles"] = {k: t.title.in_language(language) for k, t in field.vocabulary.items()}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    return schema


def id_schema(language: Language) -> dict[str, Any]:
    """The schema of a feature's id."""
    return {"title": ID_TITLE.in_language(language), "type": "string", "x-ogc-role": "id", "readOnly": True}


def geometry_schema(layer: Layer, language: Language) -> dict[str, Any]:
    """The schema of a feature's geometry, as OGC API — Features 5 names its kinds."""
    return {
        "title": GEOMETRY_TITLE.in_language(language),
        "x-ogc-role": "primary-geometry",
        "format": GEOMETRY_FORMATS[theme_of(layer).geometry],
    }

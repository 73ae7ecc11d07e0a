"""JSON Schemas of a layer's properties, geometry and ids, for queryables, sortables and schema documents."""

from __future__ import annotations

from typing import Any

from layers.contracts import theme_of
from layers.theme import Field, GeometryKind
from twin.access.permit import Permit
from twin.catalogue.catalogue import Column, Layer
from twin.query.queryables import moment_of
from twin.text import Language, Text

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


def properties_schema(permit: Permit, language: Language) -> dict[str, Any]:
    """Return JSON Schemas of the properties that may be shown, in their order, with their part in OGC's features."""
    of, moment = theme_of(permit.layer), moment_of(permit.columns)
    found = {}
    for position, column in enumerate(permit.columns, 1):
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
    """Return the schema of a feature's id."""
    return {"title": ID_TITLE.in_language(language), "type": "string", "x-ogc-role": "id", "readOnly": True}


def geometry_schema(layer: Layer, language: Language) -> dict[str, Any]:
    """Return the schema of a feature's geometry, as OGC API — Features 5 names its kinds."""
    return {
        "title": GEOMETRY_TITLE.in_language(language),
        "x-ogc-role": "primary-geometry",
        "format": GEOMETRY_FORMATS[theme_of(layer).geometry],
    }

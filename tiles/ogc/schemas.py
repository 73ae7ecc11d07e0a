"""JSON Schemas of the answers, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiles.ogc.formats import CSV, FLATGEOBUF, GEOPARQUET, HTML, NDJSON, SEQUENCE, Format

Schema = dict[str, Any]

LINK: Schema = {
    "type": "object",
    "required": ["href", "rel"],
    "properties": {
        "href": {"type": "string"}, "rel": {"type": "string"}, "type": {"type": "string"},
        "title": {"type": "string"}, "templated": {"type": "boolean"},
    },
}  # fmt: skip
LINKS: Schema = {"type": "array", "items": LINK}
GEOMETRY: Schema = {
    "type": ["object", "null"],
    "required": ["type"],
    "properties": {
        "type": {
            "enum": ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon",
                     "GeometryCollection"]
        },
        "coordinates": {"type": "array"},
        "geometries": {"type": "array"},
    },
}  # fmt: skip
FEATURE: Schema = {
    "type": "object",
    "required": ["type", "id", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"}, "id": {"type": "string"}, "geometry": GEOMETRY,
        "properties": {"type": "object"}, "links": LINKS,
    },
}  # fmt: skip
COLLECTION: Schema = {
    "type": "object",
    "required": ["type", "features", "numberReturned", "links"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": FEATURE},
        "numberReturned": {"type": "integer", "minimum": 0},
        "numberMatched": {"type": "integer", "minimum": 0},
        "links": LINKS,
    },
}
LANDING: Schema = {
    "type": "object",
    "required": ["title", "links"],
    "properties": {"title": {"type": "string"}, "description": {"type": "string"}, "links": LINKS},
}
CONFORMANCE: Schema = {
    "type": "object",
    "required": ["conformsTo"],
    "properties": {"conformsTo": {"type": "array", "items": {"type": "string"}}},
}
BOX: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
EXTENT: Schema = {
    "type": "object",
    "properties": {
        "spatial": {
            "type": "object",
            "required": ["bbox", "crs"],
            "properties": {"bbox": {"type": "array", "items": BOX, "minItems": 1}, "crs": {"type": "string"}},
        },
        "temporal": {
            "type": "object",
            "required": ["interval"],
            "properties": {
                "interval": {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 2, "maxItems": 2},
                }
            },
        },
    },
}
ONE_LAYER: Schema = {
    "type": "object",
    "required": ["id", "title", "links", "itemType", "crs", "storageCrs", "extent", "version", "featureCount"],
    "properties": {
        "id": {"type": "string"}, "title": {"type": "string"}, "description": {"type": "string"},
        "itemType": {"const": "feature"}, "crs": {"type": "array", "items": {"type": "string"}},
        "storageCrs": {"type": "string"}, "extent": EXTENT, "bounds": {"oneOf": [BOX, {"type": "null"}]},
        "version": {"type": "integer"}, "versions": {"type": "array", "items": {"type": "integer"}},
        "featureCount": {"type": ["integer", "null"]}, "published": {"type": "string", "format": "date-time"},
        "licence": {"type": "string"}, "attribution": {"type": "string"}, "links": LINKS,
    },
}  # fmt: skip
LAYERS: Schema = {
    "type": "object",
    "required": ["links", "collections"],
    "properties": {"links": LINKS, "collections": {"type": "array", "items": ONE_LAYER}},
}
PROPERTY_SCHEMA: Schema = {
    "type": "object",
    "required": ["$schema", "$id", "type", "title", "properties"],
    "properties": {
        "$schema": {"const": "https://json-schema.org/draft/2020-12/schema"}, "$id": {"type": "string"},
        "type": {"const": "object"}, "title": {"type": "string"}, "properties": {"type": "object"},
        "required": {"type": "array", "items": {"type": "string"}}, "additionalProperties": {"const": False},
    },
}  # fmt: skip

BINARY: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = {"type": "string"}


def content(schema: Schema, offered: Sequence[Format]) -> dict[int | str, dict[str, Any]]:
    """The answers of an address: the document in its formats, 304 for who has it, 406 for who wants another form."""
    as_text, as_bytes = (HTML, CSV, NDJSON, SEQUENCE), (FLATGEOBUF, GEOPARQUET)
    types = {o.media_type: {"schema": TEXT if o in as_text else BINARY if o in as_bytes else schema} for o in offered}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        200: {"description": "The document", "content": types},
        304: {"description": "The reader has it already"},
        406: {"description": "Offered, but not in this form", "content": problem},
    }

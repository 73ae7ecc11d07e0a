"""JSON Schemas of the answers about a layer's cells, for the OpenAPI document."""

from __future__ import annotations

from tiles.ogc.schemas import FEATURE, LINKS, Schema

NUMBER: Schema = {
    "type": "object",
    "required": ["title", "type"],
    "properties": {
        "title": {"type": "string"}, "type": {"type": "string"}, "unit": {"type": "string"},
        "rollup": {"enum": ["sum", "count", "mean", "min", "max", "mode"]}, "weight": {"type": "string"},
    },
}  # fmt: skip
ABOUT: Schema = {
    "type": "object",
    "required": ["layer", "version", "resolution", "resolutions", "properties", "numberReturned", "links"],
    "properties": {
        "layer": {"type": "string"}, "title": {"type": "string"}, "version": {"type": "integer", "minimum": 1},
        "published": {"type": "string", "format": "date-time"}, "licence": {"type": "string"},
        "attribution": {"type": "string"}, "sample": {"type": "boolean"},
        "resolution": {"type": "integer", "minimum": 0, "maximum": 15},
        "resolutions": {"type": "array", "items": {"type": "integer"}},
        "properties": {"type": "object", "additionalProperties": NUMBER},
        "numberReturned": {"type": "integer", "minimum": 0}, "links": LINKS,
    },
}  # fmt: skip
CELL: Schema = {
    "type": "object",
    "required": ["cell", "features", "per_km2"],
    "properties": {
        "cell": {"type": "string", "pattern": "^[0-9a-f]{15}$"},
        "features": {"type": "integer", "minimum": 1},
        "per_km2": {"type": "number", "minimum": 0},
    },
}
AS_JSON: Schema = ABOUT | {
    "required": [*ABOUT["required"], "cells"],
    "properties": ABOUT["properties"] | {"cells": {"type": "array", "items": CELL}},
}
AS_GEOJSON: Schema = ABOUT | {
    "required": [*ABOUT["required"], "type", "features"],
    "properties": ABOUT["properties"]
    | {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": FEATURE},
    },
}

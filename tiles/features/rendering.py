"""Features and collections of them as JSON text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import shapely

from tiles.features.paging import PageStart, SortKey
from tiles.features.statement import AFTER_FID
from twin.query.reference import Reference

Row = Sequence[Any]


def feature_texts(rows: Sequence[Row], keys: int, reference: Reference) -> list[str]:
    """Return the features of some rows as JSON, as `FeatureText.columns` read them."""
    start = AFTER_FID + keys
    if reference.in_sql:
        return [row[start] for row in rows]
    shapes = shapely.from_wkb(np.array([row[start + 2] for row in rows], dtype=object))
    written = shapely.to_geojson(reference.from_wgs84(shapes)) if rows else []
    return [f"{row[start]}{text}{row[start + 1]}" for row, text in zip(rows, written, strict=True)]


def place_of(row: Row, keys: Sequence[SortKey], version: int, *, forward: bool) -> PageStart:
    """Return the place after a row, or before it."""
    return PageStart(version, forward, tuple(row[AFTER_FID : AFTER_FID + len(keys)]), row[0])


def opening(members: dict[str, Any]) -> bytes:
    """Return the beginning of a collection, up to its first feature."""
    return orjson.dumps({"type": "FeatureCollection", **members})[:-1] + b',"features":['


def closing(members: dict[str, Any]) -> bytes:
    """Return what follows the last feature of a collection."""
    return b"]," + orjson.dumps(members)[1:]


def with_members(feature: str, members: dict[str, Any]) -> bytes:
    """Return a feature with further members at its end."""
    return feature.encode()[:-1] + b"," + orjson.dumps(members)[1:]

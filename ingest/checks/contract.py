"""Checks of features that are in a layer's columns: types, vocabulary, range, geometry. What fails is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.checks.faults import Faults
from ingest.checks.shapes import CheckedShapes, area_of, check_shapes, finite
from ingest.checks.values import LONGEST_TEXT, typed
from ingest.frames import objects, with_geometry
from layers.theme import Theme
from twin.catalogue.catalogue import Column
from twin.cells.cover import Measured, measure


@dataclass
class Findings:
    """Findings of the checks in a layer: features mended, and set aside by reason."""

    mended: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after the checks: the good features, the entries for quarantine, and what the coordinates of the good
    ones tell.
    """

    good: gpd.GeoDataFrame
    bad: list[dict[str, Any]]
    measured: Measured


def check(
    features: gpd.GeoDataFrame, theme: Theme, columns: Sequence[Column], crs: Any, outline: BaseGeometry,
    findings: Findings, zone: tzinfo = UTC,
) -> Checked:  # fmt: skip
    """Bring features to the layer's types, to EPSG:4326 and to the theme's kind of geometry; set aside what cannot.

    Polygons that cross themselves are mended (and counted); collections give up the parts of the theme's kind.
    """
    faults = Faults(len(features))
    original = np.asarray(features.geometry.values, dtype=object)
    geometry = check_shapes(original, theme.geometry, crs, area_of(outline), faults)
    findings.mended += geometry.mended
    checked = divide(features, geometry, contract(features, theme, columns, faults, zone=zone), faults)
    findings.set_aside.update(entry["reason"] for entry in checked.bad)
    return checked


def contract(
    features: pd.DataFrame, theme: Theme, columns: Sequence[Column], faults: Faults, longest: int = LONGEST_TEXT,
    as_they_are: frozenset[str] = frozenset(), zone: tzinfo = UTC,
) -> dict[str, Any]:  # fmt: skip
    """Bring every column of a batch to its type; columns that hold shapes as text stay as they are. Times that name no
    zone are of the clock in `zone`.
    """
    values: dict[str, Any] = {"id": features["id"].to_numpy(dtype=object)}
    for column in columns:
        if column.name in as_they_are:
            values[column.name] = features[column.name].to_numpy(dtype=object)
            continue
        values[column.name] = typed(
            features[column.name], column, theme.by_name.get(column.name), faults, longest, zone
        )
    return values


def divide(features: gpd.GeoDataFrame, geometry: CheckedShapes, values: dict[str, Any], faults: Faults) -> Checked:
    """Part a batch into good features and entries for quarantine."""
    good = faults.none
    # Objects stay objects: pandas would turn texts into another form, from which they are taken again at once.
    plain = {k: objects(v, len(good)) if pd.api.types.is_object_dtype(v) else v for k, v in values.items()}
    frame = with_geometry(plain, geometry.shapes, crs=4326)
    bad = _entries(features, geometry.arrived, faults, np.flatnonzero(~good))
    if good.all():
        return Checked(frame, bad, geometry.measured)
    frame = frame[good].reset_index(drop=True)
    return Checked(frame, bad, measure(np.asarray(frame.geometry.values, dtype=object)))


def _entries(
    features: gpd.GeoDataFrame, arrived: npt.NDArray[np.object_], faults: Faults, rows: npt.NDArray[np.intp]
) -> list[dict[str, Any]]:
    """Whole enough to be mended and published again: all values as they came, the geometry in EPSG:4326.

    Coordinates that no transformation can take stay what they are in the file.
    """
    if not len(rows):
        return []
    original = np.asarray(features.geometry.values, dtype=object)[rows]
    moved = arrived[rows]
    shapes = np.where(shapely.is_missing(moved) | ~finite(moved), original, moved)
    attributes = pd.DataFrame(features.drop(columns=[features.geometry.name, "id"])).iloc[rows]
    plain = attributes.astype(object).where(attributes.notna(), None).to_dict("records")
    return [
        {
            "feature_id": _string(features["id"].iloc[row]),
            "reason": faults.reason[row],
            "detail": faults.detail[row],
            "properties": {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in p.items()},
            "geometry": shapely.to_wkb(shape) if shape is not None else None,
        }
        for row, p, shape in zip(rows, plain, shapes, strict=True)
    ]


def _string(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)

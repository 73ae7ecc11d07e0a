"""The grade of a stream's value: by the scale of its kind, at its place, on its day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from layers.observed.kind import Scale
from layers.observed.registry import KINDS
from layers.observed.traffic import CLASS_OF_ROAD, RATIO_SCALE, SPEED_SCALES

# Properties of a Datastream that choose its scale.
PLACE, ROAD_CLASS, FREE_FLOW = "place", "road_class", "free_flow_kmh"


def scale_of(kind: str, properties: Mapping[str, Any], moment: datetime) -> tuple[Scale, float] | None:
    """Return the scale that grades a stream's values, and what a value is divided by first; None without a scale.

    Parameters
    ----------
    kind : str
        The name of an observed kind, or any other text.
    properties : mapping
        Of the Datastream: `place` names one that has limits of its own, `road_class` and `free_flow_kmh` are those of
        a road.
    moment : datetime
        With a zone; limits change with time.
    """
    observed = KINDS.get(kind)
    if observed is None:
        return None
    if kind == "traffic_speed":
        free = properties.get(FREE_FLOW)
        if isinstance(free, int | float) and free > 0:
            return RATIO_SCALE, float(free)
        design = CLASS_OF_ROAD.get(str(properties.get(ROAD_CLASS)))
        return (SPEED_SCALES[design], 1.0) if design else None
    place = properties.get(PLACE)
    scale = observed.scale_at(moment, place if isinstance(place, str) else None)
    return (scale, 1.0) if scale is not None else None


def grade_index(kind: str, properties: Mapping[str, Any], value: float | None, moment: datetime) -> int:
    """Return the place of a value's grade in its scale; -1 without a value or a scale."""
    if value is None:
        return -1
    found = scale_of(kind, properties, moment)
    return -1 if found is None else int(found[0].grade_index([value / found[1]])[0])

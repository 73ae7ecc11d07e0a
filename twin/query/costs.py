"""The cost of a filter for the database: an estimate beforehand, so that a hopeless query is refused at once.

The unit is one ST_Intersects of a feature with a small fixed geometry, about 1.5 µs on two cores of 2026. The other
weights were measured against it, on 200,000 buildings.
"""

from __future__ import annotations

import shapely
from shapely.geometry.base import BaseGeometry

from twin.catalogue.catalogue import Bounds
from twin.errors import TooCostly
from twin.text import Text

# A quarter of a minute for the database. What is below is bounded by the time limit of its statement.
MOST = 10_000_000
COMPARISON = 0.05
LIKE = 0.1
SMALL_LETTERS = 0.5
WITHOUT_ACCENTS = 2.0
# Two geometries of features: neither of them is prepared.
UNPREPARED = 10.0
# Vertices of a fixed geometry that cost as much again as the comparison itself.
VERTICES = 2_000
# What even a feature far from the geometry costs, where the index does not help (NOT, OR).
LEAST_SHARE = 0.05
# Relations that are evaluated in three steps.
STEPS = {"s_touches": 3.0, "s_overlaps": 3.0, "s_crosses": 3.0}

TOO_COSTLY = Text(
    en="filter: it would take about {cost:,} comparisons of geometries and texts; at most {most:,} are "
    "made. Use fewer spatial operators, smaller areas, or a box (bbox), or ask in parts.",
    vi="filter: cần khoảng {cost:,} phép so sánh hình học và văn bản, tối đa là {most:,}. Hãy dùng ít "
    "phép toán không gian hơn, vùng nhỏ hơn, hoặc khung bao (bbox), hoặc hỏi từng phần.",
)


def of_relation(op: str, left: BaseGeometry | None, right: BaseGeometry | None, extent: Bounds | None) -> float:
    """Return what a spatial relation costs for each feature of a layer with this extent; None is a property."""
    if left is None and right is None:
        return UNPREPARED
    shape = left if left is not None else right
    if left is not None and right is not None:
        # Both are fixed: compared once.
        return 0.0
    weight: float = STEPS.get(op, 1.0) * (1 + shapely.get_num_coordinates(shape) / VERTICES)
    # The index leaves only the features near the geometry, but for those that are wanted because they are not.
    return weight if op == "s_disjoint" or extent is None else weight * _share(shape, extent)


def _share(shape: BaseGeometry | None, extent: Bounds) -> float:
    """Return the share of an extent that the box of a geometry covers."""
    west, south, east, north = shapely.bounds(shape)
    width, height = extent[2] - extent[0], extent[3] - extent[1]
    across = _overlap(west, east, extent[0], extent[2]) / width if width > 0 else 1.0
    up = _overlap(south, north, extent[1], extent[3]) / height if height > 0 else 1.0
    return max(LEAST_SHARE, float(across * up))


def _overlap(low: float, high: float, start: float, end: float) -> float:
    return max(0.0, min(high, end) - max(low, start))


def check_cost(each: float, features: int) -> None:
    """Refuse a filter that costs so much for each of so many features."""
    cost = round(each * features)
    if cost > MOST:
        raise TooCostly(TOO_COSTLY.format(cost=round(cost, -6), most=MOST))

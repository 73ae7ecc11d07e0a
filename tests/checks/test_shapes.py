"""Geometry: what is called valid without asking is valid, and what lies in the city is found by its box."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.checks.faults import Faults
from ingest.checks.shapes import area_of, check_shapes, convex
from tests.examples import examples
from twin.cells.cover import measure

HOUSE = [(106.7, 10.7), (106.7002, 10.7), (106.7002, 10.7001), (106.7, 10.7001), (106.7, 10.7)]
# A grid of few numbers: repeated corners, straight angles and crossings come by themselves.
COARSE = st.integers(-2, 3)
FINE = st.floats(-1e-3, 1e-3) | st.floats(allow_nan=False, allow_infinity=False)


def said_convex(*shapes: shapely.Geometry | None) -> list[bool]:
    array = np.array(shapes, dtype=object)
    return convex(shapely.get_type_id(array), measure(array)).tolist()


def ring(points: list[tuple[float, float]]) -> shapely.Polygon:
    return shapely.Polygon([*points, points[0]])


def turned(corners: int, times: int, turn: float, size: float, flat: float) -> shapely.Polygon:
    """A regular ring that goes around so many times: once is convex, twice is a star."""
    angle = turn + np.arange(corners) * 2 * np.pi * times / corners
    return ring([*zip(106.7 + size * np.cos(angle), 10.7 + size * flat * np.sin(angle), strict=True)])


@settings(max_examples=examples(1500), deadline=None)
@given(
    points=st.lists(st.tuples(COARSE, COARSE), min_size=3, max_size=9)
    | st.lists(st.tuples(FINE, FINE), min_size=3, max_size=9)
)
@example([(0, 0), (2, 0), (2, 2), (1, 2), (1, 2), (0, 2)])
@example([(0, 0), (1, 1e-17), (2, 0), (1, 2)])
@example([(0.0, 0.0), (5e-324, 0.0), (5e-324, 5e-324), (0.0, 5e-324)])
@example([(0.0, 0.0), (1e200, 0.0), (1e200, 1e200), (0.0, 1e200)])
def test_a_ring_that_is_called_convex_is_valid(points: list[tuple[float, float]]) -> None:
    with np.errstate(all="ignore"):
        shape = ring(points)
        (called,) = said_convex(shape)
    if called:
        assert shape.is_valid
        assert shape.convex_hull.normalize().equals(shape.normalize())


@settings(max_examples=examples(300), deadline=None)
@given(
    corners=st.integers(3, 40), turn=st.floats(0, 7), size=st.floats(1e-6, 0.1), flat=st.floats(0.01, 1),
    backwards=st.booleans(),
)  # fmt: skip
def test_a_convex_ring_is_found_and_a_star_is_not(
    corners: int, turn: float, size: float, flat: float, backwards: bool
) -> None:
    shape = turned(corners, 1, turn, size, flat)
    # So many corners of so small a ring are nearly straight: rounding may hide how they turn, and nothing is said.
    if size * flat > 1e-5 and corners < 20:
        assert said_convex(shape.reverse() if backwards else shape) == [True]
    for times in range(2, (corners + 1) // 2):
        assert said_convex(turned(corners, times, turn, size, flat)) == [False]


def test_holes_parts_and_other_kinds_are_never_called_convex() -> None:
    house = shapely.Polygon(HOUSE)
    hole = [(106.70005, 10.70002), (106.70015, 10.70002), (106.70015, 10.70008), (106.70005, 10.70002)]
    touching = [HOUSE[0], (106.7001, 10.70001), (106.7001, 10.70005), HOUSE[0]]
    beside = shapely.affinity.translate(house, 0.001)
    # Turning left all the way, hole and jump included.
    inwards = shapely.Polygon(
        HOUSE, [[(106.70015, 10.70008), (106.70005, 10.70008), (106.7001, 10.70002), (106.70015, 10.70008)]]
    )
    assert said_convex(house, shapely.MultiPolygon([house])) == [True, True]
    assert not any(
        said_convex(
            shapely.Polygon(HOUSE, [hole]), shapely.Polygon(HOUSE, [touching]), shapely.Polygon(HOUSE, [HOUSE]),
            inwards, shapely.MultiPolygon([house, beside]), shapely.MultiPolygon([house, house]),
            shapely.LineString(HOUSE), shapely.LinearRing(HOUSE), shapely.Point(HOUSE[0]), shapely.MultiPoint(HOUSE),
            shapely.GeometryCollection([house]), shapely.Polygon(), None,
        )
    )  # fmt: skip


@settings(max_examples=examples(500), deadline=None)
@given(
    shells=st.lists(st.tuples(st.integers(3, 6), st.floats(0, 7), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)), min_size=2, max_size=3),
    holes=st.booleans(),
)  # fmt: skip
def test_several_rings_that_are_convex_each_are_not_called_one(
    shells: list[tuple[int, float, float, float]], holes: bool
) -> None:
    rings = [shapely.affinity.translate(turned(n, 1, turn, 0.003, 0.8), x, y) for n, turn, x, y in shells]
    shape = (
        shapely.Polygon(rings[0].exterior, [ring.exterior for ring in rings[1:]])
        if holes
        else shapely.MultiPolygon(rings)
    )
    assert said_convex(shape) == [False]


def test_neighbours_in_a_batch_do_not_spoil_each_other() -> None:
    rng = np.random.default_rng(5)
    shapes: list[shapely.Geometry | None] = []
    for _ in range(2000):
        corners = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(0.2, 1, corners) if rng.random() < 0.5 else np.ones(corners)
        shapes.append(ring([*zip(reach * np.cos(angle), reach * np.sin(angle), strict=True)]))
        if rng.random() < 0.1:
            shapes.append(None if rng.random() < 0.5 else shapely.Polygon())
    together = said_convex(*shapes)
    assert together == [said_convex(shape)[0] for shape in shapes]
    assert 500 < sum(together) < 1900


@pytest.mark.parametrize("others", [0, 50])
def test_a_shape_far_from_the_city_is_found_among_others(others: int) -> None:
    outline = shapely.Polygon([(106, 10), (108, 10), (106, 12)])
    here = shapely.Polygon(HOUSE)
    # In the box of the outline and of the others, but beyond the slope between its corners.
    away = shapely.affinity.translate(here, 1.2, 1.2)
    faults = Faults(others + 2)
    check_shapes(np.array([here] * (others + 1) + [away], dtype=object), "polygon", 4326, area_of(outline), faults)
    found = {f.code: np.flatnonzero(f.where).tolist() for f in faults.found}
    assert found == {"geometry.outside_city": [others + 1]}

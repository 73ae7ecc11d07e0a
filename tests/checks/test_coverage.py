"""Overlaps and gaps of layers that should tile the plane."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks.coverage import CoveragePolygons, gaps, overlaps
from ingest.checks.shapes import square_metres

STEP = 0.01


def tiles(rows: int, columns: int) -> np.ndarray:
    """A checkerboard without flaws near the city."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    x, y = 106.6 + x.ravel() * STEP, 10.7 + y.ravel() * STEP
    return shapely.box(x.round(6), y.round(6), (x + STEP).round(6), (y + STEP).round(6))


grids = st.tuples(st.integers(1, 6), st.integers(2, 6))


@settings(max_examples=60, deadline=None)
@given(grid=grids)
def test_tiles_that_share_their_borders_have_no_overlaps_and_no_gaps(grid: tuple[int, int]) -> None:
    assert overlaps(tiles(*grid)) == [] and gaps(tiles(*grid)) == []


@settings(max_examples=80, deadline=None)
@given(grid=grids, data=st.data())
def test_every_overlap_is_found_with_its_pair_its_area_and_its_place(
    grid: tuple[int, int], data: st.DataObject
) -> None:
    shapes = tiles(*grid)
    which = data.draw(st.integers(0, len(shapes) - 1))
    grown = data.draw(st.floats(1e-5, 0.4))
    west, south, east, north = shapes[which].bounds
    shapes[which] = shapely.box(west, south, east + grown * STEP, north)
    expected = {
        (min(which, i), max(which, i)): shapely.intersection(shapes[which], shapes[i])
        for i in range(len(shapes))
        if i != which and shapely.intersection(shapes[which], shapes[i]).area > 0
    }
    found = overlaps(shapes, tolerance=0)
    assert {(o.one, o.other) for o in found} == set(expected)
    for o in found:
        shared = expected[o.one, o.other]
        assert o.area == square_metres(np.array([shared]))[0]
        assert shared.distance(shapely.Point(o.place)) < 1e-9
    assert [o.area for o in found] == sorted((o.area for o in found), reverse=True)


def test_one_shape_inside_another_and_two_alike_are_overlaps() -> None:
    big = shapely.box(106.6, 10.7, 106.7, 10.8)
    small = shapely.box(106.63, 10.73, 106.64, 10.74)
    assert [(o.one, o.other) for o in overlaps(np.array([big, small]))] == [(0, 1)]
    assert [(o.one, o.other) for o in overlaps(np.array([small, small]))] == [(0, 1)]


def test_overlaps_below_the_tolerance_are_rounding() -> None:
    shapes = np.array([shapely.box(106.6, 10.7, 106.61 + 1e-12, 10.71), shapely.box(106.61, 10.7, 106.62, 10.71)])
    assert overlaps(shapes) == []


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_tile_that_is_missing_or_cut_short_leaves_a_gap_between_its_neighbours(data: st.DataObject) -> None:
    shapes = tiles(4, 4)
    inner = data.draw(st.sampled_from([5, 6, 9, 10]))
    cut = data.draw(st.floats(0.01, 1))
    west, south, east, north = shapes[inner].bounds
    hole = shapely.box(east - cut * STEP, south, east, north)
    rest = np.delete(shapes, inner)
    if cut < 1:
        rest = np.append(rest, shapely.box(west, south, east - cut * STEP, north))
    (gap,) = gaps(rest)
    assert abs(gap.area - square_metres(np.array([hole]))[0]) < 1
    assert hole.distance(shapely.Point(gap.place)) < 1e-9
    assert all(rest[n].intersects(hole) for n in gap.neighbours) and gap.neighbours


def test_a_layer_too_large_to_hold_is_given_up_and_its_memory_freed() -> None:
    shapes = tiles(5, 5)
    names = np.arange(25).astype(object)
    kept = CoveragePolygons(most_features=40, most_vertices=10_000)
    kept.add(shapes, names)
    assert not kept.is_full and len(kept.all()[0]) == 25
    kept.add(shapes, names)
    assert kept.is_full and len(kept.all()[0]) == 0

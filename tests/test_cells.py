"""H3 covers: nothing is missed, and what is called whole lies inside."""

from __future__ import annotations

import h3
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.cells.cover import (
    corners_of,
    cover,
    cover_fully,
    format_cell,
    parse_cell,
    point_cells,
    resolution_of,
    settle,
    span,
)
from twin.errors import BadInput

SEED = 20250701
WEST, SOUTH, EAST, NORTH = 106.1, 8.6, 107.5, 11.5


def stars(count: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Random, often concave polygons somewhere in the city, `radius` in degrees."""
    shapes = []
    while len(shapes) < count:
        corners = int(rng.integers(3, 14))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = radius * rng.uniform(0.15, 1, corners)
        x, y = rng.uniform(WEST, EAST), rng.uniform(SOUTH, NORTH)
        ring = np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])
        polygon = shapely.Polygon(ring)
        if polygon.is_valid and polygon.area > 0:
            shapes.append(polygon)
    return np.array(shapes, dtype=object)


def with_holes(shapes: np.ndarray) -> np.ndarray:
    holes = shapely.buffer(shapely.centroid(shapes), np.sqrt(shapely.area(shapes)) / 4, quad_segs=3)
    return shapely.difference(shapes, holes)


def walks(count: int, step: float, rng: np.random.Generator) -> np.ndarray:
    """Random lines of several vertices, `step` degrees from one to the next."""
    lines = []
    for _ in range(count):
        vertices = int(rng.integers(2, 9))
        start = np.array([rng.uniform(WEST, EAST), rng.uniform(SOUTH, NORTH)])
        lines.append(shapely.LineString(start + np.cumsum(rng.normal(0, step, (vertices, 2)), axis=0)))
    return np.array(lines, dtype=object)


def points_of(shape: shapely.Geometry, rng: np.random.Generator, count: int) -> np.ndarray:
    """Points that certainly belong to the shape: along its lines, its corners, and inside it."""
    rim = shape.boundary if shape.geom_type.endswith("Polygon") else shape
    along = shapely.get_coordinates(shapely.line_interpolate_point(rim, rng.uniform(0, 1, count), normalized=True))
    found = [along, shapely.get_coordinates(shape)]
    if shape.geom_type.endswith("Polygon"):
        west, south, east, north = shape.bounds
        inside = shapely.points(rng.uniform(west, east, 4 * count), rng.uniform(south, north, 4 * count))
        found.append(shapely.get_coordinates(inside[shapely.contains(shape, inside)]))
    return np.vstack(found)


def assert_covers(shapes: np.ndarray, resolution: int, rng: np.random.Generator, tolerance: float = 0.0) -> int:
    """No point of any shape lies in a cell that its cover lacks; give how many points were tried.

    A point that was computed to lie on an edge lies beside it by a rounding error, so a miss counts only where the
    point is farther than `tolerance` degrees inside the missed cell.
    """
    result = cover(shapes, resolution)
    tried = 0
    for i, shape in enumerate(shapes):
        points = points_of(shape, rng, 12)
        found = point_cells(points[:, 0], points[:, 1], resolution)
        cells = result.cell[result.feature == i]
        missed = ~np.isin(found, cells)
        tried += len(found)
        for cell, point in zip(found[missed], points[missed], strict=True):
            depth = outline(cell).exterior.distance(shapely.Point(point))
            assert depth <= tolerance, (shape.wkt, format_cell(int(cell)), depth)
    return tried


def outline(cell: int) -> shapely.Polygon:
    return shapely.Polygon([(lng, lat) for lat, lng in h3.cell_to_boundary(format_cell(int(cell)))])


@pytest.mark.parametrize(
    ("resolution", "radius", "count"),
    [(5, 0.02, 300), (7, 0.002, 800), (9, 2e-4, 1500), (9, 0.02, 200), (11, 2e-5, 1500), (11, 2e-4, 1500), (11, 0.002, 700)],
)  # fmt: skip
def test_no_point_of_a_polygon_lies_outside_its_cover(resolution: int, radius: float, count: int) -> None:
    rng = np.random.default_rng(SEED)
    shapes = stars(count, radius, rng)
    assert assert_covers(shapes, resolution, rng, tolerance=1e-9) > count * 10


def test_no_point_of_a_polygon_with_a_hole_or_of_several_parts_lies_outside_its_cover() -> None:
    rng = np.random.default_rng(SEED + 1)
    shapes = with_holes(stars(600, 0.002, rng))
    assert_covers(shapes, 11, rng, tolerance=1e-9)
    pairs = shapely.union(shapes[:300], shapes[300:])
    assert_covers(pairs, 10, rng, tolerance=1e-9)


@pytest.mark.parametrize(
    ("resolution", "step", "count"), [(11, 1e-4, 1500), (11, 3e-3, 600), (9, 0.01, 500), (10, 1e-3, 1000)]
)
def test_no_point_of_a_line_lies_outside_its_cover(resolution: int, step: float, count: int) -> None:
    rng = np.random.default_rng(SEED + 2)
    assert_covers(walks(count, step, rng), resolution, rng, tolerance=0.0)


@pytest.mark.parametrize("kind", ["polygon", "line"])
def test_shapes_settled_by_their_corners_get_the_cells_of_the_full_cover_anywhere_on_earth(kind: str) -> None:
    rng = np.random.default_rng(SEED + 4)
    settled_in_all = 0
    # Around places all over the globe, faces' edges and pentagons among them, as large as a cell or less.
    pentagons = [h3.cell_to_latlng(c) for c in h3.get_pentagons(11)]
    places = [(float(rng.uniform(-80, 80)), float(rng.uniform(-179, 179))) for _ in range(60)] + pentagons
    for lat, lng in places:
        spread = float(rng.choice([2e-4, 2e-3, 0.02, 0.5]))
        x, y = lng + rng.uniform(-spread, spread, 120), lat + rng.uniform(-spread, spread, 120)
        angle = rng.uniform(0, 2 * np.pi, (120, 5))
        if kind == "polygon":
            angle = np.sort(angle, axis=1)
        reach = rng.uniform(2e-5, 2e-4, (120, 5))
        rings = np.stack([x[:, None] + reach * np.cos(angle), y[:, None] + reach * np.sin(angle)], axis=2)
        shapes = shapely.polygons(rings) if kind == "polygon" else shapely.linestrings(rings)
        shapes = shapes[shapely.is_valid(shapes) & (shapely.length(shapes) > 0)]
        found, rest = settle(corners_of(shapes), 11)
        settled = np.setdiff1d(np.arange(len(shapes)), rest)
        full = cover_fully(shapes[settled], settled, 11)
        ours = set(zip(found.feature.tolist(), found.cell.tolist(), strict=True))
        theirs = set(zip(full.feature.tolist(), full.cell.tolist(), strict=True))
        # The full cover takes a line as a strip of 11 cm to each side, and may touch a cell more.
        assert ours == theirs if kind == "polygon" else ours <= theirs
        settled_in_all += len(settled)
        for i in settled[:15]:
            points = points_of(shapes[i], rng, 40)
            cells = found.cell[found.feature == i]
            missed = ~np.isin(point_cells(points[:, 0], points[:, 1], 11), cells)
            for cell, point in zip(point_cells(points[:, 0], points[:, 1], 11)[missed], points[missed], strict=True):
                assert outline(cell).exterior.distance(shapely.Point(point)) <= 1e-9
    assert settled_in_all > 2000


def test_lines_along_and_through_cell_corners_are_covered() -> None:
    rng = np.random.default_rng(SEED + 3)
    lines = []
    for _ in range(400):
        cell = h3.latlng_to_cell(rng.uniform(10.4, 11), rng.uniform(106.4, 107), 11)
        corners = [(lng, lat) for lat, lng in h3.cell_to_boundary(cell)]
        k = int(rng.integers(0, len(corners) - 1))
        away = rng.normal(0, 2e-3, 2)
        lines.append(shapely.LineString([corners[k] - away, corners[k], corners[k] + away]))
        lines.append(shapely.LineString(corners[k : k + 2]))
    assert_covers(np.array(lines, dtype=object), 11, rng, tolerance=1e-9)


@pytest.mark.parametrize(("resolution", "radius", "count"), [(7, 0.15, 60), (9, 0.02, 150), (11, 0.003, 300)])
def test_every_whole_cell_lies_inside_its_polygon(resolution: int, radius: float, count: int) -> None:
    rng = np.random.default_rng(SEED + 4)
    shapes = np.concatenate([stars(count, radius, rng), with_holes(stars(count, radius, rng))])
    result = cover(shapes, resolution)
    assert result.whole.sum() > 400
    for i, cell in zip(result.feature[result.whole], result.cell[result.whole], strict=True):
        assert shapes[i].buffer(1e-12).covers(outline(cell))


def test_a_cell_that_lies_well_inside_a_polygon_is_marked_whole() -> None:
    rng = np.random.default_rng(SEED + 5)
    shapes = stars(100, 0.003, rng)
    result = cover(shapes, 11)
    inner = shapely.buffer(shapes, -1e-5)
    missed = [
        format_cell(int(c))
        for i, c, whole in zip(result.feature, result.cell, result.whole, strict=True)
        if not whole and inner[i].covers(outline(c))
    ]
    assert missed == []


def test_points_get_their_own_cell_and_are_never_whole() -> None:
    rng = np.random.default_rng(SEED + 6)
    lng, lat = rng.uniform(WEST, EAST, 2000), rng.uniform(SOUTH, NORTH, 2000)
    result = cover(shapely.points(lng, lat), 11)
    expected = [h3.str_to_int(h3.latlng_to_cell(y, x, 11)) for x, y in zip(lng, lat, strict=True)]
    assert result.cell.tolist() == expected
    assert result.feature.tolist() == list(range(2000))
    assert not result.whole.any()


def test_missing_and_empty_geometries_get_no_cell_and_do_not_shift_the_others() -> None:
    shapes = np.array(
        [None, shapely.Point(106.7, 10.8), shapely.Polygon(), shapely.box(106.7, 10.7, 106.701, 10.701)],
        dtype=object,
    )
    result = cover(shapes, 11)
    assert set(result.feature.tolist()) == {1, 3}


def test_a_collection_of_nothing_is_covered_by_nothing() -> None:
    assert len(cover(np.array([], dtype=object), 11)) == 0


@settings(max_examples=300, deadline=None)
@given(
    lat=st.floats(-80, 80), lng=st.floats(-180, 180), own=st.integers(0, 15), asked=st.integers(0, 15)
)  # fmt: skip
def test_span_brackets_exactly_the_relatives_of_a_cell(lat: float, lng: float, own: int, asked: int) -> None:
    cell = h3.latlng_to_cell(lat, lng, own)
    low, high = span(h3.str_to_int(cell), asked)
    if asked <= own:
        assert low == high == h3.str_to_int(h3.cell_to_parent(cell, asked))
        return
    if asked - own <= 4 and not h3.is_pentagon(cell):
        children = sorted(h3.str_to_int(c) for c in h3.cell_to_children(cell, asked))
        assert (low, high) == (children[0], children[-1])
    descendant = h3.str_to_int(h3.cell_to_center_child(cell, asked))
    assert low <= descendant <= high
    for neighbour in h3.grid_disk(cell, 1):
        if neighbour != cell:
            assert not low <= h3.str_to_int(h3.cell_to_center_child(neighbour, asked)) <= high


def test_a_cell_reads_back_as_it_was_written() -> None:
    cell = h3.latlng_to_cell(10.7769, 106.7009, 11)
    assert format_cell(parse_cell(cell)) == cell
    assert resolution_of(parse_cell(cell)) == 11


@pytest.mark.parametrize(
    "text", ["", "8b", "zzzzzzzzzzzzzzz", "8b65b5664a21ffg", "0" * 15, "8" * 400, "8b65b5664a21fff\n"]
)
def test_what_is_not_a_cell_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_cell(text)

"""The plane in which cells are a regular lattice: it names the library's cells, or there is none."""

from __future__ import annotations

import h3
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.cells.cover import corners_of, cover, point_cells, settle
from twin.cells.lattice import Path, centres, follow, hexagons, lattice_of

SEED = 20260405
CITY = (106.36, 10.37, 107.03, 11.16)


def scattered(west: float, south: float, east: float, north: float, count: int, seed: int = SEED) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(west, east, count), rng.uniform(south, north, count)])


def assert_same_division(coordinates: np.ndarray, resolution: int) -> bool:
    """Points share a hexagon just when they share a cell; False where the region has no lattice."""
    lattice = lattice_of(coordinates, resolution)
    if lattice is None:
        return False
    number, on_border = hexagons(lattice.places(coordinates))
    cell = point_cells(coordinates[:, 0], coordinates[:, 1], resolution)
    pairs = np.unique(np.column_stack([number, cell])[~on_border], axis=0)
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)
    return True


@settings(max_examples=400, deadline=None)
@given(
    longitude=st.floats(-180, 180), latitude=st.floats(-89, 89), resolution=st.integers(0, 15),
    cells=st.floats(0.01, 3000), flat=st.floats(0.02, 50),
)  # fmt: skip
def test_points_share_a_hexagon_just_when_they_share_a_cell(
    longitude: float, latitude: float, resolution: int, cells: float, flat: float
) -> None:
    size = np.degrees(h3.average_hexagon_edge_length(resolution) / 6371) * cells
    wide, tall = min(size * np.sqrt(flat), 40), min(size / np.sqrt(flat), 40)
    west, east = max(longitude - wide, -180), min(longitude + wide, 180)
    south, north = max(latitude - tall, -90), min(latitude + tall, 90)
    assert_same_division(scattered(west, south, east, north, 400), resolution)


@pytest.mark.parametrize("resolution", range(5, 16))
def test_the_city_and_the_country_lie_in_one_lattice(resolution: int) -> None:
    assert assert_same_division(scattered(*CITY, 20_000), resolution)
    assert assert_same_division(scattered(102.1, 8.3, 109.5, 23.4, 20_000), resolution)


def test_a_region_with_a_pentagon_or_across_an_edge_of_the_icosahedron_has_no_lattice() -> None:
    for pentagon in h3.get_pentagons(9):
        latitude, longitude = h3.cell_to_latlng(pentagon)
        around = scattered(longitude - 0.1, latitude - 0.1, longitude + 0.1, latitude + 0.1, 500)
        assert lattice_of(around, 9) is None
    # A cell of another class (odd resolutions) that lies on two faces is bent at their common edge.
    bent = [c for c in h3.grid_disk(h3.get_pentagons(7)[3], 60) if len(h3.cell_to_boundary(c)) > 6][40:60]
    assert len(bent) == 20
    for cell in bent:
        latitude, longitude = h3.cell_to_latlng(cell)
        around = scattered(longitude - 0.02, latitude - 0.02, longitude + 0.02, latitude + 0.02, 300)
        assert lattice_of(around, 7) is None


@pytest.mark.parametrize(
    "coordinates",
    [
        [(np.nan, 10.0), (106.0, 10.0)], [(106.0, np.inf), (106.0, 10.0)], [(-170.0, 10.0), (170.0, 10.0)],
        [(106.0, 89.9), (106.1, 89.95)], [(106.0, -90.0), (107.0, -89.0)],
    ],
)  # fmt: skip
def test_where_there_can_be_no_lattice_none_is_found(coordinates: list[tuple[float, float]]) -> None:
    assert lattice_of(np.array(coordinates), 9) is None


def test_a_point_that_lies_between_cells_is_said_to_be_on_the_border() -> None:
    cells = [h3.latlng_to_cell(y, x, 11) for x, y in scattered(*CITY, 300)]
    corners = np.array([corner[::-1] for cell in cells for corner in h3.cell_to_boundary(cell)])
    middles = np.array([h3.cell_to_latlng(cell)[::-1] for cell in cells])
    lattice = lattice_of(corners, 11)
    assert lattice is not None
    assert hexagons(lattice.places(corners))[1].all()
    number, on_border = hexagons(lattice.places(middles))
    assert not on_border.any()
    # A cell's centre is that of its hexagon.
    assert np.abs(centres(number) - lattice.places(middles)).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), resolution=st.integers(6, 13), length=st.floats(0.05, 6))
def test_a_segment_that_is_followed_meets_the_cells_that_lie_on_it_and_no_others(
    seed: int, resolution: int, length: float
) -> None:
    rng = np.random.default_rng(seed)
    ways = 60
    start = scattered(*CITY, ways, seed)
    turn = rng.uniform(0, 2 * np.pi, ways)
    reach = length * np.degrees(h3.average_hexagon_edge_length(resolution) * np.sqrt(3) / 6371)
    end = start + reach * np.column_stack([np.cos(turn), np.sin(turn)])
    lattice = lattice_of(np.concatenate([start, end]), resolution)
    assert lattice is not None
    own = np.arange(ways)
    first, last = Path.of(lattice, start, own), Path.of(lattice, end, own)
    met, doubtful = follow(lattice, first, last)
    steps = np.linspace(0, 1, 400)[:, None]
    for way in np.setdiff1d(own, doubtful):
        along = start[way] + steps * (end[way] - start[way])
        number, on_border = hexagons(lattice.places(along))
        found = {int(first.number[way]), int(last.number[way]), *met.number[met.path == way].tolist()}
        assert set(number[~on_border].tolist()) <= found
        # Whatever is met is on the way: a point of it was.
        points = met.coordinates[met.path == way]
        a, b = end[way] - start[way], points - start[way]
        beside = np.abs(a[0] * b[:, 1] - a[1] * b[:, 0]) / np.hypot(*a)
        assert (beside < 1e-12).all()


def houses(count: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    middle = scattered(*CITY, count)
    turn = rng.uniform(0, np.pi, count)[:, None] + np.array([0.3, np.pi - 0.3, np.pi + 0.3, -0.3])
    reach = rng.uniform(4, 12, count)[:, None] / 111_195
    rings = np.stack([middle[:, :1] + reach * np.cos(turn), middle[:, 1:] + reach * np.sin(turn)], axis=2)
    return shapely.polygons(rings)


def test_nearly_all_buildings_are_settled_by_their_corners() -> None:
    _, rest = settle(corners_of(houses(20_000)), 11)
    assert len(rest) < 20_000 * 0.01


def test_some_shapes_astray_do_not_take_the_others_lattice() -> None:
    shapes = houses(2000)
    alone = cover(shapes, 11)
    box = shapely.box(0, 0, 1e-4, 1e-4)
    astray = [box, shapely.affinity.translate(box, -170, 80), shapely.affinity.translate(box, 106.7, 40)]
    # One reaches from the city to the other side of the earth.
    reaching = shapely.LineString([(106.7, 10.7), (-150.0, -20.0)])
    mixed = np.array([*shapes[:1000], *astray, *shapes[1000:], reaching], dtype=object)
    settled, rest = settle(corners_of(mixed), 11)
    assert len(rest) < 50
    assert set(rest.tolist()) >= {1000, 1001, 1002, 2003}
    both = cover(mixed[:-1], 11)
    for position, mine in ((0, 0), (999, 999), (1003, 1000), (2002, 1999)):
        assert both.cell[both.feature == position].tolist() == alone.cell[alone.feature == mine].tolist()
    assert all((both.feature == position).any() for position in (1000, 1001, 1002))
    assert not (settled.feature == 2003).any()

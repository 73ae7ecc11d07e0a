"""Reference systems: VN-2000 lands where the published pair says."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod

from twin.crs import parse_crs, to_wgs84, transform
from twin.errors import BadInput

METRES = Geod(ellps="WGS84")


def metres_between(a: np.ndarray, b: tuple[float, float]) -> float:
    return METRES.inv(a[0], a[1], b[0], b[1])[2]


def test_the_published_vn2000_pair_is_met_within_three_centimetres() -> None:
    # Zone 106°15′ (EPSG:9212): E 546151.8072, N 1855759.3584 is 16.77839862 N, 106.6847777 E.
    found = transform(np.array([[546151.8072, 1855759.3584]]), 9212)[0]
    assert metres_between(found, (106.6847777, 16.77839862)) < 0.03


def test_the_datum_shift_of_vn2000_is_about_196_metres_east_and_112_north() -> None:
    there = transform(np.array([[106.7, 10.77]]), 4756)[0]
    _, _, distance = METRES.inv(106.7, 10.77, there[0], there[1])
    assert 215 < distance < 235


def test_the_way_to_vn2000_and_back_is_the_same_place() -> None:
    rng = np.random.default_rng(7)
    places = np.column_stack([rng.uniform(106.3, 107.6, 500), rng.uniform(10.3, 11.5, 500)])
    for code in (9210, 3405, 4756, 5899):
        back = transform(transform(places, 4326, code), code)
        assert np.abs(back - places).max() < 1e-8


def test_geometries_come_out_flat_in_degrees_and_missing_ones_stay_missing() -> None:
    shapes = np.array([shapely.Point(603000, 1191000, 12.0), None, shapely.Point()], dtype=object)
    moved = to_wgs84(shapes, "EPSG:9210")
    assert not moved[0].has_z
    assert 106 < moved[0].x < 108 and 10 < moved[0].y < 11
    assert moved[1] is None
    assert moved[2].is_empty


def test_what_proj_does_not_know_is_refused_with_an_example() -> None:
    with pytest.raises(BadInput, match="EPSG:9210"):
        parse_crs("VN2000-made-up")

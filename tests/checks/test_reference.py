"""Coordinate systems: the one that fits the city is named, whatever the file says or does not say."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks.reference import Reference, decide_reference
from twin.city import read_city
from twin.crs import transform
from twin.text import Text

CITY = read_city("hcmc")
CODES = [known.code for known in CITY.crs]
SAYS = Text(en="the file says so", vi="tệp ghi như vậy")
# Systems that differ by their datum alone lie 226 m apart: no outline can part them, and the city's order decides.
SAME_PLACE = {4756: {4326}, 32648: {3405}}
PROJECTED = [9210, 3405, 5899, 9209, 9211]


def places(seed: int, count: int = 300) -> np.ndarray:
    """Places all over the city."""
    rng = np.random.default_rng(seed)
    west, south, east, north = CITY.outline.bounds
    found = np.column_stack([rng.uniform(west, east, count * 8), rng.uniform(south, north, count * 8)])
    return found[shapely.contains_xy(CITY.outline, found[:, 0], found[:, 1])][:count]


def codes(reference: Reference) -> list[str]:
    return [code for code, _ in reference.problems]


def epsg(reference: Reference) -> int:
    return int(reference.reading.crs.to_epsg())


seeds = st.integers(0, 10_000)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, code=st.sampled_from(CODES), swapped=st.booleans())
def test_places_of_the_city_without_a_system_are_named_by_the_one_they_are_in(
    seed: int, code: int, swapped: bool
) -> None:
    numbers = transform(places(seed), 4326, code)
    found = decide_reference(numbers[:, ::-1] if swapped else numbers, None, SAYS, CITY)
    assert epsg(found) in {code} | SAME_PLACE.get(code, set())
    assert found.reading.swapped == swapped
    assert codes(found)[0] == "crs.missing" and ("crs.swapped" in codes(found)) == swapped
    away = np.hypot(*(found.reading.place(numbers[:, ::-1] if swapped else numbers) - places(seed)).T)
    assert away.max() < 0.003


@settings(max_examples=40, deadline=None)
@given(seed=seeds, code=st.sampled_from(CODES))
def test_a_system_that_is_right_is_never_doubted(seed: int, code: int) -> None:
    found = decide_reference(transform(places(seed), 4326, code), code, SAYS, CITY)
    assert (epsg(found), codes(found)) == (code, [])
    assert found.reason == SAYS


@settings(max_examples=40, deadline=None)
@given(seed=seeds, code=st.sampled_from(PROJECTED), stated=st.sampled_from(CODES))
def test_a_system_that_lies_is_found_out_and_the_right_one_is_named(seed: int, code: int, stated: int) -> None:
    """A neighbouring zone leaves part of the city inside its outline: that is doubted, and the rest is refused."""
    if stated == code or {stated, code} == {3405, 32648}:
        return
    found = decide_reference(transform(places(seed), 4326, code), stated, SAYS, CITY)
    assert set(codes(found)) & {"crs.wrong", "crs.impossible", "crs.doubtful"}
    assert f"EPSG:{code}" in str(found.problems[0][1])


def test_the_detail_of_a_wrong_zone_says_how_far_it_would_shift_the_features() -> None:
    found = decide_reference(transform(places(1), 4326, 9210), 9211, SAYS, CITY)
    assert "27 km" in found.problems[0][1].en and "27 km" in found.problems[0][1].vi


@pytest.mark.parametrize("code", PROJECTED)
@pytest.mark.parametrize(
    ("unit", "spoil"),
    [
        ("km", lambda c: c / 1000),
        ("prefix", lambda c: c + np.array([48e6, 0])),
        ("easting", lambda c: c - np.array([500_000, 0])),
    ],
)
def test_kilometres_zone_numbers_and_a_missing_false_easting_are_seen_and_undone(code: int, unit: str, spoil) -> None:
    there = places(5)
    numbers = spoil(transform(there, 4326, code))
    for stated in (None, code):
        found = decide_reference(numbers, stated, SAYS, CITY)
        assert (epsg(found), found.reading.unit) == (code, unit)
        assert "crs.units" in codes(found)
        assert np.abs(found.reading.place(numbers) - there).max() < 1e-6


def test_latitude_before_longitude_is_seen_and_undone() -> None:
    found = decide_reference(places(3)[:, ::-1], 4326, SAYS, CITY)
    assert codes(found) == ["crs.swapped"] and found.reading.swapped
    point = found.reading.straighten(np.array([shapely.Point(10.77, 106.7), None], dtype=object))
    assert (point[0].x, point[0].y, point[1]) == (106.7, 10.77, None)


def test_a_small_area_that_fits_several_zones_is_called_doubtful_with_their_names() -> None:
    block = np.random.default_rng(1).uniform((106.72, 10.72), (106.75, 10.75), (50, 2))
    found = decide_reference(transform(block, 4326, 9210), None, SAYS, CITY)
    assert epsg(found) == 9210
    assert codes(found) == ["crs.missing", "crs.doubtful"]
    assert "EPSG:9209 (27 km)" in found.problems[1][1].en


def test_a_system_that_a_person_names_stands_and_the_better_one_is_only_suggested() -> None:
    numbers = transform(places(2), 4326, 9210)
    found = decide_reference(numbers, 3405, SAYS, CITY, confirmed=True)
    assert (epsg(found), codes(found)) == (3405, ["crs.doubtful"])
    assert decide_reference(numbers, 3405, SAYS, CITY).problems[0][0] == "crs.wrong"


def test_features_of_another_city_are_not_moved_here() -> None:
    hanoi = np.random.default_rng(1).uniform((105.7, 20.9), (105.9, 21.1), (60, 2))
    assert codes(decide_reference(hanoi, 4326, SAYS, CITY)) == []
    assert codes(decide_reference(hanoi, None, SAYS, CITY)) == ["crs.unknown"]
    assert epsg(decide_reference(transform(hanoi, 4326, 3405), 3405, SAYS, CITY)) == 3405


@pytest.mark.parametrize(
    "numbers", [np.empty((0, 2)), np.full((5, 2), np.nan), np.zeros((5, 2)), np.full((5, 2), 1e300)]
)
def test_coordinates_that_say_nothing_end_in_no_error(numbers: np.ndarray) -> None:
    for stated in (None, 4326, 9210):
        assert decide_reference(numbers, stated, SAYS, CITY).reading.code

"""Coordinate systems in and out: VN-2000 to the millimetre, the order of axes, boxes in every system."""

from __future__ import annotations

import io
import json

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from tests.examples import examples
from tests.features.conftest import COUNT, ITEMS, LAYER, TABLE, ids
from twin.config import Settings
from twin.crs import transform
from twin.query.reference import CRS84, EPSG

SAME = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CODES = [3857, *(known.code for known in Settings(city="hcmc").profile.crs)]
LATITUDE_FIRST = {4326, 4756}


def uri(code: int) -> str:
    return f"{EPSG}{code}"


@pytest.fixture(scope="module")
def stored(sql: psycopg.Connection) -> list[shapely.Geometry]:
    rows = sql.execute(f"SELECT ST_AsBinary(geom) FROM {TABLE} ORDER BY fid").fetchall()
    return [shapely.from_wkb(wkb) for (wkb,) in rows]


def test_the_collection_lists_the_systems_and_how_it_is_stored(http: httpx.Client) -> None:
    document = http.get(f"/collections/{LAYER}").json()
    assert document["crs"] == [CRS84, *map(uri, [4326, 3857, *(c for c in CODES if c not in (4326, 3857))])]
    assert document["storageCrs"] == CRS84


@pytest.mark.parametrize("code", sorted(set(CODES)))
@pytest.mark.parametrize("limit", [1000, 5000])
def test_coordinates_agree_with_the_city_s_own_transformation(
    http: httpx.Client, stored: list[shapely.Geometry], code: int, limit: int
) -> None:
    answer = http.get(ITEMS, params={"crs": uri(code), "limit": limit})
    assert answer.headers["content-crs"] == f"<{uri(code)}>"
    got = np.concatenate([shapely.get_coordinates(shape(f["geometry"])) for f in answer.json()["features"]])
    expected = transform(shapely.get_coordinates(stored), 4326, code)
    if code in LATITUDE_FIRST:
        got = got[:, ::-1]
    millimetre = 1.2e-8 if code == 4756 else 1e-7 if code == 4326 else 1e-3
    assert np.abs(got - expected).max() <= millimetre
    assert len(answer.json()["features"]) == COUNT


@pytest.mark.parametrize("form", ["jsonfg", "csv", "geoparquet", "flatgeobuf"])
def test_other_formats_have_the_same_coordinates(http: httpx.Client, stored: list[shapely.Geometry], form: str) -> None:
    content = http.get(ITEMS, params={"crs": uri(9210), "f": form, "limit": 1000}).content
    if form == "jsonfg":
        document = json.loads(content)
        assert document["coordRefSys"] == uri(9210)
        found = np.array([shape(f["place"]) for f in document["features"]])
        assert shapely.get_coordinates([shape(f["geometry"]) for f in document["features"]])[:, 0].max() < 107
    elif form == "csv":
        found = shapely.from_wkt(pd.read_csv(io.BytesIO(content))["wkt"].to_numpy())
    elif form == "geoparquet":
        frame = gpd.read_parquet(io.BytesIO(content))
        assert frame.crs.to_epsg() == 9210
        found = frame.geometry.to_numpy()
    else:
        frame = gpd.read_file(io.BytesIO(content)).sort_values("id")
        assert frame.crs.to_epsg() == 9210
        order = np.argsort(http_ids(http))
        found = frame.geometry.to_numpy()
        stored = [stored[i] for i in order]
    expected = transform(shapely.get_coordinates(stored), 4326, 9210)
    assert np.abs(shapely.get_coordinates(found) - expected).max() <= 1e-3


def http_ids(http: httpx.Client) -> list[str]:
    return ids(http.get(ITEMS, params={"limit": 1000}))


@SAME
@given(
    code=st.sampled_from(CODES), x=st.floats(106.69, 106.725), y=st.floats(10.76, 10.785),
    w=st.floats(1e-4, 0.02), h=st.floats(1e-4, 0.01),
)  # fmt: skip
def test_a_box_of_any_system_is_meant_in_that_system(
    http: httpx.Client, stored: list[shapely.Geometry], code: int, x: float, y: float, w: float, h: float
) -> None:
    low, high = transform(np.array([[x, y], [x + w, y + h]]), 4326, code)
    corners = [*low, *high]
    written = [corners[i] for i in ((1, 0, 3, 2) if code in LATITUDE_FIRST else (0, 1, 2, 3))]
    answer = http.get(
        ITEMS, params={"bbox": ",".join(map(repr, map(float, written))), "bbox-crs": uri(code), "limit": 1000}
    )
    moved = shapely.transform(np.array(stored), lambda c: transform(c, 4326, code))
    names = http_ids(http)
    # A centimetre in or out at the box's edge is no question of this test.
    room = 1e-2 if abs(corners[0]) > 200 else 1e-7
    certain = shapely.intersects(moved, shapely.box(low[0] + room, low[1] + room, high[0] - room, high[1] - room))
    possible = shapely.intersects(moved, shapely.box(low[0] - room, low[1] - room, high[0] + room, high[1] + room))
    found = set(ids(answer))
    assert {n for n, c in zip(names, certain, strict=True) if c} <= found
    assert found <= {n for n, p in zip(names, possible, strict=True) if p}


def test_one_feature_comes_in_the_system_that_was_asked(http: httpx.Client) -> None:
    plain = http.get(f"{ITEMS}/p7").json()["geometry"]["coordinates"][0]
    swapped = http.get(f"{ITEMS}/p7", params={"crs": uri(4326)}).json()["geometry"]["coordinates"][0]
    assert [c[::-1] for c in swapped] == plain
    metres = http.get(f"{ITEMS}/p7", params={"crs": "EPSG:9210"})
    assert metres.headers["content-crs"] == f"<{uri(9210)}>"
    expected = transform(np.array(plain), 4326, 9210)
    assert np.abs(np.array(metres.json()["geometry"]["coordinates"][0]) - expected).max() < 0.02

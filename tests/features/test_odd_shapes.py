"""Layers that are odd in shape, name and value: filters, order, cells and tiles still say what is true, and never a 500."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import httpx
import mapbox_vector_tile
import mercantile
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from ingest.mapping.rows import columns_of_layer
from layers.contracts import Contract, as_theme
from tests.conftest import LiveServer, serving
from tests.examples import examples
from tests.features.conftest import ids, linked, register
from twin.catalogue.catalogue import outwards
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.cells.cover import cover
from twin.db.cluster import PrivateCluster
from twin.db.database import Database

LAYER = "lab.odd"
ITEMS = f"/collections/{LAYER}/items"
NAMES = ["100%", "1000", "A_B", "AXB", "C\\D", "CxD", "O'Brien", "đường", "Đường", "", "%", "_", "\\", "a\\%b", "\\\\"]
RESERVED = ("limit", "f", "bbox", "crs", "version", "filter", "datetime", "token", "sortby")
CONTRACT = Contract.model_validate(
    {
        "layer": LAYER, "title": {"vi": "Lạ", "en": "Odd"}, "licence": "CC0-1.0", "attribution": "a test",
        "sharing": "open", "geometry": "polygon", "resolution": 10,
        "field": [
            {"name": "label", "type": "text", "title": {"vi": "Nhãn", "en": "Label"}},
            {"name": "size", "type": "number", "title": {"vi": "Cỡ", "en": "Size"}},
            *({"name": name, "type": "integer", "title": {"vi": name, "en": name}} for name in RESERVED),
        ],
    }
)  # fmt: skip
COLUMNS = columns_of_layer(as_theme(CONTRACT), {})
X, Y = 106.7001225, 10.6
# A strip 5 m wide and 30 km long, and one that lies across.
UPRIGHT = shapely.box(106.7001, Y, 106.700145, Y + 0.27)
ACROSS = shapely.Polygon([(106.5, 10.70001), (106.75, 10.83001), (106.75, 10.83006), (106.5, 10.70006)])
RING = shapely.box(106.70, 10.77, 106.71, 10.78)
SHAPES: list[BaseGeometry] = [
    UPRIGHT,
    ACROSS,
    # Wound the wrong way, with a hole wound like the shell.
    shapely.Polygon(list(RING.exterior.coords), [shapely.box(106.702, 10.772, 106.708, 10.778).exterior.coords]),
    shapely.Polygon(list(RING.exterior.coords)[::-1], [shapely.box(106.702, 10.772, 106.708, 10.778).exterior.coords[::-1]]),
    # A hole that touches its shell.
    shapely.Polygon([(106.74, 10.77), (106.75, 10.77), (106.75, 10.78), (106.74, 10.78)],
                    [[(106.74, 10.775), (106.743, 10.772), (106.746, 10.775), (106.743, 10.778)]]),
    # As small as numbers go, and as large as the city is wide.
    shapely.box(106.70, 10.70, 106.70 + 1e-12, 10.70 + 1e-12),
    shapely.box(106.3, 10.3, 107.0, 11.2),
    # A circle of many corners.
    shapely.Point(106.8, 10.8).buffer(0.02, quad_segs=2000),
]  # fmt: skip
# What no check should have let through: a bow tie, a spike, a ring without an area, one that goes around twice.
BROKEN: list[BaseGeometry] = [
    shapely.MultiPolygon([RING, shapely.affinity.translate(RING, 0.005, 0.005)]),
    shapely.Polygon([(106.60, 10.6), (106.61, 10.61), (106.61, 10.6), (106.60, 10.61)]),
    shapely.Polygon([(106.62, 10.6), (106.63, 10.6), (106.64, 10.6), (106.63, 10.6), (106.63, 10.61), (106.62, 10.61)]),
    shapely.Polygon([(106.65, 10.6), (106.66, 10.6), (106.65, 10.6)]),
    shapely.Polygon([(106.67, 10.6), (106.68, 10.6), (106.68, 10.61), (106.67, 10.6), (106.68, 10.6), (106.68, 10.61)]),
]  # fmt: skip
# Away from the others, which are asked about by place.
BROKEN = [shapely.affinity.translate(shape, 0, 0.5) for shape in BROKEN]
BROKEN_LAYER = "lab.broken"
COUNT = 2 * len(NAMES)


def odd(shapes: list[BaseGeometry]) -> gpd.GeoDataFrame:
    numbers = np.arange(COUNT)
    return gpd.GeoDataFrame(
        {
            "fid": numbers.astype("int64") + 1,
            "id": [f"o{n}" for n in numbers],
            "label": pd.Series([NAMES[n % len(NAMES)] if n < len(NAMES) else None for n in numbers], dtype=object),
            "size": [None if n % 3 == 0 else float(n % 7) for n in numbers],
            **{name: pd.array(numbers % 5, dtype="Int64") for name in RESERVED},
            "importance": 1e9,
        },
        geometry=np.array([shapes[n % len(shapes)] for n in numbers], dtype=object), crs=4326,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    database = Database(cluster.url(f"{os.environ['TWIN_TEST_RUN']}_odd_{os.getpid()}"), private=True)
    for layer, shapes in ((LAYER, SHAPES), (BROKEN_LAYER, BROKEN)):
        register(database, layer, CONTRACT)
        with Staging(database, layer, Shape(COLUMNS, 10), Provenance("a test", "made up")) as staging:
            staging.append(odd(shapes))
            staging.publish()
    database.writer.dispose()
    # The log must stay clean of errors.
    with serving(database, tmp_path_factory.mktemp("odd") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, headers={"Accept-Language": "en"}) as client:
        yield client


# Filters ----------------------------------------------------------------------------------------------------------

OPERATORS = ("S_INTERSECTS", "S_EQUALS", "S_DISJOINT", "S_TOUCHES", "S_WITHIN", "S_OVERLAPS", "S_CROSSES", "S_CONTAINS")
number = st.floats(allow_nan=False, allow_infinity=False) | st.floats(106, 107) | st.sampled_from([0.0, 1e-300, 1e300])
degree = st.floats(-180, 180, allow_nan=False) | st.floats(106.3, 107) | st.sampled_from([0.0, 180.0, 106.7, 10.77])
corners = st.lists(st.tuples(degree, degree), min_size=1, max_size=6)
literals = st.one_of(
    st.builds(lambda c: shapely.to_wkt(shapely.MultiPoint(c)), corners),
    st.builds(lambda c: shapely.to_wkt(shapely.LineString([*c, c[0]])), corners),
    st.builds(lambda c: shapely.to_wkt(shapely.convex_hull(shapely.MultiPoint(c))), corners),
    st.builds(lambda c: shapely.to_wkt(shapely.Polygon([*c, (0, 0), (1, 1)])), corners),
    st.sampled_from([shapely.to_wkt(shape, rounding_precision=-1) for shape in SHAPES[:-1]]),
    st.sampled_from(["POINT EMPTY", "POLYGON EMPTY", "BBOX(106,10,107,11)", "BBOX(170,-10,-170,10)", "BBOX(1e9,1,2,3)"]),
    st.just("geometry"),
)  # fmt: skip
spatial = st.builds("{}({}, {})".format, st.sampled_from(OPERATORS), st.just("geometry") | literals, literals)
texts = st.text(st.sampled_from("%_\\ab'đ\U0001f3e0 "), max_size=6).map(
    lambda text: "'" + text.replace("'", "''") + "'"
)
numeric = st.recursive(
    number.map(repr) | st.sampled_from(["size", '"limit"', "-1", "0"]),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "%", "^", "div"]), inner),
    max_leaves=4,
)
plain = st.one_of(
    st.builds("{} {} {}".format, numeric, st.sampled_from(["=", "<>", "<", ">="]), numeric),
    st.builds("label LIKE {}".format, texts),
    st.builds("CASEI(ACCENTI(label)) = ACCENTI({})".format, texts),
    st.builds("label IN ({}, {})".format, texts, texts),
    st.builds("{} BETWEEN {} AND {}".format, numeric, numeric, numeric),
    st.sampled_from(["label IS NULL", "size IS NOT NULL", "TRUE", "T_BEFORE(DATE('0001-01-01'), DATE('9999-12-31'))"]),
)
filters = st.recursive(
    spatial | plain,
    lambda inner: st.builds("NOT ({})".format, inner) | st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck))
@given(filters)
@example("S_OVERLAPS(geometry, geometry)")
@example("(size ^ 1e300) = 0")
@example("(0 ^ -1) = size")
@example("S_CROSSES(geometry, LINESTRING(106.3 10.3, 107 11.2))")
def test_no_filter_is_a_fault_of_the_server(http: httpx.Client, text: str) -> None:
    for layer, further in ((LAYER, (200, 429, 503)), (BROKEN_LAYER, (200, 400, 429, 503))):
        answer = http.get(f"/collections/{layer}/items", params={"filter": text, "limit": 1000})
        assert answer.status_code in (200, 400, 429, 503), (text, answer.text)
        if answer.status_code != 200:
            assert answer.json()["detail"]
            continue
        for path in (f"/tiles/{layer}/9/407/240.mvt", f"/collections/{layer}/cells"):
            assert http.get(path, params={"filter": text}).status_code in further, (path, text)


RELATIONS = {
    "S_INTERSECTS": shapely.intersects, "S_DISJOINT": shapely.disjoint, "S_TOUCHES": shapely.touches,
    "S_WITHIN": shapely.within, "S_OVERLAPS": shapely.overlaps, "S_CROSSES": shapely.crosses,
    "S_CONTAINS": shapely.contains,
}  # fmt: skip
NEAR = st.integers(0, 8).map(lambda n: round(106.695 + n * 0.0025, 4))
NORTH = st.integers(0, 8).map(lambda n: round(10.765 + n * 0.0025, 4))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(RELATIONS)), st.lists(st.tuples(NEAR, NORTH), min_size=2, max_size=4, unique=True))
def test_each_relation_gives_what_it_means_also_where_it_is_asked_in_steps(
    http: httpx.Client, op: str, points: list[tuple[float, float]]
) -> None:
    for shape in (
        shapely.LineString(points),
        shapely.MultiPoint(points).convex_hull.envelope,
        shapely.Point(points[0]),
    ):
        if not shape.is_valid:
            continue
        wkt = shapely.to_wkt(shape, rounding_precision=-1)
        own = {f"o{n}": SHAPES[n % len(SHAPES)] for n in range(COUNT)}
        expected = {name for name, other in own.items() if other.is_valid and RELATIONS[op](other, shape)}
        for text in (f"{op}(geometry, {wkt})", f"NOT (NOT {op}(geometry, {wkt}))"):
            found = set(ids(http.get(ITEMS, params={"filter": text, "limit": 1000})))
            assert {name for name in found if own[name].is_valid} == expected, text


# Names ------------------------------------------------------------------------------------------------------------


def test_parameters_stay_parameters_where_fields_are_called_like_them(http: httpx.Client) -> None:
    assert len(ids(http.get(ITEMS, params={"limit": 1}))) == 1
    for name in RESERVED:
        found = ids(http.get(ITEMS, params={"filter": f'"{name}" = 1', "limit": 1000}))
        assert found == [f"o{n}" for n in range(COUNT) if n % 5 == 1], name
        assert http.get(f"/collections/{LAYER}/queryables").json()["properties"][name]["type"] == "integer"
    assert len(ids(http.get(ITEMS, params={"sortby": "-limit", "limit": 1000}))) == COUNT


# Patterns and order -----------------------------------------------------------------------------------------------


def like(text: str, pattern: str) -> bool:
    """LIKE as CQL2 has it: % for any text, _ for one character, and a backslash before what stands for itself."""
    parts = re.findall(r"\\(.)|(%)|(_)|([^\\%_])", pattern, re.DOTALL)
    regex = "".join(
        ".*" if many else "." if one else re.escape(escaped or plain) for escaped, many, one, plain in parts
    )
    return re.fullmatch(regex, text, re.DOTALL) is not None


@settings(max_examples=examples(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.sampled_from("%_\\1A0BCDđxX'"), max_size=5))
@example("100\\%")
@example("A\\_B")
@example("C\\\\D")
def test_patterns_find_what_their_escapes_say(http: httpx.Client, pattern: str) -> None:
    quoted = pattern.replace("'", "''")
    found = ids(http.get(ITEMS, params={"filter": f"label LIKE '{quoted}'", "limit": 1000}))
    assert found == [f"o{n}" for n, name in enumerate(NAMES) if like(name, pattern)]


@pytest.mark.parametrize("key", ["size", "-size", "label", "-label", "limit,-size"])
def test_pages_in_order_hold_each_feature_once_though_values_are_missing(http: httpx.Client, key: str) -> None:
    found, address, last = [], f"{ITEMS}?limit=2&sortby={key}", None
    while address:
        last = http.get(address)
        found += ids(last)
        address = linked(last, "next")
    assert sorted(found) == sorted(f"o{n}" for n in range(COUNT))
    back, address = ids(last), linked(last, "prev")
    while address:
        page = http.get(address)
        back = ids(page) + back
        address = linked(page, "prev")
    assert back == found


# Cells, extents, tiles --------------------------------------------------------------------------------------------


@settings(max_examples=examples(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.floats(0.0001, 0.9999), st.booleans())
def test_a_thin_polygon_is_found_everywhere_on_its_axis(http: httpx.Client, along: float, upright: bool) -> None:
    if upright:
        name, lng, lat = "o0", X, Y + 0.27 * along
    else:
        name, lng, lat = "o1", 106.5 + 0.25 * along, 10.700035 + 0.13 * along
    answer = http.get("/cells/at", params={"lng": lng, "lat": lat}).json()
    here = {
        f["id"] for agency in answer["agencies"] for entry in agency["layers"] for f in entry["features"] if f["here"]
    }
    assert name in here


def test_the_cells_of_a_thin_polygon_leave_no_gap() -> None:
    for resolution in (9, 10, 11):
        cells = cover(np.array([UPRIGHT], dtype=object), resolution).cell
        assert len(cells) >= 0.27 * 111_000 / (3 * 1.5 ** (2 * (13 - resolution)) * 8)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=20))
def test_no_coordinate_as_published_lies_outside_the_published_extent(points: list[tuple[float, float]]) -> None:
    x, y = (np.array(part) for part in zip(*points, strict=True))
    west, south, east, north = outwards((x.min(), y.min(), x.max(), y.max()))
    for exact in ((x, y), (np.round(x, 7), np.round(y, 7))):
        assert west <= exact[0].min() and exact[0].max() <= east
        assert south <= exact[1].min() and exact[1].max() <= north
    assert outwards((west, south, east, north)) == (west, south, east, north)
    assert max(x.min() - west, east - x.max(), y.min() - south, north - y.max()) < 1.01e-7


def test_every_feature_lies_within_its_layer_s_extent_in_each_document(http: httpx.Client) -> None:
    features = http.get(ITEMS, params={"limit": 1000}).json()["features"]
    bounds = shapely.total_bounds([shapely.geometry.shape(feature["geometry"]) for feature in features])
    described = http.get(f"/collections/{LAYER}").json()
    written = http.get(f"/catalogue/{LAYER}").text
    wkt = next(text for text in re.findall(r"POLYGON[^\"]*", written))
    for box in (
        described["extent"]["spatial"]["bbox"][0], described["bounds"], shapely.from_wkt(wkt).bounds,
        http.get(f"/tiles/{LAYER}/tilejson.json").json()["bounds"],
    ):  # fmt: skip
        assert box[0] <= bounds[0] and box[1] <= bounds[1] and box[2] >= bounds[2] and box[3] >= bounds[3]


def signed_area(ring: list[Any]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2


@pytest.mark.parametrize("zoom", range(9, 19))
def test_outer_rings_of_a_tile_go_one_way_and_holes_the_other(http: httpx.Client, zoom: int) -> None:
    for lng, lat in ((106.705, 10.7715), (106.7405, 10.7715), (106.7001225, 10.75)):
        tile = mercantile.tile(lng, lat, zoom)
        body = http.get(f"/tiles/{LAYER}/{zoom}/{tile.x}/{tile.y}.mvt").content
        for feature in mapbox_vector_tile.decode(body, default_options={"y_coord_down": True})[LAYER]["features"]:
            geometry = feature["geometry"]
            polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
            for shell, *holes in polygons:
                assert signed_area(shell) > 0 and all(signed_area(hole) < 0 for hole in holes)


def test_a_strip_does_not_come_and_go_with_the_zoom(http: httpx.Client) -> None:
    """Neither upright nor across, wherever on it one looks."""
    for fid, points in ((1, [(X, Y + 0.27 * n / 8) for n in range(1, 8)]),
                        (2, [(106.5 + 0.25 * n / 8, 10.700035 + 0.13 * n / 8) for n in range(1, 8)])):  # fmt: skip
        for lng, lat in points:
            shown = []
            for zoom in range(5, 19):
                tile = mercantile.tile(lng, lat, zoom)
                body = http.get(f"/tiles/{LAYER}/{zoom}/{tile.x}/{tile.y}.mvt").content
                layers = mapbox_vector_tile.decode(body) if body else {}
                shown.append(fid in {feature["id"] for feature in layers.get(LAYER, {"features": []})["features"]})
            assert shown == sorted(shown) and shown[-1], (fid, lng, lat, shown)
    assert math.isclose(UPRIGHT.bounds[2] - UPRIGHT.bounds[0], 4.5e-5, rel_tol=1e-6)

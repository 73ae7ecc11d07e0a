"""A layer counted in cells: every number equals counting the features one after another, in every form."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import Any

import h3
import httpx
import mapbox_vector_tile
import mercantile
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cells.conftest import COUNT, LAYER, ROLLED, THEME, sheds
from tests.conftest import LiveServer
from tiles.cells.outlines import meeting, outlines
from tiles.cells.statement import CellsQuery
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import read_catalogue
from twin.cells.cover import cover, format_cell
from twin.cells.rollup import Rolled
from twin.client import Twin

CELLS = f"/collections/{LAYER}/cells"
FORMS = ("json", "geojson", "csv", "arrow", "parquet")


# Counting one by one -------------------------------------------------------------------------------


@cache
def homes() -> list[tuple[dict[str, Any], str]]:
    """Each feature with its own cell: the lowest that it touches at the layer's resolution."""
    frame = sheds()
    found = cover(frame.geometry.to_numpy(), 10)
    lowest = pd.Series(found.cell).groupby(found.feature).min()
    rows = frame.drop(columns="geometry").astype(object).where(frame.notna(), None).to_dict("records")
    return [(row, format_cell(int(lowest[n]))) for n, row in enumerate(rows)]


def value(rule: str, values: list[Any]) -> Any:
    there = [v for v in values if v is not None]
    if rule == "count":
        return len(there)
    if not there:
        return None
    if rule == "mode":
        times = Counter(there)
        return min(times, key=lambda v: (-times[v], v))
    rules: dict[str, Callable[[list[Any]], Any]] = {
        "sum": sum,
        "max": max,
        "min": min,
        "mean": lambda v: sum(v) / len(v),
    }
    return rules[rule](there)


def one_by_one(
    resolution: int, box: tuple[float, ...] | None = None, keep: Callable[[dict[str, Any]], bool] = lambda _: True
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row, home in homes():
        if keep(row):
            groups.setdefault(h3.cell_to_parent(home, resolution), []).append(row)
    result = {}
    for cell, rows in sorted(groups.items()):
        outline = shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(cell)])
        if box is not None and not outline.intersects(shapely.box(*box)):
            continue
        numbers: dict[str, Any] = {"cell": cell, "features": len(rows), "per_km2": len(rows) / h3.cell_area(cell)}
        result[cell] = numbers | {name: value(rule, [r[name] for r in rows]) for name, rule in ROLLED.items()}
    return result


def agree(found: list[dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    assert [row["cell"] for row in found] == list(expected)
    for row in found:
        for name, number in expected[row["cell"]].items():
            if isinstance(number, date):
                number = number.isoformat()
            if isinstance(number, float):
                number = pytest.approx(number, abs=6e-4, rel=1e-9)
            assert row[name] == number, (row["cell"], name)


longitudes, latitudes = st.floats(106.62, 106.78), st.floats(10.69, 10.85)
boxes = st.none() | st.builds(
    lambda a, b, c, d: (min(a, b), min(c, d), max(a, b), max(c, d)), longitudes, longitudes, latitudes, latitudes
)
FILTERS: list[tuple[str | None, Callable[[dict[str, Any]], bool]]] = [
    (None, lambda _: True),
    ("height > 20 AND kind = 'tin'", lambda r: (r["height"] or 0) > 20 and r["kind"] == "tin"),
    ("locked = TRUE OR owner IS NULL", lambda r: r["locked"] is True or r["owner"] is None),
]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10), boxes, st.sampled_from([1, 2, 3]), st.sampled_from(FILTERS), st.booleans())
def test_any_resolution_box_and_filter_equals_counting_the_features_one_by_one(
    http: httpx.Client, resolution: int, box: tuple[float, ...] | None, version: int,
    narrowed: tuple[str | None, Callable[[dict[str, Any]], bool]], without_boolean: bool,
) -> None:  # fmt: skip
    text, keep = narrowed
    asked: dict[str, Any] = {"resolution": resolution, "version": version}
    asked |= {"bbox": ",".join(map(str, box))} if box else {}
    asked |= {"filter": text} if text else {}
    expected = one_by_one(resolution, box, keep)
    if without_boolean:
        # Now the first version's roll-up knows everything that is asked for.
        names = [name for name in ROLLED if name != "locked"]
        asked["properties"] = ",".join(names)
        expected = {c: {k: v for k, v in row.items() if k != "locked"} for c, row in expected.items()}
    answer = http.get(CELLS, params=asked)
    assert answer.status_code == 200, answer.text
    agree(answer.json()["cells"], expected)


def test_every_feature_is_counted_once_at_every_resolution(http: httpx.Client) -> None:
    for resolution in range(11):
        for version in (1, 2, 3):
            cells = http.get(CELLS, params={"resolution": resolution, "version": version}).json()["cells"]
            assert sum(row["features"] for row in cells) == COUNT


def test_a_roll_up_answers_what_it_holds_and_nothing_else(lab: LiveServer) -> None:
    with lab.database.session() as session:
        layer = read_catalogue(session)[LAYER]
    kept = tuple(c for c in THEME.rolled(ROLLED) if c.name != "locked")
    other_rule = (Rolled("height", "number", "mean"),)
    for version, resolution, columns, conditions, expected in [
        (1, 8, kept, (), True), (1, 4, (), (), True), (1, 9, kept, (), False), (1, 3, (), (), False),
        (1, 8, THEME.rolled(["locked"]), (), False), (1, 8, other_rule, (), False), (1, 8, kept, ("true",), False),
        (2, 8, kept, (), False),
    ]:  # fmt: skip
        assert (
            CellsQuery(whole_permit(layer, layer.versions[version]), resolution, columns, None, conditions).from_rollup
            is expected
        )


# Forms ---------------------------------------------------------------------------------------------


def rows_of(answer: httpx.Response, form: str) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    if form == "json":
        return answer.json()["cells"]
    if form == "geojson":
        return [f["properties"] for f in answer.json()["features"]]
    if form == "csv":
        return list(csv.DictReader(io.StringIO(answer.text)))
    read = (
        pa.ipc.open_stream(answer.content).read_all() if form == "arrow" else pq.read_table(io.BytesIO(answer.content))
    )
    assert read.schema.field("cell").type == pa.uint64() and not read.schema.field("cell").nullable
    rows = read.to_pylist()
    return [r | {"cell": h3.int_to_str(r["cell"]), "since": r["since"] and r["since"].isoformat()} for r in rows]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(http: httpx.Client, form: str) -> None:
    asked = {"resolution": 9, "bbox": "106.69,10.76,106.71,10.79", "f": form}
    answer = http.get(CELLS, params=asked)
    rows, expected = rows_of(answer, form), one_by_one(9, (106.69, 10.76, 106.71, 10.79))
    assert len(rows) > 20
    if form == "csv":
        types: dict[str, Callable[[str], Any]] = {
            "features": int, "per_km2": float, "area": float, "doors": int, "height": float, "level": float, "owner": int,
            "locked": lambda v: v == "true",
        }  # fmt: skip
        rows = [{k: (types.get(k, str)(v) if v != "" else None) for k, v in row.items()} for row in rows]
    agree(rows, expected)
    accepted = http.get(
        CELLS, params={k: v for k, v in asked.items() if k != "f"}, headers={"Accept": answer.headers["content-type"]}
    )
    assert accepted.content == answer.content or form in ("json", "geojson")


def test_the_numbers_say_what_they_are(http: httpx.Client) -> None:
    said = http.get(CELLS, params={"resolution": 5}).json()
    assert said["layer"] == LAYER and said["version"] == 3 and said["licence"] == "CC0-1.0"
    assert said["resolution"] == 5 and said["resolutions"] == list(range(11))
    assert list(said["properties"]) == ["features", "per_km2", *ROLLED]
    assert said["properties"]["area"] == {"title": "area (en)", "type": "number", "rollup": "sum", "unit": "m2"}
    assert said["properties"]["owner"]["type"] == "integer"
    assert http.get(CELLS, params={"lang": "vi"}).json()["properties"]["area"]["title"] == "area (vi)"
    schema = pa.ipc.open_stream(http.get(CELLS, params={"f": "arrow"}).content).schema
    assert schema.field("area").metadata[b"unit"] == b"m2"
    assert json.loads(schema.metadata[b"city_twin"])["version"] == 3
    about = http.get(f"/collections/{LAYER}").json()
    assert about["cellResolution"] == 10
    (link,) = [link for link in about["links"] if link["rel"] == "cells"]
    assert http.get(link["href"]).json()["layer"] == LAYER


def test_geojson_has_the_outlines(http: httpx.Client) -> None:
    features = http.get(CELLS, params={"f": "geojson", "resolution": 7}).json()["features"]
    for feature in features:
        shape, expected = (
            shapely.geometry.shape(feature["geometry"]),
            shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(feature["id"])]),
        )
        assert (
            shape.exterior.is_closed
            and shape.symmetric_difference(expected).area < 1e-8
            and feature["id"] == feature["properties"]["cell"]
        )


def test_the_client_s_frame_knows_missing_values_of_every_type(lab: LiveServer) -> None:
    with Twin(lab.url) as city:
        cells, features = city.layer(LAYER).cells(10), city.layer(LAYER).to_geodataframe()
    expected = one_by_one(10)
    types = {"doors": "Int64", "owner": "Int64", "locked": "boolean", "area": "float64", "features": "Int64"}
    assert {name: str(cells.dtypes[name]) for name in types} == types
    assert str(features.dtypes["doors"]) == "Int64" and str(features.dtypes["locked"]) == "boolean"
    for cell, row in expected.items():
        for name in ("doors", "locked", "kind", "since", "area"):
            value = cells.loc[cell, name]
            assert pd.isna(value) if row[name] is None else value == row[name]
    own = sheds().set_index("id")
    assert set(features.index) == set(own.index) and (features["since"].dropna() == own["since"].dropna()).all()


# Pages and versions --------------------------------------------------------------------------------


def pages(http: httpx.Client, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    answer = http.get(CELLS, params=asked).json()
    yield answer
    while following := [link["href"] for link in answer["links"] if link["rel"] == "next"]:
        answer = http.get(following[0]).json()
        yield answer


@pytest.mark.parametrize(
    "asked",
    [{"resolution": 8, "version": 1, "properties": "area"}, {"resolution": 10, "bbox": "106.69,10.76,106.71,10.79"}],
)
def test_pages_follow_each_other_without_gap_or_repetition(http: httpx.Client, asked: dict[str, Any]) -> None:
    whole = http.get(CELLS, params=asked).json()["cells"]
    turned = list(pages(http, asked | {"limit": 17}))
    assert [row for page in turned for row in page["cells"]] == whole
    assert {page["numberReturned"] for page in turned[:-1]} == {17} and len(turned) > 3
    assert len({(page["version"], page["resolution"]) for page in turned}) == 1


def test_without_a_resolution_one_is_chosen_that_suits_the_place(http: httpx.Client) -> None:
    whole, part = (http.get(CELLS, params=p).json() for p in ({}, {"bbox": "106.7,10.77,106.701,10.771"}))
    assert whole["resolution"] < part["resolution"] == 10
    assert whole["numberReturned"] <= 5000 and "next" not in {link["rel"] for link in whole["links"]}
    assert http.get(CELLS, params={"bbox": "-180,-90,180,90"}).json()["resolution"] == whole["resolution"]


@pytest.mark.parametrize(
    "box", ["170,-20,-170,20", "-180,80,180,90", "106.8,-90,106.7,90", "0,0,0,0", "106.7,10.7,0,106.7,10.8,9"]
)
@pytest.mark.parametrize("version", [1, 2])
def test_boxes_at_the_ends_of_the_world_are_understood(http: httpx.Client, box: str, version: int) -> None:
    numbers = list(map(float, box.split(",")))
    half = len(numbers) // 2
    west, south, east, north = *numbers[:2], *numbers[half : half + 2]
    parts = [(west, south, east, north)] if west <= east else [(west, south, 180, north), (-180, south, east, north)]
    expected = {c for p in parts for c in one_by_one(8, p)}
    answer = http.get(CELLS, params={"bbox": box, "resolution": 8, "version": version, "properties": "area"})
    assert {row["cell"] for row in answer.json()["cells"]} == expected


def test_an_answer_that_names_its_version_may_be_kept_for_ever(http: httpx.Client) -> None:
    for address in (CELLS, f"{CELLS}/tiles/WebMercatorQuad/10/481/815"):
        current, pinned = http.get(address), http.get(address, params={"version": 2})
        assert "immutable" in pinned.headers["cache-control"] and "max-age=60" in current.headers["cache-control"]
        assert current.headers["etag"] != pinned.headers["etag"]
        again = http.get(address, headers={"If-None-Match": current.headers["etag"]})
        assert again.status_code == 304 and not again.content
    assert http.get(CELLS, params={"asOf": "2099-01-01"}).json()["version"] == 3
    assert http.get(CELLS, params={"asOf": "2001-01-01"}).status_code == 404
    # `at` is the moment of everything; a version that is named has the last word about the version.
    assert http.get(CELLS, params={"at": "2099-01-01"}).json()["version"] == 3
    assert http.get(CELLS, params={"at": "2001-01-01"}).status_code == 404
    assert http.get(CELLS, params={"at": "2001-01-01", "version": "1"}).json()["version"] == 1
    assert http.get(CELLS, params={"version": 9}).status_code == 404


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"resolution": "11"}, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"), ({"resolution": "-1"}, "resolution"),
        ({"resolution": "٣"}, "resolution"), ({"resolution": "8.0"}, "resolution"), ({"bbox": "1,2,3"}, "bbox"),
        ({"bbox": "1,2,3,x"}, "bbox"), ({"bbox": "106,11,107,10"}, "bbox"), ({"properties": "note"}, "kind, first, area"),
        ({"properties": "nothing"}, "properties"), ({"limit": "0"}, "limit"), ({"limit": "0" * 5000 + "1"}, "limit"), ({"sortby": "area"}, "sortby"),
        ({"resolutoin": "7"}, "resolution"), ({"filter": "height >"}, "filter"), ({"filter": "nothing = 1"}, "queryable"),
        ({"filter-lang": "sql"}, "filter-lang"), ({"token": "x"}, "token"), ({"version": "x"}, "version"),
        ({"version": "1", "asOf": "2026-01-01"}, "asOf"), ({"f": "xlsx"}, "geojson"), ({"datetime": "now"}, "datetime"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_a_400_that_helps(http: httpx.Client, asked: dict[str, str], said: str) -> None:
    answer = http.get(CELLS, params=asked)
    assert answer.status_code == 400 and said in answer.json()["detail"]


def test_datetime_narrows_to_the_features_of_a_time(http: httpx.Client) -> None:
    found = http.get(CELLS, params={"datetime": "2021-01-01/..", "resolution": 6}).json()["cells"]
    agree(found, one_by_one(6, keep=lambda r: r["since"] is not None and r["since"] >= date(2021, 1, 1)))


# Tiles ---------------------------------------------------------------------------------------------

GRID = f"{CELLS}/tiles/WebMercatorQuad"


def cells_in(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    layers = mapbox_vector_tile.decode(answer.content)
    assert set(layers) <= {f"{LAYER}:cells"}
    return [f["properties"] for f in layers.get(f"{LAYER}:cells", {"features": []})["features"]]


@pytest.mark.parametrize(("zoom", "resolution"), [(0, 0), (8, 4), (11, 7), (12, 9), (14, 10)])
def test_tiles_hold_the_same_cells_as_the_table(http: httpx.Client, zoom: int, resolution: int) -> None:
    expected, found = one_by_one(resolution), {}
    for tile in mercantile.tiles(*sheds().total_bounds, [zoom]):
        box = mercantile.bounds(tile)
        rows = cells_in(http.get(f"{GRID}/{zoom}/{tile.y}/{tile.x}", params={"resolution": resolution}))
        names = {row["cell"] for row in rows}
        # Cells that reach well into the tile are there; those of the neighbourhood are not.
        width = (box.east - box.west) / 10
        inner = (box.west + width, box.south + width, box.east - width, box.north - width)
        outer = (box.west - width, box.south - width, box.east + width, box.north + width)
        assert names >= set(one_by_one(resolution, inner)) and names <= set(one_by_one(resolution, outer))
        found |= {row["cell"]: row for row in rows}
    # A tile has no dates, and leaves missing values out.
    assert set(found) == set(expected)
    for cell, row in found.items():
        for name, number in row.items():
            wanted = expected[cell][name]
            wanted = wanted.isoformat() if isinstance(wanted, date) else wanted
            assert number == (pytest.approx(wanted, abs=6e-4, rel=1e-6) if isinstance(wanted, float) else wanted)


def test_a_tile_s_resolution_follows_its_zoom_and_is_part_of_its_name_in_the_cache(http: httpx.Client) -> None:
    tile = mercantile.tile(106.7, 10.77, 10)
    address = f"{GRID}/10/{tile.y}/{tile.x}"
    usual = {h3.get_resolution(row["cell"]) for row in cells_in(http.get(address))}
    for resolution in (3, 6, 8, 3):
        rows = cells_in(http.get(address, params={"resolution": resolution}))
        assert {h3.get_resolution(row["cell"]) for row in rows} == {resolution}
    assert usual == {7}
    refused = http.get(address, params={"resolution": 10})
    assert refused.status_code == 400 and "0, 1, 2, 3, 4, 5, 6, 7, 8." in refused.json()["detail"]
    assert http.get(f"{GRID}/10/{2**10}/0").status_code == 404
    for wrong in ({"bbox": "1,2,3,4"}, {"f": "png"}, {"filter": "nothing = 1"}, {"resolution": "x"}):
        assert http.get(address, params=wrong).status_code == 400


@pytest.mark.parametrize(("text", "keep"), FILTERS[1:])
def test_a_tile_under_a_filter_counts_what_matches(
    http: httpx.Client, text: str, keep: Callable[[dict[str, Any]], bool]
) -> None:
    tile = mercantile.tile(106.7, 10.77, 9)
    asked = {"resolution": 6, "filter": text}
    rows = cells_in(http.get(f"{GRID}/9/{tile.y}/{tile.x}", params=asked))
    expected = one_by_one(6, keep=keep)
    assert rows and {row["cell"]: row["features"] for row in rows} == {c: r["features"] for c, r in expected.items()}


def test_tiles_come_in_the_city_s_own_plane_too(http: httpx.Client) -> None:
    grid = "VN2000Zone10545Quad"
    known = http.get(f"/collections/{LAYER}/tiles/{grid}").json()["tileMatrixSetLimits"]
    found: dict[str, int] = {}
    (limits,) = (limit for limit in known if int(limit["tileMatrix"]) == max(int(k["tileMatrix"]) for k in known) - 2)
    for row in range(limits["minTileRow"], limits["maxTileRow"] + 1):
        for column in range(limits["minTileCol"], limits["maxTileCol"] + 1):
            address = f"{CELLS}/tiles/{grid}/{limits['tileMatrix']}/{row}/{column}"
            found |= {r["cell"]: r["features"] for r in cells_in(http.get(address, params={"resolution": 9}))}
    assert found == {cell: row["features"] for cell, row in one_by_one(9).items()}


def test_outlines_at_the_180th_meridian_stay_whole() -> None:
    cells = np.array(
        [h3.str_to_int(h3.latlng_to_cell(0, 180, 3)), h3.str_to_int(h3.latlng_to_cell(0, 10, 3))], np.int64
    )
    assert (shapely.area(outlines(cells)) < 3).all()
    assert meeting(cells, shapely.box(179.9, -1, 180, 1)).tolist() == [True, False]
    assert meeting(cells, shapely.box(-180, -1, -179.9, 1)).tolist() == [True, False]
    assert meeting(cells, shapely.box(9, -1, 11, 1)).tolist() == [False, True]

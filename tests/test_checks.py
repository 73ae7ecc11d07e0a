"""Checks of incoming features: typed, mended, or set aside with a reason; nothing is lost."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import Findings, check
from ingest.checks.values import as_type
from ingest.column_names import column_name
from ingest.mapping.rows import columns_of_layer
from ingest.publish.identity import HASHED_FROM, Numbering, ids_from_geometry
from layers.registry import theme
from tests.examples import examples
from twin.city import read_city

OUTLINE = read_city("hcmc").outline
HERE = shapely.box(106.7, 10.77, 106.701, 10.771)


def buildings(rows: list[dict], geometry: list, crs: object = 4326, name: str = "buildings"):
    of = theme(name)
    columns = columns_of_layer(of, {})
    frame = pd.DataFrame([{c.name: row.get(c.name) for c in columns} | {"id": row.get("id")} for row in rows])
    findings = Findings()
    shapes = np.empty(len(geometry), dtype=object)
    shapes[:] = geometry
    checked = check(gpd.GeoDataFrame(frame, geometry=shapes), of, columns, crs, OUTLINE, findings)
    assert len(checked.good) + len(checked.bad) == len(rows)
    return checked, findings


def test_values_are_brought_to_the_contract_s_types() -> None:
    checked, _ = buildings([{"height": "12,5 m", "levels": "3.0", "use": "Chung cư", "name": " Nha\u0300 "}], [HERE])
    row = checked.good.iloc[0]
    assert (row["height"], row["levels"], row["use"], row["name"]) == (12.5, 3, "apartments", "Nhà")


@pytest.mark.parametrize("spelling", ["apartments", "Apartments", "CHUNG CƯ", "apartment", "  dormitory "])
def test_terms_are_known_by_key_title_or_alias_in_any_case(spelling: str) -> None:
    checked, _ = buildings([{"use": spelling}], [HERE])
    assert checked.good["use"].tolist() == ["apartments"]


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ({"use": "castle"}, "field.vocabulary", "castle"),
        ({"height": 9000}, "field.range", "9000"),
        ({"height": -1}, "field.range", "-1"),
        ({"height": "tall"}, "field.type", "tall"),
        ({"levels": "1e300"}, "field", "1e300"),
        ({"height": "1,200"}, "field.type", "1,200"),
        ({"height": "3;4"}, "field.type", "3;4"),
    ],
)
def test_a_value_outside_the_contract_sets_its_feature_aside_and_is_quoted(
    row: dict, reason: str, message: str
) -> None:
    checked, findings = buildings([row, {"height": 5}], [HERE, HERE])
    assert len(checked.good) == 1
    (bad,) = checked.bad
    assert bad["reason"].startswith(reason) and message in bad["detail"]
    assert shapely.from_wkb(bad["geometry"]).equals(HERE)
    assert sum(findings.set_aside.values()) == 1


def test_a_missing_required_value_sets_its_feature_aside() -> None:
    checked, _ = buildings([{"name": "x"}], [shapely.Point(106.7, 10.7)], name="places")
    assert checked.bad[0]["reason"] == "field.required"


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (None, "geometry.missing"),
        (shapely.Polygon(), "geometry.missing"),
        (shapely.Point(106.7, 10.77), "geometry.kind"),
        (shapely.box(10.77, 106.7, 10.78, 106.71), "geometry.outside_city"),
        (shapely.box(2.35, 48.85, 2.36, 48.86), "geometry.outside_city"),
        (shapely.Polygon([(106.7, 10.7), (106.8, 10.7), (106.7, 10.7), (106.7, 10.7)]), "geometry"),
        (shapely.Polygon([(106.7, 10.7), (np.inf, 10.7), (106.7, 10.8), (106.7, 10.7)]), "geometry"),
    ],
)
def test_a_geometry_that_cannot_be_used_is_set_aside(geometry: object, reason: str) -> None:
    checked, _ = buildings([{"height": 5}], [geometry])
    assert checked.bad[0]["reason"].startswith(reason)


def test_a_polygon_that_crosses_itself_is_mended_and_counted() -> None:
    bow = shapely.Polygon([(106.7, 10.7), (106.8, 10.8), (106.8, 10.7), (106.7, 10.8), (106.7, 10.7)])
    checked, findings = buildings([{"height": 5}], [bow])
    assert findings.mended == 1
    mended = checked.good.geometry.iloc[0]
    assert mended.is_valid and mended.area > 0


def test_a_collection_gives_up_its_polygons() -> None:
    parts = shapely.GeometryCollection([shapely.MultiPolygon([HERE]), shapely.Point(106.7, 10.7)])
    checked, _ = buildings([{"height": 5}], [parts])
    assert checked.good.geometry.iloc[0].equals(HERE)


def test_an_area_becomes_a_point_on_it_where_points_are_wanted() -> None:
    checked, _ = buildings([{"name": "park", "kind": "park"}], [HERE], name="places")
    assert HERE.contains(checked.good.geometry.iloc[0])


def test_vn2000_coordinates_come_out_where_they_belong_and_flat() -> None:
    block = shapely.Polygon([(603000, 1191000, 5), (603020, 1191000, 5), (603020, 1191020, 5), (603000, 1191000, 5)])
    checked, _ = buildings([{"height": 5}], [block], crs=9210)
    assert not checked.good.geometry.iloc[0].has_z
    assert OUTLINE.contains(checked.good.geometry.iloc[0])


junk = st.one_of(st.none(), st.text(max_size=12), st.integers(-(2**70), 2**70), st.floats(), st.booleans())


@settings(max_examples=examples(150), deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({"height": junk, "levels": junk, "use": junk, "name": junk, "year_built": junk}), min_size=1, max_size=8))  # fmt: skip
def test_whatever_the_values_every_feature_is_either_good_or_set_aside(rows: list[dict]) -> None:
    checked, _ = buildings(rows, [HERE] * len(rows))
    good = checked.good
    assert good["use"].dropna().isin(list(theme("buildings").by_name["use"].vocabulary or {})).all()
    assert good["height"].dropna().between(0, 600).all()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Tầng cao", "tang_cao"), ("Đường", "duong"), ("SHAPE_Area", "shape_area"), ("addr:street", "addr_street"), ("2019", "c_2019"), ("", "c_"), ("x" * 90, "x" * 27 + "_" + "x" * 12)],
)  # fmt: skip
def test_any_column_name_becomes_a_plain_identifier(name: str, plain: str) -> None:
    assert column_name(name) == plain


def test_an_id_has_the_same_number_in_every_version() -> None:
    ids = np.array(["way/4217", "26734", "Trạm bơm"], dtype=object)
    first, _ = Numbering().number(ids)
    later, _ = Numbering().number(ids[::-1].copy())
    assert first.tolist() == later[::-1].tolist()
    assert first[1] == 26734
    # Pinned: a change of these numbers would break every bookmark of a feature.
    assert (
        first.tolist() == [first[0], 26734, first[2]] and (first[[0, 2]] >= HASHED_FROM).all() and (first < 2**53).all()
    )


def test_ids_that_come_twice_are_found_within_a_batch_and_across() -> None:
    numbering = Numbering()
    _, repeated = numbering.number(np.array(["a", "b", "a"], dtype=object))
    assert repeated.tolist() == [False, False, True]
    _, repeated = numbering.number(np.array(["c", "b"], dtype=object))
    assert repeated.tolist() == [False, True]


def test_two_ids_of_one_number_both_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ingest.publish.identity._numbers_of", lambda ids, _: np.full(len(ids), HASHED_FROM, dtype=np.int64)
    )
    numbering = Numbering()
    first, repeated = numbering.number(np.array(["a", "b", "c"], dtype=object))
    second, _ = numbering.number(np.array(["d", "a"], dtype=object))
    assert not repeated.any()
    assert len({*first.tolist(), second[0]}) == 4


def test_ids_made_from_geometry_depend_on_the_geometry_alone() -> None:
    shapes = np.array([HERE, shapely.box(1, 1, 2, 2), shapely.box(106.7, 10.77, 106.701, 10.771)], dtype=object)
    ids = ids_from_geometry(shapes)
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("12,5", 12.5), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-,5", None), ("50 km/h", 50.0), ("1,234", None), ("1,2345", 1.2345),
        ("1e-3", 0.001), (" 7 m² ", 7.0), ("x", None), (".", None), ("", None),
    ],
)  # fmt: skip
def test_a_number_is_read_as_people_write_it_and_never_guessed(written: str, number: float | None) -> None:
    (found,), (wrong,) = as_type(pd.Series([written], dtype=object), "number")
    assert wrong == (number is None) and (wrong or found == number)

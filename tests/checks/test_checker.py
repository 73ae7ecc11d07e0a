"""A file checked batch by batch: nothing lost, every problem counted, examples that can be found again."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import Checker, CheckLimits, Plan, Report, inspect
from ingest.checks.kinds import KINDS
from ingest.repeats import EarlierValues, hash_shapes, hash_values
from layers.registry import theme
from tests.checks.legacy_text import as_tcvn3, as_vni
from tests.checks.messy import messy
from tests.checks.readers import Memory, memory, opened
from tests.examples import examples
from twin.city import read_city
from twin.crs import transform

CITY = read_city("hcmc")


def run(reader: Memory, name: str, rows: int = 25, **options) -> tuple[gpd.GeoDataFrame, list[dict], Report, Plan]:
    plan = inspect(reader, theme(name), CITY, **options)
    checker = Checker(plan)
    parts = [checker.feed(batch) for batch in reader.batches(rows)]
    good = [p.good for p in parts]
    report = checker.finish()
    whole = gpd.GeoDataFrame(pd.concat(good, ignore_index=True)) if good else gpd.GeoDataFrame()
    bad = [entry for p in parts for entry in p.bad]
    assert (len(whole), len(bad)) == (report.good, report.bad)
    assert report.features == report.good + report.bad == len(reader.frame)
    return whole, bad, report, plan


def found(report: Report) -> dict[str, int]:
    counts: dict[str, int] = {}
    for problem in report.problems:
        counts[problem.code] = counts.get(problem.code, 0) + problem.count
    return counts


def boxes(count: int, size: float = 0.0004) -> list[shapely.Polygon]:
    return [shapely.box(106.7 + i * 0.001, 10.75, 106.7 + i * 0.001 + size, 10.75 + size) for i in range(count)]


def test_a_nul_in_an_id_is_removed_and_named() -> None:
    reader = memory({"id": ["a\0b", "ab", "c"], "levels": [1, 2, 3]}, boxes(3), crs=4326)
    good, bad, report, _ = run(reader, "buildings")
    assert good["id"].tolist() == ["ab", "c"] and [entry["reason"] for entry in bad] == ["id.duplicate"]
    assert found(report)["text.control"] == 1


@pytest.mark.parametrize(
    ("text", "levels"),
    [("12", 12), ("12.0", 12), ("7.6", 8), ("0.500", 0), ("45.601", None), ("1.234.567", None), ("45,601", None)],
)
def test_a_text_that_may_be_thousands_is_no_whole_number(text: str, levels: int | None) -> None:
    reader = memory({"id": ["a", "b"], "levels": ["3", text]}, boxes(2), crs=4326)
    good, bad, report, _ = run(reader, "buildings")
    assert good["levels"].tolist() == [3] + ([] if levels is None else [levels])
    assert len(bad) == (levels is None)
    assert ("field.type" in found(report)) == (levels is None)


def test_an_agency_s_shapefile_in_vn2000_with_tcvn3_text_and_broken_shapes_goes_in() -> None:
    good, bad, report, plan = run(messy(), "buildings")
    assert plan.reference.reading.code == "EPSG:9210"
    assert plan.legacy == {"TenCT": "tcvn3", "CONGNANG": "tcvn3"}
    assert report.exit_code == 1 and report.publishable
    assert found(report) == {
        "geometry.missing": 1, "geometry.kind": 1, "geometry.outside_city": 1, "field.vocabulary": 1, "field.range": 2,
        "id.duplicate": 1, "crs.missing": 1, "geometry.crossing": 1, "geometry.sliver": 1, "geometry.same": 1,
        "text.control": 1, "text.markup": 2, "field.unknown": 1, "text.legacy": 2,
    }  # fmt: skip
    first = good[good["id"] == "CT-001"].iloc[0]
    assert (first["name"], first["use"]) == ("Trường mầm non Hoạ Mi 1", "apartments")
    assert good.crs.to_epsg() == 4326 and good.geometry.is_valid.all()
    assert CITY.outline.contains(shapely.union_all(good.geometry.values))
    assert {e["feature_id"] for e in bad} == {"CT-008", "CT-010", "CT-014", "CT-021", "CT-022", "CT-026", "CT-041"}
    assert all(e["reason"] in KINDS for e in bad)


def test_quarantine_holds_each_feature_whole_in_degrees() -> None:
    _, bad, _, _ = run(messy(), "buildings")
    entry = next(e for e in bad if e["feature_id"] == "CT-021")
    assert (entry["reason"], entry["detail"]) == ("field.range", "levels = 900")
    assert entry["properties"]["levels"] == 900
    assert entry["properties"]["name"] == "Trường mầm non Hoạ Mi 21"
    assert CITY.outline.contains(shapely.from_wkb(entry["geometry"]))


@pytest.mark.parametrize("rows", [1, 7, 60, 1000])
def test_the_report_does_not_depend_on_how_the_file_is_cut_into_batches(rows: int) -> None:
    _, _, report, _ = run(messy(), "buildings", rows=rows)
    _, _, whole, _ = run(messy(), "buildings", rows=60)
    assert report.to_dict() == whole.to_dict()


def test_examples_name_the_feature_its_place_and_what_was_found() -> None:
    _, _, report, _ = run(messy(), "buildings")
    (problem,) = [p for p in report.problems if p.code == "field.range"]
    assert [e.feature for e in problem.examples] == ["CT-021", "CT-022"]
    assert problem.examples[0].detail == "levels = 900"
    assert CITY.outline.contains(shapely.Point(problem.examples[0].place))
    (mended,) = [p for p in report.problems if p.code == "geometry.crossing"]
    assert "m² →" in mended.examples[0].detail.en and mended.examples[0].detail.vi


def test_features_without_an_id_are_named_by_their_row_in_the_file() -> None:
    reader = memory({"height": [5.0] * 40 + [9000.0]}, boxes(41))
    _, _, report, _ = run(reader, "buildings", rows=10)
    (problem,) = [p for p in report.problems if p.code == "field.range"]
    assert problem.examples[0].feature == "#41"
    assert found(report)["id.missing"] == 41


def test_the_same_geometry_twice_is_left_out_without_an_id_and_told_with_one() -> None:
    shapes = [*boxes(5), boxes(1)[0]]
    _, bad, _, _ = run(memory({"height": [5.0] * 6}, shapes), "buildings", rows=2)
    assert [e["reason"] for e in bad] == ["geometry.duplicate"]
    _, bad, report, _ = run(memory({"id": list("abcdef"), "height": [5.0] * 6}, shapes), "buildings", rows=2)
    assert bad == [] and found(report)["geometry.same"] == 1 and report.exit_code == 1


def test_points_at_one_place_are_told_without_a_warning() -> None:
    point = shapely.Point(106.7, 10.75)
    _, bad, report, _ = run(memory({"id": ["a", "b"], "kind": ["market", "hotel"]}, [point, point]), "places")
    assert bad == [] and report.exit_code == 0 and found(report)["geometry.same_place"] == 1


def test_an_id_of_a_feature_that_is_set_aside_does_not_shadow_a_good_one() -> None:
    reader = memory({"id": list("aabcdef"), "height": [9000.0, *[5.0] * 6]}, boxes(7))
    good, bad, _, _ = run(reader, "buildings")
    assert good["id"].tolist() == list("abcdef") and [e["reason"] for e in bad] == ["field.range"]


def test_a_required_field_without_a_column_is_one_problem_of_the_file() -> None:
    _, bad, report, plan = run(memory({"x": list("abc")}, boxes(3)), "zoning")
    assert found(report)["field.unmapped"] == 1 and "field.required" not in found(report)
    assert plan.blockers == ("field.unmapped",) and not report.publishable and report.exit_code == 2
    assert len(bad) == 3


def test_a_feature_far_from_all_the_others_is_told_and_published() -> None:
    reader = memory({"id": [str(i) for i in range(60)]}, [*boxes(59), shapely.box(106.5, 11.0, 106.5004, 11.0004)])
    good, _, report, _ = run(reader, "buildings")
    assert found(report)["geometry.stray"] == 1 and len(good) == 60


def test_coordinates_that_are_no_numbers_or_beyond_the_system_are_set_aside_each_with_its_reason() -> None:
    square = transform(np.array([[106.7, 10.75]]), 4326, 9210)[0]
    shapes = [shapely.box(x, y, x + 20, y + 20) for x, y in square + np.arange(30)[:, None] * 100]
    shapes[1] = shapely.Polygon([(603000, 1191000), (np.nan, 1191000), (603020, 1191020), (603000, 1191000)])
    shapes[2] = shapely.box(1e15, 1e15, 1e15 + 20, 1e15 + 20)
    _, bad, _, _ = run(memory({"id": [str(i) for i in range(30)]}, shapes, crs=9210), "buildings")
    assert [e["reason"] for e in bad] == ["geometry.not_finite", "geometry.outside_crs"]
    assert shapely.from_wkb(bad[1]["geometry"]).equals(shapes[2])


def test_what_a_reader_could_not_read_goes_to_quarantine_with_its_reason() -> None:
    shapes = boxes(4)
    shapes[1] = shapes[2] = None
    reader = memory({"id": list("abcd")}, shapes)
    notes = [None, "geometry.unclosed: ring not closed", "something.else", None]
    reader.frame = reader.frame.assign(
        __problem__=pd.Series(notes, dtype=object), __raw__=[None, "POLYGON ((0 0, 1", None, None]
    )
    _, bad, _report, _ = run(reader, "buildings")
    assert [(e["reason"], e["detail"]) for e in bad] == [
        ("geometry.unclosed", "ring not closed"), ("geometry.unreadable", "")
    ]  # fmt: skip
    assert "__raw__" not in bad[0]["properties"]
    assert [e["properties"].get("geometry_as_written") for e in bad] == ["POLYGON ((0 0, 1", None]


def test_a_text_beyond_the_limit_is_set_aside_and_the_limit_is_named() -> None:
    reader = memory({"id": ["a", "b"], "name": ["x" * 50, "y"]}, boxes(2))
    _, bad, _, _ = run(reader, "buildings", limits=CheckLimits(text=40))
    assert [e["reason"] for e in bad] == ["text.too_long"] and "40" in bad[0]["detail"]


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x>", "javascript:alert(1)", "@@=x.y", "@@#A.B", '=HYPERLINK("x")', "+cmd|' /C'!A0("]
)  # fmt: skip
def test_text_that_a_program_might_run_is_told_and_kept_as_it_is(text: str) -> None:
    good, _, report, _ = run(memory({"id": ["a", "b"], "name": [text, "Nhà 1 < 2"]}, boxes(2)), "buildings")
    assert good["name"].tolist() == [text, "Nhà 1 < 2"]
    if text[0] != "+":
        assert found(report) == {"text.markup": 1} and report.exit_code == 0


@pytest.mark.parametrize("text", ["Nhà > 3 tầng", "-5", "+84 28 3829", "= 5", "a@b.vn", "Q.1 <-> Q.3", "x = y"])
def test_plain_text_is_not_taken_for_markup(text: str) -> None:
    _, _, report, _ = run(memory({"id": ["a"], "name": [text]}, boxes(1)), "buildings")
    assert report.problems == ()


def test_a_3d_shape_that_a_reader_brings_along_is_not_taken_for_a_long_text() -> None:
    reader = memory({"id": ["a", "b"], "solid": ["01ee03" * 9000, None]}, boxes(2))
    reader.solids = ("solid",)
    good, _, report, plan = run(reader, "buildings")
    assert good["solid"].iloc[0] == "01ee03" * 9000 and pd.isna(good["solid"].iloc[1]) and report.exit_code == 0
    assert plan.solid_columns == {"solid"}


def test_an_empty_file_is_refused_and_says_so() -> None:
    for frame in (memory({"height": []}, []), memory({}, [])):
        checker = Checker(inspect(frame, theme("buildings"), CITY))
        report = checker.finish()
        assert found(report).get("file.empty") == 1 and report.exit_code == 2 and not report.publishable


def test_a_mapping_file_decides_fields_id_crs_and_encodings(tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(
        'id = "k"\ncrs = "EPSG:4326"\ndrop = ["y"]\n[encodings]\nt = "vni"\n[fields]\nname = "t"\nheight = ""\nuse = { constant = "house" }\n'
    )
    names = [as_vni("Hồ"), as_vni("phố")]
    reader = memory(
        {"k": ["a", "b"], "t": names, "height": ["tall", "x"], "y": [1, 2]}, boxes(2), raw_text=True, crs=None
    )
    good, _, report, plan = run(reader, "buildings", mapping=file)
    assert good["name"].tolist() == ["Hồ", "phố"] and good["use"].tolist() == ["house", "house"]
    assert good["id"].tolist() == ["a", "b"] and "y" not in good
    # What the mapping does not name is carried along under a name that no field has.
    assert good["height_source"].tolist() == ["tall", "x"] and good["height"].isna().all()
    assert report.exit_code == 0 and plan.reference.problems == ()


def test_a_system_that_a_person_names_is_not_argued_with() -> None:
    shapes = [shapely.transform(b, lambda c: transform(c, 4326, 9210)) for b in boxes(30)]
    reader = memory({"id": [str(i) for i in range(30)]}, shapes, crs=3405)
    assert inspect(reader, theme("buildings"), CITY).blockers == ("crs.wrong",)
    good, _, report, _ = run(reader, "buildings", crs="EPSG:9210")
    assert len(good) == 30 and report.exit_code == 0


def test_a_coverage_too_large_to_hold_is_told_instead_of_checked() -> None:
    names = [f"Phường {i}" for i in range(12)]
    reader = memory({"id": [str(i) for i in range(12)], "ten": names}, boxes(12, 0.002))
    _, _, report, _ = run(reader, "boundaries")
    assert found(report)["coverage.overlap"] == 11
    _, _, report, _ = run(reader, "boundaries", limits=CheckLimits(coverage=10))
    assert found(report)["coverage.skipped"] == 1 and "coverage.overlap" not in found(report)


junk = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
)
shapes_ = st.one_of(
    st.none(), st.just(shapely.Polygon()), st.just(shapely.GeometryCollection([shapely.Point(106.7, 10.7)])),
    st.builds(lambda x, y: shapely.box(x, y, x + 0.001, y + 0.001), st.floats(106, 108), st.floats(10, 12)),
    st.builds(lambda a: shapely.Polygon([(106.7, 10.7), *a]), st.lists(st.tuples(st.floats(), st.floats()), min_size=3, max_size=5)),
)  # fmt: skip


@settings(max_examples=examples(150), deadline=None)
@given(
    rows=st.lists(st.tuples(junk, junk, junk, shapes_), min_size=1, max_size=8),
    names=st.permutations(["id", "so_tang", "use", "ten", "<b>", "Địa chỉ"]),
    crs=st.sampled_from([None, 4326, 9210]),
)
def test_whatever_the_file_holds_every_feature_is_good_or_set_aside(
    rows: list, names: list[str], crs: int | None
) -> None:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names[:3])}
    good, bad, report, _ = run(memory(columns, [row[3] for row in rows], crs=crs), "buildings", rows=3)
    assert len(good) == 0 or good.geometry.is_valid.all()
    assert all(entry["reason"] in KINDS for entry in bad)
    assert report.exit_code >= 1 or not bad


def test_coordinates_beyond_the_earth_are_set_aside_though_the_shape_touches_the_city() -> None:
    ring = [(106.7, 10.7), (0, 0), (1.3e15, 1.4e293), (0, 0), (3.3e283, 5.5), (106.7, 10.7)]
    good, bad, _, _ = run(memory({"use": ["house"]}, [shapely.Polygon(ring)], crs=4326), "buildings")
    assert len(good) == 0
    assert [entry["reason"] for entry in bad] == ["geometry.outside_crs"]


def test_values_that_came_before_are_found_across_batches() -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(0, 400, 1000)
    seen, before = EarlierValues(), set()
    for batch in np.array_split(values, 13):
        again = seen.find_repeats(hash_values(batch.astype(str).astype(object)))
        for value, repeated in zip(batch, again, strict=True):
            assert repeated == (value in before)
            before.add(value)


def test_shapes_have_one_hash_only_if_their_coordinates_are_the_same() -> None:
    a, b = boxes(2)
    again = shapely.from_wkb(shapely.to_wkb(a))
    hashes = hash_shapes(np.array([a, b, again, shapely.reverse(a), shapely.Point(0.0, 1.0), shapely.Point(-0.0, 1.0)]))
    assert hashes[0] == hashes[2] and hashes[4] == hashes[5]
    assert len(set(hashes.tolist())) == 4


# The city's own files ------------------------------------------------------------------------------------------------


@pytest.mark.city
def test_the_wards_of_2025_overlap_in_28_pairs_and_none_is_refused(city_data: Path) -> None:
    reader = opened(city_data / "hcmc/boundaries/wards_2025_168.geojson")
    _, bad, report, _ = run(reader, "boundaries", rows=50)
    assert found(report)["coverage.overlap"] == 28
    assert bad == [] and report.exit_code == 1 and report.good == 168
    (overlap,) = [p for p in report.problems if p.code == "coverage.overlap"]
    assert overlap.severity == "warning" and "Long Bình" in overlap.examples[0].feature


@pytest.mark.city
def test_the_census_shapefile_is_clean(city_data: Path) -> None:
    good, _, report, _ = run(opened(city_data / "hcmc/population/Population_Ward_Level.shp"), "population")
    assert report.exit_code == 0 and len(good) == 322
    assert int(good["population"].sum()) == 8_993_082 and set(good["year"]) == {2019}


@pytest.mark.city
def test_the_wards_in_vn2000_without_a_system_are_named_9210_and_land_where_they_belong(city_data: Path) -> None:
    wards = opened(city_data / "hcmc/boundaries/wards_2025_168.geojson")
    shapes = np.asarray(wards.frame.geometry.values, dtype=object)
    moved = wards.frame.set_geometry(gpd.GeoSeries(shapely.transform(shapes, lambda c: transform(c, 4326, 9210))))
    good, bad, report, plan = run(Memory(moved, crs=None), "boundaries")
    assert plan.reference.reading.code == "EPSG:9210" and found(report)["crs.missing"] == 1
    assert bad == [] and found(report)["coverage.overlap"] == 28
    assert shapely.hausdorff_distance(good.geometry.values, shapes).max() < 1e-8


@pytest.mark.city
def test_the_buildings_of_district_7_are_clean(city_data: Path) -> None:
    _, _, report, _ = run(opened(city_data / "hcmc/buildings/d7_buildings_5895.geojson"), "buildings", rows=2000)
    assert (report.exit_code, report.good) == (0, 5895)


@pytest.mark.city
def test_the_wards_in_tcvn3_come_out_in_vietnamese(city_data: Path) -> None:
    wards = opened(city_data / "hcmc/boundaries/wards_2025_168.geojson")
    names = wards.frame["fullName"].tolist()
    frame = wards.frame.assign(fullName=[as_tcvn3(n) for n in names])
    good, _, report, _ = run(Memory(frame, raw_text=True), "boundaries")
    assert set(good["level"]) == {"ward", "commune", "special_zone"} and report.good == 168

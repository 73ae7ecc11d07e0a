"""What is wrong with a row is told in both languages and in the program's own words, never in a library's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ingest.checks import Checker, inspect
from ingest.checks.kinds import KINDS
from ingest.readers.limits import Limits
from ingest.readers.opening import open_file
from ingest.readers.row_problems import read_row_problem, row_problem
from ingest.readers.source import PROBLEM, ReadOptions
from ingest.readers.wkb import from_wkb, from_wkt
from layers.registry import theme
from tests.checks.readers import memory
from tests.readers.files import LOTS, feature, geojson, pack, problems, read, write
from twin.city import read_city
from twin.text import Text

CITY = read_city("hcmc")
# Words that only libraries write.
OF_LIBRARIES = re.compile(
    r"Exception|Error\b|LinearRing|GEOS|WKB|EOF|linestring|encountered|buffer|NoneType|index", re.I
)
CURVED, UNCLOSED, UNREADABLE = "geometry.curved", "geometry.unclosed", "geometry.unreadable"


def is_ours(cell: str) -> bool:
    """Whether a problem's detail is there in both languages, differs, and has no word of a library."""
    _, detail = read_row_problem(cell)
    return isinstance(detail, Text) and detail.en != detail.vi and not OF_LIBRARIES.search(detail.en + detail.vi)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("POLYGON ((0 0, 1 1, 1 0, 2 2))", UNCLOSED), ("POLYGON ((0 0, 1 1))", UNCLOSED), ("FOO (1 2)", UNREADABLE),
        ("POINT (1", UNREADABLE), ("POINT (a b)", UNREADABLE), ("LINESTRING (0 0)", UNREADABLE),
        ("POINT (1 2) x", UNREADABLE), ("POLYGON", UNREADABLE), ("CIRCULARSTRING (0 0, 1 1, 2 0)", CURVED),
    ],
)  # fmt: skip
def test_geometry_that_a_library_refuses_is_described_in_both_languages(written: str, code: str) -> None:
    _, found, raw = from_wkt([written], Limits())
    assert read_row_problem(found[0])[0] == code and is_ours(found[0])
    assert raw[0] == written


@given(st.binary(min_size=1, max_size=60), st.integers(0, 60))
def test_no_bytes_bring_a_library_s_words_into_a_problem(noise: bytes, cut: int) -> None:
    square = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    shapes, found, _ = from_wkb([noise, square[:cut] or None, square[:9] + noise], Limits())
    assert all(problem is None or is_ours(problem) for problem in found)
    assert all(problem is not None or shape is not None for shape, problem in zip(shapes[::2], found[::2], strict=True))


@given(st.sampled_from(["geometry.unreadable", "row.short"]), st.text(), st.text())
def test_a_problem_is_read_as_it_was_written(code: str, en: str, vi: str) -> None:
    assert read_row_problem(row_problem(code, Text(en=en, vi=vi))) == (code, Text(en=en, vi=vi))


def test_the_report_and_quarantine_hold_both_languages(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('name,wkt\nA,"POLYGON ((106.7 10.7, 106.71 10.7, 106.71 10.71, 106.7 10.72))"\n', "utf-8")
    reader = open_file(path)
    checker = Checker(inspect(reader, theme("buildings"), CITY, crs=4326))
    (checked,) = [checker.feed(batch) for batch in reader.batches(10)]
    (problem,) = [p for p in checker.finish().problems if p.code == UNCLOSED]
    assert "vòng" in str(problem.as_dict()["examples"][0]["detail"]["vi"])
    assert "ring" in json.loads(checked.bad[0]["detail"])["en"]


def test_a_building_that_stands_upright_has_no_area_rather_than_the_wrong_kind() -> None:
    wall = shapely.Polygon([(106.7, 10.7, 0), (106.71, 10.71, 0), (106.71, 10.71, 9), (106.7, 10.7, 9)])
    file = memory({"name": ["A", "B"]}, [wall, shapely.box(106.7, 10.7, 106.701, 10.701)])
    checker = Checker(inspect(file, theme("buildings"), CITY))
    for batch in file.batches(10):
        checker.feed(batch)
    codes = {p.code for p in checker.finish().problems if p.severity == "refused"}
    assert codes == {"geometry.no_area"}


def test_integers_that_gdal_would_round_keep_every_digit(tmp_path: Path) -> None:
    wide = [-(10**18), -(2**62), 2**63 - 1, 2**63, -(2**63) - 1, 12345678901234567890123]
    features = [
        feature({"type": "Point", "coordinates": [106.7, 10.7]}, so=number, ghi_chu=f'"x": {number}, "')
        for number in wide
    ]
    _, rows = read(geojson(tmp_path / "a.geojson", features))
    assert rows["so"].tolist() == [str(number) for number in wide]
    assert rows["ghi_chu"].tolist() == [f'"x": {number}, "' for number in wide]


def test_integers_of_64_bits_stay_numbers(tmp_path: Path) -> None:
    numbers = [2**63 - 1025, -(10**18) + 1, 0]
    features = [feature({"type": "Point", "coordinates": [106.7, 10.7]}, so=number) for number in numbers]
    reader, rows = read(geojson(tmp_path / "a.geojson", features))
    assert reader.columns["so"] == "integer" and rows["so"].tolist() == numbers


def test_wide_integers_are_kept_wherever_a_chunk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ingest.readers.geojson as of_geojson

    features = [
        feature(
            {"type": "LineString", "coordinates": [[106.7, 10.7]] * 30 + [[106.8, 10.8]]}, so=10**20 + i, ten=f"a\0{i}"
        )
        for i in range(8)
    ]
    path = geojson(tmp_path / "a.geojson", features)
    for chunk in range(20, 140, 7):
        monkeypatch.setattr(of_geojson, "CHUNK", chunk)
        copy = of_geojson.readable_copy(path, Path(tmp_path).joinpath(str(chunk)).parent)
        found = [f["properties"] for f in json.loads(copy.read_text())["features"]]
        copy.unlink()
        assert found == [{"so": str(10**20 + i), "ten": f"a\x7f{i}"} for i in range(8)]


def test_a_code_page_of_dos_that_the_cpg_names_is_taken(tmp_path: Path) -> None:
    frame = LOTS.assign(ten=["Café", "Hôtel à côté", "Pâtisserie"])
    path = write(tmp_path / "a.shp", "ESRI Shapefile", frame, encoding="CP437")
    path.with_suffix(".cpg").write_text("437")
    reader, rows = read(path)
    assert not reader.raw_text and rows["ten"].tolist() == ["Café", "Hôtel à côté", "Pâtisserie"]
    assert not reader.notes


def test_a_code_page_of_dos_that_the_text_may_not_be_in_is_named(tmp_path: Path) -> None:
    frame = LOTS.assign(ten=["Café", "Hôtel à côté", "Pâtisserie"])
    path = write(tmp_path / "a.shp", "ESRI Shapefile", frame, encoding="CP1252")
    path.with_suffix(".cpg").write_text("437")
    reader, _ = read(path)
    ((code, detail),) = reader.notes
    assert reader.raw_text and code == "text.code_page" and KINDS[code].severity == "warning"
    assert isinstance(detail, Text) and all("--encoding cp437" in text for text in (detail.en, detail.vi))
    given = open_file(path, ReadOptions(encoding="cp437"))
    assert not given.notes
    given.close()


def test_stops_have_the_mode_of_the_trips_that_call_there(tmp_path: Path) -> None:
    files = {
        "stops.txt": "stop_id,stop_name,stop_lat,stop_lon\n01,A,10.77,106.7\n02,B,10.78,106.7\n03,C,10.79,106.7\n",
        "routes.txt": "route_id,route_short_name,route_type\nR1,01,3\nR2,02,2\n",
        "trips.txt": "route_id,trip_id\nR1,t1\nR2,t2\n",
        "stop_times.txt": "trip_id,stop_id,stop_sequence\nt1,01,1\nt2,02,1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    _, stops = read(pack(tmp_path / "g.zip", [tmp_path / name for name in files]), layer="stops")
    (column,) = [c for c in stops.columns if "mode" in c or "type" in c]
    modes = dict(zip(stops["stop_id"], stops[column], strict=True))
    assert modes["01"] == "bus" and modes["02"] != "bus" and pd.isna(modes["03"])


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, -1]]]},
        {"type": "MultiPoint", "lod": "1", "boundaries": [-1]},
        {"type": "MultiLineString", "lod": "1", "boundaries": [[0, -2]]},
        {"type": "GeometryInstance", "template": 0, "boundaries": [-1]},
    ],
)
def test_a_negative_index_in_a_city_model_is_no_other_corner(tmp_path: Path, geometry: dict[str, object]) -> None:
    good = {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2]]]}
    path = tmp_path / "a.city.json"
    path.write_text(json.dumps({
        "type": "CityJSON", "version": "2.0", "vertices": [[0, 0, 0], [9, 0, 0], [9, 9, 0]],
        "CityObjects": {n: {"type": "Building", "geometry": [g]} for n, g in (("a", geometry), ("b", good))},
    }))  # fmt: skip
    _, rows = read(path)
    assert problems(rows) == [UNREADABLE, None] and rows.geometry.isna().tolist() == [True, False]
    assert is_ours(rows[PROBLEM][0])


CITYGML = """<?xml version="1.0"?>
<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:dem="http://www.opengis.net/citygml/relief/2.0"
 xmlns:tran="http://www.opengis.net/citygml/transportation/2.0">{members}</CityModel>"""


def member(kind: str, lod: str, name: str, x: float, end: str) -> str:
    ring = f"{x} 1191000 0 {x + 9} 1191000 0 {x + 9} 1191009 0 {end}"
    face = (
        f"<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{ring}</gml:posList></gml:LinearRing>"
        "</gml:exterior></gml:Polygon>"
    )
    surface = f"<gml:MultiSurface><gml:surfaceMember>{face}</gml:surfaceMember></gml:MultiSurface>"
    prefix = kind.partition(":")[0]
    return (
        f'<cityObjectMember><{kind} gml:id="{name}"><{prefix}:{lod}>{surface}</{prefix}:{lod}></{kind}>'
        "</cityObjectMember>"
    )


@pytest.mark.parametrize(("gap", "closed"), [(0.00004, True), (0.0009, True), (0.002, False), (1.0, False)])
def test_a_ring_is_closed_when_its_ends_are_nearer_than_a_millimetre(tmp_path: Path, gap: float, closed: bool) -> None:
    path = tmp_path / "a.gml"
    house = member("bldg:Building", "lod0FootPrint", "a", 603000, f"{603000 + gap} 1191000 0")
    path.write_text(CITYGML.format(members=house))
    _, rows = read(path)
    assert problems(rows) == [None if closed else UNCLOSED]
    assert rows.geometry.is_valid.tolist() == [closed]


def test_a_theme_takes_from_a_city_model_the_objects_that_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    kinds = [
        ("bldg:Building", "lod0FootPrint"), ("tran:Road", "lod1MultiSurface"), ("dem:ReliefFeature", "lod1Surface"),
    ]  # fmt: skip
    path.write_text(
        CITYGML.format(
            members="".join(
                member(kind, lod, f"o{i}", 603000 + 20 * i, f"{603000 + 20 * i} 1191000 0")
                for i, (kind, lod) in enumerate(kinds)
            )
        )
    )
    reader = open_file(path)
    plan = inspect(reader, theme("buildings"), CITY)
    checker = Checker(plan)
    ids = [i for batch in reader.batches(10) for i in checker.feed(batch).good["id"]]
    report = checker.finish()
    details = {p.code: " ".join(str(e.detail) for e in p.examples) for p in report.problems}
    assert ids == ["o0"] and (report.good, report.bad, report.left_out) == (1, 0, 1)
    assert "Road" in details["objects.not_of_theme"] and "ReliefFeature" in details["objects.left_out"]
    places = inspect(reader, theme("boundaries"), CITY)
    assert not places.mapping.rows.where, "a theme that no type belongs to takes them all"


def test_columns_that_a_program_measures_are_carried_along(tmp_path: Path) -> None:
    frame = LOTS.assign(Shape_Area=[1.5, 2.5, 3.5], SHAPE_Leng=[1.0, 2.0, 3.0])
    pyogrio.write_dataframe(frame, tmp_path / "a.gpkg", driver="GPKG")
    reader = open_file(tmp_path / "a.gpkg")
    plan = inspect(reader, theme("buildings"), CITY)
    (problem,) = [detail for code, detail, _ in plan.problems if code == "field.unknown"]
    assert "Shape_Area" in str(problem) and "SHAPE_Leng" in str(problem)
    checker = Checker(plan)
    good = next(checker.feed(batch).good for batch in reader.batches(10))
    assert good["shape_area"].tolist() == [1.5, 2.5, 3.5]

"""One broken feature does not lose the file: the others come through, and it says what is wrong with it."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ingest.readers.limits import Limits
from ingest.readers.source import RAW
from ingest.readers.wkb import from_wkb, from_wkt
from tests.readers.files import LOTS, feature, geojson, problems, read, write
from twin.errors import BadInput

SQUARE = [[106.7, 10.7], [106.8, 10.7], [106.8, 10.8], [106.7, 10.8]]


def test_an_unclosed_ring_is_a_problem_of_its_feature_alone(tmp_path: Path) -> None:
    file = geojson(
        tmp_path / "a.geojson",
        [
            feature({"type": "Polygon", "coordinates": [SQUARE]}, ten="open"),
            feature({"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}, ten="closed"),
            feature({"type": "Polygon", "coordinates": [SQUARE[:2]]}, ten="two points"),
            feature(None, ten="none"),
        ],
    )
    _, rows = read(file)
    assert rows["ten"].tolist() == ["open", "closed", "two points", "none"]
    assert problems(rows) == ["geometry.unclosed", None, "geometry.unclosed", None]
    assert rows.geometry.isna().tolist() == [True, False, True, True]
    # What the file holds is kept, so that quarantine can give it back.
    assert shapely.from_wkb(rows[RAW][0], on_invalid="fix").equals(shapely.Polygon(SQUARE))


def test_wkt_that_does_not_parse_is_a_problem_of_its_row_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id;wkt\n1;POINT (106.7 10.8)\n2;POINT (106.7\n3;POLYGON ((0 0, 1 0, 1 1))\n4;\n5;SRID=4326;\n"
        "6;SRID=4326;POINT (1 2)\n7;CIRCULARSTRING (0 0, 1 1, 2 0)\n"
    )
    _, rows = read(tmp_path / "a.csv")
    assert problems(rows)[:4] == [None, "geometry.unreadable", "geometry.unclosed", None]
    assert rows[RAW][1] == "POINT (106.7"
    assert rows["id"].tolist() == ["1", "2", "3", "4", "5", "6", "7"]
    assert problems(rows)[6] == "geometry.curved"


def test_a_row_with_too_many_values_keeps_its_place_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,lon,lat\n1,106.7,10.8\n2,106,7,10,8\n3,106.9\n4,106.9,10.8,,\n")
    _, rows = read(tmp_path / "a.csv")
    assert problems(rows) == [None, "row.columns", "row.short", None]
    assert rows.geometry.isna().tolist() == [False, False, True, False]
    assert rows[RAW][1] == "2\t106\t7\t10\t8"


def test_a_broken_placemark_is_a_problem_of_its_own(tmp_path: Path) -> None:
    def polygon(ring: str) -> str:
        return (
            "<Placemark><name>p</name><Polygon><outerBoundaryIs><LinearRing><coordinates>"
            f"{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"
        )

    rings = ["0,0 1,0 1,1 0,0", "0,0 1,0 1,1", "a,b", "", "0, 0 1, 0 1, 1 0, 0", "0,0 1,0 nan,1 0,0"]
    (tmp_path / "a.kml").write_text(f"<kml><Document>{''.join(map(polygon, rings))}</Document></kml>")
    _, rows = read(tmp_path / "a.kml")
    assert problems(rows) == [
        None, "geometry.unclosed", "geometry.unreadable", "geometry.unreadable", None, "geometry.not_finite",
    ]  # fmt: skip


def test_a_broken_building_is_a_problem_of_its_own(tmp_path: Path) -> None:
    def building(name: str, ring: str) -> str:
        return (
            f'<cityObjectMember><b:Building gml:id="{name}"><b:lod1MultiSurface><gml:MultiSurface><gml:surfaceMember>'
            f"<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{ring}</gml:posList></gml:LinearRing></gml:exterior>"
            "</gml:Polygon></gml:surfaceMember></gml:MultiSurface></b:lod1MultiSurface></b:Building></cityObjectMember>"
        )

    good = "0 0 0 1 0 0 1 1 0 0 0 0"
    members = building("a", good) + building("b", "0 0 0 1 0 0 1 1 0") + building("c", "0 x") + building("d", good)
    (tmp_path / "a.gml").write_text(
        '<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml" '
        f'xmlns:b="http://www.opengis.net/citygml/building/2.0">{members}</CityModel>'
    )
    _, rows = read(tmp_path / "a.gml", rows=3)
    assert rows["id"].tolist() == ["a", "b", "c", "d"]
    assert problems(rows) == [None, "geometry.unclosed", "geometry.unreadable", None]


def test_a_broken_city_object_is_a_problem_of_its_own(tmp_path: Path) -> None:
    def thing(boundaries: object) -> dict[str, object]:
        return {"type": "Building", "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": boundaries}]}

    document = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [0, 0, 0]},
        "vertices": [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
        "CityObjects": {"a": thing([[[0, 1, 2]]]), "b": thing([[[0, 1, 99]]]), "c": thing("x"), "d": 5},
    }  # fmt: skip
    (tmp_path / "a.city.json").write_text(json.dumps(document))
    _, rows = read(tmp_path / "a.city.json")
    assert [p is None for p in problems(rows)] == [True, False, False, False]
    assert rows.geometry[0].area == 0.5


def test_a_value_that_is_too_long_is_left_out_and_named(tmp_path: Path) -> None:
    file = geojson(
        tmp_path / "a.geojson",
        [feature({"type": "Point", "coordinates": [1, 2]}, ten="x" * n) for n in (10, 1000)],
    )
    _, rows = read(file, limits=Limits(string_length=100))
    assert problems(rows) == [None, "text.too_long"]
    assert rows["ten"].isna().tolist() == [False, True]


def test_a_file_that_is_cut_off_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(LOTS.to_json()[:-40])
    with pytest.raises(BadInput, match=r"a\.geojson cannot be read"):
        read(tmp_path / "a.geojson")
    LOTS.to_file(tmp_path / "a.fgb", driver="FlatGeobuf")
    (tmp_path / "a.fgb").write_bytes((tmp_path / "a.fgb").read_bytes()[:-60])
    with pytest.raises(BadInput, match=r"a\.fgb cannot be read"):
        read(tmp_path / "a.fgb")


def test_surfaces_of_solids_are_read_as_polygons() -> None:
    def ring(kind: int) -> bytes:
        points = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype="<f8").tobytes()
        return struct.pack("<BIII", 1, kind, 1, 4) + points

    polyhedral = struct.pack("<BII", 1, 1015, 2) + ring(1003) * 2
    tin = struct.pack("<BII", 1, 1016, 1) + ring(1017)
    shapes, found_problems, _ = from_wkb([polyhedral, tin, ring(1017)], Limits())
    assert [s.geom_type for s in shapes] == ["MultiPolygon", "MultiPolygon", "Polygon"]
    assert list(found_problems) == [None] * 3
    assert shapes[0].has_z


def test_curves_become_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gpkg", "GPKG", LOTS[:2], SPATIAL_INDEX="NO")
    arc = np.array([[0, 0], [1, 1], [2, 0], [1, -1], [0, 0]], dtype="<f8").tobytes()
    circle = struct.pack("<BII", 1, 10, 1) + struct.pack("<BII", 1, 8, 5) + arc
    with closing(sqlite3.connect(file)) as database:
        header = b"GP\0\1" + struct.pack("<i", 4326)
        database.execute("UPDATE a SET geom = ? WHERE fid = 2", [header + circle])
        database.commit()
    _, rows = read(file)
    assert problems(rows) == [None, None]
    assert rows.geometry[1].geom_type == "Polygon"
    assert rows.geometry[1].area == pytest.approx(np.pi, rel=0.01)


@given(st.binary(max_size=200))
def test_no_wkb_whatever_stops_the_reading(content: bytes) -> None:
    good = shapely.to_wkb(shapely.Point(1, 2))
    shapes, found_problems, _ = from_wkb([good, content, good], Limits())
    assert shapes[0].equals(shapes[2])
    assert (shapes[1] is not None) or found_problems[1] is not None or not content


@given(st.text(max_size=60))
def test_no_wkt_whatever_stops_the_reading(content: str) -> None:
    shapes, found_problems, _ = from_wkt(["POINT (1 2)", content], Limits())
    assert shapes[0].x == 1
    assert found_problems[0] is None

"""Every row, object and value of a file is read, or named with what is the matter."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import openpyxl
import osmium
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.checks import Checker, inspect
from ingest.readers.opening import open_file
from ingest.readers.source import PROBLEM
from layers.registry import theme
from tests.readers.files import LOTS, feature, geojson, problems, read, write
from twin.city import read_city
from twin.errors import BadInput

POINT = {"type": "Point", "coordinates": [106.7, 10.7]}


def codes(reader: object) -> set[str]:
    return {code for code, _ in reader.notes}  # type: ignore[attr-defined]


def test_a_quotation_mark_without_a_partner_costs_its_own_row_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'ma,ten,x,y\n1,"Nha A,106.70,10.7\n2,B,106.71,10.7\n3,"C\nD",106.72,10.7\n4,E"q,106.73,10.7\n5,"end,106.7,10.7\n'
    )
    _, rows = read(tmp_path / "a.csv")
    assert problems(rows) == ["row.quotes", None, None, None, "row.quotes"]
    assert rows["ma"].tolist() == [None, "2", "3", "4", None] and rows["ten"][2] == "C\nD"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.sampled_from(['{},a,1,2', '{},"a",1,2', '{},"a,1,2', '{},a",1,2', '{},"a"b,1,2', "{},a,1", "{}"]),
                     min_size=1, max_size=8))  # fmt: skip
def test_every_line_of_a_table_is_read_or_named_whatever_quotation_marks_it_has(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_text("\n".join(["ma,ten,x,y", *(row.format(f"row{i}") for i, row in enumerate(rows))]))
    _, found = read(path)
    texts = " ".join(str(value) for value in found.drop(columns="geometry").to_numpy().ravel())
    assert all(f"row{i}" in texts for i in range(len(rows)))
    assert found[PROBLEM].isna().sum() <= sum(row.count(",") == 3 for row in rows)


def test_excel_s_line_of_the_separator_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\nma;kinh_do;vi_do\n1;106,70;10,77\n")
    _, rows = read(tmp_path / "a.csv")
    assert rows.geometry[0].equals(shapely.Point(106.7, 10.77)) and rows["ma"].tolist() == ["1"]


def test_a_column_called_shape_is_wkt_only_if_its_values_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ten,Shape,ToaDo_X,ToaDo_Y\nA,Point,603866.19,1190634.47\n")
    (tmp_path / "b.csv").write_text("ten,Shape\nA,\nB,POINT (106.7 10.7)\n")
    reader, rows = read(tmp_path / "a.csv")
    assert rows.geometry[0].equals(shapely.Point(603866.19, 1190634.47))
    assert ("table.place", "x = ToaDo_X, y = ToaDo_Y") in reader.notes
    assert read(tmp_path / "b.csv")[1].geometry.notna().tolist() == [False, True]


def test_formulas_without_a_stored_value_are_named(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (
        ["ma", "tong", "lng", "lat"],
        ["a", "=1+1", 106.7, 10.7],
        ["b", 2, "=C2", 10.7],
        ["c", None, 106.7, 10.7],
    ):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    _, rows = read(tmp_path / "a.xlsx")
    assert rows[PROBLEM].tolist() == ["value.formula: tong", "geometry.formula: lng", None]


def test_a_multipolygon_with_missing_members_is_named(tmp_path: Path) -> None:
    with closing(osmium.SimpleWriter(str(tmp_path / "a.osm.pbf"))) as writer:
        for i, place in enumerate([(106.7, 10.7), (106.71, 10.7), (106.71, 10.71)], start=1):
            writer.add_node(osmium.osm.mutable.Node(id=i, location=place))
        writer.add_way(osmium.osm.mutable.Way(id=8, nodes=[1, 2, 99, 1], tags={"building": "yes"}))
        writer.add_way(osmium.osm.mutable.Way(id=9, nodes=[1, 2, 3, 1], tags={"building": "yes"}))
        writer.add_relation(
            osmium.osm.mutable.Relation(
                id=7,
                members=[("w", 9, "outer"), ("w", 55, "outer")],
                tags={"type": "multipolygon", "building": "school"},
            )
        )
    _, rows = read(tmp_path / "a.osm.pbf", layer="polygon:building")
    found = dict(zip(rows["osm"], problems(rows), strict=True))
    assert found == {"way/9": None, "way/8": "object.incomplete", "relation/7": "object.incomplete"}


def test_a_drawing_names_missing_blocks_and_entities_that_are_not_read(tmp_path: Path) -> None:
    entities = "0\nLINE\n8\nA\n10\n1\n20\n1\n11\n2\n21\n2\n0\nINSERT\n8\nA\n2\nNHA\n10\n0\n20\n0\n0\nMLINE\n8\nA\n"
    content = f"0\nSECTION\n2\nENTITIES\n{entities}0\nENDSEC\n0\nEOF\n"
    (tmp_path / "a.dxf").write_text(content)
    reader, rows = read(tmp_path / "a.dxf")
    assert (~rows.geometry.is_empty).sum() == 1
    assert [str(detail) for code, detail in reader.notes if code == "objects.left_out"] == ["1 × MLINE, 1 × INSERT NHA"]
    (tmp_path / "b.dxf").write_text(content.removesuffix("0\nEOF\n"))
    with pytest.raises(BadInput, match="cut off"):
        read(tmp_path / "b.dxf")


@pytest.mark.parametrize(("driver", "name", "part"), [
    ("FlatGeobuf", "a.fgb", "a.fgb"), ("ESRI Shapefile", "a.shp", "a.dbf"), ("ESRI Shapefile", "a.shp", "a.shp"),
    ("MapInfo File", "a.tab", "a.dat"), ("GeoJSONSeq", "a.geojsonl", "a.geojsonl"), ("GPKG", "a.gpkg", "a.gpkg"),
])  # fmt: skip
def test_a_file_that_is_cut_off_is_refused_or_whole(tmp_path: Path, driver: str, name: str, part: str) -> None:
    whole = write(tmp_path / name, driver)
    content = (tmp_path / part).read_bytes()
    for share in range(1, 20):
        (tmp_path / part).write_bytes(content[: len(content) * share // 20])
        try:
            assert len(read(whole)[1]) == len(LOTS)
        except BadInput:
            continue


def test_a_shapefile_without_its_attributes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.shp", "ESRI Shapefile")
    path.with_suffix(".dbf").unlink()
    with pytest.raises(BadInput, match=r"a\.dbf"):
        read(path)


def test_escaped_zeros_and_halves_of_characters_do_not_cut_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    content = json.dumps({"type": "FeatureCollection", "features": [
        feature(POINT, a="A\0B", b="\\u0000", c="\ud83d lone", d="\U0001f600")]})  # fmt: skip
    path.write_text(content)
    reader, rows = read(path)
    assert rows["a"][0] == "A\x7fB" and rows["b"][0] == "\\u0000" and rows["d"][0] == "\U0001f600"
    assert [(code, str(n)) for code, n in reader.notes] == [("text.broken", "1")]


def test_escaped_zeros_in_lists_and_objects_are_removed_and_named(tmp_path: Path) -> None:
    nested = {"tags": ["A\0B", "C"], "about": {"k": "D\0E"}, "mixed": ["F\0", 1]}
    path = geojson(tmp_path / "a.geojson", [feature(POINT, name="Chợ", kind="market", **nested)])
    with closing(open_file(path)) as reader:
        checker = Checker(inspect(reader, theme("places"), read_city("hcmc")))
        good = pd.concat([checker.feed(batch).good for batch in reader.batches(10)])
    report = checker.finish()
    assert {problem.field for problem in report.problems if problem.code == "text.control"} == set(nested)
    assert json.loads(good["tags"].iloc[0]) == ["AB", "C"]
    assert (json.loads(good["about"].iloc[0]), json.loads(good["mixed"].iloc[0])) == ({"k": "DE"}, ["F", 1])


def test_a_layer_of_any_geometry_with_heights_keeps_nobody_from_reading_a_geopackage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", "GPKG")
    mixed = gpd.GeoDataFrame(
        {"ten": ["p", "l"]}, geometry=[shapely.Point(1, 2, 3), shapely.LineString([(0, 0, 1), (1, 1, 1)])], crs=4326
    )
    write(path, "GPKG", mixed, layer="b", append=False, geometry_type="Unknown")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE gpkg_geometry_columns SET z = 1, geometry_type_name = 'GEOMETRY' WHERE table_name = 'b'"
        )
    assert read(path, layer="a")[1]["ten"].tolist() == LOTS["ten"].tolist()
    assert read(path, layer="b")[1]["ten"].tolist() == ["p", "l"]


def test_an_archive_with_backslashes_is_read_and_stays_in_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", "ESRI Shapefile")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for part in sorted(tmp_path.glob("a.*")):
            if part.suffix != ".zip":
                archive.writestr(f"du_lieu\\{part.name}", part.read_bytes())
    assert read(tmp_path / "a.zip")[1]["so"].tolist() == [1, 2, 3]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("..\\..\\b.geojson", "{}")
    with pytest.raises(BadInput, match="outside"):
        read(tmp_path / "b.zip")


@pytest.mark.parametrize("kind", ["point", "linestring", "polygon", "multipolygon"])
def test_native_encodings_of_geoparquet_are_read(tmp_path: Path, kind: str) -> None:
    boxes = [shapely.box(106.7, 10.7, 106.71, 10.71), None, shapely.box(106.72, 10.7, 106.73, 10.71)]
    shapes = {
        "point": [b and b.centroid for b in boxes], "linestring": [b and b.exterior for b in boxes], "polygon": boxes,
        "multipolygon": [b and shapely.MultiPolygon([b]) for b in boxes],
    }[kind]  # fmt: skip
    if kind == "linestring":
        shapes = [s and shapely.LineString(s.coords) for s in shapes]
    frame = gpd.GeoDataFrame({"ma": ["a", "b", "c"]}, geometry=shapes, crs=4326)
    frame.to_parquet(
        tmp_path / "a.parquet", geometry_encoding="geoarrow", schema_version="1.1.0", write_covering_bbox=True
    )
    reader, rows = read(tmp_path / "a.parquet")
    assert list(reader.columns) == ["ma"]
    assert shapely.equals_exact(rows.geometry.dropna().values, frame.geometry.dropna().values).all()
    assert rows.geometry.isna().tolist() == [False, True, False]


def test_a_parquet_column_called_bbox_without_a_covering_stays(tmp_path: Path) -> None:
    table = pa.table({"lng": [106.7], "lat": [10.7], "bbox": ["x"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[1]["bbox"].tolist() == ["x"]


def test_a_timetable_without_points_of_shapes_and_with_bad_lines_is_read_and_named(tmp_path: Path) -> None:
    def feed(shapes: str) -> Path:
        with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
            archive.writestr("stops.txt", "stop_id,stop_name,stop_lat,stop_lon\n01,A,10.77,106.7\n")
            archive.writestr("routes.txt", "route_id,route_short_name,route_type\nR1,01,3\n")
            archive.writestr("trips.txt", "route_id,trip_id,shape_id\nR1,t,01\n")
            archive.writestr("shapes.txt", f"shape_id,shape_pt_lat,shape_pt_lon,shape_pt_sequence\n{shapes}")
        return tmp_path / "g.zip"

    assert read(feed(""), layer="routes")[1].geometry.isna().all()
    reader, rows = read(feed("01,10.77,106.7,1\n01,10.78,106.7,2\n01,x,106.7,3\n"), layer="routes")
    assert rows.geometry.notna().all() and codes(reader) == {"rows.left_out"}
    assert (rows["id"][0], rows["name"][0], rows["mode"][0]) == ("R1", "01", "bus")
    assert read(feed(""), layer="stops")[1][["id", "mode"]].to_numpy().tolist() == [["01", "bus"]]


@pytest.mark.parametrize("layer", ["stops", "routes"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_timetable_in_utf_16_without_a_mark_is_refused_by_that_name(tmp_path: Path, layer: str, codec: str) -> None:
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
        archive.writestr("stops.txt", "stop_id,stop_name,stop_lat,stop_lon\n01,A,10.77,106.7\n".encode(codec))
        archive.writestr("routes.txt", "route_id,route_short_name,route_type\nR1,01,3\n".encode(codec))
    with pytest.raises(BadInput, match=rf"{layer}\.txt in it is in UTF-16"):
        read(tmp_path / "g.zip", layer=layer)


def test_a_timetable_in_utf_16_with_its_mark_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
        archive.writestr("stops.txt", "stop_id,stop_name,stop_lat,stop_lon\n01,Bến,10.77,106.7\n".encode("utf-16"))
        archive.writestr("routes.txt", "route_id,route_short_name,route_type\nR1,Bến,3\n".encode("utf-16"))
    assert read(tmp_path / "g.zip", layer="stops")[1]["stop_name"].tolist() == ["Bến"]
    assert read(tmp_path / "g.zip", layer="routes")[1]["name"].tolist() == ["Bến"]


def test_geojson_with_features_of_one_id_keeps_both_ids(tmp_path: Path) -> None:
    _, rows = read(geojson(tmp_path / "a.geojson", [{**feature(POINT, a=i), "id": 5} for i in range(2)]))
    assert rows["id"].tolist() == ["5", "5"]

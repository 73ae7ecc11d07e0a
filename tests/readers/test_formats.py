"""Every format: the same three lots come out of each, in the same places, with the columns that the format keeps."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from ingest.readers.opening import open_file
from ingest.readers.source import WKB, LayerNotChosen, Reader, ReadOptions, make_batch
from tests.readers.files import LOTS, pack, problems, read, write
from twin.crs import to_wgs84
from twin.errors import BadInput, SetupProblem

Writer = Callable[[Path], Path]


def shapefile(folder: Path) -> Path:
    return write(folder / "lots.shp", "ESRI Shapefile")


def zipped_shapefile(folder: Path) -> Path:
    shapefile(folder)
    return pack(folder / "lots.zip", folder.glob("lots.*"))


def zipped_geodatabase(folder: Path) -> Path:
    write(folder / "lots.gdb", "OpenFileGDB")
    with zipfile.ZipFile(folder / "lots.zip", "w") as archive:
        for file in (folder / "lots.gdb").iterdir():
            archive.write(file, f"export/lots.gdb/{file.name}")
    return folder / "lots.zip"


def geoparquet(folder: Path) -> Path:
    LOTS.to_parquet(folder / "lots.parquet", row_group_size=2)
    return folder / "lots.parquet"


def wkt_table(folder: Path, name: str = "lots.csv", separator: str = ",") -> Path:
    table = LOTS.drop(columns="geometry").assign(wkt=LOTS.geometry.to_wkt())
    (folder / name).write_text(table.to_csv(index=False, sep=separator), "utf-8")
    return folder / name


def workbook(folder: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Thửa đất"
    sheet.append(["Danh sách thửa đất"])
    sheet.append([])
    sheet.append(["ten", "so", "cao", "wkt"])
    for row in LOTS.itertuples():
        sheet.append([row.ten, row.so, row.cao, row.geometry.wkt])
    book.create_sheet("Sheet2")
    book.save(folder / "lots.xlsx")
    return folder / "lots.xlsx"


def kml(folder: Path) -> Path:
    places = []
    for row in LOTS.itertuples():
        ring = " ".join(f"{x},{y},0" for x, y in row.geometry.exterior.coords)
        places.append(
            f"<Placemark id='p{row.so}'><name>{row.ten}</name><ExtendedData><Data name='so'><value>{row.so}</value></Data>"
            f"<SchemaData><SimpleData name='cao'>{row.cao}</SimpleData></SchemaData></ExtendedData><MultiGeometry><Polygon>"
            f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
            "</MultiGeometry></Placemark>"
        )
    (folder / "lots.kml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Style id="s"/>'
        f"<Folder><name>Quận 1</name>{''.join(places[:2])}</Folder><Folder><name>Quận 3</name>{places[2]}</Folder>"
        "</Document></kml>",
        "utf-8",
    )
    return folder / "lots.kml"


def kmz(folder: Path) -> Path:
    kml(folder).rename(folder / "doc.kml")
    return pack(folder / "lots.kmz", [folder / "doc.kml"])


FORMATS: dict[str, tuple[Writer, str]] = {
    "geojson": (lambda f: write(f / "lots.geojson", "GeoJSON"), "GeoJSON"),
    "geojson lines": (lambda f: write(f / "lots.geojsonl", "GeoJSONSeq"), "GeoJSONL"),
    "geojson lines named json": (lambda f: write(f / "l.geojsonl", "GeoJSONSeq").rename(f / "l.json"), "GeoJSONL"),
    "geopackage": (lambda f: write(f / "lots.gpkg", "GPKG"), "GeoPackage"),
    "shapefile": (shapefile, "Shapefile"),
    "zipped shapefile": (zipped_shapefile, "Shapefile"),
    "flatgeobuf": (lambda f: write(f / "lots.fgb", "FlatGeobuf", SPATIAL_INDEX="NO"), "FlatGeobuf"),
    "geoparquet": (geoparquet, "GeoParquet"),
    "csv": (wkt_table, "CSV"),
    "csv with semicolons": (lambda f: wkt_table(f, "lots.csv", ";"), "CSV"),
    "tsv": (lambda f: wkt_table(f, "lots.tsv", "\t"), "CSV"),
    "xlsx": (workbook, "XLSX"),
    "kml": (kml, "KML"),
    "kmz": (kmz, "KML"),
    "mapinfo tab": (lambda f: write(f / "lots.tab", "MapInfo File"), "MapInfo TAB"),
    "mapinfo mif": (lambda f: write(f / "lots.mif", "MapInfo File"), "MapInfo MIF"),
    "filegdb": (lambda f: write(f / "lots.gdb", "OpenFileGDB"), "FileGDB"),
    "zipped filegdb": (zipped_geodatabase, "FileGDB"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_features_in_the_same_places(name: str, tmp_path: Path) -> None:
    writer, format = FORMATS[name]
    reader, lots = read(writer(tmp_path), rows=2)
    assert isinstance(reader, Reader)
    assert reader.format == format
    assert reader.count in (3, None)
    names = lots["name"] if "name" in lots else lots["ten"]
    text = [n.encode("latin-1").decode("utf-8") if reader.raw_text else n for n in names]
    assert text == list(LOTS["ten"])
    assert [float(v) for v in lots["so"]] == [1, 2, 3]
    assert [float(v) for v in lots["cao"]] == [10.5, 3.25, 7.0]
    assert problems(lots) == [None] * 3
    assert shapely.equals_exact(shapely.normalize(lots.geometry), shapely.normalize(
        [shapely.MultiPolygon([g]) if s.geom_type == "MultiPolygon" else g
         for g, s in zip(LOTS.geometry, lots.geometry, strict=True)]), tolerance=1e-7).all()  # fmt: skip
    assert list(lots.columns[: len(reader.columns)]) == list(reader.columns)
    assert reader.crs is None or CRS.from_user_input(reader.crs).equals(CRS.from_epsg(4326), ignore_axis_order=True)
    assert str(reader.crs_reason)
    assert str(reader.encoding_reason)


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_reads_again_from_the_beginning_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    file = FORMATS[name][0](tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    with closing(open_file(file, ReadOptions(workspace=work))) as reader:
        assert [len(b) for b in reader.batches(2)] == [2, 1]
        assert [len(b) for b in reader.batches(2)] == [2, 1]
    assert list(work.iterdir()) == []


def test_types_of_columns_are_those_of_the_file(tmp_path: Path) -> None:
    frame = LOTS.assign(
        moi=[True, False, True],
        ngay=["2024-01-02", "2024-03-04", None],
        luc=["2024-01-02T03:04:05Z"] * 3,
        ds=[["a"]] * 3,
    )
    (tmp_path / "a.geojson").write_text(frame.to_json())
    reader, rows = read(tmp_path / "a.geojson")
    assert dict(reader.columns) == {
        "ten": "text", "so": "integer", "cao": "number", "moi": "boolean", "ngay": "date", "luc": "time", "ds": "text",
        **({"id": "text"} if "id" in reader.columns else {}),
    }  # fmt: skip
    assert rows["ngay"].isna().tolist() == [False, False, True]
    assert rows["ds"].tolist() == ['["a"]'] * 3


def test_a_time_without_a_zone_stays_the_text_that_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(LOTS.assign(luc="2024-01-02T03:04:05").to_json())
    reader, rows = read(tmp_path / "a.geojson")
    assert reader.columns["luc"] == "text"
    assert rows["luc"][0] == "2024-01-02T03:04:05"


def test_whole_numbers_with_gaps_stay_whole(tmp_path: Path) -> None:
    frame = LOTS.assign(tang=pd.array([9007199254740993, None, 3], dtype="Int64"))
    (tmp_path / "a.geojson").write_text(frame.to_json().replace("9007199254740992", "9007199254740993"))
    _, rows = read(tmp_path / "a.geojson")
    assert rows["tang"].tolist()[0] == 9007199254740993
    assert rows["tang"].isna().tolist() == [False, True, False]


def test_a_drawing_gives_its_entities_without_a_coordinate_system(tmp_path: Path) -> None:
    write(tmp_path / "a.dxf", "DXF", LOTS[["geometry"]])
    reader, rows = read(tmp_path / "a.dxf")
    assert (reader.format, reader.crs, len(rows)) == ("DXF", None, 3)
    assert "Layer" in reader.columns
    assert rows.total_bounds == pytest.approx(LOTS.total_bounds)


def test_projected_files_keep_their_coordinates_and_say_their_system(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", "GPKG", LOTS.to_crs(9210))
    reader, rows = read(tmp_path / "a.gpkg")
    assert CRS.from_user_input(reader.crs).to_epsg() == 9210
    assert shapely.equals_exact(to_wgs84(rows.geometry.to_numpy(), reader.crs), LOTS.geometry, tolerance=1e-5).all()


def test_a_shapefile_without_prj_has_no_coordinate_system_until_one_is_given(tmp_path: Path) -> None:
    shapefile(tmp_path)
    (tmp_path / "lots.prj").unlink()
    assert read(tmp_path / "lots.shp")[0].crs is None
    given, _ = read(tmp_path / "lots.shp", crs="EPSG:9210")
    assert given.crs.to_epsg() == 9210
    assert "you" in str(given.crs_reason)


def test_a_file_with_several_layers_asks_which_one(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", "GPKG", layer="thua")
    write(tmp_path / "a.gpkg", "GPKG", LOTS[:1], layer="nha", append=True)
    with pytest.raises(LayerNotChosen, match="thua, nha") as choice:
        open_file(tmp_path / "a.gpkg")
    assert choice.value.layers == ("thua", "nha")
    with pytest.raises(LayerNotChosen, match="no layer “khac”"):
        open_file(tmp_path / "a.gpkg", ReadOptions(layer="khac"))
    reader, rows = read(tmp_path / "a.gpkg", layer="nha")
    assert (reader.layer, len(rows)) == ("nha", 1)


def test_an_archive_with_several_shapefiles_asks_which_one(tmp_path: Path) -> None:
    shapefile(tmp_path)
    write(tmp_path / "khac.shp", "ESRI Shapefile", LOTS[:1])
    file = pack(tmp_path / "a.zip", [*tmp_path.glob("lots.*"), *tmp_path.glob("khac.*")])
    with pytest.raises(LayerNotChosen, match="khac, lots"):
        open_file(file)
    assert len(read(file, layer="khac")[1]) == 1


def test_folders_of_a_kml_are_layers_and_come_together_unless_one_is_named(tmp_path: Path) -> None:
    reader, rows = read(kml(tmp_path))
    assert reader.layers == ("Quận 1", "Quận 3")
    assert rows["folder"].tolist() == ["Quận 1", "Quận 1", "Quận 3"]
    assert len(read(tmp_path / "lots.kml", layer="Quận 3")[1]) == 1


def test_a_table_finds_its_coordinates_by_their_vietnamese_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('Mã,Kinh độ,Vĩ độ\n1,106.7,10.77\n2,"106,71","10,78"\n3,,\n', "utf-8")
    reader, rows = read(tmp_path / "a.csv")
    assert CRS.from_user_input(reader.crs).to_epsg() == 4326
    assert [None if g is None else g.wkt for g in rows.geometry] == [
        "POINT (106.7 10.77)",
        "POINT (106.71 10.78)",
        None,
    ]
    assert list(reader.columns) == ["Mã", "Kinh độ", "Vĩ độ"]


def test_a_table_of_plane_coordinates_has_no_system_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ma,X,Y\n1,603000.5,1191000\n", "utf-8")
    reader, rows = read(tmp_path / "a.csv")
    assert (reader.crs, rows.geometry[0].wkt) == (None, "POINT (603000.5 1191000)")


def test_a_table_without_coordinates_is_read_without_geometry_if_it_has_rows_and_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ma,so\n00760,2\n", "utf-8")
    reader, rows = read(tmp_path / "a.csv")
    assert not reader.has_geometry and rows["ma"].tolist() == ["00760"] and rows.geometry.isna().all()
    for text in ("a,b\n", "a\n1\n"):
        (tmp_path / "a.csv").write_text(text, "utf-8")
        with pytest.raises(BadInput, match="--longitude and --latitude, or --wkt"):
            open_file(tmp_path / "a.csv")


def test_a_column_named_geometry_or_named_twice_keeps_its_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("lon,lat,geometry,ten,ten,__problem__\n106.7,10.8,đất,a,b,c\n", "utf-8")
    reader, rows = read(tmp_path / "a.csv")
    assert list(reader.columns) == ["lon", "lat", "geometry_2", "ten", "ten_2", "__problem___2"]
    assert rows[["geometry_2", "ten", "ten_2", "__problem___2"]].iloc[0].tolist() == ["đất", "a", "b", "c"]


def test_a_sheet_is_chosen_by_name_when_several_have_rows(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for name, lon in (("a", 106.1), ("b", 106.2)):
        sheet = book.create_sheet(name)
        sheet.append(["lon", "lat"])
        sheet.append([lon, 10])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(LayerNotChosen, match="a, b"):
        open_file(tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx", layer="b")[1].geometry[0].x == 106.2


def test_dates_and_whole_numbers_of_a_workbook_are_written_plainly(tmp_path: Path) -> None:
    import datetime

    book = openpyxl.Workbook()
    book.active.append(["lon", "lat", "ngay", "so", "co"])
    book.active.append([106.7, 10.8, datetime.datetime(2024, 5, 6), 12.0, True])
    book.save(tmp_path / "a.xlsx")
    _, rows = read(tmp_path / "a.xlsx")
    assert rows[["ngay", "so", "co"]].iloc[0].tolist() == ["2024-05-06", "12", "true"]


def test_parquet_is_read_by_row_group_and_without_geo_as_a_table(tmp_path: Path) -> None:
    table = LOTS.drop(columns="geometry").assign(lon=[106.1, 106.2, 106.3], lat=10.0)
    table.to_parquet(tmp_path / "a.parquet", row_group_size=1)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    reader, rows = read(tmp_path / "a.parquet")
    assert (reader.format, reader.count, rows.geometry[2].wkt) == ("Parquet", 3, "POINT (106.3 10)")


def test_geoparquet_says_its_system_also_when_it_has_none(tmp_path: Path) -> None:
    LOTS.to_crs(9210).to_parquet(tmp_path / "a.parquet")
    assert CRS.from_user_input(read(tmp_path / "a.parquet")[0].crs).to_epsg() == 9210
    LOTS.set_crs(None, allow_override=True).to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")[0].crs is None


def test_stops_routes_and_shapes_of_a_timetable(tmp_path: Path) -> None:
    tables = {
        "stops.txt": "stop_id,stop_name,stop_lat,stop_lon\nA,Bến Thành,10.77,106.70\nB,Suối Tiên,10.87,106.80\n",
        "routes.txt": "route_id,route_short_name\nR1,1\nR2,2\n",
        "trips.txt": "route_id,service_id,trip_id,shape_id\nR1,s,t1,S1\nR1,s,t2,S2\nR1,s,t3,S1\nR2,s,t4,\n",
        "shapes.txt": "shape_id,shape_pt_lat,shape_pt_lon,shape_pt_sequence\nS1,10.78,106.71,2\nS1,10.77,106.70,1\n"
        "S2,10.87,106.80,1\nS2,10.77,106.70,2\nS3,1,1,1\n",
    }
    with zipfile.ZipFile(tmp_path / "gtfs.zip", "w") as archive:
        for name, content in tables.items():
            archive.writestr(name, content)
    with pytest.raises(LayerNotChosen, match="stops, routes, shapes"):
        open_file(tmp_path / "gtfs.zip")
    _, stops = read(tmp_path / "gtfs.zip", layer="stops")
    assert stops.geometry.to_wkt().tolist() == ["POINT (106.7 10.77)", "POINT (106.8 10.87)"]
    assert stops["stop_name"].tolist() == ["Bến Thành", "Suối Tiên"]
    _, routes = read(tmp_path / "gtfs.zip", layer="routes", rows=1)
    assert routes.geometry[0].wkt == ("MULTILINESTRING ((106.7 10.77, 106.71 10.78), (106.8 10.87, 106.7 10.77))")
    assert routes.geometry[1] is None
    _, shapes = read(tmp_path / "gtfs.zip", layer="shapes")
    assert shapes["shape_id"].tolist() == ["S1", "S2", "S3"]
    assert shapes.geometry.isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dwg", b"AC1032" + b"\0" * 50, "DXF"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + b"\0" * 50, "XLSX"),
        ("a.pdf", b"%PDF-1.7", "PDF"),
        ("a.rar", b"Rar!\x1a\x07", "ZIP"),
        ("a.json", b'{"a": 1}', "neither GeoJSON nor CityJSON"),
        ("a.bin", b"\0\1\2\3", "no format that is read here"),
        ("a.csv", b"", "empty"),
        ("a.xml", b"<gpx/>", "GPX"),
        ("a.gml", b"<not closed", "cannot be read"),
    ],
)
def test_what_is_not_read_says_what_to_do(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        open_file(tmp_path / name)


def test_a_part_of_a_shapefile_names_the_whole_and_a_missing_part_is_named(tmp_path: Path) -> None:
    shapefile(tmp_path)
    for part in (".dbf", ".shx"):
        with pytest.raises(BadInput, match=r"part of a \.shp"):
            open_file(tmp_path / f"lots{part}")
    (tmp_path / "lots.shx").unlink()
    with pytest.raises(BadInput, match=r"lots\.shx"):
        open_file(tmp_path / "lots.shp")


def test_a_format_whose_package_is_missing_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    workbook(tmp_path)
    monkeypatch.delitem(sys.modules, "ingest.readers.xlsx", raising=False)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(SetupProblem, match="pip install openpyxl"):
        open_file(tmp_path / "lots.xlsx")


def test_the_crs_member_of_a_geojson_is_reported_as_what_the_file_says(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::9210"}}
    stored = json.loads(LOTS.to_json()) | {"crs": crs}
    (tmp_path / "a.geojson").write_text(json.dumps(stored))
    reader, _ = read(tmp_path / "a.geojson")
    assert CRS.from_user_input(reader.crs).to_epsg() == 9210
    assert "file says" in str(reader.crs_reason)


def test_an_extract_is_read_by_the_name_of_what_is_wanted_and_keeps_every_tag(tmp_path: Path) -> None:
    import osmium

    path = tmp_path / "a.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        for i in range(200):
            writer.add_node(osmium.osm.mutable.Node(id=i + 1, location=(106.7 + i / 1000, 10.77), tags={}))
        for i in range(150):
            tags = {"highway": "residential" if i % 2 else "service", "name": f"Đường {i}"}
            tags |= {"tunnel:note": "rare"} if i == 7 else {}
            writer.add_way(osmium.osm.mutable.Way(id=i + 1, nodes=[i + 1, i + 2], tags=tags))
        writer.add_way(osmium.osm.mutable.Way(id=900, nodes=[1, 9], tags={"waterway": "canal"}))
    reader, rows = read(path, layer="line:highway")
    assert len(rows) == 150 and {"osm", "way", "highway", "name", "other_tags"} == set(reader.columns)
    odd = rows[rows["osm"] == "way/8"].iloc[0]
    assert json.loads(odd["other_tags"]) == {"tunnel:note": "rare"} and odd["name"] == "Đường 7"
    assert rows["other_tags"].notna().sum() == 1
    _, some = read(path, layer="line:highway=service,track")
    assert len(some) == 75
    for wanted_layer in (None, "roads", "line:"):
        with pytest.raises(LayerNotChosen, match=r"--source-layer.*line:highway"):
            read(path, layer=wanted_layer)


PLACES = st.tuples(st.floats(106.4, 106.9), st.floats(10.5, 11.0))
PIECES = st.one_of(
    PLACES.map(lambda p: shapely.Point(p)),
    st.lists(PLACES, min_size=2, max_size=5, unique=True).map(shapely.LineString),
    st.tuples(PLACES, st.floats(1e-5, 0.01)).map(lambda s: shapely.Point(s[0]).buffer(s[1], quad_segs=2)),
    st.tuples(PLACES, st.floats(1e-3, 0.01)).map(
        lambda s: (
            shapely.Point(s[0]).buffer(s[1], quad_segs=1).difference(shapely.Point(s[0]).buffer(s[1] / 3, quad_segs=1))
        )
    ),
)
SHAPES = st.one_of(
    PIECES, PIECES.map(lambda s: shapely.force_3d(s, 7.0)), PIECES.map(lambda s: shapely.GeometryCollection([s]))
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.one_of(st.lists(PIECES, min_size=1, max_size=6), st.lists(SHAPES, min_size=1, max_size=6)),
    driver=st.sampled_from(["GPKG", "FlatGeobuf", "GeoJSON"]),
)
def test_the_wkb_that_comes_along_with_a_batch_is_what_shapely_writes(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[shapely.Geometry], driver: str
) -> None:
    """It is published as it stands where nothing was changed: the same features must have the same digest, whatever
    the file they come in.
    """
    path = tmp_path_factory.mktemp("wkb") / f"a.{ {'GPKG': 'gpkg', 'FlatGeobuf': 'fgb', 'GeoJSON': 'geojson'}[driver] }"
    if driver == "FlatGeobuf" and len({shape.has_z for shape in shapes}) > 1:
        # The format has all features flat, or none.
        shapes = [shapely.force_2d(shape) for shape in shapes]
    frame = gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=4326)
    _, rows = read(write(path, driver, frame, **({"geometry_type": "Unknown"} if driver != "GeoJSON" else {})), rows=4)
    for geometry, wkb in zip(rows.geometry, rows[WKB], strict=True):
        assert wkb is None or wkb == shapely.to_wkb(geometry)
    if len(shapes) <= 4 and all(
        shape.geom_type in ("Point", "LineString", "Polygon") and not shape.has_z for shape in shapes
    ):
        assert all(wkb is not None for wkb in rows[WKB])


def test_wkb_with_something_behind_it_is_written_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "lots.gpkg", "GPKG")
    with sqlite3.connect(path) as file:
        # Triggers of the format call functions that only GDAL has.
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        ((blob,),) = file.execute("SELECT geom FROM lots WHERE so = 2").fetchall()
        file.execute("UPDATE lots SET geom = ? WHERE so = 2", [blob + b"behind"])
    _, rows = read(path)
    assert [shapely.equals(a, b) for a, b in zip(rows.geometry, LOTS.geometry, strict=True)] == [True] * 3
    written = [wkb for wkb in rows[WKB] if wkb is not None]
    assert written in ([], shapely.to_wkb(LOTS.geometry.to_numpy()).tolist())


def test_no_column_of_a_file_stands_for_the_wkb() -> None:
    rows = make_batch({"__wkb__": ["nonsense"]}, np.array([shapely.Point(1, 2)], dtype=object))
    assert rows[WKB].tolist() == [None]

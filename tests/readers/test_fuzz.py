"""No input ends in a traceback: small real files of every format, cut off, with flipped bytes and with spliced text."""

from __future__ import annotations

import json
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import openpyxl
import osmium
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.checks.checker import Checker
from ingest.checks.plan import inspect
from ingest.readers.opening import is_raster, open_file
from ingest.readers.source import ReadOptions
from layers.registry import theme
from tests.readers.files import LOTS, write
from twin.config import load_settings
from twin.errors import TwinError

KML = """<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder>
<name>a</name><Placemark id="p1"><name>Nhà</name><ExtendedData><Data name="so"><value>1</value></Data></ExtendedData>
<Polygon><outerBoundaryIs><LinearRing><coordinates>106.7,10.7,0 106.71,10.7,0 106.71,10.71,0 106.7,10.7,0</coordinates>
</LinearRing></outerBoundaryIs></Polygon></Placemark></Folder></Document></kml>"""
GML = """<?xml version="1.0"?><CityModel xmlns="http://www.opengis.net/citygml/2.0"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:xlink="http://www.w3.org/1999/xlink"><cityObjectMember><bldg:Building gml:id="A">
<bldg:measuredHeight>9</bldg:measuredHeight><bldg:lod1MultiSurface><gml:MultiSurface srsName="EPSG:9210">
<gml:surfaceMember><gml:Polygon gml:id="f"><gml:exterior><gml:LinearRing><gml:posList srsDimension="3">603000 1191000 0
603010 1191000 0 603010 1191010 0 603000 1191000 0</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>
</gml:surfaceMember></gml:MultiSurface></bldg:lod1MultiSurface></bldg:Building></cityObjectMember></CityModel>"""
CITYJSON = {
    "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [603000, 1191000, 0]},
    "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/9210"},
    "CityObjects": {"A": {"type": "Building", "attributes": {"measuredHeight": 9, "ma": 7}, "geometry": [
        {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2, 3]]]}]}},
    "vertices": [[0, 0, 0], [10000, 0, 0], [10000, 10000, 0], [0, 10000, 0]],
}  # fmt: skip
MIF = 'Version 300\nCharset "WindowsLatin1"\nDelimiter ","\nCoordSys Earth Projection 1, 104\nColumns 2\n  ten Char(30)\n' \
    "  so Integer\nData\n\nPoint 106.7 10.77\n"  # fmt: skip


def _csv(path: Path) -> Path:
    path.write_text('ma,ten,"ghi chú",kinh_do,vi_do\n001,"Nhà ""A""","x\ny",106.70,10.77\n002,Nhà B,,106.71,10.78\n')
    return path


def _xlsx(path: Path) -> Path:
    book = openpyxl.Workbook()
    for row in (["ma", "ten", "lng", "lat"], ["01", "Trạm", 106.7, 10.77], ["02", None, "=C2", 10.78]):
        book.active.append(row)
    book.save(path)
    return path


def _text(content: str) -> Callable[[Path], Path]:
    def write_text(path: Path) -> Path:
        path.write_text(content, "utf-8")
        return path

    return write_text


def _mif(path: Path) -> Path:
    path.with_suffix(".mid").write_text('"Cho",1\n')
    return _text(MIF)(path)


def _gtfs(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stops.txt", "stop_id,stop_name,stop_lat,stop_lon\n01,A,10.77,106.7\n")
        archive.writestr("routes.txt", "route_id,route_short_name,route_type\nR1,01,3\n")
        archive.writestr("trips.txt", "route_id,trip_id,shape_id\nR1,t,S1\n")
        archive.writestr(
            "shapes.txt",
            "shape_id,shape_pt_lat,shape_pt_lon,shape_pt_sequence\nS1,10.77,106.7,1\nS1,10.78,106.7,2\n",
        )
    return path


def _pbf(path: Path) -> Path:
    with closing(osmium.SimpleWriter(str(path))) as writer:
        for i, place in enumerate([(106.7, 10.7), (106.71, 10.7), (106.71, 10.71)], start=1):
            writer.add_node(osmium.osm.mutable.Node(id=i, location=place))
        writer.add_way(osmium.osm.mutable.Way(id=9, nodes=[1, 2, 3, 1], tags={"building": "yes", "name": "Nhà"}))
    return path


def _parquet(path: Path) -> Path:
    LOTS.to_parquet(path)
    return path


def _geojson(path: Path) -> Path:
    features = [{**f, "id": i} for i, f in enumerate(json.loads(LOTS.to_json())["features"], start=17)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def _driver(name: str, frame: gpd.GeoDataFrame = LOTS) -> Callable[[Path], Path]:
    return lambda path: write(path, name, frame)


LINES = gpd.GeoDataFrame(geometry=[shapely.LineString([(603000, 1191000), (603010, 1191000)])])
CORPUS: dict[str, tuple[str, Callable[[Path], Path], str | None]] = {
    "csv": ("a.csv", _csv, None), "xlsx": ("a.xlsx", _xlsx, None), "kml": ("a.kml", _text(KML), None),
    "citygml": ("a.gml", _text(GML), None), "cityjson": ("a.city.json", _text(json.dumps(CITYJSON)), None),
    "mif": ("a.mif", _mif, None), "tab": ("a.tab", _driver("MapInfo File"), None),
    "gtfs stops": ("a.zip", _gtfs, "stops"), "gtfs routes": ("a.zip", _gtfs, "routes"),
    "pbf": ("a.osm.pbf", _pbf, "polygon:building"), "parquet": ("a.parquet", _parquet, None),
    "geojson": ("a.geojson", _geojson, None), "geojson lines": ("a.geojsonl", _driver("GeoJSONSeq"), None),
    "gpkg": ("a.gpkg", _driver("GPKG"), None), "shp": ("a.shp", _driver("ESRI Shapefile"), None),
    "fgb": ("a.fgb", _driver("FlatGeobuf"), None), "dxf": ("a.dxf", _driver("DXF", LINES), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, (file, make, _) in CORPUS.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        made[name] = make(folder / file)
    return made


def check(path: Path, layer: str | None) -> tuple[int, int] | None:
    """Check a file as the command does; give how many features were read and published, None if it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            options = ReadOptions(layer=layer, workspace=path.parent / "work")
            if is_raster(path, options):
                return None
            with closing(open_file(path, options)) as reader:
                plan = inspect(reader, theme("buildings"), load_settings().profile, file=path.name)
                checker = Checker(plan)
                for batch in reader.batches(100):
                    checked = checker.feed(batch)
                    assert shapely.is_valid(np.asarray(checked.good.geometry.values, dtype=object)).all()
                    assert len(checked.good) + len(checked.bad) == len(batch)
                report = checker.finish()
                json.dumps(report.to_dict(), allow_nan=False)
                return report.features, report.good
        except TwinError as error:
            assert str(error)
            return None


def beside(corpus: dict[str, Path], name: str, folder: Path) -> Path:
    """Copy a file of the corpus, with those that belong to it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(corpus[name].parent, folder)
    return folder / corpus[name].name


@pytest.mark.parametrize("name", CORPUS)
def test_a_whole_file_is_read(corpus: dict[str, Path], name: str, tmp_path: Path) -> None:
    found = check(beside(corpus, name, tmp_path / "f"), CORPUS[name][2])
    assert found is not None and found[0] > 0


@pytest.mark.parametrize("name", CORPUS)
def test_a_file_that_is_cut_off_or_damaged_never_ends_in_a_traceback(
    corpus: dict[str, Path], name: str, tmp_path: Path
) -> None:
    chance = random.Random(name)  # noqa: S311 - the same damage in each run
    files = sorted(part.name for part in corpus[name].parent.iterdir() if part.is_file())
    for turn in range(14):
        path = beside(corpus, name, tmp_path / "f")
        victim = path.parent / (path.name if turn % 3 else chance.choice(files))
        content = bytearray(victim.read_bytes())
        if turn % 2:
            del content[chance.randrange(len(content)) :]
        else:
            for _ in range(chance.choice((1, 4, 30))):
                content[chance.randrange(len(content))] = chance.choice(
                    (0, 10, 34, 44, 60, 123, 255, chance.randrange(256))
                )
        victim.write_bytes(content)
        check(path, CORPUS[name][2])


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(['"', '""', "a\nb", "NaN", "inf", "1e400", "-0", "9" * 30, "POINT (106.7 10.7)", "POINT", "=1+1",
                     "106,70", "0001-01-01", "\x00", "SRID=9210;POINT(1 2)", "10.77", "106.7"]),
)  # fmt: skip


@settings(max_examples=40, deadline=timedelta(seconds=20), suppress_health_check=list(HealthCheck))
@given(
    header=st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["lng", "lat", "x", "y", "wkt", "geometry", "id"])),
                    min_size=1, max_size=6),
    rows=st.lists(st.lists(CELLS, max_size=7), max_size=6), delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1258", "latin-1"]), end=st.sampled_from(["\n", "\r\n", "\r"]),
)  # fmt: skip
def test_a_table_of_any_header_and_any_values_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, header: list[str], rows: list[list[str]], delimiter: str, encoding: str,
    end: str,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("table") / "a.csv"
    content = end.join(delimiter.join(row) for row in [header, *rows])
    path.write_bytes(content.encode(encoding, "replace"))
    check(path, None)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["\ud800", "\x00"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=40, deadline=timedelta(seconds=20), suppress_health_check=list(HealthCheck))
@given(
    features=st.lists(
        st.fixed_dictionaries(
            {"type": st.just("Feature"),
             "properties": st.one_of(st.none(), st.dictionaries(
                 st.one_of(st.text(max_size=5), st.sampled_from(["id", "OGC_FID", "wkb_geometry", "geometry", "fid"])),
                 VALUES, max_size=4)),
             "geometry": st.one_of(st.none(), VALUES, st.just({"type": "Point", "coordinates": [106.7, 10.7]}))},
            optional={"id": VALUES},
        ), max_size=5),
)  # fmt: skip
def test_geojson_of_any_properties_and_ids_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, features: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    found = check(path, None)
    assert found is None or found[0] == len(features)


CITY = st.recursive(
    st.one_of(st.none(), st.integers(-3, 5), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(
        st.sampled_from(["type", "lod", "boundaries", "semantics", "surfaces", "values", "attributes", "parents"]), inner,
        max_size=3)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40, deadline=timedelta(seconds=20), suppress_health_check=list(HealthCheck))
@given(boundaries=CITY, attributes=CITY, children=CITY, vertices=CITY, lod=CITY)
def test_a_city_model_of_any_content_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, boundaries: object, attributes: object, children: object, vertices: object,
    lod: object,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("city") / "a.city.json"
    building = {"type": "Building", "attributes": attributes, "children": children,
                "geometry": [{"type": "MultiSurface", "lod": lod, "boundaries": boundaries}]}  # fmt: skip
    vertices = CITYJSON["vertices"] if vertices is None else vertices
    path.write_text(json.dumps(CITYJSON | {"CityObjects": {"A": building}, "vertices": vertices}), "utf-8")
    check(path, None)

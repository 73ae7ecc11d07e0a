"""Files that try to reach other files or addresses, or to exhaust the machine (attacks 1, 2 and 4)."""

from __future__ import annotations

import http.server
import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import openpyxl
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from ingest.readers.limits import LimitExceeded, Limits
from ingest.readers.opening import is_raster, open_file, open_raster
from ingest.readers.source import ReadOptions
from tests.conftest import ROOT
from tests.readers.files import LOTS, feature, geojson, pack, problems, read, write
from twin.errors import BadInput

SECRET = "other-agency-secret"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return geojson(tmp_path / "secret.geojson", [feature({"type": "Point", "coordinates": [1, 2]}, ten=SECRET)])


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address that remembers who asked."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


# 1. Other files and addresses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.geojson", "a.vrt", "a.csv", "a.shp", "a.tif", "a.gpkg", "a.json", "a.xml", "a.gml", "a.kml", "a.dxf"]
)
def test_descriptions_that_name_other_files_and_addresses_are_refused_under_any_name(
    tmp_path: Path, secret: Path, listener: tuple[str, list[str]], name: str
) -> None:
    address, requests = listener
    other = tmp_path / "in"
    other.mkdir()
    for content in (
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>',
        f'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand><SimpleSource><SourceFilename>{secret}</SourceFilename>'
        "</SimpleSource></VRTRasterBand></VRTDataset>",
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/</ServerUrl></Service></GDAL_WMS>',
        f"<OGRWFSDataSource><URL>{address}/wfs</URL></OGRWFSDataSource>",
        f"<OGRCSWDataSource><URL>{address}/csw</URL></OGRCSWDataSource>",
        f'{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read {secret}"}}',
        f'{{"type": "gdal_streamed_alg", "command_line": "gdal raster pipeline ! read {address}/x.tif"}}',
        f'{{"links": [{{"href": "{address}/collections"}}], "collections": []}}',
        f"OAPIF:{address}", f"WFS:{address}", "PG:host=127.0.0.1 dbname=twin", f"/vsicurl/{address}/x.geojson",
        f"{address}/x.geojson", str(secret),
    ):  # fmt: skip
        file = other / name
        file.write_text(content)
        for opener in (open_file, open_raster):
            with pytest.raises(BadInput) as refused:
                opener(file)
            assert SECRET not in str(refused.value)
    assert requests == []


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1/x.geojson", "/vsizip/a.zip/a.shp", "/vsimem/x", "http://127.0.0.1/x.geojson",
        "https://127.0.0.1/x", "PG:dbname=twin", "MYSQL:x", "WFS:http://127.0.0.1", "ES:http://127.0.0.1", "zip://a.zip!a.shp",
        "GPKG:a.gpkg:b", "GTIFF_DIR:1:a.tif", "file:///etc/passwd", "/dev/zero", "/proc/self/environ/", "/usr", "nothing.shp",
        "a\0b",
    ],
)  # fmt: skip
def test_addresses_devices_and_folders_are_no_file_names(name: str) -> None:
    for opener in (open_file, open_raster, is_raster):
        with pytest.raises(BadInput):
            opener(Path(name))


def test_a_file_named_like_an_address_is_refused_and_one_with_odd_signs_is_just_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("PG_dbname.geojson"), "GeoJSON").rename("PG:dbname=x")
    with pytest.raises(BadInput, match="address"):
        open_file(Path("PG:dbname=x"))
    odd = Path("a!b?c=d,e 'f' \"g\" $(h);.geojson")
    write(Path("x.geojson"), "GeoJSON").rename(odd)
    assert len(read(odd)[1]) == 3


def test_drivers_that_open_other_things_are_not_there() -> None:
    assert set(pyogrio.list_drivers()) <= {
        "ESRI Shapefile", "MapInfo File", "GeoJSON", "GeoJSONSeq", "GPKG", "OpenFileGDB", "DXF", "FlatGeobuf", "MEM",
    }  # fmt: skip


def test_a_database_with_virtual_tables_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", "GPKG")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, 'CREATE VIRTUAL TABLE x USING VirtualOGR(''/etc/passwd'')')"
        )
        database.commit()
    with pytest.raises(BadInput, match="virtual table"):
        open_file(tmp_path / "a.gpkg")


@pytest.mark.parametrize(
    "header",
    [
        '!table\n!version 300\nOpen Table "../secret.tab" Hide\nCreate View a As Select * from secret\n',
        '!table\n!version 300\nDefinition Table\n  Type LINKED\n  Fields 1\n    ten Char (10) ;\n',
        '!table\n!version 300\nDefinition Table\n  Type NATIVE Charset "Neutral"\n  Fields 1\n    Table Char (80) ;\n'
        'begin_metadata\n"\\IsSeamless" = "TRUE"\nend_metadata\n',
    ],
)  # fmt: skip
def test_mapinfo_tables_that_name_other_files_are_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.tab").write_text(header)
    with pytest.raises(BadInput, match="view of other tables"):
        open_file(tmp_path / "a.tab")


def test_a_geodatabase_with_links_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.gdb", "OpenFileGDB")
    (folder / "a00000099.gdbtable").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="link"):
        open_file(folder)


# 2. XML ------------------------------------------------------------------------------------------------

XML_ROOTS = {
    "kml": '<kml xmlns="http://www.opengis.net/kml/2.2">{0}</kml>',
    "gml": '<CityModel xmlns="http://www.opengis.net/citygml/2.0">{0}</CityModel>',
}


@pytest.mark.parametrize("suffix", XML_ROOTS)
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x SYSTEM "{address}/x.dtd">',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "{address}/p"> %p;]>',
        "<!DOCTYPE kml>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_document_type_is_refused_without_asking_anybody(
    tmp_path: Path, listener: tuple[str, list[str]], suffix: str, doctype: str, encoding: str
) -> None:
    address, requests = listener
    content = f'<?xml version="1.0" encoding="{encoding}"?>\n<!-- c -->\n' + doctype.replace("{address}", address)
    (tmp_path / f"a.{suffix}").write_text(content + XML_ROOTS[suffix].format("&e;"), encoding)
    with pytest.raises(BadInput, match="DOCTYPE"):
        open_file(tmp_path / f"a.{suffix}")
    assert requests == []


def test_a_document_type_behind_much_space_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "a.kml").write_text(
        " " * 0 + f"<?xml version='1.0'?>{' ' * 900_000}<!DOCTYPE kml [<!ENTITY e 'x'>]><kml>&e;</kml>"
    )
    with pytest.raises(BadInput):
        open_file(tmp_path / "a.kml")
    (tmp_path / "a.kml").write_text(f"<?xml version='1.0'?>{' ' * 3_000_000}<!DOCTYPE kml><kml/>")
    with pytest.raises(BadInput):
        open_file(tmp_path / "a.kml")


def test_schemas_and_links_that_a_model_names_are_not_fetched(tmp_path: Path, listener: tuple[str, list[str]]) -> None:
    address, requests = listener
    (tmp_path / "a.gml").write_text(
        '<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" xsi:schemaLocation="http://www.opengis.net/citygml/2.0 {address}/x.xsd" '
        'xmlns:b="http://www.opengis.net/citygml/building/2.0"><cityObjectMember><b:Building><b:lod1Solid '
        f'xlink:href="{address}/solid"/></b:Building></cityObjectMember></CityModel>'
    )
    (tmp_path / "a.kml").write_text(
        f"<kml><Document><Style><IconStyle><Icon><href>{address}/i.png</href></Icon></IconStyle></Style><Placemark><Point>"
        "<coordinates>1,2</coordinates></Point></Placemark>"
        f"<NetworkLink><Link><href>{address}/n.kml</href></Link></NetworkLink></Document></kml>"
    )
    assert len(read(tmp_path / "a.gml")[1]) == 1
    assert len(read(tmp_path / "a.kml")[1]) == 1
    (tmp_path / "b.kml").write_text(f"<kml><NetworkLink><Link><href>{address}/n.kml</href></Link></NetworkLink></kml>")
    with pytest.raises(BadInput, match="links to other addresses"):
        open_file(tmp_path / "b.kml")
    assert requests == []


def test_a_workbook_with_a_document_type_inside_is_refused(tmp_path: Path) -> None:
    import zipfile

    book = openpyxl.Workbook()
    book.active.append(["lon", "lat"])
    book.save(tmp_path / "good.xlsx")
    with zipfile.ZipFile(tmp_path / "good.xlsx") as good, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + content
            bad.writestr(name, content)
    with pytest.raises(BadInput, match="DOCTYPE"):
        open_file(tmp_path / "a.xlsx")


# 4. Too much -------------------------------------------------------------------------------------------


# A small limit shows the same as the usual one of 128 MB does, in an eighth of the time.
SMALL_OBJECTS = {"TWIN_LIMIT_OBJECT_BYTES": str(16 * 2**20)}


def within(megabytes: int, code: str, *arguments: object, **environment: str) -> str:
    """Run Python in a process that may not hold more memory than this beyond what it needs to start."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, ((200 + megabytes) * 2**20,) * 2)

    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120,
        preexec_fn=limit, env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


OPEN = """
import sys; from pathlib import Path
from ingest.readers.opening import open_file, open_raster
from twin.errors import BadInput
try:
    reader = (open_raster if sys.argv[1].endswith("tif") else open_file)(Path(sys.argv[1]))
    for batch in reader.batches(1000): print(batch["__problem__"].iloc[0])
except BadInput as refused:
    print(refused)
"""


def test_a_raster_that_would_unpack_to_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": 100_000, "height": 100_000, "tiled": True,
               "sparse_ok": True, "compress": "deflate", "transform": from_origin(106, 11, 1e-5, 1e-5), "crs": 4326}  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", **profile):
        pass
    assert (tmp_path / "a.tif").stat().st_size < 5_000_000
    assert "TWIN_LIMIT_PIXELS" in within(300, OPEN, tmp_path / "a.tif")


def test_a_raster_whose_single_block_is_huge_is_refused(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": 16_384, "height": 16_384, "tiled": True, "blockxsize": 16_384, "blockysize": 16_384,
               "compress": "deflate", "sparse_ok": True}  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", **profile):
        pass
    with pytest.raises(LimitExceeded, match="TWIN_LIMIT_OBJECT_BYTES"):
        open_raster(tmp_path / "a.tif")


def test_a_ring_of_more_than_a_million_vertices_is_named_and_not_built(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 1_200_001)
    ring = np.column_stack([106.7 + np.cos(angle) / 10, 10.8 + np.sin(angle) / 10])
    ring[-1] = ring[0]
    frame = LOTS[:1].set_geometry([shapely.Polygon(ring)])
    write(tmp_path / "a.fgb", "FlatGeobuf", frame)
    _, rows = read(tmp_path / "a.fgb")
    assert problems(rows) == ["geometry.too_large"]
    assert "1,000,000 vertices" in rows["__problem__"][0]
    assert rows.geometry[0] is None
    with (tmp_path / "a.geojson").open("w") as file:
        file.write('{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":')
        file.write('{"type":"Polygon","coordinates":[[')
        file.write("[106.7123456,10.812345]," * 1_200_000)
        file.write("[106.7123456,10.812345]]]}}]}")
    assert "TWIN_LIMIT_OBJECT_BYTES" in within(100, OPEN, tmp_path / "a.geojson", **SMALL_OBJECTS)


@pytest.mark.parametrize("name", ["a.geojson", "a.csv", "a.kml", "a.city.json", "a.geojsonl"])
def test_columns_by_the_hundred_thousand_are_refused_before_they_are_made(tmp_path: Path, name: str) -> None:
    many = [f"c{i}" for i in range(200_000)]
    if name == "a.csv":
        content = ",".join(["lon", "lat", *many]) + "\n" + "1,2\n"
    elif name == "a.kml":
        data = "".join(f'<Data name="{c}"><value>1</value></Data>' for c in many)
        content = f"<kml><Placemark><ExtendedData>{data}</ExtendedData></Placemark></kml>"
    elif name == "a.city.json":
        thing = {"type": "Building", "attributes": dict.fromkeys(many, 1)}
        content = json.dumps({"type": "CityJSON", "version": "2.0", "CityObjects": {"a": thing}, "vertices": []})
    else:
        row = feature({"type": "Point", "coordinates": [1, 2]}, **dict.fromkeys(many, 1))
        content = json.dumps({"type": "FeatureCollection", "features": [row]} if name == "a.geojson" else row)
    (tmp_path / name).write_text(content)
    assert "TWIN_LIMIT_COLUMNS" in within(120, OPEN, tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.kml", "a.gml", "a.geojson", "a.geojsonl"])
def test_a_string_eight_times_as_long_as_an_object_may_be_is_refused_in_bounded_memory(
    tmp_path: Path, name: str
) -> None:
    before, after = {
        "a.csv": ("lon,lat,ten\n1,2,", "\n"),
        "a.kml": ("<kml><Placemark><name>", "</name></Placemark></kml>"),
        "a.gml": ('<CityModel xmlns="http://www.opengis.net/citygml/2.0"><name>', "</name></CityModel>"),
        "a.geojson": ('{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"a":"', '"}}]}'),
        "a.geojsonl": ('{"type":"Feature","properties":{"a":"', '"},"geometry":null}\n'),
    }[name]
    with (tmp_path / name).open("w") as file:
        file.write(before)
        for _ in range(128):
            file.write("x" * 2**20)
        file.write(after)
    output = within(80, OPEN, tmp_path / name, **SMALL_OBJECTS)
    assert "TWIN_LIMIT_" in output


def test_elements_nested_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.kml").write_text("<kml>" + "<Folder>" * 100_000 + "</Folder>" * 100_000 + "</kml>")
    with pytest.raises(LimitExceeded, match="TWIN_LIMIT_DEPTH"):
        open_file(tmp_path / "a.kml")


def test_a_sheet_that_claims_rows_and_columns_to_the_end_of_the_world_is_read_as_what_it_holds(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["lon", "lat"])
    book.active.append([106.7, 10.8])
    book.active["XFD1"] = "far"
    book.active["A1000000"] = "deep"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(LimitExceeded, match="TWIN_LIMIT_COLUMNS"):
        open_file(tmp_path / "a.xlsx")


def test_limits_are_settings_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.geojson", "GeoJSON")
    monkeypatch.setenv("TWIN_LIMIT_COLUMNS", "2")
    with pytest.raises(LimitExceeded, match="more columns than the 2 that are allowed.*TWIN_LIMIT_COLUMNS"):
        open_file(file)
    assert read(file, limits=Limits(columns=3))[0].count == 3


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "a.gpkg").write_bytes(b"SQLite format 3\0" + b"junk" * 50)
    file = pack(tmp_path / "a.zip", [tmp_path / "a.gpkg"])
    with pytest.raises(BadInput):
        open_file(file, ReadOptions(workspace=work))
    assert list(work.iterdir()) == []

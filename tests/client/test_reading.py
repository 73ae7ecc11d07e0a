"""The Python client against running servers: frames that say what the server says, history, keys, and errors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas as gpd
import h3
import httpx
import numpy as np
import pandas as pd
import pytest
import shapely

from tests.conftest import LiveServer, free_port, serving
from tests.test_sharing_over_http import LAYER as SECRET
from tests.test_sharing_over_http import OPEN, eventually, key, server  # noqa: F401  # a fixture
from tests.test_versions import lamps, shape
from twin.catalogue.staging import Provenance, Staging
from twin.client import Layer, Twin
from twin.crs import transform
from twin.errors import BadInput, NotFound, TwinError, Unauthenticated, Unavailable

BUILDINGS = "construction.buildings"


@pytest.fixture(scope="module")
def city(live_server: LiveServer) -> Iterator[Twin]:
    with Twin(live_server.url) as city:
        yield city


@pytest.fixture(scope="module")
def buildings(city: Twin) -> Layer:
    return city.layer(BUILDINGS)


@pytest.fixture(scope="module")
def everything(live_server: LiveServer) -> list[dict]:
    """All buildings as the server's GeoJSON says them."""
    answer = httpx.get(f"{live_server.url}/collections/{BUILDINGS}/items", params={"limit": 10_000}, timeout=60)
    return answer.json()["features"]


def test_importing_the_client_does_not_load_what_only_frames_need() -> None:
    said = "import sys, twin.client; print({'geopandas', 'pandas', 'pyarrow', 'pyproj', 'h3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout == "set()\n"


# Layers --------------------------------------------------------------------------------------------


def test_the_table_of_layers_is_what_the_server_lists(city: Twin, live_server: LiveServer) -> None:
    said = httpx.get(f"{live_server.url}/collections").json()["collections"]
    layers = city.layers()
    assert list(layers.index) == [layer["id"] for layer in said] and BUILDINGS in layers.index
    assert layers.loc[BUILDINGS, "theme"] == "buildings" and layers["sample"].all()
    assert (layers["features"] == [layer["featureCount"] for layer in said]).all()
    assert str(layers["published"].dt.tz) == "UTC"


def test_a_layer_describes_itself(buildings: Layer) -> None:
    about = buildings.describe()
    assert (about.layer, about.theme, about.licence, about.version) == (BUILDINGS, "buildings", "CC0-1.0", 1)
    assert about.versions == (1,) and about.cell_resolution == 11 and about.sample and about.features > 400
    assert about.published.tzinfo is not None and about.bounds is not None
    columns = about.columns()
    assert columns.loc["height", "unit"] == "m" and "office" in columns.loc["use", "terms"]
    assert "geometry" not in columns.index


# Features ------------------------------------------------------------------------------------------


def test_a_frame_holds_every_feature_with_its_type(buildings: Layer, everything: list[dict]) -> None:
    frame = buildings.to_geodataframe()
    assert isinstance(frame, gpd.GeoDataFrame) and frame.crs == "EPSG:4326" and frame.index.name == "id"
    assert frame.index.is_unique and set(frame.index) == {f["id"] for f in everything}
    assert frame.dtypes["levels"] == pd.Int64Dtype() and frame.dtypes["height"] == np.float64
    assert frame.dtypes["name"] == pd.StringDtype()
    assert frame.attrs["version"] == 1 and frame.attrs["licence"] == "CC0-1.0" and frame.attrs["layer"] == BUILDINGS
    for feature in everything:
        row = frame.loc[feature["id"]]
        for name, value in feature["properties"].items():
            assert row[name] == value if value is not None else pd.isna(row[name])
        assert shapely.geometry.shape(feature["geometry"]).equals_exact(row.geometry, 1e-6)


def test_box_filter_columns_and_limit_narrow_the_frame(buildings: Layer) -> None:
    whole = buildings.to_geodataframe()
    west, south, east, north = whole.total_bounds
    box = (west, south, (west + east) / 2, (south + north) / 2)
    part = buildings.to_geodataframe(bbox=box, where="height > 10", properties=["height"])
    expected = whole[whole.intersects(shapely.box(*box)) & (whole["height"] > 10)]
    assert 0 < len(part) < len(whole) and set(part.index) == set(expected.index)
    assert list(part.columns) == ["height", "geometry"]
    assert len(buildings.to_geodataframe(limit=7, bbox=whole.total_bounds)) == 7
    nothing = buildings.to_geodataframe(where="height > 100000")
    assert nothing.empty and nothing.crs == "EPSG:4326" and list(nothing.columns) == list(whole.columns)


def test_coordinates_come_in_the_city_s_own_system(buildings: Layer) -> None:
    degrees = buildings.to_geodataframe(limit=20).sort_index()
    for system in ("EPSG:9210", 9210):
        metres = buildings.to_geodataframe(limit=20, crs=system).sort_index()
        assert metres.crs.to_epsg() == 9210
        here = shapely.get_coordinates(metres.geometry.to_numpy())
        expected = transform(shapely.get_coordinates(degrees.geometry.to_numpy()), 4326, 9210)
        assert np.abs(here - expected).max() < 0.02


# Cells and places ----------------------------------------------------------------------------------


def test_cells_come_as_a_frame_by_their_names(buildings: Layer, live_server: LiveServer) -> None:
    address = f"{live_server.url}/collections/{BUILDINGS}/cells"
    for resolution, where in [(8, None), (10, "height > 10"), (None, None)]:
        cells = buildings.cells(resolution, where=where)
        asked = {"resolution": resolution, "filter": where}
        said = httpx.get(address, params={k: v for k, v in asked.items() if v is not None}).json()
        assert list(cells.index) == [row["cell"] for row in said["cells"]] and cells.index.name == "cell"
        for name in said["properties"]:
            assert [None if pd.isna(v) else v for v in cells[name]] == [row[name] for row in said["cells"]]
        assert cells.attrs["properties"]["height"]["unit"] == "m" and cells.attrs["resolution"] == said["resolution"]
    assert cells.dtypes["features"] == pd.Int64Dtype()


def test_cells_come_with_their_outlines_if_wanted(buildings: Layer) -> None:
    cells = buildings.cells(9, geometry=True, properties=[])
    assert isinstance(cells, gpd.GeoDataFrame) and cells.crs == "EPSG:4326"
    assert list(cells.columns) == ["features", "per_km2", "geometry"]
    for name, outline in cells.geometry.items():
        expected = shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(name)])
        assert outline.symmetric_difference(expected).area < 1e-9
    assert cells.attrs["layer"] == BUILDINGS


def test_what_is_known_of_a_place_is_what_the_server_knows(city: Twin, buildings: Layer) -> None:
    point = buildings.to_geodataframe(limit=1).geometry.iloc[0].representative_point()
    place = city.at(point.x, point.y)
    assert h3.latlng_to_cell(point.y, point.x, 11) == place.cell and place.resolution == 11
    assert shapely.Polygon(place.boundary).contains(point)
    assert place.layers[BUILDINGS]["total"] >= 1
    table = place.to_dataframe()
    assert table[table["here"] & (table["layer"] == BUILDINGS)].shape[0] >= 1
    assert city.cell(place.cell).layers.keys() == place.layers.keys()
    assert city.cell(h3.str_to_int(place.cell)).cell == place.cell
    assert city.at(-150, 10).to_dataframe().empty


# History and keys ----------------------------------------------------------------------------------


def test_versions_are_read_by_number_and_by_time(server: LiveServer) -> None:  # noqa: F811
    with Twin(server.url) as city:
        layer = city.layer(OPEN)
        first, before = layer.to_geodataframe(), datetime.now(UTC)
        with Staging(server.database, OPEN, shape(), Provenance("a test", "made up")) as staging:
            staging.append(lamps(130, name="new"))
            staging.publish()
        eventually(lambda: layer.describe().version, first.attrs["version"] + 1)
        second = layer.to_geodataframe()
        assert len(second) == 130 and second.attrs["version"] == first.attrs["version"] + 1
        for at in (
            first.attrs["version"],
            before,
            pd.Timestamp(before),
            before.isoformat(),
            before.astimezone().replace(tzinfo=None),
        ):
            old = layer.to_geodataframe(at=at)
            pd.testing.assert_frame_equal(pd.DataFrame(old), pd.DataFrame(first))
            assert old.attrs["version"] == first.attrs["version"]
            assert layer.cells(5, at=at)["features"].sum() == 100
        assert layer.cells(5)["features"].sum() == 130
        with pytest.raises(NotFound, match="99"):
            layer.to_geodataframe(at=99)
        with pytest.raises(NotFound):
            layer.cells(at=datetime(2001, 1, 1, tzinfo=UTC).date())


def test_a_restricted_layer_is_there_for_its_agency_alone(server: LiveServer) -> None:  # noqa: F811
    with Twin(server.url) as nobody, Twin(server.url, key(server, "transport")) as own:
        reads: list[Callable[[Twin], object]] = [
            lambda c: c.layer(SECRET).describe(), lambda c: c.layer(SECRET).to_geodataframe(),
            lambda c: c.layer(SECRET).cells(6),
        ]  # fmt: skip
        for read in reads:
            with pytest.raises(NotFound) as hidden:
                read(nobody)
            assert SECRET in str(hidden.value)
            eventually(lambda read=read: _quietly(read, own), True)
        assert SECRET not in nobody.layers().index and SECRET in own.layers().index
        assert len(own.layer(SECRET).to_geodataframe()) == 100
    with Twin(server.url, "twin_aaaaaaaaaaaa_" + "b" * 43) as wrong, pytest.raises(TwinError) as refused:
        wrong.layers()
    assert isinstance(refused.value, Unauthenticated)


def _quietly(read: Callable[[Twin], object], city: Twin) -> bool:
    try:
        read(city)
    except TwinError:
        return False
    return True


# Errors --------------------------------------------------------------------------------------------


def test_what_the_server_complains_of_is_raised_in_its_words(city: Twin, buildings: Layer) -> None:
    for read, error, said in [
        (lambda: city.layer("no.such").to_geodataframe(), NotFound, "no.such"),
        (lambda: city.layer("../collections").describe(), NotFound, ""),
        (lambda: buildings.to_geodataframe(where="heigth > 5"), BadInput, "heigth"),
        (lambda: buildings.to_geodataframe(properties=["nothing"]), BadInput, "nothing"),
        (lambda: buildings.to_geodataframe(crs="EPSG:2056"), BadInput, "2056"),
        (lambda: buildings.to_geodataframe(bbox=(1, 2, 3)), BadInput, "bbox"),
        (lambda: buildings.to_geodataframe(bbox=(107, 11, 106, 10)), BadInput, "bbox"),
        (lambda: buildings.cells(14), BadInput, "0, 1, 2"),
        (lambda: city.cell("xyz"), BadInput, "xyz"),
        (lambda: city.at(500, 10), BadInput, "lng"),
    ]:  # fmt: skip
        with pytest.raises(error) as raised:
            read()
        assert said in str(raised.value)


@contextmanager
def in_between(url: str, act: Callable[[BaseHTTPRequestHandler, int], bool]) -> Iterator[str]:
    """A server before the real one, which may answer itself: it is told how many requests came before."""

    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_GET(self) -> None:
            number, Handler.count = Handler.count, Handler.count + 1
            if act(self, number):
                return
            answer = httpx.get(f"{url}{self.path}", headers={"Accept-Encoding": "identity"})
            self.send_response(answer.status_code)
            for name in ("content-type", "content-disposition"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


def _busy(handler: BaseHTTPRequestHandler) -> bool:
    handler.send_response(503)
    handler.end_headers()
    return True


def _too_many(handler: BaseHTTPRequestHandler) -> bool:
    handler.send_response(429)
    handler.send_header("Retry-After", "1")
    handler.end_headers()
    return True


def _cut(handler: BaseHTTPRequestHandler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"PAR1")
    handler.close_connection = True
    return True


@pytest.mark.parametrize("trouble", [_busy, _too_many, _cut])
def test_what_passes_is_waited_for(live_server: LiveServer, trouble: Callable[[BaseHTTPRequestHandler], bool]) -> None:
    # Every other request goes wrong.
    with in_between(live_server.url, lambda h, n: n % 2 == 0 and trouble(h)) as url, Twin(url) as city:
        assert len(city.layer(BUILDINGS).to_geodataframe()) > 400
        assert city.layer(BUILDINGS).cells(8)["features"].sum() > 400


def test_what_does_not_pass_is_said_soon(live_server: LiveServer) -> None:
    with Twin(f"http://127.0.0.1:{free_port()}", patience=0.5) as away, pytest.raises(Unavailable) as raised:
        away.layers()
    assert "127.0.0.1" in str(raised.value)
    asked = []

    def fault(handler: BaseHTTPRequestHandler, number: int) -> bool:
        asked.append(number)
        handler.send_response(500)
        handler.end_headers()
        return True

    with in_between(live_server.url, fault) as url, Twin(url) as broken, pytest.raises(Unavailable):
        broken.layers()
    assert asked == [0]

    def page(handler: BaseHTTPRequestHandler, _: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"<html>hello</html>")
        return True

    with in_between(live_server.url, page) as url, Twin(url) as other:
        for read in (other.layers, other.layer("a.b").describe, lambda: other.layer("a.b").cells(3)):
            with pytest.raises(BadInput):
                read()


def test_a_reader_is_told_when_one_answer_does_not_hold_all(server: LiveServer, tmp_path: Path) -> None:  # noqa: F811
    limited = serving(server.database, tmp_path / "small.log", settings={"TWIN_STREAM_LIMIT": "60"})
    with limited as small, Twin(small.url) as city, pytest.warns(UserWarning, match="bbox"):
        assert len(city.layer(OPEN).to_geodataframe()) == 60

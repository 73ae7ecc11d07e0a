"""Rasters over HTTP: tiles where they belong and in the right colours, heights, values at points, files that are gone."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.warp import transform as rasterio_transform

from layers.palette import known_pixels, palette_of, parse_color
from layers.registry import theme
from tests.conftest import ROOT, RUN, run_async, serving
from tests.test_raster_publish import classes, ground, publish, settings_of, write
from tests.test_versions import LAYER as LAMPS
from tests.test_versions import lamps
from tests.test_versions import publish as publish_features
from tiles.choice import Chosen
from tiles.raster_files import MOST_OPEN, Opened, RasterFiles
from tiles.raster_image import read_tile
from twin.access import new_key
from twin.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.crs import transform, with_shift
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.errors import Unavailable
from twin.rasters import RasterFolder
from twin.text import Text

COVER, GROUND, DEPTH, SECRET = "environment.cover", "environment.ground", "environment.depth", "environment.secret"
LEVELLED, BROKEN = "environment.levelled", "environment.broken"
CODES = {1: "water", 2: "trees", 5: "crops", 7: "built", 11: "grass"}
COLORS = theme("land_cover").style["fill"]["categories"]
# The corner of the raster in VN-2000 / TM-3 105-45, in metres.
VN_WEST, VN_NORTH, VN_SIZE = 603_000.0, 1_192_000.0, 1.0


def slope() -> np.ndarray:
    """Heights so steep that a place that is 0.8 m wrong shows: 2.5 m from each pixel of a metre to the next."""
    return ground() * 50


@dataclass(frozen=True)
class Served:
    client: httpx.Client
    database: Database
    folder: Path
    key: str

    def metric(self, name: str, what: str) -> float:
        """One of the server's own numbers."""
        text = self.client.get("/metrics").text
        return float(next(line for line in text.splitlines() if line.startswith(f'{name}{{what="{what}"')).split()[-1])


@contextmanager
def asked(database: Database, folder: Path, log: Path) -> Iterator[httpx.Client]:
    """A client of the program that serves a database with its folder of rasters; at its end the log is clean."""
    with (
        serving(database, log, settings={"TWIN_RASTERS": str(folder)}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def flooded() -> np.ndarray:
    """Depths in metres: dry, a film that is not drawn, and from a hand to a metre."""
    values = np.zeros((90, 120), np.float32)
    values[:, 40:] = 0.004
    values[:, 80:] = np.linspace(0.1, 1.2, 40)
    return values


@pytest.fixture(scope="module")
def served(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tmp = tmp_path_factory.mktemp("rasters")
    folder = tmp / "files"
    database = Database(cluster.url(f"{os.environ[RUN]}_raster_tiles_{os.getpid()}"), private=True)
    migrate(database)
    with database.session() as session:
        for agency in ("environment", "transport"):
            ensure_agency(session, agency, Text(en=agency, vi=agency))
        for name, of in (
            (COVER, "land_cover"),
            (GROUND, "elevation"),
            (DEPTH, "flood_depth"),
            (LEVELLED, "elevation"),
            (BROKEN, "elevation"),
        ):
            ensure_layer(session, LayerEntry(name, of, Text(en=name, vi=f"Lớp {name}"), sharing=Sharing.OPEN))
        ensure_layer(session, LayerEntry(SECRET, "land_cover", Text(en="Secret", vi="Bí mật")))
        ensure_layer(session, LayerEntry(LAMPS, "places", Text(en="Lamps", vi="Đèn"), sharing=Sharing.OPEN))
        key = new_key(session, "environment", "tester", PrincipalRole.READER, "a test")
    publish_features(database, lamps(20))
    publish(database, folder, write(tmp / "phu1.tif", classes(2)), COVER)
    publish(database, folder, write(tmp / "phu.tif", classes()), COVER)
    publish(database, folder, write(tmp / "bi_mat.tif", classes(3)), SECRET)
    # On the other grid, in VN-2000.
    publish(
        database, folder, write(tmp / "dem.tif", slope(), 9210, (VN_WEST, VN_NORTH), VN_SIZE), GROUND
    )  # fmt: skip
    publish(database, folder, write(tmp / "ngap.tif", flooded()), DEPTH)
    scaled = write(tmp / "cm.tif", (ground() * 100).astype(np.int16), nodata=-32768)
    with rasterio.open(scaled, "r+") as opened:
        opened.scales, opened.offsets = (0.01,), (1.0,)
    publish(database, folder, scaled, LEVELLED)
    for number in range(4):
        publish(database, folder, write(tmp / f"hong{number}.tif", ground(number)), BROKEN)
    with asked(database, folder, tmp / "server.log") as client:
        yield Served(client, database, folder, key)
    database.writer.dispose()


@pytest.fixture(scope="module")
def http(served: Served) -> httpx.Client:
    return served.client


def picture(answer: object) -> np.ndarray:
    """Red, green, blue and opacity of each pixel."""
    assert answer.status_code == 200, answer.text  # type: ignore[attr-defined]
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))  # type: ignore[attr-defined]


def address(layer: str, tile: mercantile.Tile, ending: str = "png") -> str:
    return f"/tiles/{layer}/{tile.z}/{tile.x}/{tile.y}.{ending}"


def place_of(tile: mercantile.Tile, row: int, column: int, side: int = 256) -> tuple[float, float]:
    """Longitude and latitude of a pixel's middle."""
    box = mercantile.xy_bounds(tile)
    x = box.left + (column + 0.5) / side * (box.right - box.left)
    y = box.top - (row + 0.5) / side * (box.top - box.bottom)
    return math.degrees(x / 6378137.0), math.degrees(2 * math.atan(math.exp(y / 6378137.0)) - math.pi / 2)


WEST, NORTH, SIZE = 680_000.0, 1_192_000.0, 30.0


def pixel_at(lng: float, lat: float, crs: int, corner: tuple[float, float], size: float) -> tuple[float, float]:
    """Row and column, with fractions, by rasterio's own reprojection (its own rotations for VN-2000 put right)."""
    ((x,), (y,)) = rasterio_transform("EPSG:4326", with_shift_of(crs), [lng], [lat])
    return (corner[1] - y) / size, (x - corner[0]) / size


def with_shift_of(crs: int) -> str:
    from pyproj import CRS

    return with_shift(CRS.from_epsg(crs)) or f"EPSG:{crs}"


MIDDLE = (106.6595, 10.7675)


@hypothesis_settings(max_examples=25, deadline=None)
@given(data=st.data(), zoom=st.integers(12, 19))
def test_each_pixel_of_a_tile_shows_the_class_that_lies_there(
    http: httpx.Client, data: st.DataObject, zoom: int
) -> None:
    lng = data.draw(st.floats(106.648, 106.676))
    lat = data.draw(st.floats(10.757, 10.778))
    tile = mercantile.tile(lng, lat, zoom)
    drawn, values = picture(http.get(address(COVER, tile))), classes()
    metres = 156_543 / 2**zoom
    for _ in range(20):
        row, column = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
        r, c = pixel_at(*place_of(tile, row, column), 32648, (WEST, NORTH), SIZE)
        # A picture's pixel that is larger than the raster's shows the most frequent class; near a border of classes
        # both are right.
        near = max(0.15, 1.6 * metres / SIZE)
        around = {
            int(values[int(i), int(j)]) if 0 <= i < 90 and 0 <= j < 120 else 0
            for i in (r - near, r, r + near) for j in (c - near, c, c + near)
        }  # fmt: skip
        if len(around) > 1:
            continue
        code = around.pop()
        expected = (*parse_color(COLORS[CODES[code]]), 255) if code else (0, 0, 0, 0)
        seen = tuple(int(v) for v in drawn[row, column])
        assert (seen[3] == 0) if code == 0 else (seen == expected), (row, column, r, c)


@hypothesis_settings(max_examples=20, deadline=None)
@given(data=st.data(), zoom=st.integers(18, 21))
def test_heights_in_vn2000_lie_where_the_seven_parameters_put_them(
    http: httpx.Client, data: st.DataObject, zoom: int
) -> None:
    corner = np.array([[VN_WEST, VN_NORTH], [VN_WEST + 120 * VN_SIZE, VN_NORTH - 90 * VN_SIZE]])
    (west, north), (east, south) = transform(corner, 9210)
    tile = mercantile.tile(data.draw(st.floats(west, east)), data.draw(st.floats(south, north)), zoom)
    drawn = picture(http.get(address(GROUND, tile), params={"style": "terrain-rgb"})).astype(int)
    assert (drawn[..., 3] == 255).all()
    heights = -10_000 + (drawn[..., 0] * 65_536 + drawn[..., 1] * 256 + drawn[..., 2]) * 0.1
    values = slope()
    for _ in range(20):
        row, column = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
        r, c = pixel_at(*place_of(tile, row, column), 9210, (VN_WEST, VN_NORTH), VN_SIZE)
        if not (2 < r < 87 and 2 < c < 117):
            continue
        # By hand: between the middles of the four pixels around.
        i, j = math.floor(r - 0.5), math.floor(c - 0.5)
        a, b = r - 0.5 - i, c - 0.5 - j
        expected = (
            values[i, j] * (1 - a) * (1 - b) + values[i, j + 1] * (1 - a) * b + values[i + 1, j] * a * (1 - b)
            + values[i + 1, j + 1] * a * b
        )  # fmt: skip
        assert heights[row, column] == pytest.approx(expected, abs=0.3), (row, column)


def test_a_system_of_vn2000_as_gdal_is_told_it_agrees_to_a_micrometre() -> None:
    from pyproj import CRS

    for code in (9210, 9211, 3405, 3406, 4756):
        places = transform(np.array([[106.7, 10.77], [106.4, 10.4], [107.0, 11.1]]), 4326, code)
        expected = transform(places, code, 3857)
        found = rasterio_transform(with_shift(CRS.from_epsg(code)), "EPSG:3857", places[:, 0], places[:, 1])
        assert np.abs(np.column_stack(found) - expected).max() < 1e-5
    assert with_shift(CRS.from_epsg(32648)) is None


@pytest.mark.parametrize("zoom", [14, 16, 18])
def test_a_ramp_s_colours_are_those_that_the_map_blends(http: httpx.Client, zoom: int) -> None:
    tile = mercantile.tile(*transform(np.array([[WEST + 100 * SIZE, NORTH - 45 * SIZE]]), 32648)[0], zoom)
    drawn = picture(http.get(address(DEPTH, tile)))
    stops = theme("flood_depth").style["fill"]["stops"]
    at = np.array([stop for stop, _ in stops])
    colors = np.array([parse_color(color) for _, color in stops], float)
    row_of_values, compared = flooded()[45], 0
    for column in range(0, 256, 7):
        _, c = pixel_at(*place_of(tile, 128, column), 32648, (WEST, NORTH), SIZE)
        if not 82 < c < 118:
            continue
        depth = np.interp(c - 0.5, np.arange(120), row_of_values)
        expected = [np.interp(depth, at, colors[:, band]) for band in range(3)]
        assert np.abs(drawn[128, column, :3] - expected).max() <= 3 and drawn[128, column, 3] == 255
        compared += 1
    assert compared > 3


def test_dry_ground_and_a_film_of_water_are_not_drawn(http: httpx.Client) -> None:
    for column in (20, 60):
        tile = mercantile.tile(*transform(np.array([[WEST + column * SIZE, NORTH - 45 * SIZE]]), 32648)[0], 18)
        assert (picture(http.get(address(DEPTH, tile)))[..., 3] == 0).all()


def test_scaled_values_are_drawn_and_told_as_the_file_means_them(http: httpx.Client) -> None:
    lng, lat = transform(np.array([[WEST + 30.5 * SIZE, NORTH - 40.5 * SIZE]]), 32648)[0]
    expected = float((ground() * 100).astype(np.int16)[40, 30]) / 100 + 1
    told = http.get(f"/collections/{LEVELLED}/position", params={"coords": f"POINT({lng} {lat})"}).json()
    assert told["features"][0]["properties"]["value"] == pytest.approx(expected, abs=1e-6)
    tile = mercantile.tile(lng, lat, 20)
    drawn = picture(http.get(address(LEVELLED, tile), params={"style": "terrain-rgb"})).astype(int)
    heights = -10_000 + (drawn[..., 0] * 65_536 + drawn[..., 1] * 256 + drawn[..., 2]) * 0.1
    assert np.abs(heights - expected).max() < 0.3


@pytest.mark.parametrize("name", ["elevation", "flood_depth"])
def test_a_palette_follows_the_ramp_within_two_shades_and_holds_its_ends(name: str) -> None:
    of = theme(name)
    palette = palette_of(of, None)
    assert 100 < len(palette.colors) <= 255
    stops = of.style["fill"]["stops"]
    at = np.array([stop for stop, _ in stops])
    colors = np.array([parse_color(color) for _, color in stops], float)
    values = np.concatenate([np.linspace(at[0] - 1, at[-1] + 5, 5000), at])
    shown = values >= (of.raster.shown_from if of.raster.shown_from is not None else -np.inf)
    index = palette.index(values, np.ones(len(values), bool))
    assert ((index > 0) == shown).all()
    expected = np.column_stack([np.interp(values, at, colors[:, band]) for band in range(3)])
    assert np.abs(palette.colors[index[shown] - 1] - expected[shown]).max() <= 2.1
    ends = palette.index(np.array([at[-1] + 1e6]), np.array([True]))
    assert tuple(palette.colors[ends[0] - 1]) == parse_color(stops[-1][1])


def test_what_no_theme_knows_is_left_out_of_the_picture() -> None:
    palette = palette_of(theme("land_cover"), {1: "water", 7: "built", 400: "trees"})
    values = np.array([0, 1, 7, 8, 400, 401, -3])
    index = palette.index(values, np.array([True, True, True, True, True, True, True]))
    assert [bool(i) for i in index] == [False, True, True, False, True, False, False]
    assert tuple(palette.colors[index[4] - 1]) == parse_color(COLORS["trees"])


# Forms, addresses and caching ----------------------------------------------------------------------------------------


def test_every_address_of_a_tile_gives_the_same_picture(http: httpx.Client) -> None:
    tile = mercantile.tile(*MIDDLE, 15)
    plain = http.get(address(COVER, tile))
    assert plain.headers["content-type"] == "image/png" and "content-encoding" not in plain.headers
    ogc = f"/collections/{COVER}/map/tiles/WebMercatorQuad/{tile.z}/{tile.y}/{tile.x}"
    by_accept = http.get(ogc, headers={"Accept": "image/avif,image/webp,*/*"})
    assert by_accept.headers["content-type"] == "image/webp" and "Accept" in by_accept.headers["vary"]
    first = picture(plain)
    assert first.shape == (256, 256, 4) and len(np.unique(first.reshape(-1, 4), axis=0)) > 3
    for other in (
        http.get(address(COVER, tile, "webp")), http.get(ogc), http.get(ogc, params={"f": "webp"}), by_accept,
        http.get(address(f"{COVER}@2", tile)),
    ):  # fmt: skip
        same = picture(other)
        assert np.array_equal(same[..., 3], first[..., 3])
        assert np.array_equal(same[first[..., 3] > 0], first[first[..., 3] > 0])
    for large in (http.get(f"/tiles/{COVER}/{tile.z}/{tile.x}/{tile.y}@2x.png"), http.get(ogc, params={"scale": 2})):
        double = picture(large)
        assert double.shape == (512, 512, 4)
        # Every second pixel lies within the same pixel of the raster.
        assert (double[::2, ::2] == first).all(axis=-1).mean() > 0.97


def test_an_older_version_is_another_picture_and_only_pinned_tiles_are_for_ever(http: httpx.Client) -> None:
    tile = mercantile.tile(*MIDDLE, 14)
    old, new, current = (http.get(address(name, tile)) for name in (f"{COVER}@1", f"{COVER}@2", COVER))
    assert not np.array_equal(picture(old), picture(new)) and new.content == current.content
    assert old.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert current.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=600"
    known = http.get(address(COVER, tile), headers={"If-None-Match": current.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"") and known.headers["etag"] == current.headers["etag"]
    tags = {http.get(address(COVER, tile, e)).headers["etag"] for e in ("png", "webp")} | {
        http.get(f"/tiles/{COVER}/{tile.z}/{tile.x}/{tile.y}@2x.png").headers["etag"]
    }
    assert len(tags) == 3
    assert http.head(address(COVER, tile)).headers["content-length"] == str(len(current.content))


def test_a_tile_is_made_once_and_counted_with_the_vector_tiles(served: Served) -> None:
    path = address(COVER, mercantile.tile(*MIDDLE, 17))
    made, found = (served.metric("twin_tile_cache_asked", what) for what in ("made", "found"))
    answers = [served.client.get(path) for _ in range(5)]
    assert len({a.content for a in answers}) == 1
    assert served.metric("twin_tile_cache_asked", "made") == made + 1
    assert served.metric("twin_tile_cache_asked", "found") >= found + 4


@pytest.mark.parametrize("zoom", range(0, 23, 2))
def test_every_zoom_answers_and_far_places_are_transparent(http: httpx.Client, zoom: int) -> None:
    tile = mercantile.tile(*MIDDLE, zoom)
    for layer in (COVER, GROUND):
        assert picture(http.get(address(layer, tile))).shape == (256, 256, 4)
    if zoom:
        far = mercantile.Tile((tile.x + 2 ** (zoom - 1)) % 2**zoom, tile.y, zoom)
        assert (picture(http.get(address(COVER, far)))[..., 3] == 0).all()
        assert (picture(http.get(address(COVER, far, "webp")))[..., 3] == 0).all()
        heights = picture(http.get(address(GROUND, far), params={"style": "terrain-rgb"}))
        assert (heights == (1, 134, 160, 255)).all()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/tiles/{COVER}/3/8/1.png", 400), (f"/tiles/{COVER}/23/0/0.png", 400), (f"/tiles/{COVER}/3/x/1.png", 400),
        (f"/tiles/{COVER}/3/1/1@3x.png", 400), (f"/tiles/{COVER}/3/1/1.gif", 404),
        (f"/tiles/{COVER}/3/1/1.png?style=gold", 400), (f"/tiles/{COVER}/3/1/1.png?style=terrain-rgb", 400),
        (f"/tiles/{COVER}/3/1/1.png?url=file:///etc/passwd", 400), (f"/tiles/{COVER},{GROUND}/3/1/1.png", 400),
        (f"/tiles/{COVER}@9/3/1/1.png", 404), (f"/tiles/{COVER}@x/3/1/1.png", 400),
        (f"/tiles/{LAMPS}/3/1/1.png", 404), ("/tiles/environment.nothing/3/1/1.png", 404),
        ("/tiles/..%2f..%2fetc%2fpasswd/3/1/1.png", 404),
        (f"/collections/{COVER}/map/tiles/WebMercatorQuad/3/1/1?f=gif", 400),
        (f"/collections/{COVER}/map/tiles/WebMercatorQuad/3/1/1?scale=3", 400),
        (f"/collections/{COVER}/map/tiles/OtherGrid/3/1/1", 404), (f"/collections/{LAMPS}/map/legend", 404),
        (f"/collections/{LAMPS}/position?coords=POINT(106.7 10.7)", 404), (f"/tiles/{LAMPS}/raster.json", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_or_makes_no_sense_is_told(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    if LAMPS in path:
        assert "not a raster" in http.get(path, headers={"Accept-Language": "en"}).json()["detail"]


def test_the_header_accept_may_refuse_every_picture(http: httpx.Client) -> None:
    path = f"/collections/{COVER}/map/tiles/WebMercatorQuad/3/1/1"
    assert http.get(path, headers={"Accept": "image/gif"}).status_code == 406


# Descriptions --------------------------------------------------------------------------------------------------------


def test_tilejson_names_pinned_tiles_at_the_zooms_of_the_file(http: httpx.Client) -> None:
    told = http.get(f"/tiles/{COVER}/raster.json", params={"lang": "vi"}).json()
    assert told["tiles"] == [f"{str(http.base_url).rstrip('/')}/tiles/{COVER}@2/{{z}}/{{x}}/{{y}}.png"]
    # Thirty metres are between the pixels of zooms 12 and 13, and the whole raster is half a tile of zoom 11.
    assert 12 >= told["minzoom"] >= 10 and told["maxzoom"] == 13
    west, south, east, north = told["bounds"]
    assert west < MIDDLE[0] < east and south < MIDDLE[1] < north and told["name"] == f"Lớp {COVER}"
    terrain = http.get(f"/tiles/{GROUND}/raster.json", params={"style": "terrain-rgb", "image": "webp", "scale": 2})
    assert terrain.json()["encoding"] == "mapbox"
    assert terrain.json()["tiles"][0].endswith("@2x.webp?style=terrain-rgb")
    filled = terrain.json()["tiles"][0]
    for name, value in zip("zxy", (12, *mercantile.tile(*MIDDLE, 12)[:2]), strict=True):
        filled = filled.replace(f"{{{name}}}", str(value))
    assert picture(http.get(filled)).shape == (512, 512, 4)


def test_tilesets_lead_from_the_collection_to_a_tile(http: httpx.Client) -> None:
    links = {link["rel"]: link["href"] for link in http.get(f"/collections/{COVER}").json()["links"]}
    listed = http.get(links["http://www.opengis.net/def/rel/ogc/1.0/tilesets-map"]).json()
    (one,) = listed["tilesets"]
    own = next(link["href"] for link in one["links"] if link["rel"] == "self")
    told = http.get(own).json()
    assert told["dataType"] == "map" and told["tileMatrixSetURI"].endswith("WebMercatorQuad")
    template = next(link for link in told["links"] if link["rel"] == "item" and link["type"] == "image/png")
    limits = told["tileMatrixSetLimits"][-1]
    tile = mercantile.tile(*MIDDLE, int(limits["tileMatrix"]))
    assert limits["minTileCol"] <= tile.x <= limits["maxTileCol"]
    assert limits["minTileRow"] <= tile.y <= limits["maxTileRow"]
    filled = template["href"]
    for name, value in (("tileMatrix", tile.z), ("tileRow", tile.y), ("tileCol", tile.x)):
        filled = filled.replace(f"{{{name}}}", str(value))
    assert (picture(http.get(filled))[..., 3] > 0).any()
    assert http.get(f"{own}?f=tilejson").json()["tilejson"] == "3.0.0"
    assert http.get(links["data"]).json()["features"][0]["properties"]["value"] is not None


def test_the_legend_has_the_colours_of_the_pixels_in_both_languages(http: httpx.Client) -> None:
    told = http.get(f"/collections/{COVER}/map/legend", params={"lang": "vi"})
    entries = {code: entry for entry in told.json()["entries"] for code in entry["codes"]}
    assert {code: entry["value"] for code, entry in entries.items()} == CODES
    assert entries[1]["label"] == "Mặt nước" and entries[7]["color"] == COLORS["built"]
    ramp = http.get(f"/collections/{DEPTH}/map/legend", params={"lang": "en"}).json()
    assert (ramp["kind"], ramp["unit"], ramp["shownFrom"]) == ("ramp", "m", 0.01)
    assert [e["value"] for e in ramp["entries"]] == [s for s, _ in theme("flood_depth").style["fill"]["stops"]]
    for layer in (COVER, DEPTH):
        drawn = http.get(f"/collections/{layer}/map/legend", params={"f": "svg"})
        assert drawn.headers["content-type"].startswith("image/svg+xml")
        texts = ET.fromstring(drawn.text).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
        assert len(list(texts)) > 5
    assert http.get(told.request.url, headers={"If-None-Match": told.headers["etag"]}).status_code == 304


# Values at points ----------------------------------------------------------------------------------------------------


def test_values_at_points_are_those_of_the_pixels_they_lie_in(http: httpx.Client) -> None:
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 90, 60), rng.integers(0, 120, 60)
    places = transform(np.column_stack([WEST + (columns + 0.3) * SIZE, NORTH - (rows + 0.7) * SIZE]), 32648)
    wkt = "MULTIPOINT(" + ",".join(f"({x!r} {y!r})" for x, y in places.tolist()) + ")"
    told = http.get(f"/collections/{COVER}/position", params={"coords": wkt, "lang": "vi"})
    assert told.headers["content-type"] == "application/geo+json"
    features = told.json()["features"]
    for feature, row, column in zip(features, rows, columns, strict=True):
        code, said = int(classes()[row, column]), feature["properties"]
        assert said["value"] == (CODES[code] if code else None)
        assert said["label"] == (
            theme("land_cover").by_name["cover"].vocabulary[CODES[code]].title.vi if code else None
        )
    assert told.json()["version"] == 2 and told.json()["title"] == "Lớp phủ"
    as_coverage = http.get(f"/collections/{COVER}/position", params={"coords": wkt, "f": "covjson"}).json()
    assert as_coverage["domain"]["domainType"] == "MultiPoint"
    assert [v or 0 for v in as_coverage["ranges"]["cover"]["values"]] == [int(v) for v in classes()[rows, columns]]
    assert as_coverage["parameters"]["cover"]["categoryEncoding"]["built"] == [7]


def test_a_height_in_vn2000_is_told_with_its_unit(http: httpx.Client) -> None:
    lng, lat = transform(np.array([[VN_WEST + 50.5 * VN_SIZE, VN_NORTH - 10.5 * VN_SIZE]]), 9210)[0]
    ask = {"coords": f"POINT({lng} {lat})", "lang": "vi"}
    told = http.get(f"/collections/{GROUND}/position", params=ask).json()["features"][0]["properties"]
    assert told["value"] == pytest.approx(float(slope()[10, 50]), rel=1e-6) and told["unit"] == "m"
    assert told["label"] == f"{round(float(slope()[10, 50]), 2)} m".replace(".", ",")
    one = http.get(f"/collections/{GROUND}/position", params=ask | {"f": "covjson"}).json()
    assert one["domain"]["domainType"] == "Point" and one["ranges"]["elevation"]["values"] == [told["value"]]
    assert one["parameters"]["elevation"]["unit"]["symbol"]["value"] == "m"


def test_values_name_their_version_and_where_there_is_nothing_is_null(http: httpx.Client) -> None:
    path, here = f"/collections/{COVER}/position", "POINT(106.6595 10.7675)"
    old = http.get(path, params={"coords": here, "version": 1})
    assert old.json()["version"] == 1 and "immutable" in old.headers["cache-control"]
    assert http.get(path, params={"coords": here, "asOf": "2999-01-01"}).json()["version"] == 2
    assert http.get(path, params={"coords": here, "asOf": "2001-01-01"}).status_code == 404
    nothing = f"MULTIPOINT((0 0),(106.9 10.7),({transform_corner()}),(180 90),(-180 -90))"
    for form in ("json", "covjson"):
        answer = http.get(path, params={"coords": nothing, "f": form})
        assert answer.status_code == 200
        values = (
            [f["properties"]["value"] for f in answer.json()["features"]] if form == "json"
            else answer.json()["ranges"]["cover"]["values"]
        )  # fmt: skip
        assert values == [None] * 5


def transform_corner() -> str:
    """A place in the corner of the raster that has no data."""
    x, y = transform(np.array([[WEST + 3 * SIZE, NORTH - 3 * SIZE]]), 32648)[0]
    return f"{x} {y}"


MANY = "MULTIPOINT(" + ",".join(["(106.7 10.7)"] * 1001) + ")"


@pytest.mark.parametrize(
    "coords",
    ["", "POINT EMPTY", "POINT(nan nan)", "POINT(106.7)", "POINT(inf 0)", "POINT(1e400 0)", "POINT(200 10)", MANY,
     "LINESTRING(0 0,1 1)", "MULTIPOINT EMPTY", "MULTIPOINT((1 1),EMPTY)", "POINT(106.7 10.8", "\x00", "x" * 62_000,
     "GEOMETRYCOLLECTION(POINT(1 1))"],
)  # fmt: skip
def test_points_that_make_no_sense_are_refused(http: httpx.Client, coords: str) -> None:
    answer = http.get(f"/collections/{COVER}/position", params={"coords": coords})
    assert answer.status_code == 400 and "MULTIPOINT" in answer.json()["detail"]
    assert http.get(f"/collections/{COVER}/position").status_code == 400
    assert http.get(f"/collections/{COVER}/position", params={"coords": "POINT(1 1)", "path": "x"}).status_code == 400


# Who may see what, and files that are gone ---------------------------------------------------------------------------

CHANNELS = ("/tiles/{}/12/3261/1925.png", "/tiles/{}@1/12/3261/1925@2x.webp", "/tiles/{}/raster.json",
            "/collections/{}/map/tiles/WebMercatorQuad/12/1925/3261", "/collections/{}/map/tiles",
            "/collections/{}/map/tiles/WebMercatorQuad", "/collections/{}/map/legend",
            "/collections/{}/position?coords=POINT(106.66 10.767)")  # fmt: skip


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_hidden_raster_answers_exactly_like_a_missing_one(served: Served, channel: str) -> None:
    missing = served.client.get(channel.format("environment.sekret"))
    for query in ("", "f=gif", "style=gold", "nonsense=1", "version=7"):
        path = channel + ("" if not query else ("&" if "?" in channel else "?") + query)
        hidden, missing = (served.client.get(path.format(name)) for name in (SECRET, "environment.sekret"))
        assert (hidden.status_code, hidden.text.replace("secret", "sekret")) == (missing.status_code, missing.text)
        assert hidden.status_code in (400, 404)
    own = served.client.get(channel.format(SECRET), headers={"X-API-Key": served.key})
    assert own.status_code == 200 and own.headers["cache-control"].startswith("private")
    # What its own agency has seen is in memory now, and still nobody else's.
    assert served.client.get(channel.format(SECRET)).status_code == 404


@pytest.mark.parametrize(
    ("number", "kept", "words"),
    [(1, 0.0, "missing"), (2, 0.02, "cannot be read"), (3, 2e-4, "cannot be read"), (4, 0.6, "cannot be read")],
)
def test_a_missing_or_damaged_file_is_told_and_served_again_when_it_is_restored(
    served: Served, number: int, kept: float, words: str
) -> None:
    with served.database.session() as session:
        version = read_catalogue(session)[BROKEN].versions[number]
        assert version.raster is not None
    path = served.folder / version.raster["path"]
    body = path.read_bytes()
    paths = (
        f"/tiles/{BROKEN}@{number}/raster.json", address(f"{BROKEN}@{number}", mercantile.tile(*MIDDLE, 16)),
        f"/collections/{BROKEN}/position?coords=POINT(106.66 10.767)&version={number}",
    )  # fmt: skip
    path.unlink()
    if kept:
        path.write_bytes(body[: int(len(body) * kept)])
    # A file whose end is missing still says how large it is.
    for ask in paths if kept < 0.5 else paths[1:]:
        answer = served.client.get(ask, headers={"Accept-Language": "en"})
        assert answer.status_code == 503 and words in answer.json()["detail"], (ask, answer.text)
        assert "TWIN_RASTERS" in answer.json()["detail"] and path.name not in answer.text
        assert answer.headers["cache-control"] == "no-store"
    path.unlink(missing_ok=True)
    path.write_bytes(body)
    assert all(served.client.get(ask).status_code == 200 for ask in paths)


def test_a_file_that_points_to_another_one_is_not_followed(served: Served, tmp_path: Path) -> None:
    """GDAL's virtual formats name files and addresses; put in a raster's place, one is no raster."""
    with served.database.session() as session:
        version = read_catalogue(session)[SECRET].current
        assert version is not None and version.raster is not None
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 5)
    there = served.folder / "other.tif"
    secret = served.folder / version.raster["path"]
    there.write_text(
        f'<VRTDataset rasterXSize="120" rasterYSize="90"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    with served.database.session() as session:
        layer = read_catalogue(session)[COVER]
    other = replace(layer.current, raster=dict(layer.current.raster) | {"path": there.name})  # type: ignore[arg-type,type-var,union-attr]
    for path in ("../x.tif", "/etc/passwd", "/vsicurl/http://localhost/x.tif", "x.vrt"):
        bad = replace(other, raster=dict(other.raster) | {"path": path})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not the name"):
            run_async(files.run(Chosen(layer, bad, pinned=True), lambda opened: opened.data.width))
    with pytest.raises(Unavailable, match="cannot be read"):
        run_async(files.run(Chosen(layer, other, pinned=True), lambda opened: opened.data.width))
    files.close()
    there.unlink()


def test_a_new_version_shows_at_once_and_its_old_tiles_leave_memory(served: Served, tmp_path: Path) -> None:
    tile = mercantile.tile(*MIDDLE, 15)
    before, dropped = served.client.get(address(DEPTH, tile)), served.metric("twin_tile_cache_asked", "dropped")
    publish(served.database, served.folder, write(tmp_path / "new.tif", flooded() + 2), DEPTH)
    deadline = time.monotonic() + 10
    while served.client.get(address(DEPTH, tile)).headers["etag"] == before.headers["etag"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert served.metric("twin_tile_cache_asked", "dropped") > dropped
    assert (picture(served.client.get(address(DEPTH, tile)))[..., 3] == 255).any()


@pytest.mark.parametrize("crs", [4326, 3857, 32648, 32647, 3405, 9210, 9211, 4756])
def test_a_raster_of_any_system_lies_where_rasterio_puts_it(served: Served, crs: int, tmp_path: Path) -> None:
    with served.database.session() as session:
        layer = read_catalogue(session)[BROKEN]
    values = np.random.default_rng(crs).integers(1, 200, (60, 80)).astype(np.float32)
    ((x, y),) = transform(np.array([MIDDLE]), 4326, crs)
    size = 1e-4 if crs in (4326, 4756) else 10.0
    corner = (x - 40 * size, y + 30 * size)
    write(tmp_path / "x.tif", values, crs, corner, size)
    files = RasterFiles(RasterFolder(tmp_path), 5)
    raster = {"path": "x.tif", "band": 1, "classes": {str(i): ["t", 1] for i in range(200)}}
    one = Chosen(layer, replace(layer.current, raster=raster), pinned=True)  # type: ignore[arg-type,type-var]
    tile = mercantile.tile(*MIDDLE, 17)
    read, known = run_async(files.run(one, lambda opened: read_tile(opened, one, tile.z, tile.x, tile.y, 256)))
    files.close()
    compared = 0
    for row in range(3, 256, 11):
        for column in range(5, 256, 13):
            r, c = pixel_at(*place_of(tile, row, column), crs, corner, size)
            if not (0 < r < 60 and 0 < c < 80) or min(r % 1, 1 - r % 1, c % 1, 1 - c % 1) < 0.05:
                continue
            assert known[row, column] and read[row, column] == values[int(r), int(c)], (row, column)
            compared += 1
    assert compared > 200


@pytest.mark.parametrize("mark", [-9999.0, float(np.finfo(np.float32).min), float("nan"), 0.0, None])
@pytest.mark.parametrize("side", [256, 16])
def test_what_has_no_data_is_transparent_however_the_file_marks_it(
    served: Served, mark: float | None, side: int, tmp_path: Path
) -> None:
    values = ground() + 1
    values[:, 60:] = -9999 if mark is None else mark
    with served.database.session() as session:
        layer = read_catalogue(session)[BROKEN]
    files = RasterFiles(RasterFolder(tmp_path), 5)
    write(tmp_path / "x.tif", values, nodata=mark)
    version = replace(layer.current, raster={"path": "x.tif", "band": 1})  # type: ignore[type-var]
    one = Chosen(layer, version, pinned=True)  # type: ignore[arg-type]
    tile = mercantile.tile(*transform(np.array([[WEST + 60 * SIZE, NORTH - 45 * SIZE]]), 32648)[0], 15)

    def work(opened: Opened) -> tuple[np.ndarray, np.ndarray]:
        read, known = read_tile(opened, one, tile.z, tile.x, tile.y, side)
        return read, known_pixels(theme("elevation"), read, known)

    read, known = run_async(files.run(one, work))
    columns = np.array(
        [pixel_at(*place_of(tile, side // 2, c, side), 32648, (WEST, NORTH), SIZE)[1] for c in range(side)]
    )
    coarse = 2 if side == 16 else 1.1
    left, right = columns < 60 - coarse, columns > 60 + coarse
    assert known[:, left].all() and not known[:, right].any()
    # Between them nothing is mixed with what only marks a lack, where the file says that it does.
    assert (np.abs(read[:, left] - 4) < 4).all() and (mark is None or (np.abs(read[known] - 4) < 4).all())
    files.close()


def test_open_files_are_few_and_closed_when_nobody_can_ask_for_them(served: Served) -> None:
    with served.database.session() as session:
        layers = read_catalogue(session)
    chosen = [Chosen(layers[name], layers[name].current, pinned=True) for name in (COVER, GROUND)]  # type: ignore[arg-type]
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 5)
    files.keep(c.version.key for c in chosen)
    most = 0

    async def play() -> None:
        nonlocal most

        def work(opened: object) -> str:
            time.sleep(0.005)
            return opened.data.name  # type: ignore[attr-defined]

        names = await asyncio.gather(*(files.run(chosen[i % 2], work) for i in range(60)))
        assert {Path(n).name for n in names} == {c.version.raster["path"] for c in chosen}  # type: ignore[index]
        most = len(files)
        kept = [o for some in files._idle.values() for o in some]
        files.keep([chosen[0].version.key])
        assert 0 < len(files) < most
        assert sum(o.data.closed for o in kept) == most - len(files)
        # One that leaves the catalogue while it is read is closed afterwards.
        await files.run(chosen[1], work)
        assert all(key == chosen[0].version.key for key in files._idle)
        files.close()

    run_async(play())
    assert most <= MOST_OPEN and len(files) == 0


def test_who_finds_all_readers_busy_is_told_after_a_while(served: Served) -> None:
    with served.database.session() as session:
        layer = read_catalogue(session)[COVER]
    one = Chosen(layer, layer.current, pinned=True)  # type: ignore[arg-type]
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 0.1)

    async def play() -> None:
        slow = [asyncio.create_task(files.run(one, lambda _: time.sleep(0.6))) for _ in range(4)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Try again"):
            await files.run(one, lambda _: None)
        assert time.monotonic() - began < 0.5
        await asyncio.gather(*slow)
        assert await files.run(one, lambda _: 7) == 7
        files.close()

    run_async(play())


# The city's own rasters ----------------------------------------------------------------------------------------------


@pytest.mark.city
def test_the_city_s_land_cover_and_flood_depth_are_drawn_as_their_files_say(
    city_data: Path, cluster: PrivateCluster, tmp_path: Path
) -> None:
    database = Database(cluster.url(f"{os.environ[RUN]}_real_raster_{os.getpid()}"), private=True)
    migrate(database)
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="E", vi="E"))
        for name, of in ((COVER, "land_cover"), (DEPTH, "flood_depth")):
            ensure_layer(session, LayerEntry(name, of, Text(en=name, vi=name), sharing=Sharing.OPEN))
    files = {
        COVER: city_data / "hcmc" / "zoning" / "landcover_30m.tif",
        DEPTH: city_data / "hcmc" / "flood" / "bathtub_1p5m_depth_30m.tif",
    }
    for name, file in files.items():
        publish(database, tmp_path / "files", file, name)
    rng = np.random.default_rng(11)
    with asked(database, tmp_path / "files", tmp_path / "server.log") as client:
        for name, file in files.items():
            with rasterio.open(file) as source:
                rows, columns = rng.integers(0, source.height, 300), rng.integers(0, source.width, 300)
                truth = source.read(1, masked=True)[rows, columns]
                x, y = source.transform * (columns + 0.5, rows + 0.5)
            places = transform(np.column_stack([x, y]), 32648)
            wkt = "MULTIPOINT(" + ",".join(f"({a!r} {b!r})" for a, b in places.tolist()) + ")"
            values = client.get(f"/collections/{name}/position", params={"coords": wkt, "f": "covjson"}).json()
            (told,) = values["ranges"].values()
            beyond = np.ma.getmaskarray(truth) | (np.asarray(truth) > 20)
            assert [v is None for v in told["values"]] == beyond.tolist()
            same = [
                v == pytest.approx(float(t), rel=1e-6)
                for v, t in zip(told["values"], truth, strict=True)
                if v is not None
            ]
            assert len(same) > 50 and all(same)
            for i in rng.choice(np.flatnonzero(~beyond), 12, replace=False):
                tile = mercantile.tile(*places[i], 18)
                drawn = picture(client.get(address(name, tile)))
                box = mercantile.xy_bounds(tile)
                mx, my = transform(places[i][None], 4326, 3857)[0]
                pixel = drawn[
                    int((box.top - my) / (box.top - box.bottom) * 256),
                    int((mx - box.left) / (box.right - box.left) * 256),
                ]
                if name == COVER:
                    codes = theme("land_cover").raster.codes
                    assert tuple(int(v) for v in pixel) == (*parse_color(COLORS[codes[int(truth[i])]]), 255)
                else:
                    assert (pixel[3] > 0) == (float(truth[i]) >= 0.01)
        assert client.get(f"/tiles/{COVER}/raster.json").json()["minzoom"] < 10
    database.writer.dispose()
    engine = sa.create_engine(cluster.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database.url.database} WITH (FORCE)"))
    engine.dispose()


def test_the_commands_of_the_documentation_work(served: Served, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "raster-api.md").read_text().replace("environment.elevation", GROUND)
    commands = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    assert len(commands) > 10
    script = "\n".join(commands).replace("http://127.0.0.1:8000", str(served.client.base_url).rstrip("/"))
    script = script.replace("environment.land_cover", COVER)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and '"status"' not in run.stdout, run.stdout + run.stderr
    assert Image.open(tmp_path / "tile.png").size == (256, 256) and Image.open(tmp_path / "tile.webp").size == (
        512,
        512,
    )


def test_schemathesis_finds_nothing_at_the_addresses_of_rasters(served: Served, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", ROOT / "tests/features/schemathesis.toml",
            "run", f"{served.client.base_url}/api", "--checks", "all", "--include-tag", "raster tiles",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--max-time", "6",
            "--generation-deterministic", "--no-color", "--warnings", "off", "--continue-on-failure",
        ],
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.raster_api_values", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    paths = served.client.get("/api").json()["paths"]
    routes = [path for path, operations in paths.items() if "raster tiles" in operations.get("get", {}).get("tags", ())]
    assert f"Tested: {len(routes)}" in run.stdout and len(routes) == 10
    # It did get further than the errors.
    counted = served.client.get("/metrics").text
    for route in routes:
        assert f'twin_requests_total{{method="GET",route="{route}",status="2xx"}}' in counted, route


def test_the_document_names_the_operations_of_rasters(http: httpx.Client) -> None:
    paths = json.loads(http.get("/api").content)["paths"]
    assert {"/tiles/{layer}/{z}/{x}/{y}.png", "/tiles/{layer}/{z}/{x}/{y}@2x.webp", "/tiles/{layer}/raster.json",
            "/collections/{layer}/map/tiles/WebMercatorQuad/{z}/{y}/{x}", "/collections/{layer}/map/legend",
            "/collections/{layer}/position"} <= set(paths)  # fmt: skip
    names = {p["name"] for path in paths.values() for o in path.values() for p in o.get("parameters", ())}
    assert not names & {"url", "path", "file", "src_path"}

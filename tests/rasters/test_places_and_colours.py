"""Each pixel of a tile lies where it belongs and has the right colour."""

from __future__ import annotations

import math
import os
from dataclasses import replace
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
from rasterio.warp import transform as rasterio_transform

from layers.palette import known_pixels, palette_of, parse_color
from layers.registry import theme
from tests.conftest import RUN, run_async
from tests.rasters.conftest import (
    BROKEN,
    CODES,
    COLORS,
    COVER,
    DEPTH,
    GROUND,
    LEVELLED,
    MIDDLE,
    NORTH,
    SIZE,
    VN_NORTH,
    VN_SIZE,
    VN_WEST,
    WEST,
    Served,
    address,
    asked,
    flooded,
    picture,
    pixel_at,
    place_of,
    slope,
)
from tests.test_raster_publish import classes, ground, publish, write
from tiles.raster.files import OpenRaster, RasterFiles
from tiles.raster.image import read_tile
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.raster_files import RasterFolder
from twin.crs import transform, with_shift
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text


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
    one = whole_permit(layer, replace(layer.current, raster=raster))  # type: ignore[arg-type,type-var]
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
    one = whole_permit(layer, version)  # type: ignore[arg-type]
    tile = mercantile.tile(*transform(np.array([[WEST + 60 * SIZE, NORTH - 45 * SIZE]]), 32648)[0], 15)

    def work(opened: OpenRaster) -> tuple[np.ndarray, np.ndarray]:
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

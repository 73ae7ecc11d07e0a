"""A raster on the map: drawn from its pixels, at its place, in the theme's colours."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from layers.palette import parse_color
from layers.registry import theme
from tests.conftest import RUN, LiveServer, serving
from tests.test_raster_publish import NORTH, SIZE, WEST, classes, publish, write
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.crs import transform
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text

pytestmark = pytest.mark.browser

COVER = "environment.land_cover"
LAND = np.array([243, 240, 233])
CODES = {1: "water", 2: "trees", 5: "crops", 7: "built", 11: "grass"}


@pytest.fixture(scope="module")
def raster_server(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    tmp = tmp_path_factory.mktemp("raster_map")
    database = Database(cluster.url(f"{os.environ[RUN]}_raster_map_{os.getpid()}"), private=True)
    migrate(database)
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Sở Tài nguyên và Môi trường"))
        ensure_layer(session, LayerEntry(COVER, "land_cover", Text(en="Cover", vi="Lớp phủ"), sharing=Sharing.OPEN))
    publish(database, tmp / "files", write(tmp / "phu.tif", classes()), COVER)
    with serving(database, tmp / "server.log", settings={"TWIN_RASTERS": str(tmp / "files")}) as server:
        yield server
    database.writer.dispose()


@pytest.mark.parametrize("zoom", [12.6, 14, 17.6])
def test_the_map_shows_a_raster_s_pixels_where_they_lie(page: Page, raster_server: LiveServer, zoom: float) -> None:
    row, column = 45, 60
    lng, lat = transform(np.array([[WEST + (column + 0.5) * SIZE, NORTH - (row + 0.5) * SIZE]]), 32648)[0]
    page.goto(f"{raster_server.url}/?lang=vi#{lng:.5f},{lat:.5f},{zoom},0,0;+{COVER}")
    page.evaluate("() => twin.idle()")
    drawn = [request for request in page.requests if COVER in request and "/tiles/" in request]
    assert drawn and all(request.endswith("@2x.webp") and f"{COVER}@1" in request for request in drawn)
    assert page.console_errors == []

    frame = page.locator("#map")
    shot = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("RGB")).astype(int)
    values, of = classes(), theme("land_cover")
    compared = 0
    # The middles of patches of five pixels of one class.
    middles = [(down + 2, right + 2) for down in range(0, 90, 5) for right in range(0, 120, 5)]
    places = transform(np.array([[WEST + (c + 0.5) * SIZE, NORTH - (r + 0.5) * SIZE] for r, c in middles]), 32648)
    points = page.evaluate("places => places.map(place => twin.map.viewport().project(place))", places.tolist())
    for (down, right), (x, y) in zip(middles, points, strict=True):
        if not (330 < x < 780 and 90 < y < 500):
            continue
        code = int(values[down, right])
        color = np.array(parse_color(of.style["fill"]["categories"][CODES[code]])) if code else LAND
        expected = of.style["opacity"] * color + (1 - of.style["opacity"]) * LAND
        assert np.abs(shot[int(y), int(x)] - expected).max() <= 4, (down, right, shot[int(y), int(x)], expected)
        compared += 1
    assert compared >= (1 if zoom > 16 else 8)
    # Nothing is blended, neither two classes nor a class with what is transparent.
    colors = np.array([parse_color(of.style["fill"]["categories"][term]) for term in CODES.values()])
    known = np.concatenate([of.style["opacity"] * colors + (1 - of.style["opacity"]) * LAND, LAND[None]])
    part = shot[90:500, 100:780].reshape(-1, 1, 3)
    assert (np.abs(part - known).max(axis=2).min(axis=1) > 6).mean() < 0.0005

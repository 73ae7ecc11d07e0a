"""Rasters of all kinds in one city, served by the program, and how their pictures are read."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import transform as rasterio_transform

from layers.registry import theme
from tests.conftest import RUN, serving
from tests.test_raster_publish import classes, ground, publish, write
from tests.test_versions import LAYER as LAMPS
from tests.test_versions import lamps
from tests.test_versions import publish as publish_features
from twin.access.keys import new_key
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.crs import with_shift
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.text import Text

COVER, GROUND, DEPTH, SECRET = "environment.cover", "environment.ground", "environment.depth", "environment.secret"
LEVELLED, BROKEN, CHANGING = "environment.levelled", "environment.broken", "environment.changing"
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


@pytest.fixture(scope="session")
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
            (CHANGING, "flood_depth"),
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
    for name in (DEPTH, CHANGING):
        publish(database, folder, write(tmp / "ngap.tif", flooded()), name)
    scaled = write(tmp / "cm.tif", (ground() * 100).astype(np.int16), nodata=-32768)
    with rasterio.open(scaled, "r+") as opened:
        opened.scales, opened.offsets = (0.01,), (1.0,)
    publish(database, folder, scaled, LEVELLED)
    for number in range(4):
        publish(database, folder, write(tmp / f"hong{number}.tif", ground(number)), BROKEN)
    with asked(database, folder, tmp / "server.log") as client:
        yield Served(client, database, folder, key)
    database.writer.dispose()


@pytest.fixture(scope="session")
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

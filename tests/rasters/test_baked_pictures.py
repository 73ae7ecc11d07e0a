"""Pictures of a raster in an archive: the same as the server's, served as an archive's tiles are."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
from PIL import Image
from pmtiles.reader import MmapSource, all_tiles
from pmtiles.reader import Reader as Archive
from pmtiles.tile import Compression, TileType

from tests.commands import run
from tests.conftest import serving
from tests.rasters.conftest import COVER, GROUND, MIDDLE, SECRET, Served, address, picture
from tests.test_versions import LAYER as LAMPS


def bake(served: Served, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "TWIN_DATABASE": str(served.database.url.database), "TWIN_ARCHIVES": str(folder), "TWIN_RASTERS": str(served.folder)
    }  # fmt: skip
    return run("--lang", "en", "tiles", "bake", *arguments, **settings)


@pytest.fixture(scope="module")
def folder(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for arguments in (
        (COVER, "--image", "png", "-o", str(folder / "cover.pmtiles")),
        (GROUND, "--style", "terrain-rgb", "-o", str(folder / "ground.pmtiles")),
        (SECRET, "--image", "webp", "--zoom", "12", "--not-open", "-o", str(folder / "secret.pmtiles")),
    ):
        done = bake(served, folder, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["tiles"] > 0
    return folder


@pytest.fixture(scope="module")
def http(served: Served, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The same city, with the archives."""
    settings = {"TWIN_RASTERS": str(served.folder), "TWIN_ARCHIVES": str(folder)}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with (
        serving(served.database, log, settings=settings) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("name", "layer", "asked"),
    [("cover", COVER, {}), ("ground", GROUND, {"style": "terrain-rgb"})],
)
def test_an_archive_of_pictures_holds_those_that_the_server_draws_at_the_zooms_of_the_raster(
    http: httpx.Client, folder: Path, name: str, layer: str, asked: dict[str, str]
) -> None:
    described = http.get(f"/tiles/{layer}/raster.json", params=asked).json()
    with (folder / f"{name}.pmtiles").open("rb") as file:
        source = MmapSource(file)
        archive = Archive(source)
        header = archive.header()
        assert (header["tile_type"], header["tile_compression"]) == (TileType.PNG, Compression.NONE)
        assert (header["min_zoom"], header["max_zoom"]) == (described["minzoom"], described["maxzoom"])
        places = [place for place, _ in all_tiles(source)]
        assert {z for z, _, _ in places} == set(range(described["minzoom"], described["maxzoom"] + 1))
        for z, x, y in places[:: max(1, len(places) // 40)]:
            answer = http.get(f"/tiles/{layer}/{z}/{x}/{y}.png", params=asked)
            assert archive.get(z, x, y) == answer.content
            baked = http.get(f"/archives/{name}/{z}/{x}/{y}.png")
            assert baked.content == answer.content and baked.headers["content-type"] == "image/png"
            assert "content-encoding" not in baked.headers


def test_nothing_that_shows_is_left_out_and_what_is_left_out_shows_nothing(http: httpx.Client, folder: Path) -> None:
    with (folder / "cover.pmtiles").open("rb") as file:
        places = {place for place, _ in all_tiles(MmapSource(file))}
    middle = mercantile.tile(*MIDDLE, max(z for z, _, _ in places))
    empty = 0
    for dx in range(-6, 7):
        for dy in range(-6, 7):
            tile = mercantile.Tile(middle.x + dx, middle.y + dy, middle.z)
            drawn = picture(http.get(address(COVER, tile)))
            assert bool(drawn[..., 3].any()) == ((tile.z, tile.x, tile.y) in places)
            baked = http.get(f"/archives/cover/{tile.z}/{tile.x}/{tile.y}.png")
            assert np.array_equal(picture(baked), drawn)
            empty += not drawn[..., 3].any()
    assert 0 < empty < 169


def test_archives_of_pictures_are_listed_and_asked_for_by_their_own_ending(http: httpx.Client) -> None:
    listed = {entry["id"]: entry for entry in http.get("/archives").json()["archives"]}
    # The layer is not open: neither is its archive.
    assert set(listed) == {"cover", "ground"}
    assert listed["cover"]["tiles"] == "/archives/cover/{z}/{x}/{y}.png"
    assert listed["cover"]["layers"] == [f"{COVER}@2"]
    z = listed["cover"]["minzoom"]
    tile = mercantile.tile(*MIDDLE, z)
    path = f"/archives/cover/{z}/{tile.x}/{tile.y}"
    first = http.get(f"{path}.png")
    assert http.get(f"{path}.png", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    wrong = http.get(f"{path}.webp", headers={"Accept-Language": "en"})
    assert wrong.status_code == 404 and "end with .png" in wrong.json()["detail"]
    assert http.get(f"{path}.exe").status_code == 400
    assert http.get(f"/archives/secret/12/{tile.x}/{tile.y}.webp").status_code == 404


def test_who_may_read_the_layer_may_read_its_pictures(http: httpx.Client, served: Served, folder: Path) -> None:
    with (folder / "secret.pmtiles").open("rb") as file:
        ((z, x, y), body) = next(iter(all_tiles(MmapSource(file))))
    answer = http.get(f"/archives/secret/{z}/{x}/{y}.webp", headers={"X-API-Key": served.key})
    assert answer.content == body and "private" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(body)).format == "WEBP"


def test_what_was_drawn_is_said_in_a_sentence(served: Served, tmp_path: Path) -> None:
    done = bake(served, tmp_path, COVER, "--image", "webp", "--zoom", "12")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r".*city\.pmtiles: \d+ pictures, [\d.]+ MB\.\n", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((COVER, GROUND, "--image", "png"), "one raster at a time"),
        ((LAMPS, "--image", "png"), "is not a raster"),
        ((COVER, "--style", "terrain-rgb"), "is for heights"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(
    served: Served, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = bake(served, tmp_path, *arguments)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())

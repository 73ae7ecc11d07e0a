"""Baked archives: the tiles of the server in one file, offered whole and tile by tile, under the same policy."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import httpx
import mapbox_vector_tile
import pytest
import zstandard
from pmtiles.reader import MmapSource, Reader, all_tiles
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from tests.commands import run
from tests.conftest import LiveServer, serving
from tests.test_sharing_over_http import eventually
from tests.test_versions import LAYER, lamps, layer, publish  # noqa: F401  # a fixture
from twin.catalogue.catalogue import LayerEntry, ensure_layer
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.text import Text

BOX = "106.72,10.765,106.745,10.79"


def twin(database: Database, folder: Path, *arguments: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    return run("--lang", lang, *arguments, TWIN_DATABASE=str(database.url.database), TWIN_ARCHIVES=str(folder))


@pytest.fixture(scope="module")
def folder(sample_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one archive of two layers."""
    folder = tmp_path_factory.mktemp("archives")
    done = twin(
        sample_database, folder, "tiles", "bake", "construction.buildings", "planning.wards", "--bbox", BOX,
        "--zoom", "11-16", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["archive"]) == folder / "city.pmtiles"
    assert said["tiles"] >= 8
    return folder


def test_an_archive_stores_no_empty_tiles(sample_database: Database, tmp_path: Path) -> None:
    """Around the features, where a tile is asked for and holds nothing: a reader takes what is not there as empty."""
    done = twin(sample_database, tmp_path, "tiles", "bake", "construction.buildings", "--zoom", "16", "--json")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "city.pmtiles").open("rb") as file:
        bodies = [gzip.decompress(body) for _, body in all_tiles(MmapSource(file))]
    assert len(bodies) == json.loads(done.stdout)["tiles"] > 10
    assert all(bodies)


def content(tile: bytes) -> dict[str, list[str]]:
    """What a tile shows, in an order of its own: PostGIS gives equal features in any."""
    layers = mapbox_vector_tile.decode(tile)
    return {name: sorted(json.dumps(f, sort_keys=True) for f in found["features"]) for name, found in layers.items()}


def test_an_archive_holds_exactly_the_tiles_that_the_server_serves(live_server: LiveServer, folder: Path) -> None:
    with (folder / "city.pmtiles").open("rb") as file:
        source = MmapSource(file)
        archive = Reader(source)
        header, metadata = archive.header(), archive.metadata()
        assert header["tile_type"] == TileType.MVT
        assert (header["min_zoom"], header["max_zoom"]) == (11, 16)
        assert {layer["id"] for layer in metadata["vector_layers"]} >= {"construction.buildings", "planning.wards"}
        tiles = [(place, body) for place, body in all_tiles(source)]
        assert {z for (z, _, _), _ in tiles} == set(range(11, 17))
        for (z, x, y), _ in tiles:
            body = archive.get(z, x, y)
            served = httpx.get(
                f"{live_server.url}/tiles/construction.buildings,planning.wards/{z}/{x}/{y}.mvt",
                headers={"Accept-Encoding": "gzip"},
                timeout=30,
            )
            assert content(gzip.decompress(body)) == content(served.content)
        # Nothing that holds something was left out.
        first = [place for place, _ in tiles if place[0] == 14]
        for z, x, y in first:
            for dx, dy in ((0, 1), (1, 0)):
                place = (z, x + dx, y + dy)
                if place in first or x + dx > max(p[1] for p in first) or y + dy > max(p[2] for p in first):
                    continue
                url = f"{live_server.url}/tiles/construction.buildings,planning.wards/{place[0]}/{place[1]}/{place[2]}.mvt"
                assert not mapbox_vector_tile.decode(httpx.get(url, timeout=30).content)


FOREIGN = b"a tile of another program"


def write_archive(path: Path, compression: Compression) -> None:
    with path.open("wb") as file:
        writer = Writer(file)
        body = zstandard.compress(FOREIGN) if compression is Compression.ZSTD else FOREIGN
        writer.write_tile(zxy_to_tileid(3, 1, 2), body)
        header = {"tile_type": TileType.MVT, "tile_compression": compression, "min_zoom": 3, "max_zoom": 3}
        box = {f"{side}_e7": 0 for side in ("min_lon", "min_lat", "max_lon", "max_lat", "center_lon", "center_lat")}
        writer.finalize(header | box | {"center_zoom": 3}, {})


def bake_lamps(database: Database, folder: Path, *arguments: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    return twin(database, folder, "tiles", "bake", LAYER, "--zoom", "14-16", *arguments, lang=lang)


def test_a_server_offers_its_archives_whole_in_ranges_and_tile_by_tile_until_a_layer_is_withdrawn(
    layer: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    publish(layer, lamps(300))
    assert bake_lamps(layer, tmp_path).returncode == 0
    path = tmp_path / "city.pmtiles"
    (tmp_path / "broken.pmtiles").write_bytes(b"not an archive")
    for compression in (Compression.NONE, Compression.ZSTD):
        write_archive(tmp_path / f"{compression.name.lower()}.pmtiles", compression)
    settings = {"TWIN_ARCHIVES": str(tmp_path)}
    with (
        serving(layer, tmp_path / "server.log", settings=settings) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        listed, *others = http.get("/archives").json()["archives"]
        assert (listed["id"], listed["layers"]) == ("city", [f"{LAYER}@1"])
        # Those of other programs, however they are compressed; and nobody gets what they did not accept.
        assert [other["id"] for other in others] == ["none", "zstd"]
        for name in ("none", "zstd"):
            for accept, said in (("gzip", None), ("zstd", None if name == "none" else "zstd"), ("br", None)):
                tile = http.get(f"/archives/{name}/3/1/2.mvt", headers={"Accept-Encoding": accept})
                assert tile.content == FOREIGN and tile.headers.get("content-encoding") == said
        assert listed["bytes"] == path.stat().st_size
        whole = http.get(listed["href"])
        assert whole.content == path.read_bytes()
        part = http.get(listed["href"], headers={"Range": "bytes=0-126", "Accept-Encoding": "gzip"})
        assert part.status_code == 206
        assert part.content == whole.content[:127]
        with path.open("rb") as file:
            z, x, y = next(place for place, _ in all_tiles(MmapSource(file)) if place[0] == 16)
        for accept in ("gzip", "identity", "br"):
            tile = http.get(f"/archives/city/{z}/{x}/{y}.mvt", headers={"Accept-Encoding": accept})
            assert len(mapbox_vector_tile.decode(tile.content)[LAYER]["features"]) > 0
        again = http.get(f"/archives/city/{z}/{x}/{y}.mvt", headers={"If-None-Match": tile.headers["etag"]})
        assert again.status_code == 304
        assert http.get("/archives/city/16/0/0.mvt").content == b""
        for wrong in ("broken.pmtiles", "nothing.pmtiles", "..%2Fcity.pmtiles", "broken/3/0/0.mvt", "city/9/999/0.mvt"):
            assert http.get(f"/archives/{wrong}").status_code in (400, 404), wrong
        with layer.session() as session:
            entry = LayerEntry(LAYER, "places", Text(en="Lamps", vi="Đèn đường"), sharing=Sharing.RESTRICTED)
            ensure_layer(session, entry)
        eventually(lambda: [a["id"] for a in http.get("/archives").json()["archives"]], ["none", "zstd"])
        assert http.get(f"/archives/city/{z}/{x}/{y}.mvt").status_code == 404
        assert http.get("/archives/city.pmtiles").status_code == 404


def test_a_layer_that_is_not_open_is_baked_only_if_that_is_meant(layer: Database, tmp_path: Path) -> None:  # noqa: F811
    publish(layer, lamps(10))
    with layer.session() as session:
        ensure_layer(session, LayerEntry(LAYER, "places", Text(en="Lamps", vi="Đèn"), sharing=Sharing.SHARED))
    refused = bake_lamps(layer, tmp_path, lang="vi")
    assert refused.returncode != 0 and "--not-open" in refused.stderr
    assert not list(tmp_path.iterdir())
    done = bake_lamps(layer, tmp_path, "--not-open")
    assert done.returncode == 0, done.stderr
    assert "tiles" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.here"], "There is no published layer"),
        (["planning.wards", "--zoom", "16-3"], "are no zooms"),
        (["planning.wards", "--bbox", "1,2,3"], "is no area"),
        (["planning.wards", "--bbox", "nan,2,3,4"], "is no area"),
        (["planning.wards@77"], "has no version 77"),
        (["planning.wards", "--bbox", "10,10,10.1,10.1", "--zoom", "10-11"], "nothing to bake"),
    ],
)
def test_what_cannot_be_baked_is_said_in_a_sentence(
    sample_database: Database, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = twin(sample_database, tmp_path, "tiles", "bake", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())

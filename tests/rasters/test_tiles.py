"""Addresses, forms and caching of raster tiles, and the documents that describe them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import httpx
import mercantile
import numpy as np
import pytest
from PIL import Image

from layers.registry import theme
from tests.conftest import ROOT
from tests.rasters.conftest import (
    CODES,
    COLORS,
    COVER,
    DEPTH,
    GROUND,
    MIDDLE,
    Served,
    address,
    picture,
)
from tests.test_versions import LAYER as LAMPS


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
        (f"/tiles/{COVER}/3/8/1.png", 404), (f"/tiles/{COVER}/23/0/0.png", 400), (f"/tiles/{COVER}/3/x/1.png", 400),
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
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.rasters.api_values", "PYTHONPATH": str(ROOT)},
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

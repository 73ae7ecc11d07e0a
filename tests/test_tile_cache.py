"""Tiles in memory: compressed as the client likes, made once, bounded, and gone with their version."""

from __future__ import annotations

import asyncio
import gc
import gzip
import math
import os
from pathlib import Path
from typing import Any

import asyncpg
import brotli
import geopandas as gpd
import httpx
import mapbox_vector_tile
import mercantile
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from layers.registry import theme
from tests.conftest import LiveServer, run_async
from tests.test_versions import LAYER, catalogue, lamps, layer, publish  # noqa: F401  # a fixture
from tiles.http import content_encoding as encodings
from tiles.http.content_encoding import OFFERED, Encoding, decode, encode
from tiles.http.server import CityContext
from tiles.vector.fast_path import TileFastPathMiddleware
from tiles.vector.mvt import make_tile
from tiles.vector.tile_cache import CachedTile, TileCache
from twin.access.permit import operator_permits, whole_permit
from twin.catalogue.catalogue import read_catalogue
from twin.config import load_settings
from twin.db.database import Database

BODY = b"a tile of some length, " * 100


def key(version: int, x: int = 0) -> tuple[tuple[int, ...], str, int, int, int]:
    return (version,), "WebMercatorQuad", 12, x, 0


def made(body: bytes = BODY) -> CachedTile:
    return CachedTile((), {"gzip": encode(body, "gzip")})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0.1, gzip;q=0.9", "gzip"),
        ("zstd", "zstd"),
        ("*", "br"),
        ("identity", "identity"),
        ("", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=nonsense", "identity"),
        ("br;q=0, *", "zstd"),
    ],
)
def test_the_encoding_is_the_one_that_the_client_likes_best(accept: str, expected: str) -> None:
    assert encodings.chosen(accept) == expected


@given(st.text(max_size=60))
def test_any_header_leads_to_an_encoding_that_is_offered(accept: str) -> None:
    assert encodings.chosen(accept) in OFFERED


@given(body=st.binary(max_size=3000), encoding=st.sampled_from(OFFERED))
def test_a_body_comes_out_of_its_encoding_as_it_went_in(body: bytes, encoding: encodings.Encoding) -> None:
    assert decode(encode(body, encoding), encoding) == body


def test_a_tile_is_made_once_for_all_who_ask_at_the_same_time_and_one_who_leaves_stops_nobody() -> None:
    async def play() -> tuple[int, list[bytes]]:
        cache, calls = TileCache(10**6), 0

        async def make() -> CachedTile:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.05)
            return made()

        asking = [asyncio.create_task(cache.fetch(key(1), e, make)) for e in ("gzip", "br", "gzip", "zstd")]
        await asyncio.sleep(0.01)
        asking[0].cancel()
        answers = await asyncio.gather(*asking[1:])
        return calls, [decode(body, e) for (_, body), e in zip(answers, ("br", "gzip", "zstd"), strict=True)]

    calls, bodies = run_async(play())
    assert calls == 1
    assert set(bodies) == {BODY}


def test_a_tile_that_could_not_be_made_is_tried_again() -> None:
    async def play() -> bytes:
        cache = TileCache(10**6)

        async def fail() -> CachedTile:
            raise ConnectionError("gone")

        async def make() -> CachedTile:
            return made()

        with pytest.raises(ConnectionError):
            await cache.fetch(key(1), "gzip", fail)
        return (await cache.fetch(key(1), "gzip", make))[1]

    assert gzip.decompress(run_async(play())) == BODY


@given(
    requests=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.sampled_from(OFFERED)), max_size=120),
    gone=st.sets(st.integers(1, 4)),
)
def test_memory_stays_bounded_and_exactly_the_tiles_of_a_gone_version_leave(
    requests: list[tuple[int, int, encodings.Encoding]], gone: set[int]
) -> None:
    limit = 12_000

    async def play() -> None:
        cache = TileCache(limit)
        for version, x, encoding in requests:
            body = f"{version}/{x}/".encode() + os.urandom(400)

            async def make(body: bytes = body) -> CachedTile:
                return made(body)

            _, found = await cache.fetch(key(version, x), encoding, make)
            assert decode(found, encoding).startswith(f"{version}/{x}/".encode())
            assert cache.size <= limit
            assert cache.size == sum(tile.size() for tile in cache._tiles.values())
        stayed = {k for k in cache._tiles if k[0][0] not in gone}
        cache.evict(gone)
        assert set(cache._tiles) == stayed
        assert cache.size == sum(tile.size() for tile in cache._tiles.values())
        assert set(cache._of_version) == {k[0][0] for k in stayed}

    run_async(play())


def tile_path(lng: float, lat: float, z: int) -> str:
    x = int((lng + 180) / 360 * 2**z)
    y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z)
    return f"/tiles/construction.buildings/{z}/{x}/{y}.mvt"


def test_the_same_tile_comes_in_every_encoding_first_made_then_from_memory(live_server: LiveServer) -> None:
    undo = {
        "br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstandard.decompress, "identity": bytes,
    }  # fmt: skip
    url = live_server.url + tile_path(106.7335, 10.7765, 15)
    bodies, tags = set(), set()
    for _ in range(2):
        for encoding, decoded in undo.items():
            with httpx.stream("GET", url, headers={"Accept-Encoding": encoding}, timeout=30) as answer:
                raw = b"".join(answer.iter_raw())
            assert answer.status_code == 200
            assert answer.headers.get("content-encoding", "identity") == encoding
            assert "Accept-Encoding" in answer.headers["vary"]
            bodies.add(decoded(raw))
            tags.add(answer.headers["etag"])
    assert len(bodies) == len(tags) == 1
    assert httpx.get(url, headers={"If-None-Match": tags.pop()}).status_code == 304
    head = httpx.head(url, headers={"Accept-Encoding": "br"})
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 0


TILE = (16, 52192, 30818)


def crowd(count: int) -> gpd.GeoDataFrame:
    """Places within one tile of zoom 16, the later the more important."""
    west, south, east, north = mercantile.bounds(TILE[1], TILE[2], TILE[0])
    rng = np.random.default_rng(5)
    x, y = rng.uniform(west, east, count), rng.uniform(south, north, count)
    return (
        lamps(count).set_geometry(gpd.points_from_xy(x, y, crs=4326)).assign(importance=np.arange(count, dtype=float))
    )


def made_tile(database: Database) -> tuple[CachedTile, dict[str, Any]]:
    found = catalogue(database)
    assert found.current is not None

    async def make() -> CachedTile:
        connection = await asyncpg.connect(**database.asyncpg_options("reader"))
        try:
            return await make_tile(connection, [whole_permit(found, found.current)], *TILE)
        finally:
            await connection.close()

    tile = run_async(make())
    return tile, mapbox_vector_tile.decode(gzip.decompress(tile.encoded["gzip"]))


def test_a_tile_without_room_for_all_features_keeps_the_most_important_and_says_so_itself(layer: Database) -> None:  # noqa: F811
    room = theme("places").details[-1].limit
    publish(layer, crowd(room - 1))
    tile, layers = made_tile(layer)
    assert tile.cut == () and set(layers) == {LAYER}
    assert len(layers[LAYER]["features"]) == room - 1
    publish(layer, crowd(room + 500))
    tile, layers = made_tile(layer)
    assert tile.cut == (LAYER,)
    assert [f["properties"] for f in layers[f"{LAYER}:cut"]["features"]] == [{"cut": True}]
    shown = {f["id"] for f in layers[LAYER]["features"]}
    assert shown == set(range(500, room + 501))


def test_a_tile_over_its_budget_of_bytes_is_made_again_with_fewer_features(
    layer: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(layer, crowd(1500))
    whole, layers = made_tile(layer)
    assert whole.cut == () and len(layers[LAYER]["features"]) == 1500
    budget = len(whole.encoded["gzip"]) // 3
    monkeypatch.setattr("tiles.vector.mvt.TILE_BYTES", budget)
    small, layers = made_tile(layer)
    assert len(small.encoded["gzip"]) <= budget
    assert small.cut == (LAYER,)
    shown = sorted(f["id"] for f in layers[LAYER]["features"])
    assert 100 < len(shown) < 1000 and shown == list(range(1501 - len(shown), 1501))


def test_a_cut_tile_is_named_in_its_header(live_server: LiveServer) -> None:
    url = live_server.url + tile_path(106.7335, 10.7765, 15)
    answer = httpx.get(url, timeout=30)
    named = set(filter(None, answer.headers.get("x-tile-cut", "").split(",")))
    marked = {name.removesuffix(":cut") for name in mapbox_vector_tile.decode(answer.content) if name.endswith(":cut")}
    assert named == marked


def test_the_log_of_cached_tiles_is_clean_for_odd_requests(live_server: LiveServer, tmp_path: Path) -> None:
    base = live_server.url
    path = tile_path(106.7335, 10.7765, 15)
    assert httpx.get(base + path).status_code == 200
    assert httpx.get(base + path, headers={"X-API-Key": "nonsense"}).status_code == 401
    assert httpx.get(base + path, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert httpx.get(base + path, headers={"Authorization": "Basic eDp5"}).status_code == 200
    assert httpx.get(base + path.replace("buildings", "nothing")).status_code == 404
    assert httpx.get(base + "/tiles/construction.buildings/23/0/0.mvt").status_code == 400
    assert httpx.get(base + "/tiles/construction.buildings@99/15/0/0.mvt").status_code == 404


def test_what_an_address_means_keeps_no_tile_alive_that_the_cache_has_dropped(sample_database: Database) -> None:
    """Or a server would hold every tile that was ever asked for, whatever its limit."""

    async def ask() -> list[int]:
        city = CityContext(load_settings(), sample_database)
        city.tiles = TileCache(100_000)
        await city.refresh()
        short = TileFastPathMiddleware(never, city)
        before = sum(isinstance(held, CachedTile) for held in gc.get_objects())
        center = mercantile.tile(106.7335, 10.7765, 15)
        for x in range(center.x - 8, center.x + 8):
            for y in range(center.y - 8, center.y + 8):
                await fetch_short(
                    short, f"/tiles/construction.buildings,transport.roads,planning.zoning/15/{x}/{y}.mvt"
                )
        gc.collect()
        alive = sum(isinstance(held, CachedTile) for held in gc.get_objects()) - before
        found = [alive, len(city.tiles), city.tiles.evicted]
        for pool in city._pools.values():
            await pool.close()
        return found

    alive, kept, dropped = run_async(ask())
    assert dropped > 10
    assert alive == kept


async def never(*_: object) -> None:
    raise AssertionError("the short way answers all of these")


async def fetch_short(short: TileFastPathMiddleware, path: str) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: object) -> None:
        pass

    headers = [(b"accept-encoding", b"gzip")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    await short(scope, receive, send)


# The budget of a whole tile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["identity", "gzip", "br", "zstd"])
def test_the_budget_holds_for_all_layers_of_a_tile_together(
    sample_database: Database, monkeypatch: pytest.MonkeyPatch, encoding: Encoding
) -> None:
    """Each layer alone is far below its own limit of features; together they are over the budget of bytes."""
    with sample_database.session() as session:
        layers = read_catalogue(session)
    chosen = operator_permits(layers, sorted(name for name, found in layers.items() if found.current))
    tile_of_all = mercantile.tile(106.7335, 10.7765, 14)

    async def make() -> CachedTile:
        connection = await asyncpg.connect(**sample_database.asyncpg_options("reader"))
        try:
            return await make_tile(connection, chosen, tile_of_all.z, tile_of_all.x, tile_of_all.y, encoding)
        finally:
            await connection.close()

    whole = gzip_size(run_async(make()))
    shown = []
    for budget in (whole + 10_000, whole // 2, whole // 4, whole // 8, 6_000):
        monkeypatch.setattr("tiles.vector.mvt.TILE_BYTES", budget)
        small = run_async(make())
        assert gzip_size(small) <= budget, budget
        shown.append(len(mapbox_vector_tile.decode(decode(small.encoded[encoding], encoding))))
    assert shown[1] > 5


def gzip_size(tile: CachedTile) -> int:
    (encoding,) = tile.encoded
    return len(encode(decode(tile.encoded[encoding], encoding), "gzip"))


def test_a_feature_that_is_larger_than_the_budget_is_left_out_and_named(
    layer: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(layer, crowd(1))
    monkeypatch.setattr("tiles.vector.mvt.TILE_BYTES", 10)
    tile, layers = made_tile(layer)
    assert tile.cut == (LAYER,) and set(layers) == {f"{LAYER}:cut"}

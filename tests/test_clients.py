"""What a server owes its clients as a whole: limits for those who ask too often, other sites' pages, a decent end."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import LiveServer, run_async, serving
from tests.test_sharing_over_http import key
from tiles.app import create_app
from tiles.http.rate_limits import MINUTE, MinuteWindow
from tiles.publishing import requests as writing
from twin.config import load_settings
from twin.db.database import Database

TILE = "/tiles/construction.buildings/15/26104/15382.mvt"


def within_a_minute(needed: float = 25) -> None:
    """Wait for the next minute of the server's clock if this one is nearly over: the counts are then exact."""
    left = MINUTE - time.monotonic() % MINUTE
    if left < needed:
        time.sleep(left)


@given(st.lists(st.floats(0, 20), max_size=400), st.integers(1, 30))
def test_nobody_gets_more_than_twice_the_limit_in_any_minute_and_all_of_it_when_they_keep_to_it(
    pauses: list[float], limit: int
) -> None:
    """The window slides by a count of two minutes: exact for a steady reader, never far off for any."""
    counts, clock, allowed = MinuteWindow(), 1000.0, []
    for pause in pauses:
        clock += pause
        if counts.hit("a", limit, clock):
            allowed.append(clock)
    for start in allowed:
        assert sum(start <= at < start + MINUTE for at in allowed) <= 2 * limit
    # Whoever keeps to half of the limit is never refused, and is not counted with others.
    steady, clock = MinuteWindow(), 1000.0
    for _ in range(3 * limit):
        clock += 2 * MINUTE / limit
        assert steady.hit("b", limit, clock)
        steady.hit("somebody else", 1, clock)


def test_an_address_that_asks_too_often_is_told_when_to_come_back(sample_database: Database, tmp_path: Path) -> None:
    settings = {"TWIN_RATE_LIMIT": "20", "TWIN_RATE_LIMIT_KEY": "40"}
    within_a_minute()
    with (
        serving(sample_database, tmp_path / "log", settings=settings) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        for n in range(20):
            assert http.get(TILE if n % 2 else "/collections").status_code == 200
        refused = http.get(TILE, headers={"Accept-Language": "vi"})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "20 yêu cầu" in refused.json()["detail"]
        assert refused.headers["cache-control"] == "no-store"
        # Pages of other sites can read it, and operators see it.
        assert refused.headers["access-control-allow-origin"] == "*"
        assert refused.headers["x-request-id"]
        # Probes are never refused; nor is somebody else, whom a proxy that nobody trusts cannot make up.
        assert http.get("/health").status_code == 200
        assert http.get("/metrics").status_code == 200
        assert http.get(TILE, headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 429
        # A wrong key is no way around; a valid one has a count of its own.
        assert http.get("/collections", headers={"X-API-Key": "twin_wrong"}).status_code == 429
        token = key(server, "transport")
        # The server hears of a new key by itself.
        time.sleep(0.5)
        mine = [http.get(TILE, headers={"Authorization": f"Bearer {token}"}).status_code for _ in range(41)]
        assert mine == [200] * 40 + [429]


def test_behind_a_trusted_proxy_the_reader_s_own_address_counts(sample_database: Database, tmp_path: Path) -> None:
    settings = {"TWIN_RATE_LIMIT": "5", "TWIN_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    within_a_minute()
    with (
        serving(sample_database, tmp_path / "log", settings=settings) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        for address in ("203.0.113.7", "203.0.113.8", "2001:db8::1, 10.1.2.3"):
            mine = [http.get(TILE, headers={"X-Forwarded-For": address}).status_code for _ in range(6)]
            assert mine == [200] * 5 + [429], address
        # An IPv6 customer has a whole network: another address of it is nobody else.
        assert http.get(TILE, headers={"X-Forwarded-For": "2001:db8::2"}).status_code == 429
        assert http.get(TILE, headers={"X-Forwarded-For": "2001:db8:0:1::2"}).status_code == 200
        described = http.get(
            "/landing", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        ).json()
        assert all(link["href"].startswith("https://") for link in described["links"])


@pytest.mark.parametrize("path", [TILE, "/collections", "/collections/none.such", "/api", "/health"])
@pytest.mark.parametrize("origin", [None, "https://maps.example"])
def test_pages_of_other_sites_may_read_every_answer(live_server: LiveServer, path: str, origin: str | None) -> None:
    """Without `Origin` as well: a cache in between keeps one answer for all."""
    answer = httpx.get(live_server.url + path, headers={"Origin": origin} if origin else {})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_a_browser_s_question_before_a_request_with_a_key_is_answered(live_server: LiveServer) -> None:
    asked = {
        "Origin": "https://maps.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, tus-resumable, upload-offset",
    }
    answer = httpx.options(live_server.url + "/uploads/x", headers=asked)
    assert answer.status_code == 200
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    # What is no such question goes on to the address.
    assert httpx.options(live_server.url + "/uploads").headers["tus-version"] == "1.0.0"


def test_only_the_sites_that_are_named_may_read(sample_database: Database, tmp_path: Path) -> None:
    settings = {"TWIN_CORS_ORIGINS": "https://maps.example, https://open.example"}
    with serving(sample_database, tmp_path / "log", settings=settings) as server:
        named = httpx.get(server.url + TILE, headers={"Origin": "https://open.example"})
        assert named.headers["access-control-allow-origin"] == "https://open.example"
        assert "origin" in named.headers["vary"].lower()
        other = httpx.get(server.url + TILE, headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_a_server_that_is_asked_to_stop_ends_what_it_has_begun(sample_database: Database, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(sample_database, log) as server:
        whole = len(httpx.get(server.url + "/collections/construction.buildings/items?f=ndjson", timeout=60).content)
        got = bytearray()
        begun = threading.Event()

        def download() -> None:
            with httpx.stream(
                "GET", server.url + "/collections/construction.buildings/items?f=ndjson", timeout=60,
                headers={"Accept-Encoding": "identity"},
            ) as answer:  # fmt: skip
                for chunk in answer.iter_bytes(65_536):
                    got.extend(chunk)
                    begun.set()
                    time.sleep(0.01)

        reader = threading.Thread(target=download)
        reader.start()
        assert begun.wait(30)
        server.process.send_signal(signal.SIGTERM)
        reader.join(30)
        assert not reader.is_alive()
        assert len(got) == whole
        assert server.process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/health")


def test_a_client_that_stops_in_the_middle_of_a_request_is_let_go(
    sample_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the middleware itself: half a minute is too long for a test."""
    monkeypatch.setattr(writing, "BODY_SECONDS", 0.2)
    database = sample_database
    app = create_app(load_settings(), database)
    sent: list[dict] = []

    async def silence() -> dict:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/jobs", "raw_path": b"/jobs", "query_string": b"", "scheme": "http",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100"), (b"host", b"a.test")],
        "http_version": "1.1", "server": ("a.test", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    start = time.monotonic()
    run_async(app(scope, silence, send))
    assert time.monotonic() - start < 20
    assert sent[0]["status"] == 408

"""The Python client follows a server: typed events, breaks that are bridged, refusals that are said."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer, serving
from tests.live.test_stream import change, made, publish, server, working_key  # noqa: F401  # fixtures
from tests.test_sharing_over_http import LAYER, OPEN, eventually
from twin.access.keys import revoke_key
from twin.catalogue.versions import rollback
from twin.client import Current, LayerChange, Twin
from twin.db.database import Database
from twin.errors import BadInput, NotFound, Unauthenticated, Unavailable


def test_events_come_typed_and_first_what_is_current(server: LiveServer) -> None:  # noqa: F811
    with Twin(server.url) as city:
        events = city.live()
        first = next(events)
        assert isinstance(first, Current) and LAYER not in first.layers
        publish(server.database, OPEN)
        second = next(events)
        assert isinstance(second, LayerChange)
        about = city.layer(OPEN).describe()
        assert (second.layer, second.kind, second.version) == (OPEN, "published", about.version)
        assert about.version > first.layers[OPEN]
        assert isinstance(second.published, datetime) and second.published == about.published
        events.close()
        narrow = city.live([OPEN])
        assert next(narrow) == Current({OPEN: second.version})


def test_a_layer_is_watched_through_its_versions(server: LiveServer) -> None:  # noqa: F811
    with Twin(server.url) as city:
        watched = city.layer(OPEN).watch()
        first = next(watched)
        change(server.database, OPEN, attribution=f"somebody {time.time()}")
        publish(server.database, OPEN)
        assert next(watched).version > first.version
        rollback(server.database, OPEN, first.version, "a test")
        assert next(watched).version == first.version


def test_a_layer_that_is_hidden_ends_the_watch(server: LiveServer) -> None:  # noqa: F811
    with Twin(server.url) as city:
        watched = city.layer(OPEN).watch()
        next(watched)
        change(server.database, OPEN, sharing="restricted")
        try:
            with pytest.raises(NotFound, match=OPEN):
                next(watched)
        finally:
            change(server.database, OPEN, sharing="open")
        for missing in (LAYER, "no.such"):
            with pytest.raises(NotFound, match=missing):
                next(city.layer(missing).watch())


def test_a_key_that_is_revoked_ends_with_the_server_s_words(server: LiveServer) -> None:  # noqa: F811
    token = working_key(server, "transport")
    with Twin(server.url, token) as city:
        events = city.live()
        assert LAYER in next(events).layers  # type: ignore[union-attr]
        with server.database.session() as session:
            revoke_key(session, token, "a test")
        with pytest.raises(Unauthenticated):
            next(events)


def test_a_server_that_comes_again_is_followed_again(
    made: Database,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(made, tmp_path / "first.log") as first:
        port = int(first.url.rsplit(":", 1)[1])
        eventually(lambda: httpx.get(f"{first.url}/live?once=true").status_code, 200)
        city = Twin(first.url, patience=40)
        events = city.live([OPEN])
        before = next(events)
        assert isinstance(before, Current)
    publish(made, OPEN)
    monkeypatch.setattr("tests.conftest.free_port", lambda: port)
    with serving(made, tmp_path / "second.log"):
        after = next(events)
        assert isinstance(after, Current) and after.layers[OPEN] > before.layers[OPEN]
    city.close()


# A server that is not ours, or one that breaks off -------------------------------------------------------------------


@contextmanager
def saying(*answers: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that gives these answers one after the other, the last one for ever; with the headers it was sent."""
    left, requests = iter(itertools.chain(answers, itertools.repeat(answers[-1]))), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append({name.lower(): value for name, value in self.headers.items()})
            next(left)(self)

        def log_message(self, *_: object) -> None:
            pass

    speaking = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=speaking.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{speaking.server_port}", requests
    finally:
        speaking.shutdown()
        speaking.server_close()


def stream(text: bytes, kind: str = "text/event-stream") -> Callable[[BaseHTTPRequestHandler], None]:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        # In small pieces, as a network may cut it.
        for at in range(0, len(text), 7):
            handler.wfile.write(text[at : at + 7])
            handler.wfile.flush()

    return say


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return say


def layer(name: str, version: int, state: str = "") -> bytes:
    data = f'{{"layer":"{name}","kind":"published","version":{version},"published":"2026-11-21T02:00:00Z"}}'
    return f"{f'id: {state}' if state else ':'}\nevent: layer\ndata: {data}\n\n".encode()


def versions(url: str, count: int) -> list[Any]:
    with Twin(url, patience=5) as city:
        return [event.version for event in itertools.islice(city.live(), count) if isinstance(event, LayerChange)]


def test_after_a_break_the_server_is_told_what_was_read_last() -> None:
    broken = b"retry: 50\n\n" + layer("a.b", 1, "one") + layer("a.b", 2) + b"event: layer\ndata: {"
    with saying(stream(broken), stream(layer("a.b", 3, "three"))) as (url, requests):
        begun = time.monotonic()
        assert versions(url, 4) == [1, 2, 3, 3]
        assert time.monotonic() - begun < 2
    assert "last-event-id" not in requests[0]
    # The second event was told without a state of its own: the first one is the last that is whole.
    assert [a["last-event-id"] for a in requests[1:3]] == ["one", "three"]
    assert {a["accept"] for a in requests} == {"text/event-stream"}


def test_the_server_says_how_long_to_wait() -> None:
    with saying(stream(b"retry: 900\n\n" + layer("a.b", 1)), stream(layer("a.b", 2))) as (url, _):
        begun = time.monotonic()
        assert versions(url, 2) == [1, 2]
        assert 0.7 <= time.monotonic() - begun < 3


def test_what_passes_is_waited_for_and_what_is_not_known_is_left_out() -> None:
    unknown = b": \xc4\x91\xc3\xa8n\n\nevent: observation\ndata: 1\ndata: 2\n\ndata: plain\n\nfoo: bar\n\n"
    mixed = unknown + layer("a.b", 1).replace(b"\n", b"\r\n")
    with saying(status(503), status(429, Retry_After="1"), stream(mixed)) as (url, requests):
        begun = time.monotonic()
        assert versions(url, 1) == [1]
        assert len(requests) == 3 and 1 < time.monotonic() - begun < 4


def test_what_does_not_pass_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = [stream(b"event: layer\ndata: {}\n\n"), stream(b"event: current\ndata: [1]\n\n")]
    for answer in (stream(b"<html>", "text/html"), status(302, Location="/"), *nonsense):
        with saying(answer) as (url, _), Twin(url) as city, pytest.raises(BadInput):
            next(city.live())
    with saying(status(500)) as (url, requests), Twin(url) as city, pytest.raises(Unavailable):
        next(city.live())
    assert len(requests) == 1
    with Twin("http://127.0.0.1:9", patience=0.5) as city, pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        next(city.live())
    monkeypatch.setattr("twin.client.live.SILENCE", 0.3)
    with saying(lambda _: time.sleep(1)) as (url, _), Twin(url, patience=0.5) as city, pytest.raises(Unavailable):
        next(city.live())

"""An open map takes over what agencies publish, by itself and at once, and leaves the reader where he is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import LiveServer
from tests.live.test_stream import change, made, server  # noqa: F401  # fixtures
from tests.test_operations import numbers
from tests.test_sharing_over_http import LAYER, OPEN, eventually
from tests.test_versions import lamps, shape
from twin.catalogue.staging import Provenance, Staging
from twin.catalogue.versions import rollback
from twin.db.database import Database

pytestmark = pytest.mark.browser

POINTS = """() => twin.map.sources().flatMap(layer => layer.shownTiles())
    .reduce((sum, tile) => sum + tile.points.length, 0)"""
NOTICE = ".toast[data-kind=news]"


def publish(database: Database, layer: str, name: str, count: int = 60) -> None:
    with Staging(database, layer, shape(), Provenance("a test", "made up")) as staging:
        staging.append(lamps(count, name=name))
        staging.publish()


@pytest.fixture
def open_map(page: Page, server: LiveServer) -> Callable[..., Page]:  # noqa: F811
    """The map over the lamps, drawn and following."""
    publish(server.database, OPEN, "Đèn cũ")

    def open_at(address: str = "/?lang=vi#106.7030,10.7702,16.5,20,10") -> Page:
        page.goto(server.url + address)
        page.evaluate("() => twin.idle()")
        page.wait_for_function("() => twin.live() === EventSource.OPEN")
        page.wait_for_function("() => twin.labels().includes('Đèn cũ')")
        return page

    return open_at


@contextmanager
def nothing_but(page: Page, *allowed: str) -> Iterator[None]:
    """What the page asks for meanwhile is of these kinds only."""
    before = len(page.requests)
    yield
    assert [url for url in page.requests[before:] if not any(part in url for part in allowed)] == []


def test_a_new_version_is_on_the_map_at_once_and_the_view_stays(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.evaluate("() => twin.idle()")
    view = page.evaluate("() => twin.map.view")
    page.evaluate(
        f"""() => {{
            window.fewest = Infinity;
            const look = () => {{
                window.fewest = Math.min(window.fewest, ({POINTS})());
                window.looking = requestAnimationFrame(look);
            }};
            look();
        }}"""
    )
    publish(server.database, OPEN, "Đèn mới", 90)
    page.wait_for_function("() => twin.labels().includes('Đèn mới')", timeout=5_000)
    expect(page.locator(NOTICE)).to_contain_text("vừa được cập nhật")
    version = httpx.get(f"{server.url}/collections/{OPEN}").json()["version"]
    expect(page.locator(NOTICE)).to_contain_text(f"phiên bản {version}")
    page.evaluate("() => twin.idle()")
    assert page.evaluate("() => twin.labels().includes('Đèn cũ')") is False
    # At no moment was the map without its points.
    assert page.evaluate("() => (cancelAnimationFrame(window.looking), window.fewest)") >= 30
    assert page.evaluate("() => twin.map.view") == view
    assert page.console_errors == []


def test_a_rollback_is_told_as_such_in_the_readers_language(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map("/?lang=en#106.7030,10.7702,16.5,0,0")
    before = httpx.get(f"{server.url}/collections/{OPEN}").json()["versions"][-2]
    rollback(server.database, OPEN, before, "a test")
    expect(page.locator(NOTICE)).to_contain_text(f"went back to version {before}")
    expect(page.locator(NOTICE)).to_be_hidden(timeout=12_000)


def test_a_layer_that_is_hidden_leaves_the_map_and_comes_back_when_it_is_shared(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map()
    box = page.locator(f'#panel [data-layer="{OPEN}"]')
    expect(box).to_be_attached()
    change(server.database, OPEN, sharing="restricted")
    try:
        expect(box).to_have_count(0)
        expect(page.locator(NOTICE)).to_contain_text("không còn được chia sẻ")
        page.evaluate("() => twin.idle()")
        assert page.evaluate("() => twin.map.sources().map(s => s.props.collection)") == []
        assert page.evaluate(POINTS) == 0
    finally:
        change(server.database, OPEN, sharing="open")
    expect(box).to_be_checked()
    page.wait_for_function("() => twin.labels().includes('Đèn cũ')")
    assert page.console_errors == []


def test_a_layer_that_is_switched_off_stays_off_and_is_not_spoken_of(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map()
    if page.locator("#panel").is_hidden():
        page.click("#layers-button")
    box = page.locator(f'#panel [data-layer="{OPEN}"]')
    box.uncheck()
    with page.expect_response("**/deck.json?*"):
        publish(server.database, OPEN, "Đèn tắt")
    page.evaluate("() => twin.idle()")
    expect(box).not_to_be_checked()
    assert page.evaluate(POINTS) == 0
    assert page.locator(NOTICE).count() == 0


def test_a_card_that_is_open_tells_the_new_version(open_map: Callable[..., Page], server: LiveServer) -> None:  # noqa: F811
    page = open_map("/?lang=vi#106.7020,10.7700,17,0,0")
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    layer = page.locator(f'#card [data-layer="{OPEN}"]')
    expect(layer).to_be_visible()
    publish(server.database, OPEN, "Đèn trong thẻ")
    version = httpx.get(f"{server.url}/collections/{OPEN}").json()["version"]
    expect(layer.locator(".card-meta").last).to_contain_text(f"phiên bản {version}")


def test_nothing_is_asked_while_nothing_that_the_reader_sees_changes(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map()
    with nothing_but(page):
        publish(server.database, LAYER, "Đèn kín")
        page.wait_for_timeout(1_500)


def test_a_page_that_nobody_looks_at_gives_its_connection_back_and_catches_up_later(
    open_map: Callable[..., Page],
    server: LiveServer,  # noqa: F811
) -> None:
    page = open_map()
    state = "state => { Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });"
    state += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(state, "hidden")
    page.wait_for_function("() => twin.live() === EventSource.CLOSED", timeout=10_000)
    eventually(lambda: numbers(httpx.get(f"{server.url}/metrics").text)["twin_live_streams"], 0)
    publish(server.database, OPEN, "Đèn khi vắng")
    began = time.monotonic()
    page.evaluate(state, "visible")
    page.wait_for_function("() => twin.labels().includes('Đèn khi vắng')", timeout=5_000)
    assert time.monotonic() - began < 5


def test_the_map_finds_a_server_again_that_was_away(
    page: Page,
    made: Database,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.conftest import serving

    publish(made, OPEN, "Đèn cũ")
    with serving(made, tmp_path / "first.log") as first:
        page.goto(first.url + "/?lang=vi#106.7030,10.7702,16.5,0,0")
        page.evaluate("() => twin.idle()")
        page.wait_for_function("() => twin.labels().includes('Đèn cũ')")
    publish(made, OPEN, "Đèn sau đó")
    port = int(first.url.rsplit(":", 1)[1])
    monkeypatch.setattr("tests.conftest.free_port", lambda: port)
    with serving(made, tmp_path / "second.log"):
        page.wait_for_function("() => twin.labels().includes('Đèn sau đó')", timeout=40_000)

"""The map page as a reader meets it, in a real browser on the sample city."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import mapbox_vector_tile
import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import fresh_page

pytestmark = pytest.mark.browser

BUILDINGS = """() => twin.map.sources()
    .filter(layer => layer.props.style.extrude)
    .flatMap(layer => layer.shownTiles())
    .reduce((sum, tile) => sum + tile.fills.length, 0)"""
LAND = (243, 240, 233)
NASTY = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


WATCH_VIOLATIONS = (
    "window.violations = [];addEventListener('securitypolicyviolation', event => violations.push(event.blockedURI));"
)


@pytest.fixture(scope="module")
def opened(browser: Browser, live_server: Any) -> Iterator[Page]:
    """The map as it opens, drawn once."""
    with fresh_page(browser) as page:
        page.add_init_script(WATCH_VIOLATIONS)
        page.goto(f"{live_server.url}/?lang=vi")
        page.evaluate("() => twin.idle()")
        yield page


@pytest.fixture
def first_map(opened: Page) -> Iterator[Page]:
    """The map as it opens, for tests that only look and ask of places: one page for all of them."""
    yield opened
    opened.keyboard.press("Escape")
    expect(opened.locator("#card")).to_be_hidden()


@pytest.fixture
def open_map(page: Page, live_server: Any) -> Callable[[str], Page]:
    """Open the page at an address and wait until everything in view is drawn."""

    def open_at(address: str = "/?lang=vi") -> Page:
        page.goto(live_server.url + address)
        page.evaluate("() => twin.idle()")
        return page

    return open_at


def picture(page: Page) -> Image.Image:
    """What the map shows, without the controls over it."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shot = Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB")
    return shot.crop((shot.width // 3, 60, shot.width - 80, shot.height - 60))


def share_differing(one: Image.Image, other: Image.Image) -> float:
    """The share of pixels that differ visibly between two pictures."""
    difference = ImageChops.difference(one, other).convert("L").point(lambda value: 255 * (value > 12))
    return difference.histogram()[255] / (one.width * one.height)


def click_the_middle(page: Page) -> None:
    frame = page.locator("#map").bounding_box()
    assert frame
    page.mouse.click(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)


def answer_with(page: Page, answer: dict[str, Any]) -> None:
    """Let the server say this of every place."""
    page.route("**/cells/at*", lambda route: route.fulfill(json=answer))


def told_by(agency: str, title: str) -> dict[str, Any]:
    feature = {
        "id": "1",
        "title": title,
        "here": True,
        "whole": False,
        "display": [{"title": title, "value": title, "unit": None}],
    }
    layer = {
        "layer": f"{agency}.places",
        "title": title,
        "theme": "places",
        "version": 1,
        "published": "2026-11-21T02:00:00Z",
        "licence": title,
        "sample": False,
        "total": 1,
        "features": [feature],
    }
    return {"agency": {"name": agency, "title": title}, "layers": [layer]}


def test_the_map_draws_buildings_and_labels(first_map: Page) -> None:
    page = first_map
    assert page.evaluate(BUILDINGS) > 50
    assert len(page.evaluate("() => twin.labels()")) > 3
    shot = picture(page)
    assert share_differing(shot, Image.new("RGB", shot.size, LAND)) > 0.05


def test_nothing_leaves_the_host(first_map: Page, live_server: Any) -> None:
    page = first_map
    click_the_middle(page)
    expect(page.locator(".card-cell")).to_be_visible()
    hosts = {urlsplit(url).netloc for url in page.requests if not url.startswith(("blob:", "data:"))}
    assert hosts == {urlsplit(live_server.url).netloc}


def test_the_page_is_silent_under_its_own_security_policy(first_map: Page) -> None:
    page = first_map
    click_the_middle(page)
    expect(page.locator(".card-cell")).to_be_visible()
    assert page.console_errors == []
    # The bundle tries once whether it may compile WebAssembly, for 3D Tiles; it may not, and need not.
    assert set(page.evaluate("() => violations")) <= {"wasm-eval"}


def test_every_base_map_layer_comes_with_one_request_a_tile(first_map: Page) -> None:
    page = first_map
    base = {
        c["id"] for c in page.evaluate("() => fetch('/collections').then(a => a.json())")["collections"] if c["baseMap"]
    }
    tiles = [urlsplit(url).path.split("/") for url in page.requests if "/tiles/" in url]
    shared = [parts for parts in tiles if {name.split("@")[0] for name in parts[2].split(",")} == base]
    assert shared
    assert len({tuple(parts) for parts in tiles}) == len(tiles)
    assert not [parts for parts in tiles if parts not in shared and parts[2].split("@")[0] in base]


def test_a_click_opens_a_card_that_names_several_agencies(first_map: Page) -> None:
    page = first_map
    click_the_middle(page)
    agencies = page.locator(".card-agency h3")
    expect(agencies.nth(1)).to_be_visible()
    assert len(set(agencies.all_inner_texts())) >= 2
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_hidden()


def test_a_place_can_be_asked_about_with_the_keyboard_alone(first_map: Page) -> None:
    page = first_map
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".card-cell")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#map")).to_be_focused()


def test_a_place_without_data_says_so(open_map: Callable[..., Page]) -> None:
    page = open_map()
    answer_with(page, {"cell": "8b65b5662a16fff", "resolution": 11, "at": [0, 0], "agencies": []})
    click_the_middle(page)
    expect(page.locator(".card-note")).to_have_text("Chưa đơn vị nào công bố dữ liệu tại điểm này.")


def test_switching_to_english_changes_the_texts_and_keeps_the_view(open_map: Callable[..., Page]) -> None:
    page = open_map("/?lang=vi")
    page.evaluate("() => twin.map.moveTo({zoom: 15.5, bearing: 30}, 0)")
    before = page.evaluate("() => twin.map.view")
    vietnamese = page.title()
    page.click("[data-language=en]")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#layers-button")).to_have_text("Layers")
    assert page.title() != vietnamese
    assert page.evaluate("() => twin.map.view") == before
    assert "lang=en" in page.url


def test_switching_a_layer_off_takes_it_out_of_the_picture(open_map: Callable[..., Page]) -> None:
    page = open_map()
    with_buildings = picture(page)
    name = page.evaluate("() => twin.map.sources().find(layer => layer.props.style.extrude).props.collection")
    if page.locator("#panel").is_hidden():
        page.click("#layers-button")
    page.locator(f'[data-layer="{name}"]').uncheck()
    page.click("#panel .sheet-head button")
    page.evaluate("() => twin.idle()")
    assert page.evaluate(BUILDINGS) == 0
    assert share_differing(with_buildings, picture(page)) > 0.005
    assert f"-{name}" in page.url


def test_a_link_opens_the_same_view_again(open_map: Callable[..., Page]) -> None:
    page = open_map()
    page.evaluate("() => twin.map.moveTo({zoom: 15.25, pitch: 20, bearing: -40}, 0)")
    page.wait_for_function("() => location.hash.includes('15.25,20,-40')")
    view = page.evaluate("() => twin.map.view")
    page.reload()
    page.evaluate("() => twin.idle()")
    again = page.evaluate("() => twin.map.view")
    assert again == pytest.approx(view, abs=1e-4)


def test_markup_in_a_name_is_shown_as_text(open_map: Callable[..., Page]) -> None:
    page = open_map()
    answer_with(
        page,
        {"cell": "8b65b5662a16fff", "resolution": 11, "at": [0, 0], "agencies": [told_by("attacker", NASTY)]},
    )
    click_the_middle(page)
    expect(page.locator(".item-title")).to_have_text(NASTY)
    assert page.locator("#card script, #card img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_markup_in_a_layers_title_is_shown_as_text(open_map: Callable[..., Page], page: Page) -> None:
    def with_title(route: Route) -> None:
        answer = route.fetch().json()
        answer["collections"][0]["title"] = NASTY
        route.fulfill(json=answer)

    page.route("**/collections?*", with_title)
    open_map()
    assert NASTY in page.locator("#panel .layer-title").first.text_content()
    assert page.locator("#panel script, #panel img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_a_lost_server_is_told_and_trying_again_helps(open_map: Callable[..., Page]) -> None:
    page = open_map()
    page.route("**/tiles/**", lambda route: route.abort())
    page.evaluate("() => twin.map.moveTo({zoom: 12, pitch: 0}, 0)")
    toast = page.locator(".toast")
    expect(toast).to_contain_text("Không kết nối được máy chủ.")
    page.unroute("**/tiles/**")
    toast.get_by_role("button").click()
    page.evaluate("() => twin.idle()")
    expect(toast).to_be_hidden()
    assert page.evaluate("() => twin.store.failed.size") == 0


def test_damaged_tiles_leave_an_empty_map_that_still_works(open_map: Callable[..., Page], page: Page) -> None:
    page.route("**/tiles/**", lambda route: route.fulfill(body=b"\x1a\xff\xff\xff\xff\x0fnot a tile"))
    open_map()
    assert page.evaluate(BUILDINGS) == 0
    assert page.console_errors == []
    click_the_middle(page)
    expect(page.locator(".card-cell")).to_be_visible()


def test_a_browser_without_webgl_2_lists_the_layers(page: Page, live_server: Any) -> None:
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "  return kind === 'webgl2' ? null : get.call(this, kind, ...rest) };"
    )
    page.goto(live_server.url + "/?lang=en")
    expect(page.locator(".trouble h2")).to_have_text("This browser cannot show the 3D map")
    assert page.locator(".trouble li").count() > 3
    assert page.console_errors == []


def decoded(page: Page, tile: bytes) -> Any:
    """What the page's own decoder makes of a tile."""
    return page.evaluate(
        """async bytes => {
            const { assets } = JSON.parse(document.getElementById('facts').textContent);
            const { decodeTile } = await import(assets + 'js/mvt.js');
            try {
                return [...decodeTile(new Uint8Array(bytes).buffer).values()];
            } catch (error) {
                return error.name;
            }
        }""",
        list(tile),
    )


def test_a_tile_is_decoded_with_ids_values_and_holes(page: Page, live_server: Any) -> None:
    page.goto(live_server.url + "/")
    properties = {"name": "Lê Lợi", "height": 12.5, "levels": 3, "below": -7, "open": True}
    square = "POLYGON ((0 0, 0 100, 100 100, 100 0, 0 0), (20 20, 40 20, 40 40, 20 40, 20 20))"
    tile = mapbox_vector_tile.encode(
        {"name": "a.buildings", "features": [{"geometry": square, "id": 2**40, "properties": properties}]},
        default_options={"y_coord_down": True},
    )
    (layer,) = decoded(page, tile)
    (feature,) = layer["features"]
    assert (layer["name"], layer["extent"]) == ("a.buildings", 4096)
    assert feature["id"] == 2**40
    assert feature["properties"] == properties
    assert [[len(ring) for ring in polygon] for polygon in feature["polygons"]] == [[8, 8]]


def test_no_cut_of_a_tile_can_hang_the_decoder(page: Page, live_server: Any) -> None:
    page.goto(live_server.url + "/")
    tile = mapbox_vector_tile.encode(
        {
            "name": "a.b",
            "features": [{"geometry": "LINESTRING (0 0, 50 60, 70 10)", "properties": {"n": "x"}}],
        }
    )
    endless = bytes([0x1A, 12, 0x12, 10, 0x18, 2, 0x22, 6, 0xFA, 0xFF, 0xFF, 0xFF, 0x0F, 0])
    for damaged in [tile[:end] for end in range(len(tile))] + [endless]:
        result = decoded(page, damaged)
        assert result == "RangeError" or isinstance(result, list), json.dumps(result)

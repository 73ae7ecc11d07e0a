"""The city's state on the map: colours that follow the values, cards with charts, and one control of time."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import h3
import httpx
import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from psycopg import sql as compose

from tests.conftest import HOME, LiveServer, Quiet, run_async, serving
from tests.streams.worlds import ZONE, world
from twin.config import Settings
from twin.db.database import Database, libpq
from twin.streams.declare import Place, StreamDeclaration, declare_streams
from twin.streams.rollups import roll_up
from twin.streams.writer import Observation

pytestmark = pytest.mark.browser

TRAFFIC, GAUGES = "transport.traffic_segments", "environment.sensors"
# The middle of the scene, where the first gauge stands.
LONGITUDE, LATITUDE = 106.7275, 10.7785
VIEW = f"{LONGITUDE},{LATITUDE},15.5,0,0"
CELL = h3.latlng_to_cell(LATITUDE + 0.002, LONGITUDE, 9)
BUILDINGS = 200


@dataclass
class Scene:
    """A small city with streams, and a way to write to them."""

    server: LiveServer
    ids: dict[str, int] = field(default_factory=dict)

    def write(self, *values: tuple[str, timedelta, float]) -> None:
        """Write values of streams by their codes, each so long ago."""
        now = datetime.now(UTC)
        batch = [(code, now - ago, value) for code, ago, value in values]

        async def work() -> None:
            async with world(self.server.database, *gauges(), layer=GAUGES) as w:
                self.ids |= w.ids
                roads = await declare_streams(w.connection, TRAFFIC, self.roads)
                self.ids |= roads
                await w.directory.read(w.connection)
                observed = [Observation(self.ids[code], moment, value) for code, moment, value in batch]
                await w.writer.write(w.connection, observed, "a test")
                await roll_up(w.connection, ZONE)

        run_async(work())

    @property
    def roads(self) -> list[StreamDeclaration]:
        """A stream for each stretch of road near the middle."""
        with psycopg.connect(libpq(self.server.database.url)) as connection:
            table = connection.execute(TABLE_SQL, [TRAFFIC]).fetchone()
            assert table
            near = compose.SQL("SELECT id FROM layer_data.{} ORDER BY geom <-> ST_Point(%s, %s, 4326) LIMIT 12")
            rows = connection.execute(near.format(compose.Identifier(table[0])), [LONGITUDE, LATITUDE]).fetchall()
        return [
            stream(f"road-{i}", kind="traffic_speed", unit="km/h", highest=120, basis="simulated",
                   properties={"free_flow_kmh": 40}, place=Place(feature=row[0]))
            for i, row in enumerate(rows)
        ]  # fmt: skip


TABLE_SQL = """
SELECT v.table_name FROM twin.layer_version v JOIN twin.layer l ON l.current_version_id = v.id
JOIN twin.agency a ON a.id = l.agency_id WHERE a.name || '.' || l.name = %s
"""


def stream(code: str, **more: Any) -> StreamDeclaration:
    """A stream of particles on a thing of its own."""
    settings: dict[str, Any] = {
        "kind": "pm2_5", "unit": "ug/m3", "lowest": 0, "highest": 500, "every_seconds": 900, "fresh_seconds": 3600,
    } | more  # fmt: skip
    return StreamDeclaration(f"thing-{code}", f"Điểm {code}", code, name=code, **settings)


def gauges() -> list[StreamDeclaration]:
    """Four gauges of air around the middle, one of which observes rain too, and four cells of flooding."""
    places = {"A": (0, 0), "B": (0.0045, 0.0005), "C": (-0.004, -0.001), "D": (-0.002, 0.0015)}
    cells = [CELL, *sorted(h3.grid_ring(CELL, 1))[:3]]
    return [
        *(stream(code, place=Place(point=(LONGITUDE + x, LATITUDE + y))) for code, (x, y) in places.items()),
        *(
            stream(f"flood-{i}", kind="flood_depth", unit="m", highest=5, basis="simulated", place=Place(cell=cell))
            for i, cell in enumerate(cells)
        ),
    ]  # fmt: skip


def day(code: str, values: list[float | None]) -> list[tuple[str, timedelta, float]]:
    """Values of a stream spread over the last day, the last one now; None is a gap."""
    step = timedelta(days=1) / len(values)
    return [(code, step * (len(values) - 1 - i), v) for i, v in enumerate(values) if v is not None]


@pytest.fixture(scope="module")
def scene(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The sample city with values of a day: one gauge is good, one bad, one old, one flagged."""
    from ingest.publish.city import load_city, sample_city

    settings = Settings(home=HOME, database=module_database.url.database)
    load_city(module_database, sample_city(BUILDINGS), settings, Quiet())
    with serving(module_database, tmp_path_factory.mktemp("state") / "server.log") as server:
        scene = Scene(server)
        wave = [20 + 18 * abs(i % 48 - 24) / 12 for i in range(96)]
        scene.write(
            *day("A", [None if 30 <= i < 42 else v for i, v in enumerate(wave)]), *day("B", [2.4 * v for v in wave]),
            ("A", timedelta(), 18.0), ("B", timedelta(), 187.0), ("C", timedelta(hours=5), 64.0),
            ("D", timedelta(), 9_999.0),
            *((f"flood-{i}", timedelta(minutes=2), depth) for i, depth in enumerate((0.02, 0.12, 0.42, 1.4))),
            *((f"road-{i}", timedelta(minutes=1), 4.0 + 3 * i) for i in range(12)),
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while httpx.get(f"{server.url}/streams").json().get("numberMatched") != 20 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield scene


@pytest.fixture
def open_map(page: Page, scene: Scene) -> Callable[..., Page]:
    """Open the page and wait until the state is on the map."""

    def open_at(state: str = "pm2_5", language: str = "vi", view: str = VIEW) -> Page:
        page.goto(f"{scene.server.url}/?lang={language}#{view};;{state}")
        page.wait_for_function("() => twin.state?.control")
        page.evaluate("() => twin.idle()")
        return page

    return open_at


COLOR_OF_ROAD = f"""fid => twin.map.deck.layerManager.getLayers()
    .filter(layer => layer.id.startsWith('{TRAFFIC}') && layer.id.endsWith('-line'))
    .flatMap(layer => layer.props.data.filter(d => d.feature.id === fid).map(d => layer.props.getColor(d)))[0]"""
ROAD_DATA = f"""() => twin.map.deck.layerManager.getLayers()
    .filter(layer => layer.id.startsWith('{TRAFFIC}') && layer.id.endsWith('-line')).map(layer => layer.props.data)"""


def classes(scene: Scene, kind: str) -> dict[str, str]:
    """The colours of a kind's classes."""
    kinds = httpx.get(f"{scene.server.url}/streams/kinds").json()["kinds"]
    return {grade["key"]: grade["color"] for k in kinds if k["kind"] == kind for grade in k["scales"][0]["grades"]}


def pixel(page: Page, code: str) -> str:
    """The colour of the pixel where a gauge stands."""
    x, y = page.evaluate(
        "code => twin.map.viewport().project([...twin.state.state.streams.values()].find(s => s.name === code).position)",
        code,
    )
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shot = Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB")
    red, green, blue = shot.getpixel((round(x), round(y)))  # type: ignore[misc]
    return f"#{red:02x}{green:02x}{blue:02x}"


def click_on(page: Page, longitude: float, latitude: float) -> None:
    x, y = page.evaluate("place => twin.map.viewport().project(place)", [longitude, latitude])
    frame = page.locator("#map").bounding_box()
    assert frame
    page.mouse.click(frame["x"] + x, frame["y"] + y)


def state_urls(page: Page) -> list[str]:
    """What the page asked for because of the state."""
    return [url for url in page.requests if re.search(r"/streams|/state[_.]|/state\?|state\.(vi|en)\.json", url)]


def test_a_city_without_streams_shows_no_state_and_asks_for_none(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/?lang=vi")
    page.evaluate("() => twin.idle()")
    page.wait_for_function("() => twin.live() === EventSource.OPEN")
    page.wait_for_timeout(1_000)
    assert state_urls(page) == []
    assert page.locator(".dock, .state-choice").count() == 0


def test_a_new_value_changes_the_colour_and_the_written_value_at_once(
    scene: Scene, open_map: Callable[..., Page]
) -> None:
    page, colors = open_map(), classes(scene, "pm2_5")
    assert pixel(page, "A") == colors["good"]
    assert {"18,0", "187,0"} <= set(page.evaluate("() => twin.labels()"))
    before = len(page.requests)
    scene.write(("A", timedelta(), 120.0))
    page.wait_for_function("() => twin.labels().includes('120,0')", timeout=5_000)
    assert pixel(page, "A") == colors["bad"]
    assert page.requests[before:] == []
    scene.write(("A", timedelta(), 18.0))
    page.wait_for_function("() => twin.labels().includes('18,0')", timeout=5_000)
    assert page.console_errors == []


def test_old_and_flagged_values_are_hollow_and_no_flagged_value_is_written(open_map: Callable[..., Page]) -> None:
    page = open_map()
    for code in "CD":
        assert min(int(pixel(page, code)[i : i + 2], 16) for i in (1, 3, 5)) > 200, code
    labels = page.evaluate("() => twin.labels()")
    assert {"64,0", "–"} <= set(labels)
    assert not [label for label in labels if "999" in label]


def test_roads_take_the_colour_of_their_speed_and_keep_their_geometry(
    scene: Scene, open_map: Callable[..., Page]
) -> None:
    page, colors = open_map("traffic_speed"), classes(scene, "traffic_speed")
    fid = page.evaluate("() => [...twin.state.state.streams.values()].find(s => s.name === 'road-11').fid")
    rgb = lambda key: [int(colors[key][i : i + 2], 16) for i in (1, 3, 5)]  # noqa: E731
    assert page.evaluate(COLOR_OF_ROAD, fid)[:3] == rgb("A")
    page.evaluate(f"() => {{ window.before = ({ROAD_DATA})() }}")
    scene.write(("road-11", timedelta(), 3.0))
    page.wait_for_function(f"([fid, red]) => ({COLOR_OF_ROAD})(fid)[0] === red", arg=[fid, rgb("F")[0]], timeout=5_000)
    assert page.evaluate(f"() => ({ROAD_DATA})().every((data, i) => data === window.before[i])")
    scene.write(("road-11", timedelta(), 37.0))


def test_a_layer_that_the_state_needs_is_on_only_as_long(open_map: Callable[..., Page]) -> None:
    page = open_map("traffic_speed")
    page.click("#layers-button")
    box = page.locator(f'#panel [data-layer="{TRAFFIC}"]')
    expect(box).to_be_checked()
    page.check("#state-flood_depth")
    expect(box).not_to_be_checked()
    expect(page.locator(".state-legend")).to_contain_text("Xe máy không qua được")
    expect(page.locator(".dock .mark")).to_have_text("mô phỏng")
    assert page.url.endswith(";;flood_depth")
    page.check("#state-none")
    assert page.evaluate("() => twin.map.over.length") == 0


def test_a_click_on_a_gauge_shows_value_class_age_and_the_last_day(scene: Scene, open_map: Callable[..., Page]) -> None:
    page = open_map()
    click_on(page, LONGITUDE, LATITUDE)
    item = page.locator("#card .state-item")
    expect(item.locator(".state-value")).to_contain_text("18,0 µg/m³")
    expect(item.locator(".state-grade")).to_have_text("Tốt")
    scene.write(("A", timedelta(), 18.0))
    seen = item.locator("time")
    expect(seen).to_contain_text("cập nhật")
    said = seen.text_content()
    expect(seen).not_to_have_text(said or "", timeout=20_000)
    chart = item.locator("svg.chart")
    expect(chart).to_have_attribute("aria-label", re.compile("PM2.5 trong 24 giờ. Thấp nhất"))
    # The three hours without values are a gap.
    assert chart.locator(".chart-line").count() >= 2
    item.locator(".chart-table summary").click()
    expect(item.locator(".chart-table tbody tr")).to_have_count(97)
    page.click('[data-language="en"]')
    expect(item.locator(".state-value")).to_contain_text("18.0 µg/m³")
    expect(item.locator(".state-grade")).to_have_text("Good")
    expect(page.locator(".dock-status")).to_have_text("Live")
    assert page.console_errors == []


def test_a_flag_is_told_in_words(open_map: Callable[..., Page]) -> None:
    page = open_map()
    click_on(page, LONGITUDE - 0.002, LATITUDE + 0.0015)
    expect(page.locator("#card .state-flags")).to_have_text("Cảnh báo: ngoài khoảng tin được.")
    expect(page.locator("#card .state-grade")).to_have_text("Không dùng được")


def test_a_click_in_a_cell_or_on_a_road_tells_its_state_and_that_it_is_simulated(open_map: Callable[..., Page]) -> None:
    page = open_map("flood_depth")
    click_on(page, LONGITUDE + 0.0006, LATITUDE + 0.0022)
    expect(page.locator("#card .state-item .item-title")).to_have_text("Độ sâu ngập")
    expect(page.locator("#card .state-card .mark")).to_have_text("mô phỏng")
    page.keyboard.press("Escape")
    page.goto(page.url.replace("flood_depth", "traffic_speed"))
    page.wait_for_function("() => twin.state.kind.kind === 'traffic_speed'")
    page.evaluate("() => twin.idle()")
    middle = page.evaluate(
        """() => {
            const [[collection, features]] = twin.state.layers.drawn.features;
            const source = twin.map.sources().find(s => s.props.collection === collection);
            for (const { feature, path } of source.shownTiles().flatMap(t => t.lines)) {
                if (!features.has(feature.id)) continue;
                for (let i = 2; i < path.length; i += 2) {
                    const middle = [(path[i - 2] + path[i]) / 2, (path[i - 1] + path[i + 1]) / 2];
                    const [x, y] = twin.map.viewport().project(middle);
                    if (x > 100 && x < 800 && y > 60 && y < 400) return middle;
                }
            }
        }"""
    )
    click_on(page, *middle)
    expect(page.locator("#card .state-item .item-title")).to_have_text("Tốc độ dòng xe")
    assert page.console_errors == []


def test_the_time_control_shows_a_past_hour_and_comes_back_to_now(scene: Scene, open_map: Callable[..., Page]) -> None:
    page, colors = open_map(), classes(scene, "pm2_5")
    slider = page.locator(".dock-slider")
    slider.focus()
    with page.expect_response("**/state?at=*"):
        for _ in range(30):
            page.keyboard.press("ArrowLeft")
    expect(page.locator(".dock-status")).to_have_text("Đang xem quá khứ")
    expect(page.locator("#stage")).to_have_class(re.compile("shows-past"))
    # Five hours ago this gauge had spoken; by now its value is old.
    page.wait_for_function("() => twin.state.state.at !== null && twin.labels().includes('64,0')")
    assert pixel(page, "C") == colors["poor"]
    assert "18,0" not in page.evaluate("() => twin.labels()")
    assert re.search(r";;pm2_5@20\d\d-\d\d-\d\dT\d\d:\d0Z$", page.url)
    # What comes meanwhile is not shown as if it had been then.
    scene.write(("C", timedelta(), 11.0))
    page.wait_for_timeout(1_500)
    assert pixel(page, "C") == colors["poor"]
    click_on(page, LONGITUDE - 0.004, LATITUDE - 0.001)
    expect(page.locator("#card .state-when")).to_contain_text("Quá khứ: lúc")
    expect(page.locator("#card .state-value")).to_contain_text("64,0")
    page.reload()
    page.wait_for_function("() => twin.state?.state.at && twin.labels().includes('64,0')")
    page.click(".dock-now")
    expect(page.locator(".dock-status")).to_have_text("Trực tiếp")
    page.wait_for_function("() => twin.labels().includes('11,0')")
    assert page.url.endswith(";;pm2_5")
    assert page.console_errors == []


def test_play_goes_through_the_day_in_steps_and_can_be_paused(open_map: Callable[..., Page]) -> None:
    page = open_map()
    page.evaluate(
        """() => {
            const real = setInterval;
            window.setInterval = (step, ms) => real(step, ms / 20);
            window.moments = [];
            const { control } = twin.state;
            const go = control.onMoment;
            control.onMoment = at => { moments.push(at); go(at); };
        }"""
    )
    page.click(".dock-play")
    page.wait_for_function("() => moments.length > 3")
    moments = page.evaluate("() => moments")
    assert {later - earlier for earlier, later in pairwise(moments)} == {600}
    page.locator(".dock-play").press("Enter")
    at = page.evaluate("() => twin.state.control.at")
    page.wait_for_timeout(1_200)
    assert page.evaluate("() => twin.state.control.at") == at


def test_a_lost_connection_is_told_and_mends_itself(
    page: Page, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = scene.server.database
    with serving(database, tmp_path / "first.log") as first:
        page.goto(f"{first.url}/?lang=en#{VIEW};;pm2_5")
        page.wait_for_function("() => twin.state?.control")
        expect(page.locator(".dock-status")).to_have_text("Live")
    expect(page.locator(".dock-status")).to_contain_text("Connection lost at", timeout=20_000)
    port = int(first.url.rsplit(":", 1)[1])
    monkeypatch.setattr("tests.conftest.free_port", lambda: port)
    with serving(database, tmp_path / "second.log"):
        expect(page.locator(".dock-status")).to_have_text("Live", timeout=50_000)
        scene.write(("B", timedelta(), 33.0))
        page.wait_for_function("() => twin.labels().includes('33.0')", timeout=10_000)


def test_the_classes_of_a_chart_are_in_the_unit_of_its_values(scene: Scene) -> None:
    series = httpx.get(f"{scene.server.url}/streams/{scene.ids['road-0']}/series").json()
    # Shares of a free-flow speed of 40 km/h.
    assert series["scale"]["limits"] == pytest.approx([12, 16, 20, 26.8, 34])

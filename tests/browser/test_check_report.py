"""The page of a check in a real browser: nothing fetched, nothing run, marks lead to the list, it fits a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from ingest.checks import Checker, inspect
from ingest.checks.html import to_html
from ingest.publish.engine import PublishRequest, check_file
from layers.registry import theme
from tests.checks.messy import messy
from tests.test_raster_publish import classes, write
from twin.city import read_city
from twin.config import Settings
from twin.text import speaking

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reader = messy()
    checker = Checker(inspect(reader, theme("buildings"), read_city("hcmc")))
    for batch in reader.batches(100):
        checker.feed(batch)
    path = tmp_path_factory.mktemp("report") / "report.html"
    with speaking("vi"):
        path.write_text(to_html(checker.finish()), "utf-8")
    return path


def test_the_page_opens_by_itself_and_a_mark_leads_to_its_problem(page: Page, file: Path) -> None:
    page.goto(file.as_uri())
    assert page.requests == [file.as_uri()] and page.console_errors == []
    mark = page.locator("a.mark").first
    wanted = mark.get_attribute("href")
    mark.click()
    target = page.locator(f"{wanted}:target")
    assert target.count() == 1 and target.is_visible()
    assert page.locator("h1").inner_text() == "layer.gpkg"


@pytest.fixture(scope="module")
def raster_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raster")
    values = classes()
    values[50:52, 50:60] = 77
    report = check_file(
        write(folder / "phu <b>.tif", values), theme("land_cover"), PublishRequest(""), Settings(), lambda *_: None
    )
    with speaking("vi"):
        (folder / "report.html").write_text(to_html(report), "utf-8")
    return folder / "report.html"


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_of_a_raster_shows_its_cells_and_where_its_problems_are(
    page: Page, raster_file: Path, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(raster_file.as_uri())
    assert page.requests == [raster_file.as_uri()] and page.console_errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").inner_text() == "phu <b>.tif"
    assert page.locator("svg.map path.cell").count() > 100
    assert len(set(page.locator("svg.map path.cell").evaluate_all("all => all.map(p => p.getAttribute('fill'))"))) >= 3
    assert page.locator("a.mark").count() == 5
    assert page.locator("table").inner_text().count("%") == 5


@pytest.mark.parametrize("width", [320, 480, 1280])
def test_the_page_fits_any_width(page: Page, file: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Every shape that the map draws lies in its frame.
    inside = page.evaluate(
        """() => { const map = document.querySelector('svg.map').getBoundingClientRect();
        return [...document.querySelectorAll('.mark')].every((mark) => { const box = mark.getBoundingClientRect();
        return box.left >= map.left - 12 && box.right <= map.right + 12 && box.top >= map.top - 12; }); }"""
    )
    assert inside

"""The report: one for people on a terminal, one as a page, one for machines. They say the same, in both languages."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ingest.checks import Checker, Report, inspect
from ingest.checks.html import POLICY, to_html
from ingest.checks.kinds import KINDS, SEVERITIES
from ingest.checks.picture import EvenSample, frame_of, spread
from ingest.checks.problems import VALUES_LISTED, Example, Ledger, Value
from ingest.checks.remote_report import print_remote_report, read_report
from ingest.checks.terminal import print_report
from layers.registry import theme
from tests.checks.messy import messy
from tests.checks.readers import Memory, memory
from tests.examples import examples
from twin.city import read_city
from twin.text import LANGUAGES, Language, speaking

CITY = read_city("hcmc")
VOID = {"meta", "br", "path", "circle", "rect"}
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "]]><svg onload=x>",
    "\x1b[2J\x07",
    "@@=x",
    "&lt;b&gt;",
]


def report_of(reader: Memory, name: str = "buildings") -> Report:
    checker = Checker(inspect(reader, theme(name), CITY))
    for batch in reader.batches(1000):
        checker.feed(batch)
    return checker.finish()


class Page(HTMLParser):
    """Notes the elements, attributes and text of a page, and that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def on_terminal(report: Report, width: int = 80) -> str:
    out = StringIO()
    print_report(report, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of(messy())


def test_every_problem_has_its_wording_and_its_advice_in_both_languages() -> None:
    for code, kind in KINDS.items():
        assert kind.severity in SEVERITIES
        for text in (kind.title, kind.advice):
            assert text.en and text.vi and text.en != text.vi, code
        assert kind.advice.en.endswith("."), code


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_names_every_problem_with_its_count_its_examples_and_what_to_do(
    report: Report, language: Language
) -> None:
    with speaking(language):
        page = Page(to_html(report))
    for problem in report.problems:
        assert problem.kind.title.in_language(language) in page.text
        assert problem.kind.advice.in_language(language) in page.text
        for example in problem.examples:
            assert example.feature in page.text
    assert ("html", "lang", language) in page.attributes
    assert "Trường mầm non Hoạ Mi" in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_needs_no_script_and_asks_for_nothing(report: Report, language: Language) -> None:
    with speaking(language):
        html = to_html(report)
    page = Page(html)
    assert "script" not in page.tags and "iframe" not in page.tags and "link" not in page.tags
    assert ("meta", "content", POLICY) in page.attributes
    assert POLICY == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    for _, name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "style", "srcset", "xlink:href")
        assert name != "href" or value.startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]


def evil_report(texts: list[str]) -> Report:
    count = len(texts)
    shapes = [shapely.box(106.7 + i * 0.001, 10.75, 106.7003 + i * 0.001, 10.7503) for i in range(count)]
    columns = {texts[0]: texts, "id": texts, "use": texts, "name": texts, "height": ["<b>9000</b>"] * count}
    return report_of(memory(columns, shapes, format=texts[0], layer=texts[-1], driver=texts[0]))


def test_hostile_text_is_shown_as_text_on_the_page_and_cannot_steer_the_terminal() -> None:
    report = evil_report(EVIL)
    page = Page(to_html(report))
    assert "script" not in page.tags and "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text and '"><img src=x onerror=alert(1)>' in page.text
    said = on_terminal(report)
    assert "\x1b" not in said and "\x07" not in said and "·[2J·" in said


@cache
def calm_page(count: int) -> Page:
    """The page of as many features whose texts are plain."""
    return Page(to_html(evil_report([f"t{i}" for i in range(count)])))


@settings(max_examples=examples(150), deadline=None)
@given(texts=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5, unique=True))
def test_no_text_of_a_file_becomes_an_element_or_an_attribute(texts: list[str]) -> None:
    texts = [t for t in texts if t not in ("id", "use", "name", "height")] or ["x"]
    calm = calm_page(len(texts))
    page = Page(to_html(evil_report(texts)))
    assert set(page.tags) <= set(calm.tags) | {"ul", "li", "strong", "span", "br", "code", "section"}
    assert {(t, k) for t, k, _ in page.attributes} <= {(t, k) for t, k, _ in calm.attributes} | {
        ("li", "id"), ("a", "href"), ("a", "class"), ("ul", "class"), ("span", "class"), ("path", "class"), ("path", "d"),
        ("circle", "cx"), ("circle", "cy"), ("circle", "r"), ("text", "x"), ("text", "y"),
    }  # fmt: skip


def test_every_mark_on_the_map_leads_to_its_place_in_the_list(report: Report) -> None:
    page = Page(to_html(report))
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links and set(links) <= ids
    assert len(links) == len(report.marks()) - 1  # one feature lies in another city


def test_the_map_has_at_most_two_thousand_shapes_spread_over_the_file() -> None:
    thinned = EvenSample()
    for start in range(0, 70_000, 10_000):
        thinned.add(shapely.points(range(start, start + 10_000), 0.0))
    kept = [int(s.x) for s in thinned.shapes()]
    assert 1000 < len(kept) <= 2000
    assert {b - a for a, b in pairwise(kept)} == {thinned.step}


def test_marks_that_would_cover_each_other_move_apart() -> None:
    placed = spread([(100.0, 100.0)] * 30 + [(300.0, 100.0)], 20)
    assert placed[0] == (100.0, 100.0) and placed[-1] == (300.0, 100.0)
    apart = shapely.points(placed)
    assert min(a.distance(b) for i, a in enumerate(apart) for b in apart[:i]) >= 19.9


@given(st.floats(-170, 169), st.floats(-80, 79), st.floats(1e-4, 1), st.floats(1e-4, 1))
def test_a_picture_holds_all_of_the_area_that_it_is_made_for(
    west: float, south: float, wide: float, high: float
) -> None:
    frame = frame_of((west, south, west + wide, south + high))
    corners = shapely.get_coordinates(shapely.box(west, south, west + wide, south + high))
    pixels = frame.pixels(corners)
    assert (pixels >= -1e-6).all() and (pixels <= [frame.width + 1e-6, frame.height + 1e-6]).all()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_terminal_says_the_same_within_its_width(report: Report, language: Language, width: int) -> None:
    with speaking(language):
        said = on_terminal(report, width)
    assert max(len(line.rstrip()) for line in said.splitlines()) <= width
    flowing = " ".join(said.split())
    for problem in report.problems:
        assert problem.kind.title.in_language(language).split(";")[0] in flowing or width == 60
    for fact in ("EPSG:9210", "TCVN3", "SOTANG", "CT-021", "levels = 900"):
        assert fact in flowing


def test_the_json_has_what_the_page_has_in_both_languages(report: Report) -> None:
    said = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(said) == {
        "exit_code",
        "publishable",
        "file",
        "blockers",
        "crs",
        "encoding",
        "fields",
        "features",
        "bounds",
        "problems",
    }
    assert (said["exit_code"], said["publishable"]) == (1, True)
    assert said["features"] == {"read": 60, "good": 53, "bad": 7, "mended": 1, "left_out": 0}
    assert said["crs"]["code"] == "EPSG:9210" and said["crs"]["fits"][0]["inside"] > 0.9
    assert said["encoding"]["columns"]["TenCT"]["encoding"] == "tcvn3"
    assert {m["field"]: m["from"]["from"] for m in said["fields"]["matched"]} == {
        "name": "TenCT", "levels": "SOTANG", "use": "CONGNANG"
    }  # fmt: skip
    for problem in said["problems"]:
        assert set(problem) == {"code", "severity", "field", "count", "title", "advice", "examples", "values"}
        assert set(problem["title"]) == set(problem["advice"]) == {"en", "vi"}
        for example in problem["examples"]:
            assert set(example["detail"]) == {"en", "vi"}


def test_values_that_are_wrong_are_told_with_how_often_they_stand_and_what_may_be_meant() -> None:
    uses = ["Nhà ở xã hội"] * 30 + ["lâu đài"] * 20 + ["Văn phòng"] * 50 + [f"x{i}" for i in range(20)]
    x = 106.6 + np.arange(120) * 1e-3
    levels = ["ba"] * 15 + [900] * 5 + [3] * 100
    report = report_of(
        memory({"id": range(120), "use": uses, "levels": levels}, list(shapely.box(x, 10.7, x + 1e-4, 10.7001)))
    )
    values = {(p.code, p.field): p.values for p in report.problems}
    use = values["field.vocabulary", "use"]
    assert [(v.value, v.count, v.term) for v in use[:2]] == [("Nhà ở xã hội", 30, "house"), ("lâu đài", 20, None)]
    assert use[0].title is not None and use[0].title.vi == "Nhà ở riêng lẻ" and len(use) == 10
    assert [(v.value, v.count) for v in values["field.type", "levels"]] == [("ba", 15)]
    assert [(v.value, v.count) for v in values["field.range", "levels"]] == [("900", 5)]
    with speaking("vi"):
        terminal, page = " ".join(on_terminal(report).split()), to_html(report)
    assert "30 × “Nhà ở xã hội” có phải house (Nhà ở riêng lẻ)?" in terminal
    assert "20 × “lâu đài”" in terminal and "15 × “ba”" in terminal
    assert "<strong>Nhà ở xã hội</strong> × 30" in page and "có phải house (Nhà ở riêng lẻ)?" in page


def test_no_matter_how_many_values_are_wrong_only_some_are_remembered() -> None:
    ledger = Ledger()
    ledger.rows("field.vocabulary", np.ones(1, dtype=bool), lambda row: Example("a"), "use")
    for start in range(0, 50_000, 1000):
        ledger.count_values("field.vocabulary", "use", {f"v{i}": 1 for i in range(start, start + 1000)} | {"v7": 3})
    # Of so many different ones the first are kept: what comes later is not told, however often it stands there.
    ledger.count_values("field.vocabulary", "use", {"late": 10**6})
    told: list[tuple[str, int]] = []
    ledger.set_values(lambda _, value, count: told.append((value, count)) or Value(value, count))  # type: ignore[func-returns-value]
    assert told[0] == ("v7", 1 + 3 * 50 - 1) and len(told) == VALUES_LISTED


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_that_came_as_json_looks_on_a_terminal_like_the_report_itself(
    report: Report, language: Language
) -> None:
    empty = report_of(memory({"id": []}, []))
    with speaking(language):
        for here in (report, empty):
            there = read_report(json.loads(json.dumps(here.to_dict())))
            assert on_terminal(there) == on_terminal(here)
            other = {k: v for k, v in here.to_dict().items() if k != "fields"} | {"raster": {}}
            out = StringIO()
            print_remote_report(other, Console(file=out, width=200))
            assert all(p.kind.title.in_language(language) in out.getvalue() for p in here.problems)
            assert (there.exit_code, there.publishable) == (here.exit_code, here.publishable)


def test_the_exit_code_is_0_clean_1_with_warnings_2_refused() -> None:
    box = shapely.box(106.7, 10.75, 106.7004, 10.7504)
    bow = shapely.Polygon([(106.7, 10.7), (106.701, 10.701), (106.701, 10.7), (106.7, 10.701), (106.7, 10.7)])
    assert report_of(memory({"id": ["a"]}, [box])).exit_code == 0
    assert report_of(memory({"id": ["a"]}, [bow])).exit_code == 1
    assert report_of(memory({"id": ["a", "b"]}, [box, None])).exit_code == 1
    assert report_of(memory({"id": ["a", "b"]}, [None, None])).exit_code == 2
    assert report_of(memory({"id": []}, [])).exit_code == 2


def test_a_file_with_nothing_good_still_has_a_page_a_table_and_json() -> None:
    for reader in (memory({"id": []}, []), memory({"id": ["a"]}, [None]), memory({}, [shapely.Point(0, 0)], crs=None)):
        report = report_of(reader)
        assert Page(to_html(report)).text and on_terminal(report) and json.dumps(report.to_dict(), allow_nan=False)
        assert not report.publishable

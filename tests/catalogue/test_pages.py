"""The catalogue's pages: complete, in both languages, usable without scripts and without sight of the screen."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from tests.conftest import LiveServer, serving
from tiles.catalogue.words import WORDS
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.text import Text

LAYER = "construction.buildings"
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, and its text; tags that do not close are an error."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(answer.text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(http: httpx.Client, address: str, **given: str) -> Page:
    return Page(http.get(address, params={"f": "html", **given}))


@pytest.fixture(scope="module")
def http(live_server: LiveServer) -> httpx.Client:
    return httpx.Client(base_url=live_server.url, timeout=60)


@pytest.mark.parametrize("address", ["/catalogue", f"/catalogue/{LAYER}", f"/catalogue/{LAYER}@1"])
@pytest.mark.parametrize("language", ["vi", "en"])
def test_pages_need_nothing_from_elsewhere_and_no_script(http: httpx.Client, address: str, language: str) -> None:
    answer = http.get(address, params={"f": "html", "lang": language})
    found = Page(answer)
    assert answer.headers["content-language"] == language and found.all("html")[0]["lang"] == language
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "form-action 'self'" in policy
    assert not found.all("script") and not found.all("style")
    assert not [a for _, a in found.elements if "style" in a or any(name.startswith("on") for name in a)]
    for attributes in (*found.all("link"), *found.all("img")):
        source = str(attributes.get("href") or attributes.get("src"))
        assert source.startswith(str(http.base_url))
        assert http.get(source).status_code == 200
    assert "built-in" not in answer.text and not re.search(r"\bNone\b|\{[a-z_]{2,}\}", found.text)
    assert len([t for t, _ in found.elements if t == "h1"]) == 1


@pytest.mark.parametrize("address", ["/catalogue", f"/catalogue/{LAYER}"])
def test_pages_can_be_heard(http: httpx.Client, address: str) -> None:
    found = page(http, address, lang="vi")
    named = {a.get("for") for a in found.all("label")}
    for field in (*found.all("input"), *found.all("select")):
        assert field.get("type") == "hidden" or field["id"] in named
    assert all(image.get("alt") for image in found.all("img"))
    assert all(cell.get("scope") for cell in found.all("th"))
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for attributes in found.all("section"):
        assert attributes["aria-labelledby"] in ids


def test_the_search_works_as_a_form_and_without_tone_marks(http: httpx.Client) -> None:
    found = page(http, "/catalogue", lang="vi")
    (form,) = found.all("form")
    assert form["method"] == "get" and form["action"] == f"{str(http.base_url).rstrip('/')}/catalogue"
    names = {a["name"] for a in (*found.all("input"), *found.all("select"))}
    assert names == {"f", "lang", "q", "agency", "theme", "freshness"}
    # As a browser sends it: what is not chosen is empty.
    hit = page(http, "/catalogue", lang="vi", q="cong trinh", agency="", theme="", freshness="", sharing="")
    assert "Công trình xây dựng" in hit.text and "Địa giới phường" not in hit.text
    assert "Không có lớp nào phù hợp" in page(http, "/catalogue", lang="vi", q="không có gì thế này").text
    nasty = page(http, "/catalogue", lang="en", q='"><script>alert(1)</script>')
    assert not nasty.all("script")
    assert any(a.get("value") == '"><script>alert(1)</script>' for a in nasty.all("input"))


def test_the_list_comes_in_pages(http: httpx.Client) -> None:
    first = page(http, "/catalogue", lang="en", limit="4")
    (following,) = [a["href"] for a in first.all("a") if a.get("rel") == "next"]
    second = Page(http.get(str(following)))
    titles = [
        set(re.findall(r"/catalogue/([a-z_.]+)\?", str([a["href"] for a in found.all("a")])))
        for found in (first, second)
    ]
    assert len(titles[0]) == len(titles[1]) == 4 and not titles[0] & titles[1]
    assert [a for a in second.all("a") if a.get("rel") == "prev"]


def test_a_dataset_s_page_says_all_there_is_to_know(http: httpx.Client) -> None:
    for language, words in (
        ("en", ("Construction", "features", "CC0-1.0", "Everybody may read it", "How to cite", "Storeys", "version 1 of")),
        ("vi", ("Xây dựng", "đối tượng", "CC0-1.0", "Mọi người đều được đọc", "Cách trích dẫn", "Số tầng", "phiên bản 1 ngày")),
    ):  # fmt: skip
        found = page(http, f"/catalogue/{LAYER}", lang=language)
        for word in words:
            assert word in found.text, word
        links = {str(a.get("href")) for a in found.all("a")}
        for form in ("geojson", "gpkg", "fgb", "parquet", "csv"):
            assert f"{str(http.base_url).rstrip('/')}/downloads/{LAYER}.{form}" in links
        assert any(link.startswith(f"{http.base_url}?lang=") or f"/?lang={language}#" in link for link in links)
        assert (
            "@misc{construction_buildings_v1" in found.text
            and "curl " in found.text
            and "to_geodataframe" in found.text
        )
    size = len(http.get(f"/downloads/{LAYER}.csv").content)
    assert f"{round(size / 1000)} kB" in page(http, f"/catalogue/{LAYER}", lang="en").text


def test_the_landing_page_and_the_layer_s_page_lead_here(http: httpx.Client) -> None:
    assert any("/catalogue?" in str(a.get("href")) for a in page(http, "/landing").all("a"))
    assert any(f"/catalogue/{LAYER}?" in str(a.get("href")) for a in page(http, f"/collections/{LAYER}").all("a"))
    links = http.get("/landing", params={"f": "json"}).json()["links"]
    assert any(link["rel"].endswith("dcat#catalog") for link in links)


def test_every_layer_has_a_picture_that_does_nothing(http: httpx.Client) -> None:
    layers = [c["id"] for c in http.get("/collections").json()["collections"]]
    for layer in layers:
        answer = http.get(f"/catalogue/{layer}/preview.svg")
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["content-security-policy"] == "default-src 'none'"
        assert len(answer.content) < 400_000
        drawing = ET.fromstring(answer.text)  # noqa: S314  # our own
        kinds = {element.tag.rpartition("}")[2] for element in drawing.iter()}
        assert kinds <= {"svg", "title", "rect", "path", "text"}
        paths = [element for element in drawing.iter() if element.tag.endswith("path")]
        assert len(paths) >= 3, layer
        numbers = [float(n) for p in paths for n in re.findall(r"-?\d+\.?\d*", p.get("d", ""))[:4]]
        assert all(-5000 < n < 5000 for n in numbers)
        again = http.get(f"/catalogue/{layer}/preview.svg", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


def test_a_layer_of_the_sample_is_called_so(http: httpx.Client) -> None:
    assert "Dữ liệu mẫu" in page(http, f"/catalogue/{LAYER}", lang="vi").text
    document = http.get(f"/catalogue/{LAYER}", headers={"Accept": "application/ld+json"}).json()
    assert {"@value": "dữ liệu mẫu", "@language": "vi"} in document["dcat:keyword"]


def test_words_are_there_in_both_languages_and_none_is_alike_by_mistake() -> None:
    for name, text in WORDS.items():
        assert text.en and text.vi and text.en != text.vi, name


def test_an_empty_city_has_an_empty_catalogue(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        ensure_agency(session, "lab", Text(en="Lab", vi="Lab"))
        ensure_layer(session, LayerEntry("lab.nothing", "places", Text(en="N", vi="N"), sharing=Sharing.OPEN))
    with serving(database, tmp_path / "log") as server, httpx.Client(base_url=server.url) as http:
        for _ in range(50):
            if http.get("/catalogue").status_code == 200:
                break
            time.sleep(0.1)
        assert "No layer is open" in page(http, "/catalogue", lang="en").text
        assert http.get("/catalogue").json()["dcat:dataset"] == []
        assert http.get("/catalogue/lab.nothing").status_code == 404

"""The documents around the features: landing page, conformance, collections, schemas, and pages for people."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest

from tests.features.conftest import COUNT, ITEMS, LAYER, NAMES
from twin.text import LANGUAGES

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PAGES = [
    "/landing", "/conformance", "/collections", f"/collections/{LAYER}", f"/collections/{LAYER}/schema",
    f"/collections/{LAYER}/queryables", f"/collections/{LAYER}/sortables", f"{ITEMS}?limit=100", f"{ITEMS}/p11",
]  # fmt: skip


def test_the_root_is_the_map_for_browsers_and_the_landing_page_for_programs(http: httpx.Client) -> None:
    page = http.get("/", headers={"Accept": BROWSER})
    assert "text/html" in page.headers["content-type"] and 'id="map"' in page.text
    accepted = [{"Accept": "application/json"}, {"Accept": "*/*"}]
    answers = [*(http.get("/", headers=h) for h in accepted), http.get("/?f=json"), http.get("/landing")]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert "Accept" in answer.headers["vary"]
        links = {link["rel"]: link["href"] for link in answer.json()["links"]}
        assert set(links) >= {"self", "alternate", "service-desc", "service-doc", "conformance", "data"}
        for address in links.values():
            assert http.get(address).status_code == 200
    assert http.get(links["service-desc"]).json()["openapi"] == "3.1.0"


def test_every_conformance_class_is_named_once_and_has_its_route(http: httpx.Client) -> None:
    classes = http.get("/conformance").json()["conformsTo"]
    assert len(classes) == len(set(classes))
    assert {
        "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
        "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
        "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
        "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/schemas",
        "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
        "http://www.opengis.net/spec/cql2/1.0/conf/temporal-functions",
    } <= set(classes)
    # No queryable is an array, and there are no functions of our own.
    assert not {c for c in classes if c.endswith(("/array-functions", "/conf/functions"))}


def test_a_collection_keeps_what_the_map_reads_and_says_what_ogc_asks(http: httpx.Client) -> None:
    listed = http.get("/collections").json()
    (document,) = listed["collections"]
    one = http.get(f"/collections/{LAYER}").json()
    assert {k: v for k, v in document.items() if k != "links"} == {k: v for k, v in one.items() if k != "links"}
    assert one["featureCount"] == COUNT and one["version"] == 2 and one["tiles"].startswith("/tiles/")
    west, south, east, north = one["extent"]["spatial"]["bbox"][0]
    assert [west, south, east, north] == one["bounds"] and 106 < west < east < 107 and 10 < south < north < 11
    assert one["extent"]["temporal"]["interval"] == [[None, None]]
    for link in one["links"]:
        assert http.get(link["href"], headers={"Accept": "*/*"}).status_code == 200, link


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_is_the_contract(http: httpx.Client, language: str) -> None:
    schema = http.get(f"/collections/{LAYER}/schema", params={"lang": language})
    assert schema.headers["content-type"] == "application/schema+json"
    document = schema.json()["properties"]
    assert list(document) == ["id", "geometry", *NAMES]
    assert document["id"]["x-ogc-role"] == "id"
    assert document["geometry"] | {"title": ""} == {
        "title": "", "x-ogc-role": "primary-geometry", "format": "geometry-polygon-or-multipolygon",
    }  # fmt: skip
    assert document["size"]["x-ogc-unit"] == "m2" and document["size"]["minimum"] == -1000
    assert document["use"]["enum"] == ["home", "shop"]
    assert document["use"]["x-enum-titles"]["home"] == {"vi": "Nhà", "en": "Home"}[language]
    assert document["label"]["title"] == {"vi": "Nhãn", "en": "Label"}[language]
    assert (document["since"]["format"], document["seen_at"]["format"]) == ("date", "date-time")
    assert set(http.get(f"/collections/{LAYER}/queryables").json()["properties"]) == set(document)
    assert set(http.get(f"/collections/{LAYER}/sortables").json()["properties"]) == set(document) - {"geometry"}


class Reader(HTMLParser):
    """What a page holds: its elements, its addresses, its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        self.language = self.language or dict(attrs).get("lang") or ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_for_people_is_whole_safe_and_in_their_language(http: httpx.Client, path: str, language: str) -> None:
    answer = http.get(path, headers={"Accept": BROWSER, "Accept-Language": language})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["content-language"] == language and "Accept-Language" in answer.headers["vary"]
    page = Reader()
    page.feed(answer.text)
    assert page.language == language
    assert "script" not in page.elements and "style" not in page.elements and page.elements.count("h1") == 1
    own = str(http.base_url).rstrip("/")
    for address in set(page.addresses):
        assert address.startswith(own)
        assert http.get(address, headers={"Accept": BROWSER}).status_code == 200, address
    assert ("Trang đầu" in page.text) == (language == "vi")
    # Else every browser asks for /favicon.ico, which is not there.
    assert f"{own}/favicon.svg" in page.addresses
    trail = " ".join(page.text.partition("Tiếng Việt" if language == "en" else "English")[0].split())
    assert not trail.removesuffix("Bản đồ" if language == "vi" else "Map").rstrip().endswith("›")


def test_what_agencies_wrote_stays_text_on_a_page(http: httpx.Client) -> None:
    answer = http.get(ITEMS, params={"f": "html", "limit": 100})
    assert "<script>alert" not in answer.text and "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_pages_follow_each_other(http: httpx.Client) -> None:
    page = Reader()
    page.feed(http.get(ITEMS, params={"f": "html", "limit": 30, "lang": "en"}).text)
    following = next(a for a in page.addresses if "token=" in a and "f=html" in a)
    assert "p30" in http.get(following).text

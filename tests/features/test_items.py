"""Items over HTTP: pages, order, boxes, times, versions, properties, caching, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import chain
from urllib.parse import quote

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import LiveServer
from tests.examples import examples
from tests.features.conftest import COUNT, ITEMS, LAYER, NAMES, TABLE, ids, linked, plots, publish
from tests.test_sharing_over_http import eventually
from twin.catalogue.versions import rollback

SAME = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows(sql: psycopg.Connection, where: str = "true", order: str = "fid", values: object = ()) -> list[str]:
    return [i for (i,) in sql.execute(f"SELECT id FROM {TABLE} f WHERE {where} ORDER BY {order}", values).fetchall()]


def walk(http: httpx.Client, answer: httpx.Response, rel: str) -> list[list[str]]:
    pages = [ids(answer)]
    while address := linked(answer, rel):
        answer = http.get(address)
        pages.append(ids(answer))
    return pages


def joined(pages: Iterable[list[str]]) -> list[str]:
    return list(chain.from_iterable(pages))


def test_a_feature_is_what_stands_in_the_table(http: httpx.Client, sql: psycopg.Connection) -> None:
    found = http.get(ITEMS, params={"limit": 1000}).json()
    assert (found["type"], found["numberReturned"], found["numberMatched"]) == ("FeatureCollection", COUNT, COUNT)
    columns = ", ".join(f'f."{n}"' for n in NAMES)
    expected = sql.execute(
        f"SELECT id, ST_AsGeoJSON(geom, 7, 0)::json, (SELECT row_to_json(p) FROM (SELECT {columns}) p) "
        f"FROM {TABLE} f ORDER BY fid"
    ).fetchall()
    assert [(f["id"], f["geometry"], f["properties"]) for f in found["features"]] == expected
    assert {p["label"] for _, _, p in expected} >= {"<script>alert(1)</script>", "line\nbreak", None, ""}


def test_pages_forward_and_back_hold_every_feature_once_in_order(http: httpx.Client, sql: psycopg.Connection) -> None:
    first = http.get(ITEMS, params={"limit": 37})
    assert linked(first, "prev") is None
    pages = walk(http, first, "next")
    assert [len(p) for p in pages] == [37] * 6 + [COUNT - 6 * 37]
    assert joined(pages) == rows(sql)
    last = linked(first, "next")
    for _ in range(5):
        last = linked(http.get(last), "next")
    back = walk(http, http.get(last), "prev")
    assert joined(reversed(back)) == rows(sql)


@SAME
@given(
    keys=st.lists(st.sampled_from(["label", "size", "floors", "built", "seen_at", "since", "use", "id"]), min_size=1,
                  max_size=3, unique=True),
    falling=st.lists(st.booleans(), min_size=3, max_size=3),
    limit=st.integers(7, 90),
)  # fmt: skip
def test_sorted_pages_are_the_sorted_table_both_ways(
    http: httpx.Client, sql: psycopg.Connection, keys: list[str], falling: list[bool], limit: int
) -> None:
    texts = ("label", "use", "id")
    order = ", ".join(
        f'"{k}"{" COLLATE " + chr(34) + "C" + chr(34) if k in texts else ""} {"DESC" if d else "ASC"} NULLS LAST'
        for k, d in zip(keys, falling, strict=False)
    )
    expected = rows(sql, order=f"{order}, fid")
    sortby = ",".join(("-" if d else "") + k for k, d in zip(keys, falling, strict=False))
    first = http.get(ITEMS, params={"sortby": sortby, "limit": limit})
    pages = walk(http, first, "next")
    assert joined(pages) == expected
    answer = first
    while address := linked(answer, "next"):
        answer = http.get(address)
    assert joined(reversed(walk(http, answer, "prev"))) == expected


def test_a_long_page_is_streamed_and_equals_short_ones(http: httpx.Client) -> None:
    # More than is read at once, so the other road is taken.
    long = http.get(ITEMS, params={"limit": 5000}).json()
    short = http.get(ITEMS, params={"limit": 1000}).json()
    assert long["features"] == short["features"]
    assert (long["numberReturned"], long["numberMatched"]) == (COUNT, COUNT)
    assert [link["rel"] for link in long["links"]] == [link["rel"] for link in short["links"]]


@SAME
@given(
    x=st.floats(106.69, 106.73), y=st.floats(10.76, 10.79), w=st.floats(0, 0.02), h=st.floats(0, 0.01),
    six=st.booleans(),
)  # fmt: skip
def test_a_box_gives_what_a_plain_query_gives(
    http: httpx.Client, sql: psycopg.Connection, x: float, y: float, w: float, h: float, six: bool
) -> None:
    box = [x, y, -5, x + w, y + h, 5] if six else [x, y, x + w, y + h]
    found = http.get(ITEMS, params={"bbox": ",".join(map(repr, box)), "limit": 1000, "count": "true"})
    expected = rows(sql, "ST_Intersects(geom, ST_MakeEnvelope(%s, %s, %s, %s, 4326))", values=[x, y, x + w, y + h])
    assert ids(found) == expected
    assert found.json()["numberMatched"] == len(expected)


def test_a_box_over_the_180th_meridian_is_two_boxes(http: httpx.Client) -> None:
    assert len(ids(http.get(ITEMS, params={"bbox": "106,10,-170,11", "limit": 1000}))) == COUNT
    assert ids(http.get(ITEMS, params={"bbox": "170,10,-170,11", "limit": 1000})) == []


@pytest.mark.parametrize(
    ("given_", "where"),
    [
        ("2026-01-15T00:00:00Z/2026-02-01T07:00:00+07:00", "seen_at BETWEEN '2026-01-15Z' AND '2026-02-01Z'"),
        ("2026-01-15/..", "seen_at >= '2026-01-15Z'"),
        ("/2026-01-15", "seen_at < '2026-01-16Z'"),
        ("2026-01-20", "seen_at >= '2026-01-20Z' AND seen_at < '2026-01-21Z'"),
        ("../..", "seen_at IS NOT NULL"),
    ],
)
def test_datetime_is_compared_with_the_primary_instant(
    http: httpx.Client, sql: psycopg.Connection, given_: str, where: str
) -> None:
    assert ids(http.get(ITEMS, params={"datetime": given_, "limit": 1000})) == rows(sql, where)
    schema = http.get(f"/collections/{LAYER}/schema").json()["properties"]
    assert schema["seen_at"]["x-ogc-role"] == "primary-instant"


def test_queryables_are_parameters(http: httpx.Client, sql: psycopg.Connection) -> None:
    ask = lambda **given: ids(http.get(ITEMS, params={"limit": 1000, **given}))  # noqa: E731
    assert ask(label="it's") == rows(sql, "label = 'it''s'")
    assert ask(floors="3", use="home") == rows(sql, "floors = 3 AND use = 'home'")
    assert ask(built="true") == rows(sql, "built")
    assert ask(since="2020-05-05") == rows(sql, "since = '2020-05-05'")
    assert ask(ids="p1,p2,nothing") == rows(sql, "id IN ('p1', 'p2')")


def test_only_the_named_properties_come(http: httpx.Client) -> None:
    found = http.get(ITEMS, params={"properties": "use,size", "limit": 3}).json()["features"]
    assert [list(f["properties"]) for f in found] == [["size", "use"]] * 3
    assert http.get(ITEMS, params={"properties": "", "limit": 1}).json()["features"][0]["properties"] == {}


def test_versions_are_had_by_number_and_by_time(http: httpx.Client, sql: psycopg.Connection) -> None:
    size = lambda **given: http.get(ITEMS, params={"limit": 2, **given}).json()["features"][1]["properties"]["size"]  # noqa: E731
    (first,) = sql.execute("SELECT published_at FROM twin.layer_version WHERE number = 1").fetchone()
    (second,) = sql.execute("SELECT published_at FROM twin.layer_version WHERE number = 2").fetchone()
    between = first + (second - first) / 2
    assert size(version=1) == size(asOf=between.isoformat()) == size() + 100
    assert size(version=2) == size(asOf=(second + timedelta(seconds=1)).isoformat()) == size()
    before = http.get(ITEMS, params={"asOf": "2001-01-01"})
    assert before.status_code == 404
    assert http.get(ITEMS, params={"version": 9}).status_code == 404


def test_pages_stay_of_one_version_while_another_is_published(lab: LiveServer, http: httpx.Client) -> None:
    first = http.get(ITEMS, params={"limit": 100})
    wait_for = lambda count: http.get(ITEMS, params={"limit": 1}).json()["numberMatched"] == count  # noqa: E731
    publish(lab.database, plots(50, size_shift=7))
    try:
        eventually(lambda: wait_for(50), True)
        assert joined(walk(http, first, "next")) == list(plots()["id"])
    finally:
        rollback(lab.database, LAYER, 2, "a test")
        eventually(lambda: wait_for(COUNT), True)


def test_one_feature_by_its_id(http: httpx.Client, sql: psycopg.Connection) -> None:
    odd = next(i for i in rows(sql) if "/" in i)
    assert http.get(f"{ITEMS}/{quote(odd, safe='')}").json()["id"] == odd
    assert odd in ids(http.get(ITEMS, params={"ids": odd}))
    found = http.get(f"{ITEMS}/p7").json()
    assert (found["type"], found["id"]) == ("Feature", "p7")
    assert {link["rel"] for link in found["links"]} >= {"self", "alternate", "collection"}
    assert http.get(linked_self(found)).json()["properties"] == found["properties"]
    assert http.get(f"{ITEMS}/p99999").status_code == 404
    assert http.get(f"{ITEMS}/%00").status_code == 404


def linked_self(found: dict) -> str:
    return next(link["href"] for link in found["links"] if link["rel"] == "self")


def test_an_answer_that_names_its_version_may_be_kept_for_ever(http: httpx.Client) -> None:
    pinned, current = http.get(ITEMS, params={"version": 2}), http.get(ITEMS)
    assert "immutable" in pinned.headers["cache-control"] and "immutable" not in current.headers["cache-control"]
    for answer in (pinned, current, http.get(f"{ITEMS}/p7"), http.get(f"/collections/{LAYER}/schema")):
        again = http.get(answer.url, headers={"If-None-Match": f'"x", {answer.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
    others = [http.get(ITEMS, params=p).headers["etag"] for p in ({"limit": 11}, {"version": 1}, {"f": "csv"})]
    assert len({pinned.headers["etag"], *others}) == 4
    assert "immutable" in http.get(linked(current, "next")).headers["cache-control"]


def test_head_says_what_get_says(http: httpx.Client) -> None:
    get, head = http.get(ITEMS), http.head(ITEMS)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["etag"] == get.headers["etag"] and head.headers["content-crs"] == get.headers["content-crs"]
    assert http.post(ITEMS).status_code == 405


REFUSED = [
    "bbox=1,2,3", "bbox=1,2,3,x", "bbox=nan,1,2,3", "bbox=1e999,0,1,1", "bbox=0,5,1,4", "bbox=0,0,9,1,1,1", "bbox=",
    "limit=0", "limit=-1", "limit=x", "limit=1.5", "limit=", "datetime=yesterday", "datetime=2026-13-01", "datetime=/",
    "datetime=2026-02-01/2026-01-01", "datetime=2026-01-01/2026-02-01/2026-03-01", "crs=EPSG:1", "crs=", "bbox-crs=x",
    "filter=", "filter=size", "filter=nothing%20=%201", "filter=size%20=%20'x'", "filter-lang=sql", "filter-crs=x",
    "sortby=nothing", "sortby=geometry", "sortby=size,size", "sortby=", "properties=nothing", "version=0", "version=x",
    "asOf=now", "asOf=2026-01-01&version=1", "count=maybe", "token=x", "token=WzEsdHJ1ZSwiYSIsIiJd", "f=gif", "lang=fr",
    "unknown=1", "limit=1&limit=2", "floors=many", "built=yes", "size=1e999", "seen_at=now", "geometry=x",
    "ids=" + ",".join(["a"] * 1001),
]  # fmt: skip


@pytest.mark.parametrize("query", REFUSED)
def test_what_is_wrong_is_a_400_that_names_it(http: httpx.Client, query: str) -> None:
    answer = http.get(f"{ITEMS}?{query}", headers={"Accept-Language": "en"})
    if query == "datetime=/":
        assert answer.status_code == 200  # open at both ends, as the standard writes it
        return
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert query.partition("=")[0] in answer.json()["detail"]


def test_unknown_collections_are_404_and_unknown_parameters_400_everywhere(http: httpx.Client) -> None:
    for path in ("items", "items/p1", "schema", "queryables", "sortables"):
        assert http.get(f"/collections/lab.nothing/{path}").status_code == 404
        assert http.get(f"/collections/{LAYER}/{path}?unknown=1").status_code == 400
    for path in ("/collections", f"/collections/{LAYER}", "/conformance", "/landing", "/cells/at"):
        assert http.get(f"{path}?unknown=1").status_code == 400
    assert http.get("/collections/lab.nothing").status_code == 404


def test_more_than_the_limit_is_taken_for_the_limit(http: httpx.Client) -> None:
    assert http.get(ITEMS, params={"limit": 10**20}).json()["numberReturned"] == COUNT


def test_what_takes_too_long_is_a_503_with_a_sentence_in_every_format(
    http: httpx.Client, sql: psycopg.Connection
) -> None:
    asked = [
        {},
        {"limit": 5000},
        {"f": "csv"},
        {"f": "geoparquet"},
        {"f": "flatgeobuf"},
        {"filter": "size > 0", "f": "html"},
    ]
    # One after another: a client that asks for all of them at once is refused some for holding too many connections.
    with sql.transaction():
        sql.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        answers = [http.get(ITEMS, params={**given, "lang": "en"}) for given in asked]
    assert {a.status_code for a in answers} == {503}
    assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}
    assert all("lab_plots" not in a.text for a in answers)
    assert len(ids(http.get(ITEMS))) == 10

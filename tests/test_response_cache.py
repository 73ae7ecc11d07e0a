"""Answers from memory: the same as fresh ones, never another's, and gone with what they were made of."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import sqlalchemy as sa

from tests.conftest import LiveServer
from tests.test_sharing_over_http import OPEN, eventually, key, server  # noqa: F401  # a fixture
from tests.test_versions import LAYER, lamps, shape
from twin.catalogue.staging import Provenance, Staging

ITEMS = f"/collections/{OPEN}/items?limit=10"


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:  # noqa: F811
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def said(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, headers, answer.content


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_from_memory_is_the_same_in_every_header_and_byte(http: httpx.Client, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    answers = [said(http.get(ITEMS, headers=headers)) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    tag = answers[0][1]["etag"]
    again = http.get(ITEMS, headers=headers | {"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for several in (f'"x", {tag}', "*"):
        assert http.get(ITEMS, headers=headers | {"If-None-Match": several}).status_code == 304
    assert http.get(ITEMS, headers=headers | {"If-None-Match": '"other"'}).status_code == 200


def test_it_is_counted_as_its_route(http: httpx.Client) -> None:
    line = 'twin_requests_total{method="GET",route="/collections/{layer}/items",status="2xx"} '

    def counted() -> float:
        return float(http.get("/metrics").text.split(line)[1].split("\n")[0])

    http.get(ITEMS)
    before = counted()
    for _ in range(5):
        http.get(ITEMS)
    assert counted() == before + 5


def test_questions_that_differ_in_what_they_accept_get_answers_of_their_own(http: httpx.Client) -> None:
    for _ in range(2):
        kinds = {
            accept: http.get(f"/collections/{OPEN}/items", headers={"Accept": accept}).headers["content-type"]
            for accept in ("application/geo+json", "text/csv", "text/html", "application/fg+json")
        }
        assert all(kind.startswith(accept) for accept, kind in kinds.items())
        pages = [
            http.get(f"/collections/{OPEN}/items?f=html", headers={"Accept-Language": lang}).text
            for lang in ("vi", "en")
        ]
        assert 'lang="vi"' in pages[0] and 'lang="en"' in pages[1]
        links = [http.get(ITEMS, headers={"Host": host}).json()["links"][0]["href"] for host in ("a.test", "b.test")]
        assert "a.test" in links[0] and "b.test" in links[1]


def test_what_a_key_opens_is_never_kept_for_others(server: LiveServer, http: httpx.Client) -> None:  # noqa: F811
    own = {"X-API-Key": key(server, "transport")}
    secret = f"/collections/{LAYER}/items?limit=10"
    eventually(lambda: http.get(secret, headers=own).status_code, 200)
    for _ in range(3):
        assert http.get(secret, headers=own).status_code == 200
        assert http.get(secret).status_code == 404
    # A key that is wrong is refused, though the answer lies in memory for everybody.
    http.get(ITEMS)
    assert http.get(ITEMS, headers={"X-API-Key": "twin_wrong"}).status_code == 401


def test_a_new_version_and_a_closed_layer_end_what_was_kept(server: LiveServer, http: httpx.Client) -> None:  # noqa: F811
    matched = lambda: http.get(ITEMS).json().get("numberMatched")  # noqa: E731
    before = matched()
    matched()
    with Staging(server.database, OPEN, shape(), Provenance("a test", "made up")) as staging:
        staging.append(lamps(before + 7))
        staging.publish()
    eventually(matched, before + 7)
    http.get(ITEMS)
    change = "UPDATE twin.layer SET sharing = '{}' WHERE name = 'open_lamps'; SELECT pg_notify('twin', '{}')"
    event = '{"kind": "layer", "layer": "transport.open_lamps"}'
    try:
        with server.database.session() as session:
            session.execute(sa.text(change.format("restricted", event).replace(":", "\\:")))
        eventually(lambda: http.get(ITEMS).status_code, 404)
    finally:
        with server.database.session() as session:
            session.execute(sa.text(change.format("open", event).replace(":", "\\:")))
    eventually(lambda: http.get(ITEMS).status_code, 200)


def test_operators_see_how_much_is_kept_and_how_often_it_serves(http: httpx.Client) -> None:
    def kept() -> dict[str, float]:
        lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith("twin_answers_kept{")]
        return {line.split('"')[1]: float(line.split()[-1]) for line in lines}

    address = f"/collections/{OPEN}/items?limit=9"
    before = kept()
    for _ in range(21):
        assert http.get(address).status_code == 200
    after = kept()
    assert after["found"] == before["found"] + 20
    assert after["answers"] == before["answers"] + 1
    assert after["bytes"] > before["bytes"]


def test_a_version_that_is_dropped_while_it_is_asked_for_is_no_fault_of_the_server(
    server: LiveServer,  # noqa: F811
    http: httpx.Client,
) -> None:
    """The server still lists the version, and its tables are gone: the moment before the news of a publish arrives."""
    number = http.get(f"/collections/{OPEN}").json()["version"]
    with server.database.session() as session:
        tables = (
            session.execute(
                sa.text(
                    "SELECT table_name FROM twin.layer_version WHERE table_name LIKE 'transport_open_lamps%' AND number = :n"
                ),
                {"n": number},
            )
            .scalars()
            .all()
        )
        for name in ("", "_cells", "_rollup"):
            session.execute(sa.text(f'ALTER TABLE IF EXISTS layer_data."{tables[0]}{name}" RENAME TO "away{name}"'))
    try:
        for path in (
            f"/tiles/{OPEN}@{number}/15/26096/15409.mvt?filter=name='x'", f"/collections/{OPEN}/items?limit=3&version={number}",
            f"/collections/{OPEN}/items/1", f"/collections/{OPEN}/items?f=csv&limit=7", "/cells/at?lng=106.7&lat=10.77",
            f"/catalogue/{OPEN}/preview.svg", f"/downloads/{OPEN}.geojson", f"/catalogue/{OPEN}?f=html",
        ):  # fmt: skip
            answer = http.get(path, headers={"Accept-Language": "en"})
            assert answer.status_code in (200, 404, 503), (path, answer.status_code, answer.text[:300])
            if answer.status_code != 200:
                assert "retired" in answer.json()["detail"], path
    finally:
        with server.database.session() as session:
            for name in ("", "_cells", "_rollup"):
                session.execute(sa.text(f'ALTER TABLE IF EXISTS layer_data."away{name}" RENAME TO "{tables[0]}{name}"'))


def test_a_header_that_comes_twice_brings_nobody_another_s_answer(http: httpx.Client) -> None:
    address = f"/collections/{OPEN}/items?limit=8"
    for twice in (
        [("Accept", "text/csv"), ("Accept", "application/geo+json")],
        [("Accept", "application/geo+json"), ("Accept", "text/csv")],
    ):
        http.get(address, headers=twice)
        for accept in ("application/geo+json", "text/csv"):
            assert http.get(address, headers={"Accept": accept}).headers["content-type"].startswith(accept)

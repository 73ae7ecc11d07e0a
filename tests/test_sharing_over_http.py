"""The sharing policy on every channel, and a server that outlives its database."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.conftest import HOME, RUN, LiveServer, serving, text_of
from tests.test_versions import LAYER, lamps, publish, shape
from twin.access.keys import new_key, revoke_key
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.catalogue.staging import Provenance, Staging
from twin.catalogue.versions import rollback
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.text import Text

TILE = "15/26096/15409"
OPEN = "transport.open_lamps"


@pytest.fixture(scope="module")
def server(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    database = Database(cluster.url(f"{os.environ[RUN]}_sharing_{os.getpid()}"), private=True)
    engine = sa.create_engine(cluster.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {database.url.database} WITH (FORCE)"))
    migrate(database)
    with database.session() as session:
        for name in ("transport", "health"):
            ensure_agency(session, name, Text(en=name, vi=name))
        ensure_layer(session, LayerEntry(LAYER, "places", Text(en="Secret lamps", vi="Đèn bí mật")))
        ensure_layer(session, LayerEntry(OPEN, "places", Text(en="Lamps", vi="Đèn"), sharing=Sharing.OPEN))
    publish(database, lamps(100))
    with Staging(database, OPEN, shape(), Provenance("a test", "made up")) as staging:
        staging.append(lamps(100))
        staging.publish()
    with serving(database, tmp_path_factory.mktemp("sharing") / "server.log") as running:
        yield running
    database.writer.dispose()
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database.url.database} WITH (FORCE)"))
    engine.dispose()


def key(server: LiveServer, agency: str) -> str:
    with server.database.session() as session:
        return new_key(session, agency, f"tester of {agency}", PrincipalRole.READER, "a test")


def test_of_two_keys_in_one_request_the_first_counts_at_every_address(server: LiveServer) -> None:
    good = ("Authorization", f"Bearer {key(server, 'transport')}")
    bad = ("Authorization", "Bearer twin_nobody")
    eventually(lambda: httpx.get(f"{server.url}/collections/{LAYER}", headers=[good]).status_code, 200)
    for address in (f"/collections/{LAYER}", f"/tiles/{LAYER}/{TILE}.mvt"):
        answers = [
            httpx.get(server.url + address, headers=headers).status_code for headers in ([good, bad], [bad, good])
        ]
        assert answers == [200, 401], address


def eventually(ask: object, expected: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while (answer := ask()) != expected:  # type: ignore[operator]
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


ITEM_FORMATS = ("json", "jsonfg", "html", "ndjson", "geojsonseq", "csv", "flatgeobuf", "geoparquet")
CHANNELS = [
    f"/tiles/{LAYER}/{TILE}.mvt", f"/tiles/{LAYER}@1/{TILE}.mvt", f"/tiles/{OPEN},{LAYER}/{TILE}.mvt",
    f"/tiles/{LAYER}/tilejson.json", f"/collections/{LAYER}", f"/collections/{LAYER}?f=html",
    f"/collections/{LAYER}/schema", f"/collections/{LAYER}/queryables?f=html", f"/collections/{LAYER}/sortables",
    f"/collections/{LAYER}/tiles", f"/collections/{LAYER}/tiles/WebMercatorQuad",
    f"/collections/{LAYER}/tiles/WebMercatorQuad/15/15409/26096", f"/tiles/{LAYER}/{TILE}.mvt?filter=name='lamp'",
    f"/collections/{LAYER}/items/7", f"/collections/{LAYER}/items/7?f=jsonfg", f"/collections/{LAYER}/items/7?f=html",
    f"/collections/{LAYER}/items?version=1", f"/collections/{LAYER}/items?asOf=2099-01-01",
    f"/collections/{LAYER}/items?limit=5000", f"/collections/{LAYER}/items?filter=name='lamp'",
    *(f"/collections/{LAYER}/items?f={form}" for form in ITEM_FORMATS),
    *(f"/collections/{LAYER}/cells?f={form}" for form in ("json", "geojson", "csv", "arrow", "parquet")),
    f"/collections/{LAYER}/cells?version=1&resolution=5", f"/collections/{LAYER}/cells/tiles/WebMercatorQuad/3/3/6",
]  # fmt: skip


def plain(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, text_of(answer)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_restricted_layer_answers_strangers_like_one_that_does_not_exist(server: LiveServer, channel: str) -> None:
    other = key(server, "health")
    eventually(lambda: httpx.get(f"{server.url}/collections/{OPEN}", headers={"X-API-Key": other}).status_code, 200)
    missing = plain(httpx.get(server.url + channel.replace("transport.lamps", "transport.lumps")))
    for headers in ({}, {"Authorization": f"Bearer {other}"}):
        hidden = httpx.get(server.url + channel, headers=headers)
        assert missing[0] == 404
        assert plain(hidden)[1].replace("lamps", "lumps") == missing[1].replace("lamps", "lumps")
        assert hidden.status_code == 404


@pytest.mark.parametrize("channel", CHANNELS)
def test_its_own_agency_reads_a_restricted_layer_on_every_channel(server: LiveServer, channel: str) -> None:
    own = key(server, "transport")
    ask = lambda: httpx.get(server.url + channel, headers={"Authorization": f"Bearer {own}"})  # noqa: E731
    eventually(lambda: ask().status_code, 200)
    assert "public" not in ask().headers["cache-control"]


def test_a_restricted_layer_is_in_no_list_and_no_cell_of_a_stranger(server: LiveServer) -> None:
    own = key(server, "transport")
    cells = f"{server.url}/cells/at?lng=106.7005&lat=10.77"
    pages = (f"{server.url}/collections", f"{server.url}/collections?f=html", f"{server.url}/landing?f=html")
    for path in pages:
        assert LAYER not in httpx.get(path).text
    for path in (f"{server.url}/collections", f"{server.url}/collections?f=html", cells, f"{server.url}/deck.json"):
        assert LAYER not in httpx.get(path).text
        eventually(lambda path=path: LAYER in httpx.get(path, headers={"X-API-Key": own}).text, True)


def test_a_stranger_s_wrong_question_about_a_hidden_layer_is_answered_as_about_none(server: LiveServer) -> None:
    for query in ("unknown=1", "limit=0", "filter=nothing=1", "version=99", "token=x", "f=gif", "asOf=now"):
        for path in ("items", "items/7", "schema"):
            replies = [
                httpx.get(f"{server.url}/collections/{name}/{path}?{query}") for name in (LAYER, "transport.lumps")
            ]
            status, text = plain(replies[1])
            assert plain(replies[0]) == (status, text.replace("lumps", "lamps"))


def test_a_tag_does_not_tell_a_stranger_that_a_layer_is_there(server: LiveServer) -> None:
    own = key(server, "transport")
    ask = lambda **headers: httpx.get(f"{server.url}/collections/{LAYER}/items", headers=headers)  # noqa: E731
    eventually(lambda: ask(**{"X-API-Key": own}).status_code, 200)
    tag = ask(**{"X-API-Key": own}).headers["etag"]
    assert ask(**{"X-API-Key": own, "If-None-Match": tag}).status_code == 304
    assert ask(**{"If-None-Match": tag}).status_code == ask(**{"If-None-Match": "*"}).status_code == 404


def test_a_key_works_within_moments_and_ends_within_moments(server: LiveServer) -> None:
    token = key(server, "transport")
    ask = lambda: httpx.get(f"{server.url}/collections/{LAYER}", headers={"X-API-Key": token}).status_code  # noqa: E731
    eventually(ask, 200)
    with server.database.session() as session:
        revoke_key(session, token, "a test")
    eventually(ask, 401)


def test_an_open_tile_may_be_kept_by_anybody(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/tiles/{OPEN}@1/{TILE}.mvt")
    assert answer.headers["cache-control"].startswith("public")
    assert "authorization" in answer.headers["vary"].lower()


def test_a_new_version_and_a_rollback_reach_a_running_server(server: LiveServer) -> None:
    number = lambda: httpx.get(f"{server.url}/collections/{OPEN}").json()["version"]  # noqa: E731
    tag = lambda: httpx.get(f"{server.url}/tiles/{OPEN}/{TILE}.mvt").headers["etag"]  # noqa: E731
    before = number()
    first_tag = tag()
    with Staging(server.database, OPEN, shape(), Provenance("a test", "made up")) as staging:
        staging.append(lamps(50, name="new"))
        staging.publish()
    eventually(number, before + 1)
    assert tag() != first_tag
    rollback(server.database, OPEN, before, "a test")
    eventually(number, before)
    assert tag() == first_tag


def test_a_server_answers_503_while_its_database_is_away_and_recovers_by_itself(tmp_path: Path) -> None:
    cluster = PrivateCluster(HOME.parent / "away")
    cluster.start()
    try:
        database = Database(cluster.url(f"away_{os.getpid()}_{secrets.token_hex(3)}"), private=True)
        migrate(database)
        with database.session() as session:
            ensure_agency(session, "transport", Text(en="Transport", vi="Giao thông"))
            ensure_layer(session, LayerEntry(LAYER, "places", Text(en="x", vi="x"), sharing=Sharing.OPEN))
        publish(database, lamps(10))
        database.writer.dispose()
        with serving(database, tmp_path / "server.log", cluster.home) as server:
            ask = lambda: httpx.get(f"{server.url}/tiles/{LAYER}/{TILE}.mvt", timeout=30)  # noqa: E731
            eventually(lambda: ask().status_code, 200)
            cluster.stop()
            # What is in memory is still served; what is not says when to come again.
            assert ask().status_code == 200
            away = "/".join([*TILE.split("/")[:2], str(int(TILE.split("/")[2]) + 1)])
            for path in ("/health", f"/tiles/{LAYER}/{away}.mvt", "/cells/at?lng=106.7&lat=10.77"):
                answer = httpx.get(server.url + path, timeout=30)
                assert answer.status_code == 503
                assert "postgres" not in answer.text and str(cluster.socket) not in answer.text
            assert httpx.get(f"{server.url}/health/live").status_code == 200
            cluster.start()
            eventually(lambda: httpx.get(f"{server.url}/health", timeout=30).status_code, 200, seconds=20)
            assert ask().status_code == 200
    finally:
        cluster.stop()

"""One client cannot keep the others waiting: a share of the connections, a budget for filters, a limit for addresses."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import httpx
import psycopg
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from tests.conftest import LiveServer, run_async, serving
from tiles.http.clients import CURRENT, Client, Shares
from tiles.http.server import CityContext
from tiles.ogc.filter_parsing import FilterParser
from tiles.ogc.parameters import read_filter
from twin.access.permit import Permit, whole_permit
from twin.catalogue.catalogue import read_catalogue
from twin.config import Settings
from twin.db.database import Database, libpq
from twin.errors import TooCostly, TooMany
from twin.query import costs
from twin.query.expressions import Parameters

ITEMS = "/collections/construction.buildings/items"
TABLE = "layer_data.construction_buildings_v1"
SETTINGS = {
    "TWIN_TRUSTED_PROXIES": "127.0.0.1", "TWIN_STATEMENT_TIMEOUT": "4", "TWIN_POOL_WAIT": "1", "TWIN_ANSWER_CACHE_MB": "0",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(sample_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(sample_database, tmp_path_factory.mktemp("shares") / "server.log", settings=SETTINGS) as running:
        yield running


def ask(server: LiveServer, address: str, **params: object) -> tuple[httpx.Response, float]:
    start = time.monotonic()
    # Written by hand: most clients write three bytes for a comma, and then no long list fits an address.
    query = "&".join(name + "=" + quote(str(value), safe="',()") for name, value in params.items())
    answer = httpx.get(f"{server.url}{ITEMS}?lang=en&{query}", headers={"X-Forwarded-For": address}, timeout=60)
    return answer, time.monotonic() - start


def test_slow_questions_of_one_client_leave_the_others_their_answers(server: LiveServer) -> None:
    """The table is locked, so that each question of the first client waits; the other asks another layer."""
    with psycopg.connect(libpq(server.database.url)) as connection, ThreadPoolExecutor(8) as pool:
        connection.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        hers = [pool.submit(ask, server, "203.0.113.1", filter=f"height > {n}") for n in range(8)]
        time.sleep(0.3)
        for n in range(10):
            answer = httpx.get(
                f"{server.url}/collections/transport.roads/items", params={"filter": f"lanes > {n}"},
                headers={"X-Forwarded-For": "203.0.113.2"}, timeout=30,
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
        answers = [future.result()[0] for future in hers]
        connection.rollback()
    assert {a.status_code for a in answers} <= {429, 503} and 429 in {a.status_code for a in answers}
    assert all(a.headers["retry-after"].isdigit() for a in answers)
    refused = next(a for a in answers if a.status_code == 429)
    assert "key or address" in refused.json()["detail"]
    assert ask(server, "203.0.113.1", filter="height > 1")[0].status_code == 200


def test_a_locked_table_is_asked_for_once(server: LiveServer) -> None:
    """Items, tiles that are in no memory, both at once, and cells answer within one statement's time."""
    paths = [
        "/tiles/construction.buildings/15/26098/15401.mvt", "/tiles/construction.buildings,transport.roads/14/13049/7700.mvt",
        f"{ITEMS}?limit=3", f"{ITEMS}?limit=2000", f"{ITEMS}?f=csv",
        "/collections/construction.buildings/tiles/WebMercatorQuad/15/15401/26098?filter=height>1",
        "/collections/construction.buildings/cells?resolution=9&bbox=106.6,10.7,106.7,10.8", "/cells/at?lng=106.7&lat=10.775",
    ]  # fmt: skip

    def get(number: int) -> tuple[httpx.Response, float]:
        # Each from an address of its own: none waits for its share.
        headers = {"Accept-Language": "en", "X-Forwarded-For": f"203.0.113.{100 + number}"}
        start = time.monotonic()
        return httpx.get(f"{server.url}{paths[number]}", headers=headers, timeout=60), time.monotonic() - start

    with psycopg.connect(libpq(server.database.url)) as connection, ThreadPoolExecutor(2) as pool:
        connection.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        answers = list(pool.map(get, range(len(paths))))
        connection.rollback()
    for path, (answer, seconds) in zip(paths, answers, strict=True):
        assert answer.status_code == 503, path
        assert seconds < 4, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] and answer.json()["detail"]
    assert all(httpx.get(f"{server.url}{path}", timeout=30).status_code == 200 for path in paths)


def test_a_share_is_counted_by_client_and_given_back() -> None:
    async def run() -> None:
        shares = Shares(2, 0.05)

        async def hold(name: str, seconds: float) -> None:
            CURRENT.set(Client(name, has_key=False))
            async with shares.place():
                await asyncio.sleep(seconds)

        first = [asyncio.create_task(hold("a", 0.3)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await asyncio.create_task(hold("a", 0))
        await asyncio.create_task(hold("b", 0))
        await asyncio.gather(*first)
        await asyncio.create_task(hold("a", 0))
        assert not shares._of

    run_async(run())


def test_the_server_itself_has_no_share() -> None:
    async def run() -> None:
        shares = Shares(1, 0.05)
        async with shares.place(), shares.place(), shares.place():
            pass

    run_async(run())


def test_a_filter_without_a_key_has_half_of_the_time(settings: Settings, database: Database) -> None:
    async def limit_of(client: Client | None) -> str:
        CURRENT.set(client)
        async with CityContext(settings, database).connection(asking=True) as connection:
            return str(await connection.fetchval("SHOW statement_timeout"))

    assert run_async(limit_of(Client("203.0.113.7", has_key=False))) == "5s"
    assert run_async(limit_of(Client("a key", has_key=True))) == "10s"
    assert run_async(limit_of(None)) == "10s"


# What a filter costs ----------------------------------------------------------------------------------------------


EXTENT = (106.3, 10.3, 107.0, 11.2)


@given(st.sampled_from(["s_intersects", "s_within", "s_touches", "s_overlaps"]), st.floats(0.001, 0.5))
def test_a_larger_area_never_costs_less(op: str, side: float) -> None:
    small, large = (shapely.box(106.5, 10.5, 106.5 + s, 10.5 + s) for s in (side, side * 1.5))
    assert costs.of_relation(op, None, small, EXTENT) <= costs.of_relation(op, None, large, EXTENT)


def test_hopeless_filters_are_refused_and_usual_ones_are_not() -> None:
    whole = shapely.box(*EXTENT)
    with pytest.raises(TooCostly) as refused:
        costs.check_cost(sum(costs.of_relation("s_disjoint", None, whole, EXTENT) for _ in range(50)), 1_000_000)
    assert "10,000,000" in refused.value.message.en
    costs.check_cost(costs.of_relation("s_intersects", None, whole, EXTENT), 2_000_000)
    near = shapely.Point(106.7, 10.7)
    costs.check_cost(sum(costs.of_relation("s_intersects", None, near, EXTENT) for _ in range(125)), 1_000_000)


def test_a_filter_beyond_the_budget_is_refused_before_the_database_is_asked(sample_database: Database) -> None:
    with sample_database.session() as session:
        layer = read_catalogue(session)["construction.buildings"]
    assert layer.current is not None
    version, large = (whole_permit(layer, of) for of in (layer.current, replace(layer.current, features=2_000_000)))
    disjoint = " AND ".join(["S_DISJOINT(geometry, POLYGON((106 10, 107 10, 107 11, 106 10)))"] * 20)
    words = " OR ".join(["ACCENTI(name) = 'x'"] * 20)
    pairs = "S_OVERLAPS(geometry, geometry)"

    async def read(text: str, permit: Permit) -> list[str]:
        parser = FilterParser(5)
        try:
            return await read_filter(parser, QueryParams(filter=text), permit, {}, Parameters())
        finally:
            await parser.close()

    for text in (disjoint, words, pairs):
        assert run_async(read(text, version))
        with pytest.raises(TooCostly, match="comparisons"):
            run_async(read(text, large))
    assert run_async(read("S_INTERSECTS(geometry, POINT(106.7 10.7)) AND name LIKE '%x%'", large))


# Long addresses ---------------------------------------------------------------------------------------------------


def test_a_long_filter_is_answered_without_being_repeated_for_each_format(server: LiveServer) -> None:
    text = "name IN (" + ",".join(f"'{n:05d}'" for n in range(5500)) + ") OR height > 1"
    assert 40_000 < len(text) < 60_000
    answer, _ = ask(server, "203.0.113.4", filter=text, limit=1)
    assert answer.status_code == 200 and answer.json()["numberReturned"] == 1
    rels = [link["rel"] for link in answer.json()["links"]]
    assert "self" in rels and "next" in rels and "alternate" not in rels
    assert len(answer.content) < 2.5 * len(str(answer.url))
    table, _ = ask(server, "203.0.113.4", filter=text, limit=1, f="csv")
    assert table.status_code == 200 and sum(map(len, table.headers.values())) < 4000


@pytest.mark.parametrize("query", ["height=" + "1" * 9000, "filter=" + "a" * 65_200, "x=" + "y" * 8_001])
def test_an_address_that_is_too_long_is_a_414_with_a_sentence(server: LiveServer, query: str) -> None:
    answer = httpx.get(f"{server.url}{ITEMS}?{query}", headers={"Accept-Language": "en"})
    assert answer.status_code == 414
    assert answer.headers["content-type"] == "application/problem+json" and "bytes" in answer.json()["detail"]


# The event loop ---------------------------------------------------------------------------------------------------


def test_long_filters_do_not_hold_up_the_event_loop(server: LiveServer) -> None:
    """While long filters are parsed, as many as come, what needs no database is answered at once."""
    with ThreadPoolExecutor(12) as pool, httpx.Client(base_url=server.url, timeout=30) as http:
        http.get("/health/live")
        lists = ["height IN (" + ",".join(str((n + m) % 1000) for n in range(13_000)) + ")" for m in range(12)]
        running = [
            pool.submit(ask, server, f"203.0.113.{20 + n}", filter=text, limit=1) for n, text in enumerate(lists)
        ]
        waits = []
        while not all(future.done() for future in running):
            start = time.monotonic()
            assert http.get("/health/live").status_code == 200
            waits.append(time.monotonic() - start)
            time.sleep(0.005)
    assert {future.result()[0].status_code for future in running} <= {200, 503}
    # One of these texts takes the parser a tenth of a second and more.
    assert sorted(waits)[int(len(waits) * 0.9)] < 0.1 and math.fsum(waits) / len(waits) < 0.05

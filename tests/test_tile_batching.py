"""Vector tiles are asked of the database together when it is busy, and each reader gets their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import mercantile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import run_async
from tiles.vector import batching as making
from tiles.vector.batching import TileBatcher
from tiles.vector.mvt import make_tile
from tiles.vector.tile_cache import CachedTile
from tiles.vector.tile_matrix_sets import Grid, Place, grids_of
from twin.access.permit import Permit, whole_permit
from twin.catalogue.catalogue import Layer, read_catalogue
from twin.city import read_city
from twin.db.database import Database

GRIDS = sorted(grids_of(read_city("hcmc")).values(), key=lambda grid: grid.id)
CENTER = mercantile.tile(106.7335, 10.7765, 15)
HERE = (CENTER.z, CENTER.x, CENTER.y)
# The first column and row of the same place two zooms further in.
X, Y = 4 * CENTER.x, 4 * CENTER.y


@pytest.fixture(scope="module")
def layers(sample_database: Database) -> dict[str, Layer]:
    with sample_database.session() as session:
        return {name: layer for name, layer in read_catalogue(session).items() if layer.current}


@pytest.fixture
def one_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one statement be for as many tiles as it may, however long they take."""
    monkeypatch.setattr(making, "SECONDS_A_QUESTION", 30)


def choose(layers: dict[str, Layer], *names: str) -> tuple[Permit, ...]:
    return tuple(whole_permit(layers[name], layers[name].current) for name in names)


class Gate:
    """Lends one connection to as many as ask, once it is open; counts them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.open = asyncio.Event()
        self.requests = 0
        self.failing: type[Exception] | None = None
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncpg.Connection]:
        self.requests += 1
        await self.open.wait()
        if self.failing:
            raise self.failing("the database went away")
        async with self._alone:
            yield self.connection


def play(
    database: Database, scene: Callable[[TileBatcher, Gate], Awaitable[None]], *, at_once: int = 1, patience: float = 60
) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(**database.asyncpg_options("reader"))
        try:
            gate = Gate(connection)
            await asyncio.wait_for(scene(TileBatcher(gate.connect, at_once, patience), gate), 60)
        finally:
            await connection.close()

    run_async(run())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tiles_that_are_asked_for_together_are_what_each_is_alone(
    data: st.DataObject, sample_database: Database, layers: dict[str, Layer]
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(layers)), min_size=1, max_size=3, unique=True))
    chosen = choose(layers, *names)

    def a_place(grid: Grid) -> Place:
        zoom = data.draw(st.integers(8, 14))
        # Around the city's middle, wherever the grid has it; several may be the same.
        if not grid.between:
            tile = mercantile.tile(106.7335, 10.7765, zoom)
            x, y = tile.x, tile.y
        else:
            x, y = 2**zoom // 2, 2**zoom // 2
        return zoom, x + data.draw(st.integers(-2, 2)), y + data.draw(st.integers(-2, 2))

    wanted = [
        (grid, a_place(grid), data.draw(st.sampled_from(("gzip", "br", "identity"))))
        for grid in data.draw(st.lists(st.sampled_from(GRIDS), min_size=2, max_size=12))
    ]

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        gate.open.set()
        futures = [maker.make(chosen, place, encoding, grid) for grid, place, encoding in wanted]
        together = await asyncio.gather(*futures)
        for tile, (grid, place, encoding) in zip(together, wanted, strict=True):
            alone = await make_tile(gate.connection, chosen, *place, encoding, grid)
            assert (tile.cut, tile.encoded) == (alone.cut, alone.encoded)

    play(sample_database, scene, at_once=data.draw(st.integers(1, 4)))


@pytest.mark.usefixtures("one_statement")
def test_those_who_wait_while_the_database_is_busy_are_asked_for_together(
    sample_database: Database, layers: dict[str, Layer]
) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        gate.open.set()
        await maker.make(chosen, HERE, "gzip")
        gate.open.clear()
        waiting = [maker.make(chosen, (17, X + i % 4, Y + i // 4 % 4), "gzip") for i in range(40)]
        await asyncio.sleep(0.05)
        gate.open.set()
        tiles = await asyncio.gather(*waiting)
        assert len({tile.encoded["gzip"] for tile in tiles}) > 6
        # The first alone; then those that it left waiting, by sixteens.
        assert gate.requests <= 2 + -(-40 // making.MOST_A_QUESTION)

    play(sample_database, scene)


def test_free_connections_share_what_waits(sample_database: Database, layers: dict[str, Layer]) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        waiting = [maker.make(chosen, HERE, "gzip") for _ in range(4)]
        await asyncio.sleep(0.05)
        assert gate.requests == 4
        gate.open.set()
        assert len({tile.encoded["gzip"] for tile in await asyncio.gather(*waiting)}) == 1

    play(sample_database, scene, at_once=4)


def test_expensive_tiles_are_requested_one_by_one(
    sample_database: Database, layers: dict[str, Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SECONDS_A_QUESTION", 1e-9)
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        gate.open.set()
        await asyncio.gather(*(maker.make(chosen, HERE, "gzip") for _ in range(5)))
        assert gate.requests == 5

    play(sample_database, scene)


def test_a_layer_that_many_ask_for_does_not_keep_another_waiting(
    sample_database: Database, layers: dict[str, Layer]
) -> None:
    async def scene(maker: TileBatcher, gate: Gate) -> None:
        order: list[str] = []

        def ask(name: str) -> asyncio.Future[CachedTile]:
            future = maker.make(choose(layers, name), HERE, "gzip")
            future.add_done_callback(lambda _: order.append(name))
            return future

        waiting = [ask("construction.buildings") for _ in range(3 * making.MOST_A_QUESTION)]
        waiting.append(ask("transport.roads"))
        gate.open.set()
        await asyncio.gather(*waiting)
        assert order.index("transport.roads") <= 2 * making.MOST_A_QUESTION

    play(sample_database, scene)


def test_a_failure_reaches_all_whom_it_concerns_and_the_next_are_served(
    sample_database: Database, layers: dict[str, Layer]
) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        gate.failing = ConnectionResetError
        waiting = [maker.make(chosen, HERE, "gzip") for _ in range(20)]
        gate.open.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ConnectionResetError}
        gate.failing = None
        assert (await maker.make(chosen, HERE, "gzip")).encoded["gzip"]

    play(sample_database, scene, at_once=2)


def test_who_stops_waiting_does_the_others_no_harm(sample_database: Database, layers: dict[str, Layer]) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        waiting = [maker.make(chosen, HERE, "gzip") for _ in range(10)]
        await asyncio.sleep(0.05)
        for gone in (waiting[0], waiting[5]):
            gone.cancel()
        gate.open.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, CachedTile) for answer in answers] == [n not in (0, 5) for n in range(10)]

    play(sample_database, scene)


def test_nobody_waits_longer_than_their_patience_for_a_database_that_does_not_answer(
    sample_database: Database, layers: dict[str, Layer]
) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        first = maker.make(chosen, HERE, "gzip")
        await asyncio.sleep(0.05)
        start = time.monotonic()
        early = [maker.make(chosen, HERE, "gzip") for _ in range(5)]
        await asyncio.sleep(0.3)
        late = maker.make(choose(layers, "transport.roads"), HERE, "gzip")
        answers = await asyncio.gather(*early, return_exceptions=True)
        assert {type(answer) for answer in answers} == {TimeoutError}
        assert time.monotonic() - start >= 0.5
        # Who came later has their own time, and the one that was asked for is still being made.
        assert not late.done() and not first.done()
        with pytest.raises(TimeoutError):
            await late
        assert time.monotonic() - start >= 0.8
        gate.open.set()
        assert (await first).encoded["gzip"]

    play(sample_database, scene, patience=0.5)


class Spoilt:
    """A connection on which nothing can be drawn in one column of tiles."""

    def __init__(self, connection: asyncpg.Connection, column: int) -> None:
        self.connection, self.column = connection, column

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        if self.column in values[1]:
            raise asyncpg.InternalServerError("TopologyException: side location conflict")
        return await self.connection.fetch(statement, *values)


@pytest.mark.usefixtures("one_statement")
def test_a_tile_that_cannot_be_made_does_not_spoil_those_that_were_asked_for_with_it(
    sample_database: Database, layers: dict[str, Layer]
) -> None:
    chosen = choose(layers, "construction.buildings")

    async def scene(maker: TileBatcher, gate: Gate) -> None:
        gate.open.set()
        await maker.make(chosen, (17, X, Y), "gzip")
        gate.connection = Spoilt(gate.connection, X + 2)
        waiting = [maker.make(chosen, (17, X + i, Y), "gzip") for i in range(4)]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, CachedTile) for answer in answers] == [True, True, False, True]
        assert isinstance(answers[2], asyncpg.InternalServerError)

    play(sample_database, scene)

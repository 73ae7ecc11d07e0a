"""Rules that no single value decides: silence, and aggregates of many streams."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.alerts.worlds import alerting, rule
from tests.conftest import run_async
from tests.streams.worlds import declared, describe
from twin.db.database import Database
from twin.incidents.engine import AlertEngine
from twin.incidents.ticker import Ticker
from twin.streams.declare import Place
from twin.streams.writer import Observation

CELL = "8865b56605fffff"


def test_a_silent_device_raises_and_its_next_value_ends_it_whatever_it_is(database: Database) -> None:
    describe(database)

    async def work() -> None:
        silent = rule("silent", {"type": "silence", "seconds": 1800})
        async with alerting(database, silent) as a:
            now = datetime.now(UTC)
            for code, minutes in (("a", 40), ("b", 10)):
                at = now - timedelta(minutes=minutes)
                await a.writer.write(a.connection, [Observation(a.world.ids[code], at, 5.0)], "test")
            ticker = Ticker(a.engine)
            await a.tick(ticker)
            await a.tick(ticker)
            (found,) = await a.incidents()
            assert (found["subject"], found["status"]) == (a.world.ids["a"], "open")
            # After a restart it is the same incident still.
            await a.tick(Ticker(AlertEngine(a.engine.grades, a.engine.zone)))
            assert await a.statuses() == ["open"]
            await a.writer.write(a.connection, [Observation(a.world.ids["a"], now, None)], "test")
            await a.tick(ticker)
            assert await a.statuses() == ["closed"]

    run_async(work())


def test_two_programs_that_tick_open_one_incident(database: Database) -> None:
    describe(database)

    async def work() -> None:
        silent = rule("silent", {"type": "silence", "seconds": 1800})
        async with alerting(database, silent) as a, alerting(database) as b:
            await a.write("a", (0, 1.0))
            await a.write("b", (0, 1.0))
            for _ in range(3):
                await asyncio.gather(a.tick(), b.tick())
            assert await a.statuses() == ["open", "open"]

    run_async(work())


def test_aggregates_count_only_fresh_normal_values_of_enough_streams(database: Database) -> None:
    describe(database)
    streams = tuple(
        declared(f"s{n}", fresh_seconds=1800, place=Place(cell=CELL) if n < 4 else Place(point=(105.0, 9.0)))
        for n in range(5)
    )
    mean = {"type": "aggregate", "of": "mean", "raise_at": 100, "clear_at": 80, "at_least": 3, "clear_seconds": 0}
    several = {"type": "aggregate", "of": "count", "from_value": 150, "raise_at": 2, "clear_seconds": 0}
    in_cell = {"kinds": ["pm2_5"], "cell": CELL}

    async def work() -> None:
        rules = (rule("mean", mean, streams=in_cell), rule("several", several, streams=in_cell))
        async with alerting(database, *rules, streams=streams) as a:
            ticker = Ticker(a.engine)
            now = datetime.now(UTC)

            async def values(minutes: float, *numbers: float | None) -> None:
                at = now + timedelta(minutes=minutes)
                batch = [
                    Observation(a.world.ids[f"s{n}"], at, number)
                    for n, number in enumerate(numbers) if number is not None
                ]  # fmt: skip
                await a.writer.write(a.connection, batch, "test")
                await a.tick(ticker)

            await values(-40, 400.0, 400.0, 400.0, 400.0)
            assert not await a.incidents(), "old"
            await values(-3, 400.0, 20.0, 900.0, None, 400.0)
            assert not await a.incidents(), "two good ones in the cell"
            await values(-2, 160.0, 120.0, 60.0, 70.0)
            (found,) = await a.incidents()
            assert (found["value"], found["status"], found["subject"]) == (102.5, "open", 0)
            assert found["title_en"] == "—: 102.5 ug/m3"
            await values(-1, 160.0, 155.0, 0.0, 0.0)
            assert [(row["value"], row["status"]) for row in await a.incidents()] == [(102.5, "closed"), (2.0, "open")]
            await values(0, 10.0, 155.0, 0.0, 0.0)
            assert await a.statuses() == ["closed", "closed"]

    run_async(work())


def test_incidents_of_streams_that_are_gone_end(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            await a.write("a", (0, 150.0))
            await a.write("b", (0, 150.0))
            await a.connection.execute("DELETE FROM live.datastream WHERE id = $1", a.world.ids["a"])
            a.engine.forget()
            await a.tick()
            assert await a.statuses() == ["closed", "open"]

    run_async(work())

"""Rules on single streams: when they raise, that they do so once, and what does not raise them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from tests.alerts.worlds import HIGH, alerting, rule
from tests.conftest import run_async
from tests.streams.worlds import declared, describe
from twin.db.database import Database
from twin.incidents import raising
from twin.incidents.engine import AlertEngine
from twin.incidents.rule_store import find_rule, remove_rule, replace_rule
from twin.incidents.store import close, find_incident
from twin.streams.flags import Flag
from twin.streams.writer import Observation, StreamWriter


def test_a_value_at_the_limit_opens_an_incident_in_its_own_transaction_and_one_below_ends_it(
    database: Database,
) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            await a.write("b", (0, 1.0))
            transaction = a.connection.transaction()
            await transaction.start()
            await a.write("a", (0, 100.0))
            await transaction.rollback()
            assert not await a.incidents(), "taken back with the value"
            await a.write("a", (0, 50.0), (1, 100.0))
            (found,) = await a.incidents()
            assert (found["status"], found["value"], found["title_vi"]) == ("open", 100.0, "a: 100,0 ug/m3")
            assert found["title_en"] == "a: 100.0 ug/m3"
            assert list(found["layers"]) == ["env.open"]
            await a.write("a", (2, 79.0))
            (found,) = await a.incidents()
            assert (found["status"], found["closed_by"]) == ("closed", "rule")
            rows = await a.connection.fetch("SELECT what FROM live.incident_event ORDER BY id")
            assert [row["what"] for row in rows] == ["opened", "closed"]
            assert not await a.connection.fetch("SELECT FROM live.rule_state")

    run_async(work())


def test_flapping_at_the_limit_is_one_incident(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(
            database, rule(), rule("held", {"type": "threshold", "raise_at": 100, "clear_seconds": 600})
        ) as a:
            for minute in range(20):
                await a.write("a", (minute, 100.0 if minute % 2 else 95.0))
            assert await a.statuses() == ["open", "open"]
            # Without a gap between the limits, the end must hold for ten minutes.
            await a.one_by_one("a", *((minute, 60.0) for minute in range(20, 30)))
            assert await a.statuses() == ["closed", "open"]
            await a.write("a", (30, 60.0))
            assert await a.statuses() == ["closed", "closed"]

    run_async(work())


def test_a_condition_must_hold_as_long_as_it_says(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule(when=HIGH | {"seconds": 300})) as a:
            await a.one_by_one("a", (0, 120.0), (4, 120.0), (4.5, 90.0), (5, 120.0), (9, 120.0))
            assert not await a.incidents()
            await a.write("a", (10, 120.0))
            assert await a.statuses() == ["open"]

    run_async(work())


def test_late_repeated_old_and_flagged_values_raise_nothing(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            await a.write("a", (10, 50.0))
            await a.write("a", (5, 200.0))
            await a.write("b", (-600, 200.0))
            assert not await a.incidents(), "late, and older than fresh values are"
            await a.write("b", (1, 900.0))
            await a.write("b", (2, 200.0), flag=int(Flag.SUSPECT))
            assert not await a.incidents(), "flagged"
            await a.write("a", (11, 200.0))
            await a.write("a", (11, 200.0))
            await a.write("a", (12, 900.0))
            assert await a.statuses() == ["open"], "a flagged value neither raises nor clears"

    run_async(work())


def test_a_rule_may_be_about_flags(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(
            database, rule("broken", {"type": "flag", "flags": ["out_of_range", "missing"], "clear_seconds": 0})
        ) as a:
            await a.write("a", (0, 900.0))
            assert await a.statuses() == ["open"]
            await a.one_by_one("a", (1, None), (2, 20.0))
            assert await a.statuses() == ["closed"]

    run_async(work())


def test_an_alarm_level_raises_by_the_scale_of_its_gauge(database: Database) -> None:
    describe(database)
    streams = tuple(
        declared(code, kind="water_level", unit="m", lowest=-4, highest=6, properties={"place": place})
        for code, place in (("phu-an", "Phú An"), ("elsewhere", "Nowhere"))
    )
    level = {"type": "threshold", "grade": "alarm_3", "margin": 0.05, "clear_seconds": 0}
    water = rule("alarm", level, streams={"kinds": ["water_level"]}, title={"en": "{grade}", "vi": "{grade}"})

    async def work() -> None:
        async with alerting(database, water, streams=streams) as a:
            await a.write("elsewhere", (0, 2.0))
            await a.write("phu-an", (0, 1.59))
            assert not await a.incidents()
            await a.write("phu-an", (1, 1.6))
            (found,) = await a.incidents()
            assert "III" in found["title_vi"]
            await a.write("phu-an", (2, 1.56))
            assert await a.statuses() == ["open"], "within the margin"
            await a.write("phu-an", (3, 1.54))
            assert await a.statuses() == ["closed"]

    run_async(work())


def test_a_fast_rise_and_a_change_of_level_raise(database: Database) -> None:
    describe(database)
    rising = rule("rising", {"type": "rate", "raise_at": 60, "window_seconds": 1200, "clear_seconds": 0})
    jump = rule("jump", {"type": "level_change", "steps": 2, "clear_seconds": 0})

    async def work() -> None:
        async with alerting(database, rising, jump) as a:
            await a.one_by_one("a", *((minute, 5.0) for minute in range(0, 20)))
            assert not await a.incidents()
            # 25 in 20 minutes are 75 an hour.
            await a.write("a", (20, 30.0))
            (found,) = await a.incidents()
            assert found["value"] == pytest.approx(75.0)
            await a.write("a", (21, 200.0))
            assert len(await a.incidents()) == 2
            await a.one_by_one("a", *((minute, 200.0) for minute in range(22, 45)))
            assert await a.statuses() == ["closed", "closed"]

    run_async(work())


def test_a_storm_opens_as_many_incidents_as_allowed_and_one_that_counts_the_rest(database: Database) -> None:
    describe(database)
    streams = tuple(declared(f"s{n}") for n in range(40))

    async def work() -> None:
        async with alerting(database, rule(most_per_minute=5), streams=streams) as a:
            for some in (range(30), range(30, 40)):
                batch = [Observation(a.world.ids[f"s{n}"], a.start, 150.0) for n in some]
                await a.writer.write(a.connection, batch, "test")
            found = await a.incidents()
            assert [row["subject"] for row in found].count(raising.STORM_SUBJECT) == 1
            assert (len(found), sum(row["count"] for row in found)) == (6, 40)
            (storm,) = await a.incidents(subject=raising.STORM_SUBJECT)
            assert storm["title_en"] == "35 more alerts of the rule “high” within a minute"
            later = a.start + timedelta(minutes=1)
            for codes, left in ((range(39), {"open"}), (range(39, 40), {"closed"})):
                batch = [Observation(a.world.ids[f"s{n}"], later, 10.0) for n in codes]
                await a.writer.write(a.connection, batch, "test")
                (storm,) = await a.incidents(subject=raising.STORM_SUBJECT)
                assert {storm["status"]} == left
            assert set(await a.statuses()) == {"closed"}

    run_async(work())


def test_two_writers_open_one_incident(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            engines = [AlertEngine(a.engine.grades, a.engine.zone) for _ in range(2)]

            async def write(offset: int) -> None:
                connection = await asyncpg.connect(**database.asyncpg_options("writer"))
                writer = StreamWriter(a.world.directory, engines[offset])
                for minute in range(20):
                    at = a.start + timedelta(minutes=minute, seconds=offset)
                    await writer.write(connection, [Observation(a.world.ids[c], at, 150.0) for c in "ab"], "test")
                await connection.close()

            await asyncio.gather(write(0), write(1))
            assert await a.statuses() == ["open", "open"]
            assert {row["subject"] for row in await a.incidents()} == set(a.world.ids.values())
            opened = await a.connection.fetchval("SELECT count(*) FROM live.incident_event WHERE what = 'opened'")
            assert opened == 2

    run_async(work())


def test_a_writer_that_was_overtaken_does_not_raise_an_old_value(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            await a.write("a", (0, 10.0))
            slow = await asyncpg.connect(**database.asyncpg_options("writer"))
            blocker = await asyncpg.connect(**database.asyncpg_options("writer"))
            held = blocker.transaction()
            await held.start()
            await a.writer.write(blocker, [Observation(a.world.ids["a"], a.start + timedelta(minutes=9), 20.0)], "fast")
            writer = StreamWriter(a.world.directory, AlertEngine(a.engine.grades, a.engine.zone))
            late = [Observation(a.world.ids["a"], a.start + timedelta(minutes=5), 150.0)]
            writing = asyncio.create_task(writer.write(slow, late, "slow"))
            await asyncio.sleep(0.5)
            assert not writing.done()
            await held.commit()
            await writing
            assert not await a.incidents()
            await slow.close()
            await blocker.close()

    run_async(work())


def test_an_incident_that_a_person_closes_stays_closed_until_the_condition_was_over(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule()) as a:
            await a.write("a", (0, 150.0))
            (found,) = await a.incidents()
            await close(a.connection, await find_incident(a.connection, None, found["id"]), "env/an", "known")
            await a.one_by_one("a", (1, 160.0), (2, 170.0))
            assert await a.statuses() == ["closed"]
            await a.one_by_one("a", (3, 10.0), (4, 150.0))
            assert await a.statuses() == ["closed", "open"]

    run_async(work())


def test_a_changed_rule_ends_its_incidents_and_holds_for_the_next_value(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database) as a:
            (key,) = await a.add(rule())
            await a.write("a", (0, 150.0))
            kept = await find_rule(a.connection, key)
            assert await replace_rule(a.connection, kept, rule(when=HIGH | {"raise_at": 140}), "test")
            assert await a.statuses() == ["closed"]
            # The writer has not noticed yet: it opens nothing by the old rule, and everything by the new one.
            await a.write("a", (1, 120.0))
            a.engine.forget()
            await a.one_by_one("a", (2, 130.0), (3, 145.0))
            assert await a.statuses() == ["closed", "open"]
            await remove_rule(a.connection, await find_rule(a.connection, key), "test")
            assert await a.statuses() == ["closed", "closed"]
            await a.write("a", (4, 150.0))
            assert len(await a.incidents()) == 2

    run_async(work())


def test_a_rule_of_one_agency_does_not_look_at_streams_of_another(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule(agency="health")) as a:
            await a.write("a", (0, 150.0))
            assert not await a.incidents()

    run_async(work())


def test_a_fault_in_a_rule_costs_no_value(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(database)

    async def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    async def work() -> None:
        async with alerting(database, rule()) as a:
            monkeypatch.setattr("twin.incidents.engine.open_incidents", fail)
            await a.write("a", (0, 150.0))
            assert await a.connection.fetchval("SELECT count(*) FROM live.observation") == 1
            assert not await a.incidents()

    run_async(work())

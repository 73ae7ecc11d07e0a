"""The one writer of observations: idempotent, correcting, flagging, and right in its roll-ups whatever the order."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import run_async
from tests.streams.worlds import START, ZONE, World, declared, describe, world
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.streams.flags import BAD, Flag
from twin.streams.latest import LatestValues
from twin.streams.rollups import roll_up
from twin.streams.series import as_of, midnight_before, series
from twin.streams.stream import Stream
from twin.streams.writer import Observation, StreamWriter, judge

STREAM = Stream(1, "a", "env", "env.open", "ug/m3", {"mg/m3": (1000.0, 0.0)}, lowest=0, highest=500)


def test_the_same_observation_twice_is_stored_once_and_changes_nothing(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            batch = [w.value("a", minute, float(minute)) for minute in range(10)]
            first = await w.writer.write(w.connection, batch, "test")
            before = await w.rows("SELECT * FROM live.observation ORDER BY stream, time")
            second = await w.writer.write(w.connection, batch, "test")
            assert (first.new, first.repeated, second.new, second.repeated, second.corrected) == (10, 0, 0, 10, 0)
            assert await w.rows("SELECT * FROM live.observation ORDER BY stream, time") == before
            assert not await w.rows("SELECT * FROM live.correction")

    run_async(work())


def test_another_value_for_the_same_moment_takes_its_place_and_the_old_one_is_kept_with_who_changed_it(
    database: Database,
) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            await w.writer.write(w.connection, [w.value("a", 0, 5.0)], "first")
            written = await w.writer.write(w.connection, [w.value("a", 0, 7.0)], "second")
            assert (written.corrected, written.new) == (1, 0)
            (old,) = await w.rows("SELECT * FROM live.correction")
            assert (old["value"], old["corrected_by"]) == (5.0, "second")
            assert [row["value"] for row in await w.rows("SELECT value FROM live.observation")] == [7.0]
            assert [row["value"] for row in await w.rows("SELECT value FROM live.latest")] == [7.0]

    run_async(work())


def test_a_result_that_is_no_number_is_corrected_and_repeated_like_one(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            for text, expected in (("dry", "new"), ("dry", "repeated"), ("wet", "corrected")):
                batch = [w.value("a", 0, None, detail={"result": text})]
                written = await w.writer.write(w.connection, batch, "test")
                assert getattr(written, expected) == 1, (text, written)
            rows = await w.rows("SELECT result, flag FROM live.observation_detail JOIN live.observation USING (stream)")
            assert [(row["result"], row["flag"]) for row in rows] == [('"wet"', 0)]
            assert [row["result"] for row in await w.rows("SELECT result FROM live.correction")] == ['"dry"']

    run_async(work())


@pytest.mark.parametrize(
    ("value", "unit", "stored", "flag"),
    [
        (12.0, None, 12.0, 0),
        (12.0, "ug/m3", 12.0, 0),
        (0.012, "mg/m3", 12.0, 0),
        (12.0, "ppb", 12.0, Flag.UNIT),
        (math.nan, None, None, Flag.MISSING),
        (math.inf, None, None, Flag.MISSING),
        (None, None, None, Flag.MISSING),
        (-1.0, None, -1.0, Flag.OUT_OF_RANGE),
        (0.6, "mg/m3", 600.0, Flag.OUT_OF_RANGE),
    ],
)
def test_a_value_is_brought_to_the_unit_of_its_stream_and_flagged_where_it_cannot_be_believed(
    value: float | None, unit: str | None, stored: float | None, flag: int
) -> None:
    found, flags = judge(STREAM, value, unit)
    assert found == (pytest.approx(stored) if stored is not None else None)
    assert flags == flag


def test_clocks_far_ahead_or_long_ago_are_set_aside_whole_and_never_become_the_state(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            now = datetime.now(UTC)
            batch = [
                w.value("a", 0, 1.0),
                Observation(w.ids["a"], datetime(2099, 1, 1, tzinfo=UTC), 2.0),
                Observation(w.ids["a"], datetime(1970, 1, 1, tzinfo=UTC), 3.0),
                Observation(w.ids["a"], now + timedelta(hours=7), 4.0),
                Observation(w.ids["b"], now + timedelta(minutes=4), 5.0),
            ]
            written = await w.writer.write(w.connection, batch, "test")
            assert (written.new, written.set_aside) == (2, 3)
            aside = {row["value"]: row["flag"] for row in await w.rows("SELECT value, flag FROM live.set_aside")}
            assert aside == {2.0: Flag.FUTURE, 3.0: Flag.TOO_OLD, 4.0: Flag.FUTURE}
            latest = {row["stream"]: row["value"] for row in await w.rows("SELECT stream, value FROM live.latest")}
            assert latest == {w.ids["a"]: 1.0, w.ids["b"]: 5.0}

    run_async(work())


def test_a_value_that_stands_still_for_too_long_is_flagged_until_it_moves(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database, declared("a", stuck_seconds=600, stuck_except=(0.0,))) as w:
            # In batches of different sizes, so that what counts is the time and not the batch.
            values = [20.4] * 15 + [20.5] + [0.0] * 15
            observations = [w.value("a", minute, value) for minute, value in enumerate(values)]
            for start, end in pairwise([0, 1, 5, 12, 13, 31]):
                await w.writer.write(w.connection, observations[start:end], "test")
            flags = [row["flag"] for row in await w.rows("SELECT flag FROM live.observation ORDER BY time")]
            assert flags == [0] * 11 + [Flag.STUCK] * 4 + [0] * 16

    run_async(work())


def test_an_older_value_that_comes_late_does_not_become_the_state(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            for minute, value in ((10, 1.0), (5, 2.0), (7, 3.0)):
                await w.writer.write(w.connection, [w.value("a", minute, value)], "test")
            assert [row["value"] for row in await w.rows("SELECT value FROM live.latest")] == [1.0]

    run_async(work())


def test_an_observation_of_a_stream_that_does_not_exist_is_counted_and_the_others_are_stored(
    database: Database,
) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            batch = [Observation(999_999, START, 1.0), w.value("a", 0, 1.0)]
            written = await w.writer.write(w.connection, batch, "test")
            assert (written.unknown, written.unknown_rows, written.new) == (1, [0], 1)

    run_async(work())


def test_a_stream_that_was_declared_a_moment_ago_can_be_written_without_a_restart(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database, declared("a")) as w, world(database, declared("later")) as other:
            batch = [Observation(other.ids["later"], START, 1.0)]
            assert (await w.writer.write(w.connection, batch, "test")).new == 1

    run_async(work())


RESET = "".join(f"DELETE FROM live.{t};" for t in ("observation", "latest", "roll_5m", "roll_1h", "roll_1d", "dirty"))
VALUES = st.one_of(st.none(), st.floats(-50, 550, allow_nan=False).map(lambda v: round(v, 3)))
POINTS = st.tuples(st.sampled_from(["a", "b"]), st.integers(-3000, 1300), VALUES)


@pytest.fixture(scope="module")
def shared(module_database: Database) -> Database:
    describe(module_database)
    return module_database


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(POINTS, max_size=30), st.booleans()), min_size=1, max_size=6))
def test_roll_ups_equal_what_the_observations_say_whatever_came_late_twice_or_corrected(
    shared: Database, batches: list[tuple[list[tuple[str, int, float | None]], bool]]
) -> None:
    async def work() -> None:
        async with world(shared) as w:
            await w.connection.execute(RESET)
            truth: dict[tuple[int, datetime], float | None] = {}
            for batch, rolls in batches:
                observations = [w.value(*point) for point in batch]
                truth |= {(o.stream, o.time): o.value for o in observations}
                await w.writer.write(w.connection, observations, "test")
                if rolls:
                    await roll_up(w.connection, ZONE)
            while await roll_up(w.connection, ZONE, limit=7):
                pass
            assert not await w.rows("SELECT 1 FROM live.dirty")
            await check_rolls(w, truth)

    run_async(work())


async def check_rolls(w: World, truth: dict[tuple[int, datetime], float | None]) -> None:
    """Compare the three tables of roll-ups with what the observations say."""
    for table, bucket_of in (
        ("roll_5m", lambda t: t.replace(minute=t.minute - t.minute % 5)),
        ("roll_1h", lambda t: t.replace(minute=0)),
        ("roll_1d", lambda t: (t + timedelta(hours=7)).replace(hour=0, minute=0) - timedelta(hours=7)),
    ):
        expected: dict[tuple[int, datetime], list[float | None]] = {}
        for (stream, time), value in truth.items():
            good = value is not None and 0 <= value <= 500
            expected.setdefault((stream, bucket_of(time)), []).append(value if good else None)
        found = {(row["stream"], row["bucket"]): row for row in await w.rows(f"SELECT * FROM live.{table}")}
        assert found.keys() == expected.keys(), table
        for key, values in expected.items():
            good = [v for v in values if v is not None]
            row = found[key]
            assert (row["n"], row["bad"]) == (len(good), len(values) - len(good)), (table, key)
            assert row["low"] == (min(good) if good else None)
            assert row["high"] == (max(good) if good else None)
            assert (row["total"] is None) if not good else row["total"] == pytest.approx(sum(good), abs=1e-9)


def test_two_writers_and_a_roll_up_at_the_same_time_leave_nothing_out(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            truth: dict[tuple[int, datetime], float | None] = {}
            stop = asyncio.Event()

            async def write(offset: int) -> None:
                connection = await asyncpg.connect(**database.asyncpg_options("writer"))
                writer = StreamWriter(w.directory)
                for step in range(40):
                    batch = [
                        w.value(code, (step * 2 + offset) % 60 + i / 60, float(step))
                        for code in "ab"
                        for i in range(20)
                    ]
                    for o in batch:
                        truth[o.stream, o.time] = o.value
                    await writer.write(connection, batch, "test")
                await connection.close()

            async def roll() -> None:
                connection = await asyncpg.connect(**database.asyncpg_options("writer"))
                while not stop.is_set():
                    await roll_up(connection, ZONE)
                await connection.close()

            rolling = asyncio.create_task(roll())
            await asyncio.gather(write(0), write(1))
            stop.set()
            await rolling
            await roll_up(w.connection, ZONE)
            rows = await w.rows("SELECT sum(n) AS n, sum(total) AS total FROM live.roll_1h")
            stored = await w.rows("SELECT count(*) AS n, sum(value) AS total FROM live.observation")
            assert (rows[0]["n"], rows[0]["total"]) == (stored[0]["n"], stored[0]["total"])
            assert stored[0]["n"] == len(truth)

    run_async(work())


def test_a_series_has_every_bucket_and_gaps_stay_gaps(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            batch = [w.value("a", m, float(m)) for m in range(30)] + [w.value("a", 50, 900.0)]
            await w.writer.write(w.connection, batch, "test")
            await roll_up(w.connection, ZONE)
            origin = midnight_before(START, datetime.now().astimezone().tzinfo).astimezone(UTC)
            for stat, expected in (("mean", [7.0, 22.0]), ("max", [14.0, 29.0]), ("count", [15.0, 15.0])):
                found = await series(
                    w.connection, w.ids["a"], START, START + timedelta(hours=1), timedelta(minutes=15), stat, origin, 60
                )  # type: ignore[arg-type]
                gap = 0.0 if stat == "count" else None
                assert [b.value for b in found] == [*expected, gap, gap]
                assert [(b.n, b.bad, b.expected) for b in found] == [(15, 0, 15), (15, 0, 15), (0, 0, 15), (0, 1, 15)]
            p95 = await series(
                w.connection, w.ids["a"], START, START + timedelta(minutes=30), timedelta(minutes=30), "p95", origin
            )
            assert [b.value for b in p95] == [pytest.approx(27.55)]

    run_async(work())


def test_a_series_of_too_many_buckets_is_refused_before_the_database_is_asked(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            with pytest.raises(BadInput, match="buckets"):
                await series(w.connection, 1, START - timedelta(days=365), START, timedelta(seconds=30), "mean", START)

    run_async(work())


def test_the_city_as_of_a_moment_has_what_was_fresh_then_and_nothing_later(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database, declared("a"), declared("b", fresh_seconds=120)) as w:
            batch = [w.value("a", 0, 1.0), w.value("a", 10, 2.0), w.value("b", 0, 3.0)]
            await w.writer.write(w.connection, batch, "test")
            for minutes, expected in ((-1, {}), (1, {"a": 1.0, "b": 3.0}), (9, {"a": 1.0}), (11, {"a": 2.0}), (99, {})):
                rows = await as_of(w.connection, list(w.ids.values()), START + timedelta(minutes=minutes))
                assert {row["stream"]: row["value"] for row in rows} == {w.ids[c]: v for c, v in expected.items()}

    run_async(work())


def test_whoever_follows_misses_no_value_of_a_transaction_that_ends_after_a_later_one(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            slow = await asyncpg.connect(**database.asyncpg_options("writer"))
            reader = await asyncpg.connect(**database.asyncpg_options("reader"))
            latest = LatestValues()
            # The month is there already: making it would be waited for.
            await w.writer.write(w.connection, [w.value("a", -5, 1.0)], "before")
            await latest.follow(reader)
            transaction = slow.transaction()
            await transaction.start()
            await StreamWriter(w.directory).write(slow, [w.value("a", 0, 1.0)], "slow")
            await w.writer.write(w.connection, [w.value("b", 0, 2.0)], "quick")
            assert await latest.follow(reader) == {w.ids["b"]}
            await transaction.commit()
            assert await latest.follow(reader) == {w.ids["a"]}
            assert await latest.follow(reader) == set()
            await slow.close()
            await reader.close()

    run_async(work())


def test_a_value_that_was_deleted_is_forgotten_when_all_are_read_anew(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            latest = LatestValues()
            await w.writer.write(w.connection, [w.value("a", 0, 1.0), w.value("b", 0, 2.0)], "test")
            assert await latest.follow(w.connection) == set(w.ids.values())
            await w.connection.execute("DELETE FROM live.latest WHERE stream = $1", w.ids["a"])
            await w.writer.write(w.connection, [w.value("b", 1, 3.0)], "test")
            assert await latest.reload(w.connection) == set(w.ids.values())
            assert {stream: value.value for stream, value in latest.values.items()} == {w.ids["b"]: 3.0}
            assert await latest.follow(w.connection) == set()

    run_async(work())


def test_a_month_that_was_made_in_a_transaction_that_failed_is_made_again(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            with pytest.raises(RuntimeError):
                async with w.connection.transaction():
                    await w.writer.write(w.connection, [w.value("a", 0, 1.0)], "test")
                    raise RuntimeError
            assert (await w.writer.write(w.connection, [w.value("a", 0, 1.0)], "test")).new == 1

    run_async(work())


def test_streams_of_one_kind_share_an_observed_property_that_tells_of_none_of_them(database: Database) -> None:
    describe(database, Sharing.OPEN, Sharing.RESTRICTED)

    async def work() -> None:
        async with world(database, declared("a")) as w, world(database, declared("secret"), layer="env.restricted"):
            rows = await w.rows("SELECT name FROM live.observed_property")
            assert [row["name"] for row in rows] == ["pm2_5"]

    run_async(work())


def test_flags_that_are_bad_keep_a_value_out_of_every_mean() -> None:
    assert all(int(flag) & BAD for flag in Flag)

"""Bulk writing leaves what the writer leaves, whatever comes in which order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import run_async
from tests.examples import examples
from tests.streams.worlds import START, ZONE, World, declared, describe, world
from twin.db.database import Database
from twin.streams.bulk import BulkWriter, ObservationColumns
from twin.streams.flags import Flag
from twin.streams.rollups import roll_up
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, StreamWriter, Written

TABLES = {
    "observation": "stream, time, value, flag",
    "correction": "stream, time, value, flag, corrected_by, result",
    "latest": "stream, time, same_since, value, flag",
    "set_aside": "stream, time, value, flag, source",
    "dirty": "stream, bucket",
}
STREAMS = (
    declared("a", stuck_seconds=600, stuck_except=(0.0,)),
    declared("b", factor=1000.0, offset=-2.0, stuck_seconds=60),
    declared("c", lowest=None, highest=None),
)
NOW = datetime.now(UTC).replace(microsecond=0)
TIMES = st.one_of(
    st.integers(0, 40).map(lambda minute: START + timedelta(minutes=minute)),
    st.sampled_from(
        (NOW + timedelta(hours=7), datetime(1970, 1, 1, tzinfo=UTC), START - timedelta(days=40, seconds=1))
    ),
)
VALUES = st.one_of(st.sampled_from((0.0, 1.0, 2.5, 600.0, -3.0, math.nan, math.inf, 1e308)), st.none())
ROWS = st.tuples(st.sampled_from("abcx"), TIMES, VALUES, st.sampled_from((0, 0, 0, int(Flag.SUSPECT))))
BATCHES = st.lists(st.lists(ROWS, max_size=30), min_size=1, max_size=4)


async def contents(w: World) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables that a writer writes, but for the moments at which it did."""
    return {
        name: sorted(map(repr, await w.rows(f"SELECT {columns} FROM live.{name}"))) for name, columns in TABLES.items()
    }  # type: ignore[misc]


async def empty(database: Database) -> None:
    """Empty them; the writer itself may not take corrections away."""
    connection = await asyncpg.connect(**database.asyncpg_options("owner"))
    await connection.execute("TRUNCATE " + ", ".join(f"live.{name}" for name in TABLES))
    await connection.close()


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_bulk_writing_leaves_the_same_tables_as_the_writer(
    module_database: Database, batches: list[list[tuple[str, datetime, float | None, int]]]
) -> None:
    describe(module_database)

    async def work() -> None:
        async with world(module_database, *STREAMS) as w:
            ids = w.ids | {"x": 999_999}
            given_batches = [[Observation(ids[c], t, v, None, f) for c, t, v, f in batch] for batch in batches]
            results: list[tuple[list[Written], object]] = []
            for bulk in (False, True):
                await empty(module_database)
                writer = BulkWriter(w.directory)
                counts = []
                for batch in given_batches:
                    if bulk:
                        columns = ObservationColumns.of(batch)
                        counts.append(await writer.write_columns(w.connection, columns, "test"))
                    else:
                        counts.append(await writer.write(w.connection, batch, "test"))
                results.append((counts, await contents(w)))
            assert results[0] == results[1]

    run_async(work())


def test_a_file_written_in_bulk_twice_changes_nothing_and_another_value_is_a_correction(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            writer = BulkWriter(w.directory)
            minutes = np.arange(3000)
            columns = ObservationColumns.of([w.value("a", int(m) - 3000, float(m % 7)) for m in minutes])
            first = await writer.write_columns(w.connection, columns, "file one")
            second = await writer.write_columns(w.connection, columns, "file one")
            columns.value[5] += 100
            third = await writer.write_columns(w.connection, columns, "file two")
            assert (first.new, second.new, second.repeated, second.corrected) == (3000, 0, 3000, 0)
            assert (third.new, third.repeated, third.corrected) == (0, 2999, 1)
            kept = await w.rows("SELECT value, corrected_by FROM live.correction")
            assert [tuple(row) for row in kept] == [(5.0, "file two")]

    run_async(work())


def test_bulk_and_single_writers_may_take_turns_on_one_stream(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database, declared("a", stuck_seconds=600)) as w:
            bulk, values = BulkWriter(w.directory), [20.4] * 15 + [20.5] * 5
            observations = [w.value("a", minute, value) for minute, value in enumerate(values)]
            for number, (start, end) in enumerate(pairwise([0, 1, 5, 12, 13, 20])):
                batch = observations[start:end]
                if number % 2:
                    await bulk.write_columns(w.connection, ObservationColumns.of(batch), "test")
                else:
                    await StreamWriter(w.directory).write(w.connection, batch, "test")
            flags = [row["flag"] for row in await w.rows("SELECT flag FROM live.observation ORDER BY time")]
            assert flags == [0] * 11 + [Flag.STUCK] * 4 + [0] * 5

    run_async(work())


@pytest.mark.parametrize("minutes", [1, 30, 700])
def test_roll_ups_of_sparse_values_are_those_of_the_values(database: Database, minutes: int) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            count = 400
            columns = ObservationColumns.of(
                [w.value(code, n * minutes - 200 * 1440, float(n % 90)) for code in "ab" for n in range(count)]
            )
            await BulkWriter(w.directory).write_columns(w.connection, columns, "test")
            while await roll_up(w.connection, ZONE):
                pass
            for table in ("roll_5m", "roll_1h", "roll_1d"):
                rows = await w.rows(f"SELECT stream, sum(n) AS n, sum(total) AS total FROM live.{table} GROUP BY 1")
                expected = (count, sum(float(n % 90) for n in range(count)))
                assert [(row["n"], row["total"]) for row in rows] == [expected] * 2
            # A bucket whose values are gone is gone too, and its neighbours stay.
            gone = START + timedelta(minutes=3 * minutes - 200 * 1440)
            await w.connection.execute("DELETE FROM live.observation WHERE time = $1", gone)
            bucket = gone - (gone - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(minutes=5)
            await w.connection.execute("INSERT INTO live.dirty SELECT $1, $2", w.ids["a"], bucket)
            await w.connection.execute("INSERT INTO live.dirty SELECT $1, $2", w.ids["b"], bucket)
            await roll_up(w.connection, ZONE)
            for table in ("roll_5m", "roll_1h", "roll_1d"):
                assert [row["n"] for row in await w.rows(f"SELECT sum(n) AS n FROM live.{table} GROUP BY stream")] == [
                    count - 1
                ] * 2

    run_async(work())


def test_a_stream_that_is_declared_later_is_found(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with world(database) as w:
            writer = BulkWriter(StreamDirectory())
            columns = ObservationColumns.of([w.value("a", 0, 1.0), Observation(999_999, START, 1.0)])
            written = await writer.write_columns(w.connection, columns, "test")
            assert (written.new, written.unknown, written.unknown_rows) == (1, 1, [1])

    run_async(work())

"""Bulk writing for back-fill: observations in columns, judged by arrays and copied.

It leaves the same rows as `StreamWriter.write` does with the same observations; rules of alerts are not applied, for
what a file holds is past.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import asyncpg
import numpy as np
import numpy.typing as npt

from twin.streams.flags import Flag
from twin.streams.stream import Stream
from twin.streams.writer import (
    EARLIEST,
    FIVE_MINUTES,
    FUTURE_SECONDS,
    LATEST_SQL,
    SET_ASIDE_SQL,
    UPSERT_LATEST_SQL,
    Observation,
    StreamWriter,
    Written,
)

# How many observations to write in one transaction.
ROWS_AT_ONCE = 50_000
MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# PostgreSQL counts from 2000.
SINCE_2000 = 946_684_800 * MICROSECONDS
ONE = timedelta(microseconds=1)

Times = npt.NDArray[np.int64]
# A field of PostgreSQL's binary form: its type in numpy's words, and its values; NULL without them.
Field = tuple[str, npt.NDArray[Any] | None]

TEMPORARY_SQL = """
CREATE TEMPORARY TABLE IF NOT EXISTS bulk_input (
    stream int4 NOT NULL, time timestamptz NOT NULL, received timestamptz NOT NULL, value float8, flag int2 NOT NULL
) ON COMMIT DELETE ROWS
"""

# Whether any of some streams has a value in the time for which values come.
TOUCHED_SQL = """
SELECT EXISTS (
    SELECT FROM unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) AS i (stream, first, last)
    CROSS JOIN LATERAL (
        SELECT FROM live.observation o WHERE o.stream = i.stream AND o.time BETWEEN i.first AND i.last LIMIT 1
    ) o
)
"""

INSERT_SQL = """
INSERT INTO live.observation (stream, time, received, value, flag)
SELECT stream, time, received, value, flag FROM bulk_input ON CONFLICT DO NOTHING
"""

CORRECT_SQL = """
WITH old AS (
    SELECT o.stream, o.time, o.value, o.flag, o.received, d.result, i.value AS new_value, i.flag AS new_flag,
        i.received AS new_received
    FROM bulk_input i JOIN live.observation o ON o.stream = i.stream AND o.time = i.time
    LEFT JOIN live.observation_detail d ON d.stream = o.stream AND d.time = o.time
    WHERE o.value IS DISTINCT FROM i.value OR d.result IS NOT NULL
    FOR UPDATE OF o
), kept AS (
    INSERT INTO live.correction (stream, time, value, flag, received, corrected_by, result)
    SELECT stream, time, value, flag, received, $1, result FROM old
)
UPDATE live.observation o SET value = old.new_value, flag = old.new_flag, received = old.new_received
FROM old WHERE o.stream = old.stream AND o.time = old.time
"""


@dataclass(frozen=True, slots=True)
class ObservationColumns:
    """Observations in columns of one length, in any order; values are in the unit that the device itself sends.

    Attributes
    ----------
    stream : array of int32
    time : array of int64
        Microseconds since 1970, UTC.
    value : array of float64
        NaN where there is none.
    flag : array of int16
    """

    stream: npt.NDArray[np.int32]
    time: Times
    value: npt.NDArray[np.float64]
    flag: npt.NDArray[np.int16]

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Self:
        """Return observations in columns. Units and details have no column: `StreamWriter.write` takes those."""
        count = len(observations)
        return cls(
            np.fromiter((o.stream for o in observations), np.int32, count),
            np.fromiter((microseconds(o.time) for o in observations), np.int64, count),
            np.fromiter((np.nan if o.value is None else o.value for o in observations), np.float64, count),
            np.fromiter((o.flag for o in observations), np.int16, count),
        )

    def __len__(self) -> int:
        return len(self.stream)

    def at(self, rows: npt.NDArray[Any] | slice) -> Self:
        """Return some rows, by a mask, positions or a slice."""
        return type(self)(self.stream[rows], self.time[rows], self.value[rows], self.flag[rows])

    def lists(self) -> tuple[list[int], list[datetime], list[float | None], list[int]]:
        """Return the columns as lists, with None for NaN."""
        values = [None if value != value else value for value in self.value.tolist()]  # NaN is unlike itself
        return self.stream.tolist(), [moment(t) for t in self.time.tolist()], values, self.flag.tolist()


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest rows of streams, with the microsecond since which each value has been the same."""

    rows: ObservationColumns
    since: Times


def microseconds(time: datetime) -> int:
    """Return the microseconds since 1970 of a time with a zone."""
    return (time - EPOCH) // ONE


def moment(time: int) -> datetime:
    """Return the time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=time)


class BulkWriter(StreamWriter):
    """Writes columns of observations, many thousands at a time."""

    async def write_columns(
        self, connection: asyncpg.Connection, columns: ObservationColumns, source: str
    ) -> Written:  # fmt: skip
        """Store a batch in one transaction, as `write` does.

        Parameters
        ----------
        connection : asyncpg.Connection
            Of the writer, outside of a transaction.
        columns : ObservationColumns
        source : str
            Who or what sends them, for the records of corrections.
        """
        received = datetime.now(UTC)
        streams = set(np.unique(columns.stream).tolist())
        await self.directory.look_up(connection, streams)
        written = Written()
        batch, aside = self._judge_columns(columns, received, written)
        await self._ensure_months(connection, _months(batch.time))
        async with connection.transaction():
            if len(aside):
                await connection.execute(SET_ASIDE_SQL, *aside.lists(), received, source)
            if len(batch):
                await self._store_columns(connection, batch, received, source, written)
        return written

    def _judge_columns(
        self, columns: ObservationColumns, received: datetime, written: Written
    ) -> tuple[ObservationColumns, ObservationColumns]:
        """Return what is stored, by stream and time, and what is set aside; both in the streams' units, flagged."""
        known = np.isin(columns.stream, np.fromiter(self.directory.by_key, np.int32))
        if not known.all():
            written.unknown_rows = np.flatnonzero(~known).tolist()
            written.unknown = len(written.unknown_rows)
            columns = columns.at(known)
        # In one order everywhere, so that two writers cannot wait for each other; of equal keys the last one counts.
        columns = columns.at(np.lexsort((columns.time, columns.stream)))
        last = np.append(
            (columns.stream[1:] != columns.stream[:-1]) | (columns.time[1:] != columns.time[:-1]), True
        )[: len(columns)]  # fmt: skip
        written.repeated = len(columns) - int(last.sum())
        columns = self._converted(columns.at(last))
        late = columns.time > microseconds(received) + int(FUTURE_SECONDS * MICROSECONDS)
        early = columns.time < microseconds(EARLIEST)
        columns.flag[late] |= int(Flag.FUTURE)
        columns.flag[early] |= int(Flag.TOO_OLD)
        aside = late | early
        written.set_aside = int(aside.sum())
        return columns.at(~aside), columns.at(aside)

    def _converted(self, columns: ObservationColumns) -> ObservationColumns:
        """Return values in the units of their streams; missing and out of range ones are flagged."""
        of = self._per_row(columns.stream)
        flag = columns.flag.copy()
        missing = ~np.isfinite(columns.value)
        with np.errstate(invalid="ignore", over="ignore"):
            value = np.where(missing, np.nan, columns.value * of(lambda s: s.factor) + of(lambda s: s.offset))
            # Comparisons with NaN, for no limit and for no value, are false.
            outside = (value < of(lambda s: s.lowest)) | (value > of(lambda s: s.highest))
        flag[missing] |= int(Flag.MISSING)
        flag[outside] |= int(Flag.OUT_OF_RANGE)
        return ObservationColumns(columns.stream, columns.time, value, flag)

    def _per_row(
        self, stream: npt.NDArray[np.int32]
    ) -> Callable[[Callable[[Stream], float | None]], npt.NDArray[np.float64]]:
        """Return what gives each row a number of its stream, NaN for none."""
        keys, position = np.unique(stream, return_inverse=True)
        streams = [self.directory.by_key[key] for key in keys.tolist()]
        return lambda number: np.array([number(s) for s in streams], dtype=np.float64)[position]

    async def _store_columns(
        self, connection: asyncpg.Connection, batch: ObservationColumns, received: datetime, source: str,
        written: Written,
    ) -> None:  # fmt: skip
        first = np.flatnonzero(np.append(True, batch.stream[1:] != batch.stream[:-1]))
        last = np.append(first[1:], len(batch)) - 1
        keys = batch.stream[first].tolist()
        before = {row["stream"]: row for row in await connection.fetch(LATEST_SQL, keys)}
        newest = self._flag_stuck_columns(batch, first, before)
        spans = keys, [moment(t) for t in batch.time[first].tolist()], [moment(t) for t in batch.time[last].tolist()]
        touched = await connection.fetchval(TOUCHED_SQL, *spans)
        added = await _add(connection, batch, received, bool(touched))
        await connection.execute(
            UPSERT_LATEST_SQL, *newest.rows.lists(), [moment(t) for t in newest.since.tolist()], received
        )
        await _mark(connection, batch)
        written.new = added
        written.flagged = int(np.count_nonzero(batch.flag))
        if added < len(batch):
            done: str = await connection.execute(CORRECT_SQL, source)
            written.corrected = int(done.rpartition(" ")[2])
            written.repeated += len(batch) - added - written.corrected

    def _flag_stuck_columns(
        self, batch: ObservationColumns, first: npt.NDArray[np.intp], before: Mapping[int, Mapping[str, Any]]
    ) -> _Newest:
        """Flag values that stay the same for too long, as `_flag_stuck` does; return each stream's newest.

        `first` are the first rows of each stream.
        """
        of = self._per_row(batch.stream)
        position = np.cumsum(np.isin(np.arange(len(batch)), first)) - 1
        rows_before = [before.get(key) for key in batch.stream[first].tolist()]
        time_before = np.array([microseconds(r["time"]) if r else 0 for r in rows_before], dtype=np.int64)
        since_before = np.array([microseconds(r["same_since"]) if r else 0 for r in rows_before], dtype=np.int64)
        value_before = np.array([r["value"] if r else None for r in rows_before], dtype=np.float64)
        # Values that come late are not judged: what lies around them is not at hand.
        judged = np.flatnonzero(batch.time >= time_before[position])
        stream, time, value = batch.stream[judged], batch.time[judged], batch.value[judged]
        begins = np.append(True, stream[1:] != stream[:-1])[: len(judged)]
        previous = np.where(begins, value_before[position[judged]], np.append(np.nan, value[:-1])[: len(judged)])
        same = value == previous
        anchors = np.maximum.accumulate(np.where(begins | ~same, np.arange(len(judged)), 0))
        since = np.where(same & begins, since_before[position[judged]], time)[anchors]
        limit = of(lambda s: s.stuck_seconds)[judged]
        stuck = same & ((time - since) / MICROSECONDS > limit)
        for row in np.flatnonzero(stuck):
            if value[row] in self.directory.by_key[int(stream[row])].stuck_except:
                stuck[row] = False
        batch.flag[judged[stuck]] |= int(Flag.STUCK)
        ends = np.append(begins[1:], True)[: len(judged)]
        return _Newest(batch.at(judged[ends]), since[ends])


def _months(time: Times) -> set[tuple[int, int]]:
    months = np.unique(time.astype("datetime64[us]").astype("datetime64[M]")).astype(int)
    return {(1970 + month // 12, month % 12 + 1) for month in months.tolist()}


async def _add(connection: asyncpg.Connection, batch: ObservationColumns, received: datetime, touched: bool) -> int:
    """Store the rows whose keys are new; where some may be there already, all rows are left in `bulk_input`."""
    if not touched:
        try:
            async with connection.transaction():
                await _copy(connection, "observation", "live", batch, received)
        except asyncpg.UniqueViolationError:
            # Somebody else wrote the same meanwhile.
            pass
        else:
            return len(batch)
    await connection.execute(TEMPORARY_SQL)
    await _copy(connection, "bulk_input", None, batch, received)
    done: str = await connection.execute(INSERT_SQL)
    return int(done.rpartition(" ")[2])


async def _copy(
    connection: asyncpg.Connection, table: str, schema: str | None, batch: ObservationColumns, received: datetime
) -> None:
    """Copy rows in PostgreSQL's binary form: NULL has no bytes, so rows without a value are shorter."""
    at = np.full(len(batch), microseconds(received) - SINCE_2000)
    missing = np.isnan(batch.value)
    parts = []
    for of, value in ((batch.at(~missing), True), (batch.at(missing), False)):
        fields: list[Field] = [("i4", of.stream), ("i8", of.time - SINCE_2000), ("i8", at[: len(of)]),
                  ("f8", of.value if value else None), ("i2", of.flag)]  # fmt: skip
        parts.append(_binary(len(of), fields))
    await connection.copy_to_table(
        table, schema_name=schema, columns=("stream", "time", "received", "value", "flag"), format="binary",
        source=_file(*parts),
    )  # fmt: skip


async def _mark(connection: asyncpg.Connection, batch: ObservationColumns) -> None:
    """Mark the buckets of five minutes of rows that are sorted by stream and time."""
    bucket = batch.time // (FIVE_MINUTES * MICROSECONDS)
    new = np.append(True, (batch.stream[1:] != batch.stream[:-1]) | (bucket[1:] != bucket[:-1]))
    start = bucket[new] * (FIVE_MINUTES * MICROSECONDS) - SINCE_2000
    rows = _binary(len(start), [("i4", batch.stream[new]), ("i8", start)])
    await connection.copy_to_table(
        "dirty", schema_name="live", columns=("stream", "bucket"), format="binary", source=_file(rows)
    )


def _binary(count: int, fields: Sequence[Field]) -> bytes:
    """Return rows in PostgreSQL's binary form; a field without values is NULL."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for number, (kind, array) in enumerate(fields):
        layout.append((f"length{number}", ">i4"))
        if array is not None:
            layout.append((f"field{number}", f">{kind}"))
    rows = np.empty(count, dtype=layout)
    rows["fields"] = len(fields)
    for number, (kind, array) in enumerate(fields):
        rows[f"length{number}"] = -1 if array is None else np.dtype(kind).itemsize
        if array is not None:
            rows[f"field{number}"] = array
    return rows.tobytes()


def _file(*parts: bytes) -> io.BytesIO:
    return io.BytesIO(b"".join((b"PGCOPY\n\xff\r\n\0", bytes(8), *parts, b"\xff\xff")))

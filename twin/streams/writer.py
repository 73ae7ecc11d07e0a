"""The one writer of observations: judges, stores, corrects and marks for roll-up, in one transaction a batch.

Whatever way a value comes in (MQTT, HTTP, files, pollers, the simulator), it goes through `write`. What it returns was
committed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import asyncpg
import msgspec
import orjson

from twin.streams.flags import Flag
from twin.streams.stream import Stream, StreamDirectory

# Clocks of devices are not believed further than this into the future.
FUTURE_SECONDS = 300.0
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
STATE_CHANNEL = "twin_state"

FIVE_MINUTES = 300


class Observation(msgspec.Struct, gc=False):
    """One timed value of a stream, in the unit that it names, else in the device's own.

    `time` has a zone. `value` is None where there is none, or where the result is no number: then `detail` has it.
    """

    stream: int
    time: datetime
    value: float | None
    unit: str | None = None
    flag: int = 0
    detail: dict[str, Any] | None = None


class BatchRules(Protocol):
    """What is applied to each batch in its transaction: the rules of alerts."""

    async def apply(
        self,
        connection: asyncpg.Connection,
        batch: Sequence[Observation],
        before: Mapping[int, Mapping[str, Any]],
        received: datetime,
    ) -> None:
        """Look at a batch that was stored; `before` has the latest values that were there before it, by stream."""


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest value of a stream; the observation, if it came with this batch."""

    time: datetime
    value: float | None
    since: datetime
    observation: Observation | None = None


@dataclass(slots=True)
class Written:
    """What became of a batch. `new + repeated + corrected + set_aside + unknown` is the number of observations."""

    new: int = 0
    repeated: int = 0
    corrected: int = 0
    set_aside: int = 0
    unknown: int = 0
    flagged: int = 0
    # The positions, in what was given, of observations of streams that do not exist.
    unknown_rows: list[int] = field(default_factory=list)

    def add(self, other: Written) -> None:
        """Count another batch into this one."""
        for name in ("new", "repeated", "corrected", "set_aside", "unknown", "flagged"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


# The newest of each stream becomes its latest value, if it is newer, or another value of the same time.
UPSERT_LATEST_SQL = """
INSERT INTO live.latest AS l (stream, time, received, same_since, value, flag)
SELECT n.stream, n.time, $6, n.same_since, n.value, n.flag
FROM unnest($1::int4[], $2::timestamptz[], $3::float8[], $4::int2[], $5::timestamptz[])
    AS n (stream, time, value, flag, same_since)
ON CONFLICT (stream) DO UPDATE SET time = excluded.time, received = excluded.received, value = excluded.value,
    flag = excluded.flag, same_since = excluded.same_since, changed = excluded.changed
WHERE excluded.time > l.time OR (excluded.time = l.time AND excluded.value IS DISTINCT FROM l.value)
"""

# New rows are inserted, the newest of each stream becomes its latest value, and their buckets are marked. Rows whose
# key was there are not inserted: fewer come back than were given, and CORRECT_SQL looks at them.
WRITE_SQL = f"""
WITH input AS (
    SELECT * FROM unnest($7::int4[], $8::timestamptz[], $9::float8[], $10::int2[]) AS i (stream, time, value, flag)
), added AS (
    INSERT INTO live.observation (stream, time, received, value, flag)
    SELECT stream, time, $6, value, flag FROM input
    ON CONFLICT DO NOTHING RETURNING 1
), latest AS ({UPSERT_LATEST_SQL}), marked AS (
    INSERT INTO live.dirty (stream, bucket)
    SELECT * FROM unnest($11::int4[], $12::timestamptz[])
)
SELECT count(*) FROM added
"""  # noqa: S608  # SQL of ours

CORRECT_SQL = """
WITH input AS (
    SELECT * FROM unnest($1::int4[], $2::timestamptz[], $3::float8[], $4::int2[], $7::text[])
        AS i (stream, time, value, flag, result)
), old AS (
    SELECT o.stream, o.time, o.value, o.flag, o.received, d.result, i.value AS new_value, i.flag AS new_flag
    FROM input i JOIN live.observation o ON o.stream = i.stream AND o.time = i.time
    LEFT JOIN live.observation_detail d ON d.stream = o.stream AND d.time = o.time
    WHERE o.value IS DISTINCT FROM i.value OR d.result IS DISTINCT FROM i.result::jsonb
    FOR UPDATE OF o
), kept AS (
    INSERT INTO live.correction (stream, time, value, flag, received, corrected_by, result)
    SELECT stream, time, value, flag, received, $6, result FROM old
)
UPDATE live.observation o SET value = old.new_value, flag = old.new_flag, received = $5
FROM old WHERE o.stream = old.stream AND o.time = old.time
"""

LATEST_SQL = """
SELECT stream, time, value, same_since FROM live.latest WHERE stream = ANY($1::int4[])
"""

SET_ASIDE_SQL = """
INSERT INTO live.set_aside (stream, time, value, received, flag, source)
SELECT stream, time, value, $5, flag, $6
FROM unnest($1::int4[], $2::timestamptz[], $3::float8[], $4::int2[]) AS i (stream, time, value, flag)
ON CONFLICT DO NOTHING
"""

DETAIL_SQL = """
INSERT INTO live.observation_detail (stream, time, until, result_time, valid_from, valid_until, result, quality,
    parameters, feature_of_interest_id)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9::jsonb, $10)
ON CONFLICT (stream, time) DO UPDATE SET until = excluded.until, result_time = excluded.result_time,
    valid_from = excluded.valid_from, valid_until = excluded.valid_until, result = excluded.result,
    quality = excluded.quality, parameters = excluded.parameters,
    feature_of_interest_id = excluded.feature_of_interest_id
"""

DETAIL_TIMES = ("until", "result_time", "valid_from", "valid_until")


class StreamWriter:
    """Writes observations of the streams of a directory."""

    def __init__(self, directory: StreamDirectory, rules: BatchRules | None = None) -> None:
        self.directory = directory
        self._rules = rules
        self._months: set[tuple[int, int]] = set()

    async def write(self, connection: asyncpg.Connection, observations: Sequence[Observation], source: str) -> Written:
        """Store a batch in one transaction.

        Of two observations with the same stream and time in a batch the later one counts. One that is there already
        with the same value is repeated and changes nothing; another value takes the place of the old one, which moves
        to the corrections.

        Parameters
        ----------
        connection : asyncpg.Connection
            Of the writer.
        observations : sequence of Observation
        source : str
            Who or what sends them, for the records of corrections.

        Returns
        -------
        Written
            Counts, after the commit (or, inside a transaction of the caller's, before it).
        """
        received = datetime.now(UTC)
        directory = self.directory.by_key
        streams = {o.stream for o in observations}
        if not streams <= directory.keys():
            await self.directory.look_up(connection, streams)
            directory = self.directory.by_key
        written = Written()
        batch, aside = self._judge(observations, directory, received, written)
        if not batch and not aside:
            return written
        await self._ensure_months(connection, {(o.time.year, o.time.month) for o in _in_utc(batch)})
        async with connection.transaction():
            if aside:
                columns = _columns(aside)
                await connection.execute(SET_ASIDE_SQL, *columns, received, source)
            if batch:
                await self._store(connection, batch, received, source, written)
        return written

    def _judge(
        self,
        observations: Sequence[Observation],
        directory: Mapping[int, Stream],
        received: datetime,
        written: Written,
    ) -> tuple[list[Observation], list[Observation]]:
        """Bring values to the streams' units, flag what is not believable, and drop repetitions inside the batch."""
        future = received + timedelta(seconds=FUTURE_SECONDS)
        chosen: dict[tuple[int, datetime], Observation] = {}
        aside: dict[tuple[int, datetime], Observation] = {}
        for position, given in enumerate(observations):
            stream = directory.get(given.stream)
            if stream is None:
                written.unknown += 1
                written.unknown_rows.append(position)
                continue
            value, flag = judge(stream, given.value, given.unit, given.flag, given.detail is not None)
            time = given.time
            place = chosen
            if time > future:
                flag |= Flag.FUTURE
                place = aside
            elif time < EARLIEST:
                flag |= Flag.TOO_OLD
                place = aside
            key = (given.stream, time)
            if key in place:
                written.repeated += 1
                del place[key]
            place[key] = Observation(given.stream, time, value, None, int(flag), given.detail)
        written.set_aside = len(aside)
        # In one order everywhere, so that two writers cannot wait for each other.
        return [chosen[key] for key in sorted(chosen)], list(aside.values())

    async def _store(
        self,
        connection: asyncpg.Connection,
        batch: list[Observation],
        received: datetime,
        source: str,
        written: Written,
    ) -> None:
        before = {row["stream"]: row for row in await connection.fetch(LATEST_SQL, list({o.stream for o in batch}))}
        newest = self._flag_stuck(batch, before)
        columns = _columns(batch)
        marks = {(o.stream, int(o.time.timestamp()) // FIVE_MINUTES) for o in batch}
        added: int = await connection.fetchval(
            WRITE_SQL, *_columns([o for o, _ in newest]), [since for _, since in newest], received, *columns,
            [stream for stream, _ in marks],
            [datetime.fromtimestamp(bucket * FIVE_MINUTES, UTC) for _, bucket in marks],
        )  # fmt: skip
        written.new += added
        written.flagged += sum(1 for o in batch if o.flag)
        if added < len(batch):
            results = [_json((o.detail or {}).get("result")) for o in batch]
            done = await connection.execute(CORRECT_SQL, *columns, received, source, results)
            corrected = int(done.rpartition(" ")[2])
            written.corrected += corrected
            written.repeated += len(batch) - added - corrected
        details = [_detail(o) for o in batch if o.detail is not None]
        if details:
            await connection.executemany(DETAIL_SQL, details)
        if self._rules is not None:
            await self._rules.apply(connection, batch, before, received)

    def _flag_stuck(
        self, batch: list[Observation], before: Mapping[int, Mapping[str, Any]]
    ) -> list[tuple[Observation, datetime]]:
        """Flag values that stay the same for too long; return each stream's newest with the time it is the same since.

        Values that come late are not judged: what lies around them is not at hand.
        """
        newest: dict[int, _Newest] = {
            stream: _Newest(row["time"], row["value"], row["same_since"]) for stream, row in before.items()
        }
        for o in batch:
            last = newest.get(o.stream)
            if last is None:
                newest[o.stream] = _Newest(o.time, o.value, o.time, o)
                continue
            if o.time < last.time:
                continue
            same = o.value is not None and o.value == last.value
            since = last.since if same else o.time
            if same and self._is_stuck(o, since):
                o.flag |= int(Flag.STUCK)
            newest[o.stream] = _Newest(o.time, o.value, since, o)
        return [(n.observation, n.since) for n in newest.values() if n.observation is not None]

    def _is_stuck(self, o: Observation, since: datetime) -> bool:
        stream = self.directory.by_key[o.stream]
        limit = stream.stuck_seconds
        return limit is not None and o.value not in stream.stuck_except and (o.time - since).total_seconds() > limit

    async def _ensure_months(self, connection: asyncpg.Connection, months: set[tuple[int, int]]) -> None:
        """Make the partitions of (year, month) in UTC; each that is there for good is asked for once."""
        for year, month in sorted(months - self._months):
            await connection.execute("SELECT live.ensure_month(make_date($1, $2, 1))", year, month)
            # In a transaction of the caller's the new month may still be rolled back.
            if not connection.is_in_transaction():
                self._months.add((year, month))


def judge(
    stream: Stream, value: float | None, unit: str | None, flag: int = 0, has_result: bool = False
) -> tuple[float | None, int]:
    """Return a value in the stream's unit with its flag; one in an unknown unit stays as it came, flagged."""
    if value is None or not math.isfinite(value):
        return None, flag if has_result and value is None else flag | Flag.MISSING
    if unit is None:
        value = value * stream.factor + stream.offset
    elif unit != stream.unit:
        conversion = stream.units.get(unit)
        if conversion is None:
            return value, flag | Flag.UNIT
        value = value * conversion[0] + conversion[1]
    lowest, highest = stream.lowest, stream.highest
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        flag |= Flag.OUT_OF_RANGE
    return value, flag


def _in_utc(batch: Sequence[Observation]) -> Sequence[Observation]:
    for o in batch:
        if o.time.tzinfo is not UTC:
            o.time = o.time.astimezone(UTC)
    return batch


def _columns(batch: Sequence[Observation]) -> tuple[list[int], list[datetime], list[float | None], list[int]]:
    return [o.stream for o in batch], [o.time for o in batch], [o.value for o in batch], [o.flag for o in batch]


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _detail(o: Observation) -> tuple[Any, ...]:
    detail = o.detail or {}
    return (
        o.stream, o.time, *(detail.get(name) for name in DETAIL_TIMES),
        _json(detail.get("result")), _json(detail.get("quality")), _json(detail.get("parameters")),
        detail.get("feature_of_interest"),
    )  # fmt: skip

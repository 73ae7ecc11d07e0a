"""A stream's past: buckets of any length with their counts, and the city as of a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg

from twin.errors import BadInput
from twin.streams.flags import BAD
from twin.text import Text

Stat = Literal["mean", "min", "max", "sum", "count", "last", "p95"]

MOST_BUCKETS = 10_000
# A percentile needs the values themselves; more of them than this are not sorted for one answer.
MOST_VALUES = 1_000_000

_FROM_ROLLS = {
    "mean": "sum(total) / nullif(sum(n), 0)", "sum": "sum(total)", "min": "min(low)", "max": "max(high)",
    "count": "sum(n)::float8", "last": "(array_agg(last ORDER BY bucket DESC) FILTER (WHERE last IS NOT NULL))[1]",
}  # fmt: skip
_FROM_VALUES = {
    "mean": "avg(value)", "sum": "sum(value)", "min": "min(value)", "max": "max(value)",
    "count": "count(value)::float8",
    "last": "(array_agg(value ORDER BY time DESC))[1]",
    "p95": "percentile_cont(0.95) WITHIN GROUP (ORDER BY value)",
}  # fmt: skip

# Buckets stand on the city's midnight, so that days and six-hour pieces are the city's own.
ROLLS_SQL = """
SELECT date_bin($4, bucket, $5) AS start, sum(n)::int4 AS n, sum(bad)::int4 AS bad, {stat} AS value
FROM live.{table} WHERE stream = $1 AND bucket >= $2 AND bucket < $3 GROUP BY 1 ORDER BY 1
"""

VALUES_SQL = f"""
SELECT date_bin($4, time, $5) AS start, count(*) FILTER (WHERE good)::int4 AS n,
    count(*) FILTER (WHERE NOT good)::int4 AS bad, {{stat}} AS value
FROM (
    SELECT time, flag & {BAD} = 0 AND value IS NOT NULL AS good, CASE WHEN flag & {BAD} = 0 THEN value END AS value
    FROM live.observation WHERE stream = $1 AND time >= $2 AND time < $3 LIMIT {MOST_VALUES + 1}
) v GROUP BY 1 ORDER BY 1
"""  # noqa: S608  # numbers of ours

# The newest value of each stream that was not too old then. The limit is the stream's own.
AS_OF_SQL = """
SELECT d.id AS stream, o.time, o.value, o.flag, o.received
FROM live.datastream d CROSS JOIN LATERAL (
    SELECT time, value, flag, received FROM live.observation
    WHERE stream = d.id AND time <= $2 AND time > $2 - make_interval(secs => d.fresh_seconds)
    ORDER BY time DESC LIMIT 1
) o
WHERE d.id = ANY($1::int4[])
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One piece of a series: from `start` on, for the length that was chosen.

    `value` is None where there is no good value: a gap stays a gap. `expected` is the number of values that the
    stream's usual interval gives, None where it has none.
    """

    start: datetime
    value: float | None
    n: int
    bad: int
    expected: int | None


def midnight_before(moment: datetime, time_zone: Any) -> datetime:
    """Return the city's midnight at or before a moment."""
    return moment.astimezone(time_zone).replace(hour=0, minute=0, second=0, microsecond=0)


async def series(
    connection: asyncpg.Connection,
    stream: int,
    start: datetime,
    end: datetime,
    every: timedelta,
    stat: Stat,
    origin: datetime,
    interval: float | None = None,
) -> list[Bucket]:
    """Return a stream's values from `start` to before `end`, in buckets of `every`, empty ones too.

    Parameters
    ----------
    connection : asyncpg.Connection
    stream : int
        The Datastream's id.
    start, end : datetime
        With zones. They are widened to whole buckets.
    every : timedelta
        Length of a bucket.
    stat : {"mean", "min", "max", "sum", "count", "last", "p95"}
    origin : datetime
        A moment at which a bucket begins: the city's midnight.
    interval : float, optional
        The stream's usual seconds between values, for `expected`.

    Raises
    ------
    BadInput
        If there would be more than MOST_BUCKETS buckets, or too many values for a percentile.
    """
    start = origin + (start - origin) // every * every
    count = -(-(end - start) // every)
    if count > MOST_BUCKETS:
        raise BadInput(
            Text(
                en="That would be {n:,} buckets; at most {most:,} are given. Choose a larger “every”, or less time.",
                vi="Sẽ có {n:,} khoảng; tối đa {most:,}. Hãy chọn “every” lớn hơn hoặc thời gian ngắn hơn.",
            ).format(n=count, most=MOST_BUCKETS)
        )
    end = start + count * every
    table = _roll_table(every, origin)
    if table is not None and stat in _FROM_ROLLS:
        statement = ROLLS_SQL.format(table=table, stat=_FROM_ROLLS[stat])
    else:
        statement = VALUES_SQL.format(stat=_FROM_VALUES[stat])
    rows = await connection.fetch(statement, stream, start, end, every, origin)
    if statement.startswith("\nSELECT date_bin($4, time") and sum(row["n"] + row["bad"] for row in rows) > MOST_VALUES:
        raise BadInput(
            Text(
                en="More than {most:,} values lie in that time. Ask for less time, or for buckets of whole 5 minutes.",
                vi="Khoảng thời gian này có hơn {most:,} giá trị. Hãy chọn ngắn hơn hoặc khoảng tròn 5 phút.",
            ).format(most=MOST_VALUES)
        )
    found = {row["start"]: row for row in rows}
    expected = round(every.total_seconds() / interval) if interval else None
    zero = 0.0 if stat == "count" else None
    buckets = []
    for number in range(count):
        moment = start + number * every
        row = found.get(moment)
        if row is None:
            buckets.append(Bucket(moment, zero, 0, 0, expected))
        else:
            buckets.append(Bucket(moment, row["value"], row["n"], row["bad"], expected))
    return buckets


def _roll_table(every: timedelta, origin: datetime) -> str | None:
    """Name the coarsest roll-up whose buckets fill buckets of this length whole; None where the values are needed."""
    seconds = every.total_seconds()
    if seconds % 3600 == 0 and origin.minute == origin.second == 0:
        return "roll_1h"
    return "roll_5m" if seconds % 300 == 0 else None


async def as_of(connection: asyncpg.Connection, streams: Sequence[int], moment: datetime) -> list[asyncpg.Record]:
    """Return each stream's newest value at a moment, if it was fresh then: stream, time, value, flag, received."""
    rows: list[asyncpg.Record] = await connection.fetch(AS_OF_SQL, streams, moment)
    return rows

"""Roll-ups of streams: five minutes from the observations, hours from those, the city's days from the hours.

They are computed anew for the buckets that a writer marked, never added to: so late values, corrections and repetitions
come out right. Each bucket keeps its count and its sum, because means of means are wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from twin.streams.flags import BAD

# How many buckets one transaction recomputes.
BATCH = 20_000

TAKE_SQL = """
DELETE FROM live.dirty WHERE ctid = ANY(
    ARRAY(SELECT ctid FROM live.dirty WHERE bucket < $2 LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING stream, bucket
"""

# Marks of a stream that lie close together are one span, and the values of a span are read at once: a file that was
# filled in marks thousands of them.
SPAN_GAP = timedelta(hours=1)

FIVE_MINUTES_SQL = f"""
WITH found AS (
    SELECT s.stream, date_bin('5 minutes', o.time, 'epoch') AS bucket,
        count(*) FILTER (WHERE o.flag & {BAD} = 0 AND o.value IS NOT NULL)::int4 AS n,
        count(*) FILTER (WHERE o.flag & {BAD} <> 0)::int4 AS bad,
        sum(o.value) FILTER (WHERE o.flag & {BAD} = 0) AS total,
        min(o.value) FILTER (WHERE o.flag & {BAD} = 0) AS low,
        max(o.value) FILTER (WHERE o.flag & {BAD} = 0) AS high,
        (array_agg(o.value ORDER BY o.time DESC) FILTER (WHERE o.flag & {BAD} = 0 AND o.value IS NOT NULL))[1] AS last
    FROM unnest($3::int4[], $4::timestamptz[], $5::timestamptz[]) AS s (stream, first, until)
    CROSS JOIN LATERAL (
        SELECT time, value, flag FROM live.observation
        WHERE stream = s.stream AND time >= s.first AND time < s.until OFFSET 0
    ) o
    GROUP BY 1, 2
)
INSERT INTO live.roll_5m AS r (stream, bucket, n, bad, total, low, high, last)
SELECT d.stream, d.bucket, coalesce(f.n, 0), coalesce(f.bad, 0), f.total, f.low, f.high, f.last
FROM unnest($1::int4[], $2::timestamptz[]) AS d (stream, bucket) LEFT JOIN found f USING (stream, bucket)
ON CONFLICT (stream, bucket) DO UPDATE SET n = excluded.n, bad = excluded.bad, total = excluded.total,
    low = excluded.low, high = excluded.high, last = excluded.last
"""  # noqa: S608  # a number of ours

COARSER_SQL = """
INSERT INTO live.{to} AS r (stream, bucket, n, bad, total, low, high, last)
SELECT d.stream, d.bucket, a.n, a.bad, a.total, a.low, a.high, a.last
FROM unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) AS d (stream, bucket, until), LATERAL (
    SELECT coalesce(sum(f.n), 0)::int4 AS n, coalesce(sum(f.bad), 0)::int4 AS bad, sum(f.total) AS total,
        min(f.low) AS low, max(f.high) AS high,
        (array_agg(f.last ORDER BY f.bucket DESC) FILTER (WHERE f.last IS NOT NULL))[1] AS last
    FROM live.{of} f WHERE f.stream = d.stream AND f.bucket >= d.bucket AND f.bucket < d.until
) a
ON CONFLICT (stream, bucket) DO UPDATE SET n = excluded.n, bad = excluded.bad, total = excluded.total,
    low = excluded.low, high = excluded.high, last = excluded.last
"""

BUCKETS_SQL = """
SELECT DISTINCT d.stream, date_trunc($3, d.bucket, $4) AS bucket,
    date_trunc($3, date_trunc($3, d.bucket, $4) AT TIME ZONE $4 + $5::interval * 1.5) AT TIME ZONE $4 AS until
FROM unnest($1::int4[], $2::timestamptz[]) AS d (stream, bucket)
"""

EMPTY_SQL = """
DELETE FROM live.{table} r USING unnest($1::int4[], $2::timestamptz[]) AS d (stream, bucket)
WHERE r.stream = d.stream AND r.bucket = d.bucket AND r.n = 0 AND r.bad = 0
"""

FIVE_MINUTES = timedelta(minutes=5)
_ONE = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

Buckets = tuple[list[int], list[datetime]]


async def roll_up(
    connection: asyncpg.Connection, time_zone: str, limit: int = BATCH, before: datetime | None = None
) -> int:
    """Recompute the marked buckets, at most `limit` marks of them, in one transaction; return how many were taken.

    Parameters
    ----------
    connection : asyncpg.Connection
        Of the writer. Several programs may do this at once: each takes marks that no other has.
    time_zone : str
        The city's: days begin at its midnight.
    limit : int
        Marks of one call. Fewer were taken than that: there were no more.
    before : datetime, optional
        Only buckets that begin before this moment; else all.
    """
    until = before or datetime.max.replace(tzinfo=UTC)
    async with connection.transaction():
        # A plan for any number of marks is one for a few of them, and takes minutes for thousands.
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        taken = await connection.fetch(TAKE_SQL, limit, until)
        if not taken:
            return 0
        fine = sorted({(row["stream"], row["bucket"]) for row in taken})
        buckets = [stream for stream, _ in fine], [bucket for _, bucket in fine]
        await connection.execute(FIVE_MINUTES_SQL, *buckets, *_spans(fine))
        await _coarsen(connection, buckets, "roll_5m", "roll_1h", "hour", "UTC")
        await _coarsen(connection, buckets, "roll_1h", "roll_1d", "day", time_zone)
        await connection.execute(EMPTY_SQL.format(table="roll_5m"), *buckets)
        return len(taken)


def _spans(fine: list[tuple[int, datetime]]) -> tuple[list[int], list[datetime], list[datetime]]:
    """Return the spans of sorted buckets: their streams, where they begin, and where they are over."""
    streams: list[int] = []
    first: list[datetime] = []
    until: list[datetime] = []
    for stream, bucket in fine:
        if streams and streams[-1] == stream and bucket - until[-1] <= SPAN_GAP:
            until[-1] = bucket + FIVE_MINUTES
        else:
            streams.append(stream)
            first.append(bucket)
            until.append(bucket + FIVE_MINUTES)
    return streams, first, until


async def _coarsen(connection: asyncpg.Connection, fine: Buckets, of: str, to: str, unit: str, zone: str) -> None:
    rows = await connection.fetch(BUCKETS_SQL, *fine, unit, zone, _ONE[unit])
    rows.sort(key=lambda row: (row["stream"], row["bucket"]))
    streams, starts = [row["stream"] for row in rows], [row["bucket"] for row in rows]
    await connection.execute(COARSER_SQL.format(of=of, to=to), streams, starts, [row["until"] for row in rows])
    await connection.execute(EMPTY_SQL.format(table=to), streams, starts)

"""Removing entities with what belongs to them, and observations with what was made from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from tiles.sensorthings.fields import TABLES

# Corrections stay: they are the record of what was there.
VALUES_OF_STREAMS = (
    "DELETE FROM live.observation WHERE stream = ANY($1::int4[])",
    "DELETE FROM live.observation_detail WHERE stream = ANY($1::int4[])",
    "DELETE FROM live.set_aside WHERE stream = ANY($1::int4[])",
    "DELETE FROM live.dirty WHERE stream = ANY($1::int4[])",
    *(f"DELETE FROM live.roll_{name} WHERE stream = ANY($1::int4[])" for name in ("5m", "1h", "1d")),
)  # fmt: skip

# Streams that go with an entity.
STREAMS_OF = {
    "Thing": "SELECT id FROM live.datastream WHERE thing_id = $1",
    "Datastream": "SELECT id FROM live.datastream WHERE id = $1",
    "Sensor": "SELECT id FROM live.datastream WHERE sensor_id = $1",
    "ObservedProperty": "SELECT id FROM live.datastream WHERE observed_property_id = $1",
}

# The standard removes what was observed of a feature with the feature.
OBSERVATIONS_OF_FEATURE = """
SELECT o.stream, o.time FROM live.observation o
LEFT JOIN live.observation_detail d ON d.stream = o.stream AND d.time = o.time
JOIN live.datastream s ON s.id = o.stream
WHERE coalesce(d.feature_of_interest_id, s.feature_of_interest_id) = $1
    AND (s.feature_of_interest_id = $1
        OR EXISTS (SELECT FROM live.observation_detail x WHERE x.stream = s.id AND x.feature_of_interest_id = $1))
"""

HISTORY_OF_LOCATION = """
DELETE FROM live.historical_location WHERE id IN
    (SELECT historical_location_id FROM live.historical_location_location WHERE location_id = $1)
"""

OBSERVATIONS = """
WITH gone AS (
    DELETE FROM live.observation o USING unnest($1::int4[], $2::timestamptz[]) AS g (stream, time)
    WHERE o.stream = g.stream AND o.time = g.time RETURNING o.stream, o.time
), details AS (
    DELETE FROM live.observation_detail d USING unnest($1::int4[], $2::timestamptz[]) AS g (stream, time)
    WHERE d.stream = g.stream AND d.time = g.time
)
INSERT INTO live.dirty (stream, bucket)
SELECT DISTINCT stream, date_bin('5 minutes', time, timestamptz 'epoch') FROM gone
"""

NEWEST = """
WITH gone AS (
    DELETE FROM live.latest l WHERE l.stream = ANY($1::int4[])
        AND NOT EXISTS (SELECT FROM live.observation o WHERE o.stream = l.stream)
)
UPDATE live.latest l SET time = n.time, received = n.received, value = n.value, flag = n.flag, same_since = n.time,
    changed = pg_current_xact_id()
FROM unnest($1::int4[]) AS g (stream) CROSS JOIN LATERAL (
    SELECT o.time, o.received, o.value, o.flag FROM live.observation o WHERE o.stream = g.stream
    ORDER BY o.time DESC LIMIT 1
) n
WHERE l.stream = g.stream AND l.time <> n.time
"""


async def delete_observations(connection: asyncpg.Connection, keys: Sequence[tuple[int, datetime]]) -> None:
    """Remove observations; the latest values and the roll-ups follow."""
    if not keys:
        return
    streams = sorted({stream for stream, _ in keys})
    await connection.execute(OBSERVATIONS, [stream for stream, _ in keys], [moment for _, moment in keys])
    await connection.execute(NEWEST, streams)


async def delete_entity(connection: asyncpg.Connection, entity: str, key: int) -> None:
    """Remove an entity with what cannot be without it."""
    if entity in STREAMS_OF:
        streams = [row["id"] for row in await connection.fetch(STREAMS_OF[entity] + " FOR UPDATE", key)]
        if streams:
            for statement in VALUES_OF_STREAMS:
                await connection.execute(statement, streams)
            await connection.execute("DELETE FROM live.datastream WHERE id = ANY($1::int4[])", streams)
    elif entity == "FeatureOfInterest":
        rows = await connection.fetch(OBSERVATIONS_OF_FEATURE, key)
        await delete_observations(connection, [(row["stream"], row["time"]) for row in rows])
    elif entity == "Location":
        await connection.execute(HISTORY_OF_LOCATION, key)
    await connection.execute(f"DELETE FROM {TABLES[entity]} WHERE id = $1", key)  # names of ours

"""The latest value of every stream, followed in memory: what `/live` sends and the state answers are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

# Transactions end in another order than they begin. Whoever asks for changes since its last look must therefore ask
# from the oldest transaction that was still open then; rows that were seen already come again, and do no harm.
FOLLOW_SQL = """
WITH now AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon)
SELECT now.horizon::text AS horizon, l.stream, l.time, l.received, l.value, l.flag, l.changed::text AS changed
FROM now LEFT JOIN live.latest l ON l.changed >= $1::text::xid8
"""


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The newest value of a stream; `changed` is the transaction that wrote it."""

    time: datetime
    received: datetime
    value: float | None
    flag: int
    changed: int


class LatestValues:
    """All latest values by stream, brought up to date by `follow`."""

    def __init__(self) -> None:
        self.values: dict[int, LatestValue] = {}
        # Whoever knows all changes before this transaction has missed nothing that is in `values` now.
        self.horizon = 0

    async def follow(self, connection: asyncpg.Connection) -> set[int]:
        """Read what changed since the last look; return the streams that have another value now."""
        rows = await connection.fetch(FOLLOW_SQL, str(self.horizon))
        changed = set()
        for row in rows:
            stream = row["stream"]
            if stream is None:
                continue
            value = LatestValue(row["time"], row["received"], row["value"], row["flag"], int(row["changed"]))
            if self.values.get(stream) != value:
                self.values[stream] = value
                changed.add(stream)
        self.horizon = int(rows[0]["horizon"])
        return changed

    async def reload(self, connection: asyncpg.Connection) -> set[int]:
        """Read all values anew; return the streams that have another one now, or none any more.

        A value that was deleted is no change that `follow` could see.
        """
        before, self.values, self.horizon = self.values, {}, 0
        try:
            await self.follow(connection)
        except BaseException:
            self.values = before
            raise
        others = {stream for stream, value in self.values.items() if before.get(stream) != value}
        return others | (before.keys() - self.values.keys())

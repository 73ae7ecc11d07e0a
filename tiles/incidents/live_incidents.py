"""Incidents followed in a server process, for `/live`: those that are not over, and what changed of late."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import orjson

from tiles.http.server import CityContext
from twin.errors import Unavailable
from twin.incidents.incident import INCIDENT_SQL, Incident, incident_of

log = logging.getLogger("twin.city")

LOOK_SECONDS = 0.4
RETRY_SECONDS = 1.0
KEPT_CHANGES = 2_000

HORIZON_SQL = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
# As with the latest values: from the oldest transaction that was still open at the last look.
FOLLOW_SQL = INCIDENT_SQL + " WHERE i.changed >= $1::text::xid8 ORDER BY i.changed, i.id"
OPEN_SQL = INCIDENT_SQL + " WHERE i.status <> 'closed' ORDER BY i.id"


class LiveIncidents:
    """All incidents that are not over, by id, and the last changes with their numbers in this process."""

    def __init__(self, city: CityContext) -> None:
        self._city = city
        self.incidents: dict[int, Incident] = {}
        self.changes: deque[tuple[int, Incident]] = deque(maxlen=KEPT_CHANGES)
        self.number = 0
        # Whoever knows all changes before this transaction has missed nothing; None until the first look.
        self.horizon: int | None = None
        # Changes from here on are all in `changes`.
        self.since = 0
        self.on_change: list[Callable[[], None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the incidents while the server runs."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def _follow(self) -> None:
        pause = LOOK_SECONDS
        while True:
            try:
                async with self._city.connection() as connection:
                    await self.look(connection)
                pause = LOOK_SECONDS
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, Unavailable) as error:
                if pause == LOOK_SECONDS:
                    log.warning("the incidents cannot be read: %s", type(error).__name__)
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def look(self, connection: asyncpg.Connection) -> None:
        """Read what changed since the last look."""
        # Before the rows: what ends in between comes again next time, and nothing is missed.
        horizon = int(await connection.fetchval(HORIZON_SQL))
        if self.horizon is None:
            rows = await connection.fetch(OPEN_SQL)
            self.since = horizon
        else:
            rows = await connection.fetch(FOLLOW_SQL, str(self.horizon))
        found = [incident_of(row) for row in rows]
        news = [incident for incident in found if self._is_new(incident)]
        self.horizon = horizon
        for incident in news:
            self.number += 1
            if len(self.changes) == self.changes.maxlen:
                self.since = max(self.since, self.changes[0][1].changed + 1)
            self.changes.append((self.number, incident))
            if incident.closed is None:
                self.incidents[incident.id] = incident
            else:
                self.incidents.pop(incident.id, None)
        if news:
            for tell in self.on_change:
                tell()

    def _is_new(self, incident: Incident) -> bool:
        known = self.incidents.get(incident.id)
        if known is not None:
            return known != incident
        return not any(other.id == incident.id and other.changed >= incident.changed for _, other in self.changes)


class FollowedIncidents:
    """The incidents that one reader follows: those of layers whose streams it may read."""

    def __init__(self, live: LiveIncidents, readable: Callable[[], frozenset[str]]) -> None:
        self._live = live
        self._readable = readable
        self._sent: frozenset[str] = frozenset()
        self._number = 0

    @property
    def horizon(self) -> int:
        """What the reader knows, in a form that every server process understands."""
        return self._live.horizon or 0

    def first(self, known: int | None) -> bytes | None:
        """Return what the reader misses since a horizon, or all that is not over; None if there is nothing."""
        live, readable = self._live, self._readable()
        self._sent, self._number = readable, live.number
        if known is not None and known >= live.since:
            return self._data(
                [i for _, i in live.changes if i.changed >= known and i.is_told_to(readable)], whole=False
            )
        return self._data([i for i in live.incidents.values() if i.is_told_to(readable)], whole=True)

    def next(self) -> bytes | None:
        """Return what changed since the last time; None if nothing did."""
        found, whole = self._news()
        self._sent, self._number = self._readable(), self._live.number
        return self._data(found, whole=whole)

    def has_news(self) -> bool:
        """Tell whether there is anything to send; a change that is hidden from the reader is nothing."""
        return bool(self._news()[0])

    def _news(self) -> tuple[Sequence[Incident], bool]:
        live, readable = self._live, self._readable()
        if readable is not self._sent and readable != self._sent:
            # Other layers may be read now: the whole list takes the place of the one that was sent.
            return [i for i in live.incidents.values() if i.is_told_to(readable)], True
        if live.changes and live.changes[0][0] > self._number + 1:
            return [i for i in live.incidents.values() if i.is_told_to(readable)], True
        return [i for number, i in live.changes if number > self._number and i.is_told_to(readable)], False

    def _data(self, incidents: Sequence[Incident], *, whole: bool) -> bytes | None:
        if not incidents:
            return None
        newest = {incident.id: incident for incident in incidents}
        return orjson.dumps({"whole": whole, "incidents": [incident.as_dict() for incident in newest.values()]})

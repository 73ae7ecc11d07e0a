"""The state of the city in a server process: all streams with their latest values, followed as they change."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from layers.observed.grading import grade_index
from tiles.http.server import CityContext
from twin.errors import Unavailable
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.flags import BAD
from twin.streams.latest import LatestValue, LatestValues
from twin.text import Text

log = logging.getLogger("twin.city")

# How often the database is looked at: at most ten times a second while values come, else this often.
TICK_SECONDS = 0.1
IDLE_SECONDS = 0.25
RETRY_SECONDS = 1.0
# Looks that are remembered: whoever knows one of these gets what changed since then, and others all values.
KEPT_LOOKS = 600

NOT_READY = Text(
    en="The state of the city is not known yet. Try again in a few seconds.",
    vi="Chưa có trạng thái thành phố. Hãy thử lại sau vài giây.",
)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the database found. Looks are numbered in a process; the horizon may stand still for a while."""

    number: int
    changed: frozenset[int]


class LiveState:
    """Streams and their latest values. `rows` holds each as JSON, written once for all who follow."""

    def __init__(self, city: CityContext) -> None:
        self._city = city
        self._latest = LatestValues()
        self._entries: dict[int, StreamEntry] | None = None
        # Another number whenever the streams themselves are others.
        self.generation = 0
        # The newest look.
        self.number = 0
        self.rows: dict[int, bytes] = {}
        self.looks: deque[Look] = deque(maxlen=KEPT_LOOKS)
        self.on_change: list[Callable[[], None]] = []
        self._entries_due = asyncio.Event()
        self._entries_due.set()

    @property
    def entries(self) -> dict[int, StreamEntry]:
        """All streams by id; unavailable until they have been read once."""
        if self._entries is None:
            raise Unavailable(NOT_READY)
        return self._entries

    @property
    def values(self) -> dict[int, LatestValue]:
        """The latest values by stream."""
        return self._latest.values

    @property
    def horizon(self) -> int:
        """Whoever knows everything up to here has missed nothing so far."""
        return self._latest.horizon

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the streams while the server runs."""
        self._city.on_streams.append(self._entries_due.set)
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            self._city.on_streams.remove(self._entries_due.set)

    async def _follow(self) -> None:
        # A connection of its own: it must never wait for a free one.
        connection: asyncpg.Connection | None = None
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(**self._city.database.asyncpg_options("reader"), timeout=10)
                    self._entries_due.set()
                changed = await self._look(connection)
                await asyncio.sleep(TICK_SECONDS if changed else IDLE_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if connection is not None:
                    log.warning("the latest values cannot be read: %s", type(error).__name__)
                    connection.terminate()
                    connection = None
                await asyncio.sleep(RETRY_SECONDS)
            except asyncio.CancelledError:
                if connection is not None:
                    connection.terminate()
                raise

    async def _look(self, connection: asyncpg.Connection) -> bool:
        others = self._entries_due.is_set()
        if others:
            self._entries_due.clear()
            try:
                entries = await read_entries(connection)
            except BaseException:
                self._entries_due.set()
                raise
            self._entries, self.generation = entries, self.generation + 1
            try:
                changed = await self._latest.reload(connection)
            except BaseException:
                self._entries_due.set()
                raise
            self.rows = {stream: self._row(stream) for stream in self.values if stream in self.entries}
        else:
            changed = await self._latest.follow(connection)
            unknown = changed - self.entries.keys()
            if unknown:
                self._entries_due.set()
            self.rows.update({stream: self._row(stream) for stream in changed - unknown})
        if changed or others or not self.looks:
            self.number += 1
            self.looks.append(Look(self.number, frozenset(changed)))
            for tell in self.on_change:
                tell()
        return bool(changed)

    def _row(self, stream: int) -> bytes:
        entry, latest = self.entries[stream], self.values[stream]
        return orjson.dumps([stream, latest.value, self.grade(entry, latest), latest.flag, seconds(latest.time)])

    def grade(self, entry: StreamEntry, latest: LatestValue) -> int:
        """Return the place of a value's grade in the scale of its kind; -1 where there is none, or a flag."""
        if latest.flag & BAD:
            return -1
        return grade_index(entry.kind, entry.properties, latest.value, latest.time)

    def changed_since(self, number: int, selection: frozenset[int]) -> Iterable[int]:
        """Return the streams of a selection that may have another value than at a look of this process; each once."""
        if not self.looks or number >= self.number:
            return ()
        if number < self.looks[0].number - 1:
            return [stream for stream in selection if stream in self.rows]
        found: set[int] = set()
        for look in reversed(self.looks):
            if look.number <= number:
                break
            found |= look.changed
        return found & selection & self.rows.keys()

    def missed_since(self, horizon: int, selection: frozenset[int]) -> Iterable[int]:
        """Return the streams of a selection that may have another value than at a horizon, of whichever process."""
        return [s for s in selection if s in self.rows and self.values[s].changed >= horizon]


def seconds(moment: datetime) -> int:
    """Return a moment in whole seconds since 1970."""
    return int(moment.timestamp())

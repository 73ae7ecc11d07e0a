"""Vector tiles are made here: one alone at once, and those that wait while the database is busy by one question."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import asyncpg
from cachetools import LRUCache

from tiles.http.content_encoding import Encoding
from tiles.vector.mvt import make_tiles
from tiles.vector.tile_cache import CachedTile
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Grid, Place
from twin.access.permit import Permit

# One question is for as many tiles as take about this long: what is gained is the way to the database and back.
SECONDS_A_QUESTION = 0.01
MOST_A_QUESTION = 16
# Kinds of tiles whose cost is kept.
KINDS = 1000

# Errors that the features of one tile may cause, and that say nothing about the others.
OF_ONE_TILE = (asyncpg.InternalServerError, asyncpg.DataError)

# Tiles that one question can be for: of the same versions, grid and zoom.
Kind = tuple[tuple[tuple[int, int], ...], str, int]


@dataclass(slots=True)
class _PendingTile:
    chosen: Sequence[Permit]
    grid: Grid
    place: Place
    encoding: Encoding
    made: asyncio.Future[CachedTile]
    since: float


class TileBatcher:
    """Asks the database for tiles, for a few kinds of them at once; kinds take turns.

    `connect` lends a connection; `at_once` is how many statements run at the same time; a tile that waits `patience`
    seconds without being queried gets a TimeoutError.
    """

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]], at_once: int, patience: float
    ) -> None:
        self._connect = connect
        self._at_once = at_once
        self._patience = patience
        self._waiting: dict[Kind, deque[_PendingTile]] = {}
        # Those who ask, and how many of them have a question out. Tasks are held, or they might be collected.
        self._askers = self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._seconds: LRUCache[Kind, float] = LRUCache(KINDS)
        self._alarm: asyncio.TimerHandle | None = None

    def make(
        self, chosen: Sequence[Permit], place: Place, encoding: Encoding, grid: Grid = WEB_MERCATOR
    ) -> asyncio.Future[CachedTile]:
        """Have a tile made. To stop waiting for it does no harm to the others."""
        loop = asyncio.get_running_loop()
        pending = _PendingTile(chosen, grid, place, encoding, loop.create_future(), time.monotonic())
        # A contract that changed is another layer object, with other rules for the same version.
        kind = tuple((id(c.layer), c.version.key) for c in chosen), grid.id, place[0]
        self._waiting.setdefault(kind, deque()).append(pending)
        if self._askers < self._at_once:
            self._askers += 1
            # In a context of its own: it works for whoever waits, not for the client that came first.
            task = loop.create_task(self._ask(), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._alarm is None:
            self._alarm = loop.call_later(self._patience, self._give_up)
        return pending.made

    async def _ask(self) -> None:
        """Ask until nobody waits."""
        try:
            while self._waiting:
                kind, batch = self._next()
                self._busy += 1
                try:
                    await self._answer(kind, batch)
                finally:
                    self._busy -= 1
        finally:
            # Now, not when the task is done: the next request must not count on this one.
            self._askers -= 1

    async def _answer(self, kind: Kind, batch: Sequence[_PendingTile]) -> None:
        try:
            async with self._connect() as connection:
                start = time.monotonic()
                wanted = [(pending.place, pending.encoding) for pending in batch]
                tiles = await make_tiles(connection, batch[0].chosen, wanted, batch[0].grid)
        except Exception as error:
            # Tiles that failed together are made alone from now on: one tile may be to blame for all.
            self._seconds[kind] = SECONDS_A_QUESTION
            if len(batch) > 1 and isinstance(error, OF_ONE_TILE):
                for pending in batch:
                    await self._answer(kind, [pending])
                return
            for pending in batch:
                if not pending.made.done():
                    pending.made.set_exception(error)
            return
        each = (time.monotonic() - start) / len(batch)
        self._seconds[kind] = (self._seconds.get(kind, each) + each) / 2
        for pending, tile in zip(batch, tiles, strict=True):
            if not pending.made.done():
                pending.made.set_result(tile)

    def _next(self) -> tuple[Kind, list[_PendingTile]]:
        """Those whose turn it is: as many of one kind as one question should be for, and leave some to others."""
        kind = next(iter(self._waiting))
        queue = self._waiting.pop(kind)
        affordable = int(SECONDS_A_QUESTION / self._seconds.get(kind, SECONDS_A_QUESTION))
        share = math.ceil(len(queue) / (self._at_once - self._busy))
        batch = [queue.popleft() for _ in range(max(1, min(share, affordable, MOST_A_QUESTION)))]
        if queue:
            # The other kinds first.
            self._waiting[kind] = queue
        return kind, batch

    def _give_up(self) -> None:
        """Tell those who have waited too long, and look again when it is the next one's time."""
        self._alarm = None
        now = time.monotonic()
        for kind, queue in list(self._waiting.items()):
            while queue and now - queue[0].since >= self._patience:
                pending = queue.popleft()
                if not pending.made.done():
                    pending.made.set_exception(TimeoutError())
            if not queue:
                del self._waiting[kind]
        if self._waiting:
            oldest = min(queue[0].since for queue in self._waiting.values())
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(0.01, oldest + self._patience - now), self._give_up)

"""The memory of a server process: the catalogue, the keys, pools of connections; events notify it of changes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from typing import Any

import asyncpg

from tiles.http.clients import CURRENT, Shares
from tiles.ogc.filter_parsing import FilterParser
from tiles.raster.files import RasterFiles
from tiles.vector.batching import TileBatcher
from tiles.vector.tile_cache import TileCache
from twin.access.keys import KEYS_SQL, Key, parse_keys
from twin.catalogue.catalogue import SNAPSHOT_SQL, Layer, parse_snapshot
from twin.config import Settings
from twin.db.database import Database
from twin.errors import Unavailable
from twin.events import RETRY_SECONDS, listen
from twin.text import Text

log = logging.getLogger("twin.city")

NOT_READY = Text(
    en="The city is still being opened. Try again in a few seconds.",
    vi="Thành phố đang được mở. Hãy thử lại sau vài giây.",
)


# A question of a reader without a key may take half of the time that one with a key may.
TIME_WITHOUT_KEY = 0.5
# A table that is published is locked for a moment only. Who waits longer would keep connections from others.
LOCK_SECONDS = 2.0


class ReaderConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that remembers the time limit it was given, so that it is set only when it changes."""

    __slots__ = ("_limit",)

    async def limit_time(self, seconds: float) -> None:
        """Let each statement take so long at most."""
        milliseconds = max(1, int(seconds * 1000))
        if getattr(self, "_limit", None) != milliseconds:
            self._limit = None
            await self.execute(f"SET statement_timeout = {milliseconds}")
            self._limit = milliseconds


async def _reset(connection: asyncpg.Connection) -> None:
    """Nothing but a transaction can be left open here: asking the server to forget more would double the traffic."""
    if connection.is_in_transaction():
        await connection.reset()


class CityContext:
    """The city as this process knows it. The catalogue is replaced whole, so a request sees one moment of it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.keys: dict[str, Key] = {}
        self.info: dict[str, str] = {}
        self.tiles = TileCache(settings.tile_cache_mb * 1_000_000)
        # Half of the connections: the other questions do not wait for tiles.
        self.maker = TileBatcher(self.connection, max(1, settings.pool_size // 2), settings.pool_wait)
        self.rasters = RasterFiles(settings.raster_folder, settings.pool_wait)
        self._layers: dict[str, Layer] | None = None
        # Told after each reading of the catalogue, and after each of the keys alone.
        self.on_change: list[Callable[[], None]] = []
        self.on_keys: list[Callable[[], None]] = []
        self.on_streams: list[Callable[[], None]] = []
        self._pools: dict[bool, asyncpg.Pool] = {}
        # Of each pool, a client may hold half at a time, so that no one client keeps the others waiting.
        self._shares = {
            asking: Shares(max(1, self._pool_size(asking) // 2), settings.pool_wait) for asking in (False, True)
        }
        self.parser = FilterParser(settings.pool_wait)
        # What the cache of responses holds: see tiles/http/response_cache.py.
        self.answers = {"answers": 0, "bytes": 0, "found": 0}
        # Long answers hold a connection as long as their reader reads: half of those for questions at most.
        self.streams = asyncio.Semaphore(max(1, settings.pool_size // 4))
        self.stream_shares = Shares(max(1, settings.pool_size // 8), settings.pool_wait)

    @property
    def layers(self) -> dict[str, Layer]:
        """All layers by id. Until they have been read once, the city is unavailable."""
        if self._layers is None:
            raise Unavailable(NOT_READY)
        return self._layers

    @property
    def known_layers(self) -> dict[str, Layer] | None:
        """The same, or nothing as long as they have not been read. It is another object whenever anything changed."""
        return self._layers

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the catalogue up to date while the server runs. A missing database does not stop the start."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            self.rasters.close()
            await self.parser.close()
            for pool in self._pools.values():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(pool.close(), 5)

    @asynccontextmanager
    async def connection(self, *, asking: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a read-only connection; waits a bounded time for a free one.

        `asking` gives one whose statements are planned for their values: for queries that
        readers write themselves, where the values decide which index is the right one. Those have a pool of their
        own, so that long answers do not keep tiles waiting; without a key they have less time.
        """
        async with self._shares[asking].place():
            pool = await self._open_pool(asking)
            async with pool.acquire(timeout=self.settings.pool_wait) as connection:
                if asking:
                    await connection.limit_time(self._question_seconds())
                yield connection

    def _question_seconds(self) -> float:
        client = CURRENT.get()
        share = TIME_WITHOUT_KEY if client is not None and not client.has_key else 1.0
        return self.settings.statement_timeout * share

    def _pool_size(self, asking: bool) -> int:
        size = self.settings.pool_size
        return max(2, size // 2) if asking else size

    async def _open_pool(self, asking: bool) -> asyncpg.Pool:
        if asking not in self._pools:
            options = self.database.asyncpg_options("reader")
            milliseconds = int(self.settings.statement_timeout * 1000)
            options["server_settings"] |= {
                "statement_timeout": str(milliseconds),
                "lock_timeout": str(min(milliseconds, int(LOCK_SECONDS * 1000))),
                # The queries of every layer are long: planned once a connection, not at each request.
                "plan_cache_mode": "force_custom_plan" if asking else "force_generic_plan",
                "jit": "off",
                # Starting helpers takes longer than most questions, and there are other readers for the other cores.
                "max_parallel_workers_per_gather": "0",
            }
            pool = await asyncpg.create_pool(
                **options, min_size=0, max_size=self._pool_size(asking), connection_class=ReaderConnection,
                # Asked of every layer, the question about a cell is long; kept all the same.
                max_cacheable_statement_size=0,
                # Nothing is set on a connection that another request must not see: no question is spent on a reset.
                reset=_reset,
                command_timeout=self.settings.statement_timeout + 2, max_inactive_connection_lifetime=300,
            )  # fmt: skip
            # Somebody else may have opened one meanwhile.
            if self._pools.setdefault(asking, pool) is not pool:
                await pool.close()
        return self._pools[asking]

    async def _watch(self) -> None:
        """Read the catalogue anew at each change, and after every broken connection."""
        async for event in listen(self.database.asyncpg_options("reader")):
            if event.kind in ("stream", "connected"):
                for tell in self.on_streams:
                    tell()
            if event.kind == "stream":
                continue
            try:
                await self.refresh(keys_only=event.kind == "key")
            except Exception:
                log.warning("the catalogue could not be read; trying again", exc_info=True)
                await self._refresh_at_last()

    async def _refresh_at_last(self) -> None:
        """Read the catalogue as soon as it can be read: nobody tells of the same change again."""
        for pause in chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1])):
            await asyncio.sleep(pause)
            try:
                await self.refresh()
            except Exception as error:
                log.warning("the catalogue still cannot be read: %s", type(error).__name__)
            else:
                return

    async def refresh(self, *, keys_only: bool = False) -> None:
        """Read the keys, and the catalogue with them."""
        async with self.connection() as connection:
            self.keys = parse_keys(await connection.fetchval(KEYS_SQL))
            if keys_only:
                for tell in self.on_keys:
                    tell()
                return
            self.info = dict(await connection.fetch("SELECT key, value FROM twin.info"))
            before, self._layers = self._layers or {}, parse_snapshot(await connection.fetchval(SNAPSHOT_SQL))
        self.tiles.evict(_outdated(before, self._layers))
        for tell in self.on_change:
            tell()
        self.rasters.keep(v.key for layer in self._layers.values() for v in layer.versions.values())

    def fact(self, key: str) -> Any:
        """Return a fact about this database that was written as JSON, or None."""
        return json.loads(self.info[key]) if key in self.info else None


def _outdated(before: Mapping[str, Layer], now: Mapping[str, Layer]) -> Iterator[int]:
    """Name the versions that are not shown any more: not current now, or of a layer whose contract changed."""
    for name, layer in before.items():
        if layer.current is None:
            continue
        same = now.get(name)
        if same is None or same.current is None or same.current.key != layer.current.key:
            yield layer.current.key
        elif (same.theme, same.contract) != (layer.theme, layer.contract):
            yield from (version.key for version in layer.versions.values())

"""Writing streams from the server: a few connections of the writer's role, and the streams that it writes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from layers.observed.stream_grades import StreamGrades
from tiles.http.server import CityContext
from twin.incidents.engine import AlertEngine
from twin.streams.stream import StreamDirectory
from twin.streams.writer import StreamWriter

# A statement of a writer may remove a stream with all its values.
STATEMENT_SECONDS = 60
LOCK_SECONDS = 10


class StreamWriting:
    """The writer of this server: `connection` gives one of its connections, `writer` writes observations."""

    def __init__(self, city: CityContext) -> None:
        self._city = city
        self._size = max(2, city.settings.pool_size // 4)
        self._pool: asyncpg.Pool | None = None
        self._directory = StreamDirectory()
        self._is_stale = True
        self._rules = AlertEngine(StreamGrades(), city.settings.profile.time_zone)
        self._shared = StreamWriter(self._directory, self._rules)
        city.on_streams.append(self._forget)

    def _forget(self) -> None:
        self._is_stale = True
        self._rules.forget()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close the connections at the end."""
        try:
            yield
        finally:
            if self._pool is not None:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._pool.close(), 5)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection of the writer; waits a bounded time for a free one."""
        pool = await self._opened()
        async with pool.acquire(timeout=self._city.settings.pool_wait) as connection:
            yield connection

    async def writer(self, connection: asyncpg.Connection) -> StreamWriter:
        """Return the writer, with the streams as they are now. Not for use inside a transaction of the caller's."""
        if self._is_stale:
            self._is_stale = False
            try:
                await self._directory.read(connection)
            except BaseException:
                self._is_stale = True
                raise
        return self._shared

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            options = self._city.database.asyncpg_options("writer")
            options["server_settings"] |= {
                "statement_timeout": str(STATEMENT_SECONDS * 1000), "lock_timeout": str(LOCK_SECONDS * 1000),
                "jit": "off",
            }  # fmt: skip
            pool = await asyncpg.create_pool(
                **options, min_size=0, max_size=self._size, command_timeout=STATEMENT_SECONDS + 2,
                max_inactive_connection_lifetime=300,
            )  # fmt: skip
            # Somebody else may have opened one meanwhile.
            if self._pool is None:
                self._pool = pool
            else:
                await pool.close()
        return self._pool

"""Answers that are sent while they are read: memory stays the same, whatever their length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import asyncpg
from fastapi.responses import StreamingResponse
from starlette.types import Send

from tiles.http.problems import DATABASE_GONE
from tiles.http.server import CityContext
from twin.errors import Unavailable
from twin.text import Text

# Rows that are read from the database at once.
ROWS = 500

BUSY = Text(
    en="Other long answers are being written. Try again in a minute, or ask for less with limit=.",
    vi="Máy chủ đang gửi các kết quả dài khác. Hãy thử lại sau một phút, hoặc hỏi ít hơn bằng limit=.",
)

Chunks = AsyncGenerator[bytes, None]


class StreamedResponse(StreamingResponse):
    """Sends chunks within a bounded time, and closes what makes them, however it ends."""

    def __init__(self, chunks: Chunks, seconds: float, **options: Any) -> None:
        super().__init__(chunks, **options)
        self._chunks = chunks
        self._seconds = seconds

    async def stream_response(self, send: Send) -> None:
        """Send all chunks."""
        try:
            async with asyncio.timeout(self._seconds):
                await super().stream_response(send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._chunks.aclose()


@asynccontextmanager
async def streaming(city: CityContext) -> AsyncGenerator[asyncpg.Connection, None]:
    """Lend a connection for a long answer: so many at a time, half of them to one client, so that others find one."""
    async with city.stream_shares.place(), _place(city), city.connection(asking=True) as connection:
        transaction = connection.transaction(readonly=True)
        await transaction.start()
        try:
            yield connection
        finally:
            # A reader who goes away cancels whatever runs here, but the transaction has to end all the same.
            with anyio.CancelScope(shield=True), suppress(*DATABASE_GONE, asyncpg.PostgresError):
                await transaction.rollback()


@asynccontextmanager
async def _place(city: CityContext) -> AsyncGenerator[None, None]:
    """Take one of the places for long answers."""
    try:
        async with asyncio.timeout(city.settings.pool_wait):
            await city.streams.acquire()
    except TimeoutError:
        raise Unavailable(BUSY) from None
    try:
        yield
    finally:
        city.streams.release()


async def batches(
    connection: asyncpg.Connection, statement: tuple[str, list[object]]
) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    """Yield the rows of a statement, some at a time, through a cursor of the database."""
    sql, values = statement
    cursor = await connection.cursor(sql, *values)
    while rows := await cursor.fetch(ROWS):
        yield rows


async def primed(chunks: Chunks, seconds: float) -> Chunks:
    """The same chunks, with the first one made already: an error until then can still become a problem document."""
    try:
        async with asyncio.timeout(seconds):
            first = await anext(chunks)
    except StopAsyncIteration:
        first = b""
    except BaseException:
        await chunks.aclose()
        raise

    async def all_of_them() -> Chunks:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return all_of_them()

"""One reader's stream: what is current, then each change as it happens, and a sign of life in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tiles.live import events
from tiles.live.followers import Followers
from tiles.live.visible import View, changes, state_of
from twin.access.principals import Principal

MEDIA_TYPE = "text/event-stream"
# X-Accel-Buffering: nginx would collect events before it passes them on.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Readers come again at different moments, or all at once they would be too many for a server that just started.
RETRY_MS = (2_000, 5_000)
# Seconds that a reader may leave what is sent to it unread, once no more fits in between.
UNREAD_SECONDS = 20.0


class LiveResponse(StreamingResponse):
    """Goes on until the reader leaves, the key ends, or the server stops.

    It holds what its reader knows and nothing else: no connection, no queue, no old catalogue.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, followers: Followers, reader: Principal, who: str, names: Collection[str] | None, known: str | None
    ) -> None:
        self._followers, self._reader, self._who = followers, reader, who
        self._names, self._known = names, known
        self._woken = asyncio.Event()
        # What the reader knows by now.
        self._view: View = {}
        self._chunks = self._events()
        super().__init__(self._chunks, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse if there are too many."""
        with self._followers.place(self._who, self._has_news) as self._woken:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send each event at once; a reader that does not read is left."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with suppress(TimeoutError):
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(UNREAD_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes, None]:
        followers, clock = self._followers, asyncio.get_running_loop().time
        view = self._view = self._current_view()
        first = b"" if state_of(view) == self._known else events.current(view)
        yield events.retry_after(random.randint(*RETRY_MS)) + first  # noqa: S311
        # Signs of life come at fixed moments, whatever else is sent.
        due = clock() + followers.heartbeat
        while followers.may_stay(self._reader):
            try:
                async with asyncio.timeout_at(due):
                    await self._woken.wait()
            except TimeoutError:
                due = max(due, clock()) + followers.heartbeat
                yield events.HEARTBEAT
                continue
            self._woken.clear()
            if not followers.may_stay(self._reader):
                return
            before, view = view, self._current_view()
            self._view = view
            if found := list(changes(before, view)):
                yield events.changed(found, view)

    def _has_news(self) -> bool:
        """Tell whether there is anything that this reader may see: a change of its layers, or the end of its stream."""
        return not self._followers.may_stay(self._reader) or self._current_view() != self._view

    def _current_view(self) -> View:
        return self._followers.views.of(self._reader, self._names)

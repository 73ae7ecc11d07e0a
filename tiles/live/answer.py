"""One reader's stream: what is current, then each change as it happens, and a sign of life in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing, suppress

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tiles.incidents.live_incidents import FollowedIncidents
from tiles.live import events
from tiles.live.followers import Followers
from tiles.live.visible import View, changes, state_of
from tiles.streams.live_state import LiveState
from twin.access.principals import Principal

MEDIA_TYPE = "text/event-stream"
# X-Accel-Buffering: nginx would collect events before it passes them on.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Readers come again at different moments, or all at once they would be too many for a server that just started.
RETRY_MS = (2_000, 5_000)
# Seconds that a reader may leave what is sent to it unread, once no more fits in between.
UNREAD_SECONDS = 20.0


class FollowedState:
    """The streams that one reader follows, and the look up to which it knows their values."""

    def __init__(self, live: LiveState, selection: Callable[[], frozenset[int]]) -> None:
        self._live = live
        self._selection = selection
        self._sent: frozenset[int] = frozenset()
        self._number = 0

    @property
    def horizon(self) -> int:
        """What the reader knows, in a form that every server process understands."""
        return self._live.horizon

    def first(self, known: int | None) -> bytes | None:
        """Return what the reader misses since a horizon, or all values; None if it misses nothing."""
        live, selection = self._live, self._selection()
        found = [s for s in selection if s in live.rows] if known is None else list(live.missed_since(known, selection))
        self._sent, self._number = selection, live.number
        return self._rows(found) if found or known is None else None

    def next(self) -> bytes | None:
        """Return what changed since the last time; None if nothing did."""
        live, selection = self._live, self._selection()
        found = set(live.changed_since(self._number, selection))
        if selection is not self._sent:
            found |= {s for s in selection - self._sent if s in live.rows}
        self._sent, self._number = selection, live.number
        return self._rows(found) if found else None

    def has_news(self) -> bool:
        """Tell whether there is anything to send; a change that is hidden from the reader is nothing."""
        selection = self._selection()
        return bool(selection is not self._sent and selection - self._sent) or bool(
            self._live.changed_since(self._number, selection)
        )

    def _rows(self, streams: Collection[int]) -> bytes:
        rows = self._live.rows
        return b",".join(rows[stream] for stream in sorted(streams))


class LiveResponse(StreamingResponse):
    """Goes on until the reader leaves, the key ends, or the server stops.

    It holds what its reader knows and nothing else: no connection, no queue, no old catalogue. However slowly it reads,
    it gets the newest values and not all that lay in between.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        followers: Followers,
        reader: Principal,
        who: str,
        names: Collection[str] | None,
        known: str | None,
        state: FollowedState | None = None,
        incidents: FollowedIncidents | None = None,
    ) -> None:
        self._followers, self._reader, self._who = followers, reader, who
        self._names, self._known, self._state = names, known, state
        self._incidents = incidents
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
        known, horizon, incident_horizon = read_event_id(self._known)
        first = b"" if state_of(view) == known else events.current(view, self._event_id(view))
        values = self._state.first(horizon) if self._state else None
        if values is not None:
            first += events.state([values], self._event_id(view))
        found_incidents = self._incidents.first(incident_horizon) if self._incidents else None
        if found_incidents is not None:
            first += events.incidents(found_incidents, self._event_id(view))
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
            chunk = b""
            if found := list(changes(before, view)):
                chunk = events.changed(found, self._event_id(view))
            if self._state and (values := self._state.next()) is not None:
                chunk += events.state([values], self._event_id(view))
            if self._incidents and (data := self._incidents.next()) is not None:
                chunk += events.incidents(data, self._event_id(view))
            if chunk:
                yield chunk

    def _has_news(self) -> bool:
        """Tell whether there is anything that this reader may see: a change of its layers, or the end of its stream."""
        return (
            not self._followers.may_stay(self._reader)
            or self._current_view() != self._view
            or (self._state is not None and self._state.has_news())
            or (self._incidents is not None and self._incidents.has_news())
        )

    def _event_id(self, view: View) -> str:
        return event_id(
            view, self._state.horizon if self._state else None, self._incidents.horizon if self._incidents else None
        )

    def _current_view(self) -> View:
        return self._followers.views.of(self._reader, self._names)


def event_id(view: View, horizon: int | None = None, incidents: int | None = None) -> str:
    """Return the name of what a reader knows: the layers, and up to which horizons the values and the incidents."""
    parts = [state_of(view), *("" if h is None else str(h) for h in (horizon, incidents))]
    return ".".join(parts).rstrip(".")


def read_event_id(text: str | None) -> tuple[str | None, int | None, int | None]:
    """Read what `event_id` wrote; a part that cannot be read is unknown."""
    if text is None:
        return None, None, None
    layers, _, horizons = text.partition(".")
    values, _, incidents = horizons.partition(".")
    return layers, _horizon(values), _horizon(incidents)


def _horizon(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

"""Changes of the city's data, sent to every program that listens: PostgreSQL's NOTIFY is the bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

CHANNEL = "twin"
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

Kind = Literal["layer", "key", "stream", "connected"]


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event: what it means, which fields it carries, and whether a program may send it.

    An event that is not `sent` is made by the listener itself.
    """

    meaning: str
    fields: frozenset[str] = frozenset()
    sent: bool = True


# Every kind of event. A new one (an incident) is a line here and a branch where it is received.
EVENT_KINDS: dict[Kind, EventKind] = {
    "layer": EventKind("a layer's current version or its catalogue entry changed", frozenset({"layer", "version"})),
    "key": EventKind("a key was made or revoked"),
    "stream": EventKind("streams were declared, changed or removed (their values have a channel of their own)"),
    "connected": EventKind("the listener (re)connected: whatever was missed meanwhile, look again", sent=False),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed; EVENT_KINDS says what each kind means and which fields it may have."""

    kind: Kind
    layer: str | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        given = {name for name in ("layer", "version") if getattr(self, name) is not None}
        if self.kind not in EVENT_KINDS or not given <= EVENT_KINDS[self.kind].fields:
            raise ValueError(f"no event {self.kind!r} with {sorted(given)}")


def notify(session: Session, event: Event) -> None:
    """Notify all listeners when, and only if, the session's transaction commits."""
    payload = json.dumps({k: v for k, v in asdict(event).items() if v is not None})
    session.execute(sa.text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})


async def listen(connection_options: dict[str, Any]) -> AsyncIterator[Event]:
    """Yield events for ever. A lost connection is made again; each (re)connection yields `connected` first."""
    # Here, not above: every command notifies, only servers listen.
    import asyncpg

    attempt = 0
    while True:
        received: asyncio.Queue[Event | None] = asyncio.Queue()
        try:
            connection = await asyncpg.connect(**connection_options, timeout=10)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
            continue
        attempt = 0
        try:
            connection.add_termination_listener(lambda _, queue=received: queue.put_nowait(None))
            await connection.add_listener(CHANNEL, lambda *a, queue=received: _receive(queue, a[3]))
            yield Event("connected")
            while (event := await received.get()) is not None:
                yield event
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # Refused rather than lost (a standby does not listen): do not ask in a tight loop.
            await asyncio.sleep(RETRY_SECONDS[-1])
        finally:
            with suppress(Exception):
                await connection.close(timeout=1)


def _receive(queue: asyncio.Queue[Event | None], payload: str) -> None:
    # Anybody with a login can notify: what is not one of our events is not ours to act on.
    with suppress(ValueError, TypeError):
        event = Event(**json.loads(payload))
        if EVENT_KINDS[event.kind].sent:
            queue.put_nowait(event)

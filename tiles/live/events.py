"""The events of `/live` as they are written: `text/event-stream`, an event's name, JSON in one line.

The name says what the data is about, so that later kinds come under names of its own beside these:
`current` (what is current now), `layer` (a layer changed), `state` (values of streams) and `incident`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import orjson

from tiles.live.visible import LayerChange, View

HEARTBEAT = b":\n\n"


def retry_after(milliseconds: int) -> bytes:
    """Return what a client waits before it comes again when the connection is lost."""
    return b"retry: %d\n\n" % milliseconds


def current(view: View, event_id: str) -> bytes:
    """Return what is current now: version numbers by layer."""
    return _event("current", orjson.dumps({"layers": {name: seen.version for name, seen in view.items()}}), event_id)


def changed(changes: Sequence[LayerChange], event_id: str) -> bytes:
    """Return changes, after which the reader knows what the id stands for.

    Only the last one carries the id: who loses the connection in the middle must not seem to know them all.
    """
    last = len(changes)
    return b"".join(
        _event("layer", orjson.dumps(asdict(change)), event_id if number == last else None)
        for number, change in enumerate(changes, 1)
    )


def state(rows: Iterable[bytes], event_id: str) -> bytes:
    """Return values of streams, each as `[stream, value, grade, flag, seconds]`; they are written already."""
    return _event("state", b'{"values":[' + b",".join(rows) + b"]}", event_id)


def incidents(data: bytes, event_id: str) -> bytes:
    """Return incidents that are written already: all that are not over (`whole`), or those that changed."""
    return _event("incident", data, event_id)


def _event(name: str, data: bytes, event_id: str | None) -> bytes:
    lines = [b"id: " + event_id.encode()] if event_id else []
    lines += [b"event: " + name.encode(), b"data: " + data]
    return b"\n".join(lines) + b"\n\n"

"""The events of `/live` as they are written: `text/event-stream`, an event's name, JSON in one line.

The name says what the data is about, so that later kinds come under names of its own beside these:
`current` (what is current now) and `layer` (a layer changed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from tiles.live.visible import LayerChange, View, state_of

HEARTBEAT = b":\n\n"


def retry_after(milliseconds: int) -> bytes:
    """Return what a client waits before it comes again when the connection is lost."""
    return b"retry: %d\n\n" % milliseconds


def current(view: View) -> bytes:
    """Return what is current now: version numbers by layer."""
    return _event("current", {"layers": {name: layer.version for name, layer in view.items()}}, state_of(view))


def changed(changes: Sequence[LayerChange], view: View) -> bytes:
    """Changes, after which the reader knows the view.

    Only the last one carries the view's name: who loses the connection in the middle must not seem to know them all.
    """
    return b"".join(_layer_events(changes, state_of(view)))


def _layer_events(changes: Sequence[LayerChange], state: str) -> Iterator[bytes]:
    for number, change in enumerate(changes, 1):
        yield _event("layer", asdict(change), state if number == len(changes) else None)


def _event(name: str, data: Mapping[str, Any], state: str | None) -> bytes:
    lines = [b"id: " + state.encode()] if state else []
    lines += [b"event: " + name.encode(), b"data: " + orjson.dumps(data)]
    return b"\n".join(lines) + b"\n\n"

"""Follow a city's server: changes of its layers, as they happen."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from twin.client.connection import PASSING, PAUSES, READING_PATIENCE, Connection, seconds_of
from twin.client.transfer import NO_TWIN
from twin.errors import BadInput, TwinError
from twin.streams.flags import flag_names

PATH = "live"
# The server sends a heartbeat every few seconds; one that is silent for so long is away.
SILENCE = 60.0
# What a server may ask a client to wait before it comes again.
LONGEST_RETRY = 60.0


@dataclass(frozen=True, slots=True)
class Current:
    """What is current now: version numbers by layer.

    It comes first, and after a break if something changed meanwhile.
    """

    layers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer that became another.

    `kind`: `published`, a later version is current; `rolled-back`, an earlier one; `shown`, it can be read now and
    could not be before; `changed`, its title, licence, sharing or the like; `hidden`, it cannot be read any more: it
    has no version then.
    """

    layer: str
    kind: Literal["shown", "published", "rolled-back", "changed", "hidden"]
    version: int | None
    published: datetime | None


@dataclass(frozen=True, slots=True)
class StreamValue:
    """The latest value of a stream, in its unit; None where there is none.

    `grade` is the place of its class in the scale of its kind, None without one. `flags` say what is known against it.
    """

    stream: int
    value: float | None
    grade: int | None
    flags: tuple[str, ...]
    time: datetime


@dataclass(frozen=True, slots=True)
class StateChange:
    """Values of streams: all that are followed at first, then those that changed."""

    values: tuple[StreamValue, ...]


LiveEvent = Current | LayerChange | StateChange


def follow(connection: Connection, layers: Sequence[str] | None = None, *, state: bool = False) -> Iterator[LiveEvent]:
    """Yield events until the caller stops.

    A lost connection is made again, with growing pauses, for as long as the connection's patience lasts; what the
    server refuses, such as a key that was revoked, is raised at once.
    """
    parameters = {} if layers is None else {"layers": layers if isinstance(layers, str) else ",".join(layers)}
    if state:
        parameters["state"] = "true"
    last: str | None = None
    retry, tries = PAUSES[0], 0
    # Somebody who has a wrong address should not have to wait for long to learn it.
    until = time.monotonic() + min(connection.patience, READING_PATIENCE)
    while True:
        error: TwinError | None = None
        pause = max(retry, PAUSES[min(tries, len(PAUSES) - 1)])
        try:
            with connection.listen(PATH, parameters, {"Last-Event-ID": last} if last else {}, SILENCE) as answer:
                if not answer.is_success:
                    error = connection.complaint(answer)
                    if answer.status_code not in PASSING:
                        raise error
                    pause = max(pause, seconds_of(answer.headers.get("retry-after", "")))
                else:
                    for received in _events(answer):
                        tries, until = 0, time.monotonic() + connection.patience
                        retry = min(received.retry / 1000, LONGEST_RETRY) if received.retry is not None else retry
                        pause = retry
                        # Only after the caller took it: an event that was not handled comes again.
                        if (event := _event(received)) is not None:
                            yield event
                        last = received.id or last
        except httpx.TransportError as lost:
            error = connection.silent(lost)
        if error is not None and time.monotonic() + pause > until:
            raise error
        time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
        tries += 1


def _events(answer: httpx.Response) -> Iterator[ServerSentEvent]:
    try:
        yield from EventSource(answer).iter_sse()
    except SSEError:
        raise BadInput(NO_TWIN) from None


def _event(received: ServerSentEvent) -> LiveEvent | None:
    """Parse an event; None for one without data or of an unknown kind."""
    if not received.data or received.event not in ("current", "layer", "state"):
        return None
    try:
        data: dict[str, Any] = json.loads(received.data)
        if received.event == "current":
            return Current(dict(data["layers"]))
        if received.event == "state":
            return StateChange(tuple(_value(*value) for value in data["values"]))
        published = data["published"]
        return LayerChange(
            data["layer"], data["kind"], data["version"], datetime.fromisoformat(published) if published else None
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadInput(NO_TWIN) from None


def _value(stream: int, value: float | None, grade: int, flag: int, seconds: int) -> StreamValue:
    return StreamValue(
        stream, value, None if grade < 0 else grade, tuple(flag_names(flag)), datetime.fromtimestamp(seconds, UTC)
    )

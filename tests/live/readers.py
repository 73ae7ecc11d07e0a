"""Reading `/live` as its clients do, beside whatever the test does."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Following:
    """An open stream: its lines as they come, and the events in them."""

    answer: httpx.Response
    lines: queue.Queue[str | None] = field(default_factory=queue.Queue)
    seen: list[str] = field(default_factory=list)
    last_id: str | None = None

    def line(self, seconds: float = 10) -> str | None:
        """The next line; None at the stream's end."""
        found = self.lines.get(timeout=max(0.0, seconds))
        if found is not None:
            self.seen.append(found)
        return found

    def event(self, seconds: float = 10) -> tuple[str, Any] | None:
        """The next event with its data; None at the stream's end."""
        until, said = time.monotonic() + seconds, {}
        while (line := self.line(until - time.monotonic())) is not None:
            if line == "" and "data" in said:
                self.last_id = said.get("id", self.last_id)
                return said["event"], json.loads(said["data"])
            name, _, value = line.partition(": ")
            said[name] = value
        return None

    def changes(self, count: int) -> list[dict[str, Any]]:
        """So many changes of layers."""
        return [self.event()[1] for _ in range(count)]  # type: ignore[index]

    def nothing_more(self, seconds: float = 1.0) -> bool:
        """Whether no event comes in this time."""
        with suppress(queue.Empty):
            return self.event(seconds) is None
        return True


@contextmanager
def following(url: str, key: str | None = None, headers: Mapping[str, str] | None = None) -> Iterator[Following]:
    """Open a stream and read it in a thread until the test is done with it."""
    asked = {**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})}
    with httpx.Client(timeout=httpx.Timeout(60)) as http, http.stream("GET", url, headers=asked) as answer:
        assert answer.status_code == 200, answer.read()
        stream = Following(answer)

        def read() -> None:
            with suppress(httpx.TransportError, httpx.StreamError, RuntimeError):
                for line in answer.iter_lines():
                    stream.lines.put(line)
            stream.lines.put(None)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield stream
        finally:
            # Wakes the thread, which waits for bytes.
            network = answer.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):
                network.shutdown(2)
            thread.join(5)

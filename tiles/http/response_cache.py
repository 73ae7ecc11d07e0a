"""Answers that everybody may have are kept in memory, as a cache in front would keep them; the catalogue empties it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiles.http.metrics import ROUTE
from tiles.http.selection import names_tag
from tiles.http.server import CityContext
from twin.catalogue.catalogue import Layer

# Larger answers are few, and cost more to keep than to make again.
LARGEST = 256 * 1024
# What an entry costs beside its bytes.
OVERHEAD = 1_500
# What an answer may depend on, as its header Vary says: these are part of its name here. Who shows a key is never
# answered from memory.
REQUEST_HEADERS = (b"host", b"accept", b"accept-encoding", b"accept-language")
OTHERWISE = frozenset({b"authorization", b"x-api-key", b"range"})
# What goes on for ever would keep the catalogue of its beginning alive.
ENDLESS = "/live"
VARY = frozenset({"accept", "accept-encoding", "accept-language", "authorization", "x-api-key", "origin"})
MAX_AGE = re.compile(r"max-age=(\d{1,9})")

RawHeaders = list[tuple[bytes, bytes]]
Name = tuple[Any, ...]


@dataclass(slots=True)
class _CachedResponse:
    """What was answered to a question, for as long as the answer says."""

    until: float
    headers: RawHeaders
    body: bytes
    tag: str
    route: str

    def size(self) -> int:
        return OVERHEAD + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(slots=True)
class _CapturedResponse:
    """An answer on its way out."""

    status: int = 0
    headers: RawHeaders = field(default_factory=list)
    body: bytes | None = None


class ResponseCacheMiddleware:
    """Answers again what it has seen answered: complete, `public`, small, and to nobody in particular.

    What such answers are made of changes only with the catalogue. They stay no longer than their own `max-age`.
    """

    def __init__(self, app: ASGIApp, city: CityContext, limit: int) -> None:
        self.app = app
        self.city = city
        self._answers: LRUCache[Name, _CachedResponse] = LRUCache(limit, getsizeof=_CachedResponse.size)
        self._catalogue: Mapping[str, Layer] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on and listen."""
        name = _name(scope)
        catalogue = self.city.known_layers if name else None
        if name is None or catalogue is None:
            await self.app(scope, receive, send)
            return
        if catalogue is not self._catalogue:
            # Nothing of it is true any more; and nothing keeps the old catalogue's answers alive.
            self._answers.clear()
            self._catalogue = catalogue
        found: _CachedResponse | None = self._answers.get(name)
        if found is not None and time.monotonic() < found.until:
            self.city.answers["found"] += 1
            await _again(found, scope, send)
            return
        captured = _CapturedResponse()

        async def listen(message: Message) -> None:
            _capture(captured, message)
            await send(message)

        await self.app(scope, receive, listen)
        answer = _keepable(captured, scope)
        # What changed meanwhile may have been answered from before.
        if answer is not None and self._catalogue is catalogue and answer.size() <= self._answers.maxsize:
            self._answers[name] = answer
            self.city.answers |= {"answers": len(self._answers), "bytes": int(self._answers.currsize)}


def _name(scope: Scope) -> Name | None:
    """Return what a question is known by; nothing for one that may not be answered from memory."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] == ENDLESS:
        return None
    found: dict[bytes, bytes] = {}
    for header, value in scope["headers"]:
        # Said twice, it depends on the reader which one counts: nobody may get the other's answer.
        if header in OTHERWISE or (header in REQUEST_HEADERS and header in found):
            return None
        found[header] = value
    return scope["scheme"], scope["path"], scope["query_string"], *(found.get(header) for header in REQUEST_HEADERS)


async def _again(found: _CachedResponse, scope: Scope, send: Send) -> None:
    scope[ROUTE] = found.route
    given = (value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match")
    if any(names_tag(value, found.tag) for value in given):
        headers = [(n, v) for n, v in found.headers if n not in (b"content-length", b"content-type")]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": found.headers})
    await send({"type": "http.response.body", "body": found.body})


def _capture(captured: _CapturedResponse, message: Message) -> None:
    if message["type"] == "http.response.start":
        captured.status, captured.headers = message["status"], list(message["headers"])
    elif message["type"] == "http.response.body" and captured.body is None:
        # One that comes in pieces is long, and may break off.
        captured.body = b"" if message.get("more_body") else message.get("body", b"")


def _keepable(captured: _CapturedResponse, scope: Scope) -> _CachedResponse | None:
    if captured.status != 200 or not captured.body or len(captured.body) > LARGEST:
        return None
    headers = {name.lower(): value.decode("latin-1") for name, value in captured.headers}
    age = MAX_AGE.search(headers.get(b"cache-control", ""))
    vary = {part.strip().lower() for part in headers.get(b"vary", "").split(",")} - {""}
    if age is None or "public" not in headers[b"cache-control"] or not vary <= VARY or b"etag" not in headers:
        return None
    # A route that was found tells its address; what was answered before a route is not worth keeping.
    route = getattr(scope.get("route"), "path", None)
    if route is None:
        return None
    until = time.monotonic() + int(age[1])
    return _CachedResponse(until, captured.headers, captured.body, headers[b"etag"], route)

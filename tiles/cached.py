"""Tiles that are in memory, sent before the rest of the application is even asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from tiles import encodings, vector
from tiles.choice import choose
from tiles.state import CityState
from twin.access import authenticate
from twin.errors import TwinError

PATH = re.compile(r"/tiles/([^/]+)/(\d{1,2})/(\d{1,7})/(\d{1,7})\.mvt", re.ASCII)


@dataclass(frozen=True, slots=True)
class CachedTiles:
    """Answers what a plain look into the cache can answer; everything else, errors as well, goes to the application.

    Who asks is asked here as there: the layers are chosen by the same function.
    """

    app: ASGIApp
    city: CityState

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and not scope["query_string"]:
            path = PATH.fullmatch(scope["path"])
            answer = self._answer(scope, path) if path else None
            if answer is not None:
                status, headers, body = answer
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
                return
        await self.app(scope, receive, send)

    def _answer(self, scope: Scope, path: re.Match[str]) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
        asked: dict[bytes, bytes] = dict(scope["headers"])
        z, x, y = int(path[2]), int(path[3]), int(path[4])
        try:
            vector.check_tile(z, x, y)
            chosen = choose(path[1], self.city.layers, authenticate(_token(asked), self.city.keys))
        except TwinError:
            return None
        headers = vector.headers_of(chosen, z, x, y)
        if asked.get(b"if-none-match") == headers["ETag"].encode():
            return 304, _raw(headers), b""
        encoding = encodings.chosen(asked.get(b"accept-encoding", b"").decode("latin-1"))
        found = self.city.tiles.get(vector.key_of(chosen, z, x, y), encoding)
        if found is None:
            return None
        tile, body = found
        said = headers | vector.about(tile, encoding)
        said |= {"Content-Type": vector.MEDIA_TYPE, "Content-Length": str(len(body))}
        return 200, _raw(said), body


def _token(headers: dict[bytes, bytes]) -> str | None:
    """The key that a request shows, as `tiles.reader.principal_of` finds it."""
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    key = headers.get(b"x-api-key")
    return key.decode("latin-1") if key is not None else None


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]

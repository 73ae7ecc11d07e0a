"""The fast path of a tile: from the request to the bytes without the rest of the application."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tiles.http import content_encoding as encodings
from tiles.http.content_encoding import Encoding
from tiles.http.metrics import ROUTE
from tiles.http.principal import token_of
from tiles.http.selection import names_tag
from tiles.http.server import CityContext
from tiles.raster import routes as raster
from tiles.raster.image import RasterStyle
from tiles.vector import routes as vector
from tiles.vector.tile_cache import CachedTile, Key
from twin.access.keys import authenticate
from twin.access.permit import Permit, permits_of
from twin.access.principals import ANONYMOUS
from twin.catalogue.catalogue import Layer

PATH = re.compile(r"/tiles/([^/]+)/(\d{1,2})/(\d{1,7})/(\d{1,7})(?:\.mvt|(@2x)?\.(png|webp))", re.ASCII)
# Addresses whose meaning is cached; a reader of the map requests the same few hundred again and again.
CACHED_ADDRESSES = 20_000

# The key of a request's scope that holds the error that the fast path met.
FAILED = "twin.failed"

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _TileRequest:
    """What an address means to somebody: the layers, the tile, its headers; as long as the catalogue stands.

    Tiles are only referred to: it is the cache that says how long they stay.
    """

    chosen: tuple[Permit, ...]
    key: Key
    headers: dict[str, str]
    not_modified: RawHeaders
    look: RasterStyle | None
    route: str
    ready: dict[Encoding, tuple[weakref.ref[CachedTile], RawHeaders]] = field(default_factory=dict)


async def raise_failure(request: Request) -> None:
    """Raise the error that the fast path met, so that the application answers it as its own."""
    if (error := request.scope.get(FAILED)) is not None:
        raise error


class TileFastPathMiddleware:
    """Answers requests for tiles, of vectors and of rasters in their theme's colours.

    What it cannot answer goes to the application, and an error with it, so that the database is not queried twice.
    Authentication uses the same functions as the application. The meaning of an address is cached for requests without
    a key, until the catalogue changes.
    """

    def __init__(self, app: ASGIApp, city: CityContext) -> None:
        self.app = app
        self.city = city
        self._meanings: dict[str, _TileRequest] = {}
        self._catalogue: Mapping[str, Layer] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = None
        if scope["type"] == "http" and scope["path"].startswith("/tiles/") and not scope["query_string"]:
            answer = await self._answer(scope)
        if answer is None:
            await self.app(scope, receive, send)
            return
        scope[ROUTE], status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Scope) -> tuple[str, int, RawHeaders, bytes] | None:
        if scope["method"] not in ("GET", "HEAD"):
            return None
        sent: dict[bytes, bytes] = dict(scope["headers"])
        try:
            meant = self._meaning(scope)
        except Exception:
            # The database was not queried yet: the application meets the error again and writes the problem document.
            return None
        if meant is None:
            return None
        given = sent.get(b"if-none-match")
        if given is not None and names_tag(given.decode("latin-1"), meant.headers["ETag"]):
            return meant.route, 304, meant.not_modified, b""
        encoding: Encoding = "identity"
        if meant.look is None:
            encoding = encodings.chosen(sent.get(b"accept-encoding", b"").decode("latin-1"))
        try:
            tile, body = self.city.tiles.get(meant.key, encoding) or await self._fetch(meant, encoding)
        except Exception as error:
            # The application has the words for it, but must not ask the database a second time.
            scope[FAILED] = error
            return None
        ready = meant.ready.get(encoding)
        if ready is None or ready[0]() is not tile:
            headers = meant.headers | vector.about(tile, encoding)
            media_type = vector.MEDIA_TYPE if meant.look is None else meant.look.media_type
            headers |= {"Content-Type": media_type, "Content-Length": str(len(body))}
            ready = meant.ready[encoding] = (weakref.ref(tile), _raw(headers))
        return meant.route, 200, ready[1], body

    async def _fetch(self, meant: _TileRequest, encoding: Encoding) -> tuple[CachedTile, bytes]:
        _, _, z, x, y = meant.key
        if meant.look is None:
            return await vector.fetch(self.city, meant.chosen, z, x, y, encoding, key=meant.key)
        return await raster.fetch(self.city, meant.chosen[0], z, x, y, meant.look)

    def _meaning(self, scope: Scope) -> _TileRequest | None:
        path, catalogue = scope["path"], self.city.layers
        if catalogue is not self._catalogue:
            # Nothing means what it meant; and nothing keeps the old catalogue alive.
            self._meanings.clear()
            self._catalogue = catalogue
        token = token_of(scope)
        meant = self._meanings.get(path) if token is None else None
        if meant is not None:
            return meant
        match = PATH.fullmatch(path)
        if match is None:
            return None
        z, x, y = int(match[2]), int(match[3]), int(match[4])
        vector.check_tile(z, x, y)
        principal = ANONYMOUS if token is None else authenticate(token, self.city.keys)
        chosen = permits_of(principal, catalogue, match[1])
        if match[6] is None:
            headers, key = vector.headers_of(chosen, z, x, y), vector.key_of(chosen, z, x, y)
            meant = _TileRequest(chosen, key, headers, _raw(headers), None, "/tiles/{layers}/{z}/{x}/{y}.mvt")
        else:
            look = RasterStyle("default", "webp" if match[6] == "webp" else "png", 2 if match[5] else 1)
            one = raster.only_one(chosen)
            headers, key = raster.headers_of(one, z, x, y, look), raster.key_of(one, z, x, y, look)
            meant = _TileRequest(chosen, key, headers, _raw(headers), look, raster.route_of(look))
        if token is None:
            if len(self._meanings) >= CACHED_ADDRESSES:
                self._meanings.clear()
            self._meanings[path] = meant
        return meant


def _raw(headers: Mapping[str, str]) -> RawHeaders:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]

"""Tiles in memory: compressed, bounded in bytes, made once however many ask, and dropped with their version."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from tiles.http.content_encoding import Encoding, decode, encode

# The versions that a tile shows (their keys in the database), its grid with the keys of the permits, zoom, column, row.
Key = tuple[tuple[int, ...], str, int, int, int]

# What an entry costs beside its bytes: the key, the dictionary, the object.
OVERHEAD = 600


@dataclass(slots=True, weakref_slot=True)
class CachedTile:
    """One tile in the encodings that were requested so far; `cut` names the layers that it does not show whole."""

    cut: tuple[str, ...] = ()
    encoded: dict[Encoding, bytes] = field(default_factory=dict)

    def size(self) -> int:
        """Return how much memory it takes, in bytes."""
        return OVERHEAD + sum(map(len, self.encoded.values()))

    def translated(self, encoding: Encoding) -> bytes:
        """Its bytes in an encoding, made from one that is here."""
        have, body = next(iter(self.encoded.items()))
        return body if have == encoding else encode(decode(body, have), encoding)


class TileCache:
    """Keeps the tiles used last. A key names versions, which never change, so that an entry is never wrong.

    It also names what the permits hold back, so that principals share a tile only where their permits are equal.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.hits = self.misses = self.evicted = 0
        self._tiles: OrderedDict[Key, CachedTile] = OrderedDict()
        self._of_version: defaultdict[int, set[Key]] = defaultdict(set)
        self._making: dict[Key, asyncio.Future[CachedTile]] = {}

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, key: Key, encoding: Encoding) -> tuple[CachedTile, bytes] | None:
        """Give a tile that is here in that encoding, at once."""
        tile = self._tiles.get(key)
        if tile is None or encoding not in tile.encoded:
            return None
        self.hits += 1
        self._tiles.move_to_end(key)
        return tile, tile.encoded[encoding]

    async def fetch(
        self, key: Key, encoding: Encoding, make: Callable[[], Awaitable[CachedTile]]
    ) -> tuple[CachedTile, bytes]:
        """Give a tile; if it is not here, make it, once for all who ask at the same time."""
        if found := self.get(key, encoding):
            return found
        tile = self._tiles.get(key)
        if tile is None:
            self.misses += 1
            making = self._making.get(key)
            if making is None:
                making = self._making[key] = asyncio.ensure_future(make())
                making.add_done_callback(partial(self._made, key))
            # Who gives up waiting does not stop it: others may wait too.
            tile = await asyncio.shield(making)
        if encoding in tile.encoded:
            return tile, tile.encoded[encoding]
        return tile, await self._in_encoding(key, tile, encoding)

    def _made(self, key: Key, making: asyncio.Future[CachedTile]) -> None:
        del self._making[key]
        if not making.cancelled() and making.exception() is None:
            self._keep(key, making.result())

    async def _in_encoding(self, key: Key, tile: CachedTile, encoding: Encoding) -> bytes:
        if encoding not in tile.encoded:
            body = await asyncio.to_thread(tile.translated, encoding)
            # Back in the loop's own thread: only here are tiles and sizes changed.
            if encoding not in tile.encoded:
                tile.encoded[encoding] = body
                if self._tiles.get(key) is tile:
                    self.size += len(body)
                    self._shrink()
        return tile.encoded[encoding]

    def _keep(self, key: Key, tile: CachedTile) -> None:
        if tile.size() > self.limit:
            return
        self._tiles[key] = tile
        self.size += tile.size()
        for version in key[0]:
            self._of_version[version].add(key)
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self.limit:
            self._drop(next(iter(self._tiles)))

    def evict(self, versions: Iterable[int]) -> None:
        """Drop exactly the tiles that show one of these versions."""
        for version in versions:
            for key in list(self._of_version.get(version, ())):
                self._drop(key)

    def _drop(self, key: Key) -> None:
        self.size -= self._tiles.pop(key).size()
        self.evicted += 1
        for version in key[0]:
            keys = self._of_version[version]
            keys.discard(key)
            if not keys:
                del self._of_version[version]

"""Who sends a request, and the share of the database's connections that one client may hold at a time."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.types import Scope

from twin.errors import TooMany
from twin.text import Text

# An IPv6 customer has a whole network of this size.
NETWORK_BITS = 64

AT_ONCE = Text(
    en="This key or address has {each} costly questions running already, as many as one client may have. Go on when "
    "they are answered, or ask for less at a time.",
    vi="Khóa hoặc địa chỉ này đang có {each} truy vấn nặng, bằng mức tối đa cho một người dùng. Hãy tiếp tục khi đã có "
    "kết quả, hoặc mỗi lần hỏi ít hơn.",
)


@dataclass(slots=True)
class Client:
    """Who sends a request: `name` is the key's public id, else the address (in IPv6 the network)."""

    name: str
    has_key: bool


# The client of the request that is being answered. None is the server itself, which no share bounds.
CURRENT: ContextVar[Client | None] = ContextVar("client", default=None)


def address_of(scope: Scope) -> str:
    """Return the address that a request comes from, or its network in IPv6."""
    client = scope.get("client")
    return _network(client[0]) if client else "local"


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    with suppress(ValueError):
        found = ipaddress.ip_address(address)
        if found.version == 6 and found.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(found) >> NETWORK_BITS << NETWORK_BITS, NETWORK_BITS)))
    return address


@dataclass(slots=True)
class _Places:
    free: asyncio.Semaphore
    users: int = field(default=0)


class Shares:
    """Places that each client has a fixed number of, whatever the others do.

    Who has none free waits in the client's own queue, `patience` seconds at most, and then gets a TooMany.
    """

    def __init__(self, each: int, patience: float) -> None:
        self.each = each
        self._patience = patience
        self._of: dict[str, _Places] = {}

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place of the current client."""
        client = CURRENT.get()
        if client is None:
            yield
            return
        places = self._of.setdefault(client.name, _Places(asyncio.Semaphore(self.each)))
        places.users += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await places.free.acquire()
            except TimeoutError:
                raise TooMany(AT_ONCE.format(each=self.each)) from None
            try:
                yield
            finally:
                places.free.release()
        finally:
            places.users -= 1
            if not places.users:
                del self._of[client.name]

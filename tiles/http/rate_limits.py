"""How often one client may ask, counted by key, else by address; and which client each request comes from."""

from __future__ import annotations

import math
import time
from contextlib import suppress

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tiles.http.clients import CURRENT, Client, address_of
from tiles.http.principal import token_of
from tiles.http.problems import problem
from tiles.http.server import CityContext
from twin.access.keys import authenticate
from twin.errors import TwinError
from twin.text import Text

# What the operators' own programs ask.
FREE = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
TOO_OFTEN = Text(
    en="More than {limit:,} requests in a minute came from {whom}. Go on in {seconds} s. A key has a limit of its own, "
    "and whole layers are at /downloads.",
    vi="Đã có hơn {limit:,} yêu cầu trong một phút từ {whom}. Hãy tiếp tục sau {seconds} giây. Mỗi khóa có hạn mức "
    "riêng, và có thể tải trọn lớp dữ liệu ở /downloads.",
)
THIS_KEY = Text(en="this key", vi="khóa này")
THIS_ADDRESS = Text(en="your address", vi="địa chỉ của bạn")
MINUTE = 60.0


class MinuteWindow:
    """Counts by the sliding window counter: this minute's requests, and of the last minute's the share that is left.

    Libraries that count in memory were measured: the one that is kept best starts a thread every ten milliseconds to
    clear up, which halved the rate of tiles from memory. Here two minutes' clients are all that is kept.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def hit(self, who: str, limit: int, seconds: float) -> bool:
        """Count a request at a time, unless there were too many."""
        minute, passed = divmod(seconds, MINUTE)
        if minute != self._minute:
            self._before = self._now if minute == self._minute + 1 else {}
            self._now, self._minute = {}, int(minute)
        here = self._now.get(who, 0)
        if here + self._before.get(who, 0) * (1 - passed / MINUTE) + 1 > limit:
            return False
        self._now[who] = here + 1
        return True

    def wait(self, seconds: float) -> int:
        """Return the seconds until a minute begins, after which a client over the limit may go on."""
        return max(1, math.ceil(MINUTE - seconds % MINUTE))


class RateLimitMiddleware:
    """Passes requests on until a client has sent too many in the last minute; then says when to come back.

    A valid key is counted by itself; requests without one, or with a wrong one, by the address they come from. Each
    process of the server counts for itself.
    """

    def __init__(self, app: ASGIApp, whole: FastAPI, address_limit: int, key_limit: int) -> None:
        self.app = app
        self.whole = whole
        self._counts = MinuteWindow()
        self._address_limit = address_limit
        self._key_limit = key_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in FREE:
            await self.app(scope, receive, send)
            return
        key = self._key(scope)
        limit = self._key_limit if key else self._address_limit
        client = Client(key or address_of(scope), has_key=key is not None)
        CURRENT.set(client)
        if not limit or self._counts.hit(client.name, limit, time.monotonic()):
            await self.app(scope, receive, send)
            return
        seconds = self._counts.wait(time.monotonic())
        request = Request({**scope, "app": self.whole})
        detail = TOO_OFTEN.format(limit=limit, whom=THIS_KEY if key else THIS_ADDRESS, seconds=seconds)
        await problem(request, 429, detail, {"Retry-After": str(seconds)})(scope, receive, send)

    def _key(self, scope: Scope) -> str | None:
        if (token := token_of(scope)) is None:
            return None
        city: CityContext = self.whole.state.city
        with suppress(TwinError):
            return authenticate(token, city.keys).key
        return None

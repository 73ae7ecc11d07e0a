"""What operators see: a number for every request, counts and times by route, a line in the log for what went wrong."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from functools import lru_cache

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiles.http.principal import City
from twin.logs import log_context

log = logging.getLogger("twin.requests")
router = APIRouter(tags=["operations"])

# What a client may call its request; anything else gets a number of ours, so that nobody writes into the log.
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
EVENTS = b"text/event-stream; charset=utf-8"
# Where a fast path answers before the router does, it names the route itself.
ROUTE = "twin.route"

# Labels are bounded: the routes of the application, the methods, the classes of status.
REQUESTS = Counter("twin_requests_total", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "twin_request_seconds", "Seconds until a request was answered.", ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)  # fmt: skip
TILES = Gauge("twin_tile_cache", "Tiles in memory: how many, their bytes.", ["what"], multiprocess_mode="livesum")
CACHE = Gauge("twin_tile_cache_asked", "Tiles found in memory, made, and dropped.", ["what"], multiprocess_mode="sum")
KEPT = Gauge("twin_answers_kept", "Open answers in memory: how many, their bytes, how often one served.", ["what"],
             multiprocess_mode="livesum")  # fmt: skip


class MetricsMiddleware:
    """Gives each request a number, counts and times it, and logs what failed or took long."""

    def __init__(self, app: ASGIApp, slow_seconds: float) -> None:
        self.app = app
        self.slow_seconds = slow_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number = _number(scope)
        with log_context(request_id=number):
            await self._observe(scope, receive, send, number)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, number: str) -> None:
        start = time.perf_counter()
        status, noted = 500, False

        async def send_numbered(message: Message) -> None:
            nonlocal status, noted
            if message["type"] == "http.response.start":
                status = message["status"]
                if (b"content-type", EVENTS) in message["headers"]:
                    # It lasts as long as its reader likes: what counts is when it began.
                    noted = True
                    _note(scope, status, time.perf_counter() - start, self.slow_seconds)
                message["headers"] = [*message["headers"], (b"x-request-id", number.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_numbered)
        finally:
            if not noted:
                _note(scope, status, time.perf_counter() - start, self.slow_seconds)


def _number(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    return secrets.token_hex(8)


@lru_cache(maxsize=4096)
def _kept(route: str, method: str, hundreds: int) -> tuple[Counter, Histogram]:
    """Return what counts such requests, and what times them."""
    return REQUESTS.labels(route, method, f"{hundreds}xx"), SECONDS.labels(route)


def _note(scope: Scope, status: int, seconds: float, slow_seconds: float) -> None:
    route = scope.get(ROUTE) or getattr(scope.get("route"), "path", None) or "other"
    method = scope["method"] if scope["method"] in METHODS else "other"
    count, times = _kept(route, method, status // 100)
    count.inc()
    times.observe(seconds)
    # Not ready is an answer of the health check, not a fault: whoever starts a server asks until it changes.
    if seconds < slow_seconds and (status < 500 or route == "/health"):
        return
    # The address without its query, which may hold a key that somebody put there.
    fields = {"method": method, "path": scope["path"][:200], "status": status, "seconds": round(seconds, 3)}
    log.warning("the request failed" if status >= 500 else "the request took long", extra=fields)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Numbers for Prometheus",
)
async def metrics(city: City) -> Response:
    """Give the counts of all of the server's processes."""
    tiles = city.tiles
    for what, value in (("tiles", len(tiles)), ("bytes", tiles.size)):
        TILES.labels(what).set(value)
    for what, value in city.answers.items():
        KEPT.labels(what).set(value)
    for what, value in (("found", tiles.hits), ("made", tiles.misses), ("dropped", tiles.evicted)):
        CACHE.labels(what).set(value)
    registry = None
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    body = generate_latest(registry) if registry else generate_latest()
    return Response(body, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

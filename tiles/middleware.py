"""The middleware around the application, from the inside out: caches, limits, other sites' pages, metrics, proxies."""

from __future__ import annotations

from fastapi import FastAPI
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from starlette.types import ASGIApp

from tiles.http.cors import CorsMiddleware
from tiles.http.metrics import MetricsMiddleware
from tiles.http.rate_limits import RateLimitMiddleware
from tiles.http.response_cache import ResponseCacheMiddleware
from tiles.vector.fast_path import TileFastPathMiddleware
from twin.config import Settings


def with_middleware(app: FastAPI, settings: Settings) -> ASGIApp:
    """Put the middleware around the application that `create_app` made."""
    served: ASGIApp = ResponseCacheMiddleware(app, app.state.city, settings.answer_cache_mb * 2**20)
    served = TileFastPathMiddleware(served, app.state.city)
    served = RateLimitMiddleware(served, app, settings.rate_limit, settings.rate_limit_key)
    if settings.cors_origins:
        served = CorsMiddleware(served, settings.cors_origins)
    served = MetricsMiddleware(served, settings.slow_seconds)
    if settings.trusted_proxies:
        trusted = [host.strip() for host in settings.trusted_proxies.split(",")]
        served = wrap_asgi_with_proxy_headers(served, trusted_hosts=trusted)
    return served

"""The HTTP application of the developers' door."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from tiles import cells, collections, health, jobs, problems, uploads, vector
from tiles.head import HeadMiddleware
from tiles.state import CityState
from tiles.writing import BodyLimit
from twin import __version__
from twin.config import Settings
from twin.db.database import Database


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Make the application for one city's database."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    state = CityState(settings, database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with state.running():
            yield

    app = FastAPI(
        title=settings.profile.title.en,
        version=__version__,
        summary="Tiles and vector APIs over the city's shared base map",
        openapi_url="/api",
        # The ready-made documentation pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.city = state
    app.add_middleware(GZipMiddleware, minimum_size=512, compresslevel=5)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimit)
    problems.install(app)
    for module in (health, collections, vector, cells, uploads, jobs):
        app.include_router(module.router)
    return app

"""The HTTP application of the developers' door."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from tiles import (
    archives,
    cells,
    collections,
    health,
    jobs,
    observed,
    openapi,
    problems,
    raster,
    raster_legend,
    raster_tilesets,
    raster_values,
    tilesets,
    uploads,
    vector,
)
from tiles.cached import raise_failure
from tiles.catalogue import routes as catalogue
from tiles.counted import routes as counted
from tiles.downloads import routes as downloading
from tiles.downloads.preparing import Downloads
from tiles.features import documents, items, pages
from tiles.head import HeadMiddleware
from tiles.live import routes as live
from tiles.live.followers import Followers
from tiles.state import CityState
from tiles.writing import BodyLimit
from twin import __version__
from twin.config import Settings
from twin.db.database import Database


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Make the application for one city's database."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    state = CityState(settings, database)
    downloads = Downloads(state)
    followers = Followers(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with state.running(), downloads.running(), followers.running():
            yield

    app = FastAPI(
        title=settings.profile.title.en,
        version=__version__,
        summary="Tiles and vector APIs over the city's shared base map",
        # The document is served by tiles/openapi.py, as it really is.
        openapi_url=None,
        # The ready-made documentation pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(raise_failure), Depends(openapi.only_known)],
    )
    app.state.city = state
    app.state.downloads = downloads
    app.state.followers = followers
    app.add_middleware(GZipMiddleware, minimum_size=512, compresslevel=5)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimit)
    problems.install(app)
    modules = (
        health, items, vector, tilesets, raster, raster_tilesets, raster_legend, raster_values, cells, counted,
        openapi, documents, collections, pages, uploads, jobs, archives, observed, catalogue, downloading,
        live,
    )  # fmt: skip
    for module in modules:
        app.include_router(module.router)
    # Each module says beside its routes which standards they keep.
    app.state.conforms = [name for module in modules for name in getattr(module, "CONFORMS", ())]
    return app

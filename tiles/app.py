"""The HTTP application: all routers together, with what they keep in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from tiles.catalogue import routes as catalogue
from tiles.cells import profile as cell_profiles
from tiles.cells import routes as layer_cells
from tiles.downloads import routes as downloads
from tiles.downloads.prepare import Downloads
from tiles.features import items
from tiles.http import health, metrics, openapi, problems
from tiles.http.head import HeadMiddleware
from tiles.http.server import CityContext
from tiles.incidents import routes as incident_routes
from tiles.incidents import rule_routes
from tiles.incidents.live_incidents import LiveIncidents
from tiles.live import routes as live
from tiles.live.followers import Followers
from tiles.ogc import collections, documents, pages
from tiles.publishing import jobs, uploads
from tiles.publishing.requests import BodyLimitMiddleware
from tiles.raster import legend as raster_legend
from tiles.raster import position as raster_position
from tiles.raster import routes as raster_tiles
from tiles.raster import tilesets as raster_tilesets
from tiles.sensorthings import routes as sensorthings
from tiles.sensorthings import write_routes as sensorthings_writing
from tiles.streams import exporting as stream_exports
from tiles.streams import routes as stream_routes
from tiles.streams.live_state import LiveState
from tiles.streams.selection import Selections
from tiles.streams.states import States
from tiles.streams.writing import StreamWriting
from tiles.vector import archives
from tiles.vector import routes as vector_tiles
from tiles.vector import tilesets as vector_tilesets
from tiles.vector.fast_path import raise_failure
from twin import __version__
from twin.config import Settings
from twin.db.database import Database


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Make the application for one city's database."""
    state = CityContext(settings, database)
    prepared = Downloads(state)
    streams = LiveState(state)
    incidents = LiveIncidents(state)
    followers = Followers(state, streams, incidents)
    writing = StreamWriting(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with (
            state.running(), prepared.running(), streams.running(), incidents.running(), followers.running(),
            writing.running(),
        ):  # fmt: skip
            yield

    app = FastAPI(
        title=settings.profile.title.en,
        version=__version__,
        summary="Tiles and vector APIs over the city's shared base map",
        # The document is served by tiles/http/openapi.py, as it really is.
        openapi_url=None,
        # The ready-made documentation pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(raise_failure), Depends(openapi.only_known)],
    )
    app.state.city = state
    app.state.downloads = prepared
    app.state.followers = followers
    app.state.live = streams
    app.state.incidents = incidents
    app.state.selections = Selections(streams)
    app.state.states = States(state, streams)
    app.state.stream_writing = writing
    app.add_middleware(GZipMiddleware, minimum_size=512, compresslevel=5)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware)
    problems.install(app)
    modules = (
        health, items, vector_tiles, vector_tilesets, raster_tiles, raster_tilesets, raster_legend, raster_position,
        cell_profiles, layer_cells, openapi, documents, collections, pages, uploads, jobs, archives, metrics, catalogue,
        downloads, live, stream_routes, stream_exports, sensorthings, sensorthings_writing, rule_routes,
        incident_routes,
    )  # fmt: skip
    for module in modules:
        app.include_router(module.router)
    # Each module says beside its routes which standards they keep.
    app.state.conforms = [name for module in modules for name in getattr(module, "CONFORMS", ())]
    return app

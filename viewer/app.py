"""The whole server: the APIs with the map page on top."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp

from tiles.app import create_app
from tiles.http.principal import city_context, principal_of
from tiles.http.server import CityContext
from tiles.middleware import with_middleware
from tiles.ogc.collections import describe
from twin.access.permit import every_permit
from twin.config import load_settings
from twin.db.database import open_database
from twin.logs import set_up_logging
from twin.supervision import end_with_parent
from twin.text import Language
from viewer.pages import make_page, make_router

# New objects after which garbage is looked for. A request makes some hundreds and leaves next to none in a ring: with
# Python's own 700, a tenth of the time of serving goes into the search.
GARBAGE = 20_000


def create() -> ASGIApp:
    """Make the application from the settings; servers call this once a process."""
    set_up_logging()
    # A server that was killed must not leave processes that go on answering at its port.
    end_with_parent()
    settings = load_settings()
    app = create_app(settings, open_database(settings))
    app.state.home = make_page(opening)
    app.include_router(make_router(visible_layers, opening))
    served = with_middleware(app, settings)
    # What is loaded now stays as long as the process: it need not be looked through for garbage again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    return served


async def visible_layers(request: Request, language: Language) -> list[dict[str, Any]]:
    """Return the layers that the map of this reader may show."""
    permits = every_permit(principal_of(request), city_context(request).layers)
    return [describe(permit, language) for permit in permits]


def opening(request: Request) -> Mapping[str, Any]:
    """Return what the map is called and where it opens: as the database's city says, else as the profile does."""
    return _opening(city_context(request))


def _opening(city: CityContext) -> Mapping[str, Any]:
    profile = city.settings.profile
    view = city.fact("view") or {}
    return {
        "id": profile.id,
        "title": profile.title.as_dict(),
        "center": view.get("center", profile.view.center),
        "zoom": view.get("zoom", profile.view.zoom),
        "pitch": view.get("pitch", profile.view.pitch),
        "bearing": view.get("bearing", profile.view.bearing),
        "timeZone": str(profile.time_zone),
    }

"""Whether the server is alive, and whether it can answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from tiles.http.principal import City
from tiles.http.problems import DATABASE_GONE
from twin import __version__
from twin.errors import Unavailable

router = APIRouter(tags=["operations"])


@router.get(
    "/health",
    summary="Ready to answer?",
    responses={503: {"description": "The database is not reachable", "content": {"application/json": {}}}},
)
async def health(city: City, response: Response) -> dict[str, Any]:
    """Ask the database through the pool: 200 where the server can answer, else 503."""
    response.headers["Cache-Control"] = "no-store"
    try:
        layers = len(city.layers)
        async with city.connection() as connection:
            await connection.fetchval("SELECT 1")
    except (*DATABASE_GONE, Unavailable) as error:
        response.status_code = 503
        return {"status": "unavailable", "reason": type(error).__name__, "version": __version__}
    return {"status": "ok", "layers": layers, "version": __version__}


@router.get("/health/live", summary="Alive?")
async def live(response: Response) -> dict[str, str]:
    """Tell that the process answers, whatever the database does."""
    response.headers["Cache-Control"] = "no-store"
    return {"status": "ok", "version": __version__}

"""Which version a request means, and how long its answer may be kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from fastapi import Request

from tiles.http.principal import city_context, principal_of
from tiles.http.selection import caching, etag
from tiles.http.server import CityContext
from tiles.ogc import parameters as request_parameters
from twin.access.permit import Permit, as_current, permit_of
from twin.errors import NotFound
from twin.text import Text

VARY = "Authorization, X-API-Key, Accept, Accept-Language"

AT_SQL = """
SELECT version FROM twin.audit WHERE layer = $1 AND action IN ('publish', 'rollback') AND at <= $2
ORDER BY id DESC LIMIT 1
"""


async def permit_of_request(request: Request, layer: str, known: Collection[str]) -> Permit:
    """Return the permit for the layer and the version that a request means; refuse parameters that are not `known`."""
    city, given = city_context(request), request.query_params
    current = permit_of(principal_of(request), city.layers, layer)
    request_parameters.check_language(given)
    request_parameters.check_names(given, known, {})
    number, at = request_parameters.read_version(given), request_parameters.read_as_of(given)
    return await permit_for(city, current, number, at)


async def permit_for(city: CityContext, current: Permit, number: int | None, at: datetime | None) -> Permit:
    """Return the permit for the version of a number, else for the one that was current at a time, else as it is."""
    if at is not None:
        async with city.connection() as connection:
            number = await connection.fetchval(AT_SQL, current.layer.id, at)
        if number is None:
            raise NotFound(
                Text(
                    en="“{id}” had no version yet at {at}.", vi="Lớp “{id}” chưa có phiên bản nào vào lúc {at}."
                ).format(id=current.layer.id, at=at.isoformat())
            )
        return as_current(current.of_version(number))
    return current if number is None else current.of_version(number)


def keeping(request: Request, chosen: Permit, form: str, language: str = "") -> dict[str, str]:
    """Headers of an answer that follows from a version, an address and this program alone."""
    return {
        "Cache-Control": caching((chosen,)),
        "ETag": etag((chosen,), request.url, form, language),
        "Vary": VARY,
    }

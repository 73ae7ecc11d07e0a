"""Which version a request means, and how long its answer may be kept."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request

from tiles.http.selection import caching, etag
from tiles.http.server import CityContext
from twin.access.permit import Permit, as_current
from twin.errors import NotFound
from twin.text import Text

VARY = "Authorization, X-API-Key, Accept, Accept-Language"

AT_SQL = """
SELECT version FROM twin.audit WHERE layer = $1 AND action IN ('publish', 'rollback') AND at <= $2
ORDER BY id DESC LIMIT 1
"""


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


def is_known(request: Request, headers: dict[str, str]) -> bool:
    """Whether the reader has this very answer already."""
    given = request.headers.get("if-none-match")
    return given is not None and (given == "*" or headers["ETag"] in (tag.strip() for tag in given.split(",")))

"""Which layer and which version a request means, and how long its answer may be kept."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request

from tiles.http.selection import Chosen, caching, etag
from tiles.http.server import CityState
from twin.catalogue.catalogue import Layer
from twin.errors import NotFound
from twin.text import Text

VARY = "Authorization, X-API-Key, Accept, Accept-Language"

AT_SQL = """
SELECT version FROM twin.audit WHERE layer = $1 AND action IN ('publish', 'rollback') AND at <= $2
ORDER BY id DESC LIMIT 1
"""


async def choose(city: CityState, layer: Layer, number: int | None, at: datetime | None) -> Chosen:
    """The version of that number, else the one that was current at a time, else the current one."""
    if at is not None:
        async with city.connection() as connection:
            number = await connection.fetchval(AT_SQL, layer.id, at)
        if number is None:
            raise NotFound(
                Text(
                    en="“{id}” had no version yet at {at}.", vi="Lớp “{id}” chưa có phiên bản nào vào lúc {at}."
                ).format(id=layer.id, at=at.isoformat())
            )
    if number is None:
        assert layer.current is not None  # noqa: S101  # find_readable saw to it
        return Chosen(layer, layer.current, pinned=False)
    version = layer.versions.get(number)
    if version is None:
        raise NotFound(
            Text(
                en="“{id}” has no version {number} any more. Kept versions: {kept}.",
                vi="Lớp “{id}” không còn phiên bản {number}. Các phiên bản còn giữ: {kept}.",
            ).format(id=layer.id, number=number, kept=", ".join(map(str, sorted(layer.versions))))
        )
    return Chosen(layer, version, pinned=at is None)


def keeping(request: Request, chosen: Chosen, form: str, language: str = "") -> dict[str, str]:
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

"""How long an answer may be kept, and by what it is known: both follow from the permits that it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from fastapi import Request

from twin import __version__
from twin.access.permit import Permit

FOR_EVER = 31_536_000
FOR_NOW = 60
# A map may go on showing what it has for this long while it asks for what is new.
STALE = 600


def caching(permits: Sequence[Permit]) -> str:
    """Return `Cache-Control`: an answer that not everybody would get must not stay in a shared cache."""
    scope = "public" if all(permit.is_public for permit in permits) else "private"
    if all(permit.pinned for permit in permits):
        return f"{scope}, max-age={FOR_EVER}, immutable"
    return f"{scope}, max-age={FOR_NOW}, stale-while-revalidate={STALE}"


def etag(permits: Sequence[Permit], *rest: object) -> str:
    """Return an entity tag: an answer is a pure function of the permits, the place and this program."""
    parts = [__version__, *(f"{p.name}:{p.version.key}:{p.key}" for p in permits), *map(str, rest)]
    return f'W/"{hashlib.sha256("/".join(parts).encode()).hexdigest()[:24]}"'


def names_tag(given: str, tag: str) -> bool:
    """Tell whether `If-None-Match` names an entity tag, alone, in a list or as any; weak and strong ones are equal."""
    wanted = tag.removeprefix("W/")
    return given.strip() == "*" or wanted in (part.strip().removeprefix("W/") for part in given.split(","))


def is_known(request: Request, headers: Mapping[str, str]) -> bool:
    """Tell whether the client has the answer with these headers already."""
    given = request.headers.get("if-none-match")
    return given is not None and names_tag(given, headers["ETag"])

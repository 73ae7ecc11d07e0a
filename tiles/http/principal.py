"""The principal of a request, and the language of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.types import Scope

from tiles.http.server import CityContext
from twin.access.keys import authenticate
from twin.access.principals import Principal
from twin.text import LANGUAGES, Language, language_of_header

# Where a scope keeps the key that was found in its headers.
FOUND_KEY = "twin.key"
KEY_HEADERS = frozenset({b"authorization", b"x-api-key"})


def language_of(request: Request) -> Language:
    """Return the reader's language: `?lang=`, else Accept-Language, else the city's first."""
    wanted = request.query_params.get("lang")
    if wanted in LANGUAGES:
        return wanted
    if accepted := language_of_header(request.headers.get("accept-language")):
        return accepted
    first = city_context(request).settings.profile.languages[0]
    return "vi" if first == "vi" else "en"


async def requested_language(
    request: Request, lang: Annotated[Language | None, Query(description="Language of the answer.")] = None
) -> Language:
    """Return the language of an answer; FastAPI refuses an unknown `lang`."""
    return lang or language_of(request)


def city_context(request: Request) -> CityContext:
    """Return what the server knows of the city."""
    state: CityContext = request.app.state.city
    return state


def principal_of(request: Request) -> Principal:
    """Return whose key a request shows; ANONYMOUS without one."""
    return authenticate(token_of(request.scope), city_context(request).keys)


def token_of(scope: Scope) -> str | None:
    """Return the key in `Authorization: Bearer` or `X-API-Key`, as it was sent. Of two headers the first counts."""
    # Asked several times of each request, most of which have none.
    if FOUND_KEY in scope:
        token: str | None = scope[FOUND_KEY]
        return token
    sent: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in KEY_HEADERS:
            sent.setdefault(name, value)
    scope[FOUND_KEY] = found = _token_in(sent) if sent else None
    return found


def _token_in(sent: Mapping[bytes, bytes]) -> str | None:
    scheme, _, token = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    key = sent.get(b"x-api-key")
    return key.decode("latin-1") if key is not None else None


async def _city_context(request: Request) -> CityContext:
    return city_context(request)


async def _principal_of(request: Request) -> Principal:
    return principal_of(request)


# Asynchronous, for FastAPI hands others to a thread at each request.
City = Annotated[CityContext, Depends(_city_context)]
CurrentPrincipal = Annotated[Principal, Depends(_principal_of)]
Lang = Annotated[Language, Depends(requested_language)]

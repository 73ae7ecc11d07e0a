"""The principal of a request, and the language of its answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from tiles.http.server import CityContext
from twin.access.keys import authenticate
from twin.access.principals import Principal
from twin.text import LANGUAGES, Language, language_of_header


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
    """Who asks, by their key; nobody in particular without one."""
    return authenticate(token_of(request), city_context(request).keys)


def token_of(request: Request) -> str | None:
    """The key in `Authorization: Bearer` or `X-API-Key`, as it was sent."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key")


async def _city_context(request: Request) -> CityContext:
    return city_context(request)


async def _principal_of(request: Request) -> Principal:
    return principal_of(request)


# Asynchronous, for FastAPI hands others to a thread at each request.
City = Annotated[CityContext, Depends(_city_context)]
CurrentPrincipal = Annotated[Principal, Depends(_principal_of)]
Lang = Annotated[Language, Depends(requested_language)]

"""What the addresses that take something share: a publisher's key, a transaction, and a limit for bodies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import psycopg
import sqlalchemy as sa
from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiles.http.principal import City, city_context, principal_of, token_of
from tiles.http.problems import TRY_LATER
from tiles.http.server import CityContext
from twin.access.audit import note_denied
from twin.access.keys import principal_of_key, revoked_key
from twin.access.policy import NEEDS_KEY, require_publisher
from twin.access.principals import Principal
from twin.catalogue.catalogue import Layer, split_layer_id
from twin.errors import Forbidden, TwinError, Unauthenticated, Unavailable
from twin.text import Text

log = logging.getLogger("twin.http")

# Everything that is sent here fits well, but for the pieces of uploads, which are never held in memory.
BODY_BYTES = 1 << 20
# How long a client may be silent before all has arrived that it announced.
BODY_SECONDS = 30.0
STOPPED = Text(
    en="Nothing arrived for half a minute. Send the request again.",
    vi="Không nhận được gì trong nửa phút. Hãy gửi lại yêu cầu.",
)


@contextmanager
def writing(city: CityContext) -> Iterator[Session]:
    """A transaction of the writer. What is wrong with the database is for the log alone."""
    try:
        with city.database.session() as session:
            yield session
    except TwinError as error:
        if isinstance(error.__cause__, sa.exc.DBAPIError | psycopg.Error):
            log.warning("writing is not possible: %s", type(error.__cause__).__name__)
            raise Unavailable(TRY_LATER) from None
        raise
    except sa.exc.TimeoutError:
        raise Unavailable(TRY_LATER) from None


def known_principal(request: Request, city: City) -> Principal:
    """Who asks, by a key. A key that was revoked leaves a row in the audit."""
    token = token_of(request.scope)
    try:
        principal = principal_of(request)
    except Unauthenticated as error:
        with writing(city) as session:
            if token and (key := revoked_key(session, token)):
                note_denied(session, key.principal.name, key.id, None, error)
        raise
    if principal.key is None:
        raise Unauthenticated(NEEDS_KEY)
    return principal


def require_publisher_now(request: Request, principal: Principal, layer_id: str) -> Layer:
    """Return the layer, if the principal's key may publish into it by what the database says at this moment."""
    city = city_context(request)
    split_layer_id(layer_id)
    try:
        with writing(city) as session:
            present = principal_of_key(session, principal.key or "")
        return require_publisher(present, city.layers, layer_id)
    except (Forbidden, Unauthenticated) as error:
        with writing(city) as session:
            note_denied(session, principal.actor, principal.key, layer_id, error)
        raise


Known = Annotated[Principal, Depends(known_principal)]


@dataclass(frozen=True, slots=True)
class BodyLimitMiddleware:
    """Refuses bodies larger than any that is expected, while they arrive."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or (scope["method"] == "PATCH" and scope["path"].startswith("/uploads/")):
            await self.app(scope, receive, send)
            return
        arrived, whole = 0, False

        async def receive_some() -> Message:
            nonlocal arrived, whole
            if whole:
                # From here on there is nothing to come but the news that the client has gone.
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_SECONDS)
            except TimeoutError:
                raise HTTPException(408, STOPPED) from None
            whole = not message.get("more_body", False)
            arrived += len(message.get("body", b""))
            if arrived > BODY_BYTES:
                raise HTTPException(
                    413,
                    Text(
                        en="The request is larger than {limit:,} bytes. Files go to /uploads, in pieces.",
                        vi="Yêu cầu lớn hơn {limit:,} byte. Hãy gửi tệp theo từng phần tới /uploads.",
                    ).format(limit=BODY_BYTES),
                )
            return message

        await self.app(scope, receive_some, send)

"""Who may change rules and incidents, and the connection that does it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import asyncpg
from fastapi import Request

from tiles.streams.writing import StreamWriting
from twin.access.policy import NEEDS_KEY
from twin.access.principals import Action, Principal
from twin.errors import Forbidden, Unauthenticated
from twin.incidents.incident import Incident
from twin.text import Text


def writing(request: Request) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """Borrow a connection of the writer for one request."""
    writers: StreamWriting = request.app.state.stream_writing
    return writers.connection()


def require_alerting(principal: Principal) -> str:
    """Return the agency of a principal that may make rules.

    Raises
    ------
    Unauthenticated, Forbidden
        Without a key; with a key of a role that makes no rules.
    """
    if principal.agency is None:
        raise Unauthenticated(NEEDS_KEY)
    if not principal.may(Action.ALERT):
        raise Forbidden(
            Text(
                en="A key of the role “{role}” cannot do this. Ask for one that can: twin key new --role publisher",
                vi="Khóa có vai trò “{role}” không làm được việc này. Hãy xin khóa khác: twin key new --role publisher",
            ).format(role=principal.role.value)
        )
    return principal.agency


def is_operator(principal: Principal) -> bool:
    """Tell whether a principal looks after the streams of all agencies."""
    return principal.may(Action.ALERT) and principal.may(Action.ALL_JOBS)


def is_owner(principal: Principal, agency: str) -> bool:
    """Tell whether a principal is told names and notes: keys of the agency, and operators."""
    return principal.agency == agency or is_operator(principal)


def require_responder(principal: Principal, incident: Incident) -> None:
    """Refuse whoever may read an incident but has nothing to do with it."""
    agency = require_alerting(principal)
    if agency != incident.agency and not is_operator(principal):
        raise Forbidden(
            Text(
                en="This incident is of “{other}”; its own keys and operators acknowledge and close it.",
                vi="Sự việc này thuộc “{other}”; chỉ khóa của đơn vị đó và người vận hành được xác nhận hoặc đóng.",
            ).format(other=incident.agency)
        )

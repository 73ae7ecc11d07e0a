"""Who sends a request, and what each role may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from twin.db.tables import PrincipalRole


class Action(StrEnum):
    """Something that a principal may or may not do, beside reading what the sharing levels give."""

    PUBLISH = "publish"
    OBSERVE = "write values of the agency's streams"
    ALERT = "make alert rules of the agency, acknowledge and close its incidents"
    AGENCY_JOBS = "see the agency's jobs"
    ROLL_BACK = "roll back a layer of the agency"
    CHANGE_ENTRY = "change sharing and title of the agency's layers"
    ALL_JOBS = "see and cancel the jobs of all agencies"
    KEYS_AND_AGENCIES = "make keys and agencies"


_READER = frozenset({Action.AGENCY_JOBS})
_PUBLISHER = _READER | {Action.PUBLISH, Action.OBSERVE, Action.ALERT}

# The table of docs/architecture.md. Over HTTP there are jobs and publishing; the rest are commands on the server.
ACTIONS: Mapping[PrincipalRole, frozenset[Action]] = {
    PrincipalRole.READER: _READER,
    PrincipalRole.DEVICE: frozenset({Action.OBSERVE}),
    PrincipalRole.PUBLISHER: _PUBLISHER,
    PrincipalRole.STEWARD: _PUBLISHER | {Action.ROLL_BACK, Action.CHANGE_ENTRY},
    PrincipalRole.OPERATOR: _READER | {Action.ALL_JOBS, Action.ALERT},
    PrincipalRole.ADMIN: _PUBLISHER | {Action.KEYS_AND_AGENCIES},
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request: nobody in particular, or an account of an agency."""

    name: str
    agency: str | None = None
    role: PrincipalRole = PrincipalRole.READER
    key: str | None = None

    @property
    def actor(self) -> str:
        """How the records name it."""
        return f"{self.agency}/{self.name}" if self.agency else self.name

    def may(self, action: Action) -> bool:
        """Tell whether the principal's role allows an action; without an agency nothing is allowed."""
        return self.agency is not None and action in ACTIONS[self.role]


ANONYMOUS = Principal("anonymous")

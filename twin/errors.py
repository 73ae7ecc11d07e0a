"""The kinds of error that people meet; each says what is wrong and what to do, in their language."""

from __future__ import annotations

from collections.abc import Mapping

from twin.text import Text

# How programs end, besides 0: done with warnings, refused, not possible now, and a fault of the program itself.
WITH_WARNINGS, REFUSED, NOT_POSSIBLE, UNFORESEEN = 1, 2, 3, 70

# The exit code of a load after which some layers stayed as they were, because their files cannot be published.
STAYED = 4


class TwinError(Exception):
    """Something a person can act on; shown as one sentence, never as a traceback."""

    exit_code = NOT_POSSIBLE

    def __init__(self, message: Text) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class BadInput(TwinError):
    """The request or the input cannot be understood."""

    exit_code = REFUSED


class NotFound(TwinError):
    """It does not exist, or not for this reader."""


class Forbidden(TwinError):
    """The reader is known but may not do this."""


class Unauthenticated(TwinError):
    """A key was shown that is not valid."""


class NotAcceptable(TwinError):
    """It exists, but in none of the forms that the reader takes."""


class Conflict(TwinError):
    """It contradicts what is already there."""


class Busy(TwinError):
    """Somebody else is at it in this moment."""


class TooLarge(TwinError):
    """More was given than is taken."""

    exit_code = REFUSED


class TooMany(TwinError):
    """More is open at once than is allowed."""


class TooCostly(TooMany):
    """One query that would take too long, however often it is tried."""


class TooLong(TwinError):
    """The address of a request is longer than is taken."""

    exit_code = 2


class NoRoom(TwinError):
    """The disk is full."""


class Unavailable(TwinError):
    """The database or another part is not reachable now; trying again later may help."""


class SetupProblem(TwinError):
    """The machine or the configuration lacks something."""


# What each kind is called over HTTP: the server answers so, and the client understands it so.
STATUS: Mapping[type[TwinError], int] = {
    BadInput: 400, Unauthenticated: 401, Forbidden: 403, NotFound: 404, NotAcceptable: 406, Conflict: 409,
    TooLarge: 413, TooLong: 414, Busy: 423, TooMany: 429, Unavailable: 503, NoRoom: 507,
}  # fmt: skip

"""When a condition raises and when it is over: hysteresis, minimum times, and no memory but one small state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class Phase(IntEnum):
    """Where a rule is with a stream or a place."""

    IDLE = 0
    PENDING = 1
    RAISED = 2


class Change(IntEnum):
    """What a value brought about."""

    NONE = 0
    OPEN = 1
    CLOSE = 2


@dataclass(slots=True)
class PairState:
    """The state of one rule with one stream or place; `time` is that of the value that was looked at last.

    `base` is the grade of the value before, where a rule compares with it.
    """

    time: datetime
    phase: Phase = Phase.IDLE
    since: datetime | None = None
    clear_since: datetime | None = None
    base: float | None = None
    incident: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """How long a condition must hold to raise, and its end to clear.

    Without a value for longer than `gap` seconds a condition has not held: it begins anew.
    """

    seconds: float = 0.0
    clear_seconds: float = 0.0
    gap: float | None = None


def step(state: PairState, holding: Holding, time: datetime, raised: bool, clear: bool, may_raise: bool) -> Change:
    """Take one more value into a state, in the order of time; return what it brings about.

    Parameters
    ----------
    state : PairState
        It is changed in place.
    holding : Holding
    time : datetime
        Of the value.
    raised, clear : bool
        Whether the value reaches the limit; whether it lies beyond the one that ends the alert. Both may be false.
    may_raise : bool
        False for a value that is old news: it counts, and opens nothing.
    """
    last, state.time = state.time, time
    if state.phase is Phase.RAISED:
        return _cleared(state, holding, time, clear)
    if not raised:
        state.phase, state.since = Phase.IDLE, None
        return Change.NONE
    broken = holding.gap is not None and (time - last).total_seconds() > holding.gap
    if state.phase is Phase.IDLE or state.since is None or broken:
        state.phase, state.since = Phase.PENDING, time
    if not may_raise or (time - state.since).total_seconds() < holding.seconds:
        return Change.NONE
    state.phase, state.clear_since = Phase.RAISED, None
    return Change.OPEN


def _cleared(state: PairState, holding: Holding, time: datetime, clear: bool) -> Change:
    if not clear:
        state.clear_since = None
        return Change.NONE
    if state.clear_since is None:
        state.clear_since = time
    if (time - state.clear_since).total_seconds() < holding.clear_seconds:
        return Change.NONE
    state.phase, state.since, state.clear_since = Phase.IDLE, None, None
    return Change.CLOSE

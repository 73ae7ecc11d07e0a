"""What a batch of observations means for the rules on single streams: pure, over states that were read before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from twin.incidents.conditions import Change, PairState, Phase, step
from twin.incidents.rule_book import Grades, Pair, StreamPairs, Test
from twin.incidents.rules import LevelChange
from twin.streams.flags import BAD
from twin.streams.writer import Observation

# Rule and stream.
Key = tuple[int, int]
# The change an hour at an observation, by stream, time and window.
Rates = Mapping[tuple[int, datetime, float], float]


@dataclass(frozen=True, slots=True)
class Turn:
    """A rule is raised by an observation, or is over; `value` is what was compared with the limit."""

    pair: Pair
    change: Change
    time: datetime
    value: float | None


@dataclass(slots=True)
class Outcome:
    """What became of a batch: turns in the order in which they came, and the states that are others now."""

    turns: list[Turn] = field(default_factory=list)
    changed: set[Key] = field(default_factory=set)


def evaluate(
    pairs_of: Mapping[int, StreamPairs],
    batch: Iterable[Observation],
    states: dict[Key, PairState],
    rates: Rates,
    grades: Grades,
    received: datetime | None,
) -> Outcome:
    """Take observations, in the order of time of each stream, into the states of the rules that concern them.

    Parameters
    ----------
    pairs_of : mapping
        Rules by stream.
    batch : iterable of Observation
        None of which is older than what was evaluated before.
    states : dict
        Of the rules with the streams, as far as they are not idle; changed and added to in place.
    rates : mapping
        Of the observations that rules on rates look at.
    grades : Grades
    received : datetime or None
        A value that was not fresh any more by then opens nothing. None takes each as it comes.
    """
    outcome = Outcome()
    # Streams with a state: of all others most values need no look at each rule.
    active = {stream for _, stream in states}
    for o in batch:
        of_stream = pairs_of[o.stream]
        value = o.value
        if value is not None and not o.flag & BAD:
            if value >= of_stream.up or value <= of_stream.down or o.stream in active:
                for pair in of_stream.limits:
                    signed = value * pair.sign
                    if signed >= pair.high or (pair.rule.key, o.stream) in states:
                        active.add(o.stream)
                        _take(outcome, states, pair, o, signed >= pair.high, signed < pair.low, value, received)
            bad = False
        else:
            bad = True
        for pair in of_stream.others:
            state = states.get((pair.rule.key, o.stream))
            found = _compare(pair, o, bad, state, rates, grades)
            if found is not None and (found[0] or state is not None or pair.test is Test.LEVEL):
                active.add(o.stream)
                state = _take(outcome, states, pair, o, *found, received)
                if state is not None and pair.test is Test.LEVEL and value is not None:
                    base, state.base = state.base, float(grades.index(pair.entry, value, o.time))
                    if base != state.base:
                        outcome.changed.add((pair.rule.key, o.stream))
    return outcome


def _take(
    outcome: Outcome, states: dict[Key, PairState], pair: Pair, o: Observation, raised: bool, clear: bool,
    value: float | None, received: datetime | None,
) -> PairState | None:  # fmt: skip
    """Take a value into the state of a rule; None if it is older than the one that was looked at last."""
    key = (pair.rule.key, o.stream)
    state = states.get(key)
    if state is None:
        state = states[key] = PairState(o.time)
    elif o.time <= state.time:
        return None
    before = (state.phase, state.since, state.clear_since)
    may_raise = received is None or o.time + timedelta(seconds=pair.entry.fresh_seconds) >= received
    change = step(state, pair.holding, o.time, raised, clear, may_raise)
    if change is not Change.NONE:
        outcome.turns.append(Turn(pair, change, o.time, value))
    if state.phase is Phase.PENDING or before != (state.phase, state.since, state.clear_since):
        outcome.changed.add(key)
    return state


def _compare(
    pair: Pair, o: Observation, bad: bool, state: PairState | None, rates: Rates, grades: Grades
) -> tuple[bool, bool, float | None] | None:
    """Return whether a value raises, whether it clears, and what was compared; None if it says nothing."""
    if pair.test is Test.FLAG:
        raised = bool(o.flag & pair.mask)
        return raised, not raised, o.value
    if bad or o.value is None:
        return None
    if pair.test is Test.RATE:
        rate = rates.get((o.stream, o.time, pair.window))
        if rate is None:
            return None
        return rate * pair.sign >= pair.high, rate * pair.sign < pair.low, rate
    grade = grades.index(pair.entry, o.value, o.time)
    if grade < 0:
        return None
    condition = pair.rule.definition.when
    assert isinstance(condition, LevelChange)  # noqa: S101  # pairs are made so
    base = state.base if state is not None else None
    change = 0.0 if base is None else grade - base
    if condition.direction != "up":
        change = -change if condition.direction == "down" else abs(change)
    raised = change >= condition.steps
    return raised, not raised, o.value

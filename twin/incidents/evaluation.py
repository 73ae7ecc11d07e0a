"""What a batch of observations means for the rules on single streams: pure, over states that were read before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from twin.incidents.conditions import Change, PairState, Phase, step
from twin.incidents.rule_book import Grades, Pair, Test
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
    pairs_of: Mapping[int, tuple[Pair, ...]],
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
    for o in batch:
        bad = o.value is None or o.flag & BAD
        for pair in pairs_of[o.stream]:
            test = pair.test
            value = o.value
            if test is Test.LIMIT:
                # The usual way of nearly all observations: nothing is raised, and nothing was.
                if bad:
                    continue
                signed = value * pair.sign  # type: ignore[operator]
                raised, clear = signed >= pair.high, signed < pair.low
                key = (pair.rule.key, o.stream)
                state = states.get(key)
                if not raised and state is None:
                    continue
            else:
                key = (pair.rule.key, o.stream)
                state = states.get(key)
                found = _compare(pair, o, bool(bad), state, rates, grades)
                if found is None:
                    continue
                raised, clear, value = found
                if state is None and not raised and test is not Test.LEVEL:
                    continue
            if state is None:
                state = states[key] = PairState(o.time)
            elif o.time <= state.time:
                continue
            before = (state.phase, state.since, state.clear_since, state.base)
            may_raise = received is None or o.time + timedelta(seconds=pair.entry.fresh_seconds) >= received
            change = step(state, pair.holding, o.time, raised, clear, may_raise)
            if test is Test.LEVEL:
                state.base = float(grades.index(pair.entry, o.value, o.time))  # type: ignore[arg-type]
            if change is not Change.NONE:
                outcome.turns.append(Turn(pair, change, o.time, value))
            if state.phase is Phase.PENDING or before != (state.phase, state.since, state.clear_since, state.base):
                outcome.changed.add(key)
    return outcome


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

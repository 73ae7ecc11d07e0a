"""The state machine of a condition, compared with a reference that looks at the whole past at each value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from twin.incidents.conditions import Change, Holding, PairState, step

START = datetime(2026, 1, 1, tzinfo=UTC)
# Minutes to the next value, the value, and whether it is fresh.
VALUES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10), st.booleans()), max_size=60)
LIMITS = st.tuples(st.integers(0, 10), st.integers(0, 10)).map(lambda pair: (max(pair), min(pair)))
MINUTES = st.sampled_from([0, 1, 10, 25])


def turns(
    values: list[tuple[int, int, bool]], limits: tuple[int, int], holding: Holding
) -> list[tuple[Change, datetime]]:
    """What the state machine does."""
    found, moment = [], START
    state = PairState(START)
    for minutes, value, fresh in values:
        moment += timedelta(minutes=minutes)
        change = step(state, holding, moment, value >= limits[0], value < limits[1], fresh)
        if change is not Change.NONE:
            found.append((change, moment))
    return found


def reference(
    values: list[tuple[int, int, bool]], limits: tuple[int, int], holding: Holding
) -> list[tuple[Change, datetime]]:
    """The same, from the run of values behind each one: no state but whether it is open, and since which value."""
    times, moment = [], START
    for minutes, _, _ in values:
        moment += timedelta(minutes=minutes)
        times.append(moment)
    found: list[tuple[Change, datetime]] = []
    is_open, begin = False, 0
    for here in range(len(values)):
        first = here
        if not is_open:
            while first >= begin and values[first][1] >= limits[0]:
                gap = (times[first] - times[first - 1]).total_seconds() if first else 0.0
                if first == begin or values[first - 1][1] < limits[0] or gap > (holding.gap or float("inf")):
                    break
                first -= 1
            if values[here][1] < limits[0]:
                continue
            if values[here][2] and (times[here] - times[first]).total_seconds() >= holding.seconds:
                found.append((Change.OPEN, times[here]))
                is_open, begin = True, here + 1
        else:
            if values[here][1] >= limits[1]:
                continue
            while first > begin and values[first - 1][1] < limits[1]:
                first -= 1
            if (times[here] - times[first]).total_seconds() >= holding.clear_seconds:
                found.append((Change.CLOSE, times[here]))
                is_open, begin = False, here + 1
    return found


@given(VALUES, LIMITS, MINUTES, MINUTES, st.sampled_from([None, 1200.0]))
def test_hysteresis_and_holding_do_what_the_whole_past_says(
    values: list[tuple[int, int, bool]], limits: tuple[int, int], hold: int, clear: int, gap: float | None
) -> None:
    holding = Holding(hold * 60.0, clear * 60.0, gap)
    assert turns(values, limits, holding) == reference(values, limits, holding)


@given(VALUES, LIMITS, MINUTES, MINUTES)
def test_openings_and_closings_take_turns(
    values: list[tuple[int, int, bool]], limits: tuple[int, int], hold: int, clear: int
) -> None:
    changes = [change for change, _ in turns(values, limits, Holding(hold * 60.0, clear * 60.0))]
    assert changes == [Change.OPEN, Change.CLOSE] * (len(changes) // 2) + [Change.OPEN] * (len(changes) % 2)

"""CQL2's temporal functions: how two moments or intervals lie to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twin.query.cql2 import refuse
from twin.query.moments import OPEN, read_moment
from twin.query.queryables import Kind
from twin.text import Text

# a and b are the operands, 0 their starts, 1 their ends.
FUNCTIONS = {
    "t_after": "{a0} > {b1}",
    "t_before": "{a1} < {b0}",
    "t_contains": "{a0} < {b0} AND {a1} > {b1}",
    "t_disjoint": "{a0} > {b1} OR {a1} < {b0}",
    "t_during": "{a0} > {b0} AND {a1} < {b1}",
    "t_equals": "{a0} = {b0} AND {a1} = {b1}",
    "t_finishedby": "{a0} < {b0} AND {a1} = {b1}",
    "t_finishes": "{a0} > {b0} AND {a1} = {b1}",
    "t_intersects": "{a0} <= {b1} AND {a1} >= {b0}",
    "t_meets": "{a1} = {b0}",
    "t_metby": "{a0} = {b1}",
    "t_overlappedby": "{a0} > {b0} AND {a0} < {b1} AND {a1} > {b1}",
    "t_overlaps": "{a0} < {b0} AND {a1} > {b0} AND {a1} < {b1}",
    "t_startedby": "{a0} = {b0} AND {a1} > {b1}",
    "t_starts": "{a0} = {b0} AND {a1} < {b1}",
}
# Two moments can only be before, after, at or not at each other.
OF_MOMENTS = ("t_after", "t_before", "t_disjoint", "t_equals", "t_intersects")
FOR_INTERVALS = Text(
    en="{op} compares intervals: write INTERVAL('2026-01-01', '..') on at least one side.",
    vi="{op} so sánh khoảng thời gian: ít nhất một vế phải là INTERVAL('2026-01-01', '..').",
)


Side = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Operand:
    """When something starts and ends. The SQL is made when it is needed: a value that is bound must be used."""

    start: Side
    end: Side
    is_interval: bool = False


def relation(op: str, left: Operand, right: Operand) -> str:
    """Return the SQL of one temporal relation."""
    if op not in OF_MOMENTS and not (left.is_interval or right.is_interval):
        raise refuse(FOR_INTERVALS.format(op=op.upper()))
    template = FUNCTIONS[op]
    sides = {"a0": left.start, "a1": left.end, "b0": right.start, "b1": right.end}
    return "(" + template.format(**{name: side() for name, side in sides.items() if f"{{{name}}}" in template}) + ")"


def moment(sql: str, kind: Kind) -> Operand:
    """Return a moment; a date counts as its first moment in UTC."""
    instant = f"({sql}::timestamp AT TIME ZONE 'UTC')" if kind == "date" else sql
    return Operand(lambda: instant, lambda: instant)


def bound(text: str, add: Callable[[Any, str], str], *, is_end: bool) -> Side:
    """One end of an interval: `..` is open, a date as an end means its last moment."""
    if text in OPEN:
        return lambda: "'infinity'::timestamptz" if is_end else "'-infinity'::timestamptz"
    moment = read_moment(text, "filter", end_of_day=is_end)
    return lambda: add(moment, "timestamptz")

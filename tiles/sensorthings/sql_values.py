"""Values in SQL with their kinds: comparing them, and bringing one kind to another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tiles.sensorthings.errors import refuse
from twin.errors import BadInput
from twin.text import Text

ValueKind = Literal[
    "integer", "number", "text", "boolean", "time", "period", "duration", "date", "clock", "json", "result", "geometry",
    "observation_id", "null",
]  # fmt: skip


_PLACE = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Value:
    """An expression; `end` is the end of a period, `alias` the row that a result or an id belongs to."""

    kind: ValueKind
    sql: str
    end: str = ""
    alias: str = ""
    literal: Any = None


@dataclass(slots=True)
class Parameters:
    """The values that a statement is given, in their order."""

    values: list[Any] = field(default_factory=list)

    def add(self, value: Any, kind: str) -> str:
        """Add a value; return what stands for it."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def used(self, text: str) -> tuple[str, list[Any]]:
        """Return a statement with the values that it asks for, numbered anew."""
        numbers = sorted({int(number) for number in _PLACE.findall(text)})
        places = {number: place for place, number in enumerate(numbers, 1)}
        return _PLACE.sub(lambda m: f"${places[int(m[1])]}", text), [self.values[n - 1] for n in numbers]


NUMBERS = frozenset({"integer", "number"})
MOMENTS = frozenset({"time", "period", "date"})
OPEN = frozenset({"json", "result"})
SIGNS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def to_number(value: Value) -> str:
    """Return a value as float8."""
    match value.kind:
        case "integer" | "number":
            return f"({value.sql})::float8"
        case "json":
            return f"(CASE WHEN jsonb_typeof({value.sql}) = 'number' THEN ({value.sql} #>> '{{}}')::float8 END)"
        case "result":
            return f"{value.alias}.value"
        case "null":
            return "NULL::float8"
    raise _no_fit(value, "a number", "một số")


def to_text(value: Value) -> str:
    """Return a value as text."""
    match value.kind:
        case "text" | "observation_id":
            return value.sql
        case "json":
            return f"({value.sql} #>> '{{}}')"
        case "result":
            # Also a number: the standard compares with a text as texts.
            return f"({value.sql} #>> '{{}}')"
        case "null":
            return "NULL::text"
    raise _no_fit(value, "a text", "chữ")


def to_boolean(value: Value) -> str:
    """Return a value as boolean."""
    match value.kind:
        case "boolean":
            return value.sql
        case "json":
            return f"(CASE WHEN jsonb_typeof({value.sql}) = 'boolean' THEN ({value.sql} #>> '{{}}')::boolean END)"
        case "result":
            return (
                f"(CASE WHEN jsonb_typeof({value.alias}_d.result) = 'boolean' "
                f"THEN ({value.alias}_d.result #>> '{{}}')::boolean END)"
            )
        case "null":
            return "NULL::boolean"
    raise _no_fit(value, "true or false", "true hoặc false")


def to_time(value: Value) -> str:
    """Return a value as a moment; of a period its start."""
    match value.kind:
        case "time" | "period":
            return value.sql
        case "date":
            return f"({value.sql}::timestamp AT TIME ZONE 'UTC')"
        case "json":
            text = f"({value.sql} #>> '{{}}')"
            return (
                f"(CASE WHEN jsonb_typeof({value.sql}) = 'string' AND {text} ~ "
                r"'^\d{4}-(0[1-9]|1[0-2])-([01]\d|2[0-8])(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
                rf"(Z|[+-](0\d|1[0-4]):[0-5]\d)?)?$' THEN {text}::timestamptz END)"
            )
        case "null":
            return "NULL::timestamptz"
    raise _no_fit(value, "a time", "thời điểm")


def to_geometry(value: Value) -> str:
    """Return a value as a geometry."""
    if value.kind == "null":
        return "NULL::geometry"
    if value.kind != "geometry":
        raise _no_fit(value, "a geometry", "hình học")
    return value.sql


def span(value: Value) -> tuple[str, str]:
    """Return the start and the end of a moment or a period."""
    if value.kind == "period":
        return value.sql, value.end
    moment = to_time(value)
    return moment, moment


def compare(operator: str, left: Value, right: Value) -> str:
    """Return a condition. What is not there fulfils none, but for `ne` and `eq null`."""
    if "null" in (left.kind, right.kind):
        return _with_null(operator, left if right.kind == "null" else right)
    sign = SIGNS[operator]
    kinds = {left.kind, right.kind}
    if "observation_id" in kinds and kinds & {"text"} and operator in ("eq", "ne"):
        return _id_is(operator, left, right)
    if kinds <= NUMBERS:
        return _signed(left.sql, sign, right.sql)
    if kinds & MOMENTS:
        return _moments(operator, left, right)
    if "duration" in kinds or "clock" in kinds:
        if len(kinds) > 1:
            raise _no_match(left, right)
        return _signed(left.sql, sign, right.sql)
    if "geometry" in kinds:
        raise refuse(
            "A geometry is compared by st_equals, st_within and the like.",
            "Hình học được so sánh bằng st_equals, st_within, v.v.",
        )
    if kinds & NUMBERS:
        return _signed(_converted(to_number, left, right), sign, _converted(to_number, right, left))
    if "boolean" in kinds:
        return _signed(_converted(to_boolean, left, right), sign, _converted(to_boolean, right, left))
    if kinds & {"text", "observation_id"}:
        one, other = _converted(to_text, left, right), _converted(to_text, right, left)
        return _signed(f'{one} COLLATE "C"', sign, f'{other} COLLATE "C"')
    # Both are JSON: numbers are compared as numbers, anything else may be equal.
    if operator in ("eq", "ne"):
        return _signed(f"{left.sql}", sign, f"{right.sql}")
    return _signed(to_number(left), sign, to_number(right))


def _signed(left: str, sign: str, right: str) -> str:
    return f"{left} IS DISTINCT FROM {right}" if sign == "<>" else f"({left} {sign} {right})"


def _with_null(operator: str, value: Value) -> str:
    if operator == "eq":
        return "TRUE" if value.kind == "null" else f"({value.sql}) IS NULL"
    if operator == "ne":
        return "FALSE" if value.kind == "null" else f"({value.sql}) IS NOT NULL"
    return "FALSE"


def _id_is(operator: str, left: Value, right: Value) -> str:
    own, given = (left, right) if left.kind == "observation_id" else (right, left)
    key = read_observation_id(str(given.literal)) if given.literal is not None else None
    if given.literal is None:
        return _signed(own.sql, SIGNS[operator], given.sql)
    if key is None:
        return "FALSE" if operator == "eq" else "TRUE"
    stream, microseconds = key
    moment = f"(timestamptz 'epoch' + interval '{microseconds} microseconds')"
    found = f"({own.alias}.stream = {stream} AND {own.alias}.time = {moment})"
    return found if operator == "eq" else f"NOT {found}"


def read_observation_id(text: str) -> tuple[int, int] | None:
    """Read `stream@microseconds`; None if it is not such an id, or beyond the times that are kept."""
    stream, at, moment = text.partition("@")
    digits = moment.removeprefix("-")
    if not (at and stream.isascii() and stream.isdigit() and digits.isascii() and digits.isdigit()):
        return None
    if len(stream) > 10 or len(digits) > 17 or int(stream) >= 2**31:
        return None
    # As it is written in ids, so that one observation has one id.
    return (int(stream), int(moment)) if f"{int(stream)}@{int(moment)}" == text else None


def _moments(operator: str, left: Value, right: Value) -> str:
    """Compare moments and periods: before is before the start, after is after the end, equal is equal at both ends."""
    (start, end), (other_start, other_end) = _converted(span, left, right), _converted(span, right, left)
    match operator:
        case "eq" | "ne":
            equal = (
                f"({start} = {other_start})"
                if (start, other_start) == (end, other_end)
                else (f"({start} = {other_start} AND {end} = {other_end})")
            )
            return equal if operator == "eq" else f"({equal}) IS NOT TRUE"
        case "lt":
            # The start says nothing that the end does not, but there is an index on it.
            return f"({end} < {other_start} AND {start} < {other_start})"
        case "le":
            return f"({end} <= {other_start} AND {start} <= {other_start})"
        case "gt":
            return f"({start} > {other_end})"
    return f"({start} >= {other_end})"


def _converted(convert: Callable[[Value], Any], value: Value, other: Value) -> Any:
    try:
        return convert(value)
    except ValueMismatch:
        raise _no_match(value, other) from None


class ValueMismatch(BadInput):
    """A value is of another kind than is needed."""


def _no_fit(value: Value, en: str, vi: str) -> ValueMismatch:
    return ValueMismatch(
        Text(
            en="Here {en} is needed, and a value of the kind “{kind}” was given.",
            vi="Ở đây cần {vi}, nhưng giá trị thuộc loại “{kind}”.",
        ).format(en=en, vi=vi, kind=value.kind)
    )


def _no_match(left: Value, right: Value) -> BadInput:
    return refuse(
        "A value of the kind “{left}” cannot be compared with one of the kind “{right}”.",
        "Không so sánh được giá trị loại “{left}” với loại “{right}”.",
        left=left.kind, right=right.kind,
    )  # fmt: skip

"""From a CQL2 tree to SQL: values become bound parameters, names come from the queryables, kinds are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.catalogue.catalogue import Bounds
from twin.query import costs, spatial, temporal
from twin.query.cql2 import Tree, refuse
from twin.query.moments import read_day, read_moment
from twin.query.queryables import Kind, Queryable
from twin.query.reference import WGS84, Reference
from twin.text import Text

COMPARISONS = {"=": "=", "<>": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "div")
# Letters and their marks apart (NFD), the marks taken out; đ has none, and is meant all the same.
WITHOUT_ACCENTS = "translate(regexp_replace(normalize({}, NFD), '[\u0300-\u036f]', '', 'g'), 'đĐ', 'dD')"
# The database's own rules may know ASCII alone (its locale is C), ICU's know all letters.
SMALL_LETTERS = '(lower({} COLLATE "und-x-icu") COLLATE "C")'
# Letters are compared by their code, so that an order is the same on every server.
COLLATE = 'COLLATE "C"'

CASTS: dict[Kind, str] = {
    "text": "text", "number": "float8", "boolean": "boolean", "date": "date", "time": "timestamptz",
    "geometry": "geometry",
}  # fmt: skip
KIND_NAMES: dict[Kind, Text] = {
    "text": Text(en="text", vi="văn bản"),
    "number": Text(en="a number", vi="số"),
    "boolean": Text(en="true or false", vi="đúng/sai"),
    "date": Text(en="a date", vi="ngày"),
    "time": Text(en="a time", vi="giờ"),
    "geometry": Text(en="a geometry", vi="hình học"),
}

UNKNOWN_NAME = Text(
    en="there is no queryable “{name}”. Known: {known}.", vi="không có thuộc tính “{name}” để hỏi. Có: {known}."
)
UNKNOWN_OPERATION = Text(en="“{op}” is not offered here.", vi="không hỗ trợ “{op}”.")
MISMATCH = Text(en="{left} cannot be compared with {right}.", vi="không thể so {left} với {right}.")
EXPECTED = Text(en="{wanted} is expected here, not {given}.", vi="ở đây cần {wanted}, không phải {given}.")
WRONG_COUNT = Text(en="“{op}” takes {wanted} arguments.", vi="“{op}” cần {wanted} tham số.")
NOT_UNDERSTOOD = Text(en="“{part}” is not CQL2.", vi="“{part}” không phải CQL2.")


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the kind of value that it gives."""

    text: str
    kind: Kind


@dataclass(slots=True)
class Parameters:
    """The bound values of a statement, in order."""

    values: list[Any] = field(default_factory=list)

    def add(self, value: Any, cast: str) -> str:
        """Bind a value; give the placeholder with its type."""
        self.values.append(value)
        return f"${len(self.values)}::{cast}"


@dataclass(slots=True)
class Translator:
    """Makes SQL from trees. `reference` is what the filter's own coordinates are in.

    `extent` is that of the layer in degrees. `cost` grows with each costly operator (see `costs.py`).
    """

    known: Mapping[str, Queryable]
    parameters: Parameters
    reference: Reference = WGS84
    extent: Bounds | None = None
    cost: float = 0.0

    def condition(self, node: Tree) -> str:
        """Return the SQL of something that is true, false or unknown."""
        if isinstance(node, bool):
            return "true" if node else "false"
        if isinstance(node, dict) and "op" in node:
            op, args = self._call(node)
            if op in ("and", "or"):
                if len(args) < 2:
                    raise refuse(WRONG_COUNT.format(op=op, wanted="≥ 2"))
                return "(" + f" {op.upper()} ".join(map(self.condition, args)) + ")"
            if op == "not":
                (inner,) = self._exactly(op, args, 1)
                return f"(NOT {self.condition(inner)})"
            if predicate := self._predicates().get(op):
                return predicate(op, args)
            if op in spatial.FUNCTIONS:
                left, right = map(self._geometry, self._exactly(op, args, 2))
                self.cost += costs.of_relation(op, left.shape, right.shape, self.extent)
                return spatial.relation(op, left, right)
            if op in temporal.FUNCTIONS:
                left, right = self._exactly(op, args, 2)
                return temporal.relation(op, self._span(left), self._span(right))
            if op in ARITHMETIC or op in ("casei", "accenti"):
                raise refuse(EXPECTED.format(wanted=KIND_NAMES["boolean"], given=f"“{op}”"))
            raise refuse(UNKNOWN_OPERATION.format(op=str(op)[:40]))
        value = self.scalar(node)
        self._require(value, "boolean")
        return value.text

    def _predicates(self) -> Mapping[str, Callable[[str, list[Tree]], str]]:
        return {
            **dict.fromkeys(COMPARISONS, self._comparison),
            "like": self._like, "between": self._between, "in": self._in, "isnull": self._is_null,
        }  # fmt: skip

    def _call(self, node: Mapping[str, Any]) -> tuple[str, list[Tree]]:
        op, args = node.get("op"), node.get("args")
        if not isinstance(op, str) or not isinstance(args, list) or set(node) != {"op", "args"}:
            raise refuse(NOT_UNDERSTOOD.format(part=str(node)[:60]))
        return op.lower(), args

    def _exactly(self, op: str, args: list[Tree], count: int) -> list[Tree]:
        if len(args) != count:
            raise refuse(WRONG_COUNT.format(op=op, wanted=count))
        return args

    def _require(self, value: Sql, *kinds: Kind) -> Sql:
        if value.kind not in kinds:
            raise refuse(EXPECTED.format(wanted=KIND_NAMES[kinds[0]], given=KIND_NAMES[value.kind]))
        return value

    def _same(self, *values: Sql) -> None:
        for other in values[1:]:
            if other.kind != values[0].kind:
                raise refuse(MISMATCH.format(left=KIND_NAMES[values[0].kind], right=KIND_NAMES[other.kind]))

    # Predicates ------------------------------------------------------------------------------------

    def _comparison(self, op: str, args: list[Tree]) -> str:
        self.cost += costs.COMPARISON
        left, right = (self.scalar(arg) for arg in self._exactly(op, args, 2))
        self._same(left, right)
        if left.kind == "geometry" or (left.kind == "boolean" and op not in ("=", "<>")):
            raise refuse(MISMATCH.format(left=KIND_NAMES[left.kind], right=f"{op} …"))
        order = f" {COLLATE}" if left.kind == "text" and op not in ("=", "<>") else ""
        return f"({left.text} {COMPARISONS[op]} {right.text}{order})"

    def _like(self, op: str, args: list[Tree]) -> str:
        value, pattern = (self._require(self.scalar(arg), "text") for arg in self._exactly(op, args, 2))
        self.cost += costs.LIKE
        # A backslash at the very end would be an error in SQL; here it is one that stands for nothing.
        return f"({value.text} LIKE regexp_replace({pattern.text}, '(?<!\\\\)((?:\\\\\\\\)*)\\\\$', '\\1'))"

    def _between(self, op: str, args: list[Tree]) -> str:
        value, low, high = (self.scalar(arg) for arg in self._exactly(op, args, 3))
        self._same(value, low, high)
        self._require(value, "number", "date", "time", "text")
        order = f" {COLLATE}" if value.kind == "text" else ""
        return f"({value.text} BETWEEN {low.text}{order} AND {high.text}{order})"

    def _in(self, op: str, args: list[Tree]) -> str:
        value, listed = self._exactly(op, args, 2)
        if not isinstance(listed, list) or not listed:
            raise refuse(EXPECTED.format(wanted="(…, …)", given=str(listed)[:40]))
        left = self._require(self.scalar(value), "text", "number", "boolean", "date", "time")
        self.cost += costs.COMPARISON
        if together := self._list(left.kind, listed):
            return f"({left.text} = ANY({together}))"
        right = [self.scalar(node) for node in listed]
        self._same(left, *right)
        return f"({left.text} IN ({', '.join(r.text for r in right)}))"

    def _list(self, kind: Kind, listed: list[Tree]) -> str | None:
        """Bind plain values as one array: a parameter for each would take the database long to read."""
        if kind == "text" and all(isinstance(node, str) and "\x00" not in node for node in listed):
            return self.parameters.add(listed, "text[]")
        if kind == "number" and all(isinstance(n, int | float) and not isinstance(n, bool) for n in listed):
            return self.parameters.add([_finite(node) for node in listed], "float8[]")
        return None

    def _is_null(self, op: str, args: list[Tree]) -> str:
        (value,) = self._exactly(op, args, 1)
        return f"({self.scalar(value).text} IS NULL)"

    # Values ----------------------------------------------------------------------------------------

    def scalar(self, node: Tree) -> Sql:
        """Return the SQL of a value: a literal, a property, or something computed from them."""
        if isinstance(node, bool):
            return Sql(self.parameters.add(node, "boolean"), "boolean")
        if isinstance(node, str):
            if "\x00" in node:
                raise refuse(NOT_UNDERSTOOD.format(part="\\0"))
            return Sql(self.parameters.add(node, "text"), "text")
        if isinstance(node, int | float):
            return Sql(self.parameters.add(_finite(node), "float8"), "number")
        if isinstance(node, dict):
            if "property" in node:
                return self._property(node)
            if "op" in node:
                return self._computed(node)
            if set(node) == {"date"}:
                return Sql(self.parameters.add(read_day(_text(node["date"]), "filter"), "date"), "date")
            if set(node) == {"timestamp"}:
                moment = read_moment(_text(node["timestamp"]), "filter")
                return Sql(self.parameters.add(moment, "timestamptz"), "time")
        raise refuse(NOT_UNDERSTOOD.format(part=str(node)[:60]))

    def _property(self, node: Mapping[str, Any]) -> Sql:
        name = node["property"]
        found = self.known.get("geometry" if name == "geom" else name) if isinstance(name, str) else None
        if found is None or len(node) > 1:
            raise refuse(UNKNOWN_NAME.format(name=str(name)[:60], known=", ".join(self.known)))
        return Sql(found.sql, found.kind)

    def _computed(self, node: Mapping[str, Any]) -> Sql:
        op, args = self._call(node)
        if op in ("casei", "accenti"):
            (inner,) = self._exactly(op, args, 1)
            value = self._require(self.scalar(inner), "text")
            self.cost += costs.SMALL_LETTERS if op == "casei" else costs.WITHOUT_ACCENTS
            return Sql((SMALL_LETTERS if op == "casei" else WITHOUT_ACCENTS).format(value.text), "text")
        if op in ARITHMETIC:
            left, right = (self._require(self.scalar(arg), "number") for arg in self._exactly(op, args, 2))
            return Sql(_arithmetic(op, left.text, right.text), "number")
        # What is true or false is a value as well: (a > 3) = true.
        return Sql(self.condition(node), "boolean")

    def _geometry(self, node: Tree) -> spatial.Operand:
        if isinstance(node, dict) and "property" in node:
            value = self._require(self._property(node), "geometry")
            return spatial.Operand(value.text)
        shape = spatial.read_literal(node, self.reference)
        return spatial.literal(shape, self.parameters.add(spatial.to_wkb(shape), "bytea"))

    def _span(self, node: Tree) -> temporal.Operand:
        if isinstance(node, dict) and set(node) == {"interval"}:
            ends = node["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise refuse(WRONG_COUNT.format(op="interval", wanted=2))
            return self._interval(*ends)
        value = self._require(self.scalar(node), "time", "date")
        return temporal.moment(value.text, value.kind)

    def _interval(self, start: Tree, end: Tree) -> temporal.Operand:
        def side(node: Tree, *, is_end: bool) -> temporal.Side:
            if isinstance(node, dict):
                # A property: CQL2 knows no other value here, and a bound one might stay unused.
                value = self._require(self._property(node) if "property" in node else _nothing(node), "time", "date")
                return temporal.moment(value.text, value.kind).start
            return temporal.bound(_text(node), self.parameters.add, is_end=is_end)

        return temporal.Operand(side(start, is_end=False), side(end, is_end=True), is_interval=True)


def _nothing(node: Tree) -> Sql:
    raise refuse(NOT_UNDERSTOOD.format(part=str(node)[:60]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise refuse(EXPECTED.format(wanted=KIND_NAMES["text"], given=str(value)[:40]))
    return value


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise refuse(NOT_UNDERSTOOD.format(part=str(value)[:40]))
    return number


def _arithmetic(op: str, left: str, right: str) -> str:
    """Dividing by zero gives nothing (NULL) rather than an error that depends on the data."""
    match op:
        case "/":
            return f"({left} / NULLIF({right}, 0))"
        case "div":
            return f"trunc({left} / NULLIF({right}, 0))"
        case "%":
            return f"({left} - {right} * trunc({left} / NULLIF({right}, 0)))"
        case "^":
            return f"power({left}, {right})"
    return f"({left} {op} {right})"

"""Expressions of filters and orders as SQL: names come from the model, everything else goes in as a parameter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import shapely
from odata_query import ast

from tiles.sensorthings.errors import refuse
from tiles.sensorthings.filter_parsing import parse, plain
from tiles.sensorthings.functions import FUNCTIONS, PERIODS, TO
from tiles.sensorthings.model import TYPES, EntityType, Property, rows_of
from tiles.sensorthings.sql_values import (
    MOMENTS,
    Parameters,
    Value,
    compare,
    span,
    to_boolean,
    to_number,
    to_time,
)
from twin.streams.reading import read_time

MOST_JOINS = 12
MOST_CORNERS = 5_000
PATTERN = re.compile(r"[TF012*tf]{9}")
OPERATORS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


@dataclass(slots=True)
class Rows:
    """The rows that an expression is about: an entity under an alias, and those that are joined to it."""

    entity: EntityType
    alias: str
    joins: list[str] = field(default_factory=list)
    known: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(slots=True)
class Many:
    """The entities of sets that a path leads through, with the conditions that join them."""

    sources: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def there_is_one(self, condition: str, joins: Sequence[str] = ()) -> str:
        """Return the condition that one of them fulfils a condition."""
        source = " ".join((" CROSS JOIN ".join(self.sources), *joins))
        return f"EXISTS (SELECT FROM {source} WHERE {' AND '.join((*self.conditions, f'({condition})'))})"


@dataclass(slots=True)
class Compiler:
    """Compiles the expressions of one statement."""

    parameters: Parameters
    now: datetime
    _numbers: Any = field(default_factory=lambda: count(1))
    _joins: int = 0

    def condition(self, text: str, rows: Rows) -> str:
        """Return a filter as a condition on rows; what it needs is joined to them."""
        return self._condition(parse(text), rows, {})

    def order(self, text: str, rows: Rows, *, descending: bool) -> list[tuple[str, str]]:
        """Return what an order's key sorts by, each with its type."""
        tree = parse(text, "$orderby")
        many = Many()
        value = self._value(tree, rows, {}, many)
        if many.sources:
            raise refuse(
                "$orderby: “{text}” leads to several entities.", "$orderby: “{text}” dẫn tới nhiều thực thể.", text=text
            )
        match value.kind:
            case "integer":
                return [(value.sql, "int8")]
            case "number":
                return [(value.sql, "float8")]
            case "observation_id":
                return [(f"{value.alias}.stream", "int4"), (f"{value.alias}.time", "timestamptz")]
            case "text":
                return [(f'{value.sql} COLLATE "C"', "text")]
            case "time":
                return [(value.sql, "timestamptz")]
            case "period":
                if value.sql == f"{value.alias}.time":
                    return [(value.sql, "timestamptz")]
                return [(value.end if descending else value.sql, "timestamptz")]
            case "boolean":
                return [(f"({value.sql})::int4", "int4")]
            case "geometry":
                return [(f'ST_AsText({value.sql}) COLLATE "C"', "text")]
            case "result":
                return [(to_number(value), "float8"), (f"({value.sql} #>> '{{}}') COLLATE \"C\"", "text")]
            case "json":
                return [(to_number(value), "float8"), (f"({value.sql} #>> '{{}}') COLLATE \"C\"", "text")]
        raise refuse("$orderby: “{text}” has no order.", "$orderby: “{text}” không có thứ tự.", text=text)

    # Conditions

    def _condition(self, node: Any, rows: Rows, names: dict[str, Rows]) -> str:
        match node:
            case ast.BoolOp():
                word = "AND" if isinstance(node.op, ast.And) else "OR"
                return f"({self._condition(node.left, rows, names)} {word} {self._condition(node.right, rows, names)})"
            case ast.UnaryOp(op=ast.Not()):
                return f"(({self._condition(node.operand, rows, names)}) IS NOT TRUE)"
            case ast.CollectionLambda():
                return self._of_collection(node, rows, names)
        many = Many()
        inner = self._leaf(node, rows, names, many)
        # A path to several entities holds if it holds for one of them.
        return many.there_is_one(inner) if many.sources else inner

    def _leaf(self, node: Any, rows: Rows, names: dict[str, Rows], many: Many) -> str:
        if isinstance(node, ast.Compare):
            if isinstance(node.comparator, ast.In):
                return self._in(node, rows, names, many)
            left = self._value(node.left, rows, names, many)
            right = self._value(node.right, rows, names, many)
            return compare(OPERATORS[type(node.comparator)], left, right)
        return to_boolean(self._value(node, rows, names, many))

    def _in(self, node: Any, rows: Rows, names: dict[str, Rows], many: Many) -> str:
        left = self._value(node.left, rows, names, many)
        given = node.right.val if isinstance(node.right, ast.List) else [node.right]
        found = [compare("eq", left, self._value(one, rows, names, many)) for one in given]
        return f"({' OR '.join(found)})"

    def _of_collection(self, node: Any, rows: Rows, names: dict[str, Rows]) -> str:
        many = Many()
        owner = self._rows_of(_steps(node.owner), rows, names, many)
        if not many.sources:
            raise refuse("any and all are of sets.", "any và all dùng cho tập thực thể.")
        if node.lambda_ is None:
            return many.there_is_one("TRUE")
        inner = self._condition(node.lambda_.expression, rows, names | {plain(node.lambda_.identifier.name): owner})
        if isinstance(node.operator, ast.Any):
            return many.there_is_one(inner, owner.joins)
        return "NOT " + many.there_is_one(f"({inner}) IS NOT TRUE", owner.joins)

    # Values

    def _value(self, node: Any, rows: Rows, names: dict[str, Rows], many: Many) -> Value:
        match node:
            case ast.Identifier() | ast.Attribute():
                return self._path(_steps(node), rows, names, many)
            case ast.Call():
                return self._call(node, rows, names, many)
            case ast.BinOp():
                left, right = (self._value(side, rows, names, many) for side in (node.left, node.right))
                return _computed(node.op, left, right)
            case ast.UnaryOp(op=ast.USub()):
                return Value("number", f"(- {to_number(self._value(node.operand, rows, names, many))})")
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.CollectionLambda():
                return Value("boolean", f"({self._condition(node, rows, names)})")
        return self._literal(node)

    def _path(self, steps: Sequence[str], rows: Rows, names: dict[str, Rows], many: Many) -> Value:
        if steps[0] in names:
            rows, steps = names[steps[0]], steps[1:]
        at = 0
        while at < len(steps) and steps[at] in rows.entity.navigations:
            at += 1
            # Further steps are of the entity that this one leads to.
            rows = self._step(steps[at - 1], rows, many)
        rest = steps[at:]
        if not rest:
            raise refuse(
                "“{path}” is no property. Name one of the entity behind it: Thing/name",
                "“{path}” không phải thuộc tính. Hãy nêu thuộc tính của thực thể đó: Thing/name",
                path="/".join(steps),
            )
        name = rest[0]
        found = rows.entity.id if name == "id" else rows.entity.properties.get(name)
        if found is None:
            raise refuse(
                "{entity} has no property “{name}”. It has: id, {known}.",
                "{entity} không có thuộc tính “{name}”. Có: id, {known}.",
                entity=rows.entity.name, name=name, known=", ".join(rows.entity.properties),
            )  # fmt: skip
        return self._property(found, rest[1:], rows)

    def _property(self, found: Property, rest: Sequence[str], rows: Rows) -> Value:
        alias = rows.alias
        sql = found.sql.format(a=alias)
        if rest:
            if found.kind not in ("json", "geojson", "result"):
                raise refuse(
                    "“{name}” has no parts.", "“{name}” không có thành phần con.", name=found.name
                )  # fmt: skip
            return Value("json", f"({sql} #> {self.parameters.add(list(rest), 'text[]')})")
        match found.kind:
            case "period":
                return Value("period", sql, found.end.format(a=alias), alias)
            case "geojson":
                return Value("geometry", found.geometry.format(a=alias))
            case kind:
                return Value(kind, sql, alias=alias)

    def _rows_of(self, steps: Sequence[str], rows: Rows, names: dict[str, Rows], many: Many) -> Rows:
        if steps[0] in names:
            rows, steps = names[steps[0]], steps[1:]
        for step in steps:
            rows = self._step(step, rows, many)
        return rows

    def _step(self, name: str, rows: Rows, many: Many) -> Rows:
        navigation = rows.entity.navigations.get(name)
        if navigation is None:
            raise refuse(
                "{entity} has no “{name}”.", "{entity} không có “{name}”.", entity=rows.entity.name, name=name
            )  # fmt: skip
        known = rows.known.get((rows.alias, name))
        target = TYPES[navigation.target]
        if known is not None and not navigation.many:
            return Rows(target, known, rows.joins, rows.known)
        self._joins += 1
        if self._joins > MOST_JOINS:
            raise refuse("$filter leads through too many entities.", "$filter đi qua quá nhiều thực thể.")
        alias = f"n{next(self._numbers)}"
        source, on = target.source.format(a=alias), navigation.on.format(a=alias, p=rows.alias)
        if navigation.many or many.sources:
            # From the first set on, everything belongs to the same “there is one”.
            many.sources.append(rows_of(target, alias))
            many.conditions += [on, target.visible.format(a=alias)]
            return Rows(target, alias)
        # What a visible entity has one of is visible too.
        rows.joins.append(f"LEFT JOIN {source} ON {on}")
        rows.known[rows.alias, name] = alias
        return Rows(target, alias, rows.joins, rows.known)

    def _call(self, node: Any, rows: Rows, names: dict[str, Rows], many: Many) -> Value:
        name = ".".join((*node.func.namespace, node.func.name)).lower()
        arguments = [self._value(one, rows, names, many) for one in node.args]
        if name == "interval" and len(arguments) == 2:
            return Value("period", arguments[0].sql, arguments[1].sql)
        if name in PERIODS and len(arguments) == 2:
            (start, end), (other_start, other_end) = map(span, arguments)
            return Value("boolean", PERIODS[name].format(start, end, other_start, other_end))
        if name == "now" and not arguments:
            return Value("time", self.parameters.add(self.now, "timestamptz"))
        found = FUNCTIONS.get(name)
        if found is None or not found.fits(len(arguments)):
            raise refuse(
                "There is no function “{name}” of {count} values. There are: {known}.",
                "Không có hàm “{name}” với {count} giá trị. Có: {known}.",
                name=name, count=len(arguments), known=", ".join((*FUNCTIONS, *PERIODS))[:600],
            )  # fmt: skip
        if name == "st_relate" and not PATTERN.fullmatch(str(arguments[2].literal)):
            raise refuse("st_relate needs a pattern of nine signs.", "st_relate cần mẫu chín ký tự.")
        texts = [TO[kind](value) for kind, value in zip(found.takes, arguments, strict=False)]
        return Value(found.gives, found.sql.format(*texts, *["1e6"] * (len(found.takes) - len(texts))))

    def _literal(self, node: Any) -> Value:
        add = self.parameters.add
        match node:
            case ast.Null():
                return Value("null", "NULL")
            case ast.Integer() if len(node.val) < 10:
                return Value("integer", add(int(node.val), "int4"))
            case ast.Integer() | ast.Float():
                return Value("number", add(float(node.val), "float8"))
            case ast.String():
                return Value("text", add(node.val, "text"), literal=node.val)
            case ast.GUID():
                return Value("text", add(node.val, "text"), literal=node.val)
            case ast.Boolean():
                return Value("boolean", "TRUE" if node.val.lower() == "true" else "FALSE")
            case ast.DateTime():
                return Value("time", add(read_time(node.val), "timestamptz"))
            case ast.Date():
                return Value("date", add(_python(node), "date"))
            case ast.Time():
                return Value("clock", add(_python(node), "time"))
            case ast.Duration():
                return Value("duration", add(_python(node), "interval"))
            case ast.Geography():
                return Value("geometry", f"ST_GeomFromWKB({add(_wkb(node.val), 'bytea')}, 4326)")
        raise refuse("$filter: a list stands behind “in” alone.", "$filter: danh sách chỉ đứng sau “in”.")


def _steps(node: Any) -> tuple[str, ...]:
    """Return the names of a path."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(plain(str(node.attr)))
        node = node.owner
    if not isinstance(node, ast.Identifier):
        raise refuse("$filter: a path begins with a name.", "$filter: đường dẫn bắt đầu bằng một tên.")
    return (plain(".".join((*node.namespace, node.name))), *reversed(names))


def _computed(operator: Any, left: Value, right: Value) -> Value:
    """Return a sum and the like, of numbers, or of a time and a duration."""
    sign = ARITHMETIC.get(type(operator))
    kinds = {left.kind, right.kind}
    if kinds & MOMENTS or kinds == {"duration"}:
        if right.kind == "duration" and sign in ("+", "-"):
            kind = left.kind if left.kind == "duration" else "time"
            one = left.sql if kind == "duration" else to_time(left)
            return Value("duration" if kind == "duration" else "time", f"({one} {sign} {right.sql})")
        if sign == "-" and right.kind in MOMENTS and left.kind in MOMENTS:
            return Value("duration", f"({to_time(left)} - {to_time(right)})")
        if sign == "+" and left.kind == "duration":
            return Value("time", f"({left.sql} + {to_time(right)})")
        raise refuse("A time takes a duration only.", "Thời điểm chỉ cộng trừ được với khoảng thời gian.")
    one, other = to_number(left), to_number(right)
    if sign is None and isinstance(operator, ast.Div):
        if left.kind == right.kind == "integer":
            return Value("number", f"trunc({one} / nullif({other}, 0))")
        return Value("number", f"({one} / nullif({other}, 0))")
    if sign is None:
        return Value("number", f"mod({one}::numeric, nullif({other}, 0)::numeric)::float8")
    return Value("number", f"({one} {sign} {other})")


def _python(node: Any) -> Any:
    try:
        value = node.py_val
    except (ValueError, OverflowError, TypeError):
        value = None
    if value is None or (isinstance(value, timedelta) and abs(value) > timedelta(days=366_000)):
        raise refuse("“{text}” is no date or time.", "“{text}” không phải ngày giờ.", text=str(node.val))
    return value


def _wkb(text: str) -> bytes:
    text = text.strip().strip("'")
    try:
        shape = shapely.from_wkt(text.rpartition(";")[2])
    except shapely.GEOSException:
        shape = None
    if shape is None or not 0 < shapely.get_num_coordinates(shape) <= MOST_CORNERS:
        raise refuse(
            "“{text}” is no geometry. Example: geography'POINT (106.7 10.77)'",
            "“{text}” không phải hình học. Ví dụ: geography'POINT (106.7 10.77)'",
            text=text,
        )
    return bytes(shapely.to_wkb(shapely.force_2d(shape)))

"""The functions of filters, each with the kinds of its arguments, the kind of its value, and its SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tiles.sensorthings.sql_values import (
    Value,
    ValueKind,
    to_boolean,
    to_geometry,
    to_number,
    to_text,
    to_time,
)

TO: Mapping[str, Callable[[Value], str]] = {
    "n": to_number, "s": to_text, "t": to_time, "g": to_geometry, "b": to_boolean,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `takes` has a letter an argument (n number, s text, t time, g geometry); `least` may be given."""

    takes: str
    gives: ValueKind
    sql: str
    least: int = -1

    def fits(self, count: int) -> bool:
        """Tell whether so many arguments may be given."""
        return (self.least if self.least >= 0 else len(self.takes)) <= count <= len(self.takes)


def _part(name: str) -> Function:
    return Function("t", "number", f"extract({name} FROM {{0}} AT TIME ZONE 'UTC')::float8")


def _relation(name: str) -> Function:
    return Function("gg", "boolean", f"{name}({{0}}, {{1}})")


# Positions in texts count from 0. Geometries are in degrees (EPSG:4326), and so are distances and lengths.
FUNCTIONS: Mapping[str, Function] = {
    "substringof": Function("ss", "boolean", "(strpos({1}, {0}) > 0)"),
    "contains": Function("ss", "boolean", "(strpos({0}, {1}) > 0)"),
    "startswith": Function("ss", "boolean", "starts_with({0}, {1})"),
    "endswith": Function("ss", "boolean", "(right({0}, length({1})) = {1})"),
    "length": Function("s", "number", "length({0})::float8"),
    "indexof": Function("ss", "number", "(strpos({0}, {1}) - 1)::float8"),
    "substring": Function(
        "snn", "text", "substring({0} FROM least(greatest({1}, 0), 1e6)::int + 1 "
        "FOR least(greatest({2}, 0), 1e6)::int)", 2
    ),
    "tolower": Function("s", "text", "lower({0})"),
    "toupper": Function("s", "text", "upper({0})"),
    "trim": Function("s", "text", "btrim({0})"),
    "concat": Function("ss", "text", "({0} || {1})"),
    "year": _part("year"), "month": _part("month"), "day": _part("day"), "hour": _part("hour"),
    "minute": _part("minute"),
    "second": Function("t", "number", "floor(extract(second FROM {0}))::float8"),
    "fractionalseconds": Function("t", "number",
        "(extract(second FROM {0}) - floor(extract(second FROM {0})))::float8"),
    "totaloffsetminutes": Function("t", "number", "(CASE WHEN {0} IS NOT NULL THEN 0::float8 END)"),
    "date": Function("t", "date", "({0} AT TIME ZONE 'UTC')::date"),
    "time": Function("t", "clock", "({0} AT TIME ZONE 'UTC')::time"),
    "now": Function("", "time", "now()"),
    "mindatetime": Function("", "time", "'0001-01-01T00:00:00Z'::timestamptz"),
    "maxdatetime": Function("", "time", "'9999-12-31T23:59:59Z'::timestamptz"),
    # Halves go away from zero, as OData has it.
    "round": Function("n", "number", "(sign({0}) * floor(abs({0}) + 0.5))"),
    "floor": Function("n", "number", "floor({0})"),
    "ceiling": Function("n", "number", "ceil({0})"),
    "geo.distance": Function("gg", "number", "ST_Distance({0}, {1})"),
    "geo.length": Function("g", "number", "ST_Length({0})"),
    "geo.intersects": _relation("ST_Intersects"),
    "st_equals": _relation("ST_Equals"), "st_disjoint": _relation("ST_Disjoint"),
    "st_touches": _relation("ST_Touches"), "st_within": _relation("ST_Within"),
    "st_overlaps": _relation("ST_Overlaps"), "st_crosses": _relation("ST_Crosses"),
    "st_intersects": _relation("ST_Intersects"), "st_contains": _relation("ST_Contains"),
    "st_relate": Function("ggs", "boolean", "ST_Relate({0}, {1}, {2})"),
}  # fmt: skip

# Of moments and periods, by where they begin ({0}, {2}) and end ({1}, {3}).
PERIODS: Mapping[str, str] = {
    "before": "({1} < {2})",
    "after": "({0} > {3})",
    "meets": "({1} = {2} OR {0} = {3})",
    "during": "({0} >= {2} AND {1} <= {3})",
    "overlaps": "({0} < {3} AND {1} > {2})",
    "starts": "({0} = {2})",
    "finishes": "({1} = {3})",
}

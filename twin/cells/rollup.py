"""What a version's features come to in coarser H3 cells: counted and summed once, at publish, for maps of whole cities.

A feature belongs to one cell, the lowest of those that it touches at its layer's resolution, so that nothing is counted
twice; in coarser cells it belongs to the ancestor of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import h3

from twin.cells.cover import MAX_RESOLUTION

Rule = Literal["sum", "count", "mean", "min", "max", "mode"]

# The coarsest cells that are kept: four to five of them make a city of two thousand square kilometres.
COARSEST = 4
# All of a cell's index but its resolution (H3 index bit layout).
RESOLUTION_MASK = 0x7F0F_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rolled:
    """A column's value in a cell: how it comes about, and the column that weights a mean."""

    name: str
    type: str
    rule: Rule
    weight: str | None = None

    @property
    def result(self) -> str:
        """The type of the value in a cell."""
        return {"count": "integer", "mean": "number", "sum": self.type}.get(self.rule, self.type)


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a roll-up, and its finest resolution; coarser ones down to `COARSEST` follow from it."""

    finest: int
    columns: tuple[Rolled, ...] = ()

    @property
    def resolutions(self) -> list[int]:
        """The resolutions that are kept, finest first."""
        return list(range(self.finest, COARSEST - 1, -1))

    def as_dict(self) -> dict[str, Any]:
        """Give the form that the catalogue stores."""
        return {"resolutions": self.resolutions, "columns": {c.name: c.rule for c in self.columns}}


# A tile shows at most about this many cells, unless its theme says otherwise: more could not be seen apart.
CELLS_A_TILE = 400
_EQUATOR_KM = 40_075.0


@cache
def resolution_for(zoom: int, most: int = CELLS_A_TILE) -> int:
    """Return the finest resolution of which a tile of this zoom holds at most so many cells."""
    return finest_within((_EQUATOR_KM / 2**zoom) ** 2, most)


def finest_within(area: float, most: int) -> int:
    """Return the finest resolution of which an area (km²) holds at most so many cells."""
    return max((r for r in range(MAX_RESOLUTION + 1) if area / h3.average_hexagon_area(r) <= most), default=0)


def parent_sql(cell: str, resolution: int) -> str:
    """SQL for a cell's ancestor at a coarser resolution (H3 index bit layout: resolution, base cell, digits)."""
    unused = (1 << 3 * (MAX_RESOLUTION - resolution)) - 1
    return f"(({cell} & {RESOLUTION_MASK}) | {resolution << 52} | {unused})"


def ddl(table: str, columns: Sequence[Rolled], types: dict[str, str]) -> str:
    """Return the roll-up's table."""
    values = "".join(f', "{c.name}" {types[c.result]}' for c in columns)
    return (
        f"CREATE TABLE {table} (resolution smallint NOT NULL, cell bigint NOT NULL, features bigint NOT NULL{values}, "
        "geom geometry(Polygon, 4326) NOT NULL)"
    )


def sums_sql(table: str, plan: Plan) -> str:
    """Ask for the finest cells' counts and partial values: one pass over the features."""
    aggregates = []
    for n, column in enumerate(plan.columns):
        value, weight = f'"{column.name}"', f'"{column.weight}"' if column.weight else "1"
        match column.rule:
            case "sum":
                # The sum of whole numbers would be a numeric, which has no like in Arrow.
                aggregates.append(f"sum({value}::float8) AS v{n}")
            case "min" | "max" | "count":
                aggregates.append(f"{column.rule}({value}) AS v{n}")
            case "mean":
                aggregates.append(f"sum({value} * {weight}::float8) AS v{n}")
                aggregates.append(f"sum({weight}::float8) FILTER (WHERE {value} IS NOT NULL) AS w{n}")
            case "mode":
                pass
    values = "".join(f", {a}" for a in aggregates)
    return f"SELECT {parent_sql('cell', plan.finest)} AS cell, count(*) AS features{values} FROM {table} GROUP BY 1"


def value_sql(column: Rolled, source: str) -> str:
    """SQL for a column's value in a group of features: what `build` makes of the whole group, in one aggregate.

    Of values that stand equally often, PostgreSQL's `mode` takes the first in order, as `build` does.
    """
    value = f'{source}."{column.name}"'
    # Letters by their codes, so that the least and the first are the same on every server.
    ordered = f'{value} COLLATE "C"' if column.type == "text" else value
    match column.rule:
        case "count":
            return f"count({value})"
        case "sum":
            return f"sum({value})::bigint" if column.type == "integer" else f"sum({value})"
        case "mean" if column.weight:
            weight = f'{source}."{column.weight}"::float8'
            return f"sum({value} * {weight}) / nullif(sum({weight}) FILTER (WHERE {value} IS NOT NULL), 0)"
        case "mean":
            return f"avg({value}::float8)"
        case "mode":
            return f"mode() WITHIN GROUP (ORDER BY {ordered})"
        case "min" | "max" if column.type == "boolean":
            return f"bool_{'and' if column.rule == 'min' else 'or'}({value})"
    return f"{column.rule}({ordered})"


def mode_sql(table: str, column: Rolled, finest: int) -> str:
    """Ask how often each value of a column stands in each of the finest cells."""
    return (
        f'SELECT {parent_sql("cell", finest)} AS cell, "{column.name}" AS value, count(*) AS times '
        f'FROM {table} WHERE "{column.name}" IS NOT NULL GROUP BY 1, 2'
    )

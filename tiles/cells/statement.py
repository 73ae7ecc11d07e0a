"""The question for a layer's cells in one statement: of its roll-up where that holds them, else of its features."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from tiles.cells.outlines import around, meeting
from twin.access.permit import Permit
from twin.catalogue.catalogue import Version
from twin.cells.cover import Int64
from twin.cells.rollup import Rolled, parent_sql, value_sql
from twin.db.tables import DATA_SCHEMA
from twin.query.expressions import Parameters
from twin.query.spatial import to_wkb

# Rows that are read from the database at once.
ROWS = 2000
# Tables of versions that were published before cells were rolled up have no column for a feature's own cell.
HAS_CELL_SQL = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'cell' AND NOT attisdropped)
"""

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class AggregatedCells:
    """Some cells in the order of their indexes, with their counts and the values of the columns, as parallel lists."""

    cells: Int64
    features: list[int]
    values: list[list[Any]]

    def __len__(self) -> int:
        return len(self.cells)

    def first(self, count: int) -> AggregatedCells:
        """Return the first of them."""
        return AggregatedCells(self.cells[:count], self.features[:count], [v[:count] for v in self.values])


@dataclass(frozen=True, slots=True)
class CellsQuery:
    """Which cells are meant: of one version and resolution, meeting an area, with the features under conditions.

    Cells of fewer features than the permit lets be shown are left out.
    """

    permit: Permit
    resolution: int
    columns: tuple[Rolled, ...]
    area: BaseGeometry | None = None
    conditions: Sequence[str] = ()
    parameters: Parameters = field(default_factory=Parameters)
    after: int | None = None

    @property
    def version(self) -> Version:
        """The version whose cells are meant."""
        return self.permit.version

    @property
    def from_rollup(self) -> bool:
        """Whether the version's roll-up holds the answer."""
        kept = self.permit.rollup
        if kept is None or self.conditions or self.resolution not in kept["resolutions"]:
            return False
        # A theme may have learned another rule since the version was published.
        return all(kept["columns"].get(c.name) == c.rule for c in self.columns)

    def statement(self, *, has_cell: bool = True) -> tuple[str, list[object]]:
        """Return the statement, ordered by cell; of cells that nearly meet the area it may give some."""
        parameters = Parameters(list(self.parameters.values))
        return self._of_rollup(parameters) if self.from_rollup else self._of_features(parameters, has_cell)

    def _of_rollup(self, parameters: Parameters) -> tuple[str, list[object]]:
        conditions = [f"r.resolution = {self.resolution}"]
        if self.permit.least_count > 1:
            conditions.append(f"r.features >= {self.permit.least_count}")
        if self.area is not None:
            # Box against box: which of them meet the area exactly is found outside.
            conditions.append(
                f"r.geom && ST_GeomFromWKB({parameters.add(to_wkb(_envelope(self.area)), 'bytea')}, 4326)"
            )
        if self.after is not None:
            conditions.append(f"r.cell > {parameters.add(self.after, 'bigint')}")
        values = "".join(f', r."{c.name}"' for c in self.columns)
        return (
            f"SELECT r.cell, r.features{values} FROM {DATA_SCHEMA}.{self.version.rollup_table} AS r "
            f"WHERE {' AND '.join(conditions)} ORDER BY r.cell",
            parameters.values,
        )

    def _of_features(self, parameters: Parameters, has_cell: bool) -> tuple[str, list[object]]:
        source, home = f"{DATA_SCHEMA}.{self.version.table} AS f", "f.cell"
        if not has_cell:
            own = f"SELECT fid, min(cell) AS cell FROM {DATA_SCHEMA}.{self.version.cell_table} GROUP BY fid"
            source, home = f"{source} JOIN ({own}) AS home USING (fid)", "home.cell"
        cell = parent_sql(home, self.resolution)
        conditions = list(self.conditions)
        if self.area is not None:
            boxes = [parameters.add(to_wkb(box), "bytea") for box in around(self.area, self.resolution)]
            conditions.append("(" + " OR ".join(f"f.geom && ST_GeomFromWKB({b}, 4326)" for b in boxes) + ")")
        if self.after is not None:
            conditions.append(f"{cell} > {parameters.add(self.after, 'bigint')}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        values = "".join(f", {value_sql(c, 'f')}" for c in self.columns)
        having = f" HAVING count(*) >= {self.permit.least_count}" if self.permit.least_count > 1 else ""
        return (
            f"SELECT {cell} AS cell, count(*){values} FROM {source}{where} GROUP BY 1{having} ORDER BY 1",
            parameters.values,
        )


def _envelope(area: BaseGeometry) -> BaseGeometry:
    """Return the area's box; it goes all the way round for an area that crosses the 180th meridian."""
    return shapely.box(*shapely.bounds(area))


async def counted(connection: asyncpg.Connection, query: CellsQuery) -> AsyncGenerator[AggregatedCells, None]:
    """Yield the cells of a question, some at a time; the connection must be in a transaction."""
    has_cell = query.from_rollup or await connection.fetchval(HAS_CELL_SQL, f"{DATA_SCHEMA}.{query.version.table}")
    sql, values = query.statement(has_cell=has_cell)
    cursor = await connection.cursor(sql, *values)
    while rows := await cursor.fetch(ROWS):
        cells = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        if query.area is not None:
            here = meeting(cells, query.area)
            rows, cells = [row for row, meets in zip(rows, here, strict=True) if meets], cells[here]
        if rows:
            _, features, *columns = (list(column) for column in zip(*rows, strict=True))
            yield AggregatedCells(cells, features, columns)


async def first(connection: asyncpg.Connection, query: CellsQuery, most: int) -> tuple[AggregatedCells, bool]:
    """Return the first cells of a question in one piece, and whether there are more."""
    parts: list[AggregatedCells] = []
    async with connection.transaction(readonly=True), aclosing(counted(connection, query)) as read:
        async for part in read:
            parts.append(part)
            if sum(map(len, parts)) > most:
                break
    if not parts:
        return AggregatedCells(np.empty(0, np.int64), [], [[] for _ in query.columns]), False
    whole = AggregatedCells(
        np.concatenate([p.cells for p in parts]),
        [n for p in parts for n in p.features],
        [[v for p in parts for v in p.values[i]] for i in range(len(query.columns))],
    )
    return whole.first(most), len(whole) > most

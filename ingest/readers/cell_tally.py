"""Samples of a raster gathered by cell, block after block: their mean, least and greatest, or the most frequent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

How = Literal["mean", "mode"]
Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

# Rows that may wait before they are gathered into one a cell.
PENDING = 4_000_000


@dataclass(frozen=True, slots=True)
class CellValues:
    """Values of cells, ascending by cell, and how many samples each rests on.

    `value` is the mean or the most frequent value. `lowest` and `highest` are the least and the greatest
    sample. `share` is the part of the samples that have the most frequent value; of a mean it is 1.
    """

    cell: Int64
    value: Floats
    samples: Int64
    how: How
    lowest: Floats
    highest: Floats
    share: Floats

    def __len__(self) -> int:
        return len(self.cell)

    def only(self, where: npt.NDArray[np.bool_]) -> CellValues:
        """Return the cells there."""
        return CellValues(
            self.cell[where], self.value[where], self.samples[where], self.how,
            self.lowest[where], self.highest[where], self.share[where],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row a cell, or for the mode one a cell and value: the sum of the samples, their number and range."""

    cell: Int64
    total: Floats
    count: Int64
    low: Floats
    high: Floats


class Tally:
    """Gathers samples; memory follows the number of cells (and of values in them), not of samples."""

    def __init__(self, how: How) -> None:
        self.how = how
        self._parts: list[_Rows] = []
        self._pending = 0

    def add(self, cells: Int64, values: Floats) -> None:
        """Add samples, each with its cell."""
        rows = self._gather(_Rows(cells, values, np.ones(len(cells), np.int64), values, values))
        self._parts.append(rows)
        self._pending += len(rows.cell)
        if self._pending > PENDING:
            self._parts = [self._merged()]
            self._pending = 0

    def result(self) -> CellValues:
        """Return the cells so far."""
        rows = self._merged()
        if not len(rows.cell) or self.how == "mean":
            mean = rows.total / np.maximum(rows.count, 1)
            return CellValues(rows.cell, mean, rows.count, self.how, rows.low, rows.high, np.ones(len(rows.cell)))
        starts = np.flatnonzero(np.r_[True, rows.cell[1:] != rows.cell[:-1]])
        samples = np.add.reduceat(rows.count, starts)
        # Within a cell the most frequent value first; of equally frequent ones, the smaller.
        order = np.lexsort((rows.total, -rows.count, rows.cell))
        return CellValues(
            rows.cell[starts], rows.total[order][starts], samples, self.how,
            np.minimum.reduceat(rows.low, starts), np.maximum.reduceat(rows.high, starts),
            rows.count[order][starts] / samples,
        )  # fmt: skip

    def _gather(self, rows: _Rows) -> _Rows:
        by_value = self.how == "mode"
        order = np.lexsort((rows.total, rows.cell)) if by_value else np.argsort(rows.cell, kind="stable")
        cell, total, count = rows.cell[order], rows.total[order], rows.count[order]
        if not len(cell):
            return rows
        new = np.r_[True, cell[1:] != cell[:-1]]
        if by_value:
            new |= np.r_[True, total[1:] != total[:-1]]
        starts = np.flatnonzero(new)
        return _Rows(
            cell[starts], total[starts] if by_value else np.add.reduceat(total, starts), np.add.reduceat(count, starts),
            np.minimum.reduceat(rows.low[order], starts), np.maximum.reduceat(rows.high[order], starts),
        )  # fmt: skip

    def _merged(self) -> _Rows:
        if not self._parts:
            return _Rows(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
        arrays = (
            np.concatenate([getattr(part, name) for part in self._parts])
            for name in ("cell", "total", "count", "low", "high")
        )
        return self._gather(_Rows(*arrays))

"""Findings of one batch, and for each row the first that keeps it from being published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.checks.kinds import KINDS
from twin.text import Text

Detail = Callable[[int], str | Text]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Finding:
    """Some rows of a batch with one kind of problem; `detail` says what was found in a row, and `values` counts the
    different values that are the problem, if it is one of values.
    """

    code: str
    where: Mask
    detail: Detail
    field: str | None
    values: Mapping[str, int]


class Faults:
    """The findings of a batch. A row with a finding that is refused goes to quarantine with the first reason."""

    def __init__(self, rows: int) -> None:
        self.reason: npt.NDArray[np.object_] = np.full(rows, None, dtype=object)
        self.detail: npt.NDArray[np.object_] = np.full(rows, "", dtype=object)
        self.found: list[Finding] = []
        self._faulty: Mask = np.zeros(rows, dtype=bool)

    @property
    def none(self) -> Mask:
        """Which rows have no fault."""
        return ~self._faulty

    def add(
        self, where: Mask, code: str, detail: Detail | str = "", field: str | None = None,
        values: Callable[[], Mapping[str, int]] = dict,
    ) -> None:  # fmt: skip
        """Record a finding about some rows."""
        if not where.any():
            return
        describe: Detail = detail if callable(detail) else lambda _: detail
        self.found.append(Finding(code, where, describe, field, values()))
        if KINDS[code].severity == "refused":
            fresh = np.flatnonzero(where & self.none)
            self._faulty[fresh] = True
            for row in fresh:
                self.reason[row] = code
                detail_of_row = describe(int(row))
                # Kept in both languages: whoever reads it later need not speak the publisher's.
                self.detail[row] = detail_of_row.stored() if isinstance(detail_of_row, Text) else detail_of_row

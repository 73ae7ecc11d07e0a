"""Numbers of DBF files as they are written: GDAL takes those of more than 18 digits for floating-point numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.readers.text import sibling

# GDAL makes whole numbers of narrower columns, and is exact there.
EXACT_DIGITS = 18
_LOOKED_AT = 100_000


class WideNumbers:
    """Columns of whole numbers that are codes: too wide for any number type, or written with zeros in front."""

    def __init__(self, dbf: Path) -> None:
        self._places: dict[int, tuple[int, int]] = {}
        with dbf.open("rb") as file:
            head = file.read(32)
            self._rows = int.from_bytes(head[4:8], "little")
            start, width = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:12], "little")
            fields = file.read(max(0, start - 33))
        size = dbf.stat().st_size - start
        self._rows = min(self._rows, size // width) if width and size > 0 else 0
        if not self._rows:
            return
        self._records: Any = np.memmap(dbf, np.uint8, "r", start, (self._rows, width))
        at = 1
        for number, begin in enumerate(range(0, len(fields) - 31, 32)):
            field = fields[begin : begin + 32]
            kind, digits, decimals = field[11:12], field[16], field[17]
            if at + digits > width:
                break
            if kind in (b"N", b"F") and decimals == 0 and (digits > EXACT_DIGITS or self._has_zeros(at, digits)):
                self._places[number] = (at, digits)
            at += digits

    @property
    def columns(self) -> frozenset[int]:
        """The numbers of these columns among the fields of the file."""
        return frozenset(self._places)

    def values(self, column: int, records: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """Return the values of some records as text, None where there is none."""
        at, digits = self._places[column]
        texts = np.full(len(records), None, dtype=object)
        known = np.flatnonzero(records < self._rows)
        for row, value in zip(known, self._records[records[known], at : at + digits], strict=True):
            text = value.tobytes().decode("ascii", "replace").strip("\0 \t*")
            texts[row] = text or None
        return texts

    def _has_zeros(self, at: int, digits: int) -> bool:
        if digits < 2:
            return False
        beginning = np.asarray(self._records[:_LOOKED_AT, at : at + digits])
        # A zero with a digit behind it and none before.
        zero, digit = beginning == 48, (beginning >= 48) & (beginning <= 57)
        first = zero & (np.cumsum(digit, axis=1) == 1) & (np.cumsum(beginning > 32, axis=1) == 1)
        return bool((first[:, :-1] & digit[:, 1:]).any())


def records_in(dbf: Path) -> int | None:
    """Return how many rows a DBF file has; None if it is shorter than that."""
    with dbf.open("rb") as file:
        head = file.read(32)
    if len(head) < 32:
        return None
    rows, start, width = (int.from_bytes(head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    return rows if dbf.stat().st_size >= start + rows * width else None


def shapes_in(shp: Path) -> int | None:
    """Return how many shapes the index of a Shapefile counts; None if the .shp or the index is shorter than it says."""
    shx = sibling(shp, ".shx")
    for part in (shp, shx):
        if part is None:
            return None
        with part.open("rb") as file:
            head = file.read(100)
        # In words of two bytes.
        length = 2 * int.from_bytes(head[24:28], "big")
        if len(head) < 100 or part.stat().st_size < length:
            return None
    return (length - 100) // 8

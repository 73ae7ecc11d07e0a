"""The values of a layer's streams now or at a past moment, and as values of cells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import h3
import numpy as np
import numpy.typing as npt

from layers.observed.grading import scale_of
from layers.observed.registry import KINDS
from layers.theme import Rollup
from tiles.http.server import CityContext
from tiles.streams.answers import Value
from tiles.streams.live_state import LiveState
from twin.errors import BadInput
from twin.streams.series import as_of
from twin.text import Text

# Answers about the past that are kept. Late values may still come, so not for long.
KEPT = 64
KEPT_SECONDS = 30.0

FUTURE = Text(
    en="“at” lies in the future; streams know the past and the present.",
    vi="“at” ở tương lai; các luồng dữ liệu chỉ có quá khứ và hiện tại.",
)

_REDUCE: dict[Rollup, Callable[[npt.NDArray[np.float64]], np.float64]] = {
    Rollup.SUM: np.sum, Rollup.MEAN: np.mean, Rollup.MIN: np.min, Rollup.MAX: np.max,
}  # fmt: skip


class States:
    """Reads states. Those of past moments are asked of the database, and kept for a short while."""

    def __init__(self, city: CityContext, live: LiveState) -> None:
        self._city = city
        self._live = live
        self._kept: OrderedDict[tuple[frozenset[int], datetime], tuple[float, list[Value]]] = OrderedDict()

    async def of(self, streams: frozenset[int], at: datetime | None) -> list[Value]:
        """Return the values of streams, in the order of their ids: the latest ones, or those of a moment.

        A latest value is given however old it is; one of the past only if it was fresh then.
        """
        entries = self._live.entries
        if at is None:
            values = self._live.values
            return [
                Value(entries[s], values[s].time, values[s].value, values[s].flag)
                for s in sorted(streams) if s in values and s in entries
            ]  # fmt: skip
        now = datetime.now(UTC)
        if at > now + timedelta(seconds=1):
            raise BadInput(FUTURE)
        key = (streams, at)
        kept = self._kept.get(key)
        if kept is not None and now.timestamp() - kept[0] < KEPT_SECONDS:
            return kept[1]
        async with self._city.connection(asking=True) as connection:
            rows = await as_of(connection, sorted(streams), at)
        found = [
            Value(entries[row["stream"]], row["time"], row["value"], row["flag"])
            for row in rows if row["stream"] in entries
        ]  # fmt: skip
        found.sort(key=lambda value: value.entry.key)
        self._kept[key] = (now.timestamp(), found)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


def state_of_cells(values: Sequence[Value], resolution: int, moment: datetime) -> list[dict[str, Any]]:
    """Return the values of one kind as values of H3 cells, by the kind's rule; only fresh, normal values take part.

    Each cell has the number of streams that it rests on, and the time of the oldest of them.
    """
    grouped: dict[tuple[str, str], list[Value]] = {}
    for value in values:
        entry = value.entry
        if not value.is_normal or not value.is_fresh(moment) or entry.kind not in KINDS:
            continue
        cell = cell_of(value, resolution)
        if cell is not None:
            grouped.setdefault((entry.kind, cell), []).append(value)
    return [_cell(kind, cell, group) for (kind, cell), group in sorted(grouped.items())]


def cell_of(value: Value, resolution: int) -> str | None:
    """Return the cell of a resolution in which a stream lies; None for one that is not placed."""
    entry = value.entry
    if entry.cell is not None:
        own = h3.int_to_str(entry.cell)
        return str(h3.cell_to_parent(own, resolution)) if h3.get_resolution(own) >= resolution else str(own)
    if entry.longitude is None or entry.latitude is None:
        return None
    return str(h3.latlng_to_cell(entry.latitude, entry.longitude, resolution))


def _cell(kind: str, cell: str, group: Sequence[Value]) -> dict[str, Any]:
    numbers = np.array([value.value for value in group], dtype=np.float64)
    rule = KINDS[kind].over_cells
    if rule is Rollup.MODE:
        distinct, counts = np.unique(numbers, return_counts=True)
        number = float(distinct[counts.argmax()])
    elif rule is Rollup.COUNT:
        number = float(len(numbers))
    else:
        number = float(_REDUCE[rule](numbers))
    grades = [value.grade for value in group]
    # What is graded by something of each stream's own, such as its free-flow speed, has no grade of the mean value.
    own = len({repr(sorted(value.entry.properties.items())) for value in group}) > 1
    found = scale_of(kind, group[0].entry.properties, max(value.time for value in group))
    if own or found is None:
        grade = round(sum(grades) / len(grades)) if min(grades) >= 0 else -1
    else:
        grade = int(found[0].grade_index([number / found[1]])[0])
    shown = found[0].grades[grade] if found is not None and 0 <= grade < len(found[0].grades) else None
    return {
        "cell": cell, "kind": kind, "value": number, "rule": rule.value, "streams": len(group),
        "oldest": min(value.time for value in group), "grade": shown.key if shown else None,
        "color": shown.color if shown else None,
        "basis": group[0].entry.basis if len({value.entry.basis for value in group}) == 1 else "mixed",
    }  # fmt: skip

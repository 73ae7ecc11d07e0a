"""Streams, values and series as JSON, and a layer's state in a compact form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import h3
import numpy as np

from layers.observed.grading import grade_index, scale_of
from layers.observed.kind import ObservedKind, Scale
from layers.observed.registry import KINDS
from twin.streams.entry import StreamEntry
from twin.streams.flags import BAD, flag_names
from twin.streams.series import Bucket
from twin.text import Language

NO_GRADE = 255


@dataclass(frozen=True, slots=True)
class Value:
    """A stream's value at a moment."""

    entry: StreamEntry
    time: datetime
    value: float | None
    flag: int

    @property
    def is_normal(self) -> bool:
        """Tell whether it may be shown as a normal value."""
        return self.flag & BAD == 0 and self.value is not None

    @property
    def grade(self) -> int:
        """The place of its grade in the scale of its kind; -1 for none."""
        return grade_index(self.entry.kind, self.entry.properties, self.value, self.time) if self.is_normal else -1

    def is_fresh(self, moment: datetime) -> bool:
        """Tell whether it still says how things are at a moment."""
        return (moment - self.time).total_seconds() <= self.entry.fresh_seconds


def stream_json(entry: StreamEntry, language: Language) -> dict[str, Any]:
    """Return a stream as the API describes it."""
    kind = KINDS.get(entry.kind)
    return {
        "id": entry.key,
        "code": entry.code,
        "collection": entry.layer,
        "name": entry.name,
        "thing": {"id": entry.thing, "name": entry.thing_name},
        "kind": entry.kind or None,
        "title": kind.title.in_language(language) if kind else entry.name,
        "unit": entry.unit,
        "feature": entry.feature,
        "fid": entry.fid,
        "cell": h3.int_to_str(entry.cell) if entry.cell is not None else None,
        "position": [entry.longitude, entry.latitude] if entry.is_placed else None,
        "positionNote": entry.note.in_language(language) or None,
        "freshSeconds": entry.fresh_seconds,
        "everySeconds": entry.every_seconds,
        "rollsUp": entry.rolls_up,
        "basis": entry.basis,
    }


def value_json(value: Value, moment: datetime) -> dict[str, Any]:
    """Return a value with its grade, its colour, its flags, and whether it is fresh at a moment."""
    entry = value.entry
    found = scale_of(entry.kind, entry.properties, value.time)
    number = value.grade
    grade = found[0].grades[number] if found is not None and number >= 0 else None
    return {
        "stream": entry.key,
        "kind": entry.kind or None,
        "feature": entry.feature,
        "fid": entry.fid,
        "cell": h3.int_to_str(entry.cell) if entry.cell is not None else None,
        "value": value.value,
        "unit": entry.unit,
        "time": stamp(value.time),
        "grade": grade.key if grade else None,
        "color": grade.color if grade else None,
        "flags": flag_names(value.flag),
        "fresh": value.is_fresh(moment),
        "basis": entry.basis,
    }


def state_bytes(values: Sequence[Value]) -> bytes:
    """Return values in columns, little-endian: the number n as Uint32, then n each of Uint32 stream, Float32 value
    (NaN where there is none), Uint32 seconds since 1970, Uint8 grade (255 for none) and Uint8 flag.
    """  # one sentence is the layout
    count = len(values)
    seconds = (int(v.time.timestamp()) for v in values)
    grades = (NO_GRADE if v.grade < 0 else v.grade for v in values)
    numbers = (np.nan if v.value is None else v.value for v in values)
    return b"".join(
        (
            np.uint32(count).tobytes(),
            np.fromiter((v.entry.key for v in values), "<u4", count).tobytes(),
            np.fromiter(numbers, "<f4", count).tobytes(),
            np.fromiter(seconds, "<u4", count).tobytes(),
            np.fromiter(grades, "u1", count).tobytes(),
            np.fromiter((v.flag & 0xFF for v in values), "u1", count).tobytes(),
        )
    )


def series_json(entry: StreamEntry, buckets: Sequence[Bucket], every: float, stat: str) -> dict[str, Any]:
    """Return a series; a bucket without good values has the value null."""
    now = datetime.now(UTC)
    moment = now
    found = scale_of(entry.kind, entry.properties, moment)
    return {
        "stream": entry.key,
        "unit": entry.unit,
        "every": every,
        "stat": stat,
        "basis": entry.basis,
        # Limits are given in the unit of the values, also where the scale is one of shares.
        "scale": scale_json(found[0], None) | {"limits": [limit * found[1] for limit in found[0].limits]}
        if found else None,
        "buckets": [
            {
                "start": stamp(bucket.start), "value": bucket.value, "n": bucket.n, "flagged": bucket.bad,
                "expected": bucket.expected,
                "open": bucket.start.timestamp() + every > now.timestamp(),
            }
            for bucket in buckets
        ],
    }  # fmt: skip


def kind_json(kind: ObservedKind, language: Language) -> dict[str, Any]:
    """Return what a kind of value means: unit, range, freshness, and its scales with the days from which they hold."""
    return {
        "kind": kind.name,
        "title": kind.title.in_language(language),
        "unit": kind.unit,
        "definition": kind.definition or None,
        "range": [kind.minimum, kind.maximum],
        "digits": kind.digits,
        "freshSeconds": kind.fresh_seconds,
        "everySeconds": kind.every_seconds,
        "overTime": kind.over_time,
        "overCells": kind.over_cells.value,
        "note": kind.note.in_language(language) if kind.note else None,
        "scales": [scale_json(scale, language) for scale in _scales(kind)],
    }


def _scales(kind: ObservedKind) -> Sequence[Scale]:
    if kind.name == "traffic_speed":
        from layers.observed.traffic import RATIO_SCALE

        # Speeds are graded by their share of the free-flow speed where a stream states one.
        return (*kind.scales, RATIO_SCALE)
    return kind.scales


def scale_json(scale: Scale, language: Language | None) -> dict[str, Any]:
    """Return a scale; without a language its titles are left out."""

    def words(texts: Mapping[str, Any]) -> dict[str, str]:
        return {name: text.in_language(language) for name, text in texts.items()} if language else {}

    return {
        "name": scale.name,
        **words({"title": scale.title, "source": scale.source}),
        "limits": list(scale.limits),
        "place": scale.place,
        "validFrom": scale.valid_from.isoformat() if scale.valid_from else None,
        "grades": [{"key": grade.key, "color": grade.color, **words({"title": grade.title})} for grade in scale.grades],
    }


def stamp(moment: datetime) -> str:
    """Write a moment in UTC, as RFC 3339 has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

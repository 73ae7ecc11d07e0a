"""What a rule's title and text can say of a stream: values as each language writes them, times of the city's clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, tzinfo

from twin.incidents.rule_book import Grades
from twin.streams.entry import StreamEntry
from twin.text import Text


def words_of(
    entry: StreamEntry, value: float | None, limit: float | None, moment: datetime, grades: Grades, zone: tzinfo
) -> Mapping[str, Text]:
    """Return the words for a stream's incident by the names of their placeholders."""
    digits = grades.digits(entry)
    grade = grades.title(entry, value, moment) if value is not None else None
    return {
        **{name: number(n, digits) for name, n in (("value", value), ("limit", limit)) if n is not None},
        **({"grade": grade} if grade else {}),
        "unit": same(entry.unit or ""), "stream": same(entry.code), "name": same(entry.name),
        "thing": same(entry.thing_name), "layer": same(entry.layer), "time": clock(moment, zone),
        "count": number(1, 0),
    }  # fmt: skip


def number(value: float, digits: int) -> Text:
    """Write a number as each language does."""
    if not math.isfinite(value):
        return same("—")
    return Text(en="{n:,.{d}f}", vi="{n:,.{d}f}").format(n=value, d=digits)


def clock(moment: datetime, zone: tzinfo) -> Text:
    """Write a moment by the city's clock."""
    return same(moment.astimezone(zone).strftime("%Y-%m-%d %H:%M"))


def same(text: str) -> Text:
    """Return a text that is the same in both languages."""
    return Text(en=text, vi=text)

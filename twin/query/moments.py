"""Moments and intervals as requests write them (RFC 3339), brought to UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from twin.errors import BadInput
from twin.text import Text

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")
OPEN = ("", "..")


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, both included; None is open."""

    start: datetime | None
    end: datetime | None


def _refuse(name: str, text: str) -> BadInput:
    return BadInput(
        Text(
            en="{name}: “{text}” is not a date or time. Examples: 2026-11-20, 2026-11-20T08:30:00+07:00",
            vi="{name}: “{text}” không phải ngày hay giờ. Ví dụ: 2026-11-20, 2026-11-20T08:30:00+07:00",
        ).format(name=name, text=text[:60])
    )


def read_day(text: str, name: str) -> date:
    """Read a full date."""
    if DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise _refuse(name, text)


def read_moment(text: str, name: str, *, end_of_day: bool = False) -> datetime:
    """Read a time with its zone, or a date: its first moment in UTC, or its last."""
    try:
        if DAY.fullmatch(text):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1, microseconds=-1) if end_of_day else day
        if MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _refuse(name, text)


def read_span(start: str, end: str, name: str) -> Span:
    """Read both ends of an interval, `..` for open; the end may not come before the start."""
    first = None if start in OPEN else read_moment(start, name)
    last = None if end in OPEN else read_moment(end, name, end_of_day=True)
    if first and last and last < first:
        raise BadInput(
            Text(
                en="{name}: the interval ends before it begins.",
                vi="{name}: khoảng thời gian kết thúc trước khi bắt đầu.",
            ).format(name=name)
        )
    return Span(first, last)


def read_datetime(text: str, name: str = "datetime") -> Span:
    """Read OGC's parameter `datetime`: a moment, or an interval with a slash. A date means the whole day."""
    start, slash, end = text.partition("/")
    if slash:
        return read_span(start, end, name)
    return Span(read_moment(start, name), read_moment(start, name, end_of_day=True))

"""Dates and times as people write them: the year first as ISO has it, or the day first as in Vietnam."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ingest.checks.faults import Mask

# What is never guessed: 3/25/2024 has no month 25, and 2024 alone has no day.
_FORMS = tuple(
    re.compile(form + r"(?:[T,\s]\s*(?P<time>\d.*))?")
    for form in (
        r"(?P<day>\d{1,2})([/.-])(?P<month>\d{1,2})\2(?P<year>\d{4})",
        r"(?P<year>\d{4})([/.-])(?P<month>\d{1,2})\2(?P<day>\d{1,2})",
        r"(?P<year>(?:1[5-9]|2\d)\d\d)(?P<month>\d\d)(?P<day>\d\d)",
    )
)
_CLOCK = re.compile(r"(\d{1,2})([:hH]\d{2}.*)")


def moments(values: pd.Series, zone: tzinfo = UTC) -> tuple[Any, Mask]:
    """Moments in UTC, and which values are none. A time without a zone is one of the clock in `zone`."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        local = values if values.dt.tz is not None else values.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        return local.dt.tz_convert(UTC).array, local.isna().to_numpy()
    found = _each(values, lambda text: _moment(text, zone))
    return pd.to_datetime(pd.Series(found, dtype=object), utc=True).array, pd.isna(found)


def dates(values: pd.Series, zone: tzinfo = UTC) -> tuple[npt.NDArray[np.object_], Mask]:
    """Dates, and which values are none. Of a time with a zone it is the day on the clock in `zone`."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        local = values if values.dt.tz is None else values.dt.tz_convert(zone)
        return local.dt.date.where(local.notna(), None).to_numpy(dtype=object), local.isna().to_numpy()
    found = _each(values, lambda text: _day(text, zone))
    return found, pd.isna(found)


def _each(values: pd.Series, read: Callable[[str], object]) -> npt.NDArray[np.object_]:
    found = np.full(len(values), None, dtype=object)
    for row, value in enumerate(values.to_numpy(dtype=object)):
        if value is None or value is pd.NaT or value is pd.NA or value != value:
            continue
        # A spreadsheet's number 20240305 comes as 20240305.0.
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        found[row] = read(text.strip())
    return found


def _parts(text: str) -> tuple[date, time | None] | None:
    """The date that a text begins with, and the time of day behind it; None where it is not all of that kind."""
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
        if not found["time"]:
            return day, None
        clock = _CLOCK.fullmatch(found["time"].strip())
        if clock is None:
            return None
        hour, rest = clock[1], clock[2].replace("h", ":").replace("H", ":").replace(" ", "")
        return day, time.fromisoformat(f"{int(hour):02}{rest}")
    except ValueError:
        return None


def _moment(text: str, zone: tzinfo) -> datetime | None:
    parts = _parts(text)
    if parts is None:
        return None
    day, clock = parts
    moment = datetime.combine(day, clock or time())
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


def _day(text: str, zone: tzinfo) -> date | None:
    parts = _parts(text)
    if parts is None:
        return None
    day, clock = parts
    if clock is None or clock.tzinfo is None:
        return day
    try:
        return datetime.combine(day, clock).astimezone(zone).date()
    except OverflowError:
        return None

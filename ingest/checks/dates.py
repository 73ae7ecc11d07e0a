"""Dates and times as people write them: the year first as ISO has it, or the day first as in Vietnam."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
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
    """Return moments in UTC, and which values are none. A time without a zone is one of the clock in `zone`."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        local = values if values.dt.tz is not None else values.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        return local.dt.tz_convert(UTC).array, local.isna().to_numpy()
    found = _each(values, lambda text: _local(text, zone).astimezone(UTC))
    return pd.to_datetime(pd.Series(found, dtype=object), utc=True).array, pd.isna(found)


def dates(values: pd.Series, zone: tzinfo = UTC) -> tuple[npt.NDArray[np.object_], Mask]:
    """Return dates, and which values are none. Of a time with a zone it is the day on the clock in `zone`."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        local = values if values.dt.tz is None else values.dt.tz_convert(zone)
        # The last hours of the year 9999 lie in the next one on this clock.
        local = local.where(local.dt.year.between(1, 9999))
        return local.dt.date.where(local.notna(), None).to_numpy(dtype=object), local.isna().to_numpy()
    found = _each(values, lambda text: _local(text, zone).date())
    return found, pd.isna(found)


def _each(values: pd.Series, read: Callable[[str], object]) -> npt.NDArray[np.object_]:
    """Read each value; None where it is missing or `read` finds nothing in it."""
    found = np.full(len(values), None, dtype=object)
    for row, value in enumerate(values.to_numpy(dtype=object)):
        if value is None or value is pd.NaT or value is pd.NA or value != value:
            continue
        # A spreadsheet's number 20240305 comes as 20240305.0.
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        with suppress(ValueError, OverflowError):
            found[row] = read(text.strip())
    return found


def _local(text: str, zone: tzinfo) -> datetime:
    """Return the moment that a text names, on the clock in `zone`; a day is its midnight. A ValueError where it names
    none, an OverflowError where that clock has no such year.
    """
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        raise ValueError(text)
    day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    moment = datetime.combine(day, _clock(found["time"]) if found["time"] else time())
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def _clock(text: str) -> time:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    rest = found[2].replace("h", ":").replace("H", ":").replace(" ", "")
    return time.fromisoformat(f"{int(found[1]):02}{rest}")

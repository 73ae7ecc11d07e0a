"""Reading observations from JSON: what SensorThings writes, and the short forms that small devices send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from twin.errors import BadInput
from twin.streams.writer import Observation
from twin.text import Text

# Numbers above this are milliseconds: as seconds they would lie after the year 5000.
MILLISECONDS_FROM = 1e11

_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)


def read_time(value: object) -> datetime:
    """Read a moment: ISO 8601 with its zone, or seconds or milliseconds since 1970.

    Raises
    ------
    BadInput
        If it is neither, or has no zone: a clock that shows local time would be hours wrong in silence.

    Examples
    --------
    >>> read_time("2024-10-18T17:00:00+07:00").isoformat()
    '2024-10-18T10:00:00+00:00'
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1000 if abs(value) > MILLISECONDS_FROM else value, UTC)
        except (ValueError, OverflowError, OSError):
            raise _no_time(value) from None
    if not isinstance(value, str):
        raise _no_time(value)
    # An unescaped plus in an address arrives as a blank.
    text = value.strip().replace(" ", "+") if re.search(r"T[\d:.]+ \d\d:?\d\d$", value.strip()) else value.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _no_time(value) from None
    if moment.tzinfo is None:
        raise BadInput(
            Text(
                en="The time “{time}” has no zone. Write it as {time}+07:00, or in UTC with Z.",
                vi="Thời điểm “{time}” không có múi giờ. Hãy ghi {time}+07:00, hoặc giờ UTC với Z.",
            ).format(time=text[:40])
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _no_time(value) from None


def read_interval(value: object) -> tuple[datetime, datetime | None]:
    """Read a moment or an interval `start/end`; the end is None for a moment."""
    if isinstance(value, str) and "/" in value:
        first, _, last = value.partition("/")
        start, end = read_time(first), read_time(last)
        if end < start:
            raise BadInput(
                Text(
                    en="The interval “{value}” ends before it begins.",
                    vi="Khoảng “{value}” kết thúc trước khi bắt đầu.",
                ).format(value=value[:80])
            )
        return start, end
    return read_time(value), None


def read_observation(stream: int, given: object, received: datetime) -> Observation:
    """Read one observation of a stream.

    Parameters
    ----------
    stream : int
    given : object
        Decoded JSON: a number; `{"value": 12.5, "time": "…Z", "unit": "mm"}`; or an Observation of SensorThings with
        `result`, `phenomenonTime`, `resultTime`, `validTime`, `resultQuality`, `parameters`.
    received : datetime
        The time of an observation that names none.

    Raises
    ------
    BadInput
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Observation(stream, received, float(given))
    if not isinstance(given, Mapping):
        raise BadInput(
            Text(
                en="An observation is a number or an object with “value” and “time”.",
                vi="Một giá trị đo là một số, hoặc đối tượng có “value” và “time”.",
            )
        )
    if "result" not in given and "value" not in given:
        raise BadInput(
            Text(
                en="The observation has neither “result” nor “value”.",
                vi="Giá trị đo không có “result” cũng không có “value”.",
            )
        )
    stamp = next((given[name] for name in ("phenomenonTime", "time") if given.get(name) is not None), None)
    time, until = read_interval(stamp) if stamp is not None else (received, None)
    result = given["result"] if "result" in given else given["value"]
    unit = given.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise BadInput(Text(en="A unit is a text, such as “mm”.", vi="Đơn vị là chữ, ví dụ “mm”."))
    number, detail = _result(result)
    if until is not None:
        detail["until"] = until
    if given.get("resultTime") is not None:
        detail["result_time"] = read_time(given["resultTime"])
    if given.get("validTime") is not None:
        detail["valid_from"], detail["valid_until"] = read_interval(given["validTime"])
    for name, key in (("resultQuality", "quality"), ("parameters", "parameters")):
        if given.get(name) is not None:
            detail[key] = given[name]
    return Observation(stream, time, number, unit, 0, detail or None)


def _result(result: object) -> tuple[float | None, dict[str, Any]]:
    """Return a result as a number, or as JSON where it is none."""
    if isinstance(result, bool):
        return float(result), {"result": result}
    if isinstance(result, int | float):
        try:
            return float(result), {}
        except OverflowError:
            return None, {"result": str(result)}
    if result is None:
        return None, {}
    if isinstance(result, str):
        # Devices send NaN as text, for JSON has no word for it; and numbers between quotation marks.
        try:
            return float(result), {}
        except ValueError:
            return None, {"result": result}
    return None, {"result": result}


def _no_time(value: object) -> BadInput:
    return BadInput(
        Text(
            en="“{value}” is no time. Write it as 2026-05-31T08:00:00+07:00, or as seconds since 1970.",
            vi="“{value}” không phải thời điểm. Hãy ghi 2026-05-31T08:00:00+07:00, hoặc số giây từ 1970.",
        ).format(value=str(value)[:60])
    )

"""Observations from a JSON document, by the mapping of a poller."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ingest.streams.poller_spec import PolledValue, PollerSpec
from twin.errors import BadInput
from twin.text import Text

MOST_RECORDS = 100_000
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
ABSENT = object()


def follow(document: Any, path: str) -> Any:
    """Return what stands at a path with dots; numbers count in lists from 0; ABSENT where there is nothing.

    Examples
    --------
    >>> follow({"data": [{"mm": 3}]}, "data.0.mm")
    3
    """
    for step in path.split(".") if path else ():
        if isinstance(document, dict):
            document = document.get(step, ABSENT)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return ABSENT
    return document


def records_of(content: bytes, spec: PollerSpec) -> Sequence[Any]:
    """Return the records of a document.

    Raises
    ------
    BadInput
        If it is no JSON, or has no list at the path.
    """
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput(Text(en="The answer is no JSON.", vi="Trả lời không phải JSON.")) from None
    found = follow(document, spec.records)
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise BadInput(
            Text(en="The answer has no list at “{path}”.", vi="Trả lời không có danh sách tại “{path}”.").format(
                path=spec.records
            )
        )
    if len(found) > MOST_RECORDS:
        raise BadInput(
            Text(en="The answer has more than {most:,} records.", vi="Trả lời có hơn {most:,} bản ghi.").format(
                most=MOST_RECORDS
            )
        )
    return found


def values_of(record: Any, spec: PollerSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the code of each value that a record has, with the observation as `read_observation` reads it.

    Raises
    ------
    BadInput
        If the record lacks what the mapping names.
    """
    moment = _time(record, spec)
    for of in spec.value:
        value = follow(record, of.value)
        if value is ABSENT:
            continue
        given = {"value": value, "unit": _unit(record, of)}
        yield _code(record, of.code), given if moment is None else given | {"time": moment}


def _code(record: Any, template: str) -> str:
    def filled(match: re.Match[str]) -> str:
        return str(_require(record, match[1]))

    return PLACEHOLDER.sub(filled, template)


def _unit(record: Any, of: PolledValue) -> Any:
    return of.unit if of.unit_field is None else _require(record, of.unit_field)


def _time(record: Any, spec: PollerSpec) -> str | float | None:
    """Return a record's time as `read_time` takes it."""
    if spec.time is None:
        return None
    given = _require(record, spec.time)
    if spec.zone is None or not isinstance(given, str):
        return given  # type: ignore[no-any-return]  # read_time refuses what is no time
    try:
        moment = datetime.fromisoformat(given.strip())
    except ValueError:
        return given
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(spec.zone))).isoformat()


def _require(record: Any, path: str) -> Any:
    found = follow(record, path)
    if found is ABSENT or found is None or isinstance(found, dict | list):
        raise BadInput(
            Text(en="A record has no “{path}”.", vi="Một bản ghi không có “{path}”.").format(path=path)
        )  # fmt: skip
    return found

"""Pages by key: the sort keys of a feature say where a page begins, so that any page costs what the first does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from twin.errors import BadInput
from twin.query.expressions import CASTS, COLLATE, Parameters
from twin.query.queryables import Kind, Queryable
from twin.text import Text

MAX_KEYS = 5
SORTABLE: tuple[Kind, ...] = ("text", "number", "boolean", "date", "time")

BAD_TOKEN = Text(
    en="token: this is not a token of this address. Follow the links “next” and “prev” as they are.",
    vi="token: mã trang không thuộc địa chỉ này. Hãy dùng nguyên liên kết “next” và “prev”.",
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One thing to sort by. Features without a value come last, either way."""

    of: Queryable
    descending: bool

    @property
    def sql(self) -> str:
        """The key in SQL, in an order that is the same on every server."""
        return f"{self.of.sql} {COLLATE}" if self.of.kind == "text" else self.of.sql


@dataclass(frozen=True, slots=True)
class PageStart:
    """A place between two features: after the one with these keys, or before it."""

    version: int
    forward: bool
    keys: tuple[Any, ...]
    fid: int


def read_sortby(text: str, known: Mapping[str, Queryable]) -> tuple[SortKey, ...]:
    """Read `name,-other`: rising, or falling with a minus."""
    keys: list[SortKey] = []
    for part in text.split(","):
        name = part.strip().removeprefix("+").removeprefix("-")
        found = known.get(name)
        if found is None or found.kind not in SORTABLE or name in (k.of.name for k in keys) or len(keys) >= MAX_KEYS:
            sortable = ", ".join(q.name for q in known.values() if q.kind in SORTABLE)
            raise BadInput(
                Text(
                    en="sortby: “{part}” cannot be sorted by. Known: {known}; each once, at most {limit}.",
                    vi="sortby: không sắp xếp theo “{part}” được. Có: {known}; mỗi tên một lần, tối đa {limit}.",
                ).format(part=part[:60], limit=MAX_KEYS, known=sortable)
            )
        keys.append(SortKey(found, part.strip().startswith("-")))
    return tuple(keys)


def order_by(keys: Sequence[SortKey], forward: bool) -> str:
    """Return the ORDER BY that makes the pages; backwards it is the mirror image."""
    parts = []
    for key in keys:
        direction = "DESC" if key.descending is forward else "ASC"
        parts.append(f"{key.sql} {direction} NULLS {'LAST' if forward else 'FIRST'}")
    return ", ".join([*parts, "f.fid" if forward else "f.fid DESC"])


def beyond(keys: Sequence[SortKey], place: PageStart, parameters: Parameters) -> str:
    """Return the condition that a feature lies after the place (before it, when going backwards)."""
    fid = f"f.fid {'>' if place.forward else '<'} {parameters.add(place.fid, 'bigint')}"
    condition = fid
    # From the last key to the first: beyond by this key, or level with it and beyond by the rest.
    for key, value in reversed(list(zip(keys, place.keys, strict=True))):
        if value is None:
            level = f"{key.sql} IS NULL"
            further = "false" if place.forward else f"{key.sql} IS NOT NULL"
        else:
            bound = parameters.add(value, CASTS[key.of.kind])
            level = f"{key.sql} = {bound}"
            sign = ">" if key.descending is not place.forward else "<"
            further = f"{key.sql} {sign} {bound}" + (f" OR {key.sql} IS NULL" if place.forward else "")
        condition = f"(({further}) OR ({level} AND {condition}))"
    return condition


def write_token(place: PageStart, keys: Sequence[SortKey]) -> str:
    """Write a place as a token; it names the version, so that all pages are of one state of the layer."""
    parts = [place.version, place.forward, place.fid, _signature(keys), *place.keys]
    return base64.urlsafe_b64encode(orjson.dumps(parts, default=str)).decode().rstrip("=")


def read_token(token: str, keys: Sequence[SortKey]) -> PageStart:
    """Read a token. It only ever fills bound parameters, and each value must be of its key's kind."""
    try:
        version, forward, fid, signature, *values = parts = _unpacked(token)
        if signature != _signature(keys) or len(values) != len(keys):
            raise ValueError(signature)
        if not (_whole(version) and _whole(fid) and isinstance(forward, bool)):
            raise ValueError(parts)
        read = tuple(_value(value, key.of.kind) for value, key in zip(values, keys, strict=True))
    except (ValueError, TypeError, binascii.Error):
        raise BadInput(BAD_TOKEN) from None
    return PageStart(version, forward, read, fid)


def version_of_token(token: str) -> int:
    """Return the number of the version that a token is of."""
    try:
        version = _unpacked(token)[0]
    except (ValueError, TypeError, IndexError, KeyError, binascii.Error):
        raise BadInput(BAD_TOKEN) from None
    if not _whole(version):
        raise BadInput(BAD_TOKEN)
    number: int = version
    return number


def _unpacked(token: str) -> Any:
    return orjson.loads(base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4)))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _signature(keys: Sequence[SortKey]) -> str:
    return ",".join(("-" if key.descending else "") + key.of.name for key in keys)


def _value(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    match kind:
        case "text" if isinstance(value, str) and "\x00" not in value:
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case "date" if isinstance(value, str):
            return date.fromisoformat(value)
        case "time" if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment
    raise ValueError(value)

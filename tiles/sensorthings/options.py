"""Query options: `$filter`, `$expand` with options of its own, and the rest, read from an address."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import orjson

from tiles.sensorthings.errors import refuse
from tiles.sensorthings.model import TYPES, EntityType

PAGE = 100
MOST_PAGE = 1_000
MOST_SKIP = 10_000_000
# Expansions of one request, and how deeply they may be nested.
MOST_EXPANDED = 30
DEEPEST = 8
KNOWN = frozenset(
    {"$filter", "$select", "$expand", "$orderby", "$top", "$skip", "$count", "$resultFormat", "$skiptoken"}
)


@dataclass(slots=True)
class Options:
    """What is asked of a set. `raw` has the options as they were written, for the links to further pages."""

    filter: str | None = None
    order: tuple[tuple[str, bool], ...] = ()
    top: int = PAGE
    skip: int = 0
    count: bool = False
    select: tuple[str, ...] | None = None
    expand: dict[str, Options] = field(default_factory=dict)
    data_array: bool = False
    after: list[Any] | None = None
    raw: dict[str, str] = field(default_factory=dict)

    def link(self, address: str, token: str) -> str:
        """Return the address of the next page."""
        kept = {k: v for k, v in self.raw.items() if k not in ("$skip", "$skiptoken")} | {"$skiptoken": token}
        return address + "?" + "&".join(f"{name}={quote(value, safe=SAFE)}" for name, value in kept.items())


SAFE = "$(),/':;@="


def read_query(query: bytes, entity: EntityType, further: frozenset[str] = frozenset()) -> Options:
    """Read the options of an address.

    Raises
    ------
    BadInput
        If one is not known, is given twice or cannot be read.
    """
    given: dict[str, str] = {}
    for part in query.decode("latin-1").split("&"):
        if not part:
            continue
        name, _, value = (unquote(text.replace("+", " "), errors="replace") for text in part.partition("="))
        if name in given or (name not in KNOWN and name not in further):
            raise refuse(
                "“{name}” is not an option here, or it is given twice. Known: {known}.",
                "“{name}” không phải tùy chọn ở đây, hoặc xuất hiện hai lần. Có: {known}.",
                name=name, known=", ".join(sorted(KNOWN)),
            )  # fmt: skip
        given[name] = value
    options = read_options({k: v for k, v in given.items() if k in KNOWN}, entity)
    options.raw |= {k: v for k, v in given.items() if k in further}
    return options


def read_options(given: Mapping[str, str], entity: EntityType, depth: int = 0) -> Options:
    """Read options by their names, of a request or of an expansion."""
    options = Options(raw=dict(given))
    options.filter = given.get("$filter")
    if "$top" in given:
        options.top = min(_number("$top", given["$top"], 2**31 - 1), MOST_PAGE)
    if "$skip" in given:
        options.skip = _number("$skip", given["$skip"], MOST_SKIP)
    if "$count" in given:
        options.count = _truth(given["$count"])
    if "$select" in given:
        options.select = _selected(given["$select"], entity)
    if "$orderby" in given:
        options.order = tuple(_order(part) for part in split(given["$orderby"], ","))
        if len(options.order) > 8:
            raise refuse("$orderby takes at most 8 keys.", "$orderby nhận tối đa 8 khóa.")
    if "$resultFormat" in given:
        if given["$resultFormat"] != "dataArray" or entity.name != "Observation":
            raise refuse(
                "$resultFormat is “dataArray”, of Observations alone.",
                "$resultFormat chỉ là “dataArray”, và chỉ cho Observations.",
            )
        options.data_array = True
    if "$skiptoken" in given:
        options.after = read_token(given["$skiptoken"])
    if "$expand" in given:
        options.expand = _expanded(given["$expand"], entity, depth)
        if depth == 0 and _size(options) > MOST_EXPANDED:
            raise refuse(
                "$expand names more than {most} expansions.", "$expand nêu hơn {most} phần mở rộng.", most=MOST_EXPANDED
            )
    return options


def split(text: str, at: str) -> Iterator[str]:
    """Give the parts of a text between signs that stand outside of brackets and quotation marks."""
    depth, quoted, start = 0, False, 0
    for position, sign in enumerate(text):
        if sign == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth < 0:
                break
        elif sign == at and depth == 0:
            yield text[start:position]
            start = position + 1
    if depth or quoted:
        raise refuse(
            "“{text}”: a bracket or a quotation mark has no partner.",
            "“{text}”: thiếu dấu ngoặc hoặc dấu nháy tương ứng.",
            text=text,
        )
    yield text[start:]


def make_token(values: list[str | None]) -> str:
    """Write the key of a page's last row."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def read_token(text: str) -> list[str | None]:
    """Read what `make_token` wrote."""
    try:
        values = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, UnicodeEncodeError):
        values = None
    if not isinstance(values, list) or not all(v is None or isinstance(v, str) for v in values):
        raise refuse(
            "$skiptoken is part of a nextLink: take it from there as it is.",
            "$skiptoken là một phần của nextLink: hãy dùng nguyên văn.",
        )
    return values


def _expanded(text: str, entity: EntityType, depth: int) -> dict[str, Options]:
    if depth >= DEEPEST:
        raise refuse("$expand is nested too deeply.", "$expand lồng quá sâu.")
    found: dict[str, Options] = {}
    for part in split(text, ","):
        path, bracket, inner = part.strip().partition("(")
        if bracket and not inner.endswith(")"):
            raise refuse("$expand: “{text}” cannot be read.", "$expand: không đọc được “{text}”.", text=part)
        name, slash, rest = path.partition("/")
        navigation = entity.navigations.get(name.strip())
        if navigation is None:
            raise refuse(
                "$expand: {entity} has no “{name}”. It has: {known}.",
                "$expand: {entity} không có “{name}”. Có: {known}.",
                entity=entity.name, name=name, known=", ".join(entity.navigations),
            )  # fmt: skip
        target = TYPES[navigation.target]
        if slash:
            options = read_options({"$expand": rest + bracket + inner}, target, depth + 1)
        else:
            options = read_options(dict(_assigned(inner[:-1])) if bracket else {}, target, depth + 1)
        if options.data_array or options.after is not None:
            raise refuse(
                "$expand takes neither $resultFormat nor $skiptoken.",
                "$expand không nhận $resultFormat hay $skiptoken.",
            )
        found[navigation.name] = _merged(found[navigation.name], options) if navigation.name in found else options
    return found


def _assigned(text: str) -> Iterator[tuple[str, str]]:
    names = set()
    for part in split(text, ";"):
        if not part.strip():
            continue
        name, sign, value = part.strip().partition("=")
        if not sign or name not in KNOWN or name in names:
            raise refuse(
                "$expand: “{text}” is not an option, or it is given twice.",
                "$expand: “{text}” không phải tùy chọn, hoặc xuất hiện hai lần.",
                text=part,
            )
        names.add(name)
        yield name, value


def _merged(first: Options, second: Options) -> Options:
    """Return one expansion for two that name the same way: `A/B,A/C` is `A($expand=B,C)`."""
    for name, options in second.expand.items():
        first.expand[name] = _merged(first.expand[name], options) if name in first.expand else options
    expand = ",".join(filter(None, (first.raw.get("$expand"), second.raw.get("$expand"))))
    first.raw = {**first.raw, **second.raw} | ({"$expand": expand} if expand else {})
    for name in ("filter", "order", "select", "top", "skip", "count"):
        key = "$orderby" if name == "order" else f"${name}"
        if key in second.raw:
            setattr(first, name, getattr(second, name))
    return first


def _size(options: Options) -> int:
    return sum(1 + _size(inner) for inner in options.expand.values())


def _selected(text: str, entity: EntityType) -> tuple[str, ...]:
    names = tuple(part.strip().removeprefix("@iot.") for part in text.split(","))
    for name in names:
        if name not in ("id", "selfLink", "*") and name not in entity.properties and name not in entity.navigations:
            raise refuse(
                "$select: {entity} has no “{name}”. It has: {known}.",
                "$select: {entity} không có “{name}”. Có: {known}.",
                entity=entity.name, name=name, known=", ".join((*entity.properties, *entity.navigations)),
            )  # fmt: skip
    return () if "*" in names else names


def _order(text: str) -> tuple[str, bool]:
    words = text.strip()
    for ending, descending in ((" desc", True), (" asc", False)):
        if words.endswith(ending):
            return words.removesuffix(ending).strip(), descending
    return words, False


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise refuse(
            "{name} is a number from 0: {name}=20", "{name} là một số từ 0 trở lên: {name}=20", name=name
        )  # fmt: skip
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise refuse("$count is true or false.", "$count là true hoặc false.")
    return text == "true"

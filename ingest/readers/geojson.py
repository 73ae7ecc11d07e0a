"""GeoJSON beside GDAL: a scan before it reads, and the ids of features, which it numbers anew."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from ingest.readers.limits import Limits, exceeded
from ingest.readers.source import DAMAGED_AT, cannot_read

CHUNK = 1 << 20
# The last letters of a name distinguish it from others.
ENOUGH = 200
_END_OF_NAME = re.compile(rb'"\s*:')
# Names inside nested values count here too, though they make no column: the line is drawn well above the limit.
_SLACK = 10
_ID = re.compile(rb'"id"\s*:')
# Escapes of characters that GDAL cannot hold: it ends a text at a zero. The backslash before must itself stand alone.
_ZERO = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*\\u[dD](?:([89abAB])|[c-fC-F])[0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?"
)
# Integers of properties that may not fit into 64 bits: GDAL makes floating-point numbers of those.
_WIDE = re.compile(rb'(?<!\\)("\s*:\s*)(-?\d{19,})(?=\s*[,}\]])')
# Those that GDAL keeps whole: negative ones of nineteen digits it rounds too, and those next to the end.
_INT64 = range(-(10**18) + 1, 2**63 - 1024)
# Coordinates are skipped in one go; else strings (with what makes them names), numbers of ids, and braces are steps.
_STEP = re.compile(
    rb'"coordinates"\s*:\s*[\[\]\d\s,.eE+\-]*|("(?:[^"\\]|\\.)*")\s*(?:(:)\s*(-?\d[\d.eE+\-]*)?)?|([{}])', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of a scan: whether features have ids beside their properties, a property “id”, texts to be mended, and
    integers of more than 64 bits.
    """

    ids: bool = False
    property_id: bool = False
    zeros: bool = False
    wide_integers: bool = False
    half_surrogates: int = 0


def scan(path: Path, limits: Limits, lines: bool) -> Findings:
    """Look through a file; refuse one with far too many names of properties, or one huge value."""
    names: set[bytes] = set()
    quiet = halves = 0
    zeros = has_id = wide = False
    with path.open("rb") as file:
        rest = b""
        while chunk := file.read(CHUNK):
            text = rest + chunk
            before = _END_OF_NAME.split(text)[:-1]
            names.update(part[part.rfind(b'"') + 1 :][-ENOUGH:] for part in before)
            # A text or a ring of coordinates has no quotation mark within: such a stretch is one object at most.
            quote = chunk.rfind(b'"')
            quiet = quiet + len(chunk) if quote < 0 else len(chunk) - quote
            if quiet > limits.object_bytes:
                raise exceeded(path.name, limits, "object_bytes")
            if len(names) > _SLACK * limits.columns:
                raise exceeded(path.name, limits, "columns")
            has_id = has_id or _ID.search(text) is not None
            zeros = zeros or b"\\u0000" in text
            wide = wide or any(int(m[2]) not in _INT64 for m in _WIDE.finditer(text))
            if b"\\ud" in chunk or b"\\uD" in chunk:
                halves += sum(not (m[1] and m[2]) for m in _SURROGATE.finditer(chunk))
            rest = chunk[-ENOUGH:]
    ids = property_id = False
    if has_id:
        for beside, value in _ids(path, lines):
            ids, property_id = ids or beside, property_id or value
            if ids and property_id:
                break
    return Findings(ids, property_id, zeros, wide, halves)


def check_lines(path: Path, limits: Limits) -> None:
    """Refuse a file with a line that is no JSON: GDAL passes over it in silence."""
    with path.open("rb") as file:
        if file.read(1) == b"\x1e":
            return
        file.seek(0)
        for number, line in enumerate(iter(lambda: file.readline(limits.object_bytes), b""), start=1):
            if len(line) >= limits.object_bytes:
                raise exceeded(path.name, limits, "object_bytes")
            if line.strip():
                try:
                    orjson.loads(line)
                except orjson.JSONDecodeError:
                    with suppress(ValueError):
                        json.loads(line)
                        continue
                    raise cannot_read(path, DAMAGED_AT.format(line=number)) from None


def readable_copy(path: Path, folder: Path) -> Path:
    """Copy a file so that GDAL reads all of it.

    Each escaped NUL becomes DEL, which the checks find, remove and name; in lists and objects too, since JSON does not
    escape it. Integers of more than 64 bits become texts, so that no digit is lost.
    """
    copy = folder / f"copy{path.suffix.lower() or '.geojson'}"
    with path.open("rb") as source, copy.open("xb") as target:
        rest = b""
        while chunk := source.read(CHUNK):
            text = rest + chunk
            # An escape or a number that the end of the chunk cuts through waits for the next one.
            cut = max(text.rfind(b'"'), text.rfind(b"["), 0)
            target.write(_readable(text[:cut]))
            rest = text[cut:]
        target.write(_readable(rest))
    return copy


def _readable(text: bytes) -> bytes:
    return _WIDE.sub(_as_text_if_wide, _ZERO.sub(b"\\1\x7f", text))


def _as_text_if_wide(found: re.Match[bytes]) -> bytes:
    return found[0] if int(found[2]) in _INT64 else found[1] + b'"' + found[2] + b'"'


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _ids(path: Path, lines: bool) -> Iterator[tuple[bool, bool]]:
    """For each feature, whether it has an id of its own, and whether it has a property of that name."""
    for found, in_properties in _walk(path, lines):
        yield found is not None, in_properties


def feature_ids(path: Path, lines: bool) -> Iterator[str | None]:
    """Yield the id of each feature in the file's order, a number as the file writes it; None where there is none."""
    for found, _ in _walk(path, lines):
        yield found


def _walk(path: Path, lines: bool) -> Iterator[tuple[str | None, bool]]:
    with _mapped(path) as content:
        # The braces of a feature: in a collection one further in, below the member "features".
        level = 1 if lines or _is_one_feature(content) else 2
        depth, member, inside, waiting = 0, b"", b"", False
        found: str | None = None
        in_properties = False
        for step in _STEP.finditer(content):
            text, colon, number, brace = step.groups()
            if brace is not None:
                waiting = False
                if brace == b"{":
                    depth += 1
                    if depth == level:
                        found, in_properties, member = None, False, member if level == 2 else b""
                else:
                    if depth == level and (level == 1 or member == b'"features"'):
                        yield found, in_properties
                    depth -= 1
            elif text is None:
                waiting = False
            elif waiting:
                # The value of an id.
                found, waiting = _text(text), False
            elif colon is not None:
                if depth == level and text == b'"id"':
                    if number is not None:
                        found = number.decode()
                    else:
                        after = content[step.end() : step.end() + 1]
                        waiting = after == b'"'
                elif depth == level + 1 and text == b'"id"' and inside == b'"properties"':
                    in_properties = True
                if depth == level:
                    inside = text
                elif depth == 1 and level == 2:
                    member = text


def _is_one_feature(content: mmap.mmap) -> bool:
    """Return whether the root of a document is a feature by itself, not a collection."""
    depth, key = 0, b""
    for step in _STEP.finditer(content):
        text, colon, _, brace = step.groups()
        if brace is not None:
            depth += 1 if brace == b"{" else -1
        elif text is not None and depth == 1:
            if colon is not None:
                if text == b'"features"':
                    return False
                key = text
            elif key == b'"type"':
                return text == b'"Feature"'
    return False


def _text(token: bytes) -> str:
    try:
        return str(json.loads(token)).encode("utf-8", "replace").decode()
    except ValueError:
        return token[1:-1].decode("utf-8", "replace")

"""Text of files that are older than Unicode: what encoding they declare, and how far that is to be believed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.readers.source import ENCODING_GIVEN
from twin.errors import BadInput
from twin.text import Text
from twin.text_encodings import text_encoding

# "Western European" is what programs write when nobody chose: Vietnamese text in TCVN3 or VNI declares it too.
_OF_DOS = frozenset({"cp437", "cp850"})
_NOBODY_CHOSE = frozenset({"cp1252", "iso8859-1", "ascii", "cp437", "cp850"})
# The language byte of a DBF file. Source: the ESRI and dBASE lists of language driver ids.
_LANGUAGE_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x57: "cp1252", 0x58: "cp1252", 0x4D: "cp936", 0x4E: "cp949",
    0x4F: "cp950", 0x50: "cp874", 0x7B: "cp932", 0x7A: "cp936", 0x79: "cp949", 0x78: "cp950", 0x7C: "cp874",
    0xC8: "cp1250", 0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253", 0x65: "cp866",
}  # fmt: skip
# Source: the character sets of the MapInfo interchange format.
_MAPINFO = {
    "windowslatin1": "cp1252", "windowslatin2": "cp1250", "windowsvietnamese": "cp1258", "utf-8": "utf-8",
    "windowsthai": "cp874", "windowssimpchinese": "cp936", "windowstradchinese": "cp950", "windowsjapanese": "cp932",
    "windowskorean": "cp949", "windowscyrillic": "cp1251", "iso8859_1": "iso8859-1", "utf8": "utf-8",
    "codepage437": "cp437", "codepage850": "cp850",
}  # fmt: skip

_LOOKED_AT = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Declared:
    """The encoding that a file declares, None if none, where it does, and whether its text proves that untrue.

    `sure`: the text is plainly of this encoding, though it is one that programs write when nobody chose. `doubtful`:
    a file beside it names this encoding, and the text may well be of another.
    """

    encoding: str | None
    where: str
    untrue: bool = False
    sure: bool = False
    doubtful: bool = False


class Decoder:
    """Turns the bytes of text columns into text: decoded where the encoding is sure, else a character a byte."""

    def __init__(self, given: str | None, declared: Declared, as_latin_1: bool) -> None:
        self.as_latin_1 = as_latin_1
        self.raw = False
        if given is not None:
            self.encoding: str | None = known_encoding(given)
            self.reason = ENCODING_GIVEN
        elif declared.untrue:
            self.encoding, self.raw = None, True
            self.reason = Text(
                en="{where} says {encoding}, but the text is not: it is decided for each column by what stands in it",
                vi="{where} ghi {encoding} nhưng nội dung không phải vậy: sẽ xác định cho từng cột theo nội dung",
            ).format(where=declared.where, encoding=declared.encoding)
        elif declared.encoding is None:
            self.encoding, self.raw = None, True
            self.reason = Text(
                en="the file declares no encoding: it is decided for each column by what stands in it",
                vi="tệp không khai báo bảng mã: sẽ xác định cho từng cột theo nội dung",
            )
        elif not declared.sure and codecs.lookup(declared.encoding).name in _NOBODY_CHOSE:
            self.encoding, self.raw = None, True
            self.reason = Text(
                en="{where} says {encoding}, which programs write unasked: it is decided for each column by what "
                "stands in it",
                vi="{where} ghi {encoding}, vốn do phần mềm tự ghi: sẽ xác định cho từng cột theo nội dung",
            ).format(where=declared.where, encoding=declared.encoding)
        else:
            self.encoding = known_encoding(declared.encoding)
            self.reason = Text(en="{where} says so", vi="{where} ghi như vậy").format(where=declared.where)

    def values(self, values: pa.Array) -> npt.NDArray[np.object_]:
        """Decode a column. Text comes as ISO 8859-1 made Unicode, or as the untouched bytes, as drivers give it."""
        encoding = self.encoding or "latin-1"
        texts = np.full(len(values), None, dtype=object)
        for i, value in enumerate(values.cast(pa.large_binary()).to_pylist()):
            if value is not None:
                stored = value.decode("utf-8").encode("latin-1") if self.as_latin_1 else value
                texts[i] = decode(stored, encoding)
        return texts

    def name(self, name: str) -> str:
        """Decode the name of a column; an undecided one is Unicode if it can be."""
        try:
            stored = name.encode("latin-1")
        except UnicodeEncodeError:
            return name
        try:
            return stored.decode(self.encoding or "utf-8")
        except UnicodeDecodeError:
            return name


def decode(value: bytes, encoding: str) -> str:
    """Decode one value; a last character that the width of the column cut through is left off."""
    try:
        return value.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start >= len(value) - 3:
            return value[: error.start].decode(encoding)
        return value.decode(encoding, "replace")


def known_encoding(name: str) -> str:
    """Return the canonical name of this encoding; refuse what is no text encoding."""
    return text_encoding(name)


def declared_by_shapefile(shp: Path) -> Declared:
    """Return what a Shapefile declares: its .cpg, else the language byte of its .dbf."""
    cpg, dbf = sibling(shp, ".cpg"), sibling(shp, ".dbf")
    if cpg is not None:
        stated = cpg.read_bytes()[:80].decode("ascii", "replace").strip()
        if encoding := _code_page(stated):
            untrue = encoding == "utf-8" and dbf is not None and not _is_unicode(dbf)
            texts = list(_texts(dbf)) if dbf is not None and encoding in _OF_DOS else []
            sure = _is_dos(texts)
            return Declared(encoding, cpg.name, untrue, sure, doubtful=bool(texts) and not sure)
    if dbf is not None:
        with dbf.open("rb") as file:
            header = file.read(32)
        if len(header) == 32 and (encoding := _LANGUAGE_DRIVERS.get(header[29])):
            return Declared(encoding, dbf.name, sure=encoding in _OF_DOS and _is_dos(_texts(dbf)))
    return Declared(None, shp.name)


def _is_unicode(dbf: Path) -> bool:
    """Return whether the text of a DBF file is UTF-8, as far as its first megabytes tell."""
    for value in _texts(dbf):
        try:
            value.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(value) - 3:
                return False
    return True


def _is_dos(texts: Iterable[bytes]) -> bool:
    """Return whether most letters are where the code pages of DOS have them, and all others control characters."""
    letters = controls = 0
    for text in texts:
        special = [byte for byte in text if byte > 127]
        letters += len(special)
        controls += sum(byte < 0xA0 for byte in special)
    return controls * 2 > letters


def _texts(dbf: Path) -> Iterator[bytes]:
    """Yield the different values with special letters in the text columns of a DBF file's first megabytes."""
    with dbf.open("rb") as file:
        header = file.read(32)
        start, width = int.from_bytes(header[8:10], "little"), int.from_bytes(header[10:12], "little")
        fields = file.read(max(0, start - 32))
        records = file.read(_LOOKED_AT)
    if not width:
        return
    at, texts = 1, []
    for field in range(0, len(fields) - 31, 32):
        if fields[field : field + 1] == b"\r":
            break
        size = fields[field + 16]
        if fields[field + 11 : field + 12] == b"C":
            texts.append((at, size))
        at += size
    rows = np.frombuffer(records, np.uint8, len(records) // width * width).reshape(-1, width)
    for begin, size in texts:
        column = rows[:, begin : begin + size]
        yield from {row.tobytes() for row in column[(column > 127).any(axis=1)]}


def _code_page(stated: str) -> str | None:
    plain = stated.strip("\"' ").lower()
    digits = re.fullmatch(r"(?:ansi|oem|cp|windows)?[ _-]*(\d{3,5})", plain)
    if plain.startswith("88591") or plain.startswith("8859"):
        digits = None
        plain = "iso8859-" + (plain[4:].lstrip("_-") or "1")
    if digits:
        plain = "utf-8" if digits[1] == "65001" else f"cp{digits[1]}"
    try:
        return text_encoding(plain)
    except BadInput:
        return None


CHARSET = re.compile(rb'^(\s*(?:Type\s+NATIVE\s+)?!?Charset\s+)"?([\w.-]+)"?', re.IGNORECASE | re.MULTILINE)


def declared_by_mapinfo(file: Path) -> Declared:
    """Return what the header of a .tab or .mif file declares."""
    with file.open("rb") as content:
        head = content.read(4096)
    found = [m[2].decode("ascii", "replace").lower() for m in CHARSET.finditer(head)]
    known = [_MAPINFO[name] for name in found if name in _MAPINFO]
    return Declared(known[-1] if known else None, file.name)


def sibling(file: Path, suffix: str) -> Path | None:
    """Return the file beside this one with the same name and another suffix, in whatever letter case."""
    for candidate in file.parent.iterdir():
        if candidate.stem == file.stem and candidate.suffix.lower() == suffix and candidate.is_file():
            return candidate
    return None

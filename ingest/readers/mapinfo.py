"""MapInfo TAB and MIF: only tables that hold their own data, with text left as bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ingest.readers.source import Reader, ReadOptions, cannot_read, link_plainly, workspace
from ingest.readers.text import CHARSET, declared_by_mapinfo, sibling
from ingest.readers.vector import VectorReader
from twin.text import Text

HEADER = 1 << 16
_NATIVE = re.compile(rb"^\s*Type\s+NATIVE\b", re.IGNORECASE | re.MULTILINE)
_OTHER_FILES = re.compile(
    rb"^\s*(Open\s+Table|Create\s+View|File\s+\")|IsSeamless\W+TRUE", re.IGNORECASE | re.MULTILINE
)
_DATA = re.compile(rb"^\s*Data\s*$", re.IGNORECASE | re.MULTILINE)
_OBJECT = re.compile(
    rb"\s*(Point|Line|Pline|Region|Arc|Text|Rect|Roundrect|Ellipse|Multipoint|Collection|None)\b", re.IGNORECASE
)
_PARTS = frozenset({".dat", ".map", ".id", ".ind", ".mid"})


def open_mapinfo(path: Path, format: str, options: ReadOptions) -> Reader:
    """Open a table; a view, a linked or a seamless table names other files and is refused.

    GDAL would convert text by the declared character set, which often is not the true one. So the table is read
    through a copy of its header that declares none; the text then arrives as the bytes that were written.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
    if path.suffix.lower() == ".tab" and (not _NATIVE.search(head) or _OTHER_FILES.search(head)):
        raise cannot_read(
            path,
            Text(
                en="it is a view of other tables; save it as a table of its own (File, Save Copy As)",
                vi="đây là bảng tham chiếu bảng khác; hãy lưu thành bảng độc lập (File, Save Copy As)",
            ),
        )
    declared = declared_by_mapinfo(path)
    folder = workspace(options)
    try:
        copy = _neutral_copy(path, folder)
        reader = VectorReader(path, options, format, "MapInfo File", declared, read_from=copy)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    reader.own(folder)
    values = sibling(path, ".mid") if path.suffix.lower() == ".mif" else None
    count = _objects(path) if values is not None else None
    if values is not None and count is not None and (rows := _rows(values)) != count:
        reader.note(
            "rows.left_out",
            Text(
                en="{mid} has {rows} rows, {mif} {count} objects", vi="{mid} có {rows} dòng, {mif} có {count} đối tượng"
            ).format(mid=values.name, rows=rows, mif=path.name, count=count),
        )
    return reader


def _objects(mif: Path) -> int | None:
    """Return how many objects a .mif file has; None where collections make that hard to tell."""
    count, begun = 0, False
    with mif.open("rb") as file:
        for line in file:
            begun = begun or _DATA.match(line) is not None
            if begun and (found := _OBJECT.match(line)):
                if found[1].lower() == b"collection":
                    return None
                count += 1
    return count


def _rows(values: Path) -> int:
    """Return how many rows a .mid file has; a quoted value may go over several lines."""
    rows, quotes = 0, 0
    with values.open("rb") as file:
        for line in file:
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                rows += bool(line.strip())
    return rows + quotes % 2


def _neutral_copy(path: Path, folder: Path) -> Path:
    """Copy a .tab or .mif file with its character set taken out, beside links to the files that belong to it."""
    copy = link_plainly(path, folder, _PARTS)
    with path.open("rb") as source, copy.open("xb") as target:
        head = CHARSET.sub(rb'\1"Neutral"', source.read(HEADER))
        end = _DATA.search(head)
        names = head[: end.start()] if end else head
        # Names of columns must be UTF-8 to be handed over: a character for each byte, which the decoder takes back.
        target.write(names.decode("latin-1").encode() + head[len(names) :])
        shutil.copyfileobj(source, target)
    return copy

"""XLSX workbooks with coordinates or WKT, read as a stream of rows."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from ingest.limits import exceeded
from ingest.readers.archive import members
from ingest.readers.source import ReadOptions, cannot_read, choose_layer
from ingest.readers.table import Rows, TableReader
from ingest.readers.xml import refuse_doctype
from twin.text import Text

# What Excel itself can hold.
MAX_ROWS = 1_048_576
SHARED_STRINGS = "xl/sharedStrings.xml"
# A title or two may stand above the names of the columns.
HEADER_WITHIN = 20
ERRORS = (
    zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, TypeError, AttributeError, IndexError,
    OSError, EOFError, OverflowError,
)  # fmt: skip


class XlsxReader(TableReader):
    """One sheet of a workbook. Formulas give the values that were stored with them; every column is text."""

    format = "XLSX"
    driver = "openpyxl"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        self._check_parts()
        with self._book() as book:
            sheets = [sheet.title for sheet in book.worksheets if any(True for _ in self._values(sheet))]
        self.layers = tuple(sheets)
        if not sheets:
            raise cannot_read(path, Text(en="it has no rows", vi="không có dòng nào"))
        self.layer = choose_layer(path.name, self.layers, options.layer)
        header, sample = self._find_header()
        self._begin(header, sample)

    def _check_parts(self) -> None:
        """Look at the parts of the file before the library does: sizes, and no document types."""
        with zipfile.ZipFile(self.path) as archive:
            for part in members(self.path, self.limits):
                if part.filename == SHARED_STRINGS and part.file_size > self.limits.document_bytes:
                    raise exceeded(self.path.name, self.limits, "document_bytes")
                if part.filename.lower().endswith((".xml", ".rels", ".vml")):
                    try:
                        with archive.open(part) as file:
                            refuse_doctype(self.path, file)
                    except (zipfile.BadZipFile, OSError, EOFError) as error:
                        raise cannot_read(self.path, error) from None

    def _book(self) -> Any:
        from contextlib import closing

        try:
            return closing(openpyxl.load_workbook(self.path, read_only=True, data_only=True, keep_links=False))
        except ERRORS as error:
            raise cannot_read(self.path, error) from None

    def _values(self, sheet: Any) -> Iterator[list[str | None]]:
        """The rows of a sheet that are not empty."""
        sheet.reset_dimensions()
        try:
            for row in sheet.iter_rows(max_row=MAX_ROWS, values_only=True):
                values = [_text(value) for value in row]
                while values and values[-1] is None:
                    values.pop()
                if values:
                    yield values
        except ERRORS as error:
            raise cannot_read(self.path, error) from None

    def _find_header(self) -> tuple[list[str], list[str | None]]:
        with self._book() as book:
            first: list[list[str | None]] = []
            for row in self._values(book[self.layer]):
                first.append(row)
                if len(first) > HEADER_WITHIN:
                    break
        filled = [sum(v is not None for v in row) for row in first]
        # The names are the first row that is about as full as the fullest.
        self._skip = next(i for i, n in enumerate(filled) if n >= max(filled) * 0.6)
        header = first[self._skip]
        width = max(len(row) for row in first[self._skip :])
        names = [value or "" for value in header] + [""] * (width - len(header))
        return names, first[self._skip + 1] if len(first) > self._skip + 1 else []

    def _rows(self, rows: int) -> Iterator[Rows]:
        with self._book() as book:
            waiting: Rows = []
            for number, row in enumerate(self._values(book[self.layer])):
                if number <= self._skip:
                    continue
                waiting.append(row)
                if len(waiting) == rows:
                    yield waiting
                    waiting = []
            if waiting:
                yield waiting


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        if isinstance(value, datetime.datetime) and value.time() == datetime.time():
            return value.date().isoformat()
        return value.isoformat()
    return str(value).strip() or None

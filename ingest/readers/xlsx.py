"""XLSX workbooks with coordinates or WKT, read as a stream of rows."""

from __future__ import annotations

import datetime
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import geopandas as gpd
import openpyxl
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._reader import FORMULA_TAG, VALUE_TAG, WorkSheetParser

from ingest.frames import objects, with_columns
from ingest.readers.archive import members
from ingest.readers.limits import exceeded
from ingest.readers.source import PROBLEM, ReadOptions, cannot_read, choose_layer
from ingest.readers.table import SAMPLE, Rows, TableReader
from ingest.readers.xml import refuse_doctype
from twin.errors import BadInput
from twin.text import Text

# What Excel itself can hold.
MAX_ROWS = 1_048_576
SHARED_STRINGS = "xl/sharedStrings.xml"
# A title or two may stand above the names of the columns.
HEADER_WITHIN = 20
# Excel keeps 15 digits of a number.
INEXACT_FROM = 1e15
FORMULA = object()
ERRORS = (
    zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, TypeError, AttributeError, IndexError,
    OSError, EOFError, OverflowError, zlib.error, NotImplementedError, RuntimeError,
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
        self._begin(*self._find_header())

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
                    except ERRORS as error:
                        raise _unreadable(self.path, error) from None

    def _book(self) -> Any:
        try:
            return closing(openpyxl.load_workbook(self.path, read_only=True, data_only=True, keep_links=False))
        except ERRORS as error:
            raise _unreadable(self.path, error) from None

    def _values(self, sheet: Any) -> Iterator[XlsxRow]:
        """Yield the rows of a sheet that are not empty."""
        widths = _padded(sheet.parent)
        try:
            with sheet._get_source() as source:
                parser = _Parser(
                    source, sheet._shared_strings, data_only=True, epoch=sheet.parent.epoch,
                    date_formats=sheet.parent._date_formats, timedelta_formats=sheet.parent._timedelta_formats,
                )  # fmt: skip
                for number, cells in parser.parse():
                    if number > MAX_ROWS:
                        break
                    row = XlsxRow()
                    for cell in cells:
                        value = cell["value"]
                        if value is None:
                            continue
                        place = cell["column"] - 1
                        if place >= self.limits.columns:
                            raise exceeded(self.path.name, self.limits, "columns")
                        row.extend([None] * (place + 1 - len(row)))
                        if value is FORMULA:
                            row.formulas.append(place)
                            continue
                        if type(value) in (int, float) and abs(value) >= INEXACT_FROM:
                            row.inexact.append(place)
                        row[place] = _text(value, widths.get(cell.get("style_id", 0), 0))
                    while row and row[-1] is None and len(row) - 1 not in row.formulas:
                        row.pop()
                    if row:
                        yield row
        except ERRORS as error:
            raise _unreadable(self.path, error) from None

    def _find_header(self) -> tuple[list[str], list[XlsxRow]]:
        with self._book() as book:
            first = list(islice(self._values(book[self.layer]), HEADER_WITHIN + SAMPLE))
            beginning = first[: HEADER_WITHIN + 1]
        filled = [sum(v is not None for v in row) for row in beginning]
        # The names are the first row that is about as full as the fullest.
        self._skip = next(i for i, n in enumerate(filled) if n >= max(filled) * 0.6)
        header = first[self._skip]
        width = max(len(row) for row in first[self._skip :])
        names = [value or "" for value in header] + [""] * (width - len(header))
        return names, first[self._skip + 1 :]

    def _batch(self, rows: Rows) -> gpd.GeoDataFrame:
        batch = super()._batch(rows)
        problems = batch[PROBLEM].to_numpy(dtype=object).copy()
        place = {
            self._header.index(n)
            for n in (self._coordinates.x, self._coordinates.y, self._coordinates.wkt)
            if n is not None
        }
        for i, row in enumerate(rows):
            if not isinstance(row, XlsxRow) or problems[i] is not None:
                continue
            if row.formulas:
                code = "geometry.formula" if place & set(row.formulas) else "value.formula"
                problems[i] = f"{code}: {self._named(row.formulas)}"
            elif row.inexact:
                problems[i] = f"value.inexact: {self._named(row.inexact)}"
        return with_columns(batch, {PROBLEM: objects(problems, len(batch))})

    def _named(self, columns: list[int]) -> str:
        return ", ".join(self._header[c] for c in columns if c < len(self._header))

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


class XlsxRow(list[str | None]):
    """A row's values as text, and the places of cells that lost something: formulas without a value, long numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.formulas: list[int] = []
        self.inexact: list[int] = []


class _Parser(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
    """Tells a formula without a stored value from an empty cell."""

    def parse_cell(self, element: Any) -> Any:
        cell = super().parse_cell(element)
        if cell["value"] in (None, "") and element.find(FORMULA_TAG) is not None and not element.findtext(VALUE_TAG):
            # A text that a formula came to may be empty.
            cell["value"] = None if element.get("t") == "str" else FORMULA
        return cell


def _padded(book: Any) -> dict[int, int]:
    """Return the styles that show whole numbers with zeros in front, such as 00123, with the number of their digits."""
    found = {}
    for style, cell in enumerate(book._cell_styles):
        code = book._number_formats[cell.numFmtId - 164] if cell.numFmtId >= 164 else ""
        bare = code.partition(";")[0].replace("\\", "").strip('"')
        if len(bare) > 1 and set(bare) == {"0"}:
            found[style] = len(bare)
    return found


def _unreadable(path: Path, error: Exception) -> BadInput:
    return cannot_read(
        path,
        Text(
            en="the workbook is damaged or cut off ({kind}); open it in Excel or LibreOffice and save it again as XLSX",
            vi="bảng tính bị hỏng hoặc bị cụt ({kind}); hãy mở bằng Excel hoặc LibreOffice rồi lưu lại dạng XLSX",
        ).format(kind=type(error).__name__),
    )


def _text(value: object, digits: int = 0) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        value = int(value)
    if isinstance(value, int):
        return f"{value:0{digits}d}" if value >= 0 else str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        if isinstance(value, datetime.datetime) and value.time() == datetime.time():
            return value.date().isoformat()
        return value.isoformat()
    return str(value).strip() or None

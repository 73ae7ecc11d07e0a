"""Tables whose rows have coordinates or WKT: which columns hold them, and CSV files."""

from __future__ import annotations

import csv
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.column_names import column_name
from ingest.readers.limits import exceeded
from ingest.readers.row_problems import row_problem
from ingest.readers.source import (
    CRS_SILENT,
    ENCODING_GIVEN,
    RAW_LENGTH,
    FeatureReader,
    ReadOptions,
    cannot_read,
    check_columns,
    make_batch,
    missing_columns,
    unique_names,
)
from ingest.readers.text import known_encoding
from ingest.readers.wkb import from_wkt
from layers.theme import FieldType
from twin.errors import BadInput
from twin.text import Text

Rows = list[list[str | None]]
# So many rows show what a column holds.
SAMPLE = 100

LONGITUDES = ("longitude", "lon", "lng", "long", "kinh_do", "kinhdo", "kd", "stop_lon")
LATITUDES = ("latitude", "lat", "vi_do", "vido", "vd", "stop_lat")
EASTINGS = ("x", "easting", "east", "toa_do_x", "x_coord", "point_x", "coord_x", "xcoord")
NORTHINGS = ("y", "northing", "north", "toa_do_y", "y_coord", "point_y", "coord_y", "ycoord")
WKTS = ("wkt", "geom", "geometry", "the_geom", "geom_wkt", "wkt_geom", "shape", "hinh_hoc")
_WKT = re.compile(
    r"\s*(SRID=\d+;)?\s*(POINT|LINESTRING|POLYGON|MULTIPOINT|MULTILINESTRING|MULTIPOLYGON|GEOMETRYCOLLECTION)\b", re.I
)
TOO_MANY_VALUES, TOO_FEW_VALUES, QUOTES = "row.columns", "row.short", "row.quotes"
VALUES_AND_COLUMNS = Text(en="{values} values, {columns} columns", vi="{values} giá trị, {columns} cột")
# Excel's line that says which character parts the values.
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


class BrokenRow(list[str | None]):
    """A row that cannot be taken apart: why, and how it stands in the file."""

    def __init__(self, reason: str, detail: str, text: str) -> None:
        super().__init__()
        self.reason, self.detail, self.text = reason, detail, text


@dataclass(frozen=True, slots=True)
class Place:
    """The columns of a table's coordinates: WKT, or x and y (which may be longitude and latitude)."""

    wkt: str | None = None
    x: str | None = None
    y: str | None = None
    degrees: bool = False


NOWHERE = Place()


def find_place(path: Path, columns: Sequence[str], options: ReadOptions, sample: Mapping[str, str | None]) -> Place:
    """Choose the columns of the coordinates: as a person says, else by their names; a table may have none."""
    present: dict[str, FieldType] = dict.fromkeys(columns, "text")
    if options.wkt is not None:
        missing_columns(path, {options.wkt}, present)
        return Place(wkt=options.wkt)
    if options.longitude is not None and options.latitude is not None:
        missing_columns(path, {options.longitude, options.latitude}, present)
        return Place(x=options.longitude, y=options.latitude)
    # "ToaDo_X" is "toa_do_x" to a program that joins words otherwise.
    plain = {column_name(name).replace("_", ""): name for name in reversed(columns)}
    for xs, ys, degrees in ((LONGITUDES, LATITUDES, True), (EASTINGS, NORTHINGS, False)):
        x, y = (next((plain[bare] for n in names if (bare := n.replace("_", "")) in plain), None) for names in (xs, ys))
        if x is not None and y is not None:
            return Place(x=x, y=y, degrees=degrees)
    named = [plain[bare] for n in WKTS if (bare := n.replace("_", "")) in plain]
    for name in (*named, *columns):
        if _WKT.match(sample.get(name) or ""):
            return Place(wkt=name)
    # A column of that name without any value yet; what holds other values ("Point") is not geometry.
    if empty := next((name for name in named if not sample.get(name)), None):
        return Place(wkt=empty)
    return NOWHERE


class TableReader(FeatureReader):
    """A table of text; the coordinates stay among its columns, WKT does not."""

    # Whether a row ends where its values do, so that missing ones mean something.
    _names_short_rows = False

    def _begin(self, header: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
        """Take the names of the columns, and find those of the coordinates by names and by some rows' values."""
        check_columns(self.path.name, header, self.limits)
        # A column of WKT may well be called "geometry", which is no conflict: it becomes the geometry.
        self._header = unique_names(header)
        by_place: dict[str, str | None] = {}
        for row in rows:
            by_place |= {n: v for n, v in zip(self._header, row, strict=False) if v and n not in by_place}
        renamed = {old: new for old, new in zip(header, self._header, strict=True) if old != new}
        options = self.options
        self._place = find_place(
            self.path, self._header,
            ReadOptions(
                longitude=renamed.get(options.longitude or "", options.longitude),
                latitude=renamed.get(options.latitude or "", options.latitude),
                wkt=renamed.get(options.wkt or "", options.wkt), limits=options.limits,
            ),
            by_place,
        )  # fmt: skip
        self.has_geometry = self._place != NOWHERE
        if not self.has_geometry and (len(self._header) < 2 or not any(rows)):
            # Neither a key nor a value: nothing could be joined to it.
            raise BadInput(
                Text(
                    en="{file} is a table: say which columns hold the coordinates (--longitude and --latitude, or "
                    "--wkt). Its columns are: {columns}.",
                    vi="{file} là bảng: hãy cho biết cột tọa độ (--longitude và --latitude, hoặc --wkt). "
                    "Các cột hiện có: {columns}.",
                ).format(file=self.path.name, columns=", ".join(self._header[:60]))
            )
        self._carried = [n for n in self._header if n != self._place.wkt]
        self.columns = dict.fromkeys(self._carried, "text")
        srid = re.match(r"\s*SRID=(\d+);", by_place.get(self._place.wkt or "") or "", re.IGNORECASE)
        if srid:
            self.set_crs_of_file(int(srid[1]), Text(en="the WKT says so (SRID)", vi="WKT ghi như vậy (SRID)"))
        elif self._place.degrees:
            self.set_crs_of_file(
                4326,
                Text(
                    en="the columns are called {x} and {y}: taken for WGS 84",
                    vi="các cột tên là {x} và {y}: coi là WGS 84",
                ).format(x=self._place.x, y=self._place.y),
            )
        else:
            self.set_crs_of_file(None, CRS_SILENT)
        if self.has_geometry and not self._place.degrees and options.wkt is None and options.longitude is None:
            place = self._place
            self.note("table.place", place.wkt if place.wkt is not None else f"x = {place.x}, y = {place.y}")

    @abstractmethod
    def _rows(self, rows: int) -> Iterator[Rows]:
        """Return the rows after the header, at most `rows` at a time."""

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` rows at a time; a row without coordinates has no geometry."""
        for chunk in self._rows(rows):
            yield self._batch(chunk)

    def _batch(self, rows: Rows) -> gpd.GeoDataFrame:
        width = len(self._header)
        problems = np.full(len(rows), None, dtype=object)
        raw = np.full(len(rows), None, dtype=object)
        for i, row in enumerate(rows):
            if isinstance(row, BrokenRow):
                problems[i] = row_problem(row.reason, row.detail)
                raw[i] = row.text[:RAW_LENGTH]
            elif len(row) < width and self._names_short_rows:
                problems[i] = row_problem(TOO_FEW_VALUES, VALUES_AND_COLUMNS.format(values=len(row), columns=width))
            if len(row) > width and any(row[width:]):
                problems[i] = row_problem(TOO_MANY_VALUES, VALUES_AND_COLUMNS.format(values=len(row), columns=width))
                raw[i] = "\t".join(value or "" for value in row)[:RAW_LENGTH]
            if len(row) != width:
                row[width:] = []
                row.extend([None] * (width - len(row)))
        table = np.array(rows, dtype=object).reshape(len(rows), width)
        values = {name: pd.Series(table[:, i], dtype=object) for i, name in enumerate(self._header)}
        if self._place.wkt is not None:
            shapes, refused, written = from_wkt(values[self._place.wkt].to_numpy(), self.limits)
            new = np.array([p is None or (s is not None) for p, s in zip(problems, refused, strict=True)], dtype=bool)
            new &= np.array([not isinstance(row, BrokenRow) for row in rows], dtype=bool)
            new &= np.array([p is None or not p.startswith(TOO_MANY_VALUES) for p in problems], dtype=bool)
            problems[new], raw[new] = refused[new], written[new]
        elif not self.has_geometry:
            shapes = np.full(len(rows), None, dtype=object)
        else:
            shapes = points(values[str(self._place.x)], values[str(self._place.y)])
        return make_batch({name: values[name] for name in self._carried}, shapes, problems, raw)


def points(x: pd.Series, y: pd.Series) -> npt.NDArray[np.object_]:
    """Return points from two columns; decimal commas are read, and without both numbers there is no point."""
    east, north = (_numbers(values) for values in (x, y))
    known = np.isfinite(east) & np.isfinite(north)
    shapes = np.full(len(x), None, dtype=object)
    shapes[known] = shapely.points(east[known], north[known])
    return shapes


def _numbers(values: pd.Series) -> npt.NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(values):
        plain: npt.NDArray[np.float64] = values.to_numpy(dtype=float, na_value=np.nan)
        return plain
    numbers = np.array(pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    missing = np.isnan(numbers)
    if missing.any():
        text = values[missing].astype("string").str.strip()
        again = pd.to_numeric(text.str.replace(",", "."), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        # Three digits after the comma may be thousands of metres, but not of degrees.
        thousands = text.str.fullmatch(r"[+-]?\d{1,3},\d{3}").fillna(False).to_numpy(dtype=bool)
        numbers[missing] = np.where(thousands & (np.abs(again) > 180), np.nan, again)
    return numbers


class CsvReader(TableReader):
    """A CSV file, with commas, semicolons, tabs or bars; every column is text until a field gives it a type."""

    format = "CSV"
    driver = "csv"
    _names_short_rows = True

    def __init__(self, path: Path, options: ReadOptions, file: Path | None = None) -> None:
        super().__init__(path, options)
        self._file = file or path
        self.layer = path.stem
        self.layers = (path.stem,)
        self._find_encoding()
        with self._open() as content:
            first = content.readline(self._longest)
        separator = _SEP_LINE.fullmatch(first.strip())
        self._skipped = int(separator is not None)
        self._delimiter = separator[1] if separator else _delimiter(first)
        self._width: int | None = None
        lines = self._parsed()
        header = next(lines, None)
        if header is None or isinstance(header, BrokenRow):
            raise cannot_read(path, Text(en="its first line cannot be read", vi="không đọc được dòng đầu tiên"))
        self._width = len(header)
        self._begin([name or "" for name in header], list(islice(lines, SAMPLE)))

    @property
    def _longest(self) -> int:
        return self.limits.object_bytes // 4

    def _find_encoding(self) -> None:
        if self.options.encoding:
            self.encoding, self.encoding_reason = known_encoding(self.options.encoding), ENCODING_GIVEN
            self._codec = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
            return
        with self._file.open("rb") as file:
            mark = file.read(4)
        if mark.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.encoding = self._codec = "utf-16"
            self.encoding_reason = Text(en="it begins with the mark of UTF-16", vi="tệp bắt đầu bằng dấu UTF-16")
            return
        try:
            with self._file.open(encoding="utf-8") as text:
                while text.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            self.encoding, self._codec, self.raw_text = None, "latin-1", True
            self.encoding_reason = Text(
                en="it is not Unicode: it is decided for each column by what stands in it",
                vi="không phải Unicode: sẽ xác định cho từng cột theo nội dung",
            )
        else:
            self.encoding, self._codec = "utf-8", "utf-8-sig"
            self.encoding_reason = Text(en="all of it is valid UTF-8", vi="toàn bộ tệp là UTF-8 hợp lệ")

    def _open(self) -> TextIO:
        return self._file.open(encoding=self._codec, errors="replace", newline="")

    def _parsed(self) -> Iterator[list[str | None]]:
        """Take the file apart into rows.

        A quotation mark without a partner would swallow the lines behind it. A row of several lines that is not as
        wide as the table, or goes on behind a closing mark, is such a one: its first line is set aside, and the others
        are read again.
        """
        csv.field_size_limit(self.limits.string_length)
        try:
            with self._open() as file:
                lines = _Lines(self._lines(file))
                for _ in range(self._skipped):
                    next(lines, None)
                parser = csv.reader(lines, delimiter=self._delimiter, strict=True)
                while True:
                    lines.taken.clear()
                    try:
                        row = next(parser)
                    except StopIteration:
                        return
                    except csv.Error as error:
                        yield self._again(lines, str(error))
                        continue
                    if len(lines.taken) > 1 and self._width is not None and len(row) != self._width:
                        yield self._again(lines, f"{len(row)} values")
                    elif row:
                        yield [value or None for value in row]
        except (OSError, UnicodeError) as error:
            raise cannot_read(self.path, error) from None

    def _again(self, lines: _Lines, reason: str) -> list[str | None]:
        first, *others = lines.taken or [""]
        if not others:
            if "field larger" in reason:
                raise exceeded(self.path.name, self.limits, "string_length")
            with suppress(csv.Error):
                # A blank behind a closing mark is no fault.
                tidy = re.sub(rf'"[ \t]+(?={re.escape(self._delimiter)}|\r?\n?$)', '"', first)
                return [v or None for v in next(csv.reader([tidy], delimiter=self._delimiter, strict=True), [])]
        lines.give_back(others)
        return BrokenRow(QUOTES, first.strip()[:200], first.rstrip("\r\n"))

    def _lines(self, file: TextIO) -> Iterator[str]:
        while line := file.readline(self._longest):
            if len(line) >= self._longest:
                raise exceeded(self.path.name, self.limits, "object_bytes")
            yield line

    def _rows(self, rows: int) -> Iterator[Rows]:
        parsed = self._parsed()
        next(parsed, None)
        waiting: Rows = []
        for row in parsed:
            waiting.append(row)
            if len(waiting) == rows:
                yield waiting
                waiting = []
        if waiting:
            yield waiting


class _Lines:
    """Lines of a file; `taken` are those since it was last cleared, and some can be given back to come again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self, lines: Sequence[str]) -> None:
        """Let these lines come again, before all others."""
        self._again.extendleft(reversed(lines))


def _delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=bare.count)

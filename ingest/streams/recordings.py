"""Recorded files of values: CSV and Parquet, read in batches of rows and turned into observations.

Nothing is guessed: a description says how time is written, which columns are values, and what is suspicious. A row
that cannot be read is counted with its reason and its line; the others are used.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.readers.source import inside
from ingest.streams.description import Cells, SourceSpec, SuspectRule, ValueSpec
from layers.observed.air import particles_contradict
from layers.observed.registry import kind_of
from twin.errors import BadInput
from twin.streams.flags import Flag
from twin.streams.writer import Observation
from twin.text import Text

ROWS = 5_000
# How many lines are named for each reason.
EXAMPLES = 5

UNREAD: Mapping[str, Text] = {
    "cells": Text(en="another number of cells than the header", vi="số ô khác với dòng tiêu đề"),
    "time": Text(en="the time has not the declared form", vi="thời gian không đúng dạng đã khai báo"),
    "key": Text(en="it does not say which thing it is of", vi="không nêu thuộc đối tượng nào"),
    "number": Text(en="the value is no number", vi="giá trị không phải là số"),
}

Key = tuple[str, ...]


@dataclass(slots=True)
class Rows:
    """Some rows of a file: cells by column, and the line of each row. `bad` are lines with too few or many cells."""

    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    bad: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(slots=True)
class Unread:
    """Rows or values that could not be read: how many for each reason, and the first lines."""

    counts: Counter[str] = field(default_factory=Counter)
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        """Count one."""
        self.counts[reason] += 1
        known = self.lines.setdefault(reason, [])
        if len(known) < EXAMPLES:
            known.append(line)


@dataclass(slots=True)
class Survey:
    """What a first look through a file found: its rows, and how many of them each key has, with the values it gives."""

    rows: int = 0
    rows_of: Counter[Key] = field(default_factory=Counter)
    values_of: dict[Key, set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What became of the rows of a file on the way to the writer."""

    rows: int = 0
    values: int = 0
    unread: Unread = field(default_factory=Unread)
    left_out: Counter[int] = field(default_factory=Counter)
    suspected: Counter[int] = field(default_factory=Counter)
    contradicting: int = 0


class Recording:
    """The file of a source."""

    def __init__(self, source: SourceSpec, folder: Path) -> None:
        self.source = source
        self.path = inside(folder, source.file)
        self._missing = frozenset(("", *source.missing))
        kinds = [kind_of(value.kind) for value in source.value]
        # Limits in the file's own units, for checks between values of a row.
        self._limits = [
            tuple(float(limit) for limit in kind.in_unit([kind.minimum, kind.maximum], value.unit or kind.unit))
            for kind, value in zip(kinds, source.value, strict=True)
        ]

    def survey(self) -> Survey:
        """Look through the file: which things it names, and which values each of them has."""
        found = Survey()
        names = self.source.keys
        for rows in self._rows():
            found.rows += len(rows) + len(rows.bad)
            keys = list(zip(*(rows.columns[name] for name in names), strict=True)) if names else [()] * len(rows)
            found.rows_of.update(keys)
            for number, value in enumerate(self.source.value):
                texts = rows.columns[_column(value)]
                for key in {k for k, text in zip(keys, texts, strict=True) if text.strip() not in self._missing}:
                    found.values_of.setdefault(key, set()).add(number)
        return found

    def cells_of(self, key: Key) -> Cells:
        """Return the cells of a key by column."""
        return dict(zip(self.source.keys, key, strict=True))

    def observations(
        self,
        streams: Mapping[Key, Mapping[int, int]],
        tally: Tally,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[list[Observation]]:
        """Yield the observations of the file, some rows at a time.

        Parameters
        ----------
        streams : mapping
            For each key, the stream of each of the source's values.
        tally : Tally
            Is counted into.
        since, until : datetime, optional
            Only rows from `since` to before `until`.
        """  # fmt: skip
        parse = self.source.time.parser()
        for rows in self._rows():
            tally.rows += len(rows) + len(rows.bad)
            for line in rows.bad:
                tally.unread.add("cells", line)
            yield self._read(rows, streams, tally, parse, since, until)

    def _read(
        self, rows: Rows, streams: Mapping[Key, Mapping[int, int]], tally: Tally, parse: Any,
        since: datetime | None, until: datetime | None,
    ) -> list[Observation]:  # fmt: skip
        source, columns = self.source, rows.columns
        keys = list(zip(*(columns[name] for name in source.keys), strict=True)) if source.keys else [()] * len(rows)
        stamps = [" ".join(texts) for texts in zip(*(columns[name] for name in source.time.columns), strict=True)]
        values = [self._numbers(columns[_column(value)], rows.lines, tally.unread) for value in source.value]
        contradicted = self._contradictions(values)
        left_out = [_where(rule.where, columns) for rule in source.leave_out]
        rules = [(n, rule, _where(rule.where, columns)) for n, rule in enumerate(source.suspect)]
        result: list[Observation] = []
        for i in range(len(rows)):
            if flagged := [n for n, mask in enumerate(left_out) if mask is None or mask[i]]:
                tally.left_out[flagged[0]] += 1
                continue
            if keys[i] not in streams:
                if not all(text.strip() for text in keys[i]):
                    tally.unread.add("key", rows.lines[i])
                continue
            try:
                time = parse(stamps[i].strip())
            except (ValueError, OverflowError):
                tally.unread.add("time", rows.lines[i])
                continue
            if (since is not None and time < since) or (until is not None and time >= until):
                continue
            of_row = [
                (n, rule) for n, rule, mask in rules if (mask is None or mask[i]) and _in_time(rule, time)
            ]  # fmt: skip
            detail = (
                {"parameters": {name: columns[name][i] for name in source.parameters}} if source.parameters else None
            )
            for number, stream in streams[keys[i]].items():
                value = values[number][i]
                if value is None:
                    continue
                flag = 0
                if contradicted and contradicted[number] is not None and contradicted[number][i]:
                    flag = int(Flag.SUSPECT)
                    tally.contradicting += 1
                for n, rule in of_row:
                    if _concerns(rule, source.value[number], value):
                        flag = int(Flag.SUSPECT)
                        tally.suspected[n] += 1
                result.append(Observation(stream, time, value, None, flag, detail))
        tally.values += len(result)
        return result

    def _numbers(self, texts: Sequence[str], lines: Sequence[int], unread: Unread) -> list[float | None]:
        numbers: list[float | None] = []
        for text, line in zip(texts, lines, strict=True):
            if text in self._missing or text.strip() in self._missing:
                numbers.append(None)
                continue
            try:
                numbers.append(float(text))
            except ValueError:
                numbers.append(None)
                unread.add("number", line)
        return numbers

    def _contradictions(self, values: Sequence[Sequence[float | None]]) -> dict[int, Any]:
        """Tell for each value which rows contradict another value of theirs; what is out of range proves nothing."""
        place = {value.column: number for number, value in enumerate(self.source.value)}
        found: dict[int, Any] = dict.fromkeys(range(len(values))) if self.source.check else {}
        for check in self.source.check:
            arrays = {}
            for name in ("pm2_5", "pm10", "tsp"):
                column = getattr(check, name)
                number = place.get(column)
                if column is None or number is None:
                    arrays[name] = np.full(len(values[0]), np.nan)
                    continue
                low, high = self._limits[number]
                array = np.array([np.nan if v is None else v for v in values[number]], dtype=np.float64)
                arrays[name] = np.where((array >= low) & (array <= high), array, np.nan)
            wrong = particles_contradict(**arrays)
            for column in check.columns:
                before = found[place[column]]
                found[place[column]] = wrong if before is None else before | wrong
        return found

    def _rows(self) -> Iterator[Rows]:
        wanted = sorted(self.source.columns)
        try:
            if self.path.suffix.lower() == ".parquet":
                yield from _parquet_rows(self.path, wanted)
            else:
                yield from _csv_rows(self.path, wanted)
        except FileNotFoundError:
            raise BadInput(
                Text(en="There is no file {file}.", vi="Không có tệp {file}.").format(file=self.source.file)
            ) from None
        except (csv.Error, UnicodeDecodeError, pa.ArrowException) as error:
            raise BadInput(
                Text(
                    en="{file} cannot be read: {reason}. CSV has to be UTF-8 with a header.",
                    vi="Không đọc được {file}: {reason}. Tệp CSV phải là UTF-8 và có dòng tiêu đề.",
                ).format(file=self.path.name, reason=str(error).split("\n")[0][:200])
            ) from None


def _csv_rows(path: Path, wanted: Sequence[str]) -> Iterator[Rows]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        _require(path, wanted, header)
        places = [header.index(name) for name in wanted]
        cells: list[list[str]] = []
        lines: list[int] = []
        bad: list[int] = []
        for row in reader:
            if len(row) != len(header):
                # An empty line at the end is no row.
                if row:
                    bad.append(reader.line_num)
                continue
            cells.append(row)
            lines.append(reader.line_num)
            if len(lines) >= ROWS:
                yield _table(cells, lines, bad, wanted, places)
                cells, lines, bad = [], [], []
        if lines or bad:
            yield _table(cells, lines, bad, wanted, places)


def _table(
    cells: list[list[str]], lines: list[int], bad: list[int], wanted: Sequence[str], places: Sequence[int]
) -> Rows:
    turned = list(zip(*cells, strict=True))
    columns = {name: turned[place] if turned else () for name, place in zip(wanted, places, strict=True)}
    return Rows(columns, lines, bad)


def _parquet_rows(path: Path, wanted: Sequence[str]) -> Iterator[Rows]:
    with pq.ParquetFile(path) as file:
        _require(path, wanted, file.schema_arrow.names)
        line = 1
        for batch in file.iter_batches(ROWS, columns=list(wanted)):
            columns = {name: [_text(v) for v in batch.column(name).to_pylist()] for name in wanted}
            yield Rows(columns, range(line, line + batch.num_rows))
            line += batch.num_rows


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _require(path: Path, wanted: Iterable[str], present: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in present]:
        raise BadInput(
            Text(
                en="{file} has no column {missing}. Its columns: {present}. Correct the names in the description.",
                vi="{file} không có cột {missing}. Các cột của tệp: {present}. Hãy sửa tên trong tệp mô tả.",
            ).format(file=path.name, missing=", ".join(missing), present=", ".join(present)[:400])
        )


def _where(where: Mapping[str, tuple[str, ...]], columns: Mapping[str, Sequence[str]]) -> list[bool] | None:
    """Return which rows have these values; None where there is no condition."""
    if not where:
        return None
    checks = [[text.strip() in allowed for text in columns[name]] for name, allowed in where.items()]
    return [all(row) for row in zip(*checks, strict=True)]


def _in_time(rule: SuspectRule, time: datetime) -> bool:
    return (rule.since is None or time >= rule.since) and (rule.until is None or time <= rule.until)


def _concerns(rule: SuspectRule, spec: ValueSpec, value: float) -> bool:
    if rule.columns and spec.column not in rule.columns:
        return False
    return (rule.at_least is None or value >= rule.at_least) and (rule.at_most is None or value <= rule.at_most)


def _column(value: ValueSpec) -> str:
    assert value.column is not None  # noqa: S101  # the description was checked
    return value.column

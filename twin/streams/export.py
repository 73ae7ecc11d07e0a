"""Exports of observations: rows for CSV and Parquet, by stream and time, read a few hundred at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from twin.spreadsheets import cell
from twin.streams.entry import StreamEntry
from twin.streams.flags import flag_names

ExportForm = Literal["csv", "parquet"]

COLUMNS = ("stream", "code", "kind", "unit", "time", "value", "flags", "corrected")
SCHEMA = pa.schema(
    [
        ("stream", pa.int32()), ("code", pa.string()), ("kind", pa.string()), ("unit", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")), ("value", pa.float64()), ("flags", pa.string()),
        ("corrected", pa.bool_()),
    ]
)  # fmt: skip

# A stream after the other, each by its key: nothing is sorted, whatever the time.
EXPORT_SQL = """
SELECT s.stream, o.time, o.value, o.flag,
    EXISTS (SELECT FROM live.correction c WHERE c.stream = s.stream AND c.time = o.time) AS corrected
FROM unnest($1::int4[]) WITH ORDINALITY AS s (stream, place)
CROSS JOIN LATERAL (
    SELECT time, value, flag FROM live.observation
    WHERE stream = s.stream AND time >= $2 AND time < $3 ORDER BY time OFFSET 0
) o
"""

Rows = Sequence[Mapping[str, Any]]


def export_statement(streams: Sequence[int], start: datetime, end: datetime) -> tuple[str, list[object]]:
    """Return the statement for the observations of streams from `start` to before `end`, with its values."""
    return EXPORT_SQL, [sorted(streams), start, end]


def csv_header() -> bytes:
    """Return the first line of the CSV."""
    return _lines([COLUMNS])


def csv_rows(rows: Rows, entries: Mapping[int, StreamEntry]) -> bytes:
    """Return rows of the statement as CSV (RFC 4180, UTF-8); times are UTC, several flags have blanks between."""
    named = {key: [cell(part) for part in _named(entries[key])] for key in {row["stream"] for row in rows}}
    return _lines(
        [
            (
                *named[row["stream"]], cell(row["time"]), cell(row["value"]), " ".join(flag_names(row["flag"])),
                cell(row["corrected"]),
            )
            for row in rows
        ]
    )  # fmt: skip


def record_batch(rows: Rows, entries: Mapping[int, StreamEntry]) -> pa.RecordBatch:
    """Return rows of the statement as a batch for Parquet."""
    named = {key: _named(entries[key]) for key in {row["stream"] for row in rows}}
    records = [
        (*named[row["stream"]], row["time"], row["value"], " ".join(flag_names(row["flag"])), row["corrected"])
        for row in rows
    ]
    columns = list(zip(*records, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, of.type) for column, of in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def _named(entry: StreamEntry) -> tuple[int, str, str | None, str | None]:
    return entry.key, entry.code, entry.kind or None, entry.unit


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()

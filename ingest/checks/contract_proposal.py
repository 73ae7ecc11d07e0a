"""A contract proposed from a file: fields, types, terms, units, to be edited by somebody who knows the data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.checks.plan import CheckLimits, decode, encodings_of, sample_of
from ingest.checks.values import DIGITS, as_type
from ingest.column_names import column_name
from ingest.readers.opening import open_file
from ingest.readers.source import Reader, ReadOptions
from layers.contracts import RESOLUTIONS
from layers.theme import RESERVED, FieldType, GeometryKind
from twin.cli import say
from twin.errors import BadInput
from twin.text import Text

KINDS: tuple[GeometryKind, ...] = ("point", "line", "polygon")
# A text column with at most this many different values, each met often, is a vocabulary.
TERMS = 20
OFTEN = 3
# A type is proposed if this share of the values fits; the others are named.
FITTING = 0.99
ODD = "odd"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# Endings of column names that tell a unit.
UNITS = {
    "m2": "m2", "km2": "km2", "km": "km", "ha": "har", "m": "m", "kmh": "km/h", "km_h": "km/h", "mm": "mm",
    "percent": "%", "pct": "%", "phan_tram": "%", "kg": "kg", "tan": "t", "nguoi": "{person}",
}  # fmt: skip
LABELS = ("ten", "name", "ten_goi", "title")


def propose_contract(file: Path, layer: str, source_layer: str | None = None) -> str:
    """Propose a contract for a file, as TOML to be edited."""
    reader = open_file(file, ReadOptions(layer=source_layer))
    try:
        sample, read = sample_of(reader, CheckLimits())
        if not read:
            raise BadInput(
                Text(en="{file} holds no features.", vi="{file} không có đối tượng nào.").format(file=file.name)
            )
        solids = tuple(getattr(reader, "solids", ()))
        # The columns that became the geometry are not proposed twice.
        places = {str(c).casefold() for c in ("x", "y", "lon", "lng", "lat", "longitude", "latitude", "wkt")}
        is_table = reader.format in ("CSV", "XLSX")
        columns = [c for c in reader.columns if c not in solids and not (is_table and c.casefold() in places)]
        frame = decode(pd.DataFrame(sample[columns]), encodings_of(sample, reader.columns, solids, None))
        return _toml(layer, _kind(sample), reader, frame)
    finally:
        reader.close()


def _kind(sample: gpd.GeoDataFrame) -> GeometryKind:
    dimensions = shapely.get_dimensions(np.asarray(sample.geometry.values, dtype=object))
    return KINDS[int(np.bincount(dimensions[dimensions >= 0], minlength=3).argmax())]


def _toml(layer: str, kind: GeometryKind, reader: Reader, frame: pd.DataFrame) -> str:
    fields: list[dict[str, Any]] = []
    taken: set[str] = set()
    for column in frame.columns:
        name = column_name(column)
        while name in taken or name in RESERVED:
            name = f"{name}_value"
        taken.add(name)
        fields.append(_field(name, column, reader.columns[column], frame[column].dropna()))
    label = next((f["name"] for f in fields if f["name"] in LABELS and f["type"] == "text"), None)
    title = layer.split(".")[1].replace("_", " ")
    lines = [
        "# "
        + say(
            "A proposal: title each field in both languages, correct types and units, strike out what is not needed.",
            "Đề xuất: đặt tên mỗi trường bằng hai ngôn ngữ, sửa kiểu và đơn vị, bỏ những gì không cần.",
        ),
        f"layer = {_quoted(layer)}",
        f"title = {{ vi = {_quoted(title)}, en = {_quoted(title)} }}",
        f"licence = {_quoted(say('not stated', 'chưa nêu'))}",
        f"attribution = {_quoted(layer.split('.')[0])}",
        "# "
        + say(
            "open (everybody), shared (every agency) or restricted (your agency)",
            "open (mọi người), shared (mọi đơn vị) hoặc restricted (chỉ đơn vị của bạn)",
        ),
        'sharing = "restricted"',
        "# "
        + say(
            "how often it changes: continuous, daily, weekly, monthly, quarterly, yearly or irregular",
            "chu kỳ cập nhật: continuous (liên tục), daily (ngày), weekly (tuần), monthly (tháng), quarterly (quý), "
            "yearly (năm) hoặc irregular (không định kỳ)",
        ),
        'update_frequency = "irregular"',
        f'geometry = "{kind}"',
        "# "
        + say(
            "H3 cells of about 2,150 m² at 11, seven times as large at 10, and so on",
            "ô H3 rộng khoảng 2.150 m² ở mức 11, lớn gấp bảy ở mức 10, v.v.",
        ),
        f"resolution = {RESOLUTIONS[kind]}",
    ]
    if label:
        lines.append(f'label = "{label}"')
    for field in fields:
        lines += ["", "[[field]]"]
        if odd := field.pop(ODD, None):
            lines.append(say("# would be set aside: ", "# sẽ bị cách ly: ") + _CONTROL.sub(" ", odd))
        lines += [f"{key} = {value if key in _RAW else _quoted(value)}" for key, value in field.items()]
    return "\n".join(lines) + "\n"


_RAW = frozenset({"title", "vocabulary", "aliases", "minimum", "maximum"})


def _field(name: str, column: str, kind: FieldType, values: pd.Series) -> dict[str, Any]:
    kind, numbers, odd = _type(kind, values)
    title = column.replace("_", " ").strip() or name
    field: dict[str, Any] = {
        "name": name,
        "type": kind,
        "title": f"{{ vi = {_quoted(title)}, en = {_quoted(title)} }}",
    }
    if odd:
        field[ODD] = ", ".join(odd)
    if column != name:
        field["aliases"] = f"[{_quoted(column)}]"
    if kind in ("integer", "number"):
        unit = next((code for ending, code in UNITS.items() if name == ending or name.endswith(f"_{ending}")), None)
        if unit:
            field["unit"] = unit
        if len(numbers) and numbers.min() >= 0:
            field["minimum"] = 0
    elif kind == "text" and (terms := _terms(values)):
        inner = ", ".join(f"{_quoted(t)} = {{ vi = {_quoted(t)}, en = {_quoted(t)} }}" for t in terms)
        field["vocabulary"] = f"{{ {inner} }}"
    return field


def _type(kind: FieldType, values: pd.Series) -> tuple[FieldType, pd.Series, list[str]]:
    """Return the type that nearly all values have, where a file (a table, OpenStreetMap, a dBase column) says no more
    than text; the numbers, if that is what they are; and what does not fit.
    """
    if kind != "text":
        return kind, pd.to_numeric(values, errors="coerce") if kind in ("integer", "number") else values, []
    text = values.astype(str).str.strip()
    # A leading zero is part of a code.
    if not len(text) or text.str.fullmatch(r"0\d+").any():
        return "text", values, []
    # What the checks would read as a number, but without a unit: "12 A" is rather a house's number.
    numbers, wrong = as_type(text.where(text.str.match(rf"{DIGITS}$")), "number")
    fits = ~wrong
    if fits.mean() >= FITTING:
        found: FieldType = "integer" if (numbers[fits] % 1 == 0).all() else "number"
        return found, pd.Series(numbers[fits]), _different(text[wrong])
    _, wrong = as_type(text, "date")
    if (~wrong).mean() >= FITTING:
        return "time" if text.str.contains(":").any() else "date", values, _different(text[wrong])
    return "text", values, []


def _different(values: pd.Series) -> list[str]:
    return [str(value)[:60] for value in values.unique()[:5]]


def _terms(values: pd.Series) -> list[str]:
    counts = values.astype(str).str.strip().value_counts()
    few = 2 <= len(counts) <= TERMS and counts.min() >= OFTEN and counts.index.str.len().max() <= 60
    return list(counts.index) if few else []


def _quoted(text: str) -> str:
    """Return a TOML basic string: JSON's form without its escapes beyond the basic plane."""
    return json.dumps(str(text), ensure_ascii=False)

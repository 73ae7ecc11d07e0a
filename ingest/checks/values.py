"""Values: brought to their types and terms, and what does not fit found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ingest.checks.dates import dates, moments
from ingest.checks.faults import Detail, Faults, Mask
from ingest.frames import of_codes
from layers.theme import Field, fold
from twin.catalogue.catalogue import Column
from twin.text import Text

TRUE = frozenset({"yes", "true", "1", "t", "y", "có", "-1", "1.0"})
FALSE = frozenset({"no", "false", "0", "f", "n", "không", "0.0"})
# A number with a decimal point or comma; and the same, perhaps followed by a unit. A comma before exactly three digits
# may part thousands as well as decimals: better set aside than guessed.
DIGITS = r"[+-]?(?:\d+(?:\.\d*|,(?!\d{3}(?!\d))\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
NUMBER = re.compile(rf"^\s*({DIGITS})\s*(?:[^\W\d]|[%°/²³])*\s*$")
# A text that is 45,601 to who counts people the Vietnamese way and 45.601 to a program: as a whole number, neither.
THOUSANDS = re.compile(r"^\s*[+-]?[1-9]\d{0,2}\.\d{3}(?!\d)")

# The longest text that a feature may carry, in characters.
LONGEST_TEXT = 20_000
# Characters that no text means: controls except tab and line ends, marks that turn the direction of writing, the BOM.
CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{80}-\x{9f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{feff}]"
# Text that some program down the line might run instead of show: markup, script addresses, formulas of spreadsheets and
# of the map library. A sign before a number is no formula.
MARKUP = r"(?i)<[a-z!/][^>]*>|^\s*(?:javascript|data|vbscript):|^\s*@@|^\s*=\s*[a-z(\"'@+-]|^\s*[+@-]\s*[a-z]+\s*\("
SHOWN = 100
# What programs write where a value is missing: ArcGIS, databases, spreadsheets, data frames.
MISSING = ("<null>", "(null)", "null", "#n/a", "#null!", "nan", "n/a", "<na>")


def typed(
    values: pd.Series, column: Column, field: Field | None, faults: Faults, longest: int = LONGEST_TEXT,
    zone: tzinfo = UTC,
) -> Any:  # fmt: skip
    """Bring a column to its type; what a theme's field forbids becomes a fault of the row."""
    if field is not None and field.vocabulary is not None:
        result, absent, unknown = _terms(values, field)
        faults.add(
            unknown,
            "field.vocabulary",
            _value_detail(field.name, values),
            field.name,
            lambda: _counted(values, unknown),
        )
        absent = absent | unknown
    else:
        if column.type == "text":
            text = clean(values, longest)
            result, absent, wrong = text.values, text.absent, np.zeros(len(values), dtype=bool)
            faults.add(text.too_long, "text.too_long", _length(column.name, values, longest), column.name)
            faults.add(text.control, "text.control", _value_detail(column.name, values), column.name)
            faults.add(text.markup, "text.markup", _value_detail(column.name, values), column.name)
        else:
            absent = values.isna().to_numpy()
            result, wrong = as_type(values, column.type, zone)
            absent = absent | (wrong & is_missing_text(values, wrong))
        wrong = wrong & ~absent
        if field is not None:
            faults.add(
                wrong, "field.type", _value_detail(column.name, values), field.name, lambda: _counted(values, wrong)
            )
            absent = absent | wrong
            if field.minimum is not None or field.maximum is not None:
                out = _out_of_range(result, field)
                faults.add(
                    out, "field.range", _value_detail(column.name, values), field.name, lambda: _counted(values, out)
                )
    if field is not None and field.required:
        if column.type == "text":
            absent = absent | pd.isna(result)
        faults.add(absent & ~_already(faults, field.name), "field.required", field.name, field.name)
    return result


def as_type(values: pd.Series, kind: str, zone: tzinfo = UTC) -> tuple[Any, Mask]:
    """Bring values to a type, and tell which do not fit. Times that name no zone are of the clock in `zone`."""
    if kind == "text":
        return clean(values).values, np.zeros(len(values), dtype=bool)
    if kind in _CONVERT_TIME:
        return _distinct(values, lambda each: _CONVERT_TIME[kind](each, zone))
    return _distinct(values, _CONVERT[kind])


def is_missing_text(values: pd.Series, where: Mask) -> Mask:
    """Return which values, of those at `where`, are a program's sign for a missing value."""
    nothing: Mask = np.zeros(len(values), dtype=bool)
    rows = np.flatnonzero(where)
    nothing[rows] = [str(value).strip().casefold() in MISSING for value in values.to_numpy(dtype=object)[rows]]
    return nothing


def _already(faults: Faults, field: str) -> Mask:
    """Return rows whose value was there, but wrong: they are not counted as missing too."""
    recorded: Mask = np.zeros(len(faults.reason), dtype=bool)
    for finding in faults.found:
        if finding.field == field and finding.code in ("field.vocabulary", "field.type"):
            recorded |= finding.where
    return recorded


def _out_of_range(values: Any, field: Field) -> Mask:
    number = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    out: Mask = (number < low) | (number > high)
    return out


def _value_detail(name: str, values: pd.Series) -> Detail:
    return lambda row: f"{name} = {str(values.iloc[row])[:SHOWN]}"


def _counted(values: pd.Series, where: Mask) -> Counter[str]:
    """Return how often each value stands there, shortened as it is shown."""
    return Counter(str(value)[:SHOWN] for value in values.to_numpy(dtype=object)[where])


def _length(name: str, values: pd.Series, longest: int) -> Detail:
    return lambda row: Text(
        en="{name} has {n:,} characters; the limit is {longest:,}", vi="{name} dài {n:,} ký tự; giới hạn {longest:,}"
    ).format(name=name, n=len(str(values.iloc[row])), longest=longest)


# Text ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CleanText:
    """A text column in NFC without outer blanks and control characters, which rows had no text, and which were
    remarkable.
    """

    values: npt.NDArray[np.object_]
    absent: Mask
    control: Mask
    markup: Mask
    too_long: Mask


def clean(values: pd.Series, longest: int = LONGEST_TEXT) -> CleanText:
    """Clean a text column; each different text is looked at once."""
    encoded = _strings(values).dictionary_encode()
    texts, rows = encoded.dictionary, encoded.indices
    control = pc.match_substring_regex(texts, CONTROLS)
    tidy = pc.replace_substring_regex(texts, CONTROLS, "") if pc.any(control).as_py() else texts
    tidy = pc.utf8_trim_whitespace(pc.utf8_normalize(tidy, "NFC"))
    markup = pc.match_substring_regex(tidy, MARKUP)
    nothing = pc.or_(pc.equal(tidy, ""), pc.is_in(pc.utf8_lower(tidy), pa.array(MISSING, pa.string())))
    tidy = pc.if_else(nothing, pa.scalar(None, pa.string()), tidy)
    # Signs of a missing value are not markup: “<Null>” looks like it.
    markup = pc.and_(markup, pc.invert(pc.fill_null(nothing, False)))
    return CleanText(
        values=of_codes(tidy.to_numpy(zero_copy_only=False), rows),
        absent=np.asarray(rows.is_null()),
        control=_spread(control, rows),
        markup=_spread(markup, rows),
        too_long=_spread(pc.greater(pc.utf8_length(texts), longest), rows),
    )


def _strings(values: pd.Series) -> pa.Array:
    objects = values.to_numpy(dtype=object)
    try:
        return pa.array(objects, type=pa.string(), from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        # Numbers among texts, or half a surrogate pair.
        absent = pd.isna(objects)
        texts = [
            None if n else str(v).encode("utf-8", "replace").decode() for v, n in zip(objects, absent, strict=True)
        ]
        return pa.array(texts, type=pa.string())


def _spread(of_texts: pa.Array, rows: pa.Array) -> Mask:
    if not pc.any(of_texts).as_py():
        return np.zeros(len(rows), dtype=bool)
    found: npt.NDArray[np.bool_] = pc.fill_null(pc.take(of_texts, rows), False).to_numpy(zero_copy_only=False)
    return found


# Terms and other types -----------------------------------------------------------------------------------------------


def _terms(values: pd.Series, field: Field) -> tuple[npt.NDArray[np.object_], Mask, Mask]:
    """Return the terms, which rows say nothing, and which say something else."""
    lookup = field.lookup
    codes, distinct = factorized(values)
    known = np.array([*(lookup.get(fold(str(v))) for v in distinct), None], dtype=object)
    nothing = np.array([*(fold(str(v)) in MISSING and fold(str(v)) not in lookup for v in distinct), True], dtype=bool)
    absent = nothing[codes]
    return known[codes], absent, ~absent & np.array([term is None for term in known])[codes]


def factorized(values: pd.Series) -> tuple[npt.NDArray[np.intp], Any]:
    """Return the different values, and which of them each row has, -1 for none."""
    try:
        codes, distinct = pd.factorize(values)
    except TypeError:
        # Lists and objects, which GeoJSON may hold, as text.
        codes, distinct = pd.factorize(values.map(str, na_action="ignore"))
    return codes, distinct


Converted = tuple[Any, Mask]


def _distinct(values: pd.Series, convert: Callable[[pd.Series], Converted]) -> Converted:
    """Convert each different value once, where values are objects and conversion is slow."""
    if values.dtype != object and not pd.api.types.is_string_dtype(values.dtype):
        return convert(values)
    codes, distinct = factorized(values)
    if len(distinct) * 2 > len(values):
        return convert(values)
    # The last row stands for absent values, whose code is -1.
    result, wrong = convert(pd.Series([*distinct, None], dtype=object))
    return result[codes], wrong[codes]


def _number(values: pd.Series) -> Converted:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
    else:
        # "12,5" and "50 km/h" are numbers to the people who wrote them.
        found = values.astype("string").str.extract(NUMBER, expand=False).str.replace(",", ".")
        numbers = pd.to_numeric(found, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~np.isfinite(numbers)
    return np.where(wrong, np.nan, numbers), wrong


def _integer(values: pd.Series) -> Converted:
    if isinstance(values.dtype, pd.Int64Dtype) or pd.api.types.is_integer_dtype(values.dtype):
        return values.astype("Int64").array, np.zeros(len(values), dtype=bool)
    numbers, wrong = _number(values)
    rounded = np.rint(numbers)
    # A half storey is a surveyor's rounding; a number beyond a bigint is a mistake.
    wrong = wrong | (np.abs(rounded) > 2**62)
    if not pd.api.types.is_numeric_dtype(values):
        wrong = wrong | values.astype("string").str.contains(THOUSANDS).fillna(False).to_numpy(dtype=bool)
    return pd.array(np.where(wrong, np.nan, rounded)).astype("Int64"), wrong


def _boolean(values: pd.Series) -> Converted:
    folded = values.astype("string").str.strip().str.casefold()
    yes, no = folded.isin(TRUE).to_numpy(dtype=bool), folded.isin(FALSE).to_numpy(dtype=bool)
    known = np.full(len(values), None, dtype=object)
    known[yes], known[no] = True, False
    return known, ~(yes | no)


_CONVERT: dict[str, Callable[[pd.Series], Converted]] = {
    "number": _number, "integer": _integer, "boolean": _boolean,
}  # fmt: skip
_CONVERT_TIME: dict[str, Callable[[pd.Series, tzinfo], Converted]] = {"time": moments, "date": dates}

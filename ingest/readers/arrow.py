"""Columns of Arrow batches: their types, and their values as pandas columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ingest.frames import of_codes
from ingest.readers.limits import Limits
from ingest.readers.row_problems import add_problem, row_problem
from ingest.readers.text import decode as decode_bytes
from layers.theme import FieldType
from twin.text import Text

TOO_LONG, BEYOND = "text.too_long", "value.beyond"
# Days since 1970: the first of the year 1 and the last of the year 9999.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
_A_DAY = {"D": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}

# So many texts show whether a column repeats itself.
_BEGINNING = 1000

Decode = Callable[[pa.Array], npt.NDArray[np.object_]]


def column_type(of: pa.DataType) -> FieldType:
    """Return the type of a column; lists and the like are text. A time without a zone is text too: it is not yet a
    time.
    """
    if isinstance(of, pa.ExtensionType):
        return column_type(of.storage_type)
    if pa.types.is_dictionary(of):
        return column_type(of.value_type)
    if pa.types.is_boolean(of):
        return "boolean"
    if pa.types.is_integer(of):
        return "integer"
    if pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if pa.types.is_date(of):
        return "date"
    if pa.types.is_timestamp(of) and of.tz is not None:
        return "time"
    return "text"


def to_series(
    values: pa.Array, name: str, limits: Limits, problems: npt.NDArray[np.object_], decode: Decode | None = None
) -> pd.Series:
    """Give a column's values; a text that is too long is left out, with a note beside its row."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        values = _of_our_years(values, name, problems)
    kind = column_type(values.type)
    if kind == "integer":
        numbers = values.cast(pa.int64(), safe=False) if not pa.types.is_uint64(values.type) else values
        if values.null_count:
            return pd.Series(
                numbers.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}.get)
            )
        return pd.Series(numbers.to_numpy(zero_copy_only=False))
    if kind == "number":
        return pd.Series(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if kind == "boolean":
        return pd.Series(values.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get))
    if kind in ("date", "time"):
        return pd.Series(values.to_pandas())
    return _texts(values, name, limits, problems, decode)


def _of_our_years(values: pa.Array, name: str, problems: npt.NDArray[np.object_]) -> pa.Array:
    """Leave out days and moments of years that no calendar of a program has, with a note beside their rows."""
    unit = "D" if pa.types.is_date32(values.type) else getattr(values.type, "unit", "ms")
    each = _A_DAY[unit]
    width = pa.int32() if unit == "D" else pa.int64()
    numbers = values.cast(width).cast(pa.int64())
    low, high = max(FIRST_DAY * each, -(2**63)), min((LAST_DAY + 1) * each - 1, 2**63 - 1)
    beyond = pc.fill_null(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)), False)
    if not pc.any(beyond).as_py():
        return values
    where = beyond.to_numpy(zero_copy_only=False)
    add_problem(problems, where, row_problem(BEYOND, name))
    return pc.if_else(pa.array(~where), values, pa.scalar(None, values.type))


def _texts(
    values: pa.Array, name: str, limits: Limits, problems: npt.NDArray[np.object_], decode: Decode | None
) -> pd.Series:
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        values = _as_text(values)
    long = pc.fill_null(pc.greater(pc.binary_length(values), 4 * limits.string_length), False)
    if pc.any(long).as_py():
        where = long.to_numpy(zero_copy_only=False)
        limit = Text(en="{name}, more than {n:,} characters", vi="{name}, hơn {n:,} ký tự")
        add_problem(problems, where, row_problem(TOO_LONG, limit.format(name=name, n=limits.string_length)))
        values = pc.if_else(pa.array(~where), values.cast(pa.large_binary()), pa.scalar(None, pa.large_binary()))
    if decode is not None:
        return pd.Series(decode(values), dtype=object)
    try:
        return pd.Series(_objects(values.cast(pa.large_string())), dtype=object, copy=False)
    except (UnicodeDecodeError, pa.ArrowException):
        return _damaged(values, name, problems)


def _objects(texts: pa.Array) -> npt.NDArray[np.object_]:
    """Return texts as Python has them; where they look like repeating themselves, one for all that are equal."""
    beginning = texts.slice(0, _BEGINNING)
    if len(pc.unique(beginning)) * 2 > len(beginning):
        plain: npt.NDArray[np.object_] = texts.to_numpy(zero_copy_only=False)
        return plain
    encoded = texts.dictionary_encode()
    return of_codes(encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices)


def _damaged(values: pa.Array, name: str, problems: npt.NDArray[np.object_]) -> pd.Series:
    """Decode text of a Unicode format that is not Unicode: wrong bytes are replaced, and the row gets a problem."""
    texts = np.full(len(values), None, dtype=object)
    for i, value in enumerate(values.cast(pa.large_binary()).to_pylist()):
        if value is None:
            continue
        try:
            texts[i] = value.decode("utf-8")
        except UnicodeDecodeError:
            texts[i] = decode_bytes(value, "utf-8")
            if "\ufffd" in texts[i] and problems[i] is None:
                problems[i] = row_problem("text.not_unicode", name)
    return pd.Series(texts, dtype=object)


def _as_text(values: pa.Array) -> pa.Array:
    def text(value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, list | dict):
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    return pa.array([text(value) for value in values.to_pylist()], pa.large_string())

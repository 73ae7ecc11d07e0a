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
from ingest.readers.source import note
from ingest.readers.text import decode as decode_bytes
from layers.theme import FieldType

TOO_LONG = "text.too_long"

# So many texts show whether a column repeats itself.
_BEGINNING = 1000

Decode = Callable[[pa.Array], npt.NDArray[np.object_]]


def column_type(of: pa.DataType) -> FieldType:
    """The type of a column; lists and the like are text. A time without a zone is text too: it is not yet a time."""
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


def _texts(
    values: pa.Array, name: str, limits: Limits, problems: npt.NDArray[np.object_], decode: Decode | None
) -> pd.Series:
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        values = _as_text(values)
    long = pc.fill_null(pc.greater(pc.binary_length(values), 4 * limits.string_length), False)
    if pc.any(long).as_py():
        where = long.to_numpy(zero_copy_only=False)
        note(problems, where, f"{TOO_LONG}: {name}, more than {limits.string_length:,} characters")
        values = pc.if_else(pa.array(~where), values.cast(pa.large_binary()), pa.scalar(None, pa.large_binary()))
    if decode is not None:
        return pd.Series(decode(values), dtype=object)
    try:
        return pd.Series(_objects(values.cast(pa.large_string())), dtype=object, copy=False)
    except (UnicodeDecodeError, pa.ArrowException):
        return _damaged(values, name, problems)


def _objects(texts: pa.Array) -> npt.NDArray[np.object_]:
    """Texts as Python has them; where they look like repeating themselves, one for all that are equal."""
    beginning = texts.slice(0, _BEGINNING)
    if len(pc.unique(beginning)) * 2 > len(beginning):
        plain: npt.NDArray[np.object_] = texts.to_numpy(zero_copy_only=False)
        return plain
    encoded = texts.dictionary_encode()
    return of_codes(encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices)


def _damaged(values: pa.Array, name: str, problems: npt.NDArray[np.object_]) -> pd.Series:
    """Text of a Unicode format that is not Unicode: what is wrong is replaced, and the row says so."""
    texts = np.full(len(values), None, dtype=object)
    for i, value in enumerate(values.cast(pa.large_binary()).to_pylist()):
        if value is None:
            continue
        try:
            texts[i] = value.decode("utf-8")
        except UnicodeDecodeError:
            texts[i] = decode_bytes(value, "utf-8")
            if "\ufffd" in texts[i] and problems[i] is None:
                problems[i] = f"text.not_unicode: {name}"
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

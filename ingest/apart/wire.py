"""Messages between the process that reads a file and the one that asks: plain values, tables and shapes.

What reads a stranger's file may be taken over by it. So nothing is unpacked here that could run code: pickle writes
values of a few plain types, and any other name in a message is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from pyproj import CRS

from ingest.frames import GEOMETRY, with_geometry
from ingest.readers.source import WKB
from twin.text import Text

_PLAIN_TYPES = {
    ("datetime", "date"): date, ("datetime", "datetime"): datetime, ("datetime", "time"): time,
    ("datetime", "timedelta"): timedelta, ("datetime", "timezone"): timezone, ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): UUID,
}  # fmt: skip
_SIMPLE = frozenset({type(None), bool, int, float, str, bytes})
_NUMBERS = re.compile(r"[<>|=][?biufmMSU]\d*(\[\w+\])?")
_MASKED = {str(kind()): kind for kind in (pd.Int64Dtype, pd.UInt64Dtype, pd.BooleanDtype, pd.Float64Dtype)}


class _Writer(pickle.Pickler):
    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        """Return what stands for a value of a type that is not plain."""
        if isinstance(value, Text):
            return ("text", value.en, value.vi)
        if isinstance(value, CRS):
            return ("crs", value.srs)
        if isinstance(value, np.ndarray):
            return ("array", *_array(value))
        if isinstance(value, pd.DataFrame):
            return ("table", *_table(value))
        if value is pd.NaT or value is pd.NA:
            return ("none",)
        if isinstance(value, pd.Timestamp):
            return ("moment", value.isoformat(), value.unit, str(value.tz) if value.tz else None)
        if isinstance(value, np.generic):
            return ("array0", *_array(np.asarray(value).reshape(1)))
        return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return one of the plain types; nothing else has a name here."""
        try:
            return _PLAIN_TYPES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not taken") from None

    def persistent_load(self, value: Any) -> Any:
        """Return the value that this stands for."""
        kind, *parts = value
        return _KINDS[kind](*parts)


class _Simple(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return nothing: these values are of types that need no name."""
        raise pickle.UnpicklingError(f"{module}.{name} is not taken")


def pack(message: Any) -> bytes:
    """Return a message as bytes."""
    written = io.BytesIO()
    _Writer(written, protocol=5).dump(message)
    return written.getvalue()


def unpack(message: bytes) -> Any:
    """Return the message that was packed; raise UnpicklingError for one that holds anything but plain values."""
    try:
        return _Reader(io.BytesIO(message)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        raise pickle.UnpicklingError(f"not a message: {type(error).__name__}") from error


def _array(values: npt.NDArray[Any]) -> tuple[Any, ...]:
    if values.dtype == object:
        listed = values.tolist()
        # Written and read by C alone, since none of them needs a look.
        if set(map(type, listed)) <= _SIMPLE:
            return ("simple", pickle.dumps(listed, protocol=5), values.shape)
        return (None, listed, values.shape)
    return (values.dtype.str, values.tobytes(), values.shape)


def _to_array(kind: str | None, values: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if kind == "simple":
        values = _Simple(io.BytesIO(values)).load()
    if kind is None or kind == "simple":
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found
    if not _NUMBERS.fullmatch(kind):
        raise pickle.UnpicklingError(f"no type of numbers: {kind}")
    return np.frombuffer(bytearray(values), dtype=np.dtype(kind)).reshape(shape)


def _series(values: pd.Series) -> tuple[Any, ...]:
    kind = values.dtype
    if isinstance(kind, np.dtype):
        return ("plain", values.to_numpy())
    if str(kind) in _MASKED:
        filled = values.array
        return ("masked", str(kind), filled._data, filled._mask)
    if isinstance(kind, pd.DatetimeTZDtype):
        moments = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return ("zoned", moments, str(kind.tz))
    return ("inferred", values.astype(object).to_numpy())


def _to_series(kind: str, *parts: Any) -> Any:
    if kind == "plain":
        return pd.Series(parts[0], dtype=parts[0].dtype, copy=False)
    if kind == "inferred":
        return pd.Series(parts[0])
    if kind == "masked":
        name, values, mask = parts
        array = pd.array(values, dtype=_MASKED[name]())
        array[np.asarray(mask, dtype=bool)] = pd.NA
        return pd.Series(array, copy=False)
    moments, zone = parts
    return pd.Series(moments).dt.tz_localize("UTC").dt.tz_convert(_zone(zone))


def _zone(name: str) -> Any:
    if name == "UTC":
        return UTC
    if match := re.fullmatch(r"UTC([+-]\d\d):(\d\d)", name):
        sign = -1 if match[1].startswith("-") else 1
        return timezone(timedelta(hours=int(match[1]), minutes=sign * int(match[2])))
    return ZoneInfo(name)


def _table(table: pd.DataFrame) -> tuple[Any, ...]:
    columns = {str(name): _series(values) for name, values in table.items() if name != GEOMETRY}
    rows, crs = len(table), None
    index = table.index
    labels = None if isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 else index.to_numpy()
    shapes = None
    if isinstance(table, gpd.GeoDataFrame):
        crs = table.crs
        known = table[WKB].to_numpy() if WKB in table else None
        # The same bytes as in the column are written once.
        if known is not None and rows and all(type(value) is bytes for value in known):
            shapes = WKB
        else:
            shapes = shapely.to_wkb(np.asarray(table.geometry.values, dtype=object))
    return (rows, list(columns.items()), shapes, labels, crs)


def _to_table(rows: int, columns: list[tuple[str, Any]], shapes: Any, labels: Any, crs: Any) -> pd.DataFrame:
    found: Mapping[str, Any] = {name: _to_series(*values) for name, values in columns}
    if shapes is None:
        table = pd.DataFrame(dict(found), index=pd.RangeIndex(rows))
    else:
        written = found[WKB].to_numpy() if isinstance(shapes, str) else shapes
        table = with_geometry(found, shapely.from_wkb(written), crs)
    if labels is not None:
        table.index = pd.Index(labels)
    return table


_KINDS: Mapping[str, Any] = {
    "text": lambda en, vi: Text(en=str(en), vi=str(vi)),
    "crs": lambda text: CRS.from_user_input(str(text)),
    "array": _to_array,
    "array0": lambda *parts: _to_array(*parts)[0],
    "table": _to_table,
    "none": lambda: None,
    "moment": lambda text, unit, zone: (
        lambda moment: moment.tz_convert(_zone(zone)) if zone else moment
    )(pd.Timestamp(str(text)).as_unit(unit)),
}  # fmt: skip

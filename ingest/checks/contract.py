"""Checks of features against their theme's contract: types, vocabulary, range, geometry. What fails is set aside."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from layers.theme import Field, GeometryKind, Theme, fold
from twin.catalogue import Column
from twin.crs import to_wgs84

DIMENSION: dict[GeometryKind, int] = {"point": 0, "line": 1, "polygon": 2}
TRUE = frozenset({"yes", "true", "1", "t", "y", "có", "-1", "1.0"})
FALSE = frozenset({"no", "false", "0", "f", "n", "không", "0.0"})
# A number with a decimal point or comma, perhaps followed by a unit. A comma before exactly three digits may part
# thousands as well as decimals: better set aside than guessed.
NUMBER = re.compile(r"^\s*([+-]?\d+(?:\.\d+|,(?!\d{3}(?!\d))\d+)?(?:[eE][+-]?\d+)?)\s*(?:[^\W\d]|[%°/²³])*\s*$")

# How far from the city's outline a feature may lie, in degrees, before it is taken for a mistake.
STRAY_DEGREES = 0.5


@dataclass
class Findings:
    """What the checks found in a layer: features mended, and set aside by reason."""

    mended: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after the checks: the good features, and the entries for quarantine."""

    good: gpd.GeoDataFrame
    bad: list[dict[str, Any]]


class _Faults:
    """The first fault of each row, and what to say of it."""

    def __init__(self, rows: int) -> None:
        self.reason: npt.NDArray[np.object_] = np.full(rows, None, dtype=object)
        self.detail: npt.NDArray[np.object_] = np.full(rows, "", dtype=object)

    @property
    def none(self) -> npt.NDArray[np.bool_]:
        """Which rows have no fault."""
        clean: npt.NDArray[np.bool_] = pd.isna(self.reason)
        return clean

    def add(self, where: npt.NDArray[np.bool_], reason: str, details: npt.NDArray[np.object_] | str = "") -> None:
        new = where & self.none
        self.reason[new] = reason
        self.detail[new] = details if isinstance(details, str) else details[new]


def check(
    features: gpd.GeoDataFrame, theme: Theme, columns: Sequence[Column], crs: Any, outline: BaseGeometry,
    findings: Findings,
) -> Checked:  # fmt: skip
    """Bring features to the layer's types, to EPSG:4326 and to the theme's kind of geometry; set aside what cannot.

    Polygons that cross themselves are mended (and counted); collections give up the parts of the theme's kind.
    """
    faults = _Faults(len(features))
    original = np.asarray(features.geometry.values, dtype=object)
    geometry = _geometry(original, theme.geometry, crs, outline, faults, findings)
    values: dict[str, Any] = {"id": features["id"].to_numpy(dtype=object)}
    for column in columns:
        values[column.name] = _typed(features[column.name], column, theme.by_name.get(column.name), faults)

    good = faults.none
    frame = gpd.GeoDataFrame(pd.DataFrame(values), geometry=geometry, crs=4326)
    bad = _entries(features, original, faults, np.flatnonzero(~good))
    findings.set_aside.update(entry["reason"] for entry in bad)
    return Checked(frame[good].reset_index(drop=True), bad)


def _geometry(
    original: npt.NDArray[np.object_], kind: GeometryKind, crs: Any, outline: BaseGeometry,
    faults: _Faults, findings: Findings,
) -> npt.NDArray[np.object_]:  # fmt: skip
    shapes = to_wgs84(original, crs)
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    faults.add(empty, "geometry.missing")
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    faults.add(~empty & ~finite, "geometry.not_finite")
    usable = ~empty & finite
    shapes = _only(usable, shapes)

    if kind == "polygon":
        broken = usable & ~shapely.is_valid(shapes)
        if broken.any():
            shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
            findings.mended += int(broken.sum())
    shapes = _of_kind(shapes, kind)
    faults.add(usable & shapely.is_missing(shapes), "geometry.kind", f"{kind} expected")
    if kind == "polygon":
        flat = usable & (shapely.area(shapes) == 0)
        faults.add(flat, "geometry.no_area")
    near = shapely.buffer(outline, STRAY_DEGREES, quad_segs=2)
    shapely.prepare(near)
    faults.add(~shapely.is_missing(shapes) & ~shapely.intersects(near, shapes), "geometry.outside_city")
    return shapes


def _only(where: npt.NDArray[np.bool_], values: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """The values there, and None elsewhere."""
    kept = np.full(len(values), None, dtype=object)
    kept[where] = values[where]
    return kept


def _of_kind(shapes: npt.NDArray[np.object_], kind: GeometryKind) -> npt.NDArray[np.object_]:
    """Keep geometries of the kind; from others take the parts of the kind, or a point on a surface or line."""
    dimension = DIMENSION[kind]
    # Types: 0 point, 1 line, 2 ring, 3 polygon, 4–6 their multi-forms, 7 collection.
    types = shapely.get_type_id(shapes)
    mixed = types == 7
    if mixed.any():
        shapes = shapes.copy()
        for i in np.flatnonzero(mixed):
            shapes[i] = _parts_of(shapes[i], dimension)
    own = shapely.get_dimensions(shapes)
    if kind == "point":
        wider = own > 0
        if wider.any():
            shapes = shapes.copy()
            shapes[wider] = shapely.point_on_surface(shapes[wider])
            own = shapely.get_dimensions(shapes)
    return _only((own == dimension) & ~shapely.is_empty(shapes), shapes)


def _parts_of(collection: BaseGeometry, dimension: int) -> BaseGeometry | None:
    parts = np.array([collection], dtype=object)
    while (shapely.get_type_id(parts) >= 4).any():
        parts = shapely.get_parts(parts)
    parts = parts[shapely.get_dimensions(parts) == dimension]
    if not len(parts):
        return None
    if len(parts) == 1:
        return parts[0]
    return (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimension](parts)


def _typed(values: pd.Series, column: Column, field_: Field | None, faults: _Faults) -> Any:
    absent = values.isna().to_numpy()
    if field_ is not None and field_.vocabulary is not None:
        typed = _terms(values, field_)
        unknown = ~absent & pd.isna(typed)
        faults.add(unknown, "field.vocabulary", _said(field_.name, values, unknown))
        absent = absent | unknown
    else:
        typed, wrong = _CONVERT[column.type](values)
        wrong &= ~absent
        if field_ is not None:
            faults.add(wrong, "field.type", _said(column.name, values, wrong))
            absent = absent | wrong
            if field_.minimum is not None or field_.maximum is not None:
                number = pd.to_numeric(pd.Series(typed), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
                low = -np.inf if field_.minimum is None else field_.minimum
                high = np.inf if field_.maximum is None else field_.maximum
                out = (number < low) | (number > high)
                faults.add(out, "field.range", _said(column.name, values, out))
    if field_ is not None and field_.required:
        faults.add(absent, "field.required", field_.name)
    return typed


def _said(name: str, values: pd.Series, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    said = np.full(len(values), "", dtype=object)
    for i in np.flatnonzero(where):
        said[i] = f"{name} = {str(values.iloc[i])[:100]}"
    return said


def _terms(values: pd.Series, field_: Field) -> npt.NDArray[np.object_]:
    lookup = field_.lookup
    distinct = {v: lookup.get(fold(str(v))) for v in values.dropna().unique()}
    return np.array([distinct.get(v) if not pd.isna(v) else None for v in values], dtype=object)


_Converted = tuple[Any, npt.NDArray[np.bool_]]


def _text(values: pd.Series) -> _Converted:
    def clean(value: object) -> str | None:
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            return None
        text = unicodedata.normalize("NFC", str(value)).strip().replace("\0", "")
        return text or None

    return np.array([clean(v) for v in values], dtype=object), np.zeros(len(values), dtype=bool)


def _number(values: pd.Series) -> _Converted:
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
    else:
        # "12,5" and "50 km/h" are numbers to the people who wrote them.
        found = values.astype("string").str.extract(NUMBER, expand=False).str.replace(",", ".")
        numbers = pd.to_numeric(found, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~np.isfinite(numbers)
    return np.where(wrong, np.nan, numbers), wrong


def _integer(values: pd.Series) -> _Converted:
    if isinstance(values.dtype, pd.Int64Dtype) or pd.api.types.is_integer_dtype(values.dtype):
        return values.astype("Int64").array, np.zeros(len(values), dtype=bool)
    numbers, wrong = _number(values)
    rounded = np.rint(numbers)
    # A half storey is a surveyor's rounding; a number beyond a bigint is a mistake.
    wrong |= np.abs(rounded) > 2**62
    return pd.array(np.where(wrong, np.nan, rounded)).astype("Int64"), wrong


def _boolean(values: pd.Series) -> _Converted:
    folded = values.astype("string").str.strip().str.casefold()
    yes, no = folded.isin(TRUE).to_numpy(dtype=bool), folded.isin(FALSE).to_numpy(dtype=bool)
    known = np.full(len(values), None, dtype=object)
    known[yes], known[no] = True, False
    return known, ~(yes | no)


def _moment(values: pd.Series) -> _Converted:
    times = pd.to_datetime(values, errors="coerce", utc=True)
    return times.array, times.isna().to_numpy()


def _date(values: pd.Series) -> _Converted:
    times = pd.to_datetime(values, errors="coerce", utc=True)
    return times.dt.date.where(times.notna(), None).to_numpy(dtype=object), times.isna().to_numpy()


_CONVERT = {
    "text": _text, "number": _number, "integer": _integer, "boolean": _boolean, "time": _moment, "date": _date,
}  # fmt: skip


def _entries(
    features: gpd.GeoDataFrame, geometry: npt.NDArray[np.object_], faults: _Faults, rows: npt.NDArray[np.intp]
) -> list[dict[str, Any]]:
    if not len(rows):
        return []
    attributes = pd.DataFrame(features.drop(columns=[features.geometry.name, "id"])).iloc[rows]
    plain = attributes.astype(object).where(attributes.notna(), None).to_dict("records")
    return [
        {
            "feature_id": _string(features["id"].iloc[row]),
            "reason": faults.reason[row],
            "detail": faults.detail[row],
            "properties": {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in p.items()},
            "geometry": shapely.to_wkb(geometry[row]) if geometry[row] is not None else None,
        }
        for row, p in zip(rows, plain, strict=True)
    ]


def _string(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)

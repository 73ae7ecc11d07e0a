"""From an agency's columns to a theme's fields, as the description says; what is not mapped is carried along."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from ingest.frames import objects, with_geometry
from ingest.readers.source import inside, missing_columns
from ingest.spec import FieldSource, Join, Source
from layers.theme import RESERVED, Field, FieldType, Theme, fold
from twin.catalogue import Column
from twin.text import Text

MAX_COLUMN_NAME = 40
LAST_OF_NAME = 12
# A place in a template. Not str.format: that reads attributes, and OpenStreetMap's keys have colons.
PLACE = re.compile(r"\{([^{}]+)\}")


def column_name(name: str) -> str:
    """A plain identifier for any column name: tone marks off, small letters, digits and _."""
    bare = unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D"))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).lower()
    bare = re.sub(r"[^a-z0-9]+", "_", bare).strip("_")
    if len(bare) > MAX_COLUMN_NAME:
        # Long names often differ in the year at their end.
        tail = bare[-LAST_OF_NAME:].strip("_")
        bare = f"{bare[: MAX_COLUMN_NAME - len(tail) - 1].rstrip('_')}_{tail}"
    return bare if bare[:1].isalpha() else f"c_{bare}"


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """How one source's columns become a layer's: the theme's fields, then the agency's own."""

    source: Source
    fields: Mapping[str, FieldSource]
    own: Mapping[str, str]
    join: pd.DataFrame | None


def columns_of_layer(theme: Theme, own: Mapping[str, FieldType]) -> tuple[Column, ...]:
    """The columns of a layer's table: every field of the theme, then the agency's own columns by new name."""
    fields = [Column(f.name, f.type, f.title, f.unit) for f in theme.fields]
    extra = [
        Column(name, kind, Text(en=name.replace("_", " "), vi=name.replace("_", " "))) for name, kind in own.items()
    ]
    return (*fields, *extra)


def prepare(
    source: Source, columns: Mapping[str, FieldType], theme: Theme, folder: Path, path: Path
) -> tuple[FieldMapping, dict[str, FieldType]]:
    """Fit a source's mapping to its file; give it with the agency's own columns and their types.

    A column that a field takes over as it is does not stand twice; one that was translated stays beside the field,
    so that nothing of the agency's wording is lost.
    """
    columns = dict(columns)
    join = None
    if source.join:
        join = read_join(source.join, folder)
        columns |= dict.fromkeys(source.join.mean, "number")
        if source.join.count:
            columns[source.join.count] = "integer"
    fields = source.field_sources() or {
        name: FieldSource.model_validate({"from": name}) for name in theme.by_name if name in columns
    }
    wanted = {c for f in fields.values() for c in _columns_used(f)} | set(source.where)
    wanted |= {c for c in (source.unique, source.join.on if source.join else None) if c} | _id_columns(source)
    missing_columns(path, wanted, columns)

    taken = {f.column for f in fields.values() if f.column and not (f.values or f.bins or f.per or f.extract)}
    left_out = {*taken, *source.drop, source.longitude, source.latitude, source.id}
    own: dict[str, str] = {}
    for name in columns:
        if name not in left_out:
            own[name] = _free_name(column_name(name), {*theme.by_name, *RESERVED, *own.values()})
    return FieldMapping(source, fields, own, join), {new: columns[old] for old, new in own.items()}


def _free_name(plain: str, taken: set[str]) -> str:
    """A name that is not taken and that the database does not cut off, which knows 63 bytes."""
    if plain not in taken:
        return plain
    new, number = f"{plain}_source", 1
    while new in taken:
        number += 1
        new = f"{plain}_{number}"
    return new


def _columns_used(field: FieldSource) -> set[str]:
    used = {str(name) for name in (field.column, field.per) if name}
    return used | _places_of(field.template or "")


def _id_columns(source: Source) -> set[str]:
    if source.id is None:
        return set()
    return _places_of(source.id) if "{" in source.id else {source.id}


def _places_of(template: str) -> set[str]:
    return set(PLACE.findall(template))


def read_join(join: Join, folder: Path) -> pd.DataFrame:
    """Read the table to join, one row a key: its numbers averaged, its rows counted."""
    path = inside(folder, join.file)
    table = pd.read_csv(path, dtype={join.key: str})
    missing_columns(path, {join.key, *join.mean}, dict.fromkeys(table.columns, "text"))
    groups = table.groupby(join.key)
    joined = groups[list(join.mean)].mean()
    if join.count:
        joined[join.count] = groups.size()
    return joined


def apply(
    mapping: FieldMapping, raw: gpd.GeoDataFrame, theme: Theme, layer_columns: Sequence[Column]
) -> gpd.GeoDataFrame:
    """Turn a batch of raw features into the layer's columns, with `id` as far as the source gives one."""
    source = mapping.source
    keep = np.ones(len(raw), dtype=bool)
    for column, wanted in source.where.items():
        keep &= raw[column].isin(wanted).to_numpy()
    if mapping.join is not None and source.join is not None:
        keep &= raw[source.join.on].isin(mapping.join.index).to_numpy()
    if not keep.all():
        raw = raw[keep].reset_index(drop=True)
    if mapping.join is not None and source.join is not None:
        partner = mapping.join.loc[raw[source.join.on]].reset_index(drop=True)
        raw = gpd.GeoDataFrame(pd.concat([raw, partner], axis=1), geometry=raw.geometry.name)

    values: dict[str, pd.Series] = {}
    for name, field in mapping.fields.items():
        values[name] = _value(field, raw, theme.by_name[name])
    for old, new in mapping.own.items():
        values[new] = raw[old]
    nothing = objects(None, len(raw))
    named = {c.name: values.get(c.name, nothing) for c in layer_columns}
    return with_geometry({**named, "id": _ids(source, raw)}, np.asarray(raw.geometry.values, dtype=object))


def _ids(source: Source, raw: gpd.GeoDataFrame) -> pd.Series:
    if source.id is None:
        return objects(None, len(raw))
    if "{" in source.id:
        return _filled(source.prefix + source.id, raw)
    text = _as_text(raw[source.id]).str.strip()
    return objects((source.prefix + text if source.prefix else text).to_numpy(dtype=object, na_value=None), len(raw))


def _as_text(values: pd.Series) -> pd.Series:
    """Numbers that are whole are written without a decimal point, as people write an id or a code."""
    if pd.api.types.is_float_dtype(values.dtype):
        present = values.dropna()
        if ((present % 1 == 0) & (present.abs() < 2**53)).all():
            values = values.astype("Int64")
    return values.astype("string")


def _filled(template: str, raw: gpd.GeoDataFrame) -> pd.Series:
    names = sorted(_places_of(template))
    columns = [_as_text(raw[name]).fillna("").str.strip() for name in names]

    def fill(values: Mapping[str, str]) -> str | None:
        return PLACE.sub(lambda place: values[place[1]], template).strip() or None

    rows = (fill(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return pd.Series(list(rows), dtype=object)


def _value(field: FieldSource, raw: gpd.GeoDataFrame, of: Field) -> pd.Series:
    if field.constant is not None:
        return pd.Series([field.constant] * len(raw), dtype=object)
    if field.template is not None:
        return _filled(field.template, raw)
    values = raw[field.column]
    if field.per:
        whole = pd.to_numeric(values, errors="coerce")
        values = whole / pd.to_numeric(raw[field.per], errors="coerce").replace(0, np.nan)
    if field.extract:
        values = values.astype("string").str.extract(f"({field.extract})", expand=True).iloc[:, -1].astype(object)
    if field.bins:
        values = _binned(values, field.bins)
    if field.values is not None or field.other is not None:
        values = _translated(values, field, of)
    return values


def _binned(values: pd.Series, bins: tuple[tuple[float, str], ...]) -> pd.Series:
    limits = [limit for limit, _ in bins]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    place = np.minimum(np.searchsorted(limits, numbers, side="left"), len(limits) - 1)
    terms = np.array([term for _, term in bins], dtype=object)
    return pd.Series(np.where(np.isnan(numbers), None, terms[place]), dtype=object)


def _translated(values: pd.Series, field: FieldSource, of: Field) -> pd.Series:
    known = of.lookup
    translated: dict[str, str] = {}
    as_text = _as_text(values)
    for value in as_text.dropna().unique():
        term = (field.values or {}).get(value)
        if term is None and field.other is not None and fold(value) not in known:
            term = field.other
        translated[value] = value if term is None else term
    return as_text.astype(object).map(translated, na_action="ignore")

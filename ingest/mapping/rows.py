"""Mapping of an agency's columns to a theme's fields; columns that are not mapped are carried along."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from ingest.column_names import column_name, free_name
from ingest.frames import objects, with_geometry
from ingest.mapping.description import FieldSource, MappingFile, RowMapping
from ingest.mapping.joins import Matched, Partner, as_text, joined
from ingest.readers.source import missing_columns
from ingest.repeats import EarlierValues, hash_values
from layers.theme import RESERVED, Field, FieldType, Theme, fold
from twin.catalogue.catalogue import Column
from twin.catalogue.staging import Shape
from twin.errors import BadInput
from twin.text import Text

# Part of every fingerprint: raise it when the same file would now give other rows.
ROWS_REVISION = 4

# A place in a template. Not str.format: that reads attributes, and OpenStreetMap's keys have colons.
PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Mapping of one file's columns to a layer's: the theme's fields, then the agency's own."""

    rows: RowMapping
    fields: Mapping[str, FieldSource]
    own: Mapping[str, str]
    partner: Partner | None


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of a batch that become features, joined with their partners.

    `kept` tells which rows of the batch these are. `left_out` counts the others by the part of the mapping that leaves
    them out. `matched` is what the join found for the kept rows.
    """

    features: gpd.GeoDataFrame
    kept: npt.NDArray[np.bool_]
    left_out: Mapping[str, int]
    matched: Matched | None


def columns_of_layer(theme: Theme, own: Mapping[str, FieldType]) -> tuple[Column, ...]:
    """Return the columns of a layer's table: every field of the theme, then the agency's own columns by new name."""
    fields = [Column(f.name, f.type, f.title, f.unit) for f in theme.fields]
    extra = [
        Column(name, kind, Text(en=name.replace("_", " "), vi=name.replace("_", " "))) for name, kind in own.items()
    ]
    return (*fields, *extra)


def shape_of(theme: Theme, columns: Sequence[Column]) -> Shape:
    """Return the tables of a version that follows a theme."""
    label = theme.label if theme.geometry == "polygon" else None
    return Shape(tuple(columns), theme.resolution, label, theme.rollup(column.name for column in columns))


def prepare(
    rows: RowMapping, columns: Mapping[str, FieldType], theme: Theme, file: Path, partner: Partner | None = None
) -> tuple[FieldMapping, dict[str, FieldType]]:
    """Fit a mapping to its file; return it with the agency's own columns and their types.

    A column that a field takes over as it is does not stand twice; one that was translated stays beside the field,
    so that nothing of the agency's wording is lost.
    """
    columns = dict(columns)
    if partner is not None:
        if both := sorted(set(partner.columns) & set(columns)):
            raise BadInput(
                Text(
                    en="{file} and what it is joined with both have the column {names}: leave it out of the join.",
                    vi="{file} và bảng được nối đều có cột {names}: hãy bỏ cột đó khỏi phần nối.",
                ).format(file=file.name, names=", ".join(both))
            )
        columns |= partner.columns
    fields = rows.field_sources() or {
        name: FieldSource.model_validate({"from": name}) for name in theme.by_name if name in columns
    }
    missing_columns(file, columns_used(rows, fields), columns)

    taken = {f.column for f in fields.values() if f.column and not (f.values or f.bins or f.per or f.extract)}
    place = (rows.longitude, rows.latitude) if isinstance(rows, MappingFile) else ()
    left_out = {*taken, *rows.drop, *place, rows.id}
    own: dict[str, str] = {}
    for name in columns:
        if name not in left_out:
            own[name] = free_name(column_name(name), {*theme.by_name, *RESERVED, *own.values()})
    return FieldMapping(rows, fields, own, partner), {new: columns[old] for old, new in own.items()}


def columns_used(rows: RowMapping, fields: Mapping[str, FieldSource]) -> set[str]:
    """Return the columns that a mapping names."""
    used = {c for f in fields.values() for c in _columns_used(f)} | set(rows.where)
    used |= {c for c in (rows.unique, rows.join.on if rows.join else None) if c}
    return used | _id_columns(rows)


def _columns_used(field: FieldSource) -> set[str]:
    used = {str(name) for name in (field.column, field.per) if name}
    return used | _places_of(field.template or "")


def _id_columns(source: RowMapping) -> set[str]:
    if source.id is None:
        return set()
    return _places_of(source.id) if "{" in source.id else {source.id}


def _places_of(template: str) -> set[str]:
    return set(PLACE.findall(template))


def select(mapping: FieldMapping, raw: gpd.GeoDataFrame, earlier: EarlierValues) -> Selected:
    """Choose the rows of a batch that become features, and join them. `earlier` holds the values of `unique` so far."""
    rows = mapping.rows
    keep = np.ones(len(raw), dtype=bool)
    left_out: dict[str, int] = {}

    def leave_out(where: npt.NDArray[np.bool_], part: str) -> None:
        if count := int((keep & where).sum()):
            left_out[part] = count
            keep[where] = False

    for column, wanted in rows.where.items():
        leave_out(~as_text(raw[column]).isin(wanted).to_numpy(dtype=bool), "where")
    if rows.unique:
        there = np.flatnonzero(keep)
        values = as_text(raw[rows.unique]).fillna("").to_numpy(dtype=object)[there]
        again = np.zeros(len(raw), dtype=bool)
        again[there] = earlier.find_repeats(hash_values(values))
        leave_out(again, "unique")
    if mapping.partner is None or rows.join is None:
        return Selected(raw if keep.all() else raw[keep].reset_index(drop=True), keep, left_out, None)

    keys = as_text(raw[rows.join.on]).str.strip().to_numpy(dtype=object, na_value=None)
    matched = mapping.partner.match(keys)
    if not mapping.partner.has_shapes:
        leave_out(~matched.found, "join")
    if not keep.all():
        raw = raw[keep].reset_index(drop=True)
        matched = matched.take(keep)
    return Selected(joined(raw, matched.values, matched.shapes), keep, left_out, matched)


def apply(
    mapping: FieldMapping, raw: gpd.GeoDataFrame, theme: Theme, layer_columns: Sequence[Column]
) -> gpd.GeoDataFrame:
    """Turn selected rows into the layer's columns, with `id` as far as the file gives one."""
    values: dict[str, pd.Series] = {}
    for name, field in mapping.fields.items():
        values[name] = _value(field, raw, theme.by_name[name])
    for old, new in mapping.own.items():
        values[new] = raw[old]
    nothing = objects(None, len(raw))
    named = {c.name: values.get(c.name, nothing) for c in layer_columns}
    return with_geometry({**named, "id": _ids(mapping.rows, raw)}, np.asarray(raw.geometry.values, dtype=object))


def _ids(source: RowMapping, raw: gpd.GeoDataFrame) -> pd.Series:
    if source.id is None:
        return objects(None, len(raw))
    if "{" in source.id:
        return _filled(source.prefix + source.id, raw)
    text = as_text(raw[source.id]).str.strip()
    return objects((source.prefix + text if source.prefix else text).to_numpy(dtype=object, na_value=None), len(raw))


def _filled(template: str, raw: gpd.GeoDataFrame) -> pd.Series:
    names = sorted(_places_of(template))
    columns = [as_text(raw[name]).fillna("").str.strip() for name in names]

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
    texts = as_text(values)
    for value in texts.dropna().unique():
        term = (field.values or {}).get(value)
        if term is None and field.other is not None and fold(value) not in known:
            term = field.other
        translated[value] = value if term is None else term
    return texts.astype(object).map(translated, na_action="ignore")

"""The contract type: what a theme's features carry, how they roll up to cells, and how they look on a map."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from twin.cells.rollup import CELLS_A_TILE, Plan, Rolled, resolution_for
from twin.text import Text

if TYPE_CHECKING:
    import geopandas as gpd

GeometryKind = Literal["point", "line", "polygon"]
FieldType = Literal["text", "integer", "number", "boolean", "date", "time"]
Importance = Callable[["gpd.GeoDataFrame"], npt.NDArray[np.float64]]

METRES_PER_DEGREE = 111_195.0

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,40}")
# Columns that every layer's table has; a field of a theme or an agency cannot take these names.
RESERVED = frozenset({"fid", "id", "geom", "label_point", "importance", "digest", "whole", "cell"})


class Rollup(StrEnum):
    """Rule by which the values of many features become one value of a cell."""

    SUM = "sum"
    COUNT = "count"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    MODE = "mode"


@dataclass(frozen=True, slots=True)
class Term:
    """One allowed value of a vocabulary: its title, its colour in a legend, and other spellings of it."""

    title: Text
    color: str | None = None
    aliases: tuple[str, ...] = ()


def fold(text: str) -> str:
    """Normalise a word as vocabularies compare it: NFC, no outer blanks, case-folded.

    Examples
    --------
    >>> fold("  CHUNG CƯ ")
    'chung cư'
    """
    return unicodedata.normalize("NFC", text).strip().casefold()


def term(en: str, vi: str, color: str | None = None, *aliases: str) -> Term:
    """Return one vocabulary entry: its titles, its colour in a legend (``#rrggbb``), other spellings."""
    return Term(Text(en=en, vi=vi), color, aliases)


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a theme's features.

    Parameters
    ----------
    name : str
        An identifier.
    type : {"text", "integer", "number", "boolean", "date", "time"}
    title : Text
        In both languages.
    unit : str, optional
        A UCUM code: "m", "km/h", "ug/m3", "{person}".
    vocabulary : mapping of str to Term, optional
        The allowed values.
    required : bool
        Features without a value go to quarantine.
    minimum, maximum : float, optional
        The believable range, in `unit`; values outside go to quarantine.
    rollup : Rollup, optional
        How values of many features become one value of a cell.
    weight : str, optional
        The field that weights a mean; equal weights by default.
    aliases : tuple of str
        Other names of the column in agencies' files.

    Examples
    --------
    >>> height = Field("height", "number", Text(en="Height", vi="Chiều cao"), unit="m", minimum=0, rollup=Rollup.MAX)
    >>> height.rollup
    <Rollup.MAX: 'max'>
    """

    name: str
    type: FieldType
    title: Text
    unit: str | None = None
    vocabulary: Mapping[str, Term] | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    rollup: Rollup | None = None
    weight: str | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not IDENTIFIER.fullmatch(self.name) or self.name in RESERVED:
            raise ValueError(f"field name {self.name!r} is reserved or not an identifier")
        if self.rollup in (Rollup.SUM, Rollup.MEAN) and self.type not in ("integer", "number"):
            raise ValueError(f"field {self.name!r}: {self.rollup} needs a number")

    @property
    def lookup(self) -> dict[str, str]:
        """Every accepted spelling of the vocabulary's terms, folded, with the term's key."""
        found: dict[str, str] = {}
        for key, term_ in (self.vocabulary or {}).items():
            for spelling in (key, term_.title.en, term_.title.vi, *term_.aliases):
                found.setdefault(fold(spelling), key)
        return found


@dataclass(frozen=True, slots=True)
class Detail:
    """From `zoom` on, features of at least this importance are drawn, at most `limit` of them in one tile.

    `fields` are the properties that the tile carries, where not all of the theme's tile fields are needed yet.
    """

    zoom: int
    importance: float = 0.0
    limit: int = 10_000
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Raster:
    """Rule by which the pixels of a theme's rasters become values of cells.

    With `codes` they are classes: the codes of the pixels, and the term of `field` that each stands for. A cell gets
    the most frequent class in `field`, and in "share" its share of the cell's samples. Without, they are quantities in
    the unit of `field`: a cell gets their mean in `field`, the least and the greatest in "lowest" and "highest".
    "samples" says how many pixels, or points in larger pixels, the cell's values rest on.

    Pixels below `shown_from` are not drawn. `terrain` says that the values are heights of the ground in metres, which
    a client may raise a map by.
    """

    field: str
    codes: Mapping[int, str] | None = None
    shown_from: float | None = None
    terrain: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a theme of rasters has, in this order."""
        return (self.field, "lowest", "highest", "samples") if self.codes is None else (self.field, "share", "samples")


@dataclass(frozen=True, slots=True, eq=False)
class Theme:
    """The contract that the features of one kind follow, whichever agency publishes them.

    Parameters
    ----------
    name : str
    title, description : Text
        In both languages.
    geometry : {"point", "line", "polygon"}
    resolution : int
        H3 resolution of the layer's cells: fine enough that a feature spans a few of them.
    fields : tuple of Field
    details : tuple of Detail
        What each zoom shows of the ranking, rising by zoom.
    style : mapping
        Plain JSON that the viewer draws (docs/architecture.md, "Styles"); the legend follows from it.
    importance : callable
        Ranks features: from a GeoDataFrame to floats of any scale, larger first.
    label : str, optional
        The field that is written on the map.
    tile_fields : tuple of str
        The fields that travel in tiles; a style may read only these.
    coverage : bool
        Features should tile the plane without overlaps (wards, zones).
    base_map, visible : bool
        Part of the base map; shown at first.
    raster : Raster, optional
        For themes of rasters, whose features are the cells themselves, as polygons.
    city_objects : tuple of str
        Types of CityGML and CityJSON that the theme is about; empty where a city model's types say nothing of it.
    rolls_up : bool
        Below the first zoom of `details` a map shows how many features lie in H3 cells, at most about `rollup_cells`
        of them in a tile.

    Raises
    ------
    ValueError
        If the parts do not fit each other.

    Examples
    --------
    >>> from layers.registry import theme
    >>> theme("buildings").by_name["height"].unit
    'm'
    """

    name: str
    title: Text
    description: Text
    geometry: GeometryKind
    resolution: int
    fields: tuple[Field, ...]
    details: tuple[Detail, ...]
    style: Mapping[str, Any]
    importance: Importance
    label: str | None = None
    tile_fields: tuple[str, ...] = ()
    coverage: bool = False
    base_map: bool = False
    visible: bool = True
    raster: Raster | None = None
    city_objects: tuple[str, ...] = ()
    rolls_up: bool = False
    rollup_cells: int = CELLS_A_TILE
    by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [f.name for f in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"theme {self.name!r} names a field twice")
        unknown = {
            *self.tile_fields,
            *(name for detail in self.details for name in detail.fields or ()),
            *([self.label] if self.label else []),
            *fields_of_style(self.style),
        } - set(names)
        unknown |= {f.weight for f in self.fields if f.weight} - set(names)
        if unknown:
            raise ValueError(f"theme {self.name!r} uses fields that it does not have: {sorted(unknown)}")
        if self.raster is not None and names != list(self.raster.fields):
            raise ValueError(f"theme {self.name!r}: its rasters give the fields {self.raster.fields}")
        if self.raster is not None and set((self.raster.codes or {}).values()) - set(
            self.fields[0].vocabulary or {} if self.fields else ()
        ):
            raise ValueError(f"theme {self.name!r} has codes of terms that {self.raster.field!r} does not know")
        if list(self.details) != sorted(self.details, key=lambda d: d.zoom) or not self.details:
            raise ValueError(f"theme {self.name!r}: details must rise by zoom, and there must be one")
        object.__setattr__(self, "by_name", {f.name: f for f in self.fields})

    @property
    def minzoom(self) -> int:
        """The first zoom at which the theme draws anything."""
        return self.details[0].zoom

    def rollup(self, columns: Iterable[str]) -> Plan | None:
        """Return how features with these columns are rolled up to coarser cells, or None."""
        if not self.rolls_up:
            return None
        return Plan(resolution_for(self.minzoom - 1, self.rollup_cells), self.rolled(columns))

    def rolled(self, columns: Iterable[str]) -> tuple[Rolled, ...]:
        """Return those of these columns that have a value in a cell, and its rule."""
        there = set(columns)
        return tuple(
            Rolled(f.name, f.type, f.rollup.value, f.weight if f.weight in there else None)
            for f in self.fields
            if f.rollup is not None and f.name in there
        )

    def detail(self, zoom: int) -> Detail | None:
        """Return what a tile of this zoom shows, or None below the first."""
        return next((d for d in reversed(self.details) if d.zoom <= zoom), None)


def fields_of_style(style: Mapping[str, Any]) -> set[str]:
    """Return the fields that a style reads."""
    found: set[str] = set()
    for key, value in style.items():
        if key == "cells":
            # Colours of cells by what is counted in them, which no feature has.
            continue
        if key == "field" and isinstance(value, str):
            found.add(value)
        elif isinstance(value, Mapping):
            found |= fields_of_style(value)
    return found


def by_term(field_: Field, other: str = "#b8b8b8") -> dict[str, Any]:
    """Return the style expression that colours by a field's vocabulary."""
    terms = field_.vocabulary or {}
    return {
        "field": field_.name,
        "categories": {k: t.color for k, t in terms.items() if t.color},
        "other": other,
    }


def by_rank(values: Mapping[str, float], of: str, other: float = 0.0) -> Importance:
    """Rank features by a vocabulary field: importance is looked up from its value."""

    def importance(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
        return np.asarray(features[of].map(values).fillna(other), dtype=np.float64)

    return importance


def by_area(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Rank polygons by their area in square metres (degrees scaled at the features' latitude)."""
    shapes = np.asarray(features.geometry.values, dtype=object)
    bounds = shapely.bounds(shapes)
    latitude = np.radians((bounds[:, 1] + bounds[:, 3]) / 2)
    area: npt.NDArray[np.float64] = shapely.area(shapes) * METRES_PER_DEGREE**2 * np.cos(latitude)
    return area


def equal(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Rank all features alike."""
    return np.ones(len(features))

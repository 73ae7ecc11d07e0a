"""Contracts of an agency's own: themes that are written as a file instead of a module, and kept with the layer."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic import Field as Setting

from layers.registry import theme
from layers.theme import Detail, Field, FieldType, GeometryKind, Importance, Rollup, Term, Theme, by_area, equal
from twin.bounded_toml import read_toml
from twin.catalogue.catalogue import Layer
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.text import Text

if TYPE_CHECKING:
    import geopandas as gpd

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Frequency = Literal["continuous", "daily", "weekly", "monthly", "quarterly", "yearly", "irregular"]

# Told apart on a map even by those who do not see all colours (Okabe and Ito, 2008).
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#6b6b6b")
RESOLUTIONS: dict[GeometryKind, int] = {"point": 11, "line": 11, "polygon": 10}


class Part(BaseModel):
    """A table of a TOML file that people write: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bilingual(Part):
    """One text in Vietnamese and English."""

    vi: Line
    en: Line

    @property
    def text(self) -> Text:
        """The same as the program's Text."""
        return Text(en=self.en, vi=self.vi)


class OwnField(Part):
    """One property: its name, type, title, and what values are right."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    type: FieldType
    title: Bilingual
    unit: Line | None = None
    vocabulary: dict[str, Bilingual] | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    rollup: Rollup | None = None
    aliases: tuple[str, ...] = ()

    def field(self) -> Field:
        """Return the same as a theme's field."""
        terms = {
            key: Term(term_titles.text, PALETTE[i % len(PALETTE)])
            for i, (key, term_titles) in enumerate((self.vocabulary or {}).items())
        }
        return Field(
            self.name, self.type, self.title.text, unit=self.unit, vocabulary=terms or None, required=self.required,
            minimum=self.minimum, maximum=self.maximum, rollup=self.rollup, aliases=self.aliases,
        )  # fmt: skip


class Contract(Part):
    """Contract that an agency writes for a layer that no theme of the platform describes."""

    layer: Line
    title: Bilingual
    description: Bilingual | None = None
    licence: Line
    attribution: Line
    sharing: Sharing = Sharing.RESTRICTED
    update_frequency: Frequency = "irregular"
    geometry: GeometryKind
    resolution: int = Setting(11, ge=5, le=13)
    label: str | None = None
    coverage: bool = False
    field: tuple[OwnField, ...] = Setting(min_length=1, max_length=200)


def read_contract(path: Path) -> Contract:
    """Read a contract from a TOML file; what is wrong in it is named with its place."""
    try:
        contract = Contract.model_validate(read_toml(path))
        as_theme(contract)
        return contract
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        reason = f"{place}: {first['msg']}"
    except ValueError as error:
        reason = str(error)
    raise BadInput(
        Text(
            en="{path} cannot be used as a contract: {reason}.",
            vi="Không dùng {path} làm hợp đồng dữ liệu được: {reason}.",
        ).format(path=path.name, reason=reason)
    )


def as_theme(contract: Contract) -> Theme:
    """Return the theme that a contract describes, with a plain style of its own."""
    fields = tuple(own.field() for own in contract.field)
    named = next((f for f in fields if f.vocabulary), None)
    shown = [f.name for f in fields if f.name in {contract.label, named.name if named else None}]
    return Theme(
        name=contract.layer,
        title=contract.title.text,
        description=(contract.description or contract.title).text,
        geometry=contract.geometry,
        resolution=contract.resolution,
        fields=fields,
        importance=_IMPORTANCE[contract.geometry],
        details=(Detail(9, 0, 2000), Detail(13, 0, 6000)),
        label=contract.label,
        tile_fields=tuple(shown),
        coverage=contract.coverage,
        style=_style(contract, named),
    )


def _by_length(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    length: npt.NDArray[np.float64] = np.nan_to_num(features.geometry.values.length)
    return length


_IMPORTANCE: dict[GeometryKind, Importance] = {"point": equal, "line": _by_length, "polygon": by_area}


def _style(contract: Contract, named: Field | None) -> dict[str, Any]:
    color: Any = PALETTE[0]
    if named is not None and named.vocabulary:
        categories = {key: term.color for key, term in named.vocabulary.items()}
        color = {"field": named.name, "categories": categories, "other": "#b8b8b8"}
    style: dict[str, Any] = {"order": 70}
    if contract.geometry == "polygon":
        style |= {"opacity": 0.55, "fill": color, "line": {"color": "#5f6b78", "width": 0, "min_pixels": 0.8}}
    elif contract.geometry == "line":
        style["line"] = {"color": color, "width": 6, "min_pixels": 1.6}
    else:
        style["circle"] = {"color": color, "radius": 5, "stroke": "#ffffff"}
    if contract.label:
        style["label"] = {
            "field": contract.label, "size": 11, "color": "#37414d", "halo": "#ffffff", "minzoom": 14, "priority": 35,
        }  # fmt: skip
    return style


@lru_cache(maxsize=1024)
def _of_document(document: str) -> Theme:
    return as_theme(Contract.model_validate_json(document))


def theme_of(layer: Layer) -> Theme:
    """Return the theme that a layer follows: one of the platform's, or the layer's own contract."""
    if layer.contract is None:
        return theme(layer.theme)
    return _of_document(layer.contract)


def document(contract: Contract) -> str:
    """Return the contract as it is kept with the layer: always the same text for the same contract."""
    return json.dumps(contract.model_dump(mode="json", exclude_none=True), ensure_ascii=False, sort_keys=True)

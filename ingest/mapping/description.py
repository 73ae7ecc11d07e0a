"""The description of a city's data: which file feeds which layer, whose it is, and how its fields are mapped.

It is written in TOML by people; `ingest/cities/hcmc.toml` is the example to copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from layers.contracts import Bilingual, Line, Part
from layers.registry import themes
from twin.bounded_toml import read_toml
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.text import Text

ColumnEncoding = Literal["unicode", "tcvn3", "vni", "cp1258", "utf-8"]


class FieldSource(Part):
    """Source of a field's value, when it is more than a column's name.

    `extract` keeps the part of a text that a regular expression's first group matches; `values` translates, and
    `other` stands for what neither `values` nor the field's vocabulary knows; `bins` turns numbers into terms, each
    up to and including its limit; `per` divides by a column; `template` joins columns.
    """

    column: str | None = Field(None, alias="from")
    template: str | None = None
    constant: str | int | float | bool | None = None
    extract: str | None = None
    values: Mapping[str, str] | None = None
    other: str | None = None
    bins: tuple[tuple[float, str], ...] | None = None
    per: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> FieldSource:
        given = [self.column is not None, self.template is not None, self.constant is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of from, template, constant")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the value is a column's, as it is."""
        return self.column is not None and self == FieldSource.model_validate({"from": self.column})


class OsmFilter(Part):
    """OpenStreetMap objects to take: of one geometry, with any of these tags (`["*"]`: any value).

    `without` leaves out, `require` asks for the presence of tags, `keep` carries further tags along as columns.
    """

    geometry: Literal["point", "line", "polygon"]
    tags: Mapping[str, tuple[str, ...]]
    without: Mapping[str, tuple[str, ...]] = {}
    require: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


class Join(Part):
    """More about each row, found by key: in another table, or in a published layer.

    `file` is a table beside this one; `layer` a published layer (`agency.name`), whose shapes are taken too. `on` is
    this file's column, `key` the other's (of a layer: its feature ids, unless a column is named). `columns` are carried
    along as they are, `mean` are averaged over the partners of a row, `count` names a column for their number.
    Rows without a partner are left out when a file is joined, and set aside when a layer is.
    """

    file: Path | None = None
    layer: str | None = None
    on: str
    key: str | None = None
    columns: tuple[str, ...] = ()
    mean: tuple[str, ...] = ()
    count: str | None = None

    @model_validator(mode="after")
    def _one_partner(self) -> Join:
        if (self.file is None) == (self.layer is None):
            raise ValueError("give either file or layer")
        if self.file is not None and self.key is None:
            raise ValueError("give the key: the column of the joined file")
        if self.layer is not None and (self.mean or self.count):
            raise ValueError("mean and count are for joined files; name a layer's columns with columns")
        return self


class RowMapping(Part):
    """Mapping of a file's rows to features of a theme.

    `id` is a column, or a template of columns ("{route}-{variant}"); without it a feature's id is made from its
    geometry. `where` keeps rows with certain values, `unique` the first row of each value, `drop` leaves columns out.
    """

    id: str | None = None
    prefix: str = ""
    where: Mapping[str, tuple[str, ...]] = {}
    unique: str | None = None
    join: Join | None = None
    drop: tuple[str, ...] = ()
    fields: Mapping[str, str | FieldSource] = {}

    def field_sources(self) -> dict[str, FieldSource]:
        """Return the mapping of fields with plain column names written out."""
        return {
            name: FieldSource.model_validate({"from": value}) if isinstance(value, str) else value
            for name, value in self.fields.items()
        }


class MappingFile(RowMapping):
    """Options of reading a file, and the mapping of its rows; `ingest publish --mapping` reads it.

    `crs` and `encoding` overrule what the file says of itself, `encodings` names the encoding of single columns.
    `layer` names one of the file's layers; `longitude` and `latitude`, or `wkt`, are columns of a table; `osm` chooses
    objects of an OpenStreetMap extract. `codes` says what the codes of a raster's classes mean, where it is not what
    its theme says; `layer` is then the band.
    """

    crs: str | None = None
    encoding: str | None = None
    encodings: Mapping[str, ColumnEncoding] = {}
    longitude: str | None = None
    latitude: str | None = None
    wkt: str | None = None
    layer: str | None = None
    osm: OsmFilter | None = None
    codes: Mapping[str, str] | None = None


class Source(MappingFile):
    """One file of a city's description, and how to read it."""

    file: Path


class LayerSpec(Part):
    """One layer: whose, what theme, what may be done with it, and its files."""

    id: str
    theme: str
    title: Bilingual
    description: Bilingual | None = None
    licence: Line
    attribution: Line
    sharing: Sharing = Sharing.OPEN
    visible: bool | None = None
    source: tuple[Source, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_theme(self) -> LayerSpec:
        theme = themes().get(self.theme)
        if theme is None:
            raise ValueError(f"there is no theme {self.theme!r}; known: {', '.join(sorted(themes()))}")
        if theme.raster is not None and len(self.source) > 1:
            raise ValueError("a layer of rasters has one file")
        for source in self.source:
            if unknown := set(source.fields) - set(theme.by_name):
                raise ValueError(
                    f"the theme {self.theme!r} has no field {', '.join(sorted(unknown))}; "
                    f"it has: {', '.join(theme.by_name)}"
                )
        return self


class AgencySpec(Part):
    """A body that owns layers."""

    name: str
    title: Bilingual


class ViewSpec(Part):
    """Opening view of the map: longitude and latitude, web zoom, pitch and bearing in degrees."""

    center: tuple[float, float]
    zoom: float = 14
    pitch: float = 45
    bearing: float = 0


class CitySpec(Part):
    """A whole city: agencies and layers."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    title: Bilingual
    view: ViewSpec | None = None
    agency: tuple[AgencySpec, ...]
    layer: tuple[LayerSpec, ...] = ()


def read_spec(path: Path) -> CitySpec:
    """Read the description of a city; an error names the place of what is wrong."""
    return _read(path, CitySpec)


def read_mapping_file(path: Path) -> MappingFile:
    """Read a mapping file; an error names the place of what is wrong."""
    return _read(path, MappingFile)


Model = TypeVar("Model", bound=Part)


def _read(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        reason = Text(en=f"at {place}: {first['msg']}", vi=f"tại {place}: {first['msg']}")
    raise BadInput(
        Text(en="{path} cannot be used: {reason}.", vi="Không dùng được {path}: {reason}.").format(
            path=path.name, reason=reason
        )
    )

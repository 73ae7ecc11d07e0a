"""The description of streams: which things of which layers observe what, and which recorded files hold their past.

It is written in TOML by people; `ingest/cities/hcmc.streams.toml` is the example to copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from ingest.mapping.description import AgencySpec
from ingest.streams.poller_spec import PollerSpec
from ingest.streams.spec import Part, Wrong
from layers.contracts import Bilingual, Line
from layers.observed.kind import ObservedKind
from layers.observed.registry import KINDS, kind_of
from layers.registry import themes
from twin.bounded_toml import read_toml
from twin.catalogue.catalogue import LAYER_ID, LayerEntry
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.streams.declare import CODE, Place, StreamDeclaration
from twin.text import Text

Basis = Literal["measured", "modelled", "simulated"]
LayerId = Annotated[str, StringConstraints(pattern=LAYER_ID)]
Cells = Mapping[str, str]

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_NOT_IN_CODES = re.compile(r"[^A-Za-z0-9_.:-]+")


class PlaceSpec(Part):
    """Where a thing is: exactly one of a feature, a cell and a point, or nothing with a note that says why.

    `feature` is the id of a feature of the streams' own layer, or of `layer`: then the thing stands on that feature
    without belonging to it. `cell` is an H3 index. `point` is longitude and latitude, and its `note` names the source.
    """

    feature: str | None = None
    layer: LayerId | None = None
    cell: str | None = None
    point: tuple[float, float] | None = None
    note: Bilingual | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = sum(value is not None for value in (self.feature, self.cell, self.point))
        if given > 1:
            raise Wrong("give one of feature, cell, point", "chỉ nêu một trong feature, cell, point")
        if self.feature is None and self.layer is not None:
            raise Wrong("layer needs a feature", "layer phải đi cùng feature")
        if self.note is None and self.feature is None and self.cell is None:
            raise Wrong(
                "add a note: the source of the point, or why there is no place",
                "hãy thêm note: nguồn của tọa độ, hoặc vì sao chưa có vị trí",
            )
        if self.point is not None and not (-180 <= self.point[0] <= 180 and -90 <= self.point[1] <= 90):
            raise Wrong("a point is [longitude, latitude] in degrees", "point là [kinh độ, vĩ độ] theo độ")
        return self


class ValueSpec(Part):
    """One quantity: a kind of `layers.observed`, and what is particular about it here.

    In a file it has a `column`. `unit` is the UCUM unit in which values come, where it is not the kind's. What is left
    out here is as the kind has it; 0 as `stuck_seconds` means that an unchanged value is normal.
    """

    kind: str
    column: str | None = None
    unit: str | None = None
    fresh_seconds: float | None = Field(None, gt=0)
    every_seconds: float | None = Field(None, gt=0)
    stuck_seconds: float | None = Field(None, ge=0)
    lowest: float | None = None
    highest: float | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise Wrong(
                f"nothing called {self.kind!r} is observed; known kinds: {known}",
                f"không có đại lượng {self.kind!r}; các đại lượng hiện có: {known}",
            )
        kind = KINDS[self.kind]
        if self.unit is not None and self.unit not in (kind.unit, *kind.units):
            known = ", ".join((kind.unit, *kind.units))
            raise Wrong(
                f"{self.unit!r} is not a unit of {self.kind}; known units (UCUM): {known}",
                f"{self.unit!r} không phải đơn vị của {self.kind}; các đơn vị (UCUM): {known}",
            )
        return self


class ThingSpec(Part):
    """A device or station that sends values itself, with its streams."""

    layer: LayerId
    code: Annotated[str, StringConstraints(pattern=f"^{CODE}$")]
    name: Line
    place: PlaceSpec
    basis: Basis = "measured"
    sensor: Line = "unknown"
    description: str = ""
    stream: tuple[ValueSpec, ...] = Field(min_length=1)


class TimeSpec(Part):
    """How a file writes time: columns, joined by a blank, and the format of `strptime`, or "iso" for ISO 8601.

    `zone` is the zone of times that name none. `day` is put in front, for files that have only hours: a typical day.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    format: Line
    zone: str | None = None
    day: date | None = None

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError):
                raise Wrong(
                    f"there is no time zone {name!r}; example: Asia/Ho_Chi_Minh",
                    f"không có múi giờ {name!r}; ví dụ: Asia/Ho_Chi_Minh",
                ) from None
        return name

    def parser(self) -> TimeParser:
        """Return what reads such times."""
        return TimeParser(self)


class TimeParser:
    """Reads the times of one file; each text is parsed once while it repeats."""

    MOST_KEPT = 100_000

    def __init__(self, spec: TimeSpec) -> None:
        self._format = spec.format
        self._zone = ZoneInfo(spec.zone) if spec.zone else None
        self._day = f"{spec.day.isoformat()} " if spec.day else ""
        self._known: dict[str, datetime] = {}

    def __call__(self, text: str) -> datetime:
        """Return the moment; raise ValueError if the text has another form, or no zone where none is declared."""
        moment = self._known.get(text)
        if moment is None:
            moment = self._parse(text)
            if len(self._known) >= self.MOST_KEPT:
                self._known.clear()
            self._known[text] = moment
        return moment

    def _parse(self, text: str) -> datetime:
        if self._day:
            moment = datetime.strptime(self._day + text, f"%Y-%m-%d {self._format}")
        elif self._format == "iso":
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, self._format)
        if moment.tzinfo is None:
            if self._zone is None:
                raise ValueError("no zone")
            moment = moment.replace(tzinfo=self._zone)
        return moment


class LeaveOut(Part):
    """Rows that are not taken: those with certain values in certain columns, all of which must hold."""

    where: Mapping[str, tuple[str, ...]] = Field(min_length=1)
    reason: Bilingual


class SuspectRule(Part):
    """Values that are kept and flagged: of certain rows, columns, sizes and times; all that is given must hold.

    Both ends of `at_least`, `at_most`, `since`, `until` belong to it. No `columns` means all values of a row.
    """

    columns: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = {}
    at_least: float | None = None
    at_most: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: Bilingual

    @model_validator(mode="after")
    def _zones(self) -> Self:
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise Wrong("since and until need a zone: 2020-08-03T06:50:00+07:00", "since và until cần có múi giờ")
        return self


class CrossCheck(Part):
    """Values of one row that must agree: `particles` means that finer dust weighs no more than coarser."""

    check: Literal["particles"]
    pm2_5: str | None = None
    pm10: str | None = None
    tsp: str | None = None

    @model_validator(mode="after")
    def _two(self) -> Self:
        if len(self.columns) < 2:
            raise Wrong("name two of pm2_5, pm10, tsp", "nêu ít nhất hai cột trong pm2_5, pm10, tsp")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are compared."""
        return tuple(name for name in (self.pm2_5, self.pm10, self.tsp) if name)


class SourceSpec(Part):
    """A recorded file: CSV with a header, or Parquet. Names in braces are filled from the row's columns.

    `thing` is the code of the thing a row is of; the stream of a value is `{thing}.{kind}`, or `code` and the kind.
    `parameters` are columns that are kept with each observation. `missing` are texts that mean "no value".
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    title: Bilingual
    file: Path
    layer: LayerId
    thing: Line
    thing_name: Line
    code: Line | None = None
    place: PlaceSpec
    basis: Basis = "measured"
    sensor: Line = "unknown"
    attribution: Line
    description: str = ""
    properties: Mapping[str, Any] = {}
    time: TimeSpec
    missing: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    value: tuple[ValueSpec, ...] = Field(min_length=1)
    leave_out: tuple[LeaveOut, ...] = ()
    suspect: tuple[SuspectRule, ...] = ()
    check: tuple[CrossCheck, ...] = ()

    @model_validator(mode="after")
    def _columns_named(self) -> Self:
        columns = [value.column for value in self.value]
        if None in columns:
            raise Wrong("each value of a file has a column", "mỗi giá trị của tệp phải có column")
        if len({value.kind for value in self.value}) < len(self.value):
            raise Wrong("each kind comes once", "mỗi đại lượng chỉ nêu một lần")
        for name in (*(c for s in self.suspect for c in s.columns), *(c for k in self.check for c in k.columns)):
            if name not in columns:
                raise Wrong(
                    f"{name!r} is not the column of a value of this source",
                    f"{name!r} không phải cột giá trị của nguồn",
                )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that decide which thing and which stream a row is of."""
        templates = (self.thing, self.thing_name, self.code or "", self.place.feature or "", self.place.cell or "")
        return tuple(dict.fromkeys(name for text in templates for name in PLACEHOLDER.findall(text)))

    @property
    def columns(self) -> frozenset[str]:
        """All columns that the source reads."""
        values = [value.column for value in self.value if value.column]
        where = [*(c for rule in self.leave_out for c in rule.where), *(c for rule in self.suspect for c in rule.where)]
        return frozenset((*self.keys, *self.time.columns, *self.parameters, *values, *where))

    def code_of(self, cells: Cells, value: ValueSpec) -> str:
        """Return the code of the stream of a value in a row."""
        return f"{as_code(fill(self.code or self.thing, cells))}.{value.kind}"[:100]

    def declaration(self, cells: Cells, value: ValueSpec) -> StreamDeclaration:
        """Return the stream of a value, with the place of its thing as far as the row says it."""
        place = self.place
        return declaration(
            value, thing=as_code(fill(self.thing, cells)), thing_name=fill(self.thing_name, cells),
            code=self.code_of(cells, value), basis=self.basis, sensor=self.sensor, description=self.description,
            place=Place(
                fill(place.feature, cells) if place.feature else None, fill(place.cell, cells) if place.cell else None,
                place.point, place.note.text if place.note else None,
            ),
            properties={"source": self.name, "attribution": self.attribution, **self.properties},
        )  # fmt: skip


class StreamLayer(Part):
    """A layer that exists only for streams."""

    id: LayerId
    theme: str = "sensors"
    title: Bilingual
    description: Bilingual | None = None
    licence: Line
    attribution: Line
    sharing: Sharing = Sharing.RESTRICTED

    @field_validator("theme")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in themes():
            known = ", ".join(sorted(themes()))
            raise Wrong(f"there is no theme {name!r}; known: {known}", f"không có chuyên đề {name!r}; hiện có: {known}")
        return name

    def entry(self) -> LayerEntry:
        """Return what the catalogue says of it."""
        return LayerEntry(
            self.id, self.theme, self.title.text, (self.description or self.title).text, self.licence,
            self.attribution, self.sharing,
        )  # fmt: skip


class StreamDescription(Part):
    """Everything that a file says of streams."""

    agency: tuple[AgencySpec, ...] = ()
    layer: tuple[StreamLayer, ...] = ()
    thing: tuple[ThingSpec, ...] = ()
    source: tuple[SourceSpec, ...] = ()
    poller: tuple[PollerSpec, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        pollers = [poller.name for poller in self.poller]
        if len(set(pollers)) < len(pollers):
            raise Wrong("two pollers have the same name", "hai poller trùng tên")
        names = [source.name for source in self.source]
        if len(set(names)) < len(names):
            raise Wrong("two sources have the same name", "hai nguồn trùng tên")
        return self

    def find(self, name: str) -> SourceSpec:
        """Return a source by its name; BadInput names those there are."""
        for source in self.source:
            if source.name == name:
                return source
        raise BadInput(
            Text(en="There is no source “{name}”. Described are: {known}.",
                 vi="Không có nguồn “{name}”. Các nguồn được mô tả: {known}.")
            .format(name=name[:40], known=", ".join(s.name for s in self.source) or "—")
        )  # fmt: skip


def fill(template: str, cells: Cells) -> str:
    """Fill the names in braces from a row; the text in `cells` is taken without blanks around it.

    Examples
    --------
    >>> fill("way/{street_id}", {"street_id": " 32575820 "})
    'way/32575820'
    """
    return PLACEHOLDER.sub(lambda match: cells[match[1]].strip(), template)


def as_code(text: str) -> str:
    """Return a text as a code: what codes cannot have becomes a hyphen.

    Examples
    --------
    >>> as_code("way/12 a")
    'way-12-a'
    """
    return _NOT_IN_CODES.sub("-", text).strip("-")[:80] or "x"


def declaration(value: ValueSpec, **of: Any) -> StreamDeclaration:
    """Return the declaration of a stream: what its kind says, with what the description says otherwise."""
    kind: ObservedKind = kind_of(value.kind)
    every = value.every_seconds or kind.every_seconds
    stuck = kind.stuck_seconds if value.stuck_seconds is None else (value.stuck_seconds or None)
    # A device that names no unit sends the declared one.
    factor, offset = kind.units[value.unit] if value.unit and value.unit != kind.unit else (1.0, 0.0)
    return StreamDeclaration(
        kind=kind.name, name=f"{of['thing_name']}: {kind.title.vi}", unit=kind.unit, unit_name=kind.unit,
        definition=kind.definition, property_name=kind.title.vi, units=kind.units, factor=factor, offset=offset,
        lowest=kind.minimum if value.lowest is None else value.lowest,
        highest=kind.maximum if value.highest is None else value.highest,
        fresh_seconds=value.fresh_seconds or max(kind.fresh_seconds, every), every_seconds=every,
        stuck_seconds=stuck, stuck_except=kind.stuck_except, rolls_up=kind.over_time,
        **{"sensor_name": of.get("sensor", ""), **of},
    )  # fmt: skip


def read_description(path: Path) -> StreamDescription:
    """Read a description.

    Raises
    ------
    BadInput
        With the file, the place in it, and what to do.
    """
    try:
        return StreamDescription.model_validate(read_toml(path))
    except ValidationError as error:
        raise BadInput(
            Text(en="{file} cannot be used. At {place}: {reason}.", vi="Không dùng được {file}. Tại {place}: {reason}.")
            .format(file=path.name, place=_place(error), reason=_reason(error))
        ) from None  # fmt: skip


def _place(error: ValidationError) -> str:
    steps = error.errors()[0]["loc"]
    # People count from one: the second [[source]].
    return ".".join(str(step + 1) if isinstance(step, int) else str(step) for step in steps) or "[top]"


def _reason(error: ValidationError) -> Text:
    first = error.errors()[0]
    wrong = first.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        return wrong.text
    match first["type"]:
        case "missing":
            return Text(en="this has to be given", vi="mục này bắt buộc phải có")
        case "extra_forbidden":
            return Text(
                en="there is no such setting; remove it, or correct its name",
                vi="không có mục này; hãy bỏ hoặc sửa tên",
            )
        case "string_pattern_mismatch":
            return Text(en="“{value}” has not the form {pattern}", vi="“{value}” không đúng dạng {pattern}").format(
                value=str(first["input"])[:60], pattern=first["ctx"]["pattern"]
            )
        case _:
            return Text(en=first["msg"], vi=first["msg"])

"""The catalogue: which agencies, layers and versions there are. Read whole and kept in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.db.tables import Agency as AgencyRow
from twin.db.tables import Audit, Sharing
from twin.db.tables import Layer as LayerRow
from twin.errors import BadInput, NotFound
from twin.events import Event, notify
from twin.text import Text

# An agency's name has no underscore, so that the table name agency_layer_v3 can come from one layer only.
AGENCY_NAME = re.compile(r"[a-z][a-z0-9]{0,19}")
LAYER_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
# A layer's id, as JSON Schema has patterns.
LAYER_ID = rf"^{AGENCY_NAME.pattern}\.{LAYER_NAME.pattern}$"

NOTHING = Text("", "")

Bounds = tuple[float, float, float, float]
# Digits that coordinates in degrees are published with: about a centimetre.
DEGREE_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Agency:
    """A body that owns layers."""

    name: str
    title: Text


@dataclass(frozen=True, slots=True)
class Column:
    """A property column of a version's table; `source` is its name in the agency's own file, if another."""

    name: str
    type: str
    title: Text
    unit: str | None = None
    source: str | None = None

    def sql(self, table: str) -> str:
        """Return the SQL that reads the value from a table's alias: the only way in which a channel reads it."""
        return f'{table}."{self.name}"'

    def as_dict(self) -> dict[str, Any]:
        """Return the form that the catalogue stores."""
        return {
            "name": self.name, "type": self.type, "title": self.title.as_dict(),
            "unit": self.unit, "source": self.source,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Column:
        """Read the stored form."""
        return cls(stored["name"], stored["type"], Text(**stored["title"]), stored["unit"], stored["source"])


@dataclass(frozen=True, slots=True)
class Version:
    """A published version of a layer: where its rows are and what was measured at publish.

    `stored_columns` and `stored_rollup` are what the tables hold. What may be shown of them, a permit says.
    `raster` says of a raster's version what its file is; `raster["path"]` is the file's name in the raster folder.
    """

    key: int
    number: int
    table: str
    stored_columns: tuple[Column, ...]
    resolution: int
    features: int
    quarantined: int
    bounds: Bounds | None
    published: datetime
    source: str
    fingerprint: str | None
    raster: Mapping[str, Any] | None = None
    stored_rollup: Mapping[str, Any] | None = None

    @property
    def rollup_table(self) -> str:
        """The table of the version's coarser cells: (resolution, cell, features, …, geom)."""
        return f"{self.table}_rollup"

    @property
    def cell_table(self) -> str:
        """The table of the version's cells: (cell, fid, whole)."""
        return f"{self.table}_cells"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with its current version and those before it that are still kept."""

    id: str
    key: int
    agency: Agency
    theme: str
    title: Text
    description: Text
    licence: str
    attribution: str
    sharing: Sharing
    sample: bool
    visible: bool | None
    contract: str | None
    update_frequency: str
    current: Version | None
    versions: Mapping[int, Version]
    created: datetime | None = None


class Snapshot(dict[str, Layer]):
    """All layers by id, as they were at one moment. The permits that were made of it are kept with it."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__(layers)
        self.permits: dict[Any, Any] = {}


def split_layer_id(layer_id: str) -> tuple[str, str]:
    """Split `agency.layer`; the names must be plain identifiers."""
    agency, dot, name = layer_id.partition(".")
    if dot and AGENCY_NAME.fullmatch(agency) and LAYER_NAME.fullmatch(name):
        return agency, name
    raise BadInput(
        Text(
            en="“{id}” is not a layer's name. It has the form agency.layer, in small letters: transport.bus_stops",
            vi="“{id}” không phải tên lớp. Tên có dạng đơn_vị.lớp, chữ thường không dấu: transport.bus_stops",
        ).format(id=layer_id[:80])
    )


def ensure_agency(session: Session, name: str, title: Text) -> int:
    """Make an agency, or bring its title up to date; give its key."""
    if not AGENCY_NAME.fullmatch(name):
        raise BadInput(
            Text(
                en="“{name}” cannot name an agency: use up to 20 small letters and digits.",
                vi="“{name}” không thể là tên đơn vị: chỉ dùng tối đa 20 chữ thường không dấu và chữ số.",
            ).format(name=name[:40])
        )
    agency = session.scalar(sa.select(AgencyRow).where(AgencyRow.name == name))
    if agency is None:
        agency = AgencyRow(name=name)
        session.add(agency)
    agency.title_vi, agency.title_en = title.vi, title.en
    session.flush()
    return agency.id


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """What an agency says of a layer, apart from its data."""

    id: str
    theme: str
    title: Text
    description: Text = NOTHING
    licence: str = ""
    attribution: str = ""
    sharing: Sharing = Sharing.RESTRICTED
    sample: bool = False
    visible: bool | None = None
    contract: str | None = None
    update_frequency: str = "irregular"


def ensure_layer(session: Session, entry: LayerEntry) -> int:
    """Make a layer of an existing agency, or bring its entry up to date; give its key."""
    agency_name, name = split_layer_id(entry.id)
    agency = session.scalar(sa.select(AgencyRow).where(AgencyRow.name == agency_name))
    if agency is None:
        raise BadInput(Text(en="There is no agency “{name}”.", vi="Không có đơn vị “{name}”.").format(name=agency_name))
    layer = session.scalar(sa.select(LayerRow).where(LayerRow.agency_id == agency.id, LayerRow.name == name))
    if layer is None:
        layer = LayerRow(agency_id=agency.id, name=name)
        session.add(layer)
    layer.theme, layer.licence, layer.attribution = entry.theme, entry.licence, entry.attribution
    layer.title_vi, layer.title_en = entry.title.vi, entry.title.en
    layer.description_vi, layer.description_en = entry.description.vi, entry.description.en
    layer.sharing, layer.sample, layer.visible = entry.sharing.value, entry.sample, entry.visible
    layer.contract, layer.update_frequency = entry.contract, entry.update_frequency
    if session.is_modified(layer):
        notify(session, Event("layer", entry.id))
    session.flush()
    return layer.id


def change_entry(session: Session, layer_id: str, changes: Mapping[str, str], actor: str) -> dict[str, str]:
    """Change what an agency says of a layer, with an audit row; give the values that were there before.

    `changes` names columns of `twin.layer`: sharing, licence, attribution, title_vi, title_en, and so on.
    """
    agency_name, name = split_layer_id(layer_id)
    layer = session.scalar(
        sa.select(LayerRow).join(AgencyRow).where(AgencyRow.name == agency_name, LayerRow.name == name)
    )
    if layer is None:
        raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp dữ liệu “{id}”.").format(id=layer_id))
    before = {column: str(getattr(layer, column)) for column in changes}
    for column, value in changes.items():
        setattr(layer, column, value)
    if session.is_modified(layer):
        detail = {"before": before, "after": dict(changes)}
        session.add(Audit(actor=actor, action="layer.set", layer=layer_id, detail=detail))
        notify(session, Event("layer", layer_id))
    session.flush()
    return before


# One statement, so that the snapshot is of one moment; JSON, so that every driver reads it alike.
SNAPSHOT_SQL = """
SELECT coalesce(json_agg(json_build_object(
    'id', a.name || '.' || l.name, 'key', l.id, 'theme', l.theme,
    'agency', json_build_object('name', a.name, 'vi', a.title_vi, 'en', a.title_en),
    'title', json_build_object('vi', l.title_vi, 'en', l.title_en),
    'description', json_build_object('vi', l.description_vi, 'en', l.description_en),
    'licence', l.licence, 'attribution', l.attribution, 'sharing', l.sharing, 'sample', l.sample,
    'visible', l.visible, 'contract', l.contract, 'frequency', l.update_frequency,
    'current', l.current_version_id, 'created', l.created_at,
    'versions', (
        SELECT coalesce(json_agg(json_build_object(
            'key', v.id, 'number', v.number, 'table', v.table_name, 'columns', v.columns,
            'resolution', v.resolution, 'features', v.features, 'quarantined', v.quarantined,
            'bounds', CASE WHEN v.bounds IS NOT NULL THEN json_build_array(
                ST_XMin(v.bounds), ST_YMin(v.bounds), ST_XMax(v.bounds), ST_YMax(v.bounds)) END,
            'published', v.published_at, 'source', v.source, 'fingerprint', v.fingerprint, 'rollup', v.rollup,
            'raster', v.raster
        ) ORDER BY v.number), '[]')
        FROM twin.layer_version v WHERE v.layer_id = l.id AND v.state = 'published')
) ORDER BY a.name, l.name), '[]')::text
FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id
"""


def parse_snapshot(text: str) -> dict[str, Layer]:
    """Read what SNAPSHOT_SQL gives: all layers by id."""
    return Snapshot({entry["id"]: _parse_layer(entry) for entry in json.loads(text)})


def read_catalogue(session: Session) -> dict[str, Layer]:
    """Read all layers, by id."""
    return parse_snapshot(session.execute(sa.text(SNAPSHOT_SQL)).scalar_one())


def _parse_layer(entry: dict[str, Any]) -> Layer:
    versions = [_parse_version(version) for version in entry["versions"]]
    return Layer(
        id=entry["id"],
        key=entry["key"],
        agency=Agency(entry["agency"]["name"], Text(en=entry["agency"]["en"], vi=entry["agency"]["vi"])),
        theme=entry["theme"],
        title=Text(**entry["title"]),
        description=Text(**entry["description"]),
        licence=entry["licence"],
        attribution=entry["attribution"],
        sharing=Sharing(entry["sharing"]),
        sample=entry["sample"],
        visible=entry["visible"],
        contract=entry["contract"],
        update_frequency=entry["frequency"],
        current=next((v for v in versions if v.key == entry["current"]), None),
        versions={v.number: v for v in versions},
        created=datetime.fromisoformat(entry["created"]),
    )


def outwards(bounds: Sequence[float]) -> Bounds:
    """Round a box in degrees to the digits that coordinates are published with, so that nothing lies outside it."""
    west, south, east, north = bounds
    return _down(west), _down(south), -_down(-east), -_down(-north)


def _down(value: float) -> float:
    rounded = round(value, DEGREE_DIGITS)
    return rounded if rounded <= value else round(rounded - 10**-DEGREE_DIGITS, DEGREE_DIGITS)


def _parse_version(entry: dict[str, Any]) -> Version:
    return Version(
        key=entry["key"],
        number=entry["number"],
        table=entry["table"],
        stored_columns=tuple(Column.from_dict(c) for c in entry["columns"]),
        resolution=entry["resolution"],
        features=entry["features"],
        quarantined=entry["quarantined"],
        bounds=outwards(entry["bounds"]) if entry["bounds"] else None,
        published=datetime.fromisoformat(entry["published"]),
        source=entry["source"],
        fingerprint=entry["fingerprint"],
        raster=entry["raster"],
        stored_rollup=entry["rollup"],
    )

"""The layers that the simulation publishes its roads and gauges into, through the one way into a layer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from ingest.checks.plan import inspect
from ingest.mapping.description import Source
from ingest.mapping.joins import Partners
from ingest.mapping.rows import ROWS_REVISION
from ingest.publish.city import contract_of, not_publishable
from ingest.publish.engine import PlannedFile, PublishRequest, publish_sources
from ingest.readers.source import CRS_OF_FORMAT, UNICODE, FeatureReader, ReadOptions, make_batch
from ingest.streams.simulation.places import AGENCY, Gauge, Segment
from ingest.streams.simulation.traffic import Roads
from layers.registry import theme
from layers.theme import FieldType
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.loading import Loading
from twin.catalogue.staging import Provenance
from twin.config import Settings
from twin.crs import parse_crs
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.text import Text

# Raise it when another program would make other features of the same roads.
REVISION = 1

TRAFFIC, GAUGES, FLOOD = f"{AGENCY}.traffic", f"{AGENCY}.gauges", f"{AGENCY}.flood"
TITLE = Text(en="Simulation", vi="Mô phỏng")
INVENTED = Text(
    en="Simulated values of an invented city life; nothing here was measured.",
    vi="Số liệu mô phỏng, hư cấu; không có giá trị nào được đo.",
)
ENTRIES = {
    TRAFFIC: ("traffic_segments", Text(en="Traffic (simulated)", vi="Giao thông (mô phỏng)")),
    GAUGES: ("sensors", Text(en="Sensors (simulated)", vi="Trạm quan trắc (mô phỏng)")),
    FLOOD: ("flood_spots", Text(en="Flooding (simulated)", vi="Ngập (mô phỏng)")),
}


def ensure_simulation(database: Database, licence: str, attribution: str) -> None:
    """Make the agency and the layers of the simulation; licence and attribution are those of the copied roads."""
    with database.session() as session:
        ensure_agency(session, AGENCY, TITLE)
        for name, (of, title) in ENTRIES.items():
            own = name == TRAFFIC
            ensure_layer(
                session,
                LayerEntry(
                    name, of, title, INVENTED, licence if own and licence else "CC0-1.0",
                    f"{TITLE.vi} / {TITLE.en}" + (f"; {attribution}" if own and attribution else ""),
                    Sharing.OPEN, sample=True,
                ),
            )  # fmt: skip


def segment_frame(segments: Sequence[Segment], roads: Roads) -> gpd.GeoDataFrame:
    """Return the features of the layer of roads."""
    return gpd.GeoDataFrame(
        {
            "id": [s.id for s in segments],
            "name": pd.array([s.name for s in segments], dtype="str"),
            "free_speed_kmh": np.round(roads.free_flow, 1),
            "length_m": np.round([s.length for s in segments], 1),
            "road_class": pd.array([s.road_class for s in segments], dtype="str"),
        },
        geometry=[s.geometry for s in segments],
        crs="EPSG:4326",
    )


def gauge_frame(gauges: Sequence[Gauge]) -> gpd.GeoDataFrame:
    """Return the features of the layer of gauges."""
    return gpd.GeoDataFrame(
        {
            "id": [g.id for g in gauges],
            "name": pd.array([g.name for g in gauges], dtype="str"),
            "kind": pd.array([g.kind for g in gauges], dtype="str"),
            "operator": pd.array([TITLE.vi] * len(gauges), dtype="str"),
        },
        geometry=gpd.points_from_xy([g.longitude for g in gauges], [g.latitude for g in gauges]),
        crs="EPSG:4326",
    )


class FrameReader(FeatureReader):
    """A frame of features in memory, given as readers give files."""

    format = "simulation"
    driver = "simulation"
    encoding_reason = UNICODE

    def __init__(self, name: str, frame: gpd.GeoDataFrame, columns: Mapping[str, FieldType]) -> None:
        super().__init__(Path(name), ReadOptions())
        self._frame = frame
        self.layer, self.layers = name, (name,)
        self.columns = columns
        self.crs, self.crs_reason = parse_crs(4326), CRS_OF_FORMAT

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Give the features, at most `rows` at a time."""
        for start in range(0, len(self._frame), rows):
            some = self._frame.iloc[start : start + rows]
            columns = {name: some[name].reset_index(drop=True) for name in self.columns}
            yield make_batch(columns, np.asarray(some.geometry.values, dtype=object))


def publish_frame(
    database: Database, settings: Settings, layer_id: str, frame: gpd.GeoDataFrame, origin: Sequence[object]
) -> bool:
    """Publish features as the next version of a layer, unless the current one has the same origin.

    Parameters
    ----------
    database, settings
    layer_id : str
    frame : GeoDataFrame
        With `id`, EPSG:4326.
    origin : sequence
        What decides the features, such as the roads' layer and version; JSON.

    Returns
    -------
    bool
        Whether there is a new version.
    """
    with database.session() as session:
        layer = read_catalogue(session)[layer_id]
    of = theme(layer.theme)
    parts = [REVISION, ROWS_REVISION, layer_id, contract_of(of), list(origin)]
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if layer.current is not None and layer.current.fingerprint == fingerprint:
        return False
    kinds: dict[str, FieldType] = {f.name: f.type for f in of.fields}
    columns: dict[str, FieldType] = {name: kinds.get(name, "text") for name in frame.columns if name != "geometry"}
    reader = FrameReader(layer_id, frame, columns)
    mapping = Source(file=reader.path, id="id", crs="EPSG:4326")
    partners = Partners(None, None, lambda: database)
    plan = inspect(reader, of, settings.profile, mapping, file=str(reader.path), partners=partners)
    provenance = Provenance("simulation", "twin ingest stream simulate", None, fingerprint)
    with closing(Loading(len(frame))) as loading:
        result = publish_sources(
            database, settings, layer, of, [PlannedFile(reader, plan)], PublishRequest(layer_id), lambda _: provenance,
            loading, lambda _stage, _done, _total: None,
        )  # fmt: skip
    if result.outcome is None:
        raise BadInput(not_publishable(result.reports))
    return not result.outcome.unchanged

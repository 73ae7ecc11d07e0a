"""Publishing a layer: read, map, check, number, copy with cells, index, swap. One pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.checks import Findings, check
from ingest.identity import Numbering, ids_from_geometry
from layers.theme import Theme
from twin.catalogue import Column
from twin.db.database import Database
from twin.staging import Outcome, Provenance, Shape, Staging

# Part of every fingerprint: raise it when the same file would now give other rows.
PIPELINE = 2

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Features in the layer's columns with `id` (None where to be made), in some CRS."""

    features: gpd.GeoDataFrame
    crs: Any


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish came to, and what the checks found on the way."""

    outcome: Outcome
    findings: Findings


def publish(
    database: Database, layer_id: str, theme: Theme, columns: Sequence[Column], batches: Iterable[Batch],
    provenance: Provenance, outline: BaseGeometry, keep: int = 5, progress: Progress = lambda _: None,
    zone: tzinfo = UTC,
) -> Published:  # fmt: skip
    """Publish batches as the next version of a layer, checked; what fails goes to the version's quarantine."""
    shape = shape_of(theme, columns)
    findings, numbering = Findings(), Numbering()
    with Staging(database, layer_id, shape, provenance, keep) as staging:
        for batch in batches:
            checked = check(batch.features, theme, columns, batch.crs, outline, findings, zone)
            good, doubles = _number(checked.good, numbering, findings)
            good["importance"] = np.nan_to_num(theme.importance(good)) if len(good) else []
            staging.append(good)
            staging.quarantine([*checked.bad, *doubles])
            progress(len(batch.features))
        return Published(staging.publish(), findings)


def shape_of(theme: Theme, columns: Sequence[Column]) -> Shape:
    """The tables of a version that follows a theme."""
    label = theme.label if theme.geometry == "polygon" else None
    return Shape(tuple(columns), theme.resolution, label, theme.rollup(column.name for column in columns))


def _number(
    features: gpd.GeoDataFrame, numbering: Numbering, findings: Findings
) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Give features their ids and numbers; set aside those whose id, or whose geometry without an id, came before."""
    ids = features["id"].to_numpy(dtype=object)
    unnamed = np.array([i is None or i != i for i in ids], dtype=bool)
    if unnamed.any():
        ids = ids.copy()
        ids[unnamed] = ids_from_geometry(np.asarray(features.geometry.values, dtype=object)[unnamed])
    numbers, repeated = numbering.number(ids)
    features = features.assign(id=ids, fid=numbers)
    doubles = set_apart(features[repeated & ~unnamed], "id.duplicate")
    doubles += set_apart(features[repeated & unnamed], "geometry.duplicate")
    findings.set_aside.update(entry["reason"] for entry in doubles)
    return features[~repeated].reset_index(drop=True), doubles


def set_apart(features: gpd.GeoDataFrame, reason: str) -> list[dict[str, Any]]:
    """Entries for quarantine of checked features that cannot be published after all."""
    attributes = features.drop(columns=["geometry", "fid"])
    rows = attributes.astype(object).where(attributes.notna(), None).to_dict("records")
    entries = []
    for row, geometry in zip(rows, features.geometry, strict=True):
        properties = {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in row.items()}
        entries.append(
            {
                "feature_id": properties.pop("id"),
                "reason": reason,
                "detail": "",
                "properties": properties,
                "geometry": shapely.to_wkb(geometry),
            }
        )
    return entries

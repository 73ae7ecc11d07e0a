"""Publishing a raster: its file as COG in the raster folder, and its cells as the features of the version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np

from ingest.checks.raster import RasterSurvey, inspect_raster, wrong_theme
from ingest.checks.raster_report import RasterPlan, RasterReport
from ingest.mapping.rows import ROWS_REVISION, columns_of_layer, shape_of
from ingest.publish.identity import Numbering
from ingest.readers.cell_tally import CellValues
from ingest.readers.opening import is_raster, open_raster
from ingest.readers.source import ReadOptions
from layers.theme import Theme
from twin.catalogue.staging import Outcome, Provenance, Staging
from twin.cells.cover import Cover, cell_polygons, format_cell
from twin.config import Settings
from twin.db.database import Database
from twin.errors import BadInput
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import RasterReader

Stage = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class RasterRequest:
    """Options of a raster that a person gives: its CRS, the band to read, what its codes mean (a file, or a table)."""

    crs: str | None = None
    band: str | None = None
    codes: Path | Mapping[str, str] | None = None


def takes_raster(
    path: Path, theme: Theme, options: ReadOptions, looks: Callable[[Path, ReadOptions], bool] = is_raster
) -> bool:
    """Return whether a file is published as a raster; a raster for a theme of features, or the reverse, is refused."""
    raster = looks(path, options)
    if raster and theme.raster is None:
        raise BadInput(wrong_theme(path.name, theme))
    if not raster and theme.raster is not None:
        raise BadInput(
            Text(
                en="The theme “{theme}” takes rasters (GeoTIFF), and {file} is none.",
                vi="Chuyên đề “{theme}” nhận ảnh raster (GeoTIFF), còn {file} không phải.",
            ).format(theme=theme.name, file=path.name)
        )
    return raster


@contextmanager
def opened(
    path: Path,
    theme: Theme,
    request: RasterRequest,
    options: ReadOptions,
    settings: Settings,
    opener: Callable[[Path, ReadOptions], RasterReader] = open_raster,
) -> Iterator[tuple[RasterReader, RasterPlan]]:
    """Open a raster and decide how it is read."""
    with opener(path, options) as reader:
        yield (
            reader,
            inspect_raster(reader, theme, settings.profile, request.codes, request.crs, request.band, path.name),
        )


def survey(reader: RasterReader, plan: RasterPlan, stage: Stage) -> tuple[RasterReport, CellValues | None]:
    """Read all of a raster once."""
    return RasterSurvey(reader, plan, lambda done, total: stage("check", done, total)).run()


def stage_raster(
    database: Database, settings: Settings, layer_id: str, reader: RasterReader, report: RasterReport,
    cells: CellValues, provenance: Provenance, stage: Stage,
) -> Outcome:  # fmt: skip
    """Make a version of a raster that was surveyed: the file first, then the cells, then the swap."""
    theme = report.plan.theme
    shape = shape_of(theme, columns_of_layer(theme, {}))
    with Staging(
        database, layer_id, shape, provenance, settings.keep_versions, rasters=settings.raster_folder
    ) as staging:
        stage("raster", 0, None)
        staging.keep_raster(report.facts(), reader.to_cog)
        numbering = Numbering()
        for start in range(0, len(cells), settings.batch_rows):
            some = slice(start, start + settings.batch_rows)
            staging.append(*_features(theme, report.plan, cells, some, numbering))
            stage("copy", min(start + settings.batch_rows, len(cells)), len(cells))
        stage("index", 0, None)
        return staging.publish()


def fingerprint(sha256: str, plan: RasterPlan) -> str:
    """Return a digest of all that decides a raster's cells."""
    inputs: dict[str, Any] = {
        "rows": ROWS_REVISION, "file": sha256, "crs": plan.reference.reading.code, "band": plan.band,
        "codes": {str(k): v for k, v in plan.codes.items()} if plan.codes else None,
        "columns": [c.as_dict() for c in columns_of_layer(plan.theme, {})], "resolution": plan.theme.resolution,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _features(
    theme: Theme, plan: RasterPlan, cells: CellValues, some: slice, numbering: Numbering
) -> tuple[gpd.GeoDataFrame, Cover]:
    """Cells as features: named by their index, shaped as their outline, each covering itself alone."""
    assert theme.raster is not None  # noqa: S101  # the plan is of such a theme
    cell = cells.cell[some]
    ids = np.array([format_cell(int(c)) for c in cell], dtype=object)
    fids, _ = numbering.number(ids)
    columns: dict[str, Any] = {"fid": fids, "id": ids, "samples": cells.samples[some]}
    if plan.codes is None:
        # Sums of many single-precision numbers leave digits that mean nothing.
        columns |= {theme.raster.field: np.round(cells.value[some], 6)}
        columns |= {"lowest": cells.lowest[some], "highest": cells.highest[some]}
    else:
        terms = plan.codes
        columns |= {theme.raster.field: np.array([terms[int(v)] for v in cells.value[some]], dtype=object)}
        columns |= {"share": np.round(cells.share[some], 6)}
    features = gpd.GeoDataFrame(columns, geometry=cell_polygons(cell), crs=4326)
    features["importance"] = np.nan_to_num(theme.importance(features))
    whole = np.ones(len(cell), bool)
    return features, Cover(np.arange(len(cell), dtype=np.int64), cell, whole)

"""The one way into a layer: files are read, checked and published as one atomic version; or only checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import geopandas as gpd
import numpy as np
import shapely

from ingest.checks.checker import Checker, Identities
from ingest.checks.plan import Plan, inspect
from ingest.checks.raster_report import RasterReport
from ingest.checks.report import REFUSED, Report
from ingest.frames import with_columns
from ingest.mapping.description import MappingFile, RowMapping, read_mapping_file
from ingest.mapping.joins import Opener, Partners
from ingest.mapping.rows import ROWS_REVISION, columns_of_layer, shape_of
from ingest.publish.identity import Numbering
from ingest.publish.rasters import RasterRequest, fingerprint, opened, stage_raster, survey, takes_raster
from ingest.readers.limits import load_limits
from ingest.readers.opening import is_raster, open_file, open_raster
from ingest.readers.solids import solids_to_wgs84
from ingest.readers.source import Reader, ReadOptions
from layers.contracts import theme_of
from layers.theme import FieldType, Theme
from twin.access.permit import whole_permit
from twin.access.principals import Principal
from twin.catalogue.catalogue import Column, Layer, read_catalogue
from twin.catalogue.loading import Loading
from twin.catalogue.staging import Mode, Outcome, Provenance, Staging
from twin.cells.cover import measure
from twin.config import Settings
from twin.db.database import Database
from twin.errors import BadInput, NotFound
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import RasterReader

# Told as work goes on: the stage's name, how far it is, and how far it goes (None where that is not known).
Stage = Callable[[str, int, int | None], None]


class Opening(NamedTuple):
    """The functions that open files and the tables that they are joined with: here, or in a process apart."""

    features: Callable[[Path, ReadOptions], Reader] = open_file
    raster: Callable[[Path, ReadOptions], RasterReader] = open_raster
    is_raster: Callable[[Path, ReadOptions], bool] = is_raster
    table: Callable[[Path, ReadOptions], Reader] = open_file


HERE = Opening()


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Options of a publish. `mapping` is the path of a mapping file; `crs` and `encoding` overrule the file.

    `principal` is who publishes (None: whoever runs the program); joins see what the principal may read. The mapping of
    an upload (`uploaded`) comes alone: nothing beside it is read.
    """

    layer: str
    mode: Mode = "replace"
    strict: bool = False
    dry_run: bool = False
    reason: str = ""
    mapping: Path | None = None
    crs: str | None = None
    encoding: str | None = None
    source_layer: str | None = None
    longitude: str | None = None
    latitude: str | None = None
    wkt: str | None = None
    uploaded: bool = False
    principal: Principal | None = None


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The outcome of a publish: a report for each file, and the version if one was made or is there already."""

    reports: tuple[Report | RasterReport, ...]
    outcome: Outcome | None
    dry_run: bool = False

    @property
    def report(self) -> Report | RasterReport:
        """The report of the first file, which is the only one unless a city's description names more."""
        return self.reports[0]

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with warnings or with features in quarantine, 2 refused: nothing is, or would be, published."""
        if self.outcome is None and not self.dry_run:
            return REFUSED
        return max(report.exit_code for report in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """Return the result for machines: the report's document, and `version`, `unchanged`, `published`."""
        outcome = self.outcome
        return {
            "published": outcome is not None,
            "version": outcome.number if outcome else None,
            "unchanged": bool(outcome and outcome.unchanged),
            "features": outcome.features if outcome else 0,
            "quarantined": outcome.quarantined if outcome else 0,
            "exitCode": self.exit_code,
            "report": self.report.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """An opened file, and the plan of how it is published."""

    reader: Reader
    plan: Plan


def layer_of(database: Database, layer_id: str) -> Layer:
    """Return the layer to publish into."""
    with database.session() as session:
        layer = read_catalogue(session).get(layer_id)
    if layer is None:
        raise NotFound(
            Text(
                en="There is no layer “{id}” yet. Say its theme to make it: --theme places (see: twin layer themes)",
                vi="Chưa có lớp “{id}”. Hãy nêu chuyên đề để tạo lớp: --theme places (xem: twin layer themes)",
            ).format(id=layer_id)
        )
    return layer


def options_of(request: PublishRequest, settings: Settings, mapping: MappingFile | None = None) -> ReadOptions:
    """Return what a request, else its mapping, says of a file, as readers take it."""
    of = mapping or MappingFile()
    return ReadOptions(
        layer=request.source_layer or of.layer, crs=request.crs or of.crs, encoding=request.encoding or of.encoding,
        longitude=request.longitude or of.longitude, latitude=request.latitude or of.latitude,
        wkt=request.wkt or of.wkt, osm=of.osm, limits=load_limits(), workspace=settings.workspace,
    )  # fmt: skip


def _raster_request(request: PublishRequest) -> RasterRequest:
    return RasterRequest(request.crs, request.source_layer, request.mapping)


@contextmanager
def plan_file(
    path: Path, theme: Theme, request: PublishRequest, settings: Settings, partners: Partners
) -> Iterator[PlannedFile]:
    """Open a file and decide how it is read."""
    mapping = read_mapping_file(request.mapping) if request.mapping else None
    with closing(open_file(path, options_of(request, settings, mapping))) as reader:
        yield PlannedFile(reader, _plan(reader, path, theme, request, settings, mapping, partners))


def _plan(
    reader: Reader, path: Path, theme: Theme, request: PublishRequest, settings: Settings,
    mapping: MappingFile | None, partners: Partners,
) -> Plan:  # fmt: skip
    return inspect(reader, theme, settings.profile, mapping, request.crs, file=path.name, partners=partners)


def partners_of(
    path: Path, request: PublishRequest, database: Callable[[], Database] | None, opener: Opener = open_file
) -> Partners:
    """Return where a request's joins find their partners: with its mapping file, in its archive, in the database."""
    folder = request.mapping.resolve().parent if request.mapping and not request.uploaded else None
    return Partners(folder, path if path.suffix.lower() == ".zip" else None, database, request.principal, opener)


def check_file(
    path: Path, theme: Theme, request: PublishRequest, settings: Settings, stage: Stage,
    database: Callable[[], Database] | None = None,
) -> Report | RasterReport:  # fmt: skip
    """Check a whole file and write nothing. `database` opens the layers that a mapping joins."""
    options = options_of(request, settings)
    if takes_raster(path, theme, options):
        with opened(path, theme, _raster_request(request), options, settings) as (raster, raster_plan):
            return survey(raster, raster_plan, stage)[0]
    with plan_file(path, theme, request, settings, partners_of(path, request, database)) as source:
        return check(source, settings, stage)


def check(source: PlannedFile, settings: Settings, stage: Stage, identities: Identities | None = None) -> Report:
    """Check a whole file that is open, and write nothing."""
    checker = Checker(source.plan, identities)
    done = 0
    if "file.empty" not in source.plan.blockers:
        for batch in source.reader.batches(settings.batch_rows):
            checker.feed(batch)
            done += len(batch)
            stage("check", done, source.reader.count)
    return checker.finish()


def publish_file(
    database: Database, settings: Settings, path: Path, request: PublishRequest, actor: str, source_name: str,
    sha256: str | None, stage: Stage, opening: Opening = HERE,
) -> PublishResult:  # fmt: skip
    """Publish a file into a layer that exists; `opening` says who opens its file.

    The checks run while the features are copied: what fails goes to the version's quarantine; with `strict`, one
    failure refuses all. The same file published the same way again makes no version.
    """
    layer = layer_of(database, request.layer)
    theme = theme_of(layer)
    stage("read", 0, None)
    digest = _in_background(lambda: sha256 or sha256_of(path))
    options = options_of(request, settings)
    if takes_raster(path, theme, options, opening.is_raster):
        return _publish_raster(
            database, settings, path, theme, request, actor, source_name, digest.result(), stage, opening.raster
        )
    mapping = read_mapping_file(request.mapping) if request.mapping else None
    partners = partners_of(path, request, lambda: database, opening.table)
    with (
        closing(opening.features(path, options_of(request, settings, mapping))) as reader,
        closing(_loading(reader, request)) as loading,
    ):
        source = PlannedFile(reader, _plan(reader, path, theme, request, settings, mapping, partners))

        def provenance(columns: tuple[Column, ...]) -> Provenance:
            fingerprint = _fingerprint(digest.result(), source.plan, columns, request)
            return Provenance(actor, source_name, digest.result(), fingerprint, request.reason)

        return publish_sources(database, settings, layer, theme, [source], request, provenance, loading, stage)


def publish_sources(
    database: Database, settings: Settings, layer: Layer, theme: Theme, sources: Sequence[PlannedFile],
    request: PublishRequest, provenance: Callable[[tuple[Column, ...]], Provenance], loading: Loading, stage: Stage,
) -> PublishResult:  # fmt: skip
    """Publish open files together as the next version of a layer.

    All of them must be publishable: if one is not, the layer keeps the version that it has. `provenance` is called
    with the columns of the new version.
    """
    if request.dry_run or request.strict or any(source.plan.blockers for source in sources):
        identities = Identities()
        reports = tuple(check(source, settings, stage, identities) for source in sources)
        refused = any(not report.publishable or (request.strict and report.bad) for report in reports)
        if request.dry_run or refused:
            return PublishResult(reports, None, dry_run=not refused)
    columns = _columns(theme, sources, layer, request.mode)
    identities, numbering = Identities(), Numbering()
    with Staging(
        database, layer.id, shape_of(theme, columns), provenance(columns), settings.keep_versions, request.mode, loading
    ) as staging:
        if request.mode == "append":
            for ids in staging.existing_ids():
                numbering.number(ids)
        reports = tuple(
            _copy(PlannedFile(source.reader, replace(source.plan, columns=columns)), identities, numbering, staging,
                  settings, stage)
            for source in sources
        )  # fmt: skip
        if not all(report.publishable for report in reports):
            return PublishResult(reports, None)
        stage("index", 0, None)
        return PublishResult(reports, staging.publish())


def _in_background(work: Callable[[], str]) -> Future[str]:
    """Begin work in a thread that ends with the program: nobody waits for it who does not ask for its result."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _loading(reader: Reader, request: PublishRequest) -> Loading:
    """Return the processes that cover and copy; they start during the inspection if the file is likely published."""
    return Loading(None if request.dry_run or request.strict else reader.count)


def _publish_raster(
    database: Database, settings: Settings, path: Path, theme: Theme, request: PublishRequest, actor: str,
    source_name: str, sha256: str, stage: Stage, opener: Callable[[Path, ReadOptions], RasterReader],
) -> PublishResult:  # fmt: skip
    if request.mode != "replace":
        raise BadInput(
            Text(
                en="A raster replaces the whole layer: leave out --mode.",
                vi="Ảnh raster thay toàn bộ lớp: hãy bỏ --mode.",
            )
        )
    options = options_of(request, settings)
    with opened(path, theme, _raster_request(request), options, settings, opener) as (reader, plan):
        report, cells = survey(reader, plan, stage)
        refused = cells is None or (request.strict and report.bad > 0)
        if cells is None or refused or request.dry_run:
            return PublishResult((report,), None, dry_run=not refused)
        provenance = Provenance(actor, source_name, sha256, fingerprint(sha256, plan), request.reason)
        outcome = stage_raster(database, settings, request.layer, reader, report, cells, provenance, stage)
        return PublishResult((report,), outcome)


def _copy(
    source: PlannedFile,
    identities: Identities,
    numbering: Numbering,
    staging: Staging,
    settings: Settings,
    stage: Stage,
) -> Report:
    """Check a file and copy its features into a version that is being made."""
    reader, plan = source.reader, source.plan
    checker = Checker(plan, identities)
    append = staging.mode == "append"
    done = 0
    for batch in reader.batches(settings.batch_rows):
        checked = checker.feed(batch)
        good, measured = checked.good, checked.measured
        for name in plan.solid_columns:
            good[name] = solids_to_wgs84(good[name].tolist(), plan.reference.reading.crs)
        # The checks set aside what comes twice in the file; only an addition may repeat what was there before.
        fids, repeated = numbering.number(good["id"].to_numpy(dtype=object), distinct=not append)
        importance = np.nan_to_num(plan.theme.importance(good)) if len(good) else np.empty(0)
        good = with_columns(good, {"fid": fids, "importance": importance})
        staging.quarantine(checked.bad)
        if repeated.any():
            staging.quarantine(quarantine_entries(good[repeated], "id.exists"))
            good = good[~repeated].reset_index(drop=True)
            measured = measure(np.asarray(good.geometry.values, dtype=object))
        staging.append(good, measured=measured)
        done += len(batch)
        stage("copy", done, reader.count)
    return checker.finish()


def quarantine_entries(features: gpd.GeoDataFrame, reason: str) -> list[dict[str, Any]]:
    """Return entries for quarantine of checked features that cannot be published after all."""
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


def _columns(theme: Theme, sources: Sequence[PlannedFile], layer: Layer, mode: Mode) -> tuple[Column, ...]:
    """Return the columns of the new version: those of the files, and where features come along also those of before."""
    before = whole_permit(layer, layer.current).columns if layer.current is not None and mode != "replace" else ()
    if not before and len(sources) == 1:
        return sources[0].plan.columns
    own: dict[str, FieldType] = {}
    for column in (*before, *(column for source in sources for column in source.plan.columns)):
        if column.name not in theme.by_name:
            kind: FieldType = column.type  # type: ignore[assignment]
            # Two types under one name: text holds both.
            own[column.name] = kind if own.get(column.name, kind) == kind else "text"
    return columns_of_layer(theme, own)


def _fingerprint(sha256: str, plan: Plan, columns: tuple[Column, ...], request: PublishRequest) -> str:
    mapping = plan.matches.mapping()
    partner = plan.mapping.partner
    rows: Mapping[str, Any] = {
        "rows": ROWS_REVISION, "file": sha256, "mode": request.mode,
        "mapping": mapping.model_dump(mode="json", include=set(RowMapping.model_fields)),
        "crs": str(plan.reference.reading.name), "encodings": plan.legacy, "partner": partner and partner.fingerprint,
        "columns": [c.as_dict() for c in columns], "layer": request.source_layer,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the digest of a file, or of all files of a folder by name (a FileGDB is a folder)."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(str(part.relative_to(path)).encode() + b"\0" + bytes.fromhex(sha256_of(part)))
    return digest.hexdigest()

"""One file into one layer: looked at, checked, published as one atomic version; or only checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ingest.checks.checker import Checker
from ingest.checks.plan import Plan, inspect
from ingest.checks.raster_report import RasterReport
from ingest.checks.report import REFUSED, Report
from ingest.frames import objects, with_columns
from ingest.identity import Numbering
from ingest.limits import load_limits
from ingest.mapping import columns_of_layer
from ingest.pipeline import PIPELINE, set_apart, shape_of
from ingest.rasters import RasterRequest, fingerprint, opened, stage_raster, survey, takes_raster
from ingest.readers.opening import open_file
from ingest.readers.solids import solids_to_wgs84
from ingest.readers.source import Reader, ReadOptions
from layers.contracts import theme_of
from layers.theme import FieldType, Theme
from twin.catalogue import Column, Layer, read_catalogue
from twin.cells import measure
from twin.config import Settings
from twin.db.database import Database
from twin.errors import BadInput, NotFound
from twin.loading import Loading
from twin.staging import Mode, Outcome, Provenance, Staging
from twin.text import Text

# Told as work goes on: the stage's name, how far it is, and how far it goes (None where that is not known).
Stage = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What is asked of a publish. `mapping` is the path of a mapping file; `crs` and `encoding` overrule the file."""

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


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What came of it: the report, and the version if one was made or found to be there already."""

    report: Report | RasterReport
    outcome: Outcome | None
    strict: bool = False

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with warnings, 2 refused. What goes to quarantine is a warning, and refuses all with `strict`."""
        if self.outcome is None and self.strict and self.report.bad:
            return REFUSED
        return self.report.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Give the result for machines: the report's document, and `version`, `unchanged`, `published`."""
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


def layer_of(database: Database, layer_id: str) -> Layer:
    """The layer to publish into."""
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


def options_of(request: PublishRequest, settings: Settings) -> ReadOptions:
    """What a request says of its file, as readers take it."""
    return ReadOptions(
        layer=request.source_layer, crs=request.crs, encoding=request.encoding,
        longitude=request.longitude, latitude=request.latitude, wkt=request.wkt, limits=load_limits(),
        workspace=settings.workspace,
    )  # fmt: skip


def _raster_request(request: PublishRequest) -> RasterRequest:
    return RasterRequest(request.crs, request.source_layer, request.mapping)


@contextmanager
def planned(path: Path, theme: Theme, request: PublishRequest, settings: Settings) -> Iterator[tuple[Reader, Plan]]:
    """Open a file and decide how it is read."""
    with closing(open_file(path, options_of(request, settings))) as reader:
        yield reader, _plan(reader, path, theme, request, settings)


def _plan(reader: Reader, path: Path, theme: Theme, request: PublishRequest, settings: Settings) -> Plan:
    return inspect(reader, theme, settings.profile, request.mapping, request.crs, file=path.name)


def check_file(
    path: Path, theme: Theme, request: PublishRequest, settings: Settings, stage: Stage
) -> Report | RasterReport:
    """Check a whole file and write nothing."""
    options = options_of(request, settings)
    if takes_raster(path, theme, options):
        with opened(path, theme, _raster_request(request), options, settings) as (raster, raster_plan):
            return survey(raster, raster_plan, stage)[0]
    with planned(path, theme, request, settings) as (reader, plan):
        return _checked(reader, plan, settings, stage)


def _checked(reader: Reader, plan: Plan, settings: Settings, stage: Stage) -> Report:
    checker = Checker(plan)
    done = 0
    if not plan.blockers:
        for batch in reader.batches(settings.batch_rows):
            checker.feed(batch)
            done += len(batch)
            stage("check", done, reader.count)
    return checker.finish()


def publish_file(
    database: Database, settings: Settings, path: Path, request: PublishRequest, actor: str, source_name: str,
    sha256: str | None, stage: Stage,
) -> PublishResult:  # fmt: skip
    """Publish a file into a layer that exists.

    The checks run while the features are copied: what fails goes to the version's quarantine; with `strict`, one
    failure refuses all. The same file published the same way again makes no version.
    """
    layer = layer_of(database, request.layer)
    theme = theme_of(layer)
    stage("read", 0, None)
    digest = _in_background(lambda: sha256 or sha256_of(path))
    options = options_of(request, settings)
    if takes_raster(path, theme, options):
        return _publish_raster(database, settings, path, theme, request, actor, source_name, digest.result(), stage)
    with closing(open_file(path, options)) as reader, closing(_loading(reader, request)) as loading:
        plan = _plan(reader, path, theme, request, settings)
        if plan.blockers or request.dry_run or request.strict:
            report = _checked(reader, plan, settings, stage)
            if not report.publishable or request.dry_run or report.bad:
                return PublishResult(report, None, request.strict)
        columns = _columns(theme, plan, layer, request.mode)
        provenance = Provenance(
            actor, source_name, digest.result(), _fingerprint(digest.result(), plan, columns, request), request.reason
        )
        return _publish(database, settings, reader, plan, columns, request, provenance, loading, stage)


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
    """What will cover and copy. It gets ready while the file is looked at, unless that may be all that is wanted."""
    return Loading(None if request.dry_run or request.strict else reader.count)


def _publish_raster(
    database: Database, settings: Settings, path: Path, theme: Theme, request: PublishRequest, actor: str,
    source_name: str, sha256: str, stage: Stage,
) -> PublishResult:  # fmt: skip
    if request.mode != "replace":
        raise BadInput(
            Text(
                en="A raster replaces the whole layer: leave out --mode.",
                vi="Ảnh raster thay toàn bộ lớp: hãy bỏ --mode.",
            )
        )
    with opened(path, theme, _raster_request(request), options_of(request, settings), settings) as (reader, plan):
        report, cells = survey(reader, plan, stage)
        if cells is None or request.dry_run or (request.strict and report.bad):
            return PublishResult(report, None, request.strict)
        provenance = Provenance(actor, source_name, sha256, fingerprint(sha256, plan), request.reason)
        outcome = stage_raster(database, settings, request.layer, reader, report, cells, provenance, stage)
        return PublishResult(report, outcome)


def _publish(
    database: Database, settings: Settings, reader: Reader, plan: Plan, columns: tuple[Column, ...],
    request: PublishRequest, provenance: Provenance, loading: Loading, stage: Stage,
) -> PublishResult:  # fmt: skip
    theme = plan.theme
    shape = shape_of(theme, columns)
    checker, numbering = Checker(plan), Numbering()
    names = [column.name for column in columns]
    done = 0
    with Staging(database, request.layer, shape, provenance, settings.keep_versions, request.mode, loading) as staging:
        if request.mode == "append":
            for ids in staging.existing_ids():
                numbering.number(ids)
        for batch in reader.batches(settings.batch_rows):
            checked = checker.feed(batch)
            good, measured = checked.good, checked.measured
            for name in plan.solid_columns:
                good[name] = solids_to_wgs84(good[name].tolist(), plan.reference.reading.crs)
            # The checks set aside what comes twice in the file; only an addition may repeat what was there before.
            fids, repeated = numbering.number(good["id"].to_numpy(dtype=object), distinct=request.mode != "append")
            more = {name: objects(None, len(good)) for name in names if name not in good.columns}
            importance = np.nan_to_num(theme.importance(good)) if len(good) else np.empty(0)
            good = with_columns(good, {**more, "fid": fids, "importance": importance})
            staging.quarantine(checked.bad)
            if repeated.any():
                staging.quarantine(set_apart(good[repeated], "id.exists"))
                good = good[~repeated].reset_index(drop=True)
                measured = measure(np.asarray(good.geometry.values, dtype=object))
            staging.append(good, measured=measured)
            done += len(batch)
            stage("copy", done, reader.count)
        report = checker.finish()
        if not report.publishable:
            return PublishResult(report, None)
        stage("index", 0, None)
        return PublishResult(report, staging.publish())


def _columns(theme: Theme, plan: Plan, layer: Layer, mode: Mode) -> tuple[Column, ...]:
    """The columns of the new version: those of the file, and where features come along also those of before."""
    if mode == "replace" or layer.current is None:
        return plan.columns
    own: dict[str, FieldType] = {}
    for column in (*layer.current.columns, *plan.columns):
        if column.name not in theme.by_name:
            kind: FieldType = column.type  # type: ignore[assignment]
            # Two types under one name: text holds both.
            own[column.name] = kind if own.get(column.name, kind) == kind else "text"
    return columns_of_layer(theme, own)


def _fingerprint(sha256: str, plan: Plan, columns: tuple[Column, ...], request: PublishRequest) -> str:
    said: Mapping[str, Any] = {
        "pipeline": PIPELINE, "file": sha256, "mode": request.mode, "mapping": plan.to_toml(),
        "columns": [c.as_dict() for c in columns], "layer": request.source_layer,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The digest of a file, or of all files of a folder by name (a FileGDB is a folder)."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(str(part.relative_to(path)).encode() + b"\0" + bytes.fromhex(sha256_of(part)))
    return digest.hexdigest()


__all__ = ["REFUSED", "PublishRequest", "PublishResult", "check_file", "publish_file"]

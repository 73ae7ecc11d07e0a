"""Loading a whole city: every layer of a description, or the sample city; what is already there stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from ingest.checks.checker import Identities
from ingest.checks.plan import inspect
from ingest.checks.problems import Problem
from ingest.checks.raster_report import RasterPlan, RasterReport
from ingest.checks.report import Report
from ingest.mapping.description import CitySpec, LayerSpec, Source, ViewSpec, read_spec
from ingest.mapping.joins import Partners
from ingest.mapping.rows import ROWS_REVISION
from ingest.publish.engine import (
    PlannedFile,
    PublishRequest,
    PublishResult,
    Stage,
    check,
    options_of,
    publish_sources,
    sha256_of,
)
from ingest.publish.rasters import RasterRequest, opened, stage_raster, survey
from ingest.readers.opening import open_file
from ingest.readers.source import ReadOptions, inside
from layers.registry import theme
from layers.theme import Theme
from twin.catalogue.catalogue import Layer, LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.loading import Loading
from twin.catalogue.staging import Provenance
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import Info, Sharing
from twin.errors import BadInput, Conflict
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import RasterReader
    from ingest.sample import SampleCity, SampleLayer

SPEC_NAME = "city.toml"
SAMPLE = "sample"
GROUND = "environment.elevation"


class Watcher(Protocol):
    """Is notified of how a load goes on."""

    def begin(self, layer: str, title: Text) -> Stage:
        """Begin a layer; the function returned is called with the stages of its publish."""

    def unchanged(self, layer: str) -> None:
        """Pass over a layer that is already as its files say."""

    def published(self, layer: str, result: PublishResult) -> None:
        """End a layer that has a new version."""

    def refused(self, layer: str, reason: Text) -> None:
        """End a layer that stays as it was."""


@dataclass(frozen=True, slots=True)
class RasterFile:
    """A raster to load: a file, which may be made when it is opened, and how it is read."""

    open: Callable[[], AbstractContextManager[Path]]
    request: RasterRequest = field(default_factory=RasterRequest)


class LayerLoad(Protocol):
    """One layer to load: its catalogue entry, what it is made from, and how its files are opened.

    `raster` is the file of a layer of rasters, which has no sources.
    """

    entry: LayerEntry
    theme: Theme
    source: str
    raster: RasterFile | None

    def digest(self) -> str:
        """Return the SHA-256 of the layer's files."""

    def fingerprint(self, layers: Mapping[str, Layer]) -> str:
        """Return a digest of all that decides the layer's rows; `layers` are those that a join may name."""

    def open(self, settings: Settings, partners: Partners) -> AbstractContextManager[Sequence[PlannedFile]]:
        """Open the files and decide how they are read."""


@dataclass(frozen=True, slots=True)
class CityLoad:
    """A city to load: agencies, layers, and where the map opens. `folder` holds its files."""

    id: str
    title: Text
    agencies: Mapping[str, Text]
    view: ViewSpec | None
    layers: Iterable[LayerLoad]
    folder: Path | None = None


@dataclass(slots=True)
class Loaded:
    """The outcome of a load: the layers with a new version, those without a change, and those that stay as they were,
    with the reason.
    """

    published: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: dict[str, Text] = field(default_factory=dict)


def load_city(database: Database, city: CityLoad, settings: Settings, watcher: Watcher) -> Loaded:
    """Bring every layer of a city to what its files say.

    A layer whose files and description are those of its current version is left alone, so an interrupted load goes
    on where it stopped, and a second one does nothing. A layer whose files cannot be published keeps its version, and
    the load goes on with the others.
    """
    _claim(database, city)
    with database.session() as session:
        for name, title in city.agencies.items():
            ensure_agency(session, name, title)
    loaded = Loaded()
    for layer in city.layers:
        name = layer.entry.id
        try:
            result = _load_layer(database, city, settings, layer, watcher)
        except BadInput as error:
            loaded.refused[name] = error.message
            watcher.refused(name, error.message)
            continue
        if result is None:
            loaded.unchanged.append(name)
            watcher.unchanged(name)
        else:
            loaded.published.append(name)
            watcher.published(name, result)
    return loaded


def _load_layer(
    database: Database, city: CityLoad, settings: Settings, layer: LayerLoad, watcher: Watcher
) -> PublishResult | None:
    """Publish a layer, unless its files are those of its current version."""
    with database.session() as session:
        ensure_layer(session, layer.entry)
        layers = read_catalogue(session)
    present = layers[layer.entry.id]
    fingerprint = layer.fingerprint(layers)
    if present.current is not None and present.current.fingerprint == fingerprint:
        return None
    stage = watcher.begin(layer.entry.id, layer.entry.title)
    provenance = Provenance("city load", layer.source, layer.digest(), fingerprint)
    if layer.raster is not None:
        return _publish_raster(database, settings, layer, layer.raster, provenance, stage)
    partners = Partners(city.folder, None, lambda: database)
    request = PublishRequest(layer.entry.id)
    with layer.open(settings, partners) as sources, closing(Loading(_expected(sources))) as loading:
        result = publish_sources(
            database, settings, present, layer.theme, sources, request, lambda _: provenance, loading, stage
        )
    if result.outcome is None:
        raise BadInput(not_publishable(result.reports))
    return result


def check_city(
    city: CityLoad, settings: Settings, watcher: Watcher, database: Database, only: Collection[str] = ()
) -> tuple[dict[str, tuple[Report | RasterReport, ...]], dict[str, Text]]:
    """Check the files of a city's layers and write nothing; return the reports, and why others cannot be read."""
    reports: dict[str, tuple[Report | RasterReport, ...]] = {}
    refused: dict[str, Text] = {}
    layers = list(city.layers)
    known = [layer.entry.id for layer in layers]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise BadInput(
            Text(
                en="{city} describes no layer {names}. It describes: {known}",
                vi="{city} không mô tả lớp {names}. Các lớp được mô tả: {known}",
            ).format(city=city.title, names=", ".join(unknown), known=", ".join(known))
        )
    for layer in layers:
        name = layer.entry.id
        if only and name not in only:
            continue
        stage = watcher.begin(name, layer.entry.title)
        try:
            if layer.raster is not None:
                with layer.raster.open() as path, _opened_raster(path, layer, layer.raster, settings) as (reader, plan):
                    reports[name] = (survey(reader, plan, stage)[0],)
                continue
            identities = Identities()
            with layer.open(settings, Partners(city.folder, None, lambda: database)) as sources:
                reports[name] = tuple(check(source, settings, stage, identities) for source in sources)
        except BadInput as error:
            refused[name] = error.message
            watcher.refused(name, error.message)
    return reports, refused


def not_publishable(reports: Sequence[Report | RasterReport]) -> Text:
    """Say why files cannot be published: the gravest problems of the first that cannot."""
    bad = next((r for r in reports if not r.publishable), reports[0])
    named = set(bad.plan.blockers)
    grave = [p for p in bad.problems if p.code in named] or [p for p in bad.problems if p.severity == "refused"]

    def phrase(problem: Problem) -> Text:
        title = problem.kind.title
        return Text(en=f"{title.en} ({problem.field})", vi=f"{title.vi} ({problem.field})") if problem.field else title

    phrases = [phrase(problem) for problem in grave[:3]]
    reason = Text(en="; ".join(p.en for p in phrases), vi="; ".join(p.vi for p in phrases))
    return Text(en="{file}: {reason}.", vi="{file}: {reason}.").format(file=bad.plan.file, reason=reason)


def _expected(sources: Sequence[PlannedFile]) -> int | None:
    """Return how many features will come, as far as the files say."""
    counts = [source.reader.count for source in sources]
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def _opened_raster(
    path: Path, layer: LayerLoad, raster: RasterFile, settings: Settings
) -> AbstractContextManager[tuple[RasterReader, RasterPlan]]:
    return opened(path, layer.theme, raster.request, ReadOptions(crs=raster.request.crs), settings)


def _publish_raster(
    database: Database, settings: Settings, layer: LayerLoad, raster: RasterFile, provenance: Provenance, stage: Stage
) -> PublishResult:
    with raster.open() as path, _opened_raster(path, layer, raster, settings) as (reader, plan):
        report, cells = survey(reader, plan, stage)
        if cells is None:
            raise BadInput(not_publishable((report,)))
        outcome = stage_raster(database, settings, layer.entry.id, reader, report, cells, provenance, stage)
    return PublishResult((report,), outcome)


def _claim(database: Database, city: CityLoad) -> None:
    """Mark the database as holding this city; refuse one that holds another, which would mix with it."""
    with database.session() as session:
        held = session.scalar(sa.select(Info.value).where(Info.key == "city"))
        if held not in (None, city.id):
            raise Conflict(
                Text(
                    en="This database already holds “{held}”. Load “{new}” into another one: make it with "
                    "TWIN_DATABASE=NAME twin db migrate, then add --database NAME.",
                    vi="Cơ sở dữ liệu này đang chứa “{held}”. Hãy nạp “{new}” vào cơ sở dữ liệu khác: tạo bằng "
                    "TWIN_DATABASE=TÊN twin db migrate, rồi thêm --database TÊN.",
                ).format(held=held, new=city.id)
            )
        facts = {"city": city.id, "title": json.dumps(city.title.as_dict())}
        if city.view:
            facts["view"] = city.view.model_dump_json()
        for key, value in facts.items():
            session.merge(Info(key=key, value=value))


# The city of a description -------------------------------------------------------------------------


def described_city(folder: Path) -> CityLoad:
    """Return the city of a data folder: described by its own city.toml, else by the description that comes along."""
    own = folder / SPEC_NAME
    spec = read_spec(own if own.is_file() else Path(str(files("ingest") / "cities" / "hcmc.toml")))
    agencies = {a.name: a.title.text for a in spec.agency}
    return CityLoad(
        spec.id, spec.title.text, agencies, spec.view, (DescribedLayer(s, folder) for s in spec.layer), folder
    )


class DescribedLayer:
    """A layer of a city's description."""

    def __init__(self, spec: LayerSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self.theme = theme(spec.theme)
        self.entry = _entry(spec, self.theme)
        self.source = ", ".join(str(s.file) for s in spec.source)
        self.raster = self._raster() if self.theme.raster is not None else None

    def _raster(self) -> RasterFile:
        (source,) = self._spec.source
        return RasterFile(
            lambda: nullcontext(inside(self._folder, source.file)),
            RasterRequest(source.crs, source.layer, source.codes),
        )

    def digest(self) -> str:
        """Return the SHA-256 of the file, or of all files one after another; they are read for it once."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digests = [sha256_of(inside(self._folder, file)) for file in self._files()]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def _files(self) -> Iterator[Path]:
        for source in self._spec.source:
            yield source.file
            if source.join and source.join.file:
                yield source.join.file

    def fingerprint(self, layers: Mapping[str, Layer]) -> str:
        """Return a digest of all that decides the layer's rows: files, mapping, contract, joined layers."""
        joins = [source.join.layer for source in self._spec.source if source.join and source.join.layer]
        versions = [(name, current.number) for name in joins if name in layers and (current := layers[name].current)]
        parts = [
            ROWS_REVISION, contract_of(self.theme), self.digest(), versions,
            self._spec.model_dump(mode="json", include={"id", "theme", "source"}),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def open(self, settings: Settings, partners: Partners) -> Iterator[Sequence[PlannedFile]]:
        """Open the files and decide how they are read."""
        with ExitStack() as stack:
            sources = []
            for source in self._spec.source:
                path = inside(self._folder, source.file)
                request = PublishRequest(self._spec.id)
                reader = stack.enter_context(closing(open_file(path, options_of(request, settings, source))))
                plan = inspect(reader, self.theme, settings.profile, source, file=path.name, partners=partners)
                sources.append(PlannedFile(reader, plan))
            yield sources


def contract_of(of: Theme) -> list[Any]:
    """Return what a theme asks of features, in a form that a digest can be made of."""
    fields = [
        [f.name, f.type, f.required, f.minimum, f.maximum, sorted((f.vocabulary or {}).items(), key=lambda t: t[0])]
        for f in of.fields
    ]
    return [of.name, of.geometry, of.resolution, json.loads(json.dumps(fields, default=repr))]


def _entry(spec: LayerSpec, of: Theme) -> LayerEntry:
    return LayerEntry(
        id=spec.id, theme=spec.theme, title=spec.title.text,
        description=spec.description.text if spec.description else of.description,
        licence=spec.licence, attribution=spec.attribution, sharing=spec.sharing, visible=spec.visible,
    )  # fmt: skip


# The sample city -----------------------------------------------------------------------------------

SAMPLE_LICENCE = "CC0-1.0"
SAMPLE_ATTRIBUTION = Text(en="Sample city, invented", vi="Thành phố mẫu, dữ liệu hư cấu")


def sample_city(buildings: int, seed: int = 2025) -> CityLoad:
    """Return the sample city: invented, the same for the same size and seed."""
    from ingest.sample import generate

    spec: CitySpec = read_spec(Path(str(files("ingest") / "cities" / "sample.toml")))
    city = generate(buildings, seed)
    agencies = {a.name: a.title.text for a in spec.agency}
    layers = (SampleLayerLoad(city, layer) for layer in (*city.layers, None))
    return CityLoad(f"{SAMPLE}_{buildings}_{seed}", spec.title.text, agencies, spec.view, layers)


class SampleLayerLoad:
    """A layer of the sample city, or its ground as a raster (without `layer`): the one that its water follows."""

    def __init__(self, city: SampleCity, layer: SampleLayer | None) -> None:
        self._city, self._layer = city, layer
        self.theme = theme(layer.theme if layer else "elevation")
        name, title = (f"{layer.agency}.{layer.name}", layer.title) if layer else (GROUND, self.theme.title)
        self.entry = _sample_entry(name, self.theme, title)
        self.source = f"sample city, {city.buildings} buildings, seed {city.seed}"
        self.raster = None if layer else RasterFile(self._ground)

    def _ground(self) -> AbstractContextManager[Path]:
        from ingest.sample.terrain_file import terrain_file

        return terrain_file(self._city)

    def digest(self) -> str:
        """Return what names the content."""
        return self._city.fingerprint

    def fingerprint(self, _layers: Mapping[str, Layer]) -> str:
        """Return a digest of all that decides the layer's rows."""
        parts = [ROWS_REVISION, self._city.fingerprint, self.entry.id, contract_of(self.theme)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @contextmanager
    def open(self, settings: Settings, partners: Partners) -> Iterator[Sequence[PlannedFile]]:
        """Draw the layer as if it came from a file."""
        from ingest.sample.reader import SampleReader

        assert self._layer is not None  # noqa: S101  # rasters are not opened
        reader = SampleReader(self._layer, self.theme)
        mapping = Source(file=reader.path, id="id", crs="EPSG:4326")
        plan = inspect(reader, self.theme, settings.profile, mapping, file=str(reader.path), partners=partners)
        yield [PlannedFile(reader, plan)]


def _sample_entry(layer_id: str, of: Theme, title: Text) -> LayerEntry:
    return LayerEntry(
        id=layer_id, theme=of.name, title=title, description=of.description, licence=SAMPLE_LICENCE,
        attribution=f"{SAMPLE_ATTRIBUTION.vi} / {SAMPLE_ATTRIBUTION.en}", sharing=Sharing.OPEN, sample=True,
    )  # fmt: skip

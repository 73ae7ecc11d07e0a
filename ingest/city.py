"""Loading a whole city: every layer of a description, or the sample city; what is already there stays."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from ingest.checks.contract import Findings
from ingest.mapping import apply, columns_of_layer, prepare
from ingest.pipeline import PIPELINE, Batch, Progress, Published, publish
from ingest.rasters import RasterRequest, opened, stage_raster, survey
from ingest.readers.opening import open_source
from ingest.readers.source import ReadOptions, inside
from ingest.spec import CitySpec, LayerSpec, ViewSpec, read_spec
from layers.registry import theme
from layers.theme import FieldType, Theme
from twin.catalogue import Column, LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import Info, Sharing
from twin.errors import BadInput, Conflict
from twin.staging import Provenance
from twin.text import Text

if TYPE_CHECKING:
    from ingest.sample import SampleCity, SampleLayer

SPEC_NAME = "city.toml"
SAMPLE = "sample"


class Watcher(Protocol):
    """Is told how a load goes on."""

    def begin(self, layer: str, title: Text) -> Progress:
        """A layer begins; the function returned is called with the number of features read, batch by batch."""

    def kept(self, layer: str) -> None:
        """A layer is already there as it should be."""

    def done(self, layer: str, published: Published) -> None:
        """A layer is published."""


@dataclass(frozen=True, slots=True)
class RasterFile:
    """A raster to load: a file, which may be made when it is asked for, and what is said of it."""

    open: Callable[[], AbstractContextManager[Path]]
    request: RasterRequest = field(default_factory=RasterRequest)


@dataclass(frozen=True, slots=True)
class LayerLoad:
    """One layer to load: its catalogue entry, its columns, what it is made from, and how to read it.

    A layer of a raster has no batches.
    """

    entry: LayerEntry
    theme: Theme
    columns: tuple[Column, ...]
    source: str
    fingerprint: str
    batches: Iterable[Batch]
    raster: RasterFile | None = None


@dataclass(frozen=True, slots=True)
class CityLoad:
    """A city to load: agencies, layers, and where the map opens."""

    id: str
    title: Text
    agencies: Mapping[str, Text]
    view: ViewSpec | None
    layers: Iterable[LayerLoad]


def load_city(database: Database, city: CityLoad, settings: Settings, watcher: Watcher) -> int:
    """Bring every layer of a city to what its files say; give how many were published.

    A layer whose files and description are those of its current version is left alone, so an interrupted load goes
    on where it stopped, and a second one does nothing.
    """
    _claim(database, city)
    with database.session() as session:
        for name, title in city.agencies.items():
            ensure_agency(session, name, title)
    published = 0
    for layer in city.layers:
        with database.session() as session:
            ensure_layer(session, layer.entry)
            current = read_catalogue(session)[layer.entry.id].current
        if current is not None and current.fingerprint == layer.fingerprint:
            watcher.kept(layer.entry.id)
            continue
        progress = watcher.begin(layer.entry.id, layer.entry.title)
        provenance = Provenance(actor="city load", source=layer.source, fingerprint=layer.fingerprint)
        if layer.raster is not None:
            done = _publish_raster(database, settings, layer, layer.raster, provenance, progress)
        else:
            done = publish(
                database, layer.entry.id, layer.theme, layer.columns, layer.batches, provenance,
                settings.profile.outline, keep=settings.keep_versions, progress=progress,
                zone=settings.profile.time_zone,
            )  # fmt: skip
        watcher.done(layer.entry.id, done)
        published += 1
    return published


def _publish_raster(
    database: Database, settings: Settings, layer: LayerLoad, raster: RasterFile, provenance: Provenance,
    progress: Progress,
) -> Published:  # fmt: skip
    shown = 0

    def stage(name: str, done: int, _total: int | None) -> None:
        nonlocal shown
        if name == "copy":
            progress(done - shown)
            shown = done

    with (
        raster.open() as path,
        opened(path, layer.theme, raster.request, ReadOptions(crs=raster.request.crs), settings) as (reader, plan),
    ):
        report, cells = survey(reader, plan, stage)
        if cells is None:
            raise BadInput(
                Text(
                    en="{file} cannot be published: {problems}. See: twin ingest check {file} --theme {theme}",
                    vi="Không công bố được {file}: {problems}. Xem: twin ingest check {file} --theme {theme}",
                ).format(file=path.name, theme=layer.theme.name, problems=", ".join(p.code for p in report.problems))
            )
        outcome = stage_raster(database, settings, layer.entry.id, reader, report, cells, provenance, stage)
    return Published(outcome, Findings())


def _claim(database: Database, city: CityLoad) -> None:
    """Mark the database as holding this city; refuse one that holds another, which would mix with it."""
    with database.session() as session:
        held = session.scalar(sa.select(Info.value).where(Info.key == "city"))
        if held not in (None, city.id):
            raise Conflict(
                Text(
                    en="This database already holds “{held}”. Load “{new}” into another database.",
                    vi="Cơ sở dữ liệu này đang chứa “{held}”. Hãy nạp “{new}” vào cơ sở dữ liệu khác.",
                ).format(held=held, new=city.id)
            )
        facts = {"city": city.id, "title": json.dumps(city.title.as_dict())}
        if city.view:
            facts["view"] = city.view.model_dump_json()
        for key, value in facts.items():
            session.merge(Info(key=key, value=value))


# The city of a description -------------------------------------------------------------------------


def described_city(folder: Path) -> CityLoad:
    """The city of a data folder: described by its own city.toml, else by the description that comes along."""
    own = folder / SPEC_NAME
    spec = read_spec(own if own.is_file() else Path(str(files("ingest") / "cities" / "hcmc.toml")))
    agencies = {a.name: a.title.text for a in spec.agency}
    return CityLoad(spec.id, spec.title.text, agencies, spec.view, (_described_layer(s, folder) for s in spec.layer))


def _described_layer(spec: LayerSpec, folder: Path) -> LayerLoad:
    of = theme(spec.theme)
    if of.raster is not None:
        return _described_raster(spec, of, folder)
    own: dict[str, FieldType] = {}
    prepared = []
    for source in spec.source:
        path = inside(folder, source.file)
        reader = open_source(source, folder)
        mapping, more = prepare(source, reader.columns, of, folder, path)
        own = {name: kind if own.get(name, kind) == kind else "text" for name, kind in {**own, **more}.items()}
        prepared.append((source, reader, mapping))
    columns = columns_of_layer(of, own)

    def batches() -> Iterator[Batch]:
        for source, reader, mapping in prepared:
            seen: set[Any] = set()
            for raw in reader.batches(50_000):
                if source.unique:
                    fresh = ~raw[source.unique].duplicated() & ~raw[source.unique].isin(seen)
                    seen.update(raw[source.unique])
                    raw = raw[fresh].reset_index(drop=True)
                yield Batch(apply(mapping, raw, of, columns), reader.crs or 4326)

    return LayerLoad(
        entry=_entry(spec, of),
        theme=of,
        columns=columns,
        source=", ".join(str(s.file) for s in spec.source),
        fingerprint=_fingerprint(spec, folder, columns),
        batches=batches(),
    )


def _described_raster(spec: LayerSpec, of: Theme, folder: Path) -> LayerLoad:
    (source,) = spec.source
    path = inside(folder, source.file)
    columns = columns_of_layer(of, {})
    return LayerLoad(
        entry=_entry(spec, of), theme=of, columns=columns, source=str(source.file),
        fingerprint=_fingerprint(spec, folder, columns), batches=(),
        raster=RasterFile(lambda: nullcontext(path), RasterRequest(source.crs, source.layer, source.codes)),
    )  # fmt: skip


def _entry(spec: LayerSpec, of: Theme) -> LayerEntry:
    return LayerEntry(
        id=spec.id, theme=spec.theme, title=spec.title.text,
        description=spec.description.text if spec.description else of.description,
        licence=spec.licence, attribution=spec.attribution, sharing=spec.sharing, visible=spec.visible,
    )  # fmt: skip


def _fingerprint(spec: LayerSpec, folder: Path, columns: tuple[Column, ...]) -> str:
    """A digest of all that decides a layer's rows: files, mapping, contract, pipeline."""
    digest = hashlib.sha256()
    digest.update(json.dumps([PIPELINE, [c.as_dict() for c in columns], theme(spec.theme).resolution]).encode())
    digest.update(spec.model_dump_json(include={"id", "theme", "source"}).encode())
    for source in spec.source:
        for file in (source.file, *([source.join.file] if source.join else [])):
            with inside(folder, file).open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


# The sample city -----------------------------------------------------------------------------------

SAMPLE_LICENCE = "CC0-1.0"
SAMPLE_ATTRIBUTION = Text(en="Sample city, invented", vi="Thành phố mẫu, dữ liệu hư cấu")


def sample_city(buildings: int, seed: int = 2025) -> CityLoad:
    """The sample city: invented, the same for the same size and seed."""
    from ingest.sample import generate

    spec: CitySpec = read_spec(Path(str(files("ingest") / "cities" / "sample.toml")))
    city = generate(buildings, seed)
    agencies = {a.name: a.title.text for a in spec.agency}
    layers = itertools.chain((_sample_layer(city, layer) for layer in city.layers), [_sample_ground(city)])
    return CityLoad(f"{SAMPLE}_{buildings}_{seed}", spec.title.text, agencies, spec.view, layers)


def _sample_layer(city: SampleCity, layer: SampleLayer) -> LayerLoad:
    of = theme(layer.theme)
    columns = columns_of_layer(of, {})

    def batches() -> Iterator[Batch]:
        for features in layer.batches():
            missing = {c.name: None for c in columns if c.name not in features.columns}
            yield Batch(features.assign(**missing), 4326)

    fingerprint = hashlib.sha256(
        json.dumps([PIPELINE, city.fingerprint, layer.name, [c.as_dict() for c in columns], of.resolution]).encode()
    ).hexdigest()
    return LayerLoad(
        entry=_sample_entry(f"{layer.agency}.{layer.name}", of, layer.title),
        theme=of,
        columns=columns,
        source=f"sample city, {city.buildings} buildings, seed {city.seed}",
        fingerprint=fingerprint,
        batches=batches(),
    )


def _sample_ground(city: SampleCity) -> LayerLoad:
    """The ground of the sample city as a raster: the one that its water and its flood spots follow."""
    from ingest.sample.terrain_file import terrain_file

    of = theme("elevation")
    columns = columns_of_layer(of, {})
    fingerprint = hashlib.sha256(
        json.dumps([PIPELINE, city.fingerprint, of.name, [c.as_dict() for c in columns], of.resolution]).encode()
    ).hexdigest()
    return LayerLoad(
        entry=_sample_entry("environment.elevation", of, of.title), theme=of, columns=columns,
        source=f"sample city, {city.buildings} buildings, seed {city.seed}", fingerprint=fingerprint, batches=(),
        raster=RasterFile(lambda: terrain_file(city)),
    )  # fmt: skip


def _sample_entry(layer_id: str, of: Theme, title: Text) -> LayerEntry:
    return LayerEntry(
        id=layer_id, theme=of.name, title=title, description=of.description, licence=SAMPLE_LICENCE,
        attribution=f"{SAMPLE_ATTRIBUTION.vi} / {SAMPLE_ATTRIBUTION.en}", sharing=Sharing.OPEN, sample=True,
    )  # fmt: skip

"""Plan of a file: its coordinate system, the encodings of its columns, and the fields that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.checks.encodings import Decision, decide_encoding
from ingest.checks.mapping_toml import to_toml
from ingest.checks.matching import GIVEN, Matches, given_matches, propose_matches
from ingest.checks.problems import EXAMPLES
from ingest.checks.reference import Reading, Reference, decide_reference
from ingest.checks.shapes import UsualPlace
from ingest.checks.values import LONGEST_TEXT, factorized
from ingest.mapping.description import Join, MappingFile, Source, read_mapping_file
from ingest.mapping.joins import Partner, Partners
from ingest.mapping.rows import FieldMapping, columns_of_layer, prepare
from ingest.readers.citymodel import TERRAIN
from ingest.readers.source import CRS_GIVEN
from layers.theme import FieldType, Theme
from twin.catalogue.catalogue import Column
from twin.city import City
from twin.crs import parse_crs
from twin.text import Text

# The column of a city model that names what each object is.
OBJECT_TYPE = "object_type"
DISTINCT = 2000
NO_PARTNERS = Partners()
# A problem of the whole file: its code, what was found, the field that it is about.
Noted = tuple[str, str | Text, str | None]


class Readable(Protocol):
    """The part of a reader that the checks need; see ingest.readers for the whole."""

    format: str
    driver: str
    layer: str | None
    layers: tuple[str, ...]
    columns: Mapping[str, FieldType]
    crs: Any
    crs_reason: Text
    encoding: str | None
    encoding_reason: Text
    raw_text: bool
    count: int | None
    has_geometry: bool

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features from the beginning, at most `rows` at a time."""

    def sampled(self, rows: int, pick: Callable[[int], npt.NDArray[np.intp]]) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length."""


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """Limits of what the checks read beforehand and keep.

    `sample` rows of the first `reach` are looked at beforehand; a layer of more than `coverage` features, or
    `vertices` in all, is not searched for overlaps and gaps; `text` is the longest value in characters; `examples`
    are kept of each problem.
    """

    sample: int = 5_000
    reach: int = 100_000
    coverage: int = 200_000
    vertices: int = 10_000_000
    text: int = LONGEST_TEXT
    examples: int = EXAMPLES


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions about a file, with their reasons, and the problems found so far. Nothing is decided later."""

    file: str
    format: str
    driver: str
    layer: str | None
    layers: tuple[str, ...]
    count: int | None
    encoding: str | None
    encoding_reason: Text
    raw_text: bool
    theme: Theme
    city: City
    reference: Reference
    encodings: Mapping[str, Decision]
    file_columns: Mapping[str, FieldType]
    matches: Matches
    mapping: FieldMapping
    columns: tuple[Column, ...]
    usual_place: UsualPlace | None
    limits: CheckLimits
    problems: tuple[Noted, ...]
    solids: tuple[str, ...] = ()

    @property
    def blockers(self) -> tuple[str, ...]:
        """The codes of what keeps the whole file from being published, whatever its features are like."""
        stop = ("crs.unknown", "crs.wrong", "geometry.unmapped", "field.unmapped", "file.empty")
        return tuple(dict.fromkeys(code for code, _, _ in self.problems if code in stop))

    @property
    def solid_columns(self) -> frozenset[str]:
        """The layer's columns that hold 3D shapes, in the file's coordinate system."""
        return frozenset(self.mapping.own[c] for c in self.solids if c in self.mapping.own)

    @property
    def legacy(self) -> dict[str, str]:
        """The columns that are not Unicode, with their encoding."""
        return {c: d.encoding for c, d in self.encodings.items() if d.encoding not in ("unicode", "nfd")}

    def to_toml(self) -> str:
        """Return the mapping as a file to edit and give back."""
        return to_toml(self.matches, self.file, self.file_columns, self.reference.reading.code, self.legacy)


def inspect(
    reader: Readable, theme: Theme, city: City, mapping: Path | MappingFile | None = None, crs: Any = None,
    limits: CheckLimits | None = None, file: str | None = None, partners: Partners = NO_PARTNERS,
) -> Plan:  # fmt: skip
    """Look at some of a file and decide how it is to be read.

    `mapping` is what a person wrote, as a file or read from one: what it does not name is proposed, unless it is a
    source of a city's description, which is taken as it stands. `crs` is what a person says of the coordinate system:
    it stands, whatever else would fit. `partners` opens what the mapping joins.
    """
    limits = limits or CheckLimits()
    columns = dict(reader.columns)
    name = file or Path(getattr(reader, "path", "")).name or reader.layer or reader.format
    given = read_mapping_file(mapping) if isinstance(mapping, Path) else mapping
    sample, read = sample_of(reader, limits)
    solids = tuple(getattr(reader, "solids", ()))
    encodings = encodings_of(sample, columns, solids, given)
    decoded = decode(sample[list(columns)], encodings)

    join = given.join if given else None
    by_name = False
    if join is None and not reader.has_geometry and not isinstance(given, Source):
        join = partners.propose(decoded)
        # Nobody wrote this join; ids and codes are made to be compared, names are not.
        by_name = join is not None and join.key not in (None, "code")
    partner = partners.open(join) if join else None
    reference = _reference(reader, sample, city, crs or (given.crs if given else None), partner)
    matches = _matches(decoded, theme, columns, solids, given, mapping, partner, read, name)
    if join is not None:
        matches = _joined(matches, join, decoded)
    left_out: list[Noted] = []
    if solids and reader.layer is None:
        matches, left_out = _objects_of_theme(matches, theme, sorted({*reader.layers} - TERRAIN))
    fields, own = prepare(matches.mapping(), columns, theme, Path(name), partner)
    problems: list[Noted] = [(code, detail, None) for code, detail in reference.problems]
    problems += [(code, detail, None) for code, detail in getattr(reader, "notes", ())]
    problems += left_out
    problems += _about_fields(matches, fields, encodings)
    if not reader.has_geometry and not (partner and partner.has_shapes):
        problems.append(("geometry.unmapped", ", ".join(list(columns)[:20]), None))
    if partner is not None:
        problems.append(("join.by_name" if by_name else "join.used", partner.title, join.on if join else None))
    if read == 0:
        problems.append(("file.empty", "", None))
    places = _places(sample)
    return Plan(
        file=name, format=reader.format, driver=reader.driver, layer=reader.layer, layers=tuple(reader.layers),
        count=reader.count, encoding=reader.encoding, encoding_reason=reader.encoding_reason,
        raw_text=reader.raw_text, theme=theme, city=city, reference=reference, encodings=encodings,
        file_columns=columns, matches=matches, mapping=fields, columns=columns_of_layer(theme, own),
        # Where most features lie is known only if all of them were read.
        usual_place=_usual_place(reference, places) if read < limits.reach and partner is None else None,
        limits=limits, problems=tuple(problems), solids=solids,
    )  # fmt: skip


def _reference(
    reader: Readable, sample: gpd.GeoDataFrame, city: City, confirmed: Any, partner: Partner | None
) -> Reference:
    """Decide the coordinate system, which shapes of a published layer have already."""
    if partner is not None and partner.has_shapes:
        reason = Text(en="the shapes of {layer}", vi="hình của {layer}").format(layer=partner.title)
        return Reference(Reading(parse_crs(4326), Text("WGS 84", "WGS 84")), reason)
    reason = CRS_GIVEN if confirmed else reader.crs_reason
    stated = confirmed if confirmed is not None else reader.crs
    return decide_reference(_places(sample), stated, reason, city, confirmed is not None)


def _matches(
    decoded: pd.DataFrame, theme: Theme, columns: Mapping[str, FieldType], solids: tuple[str, ...],
    given: MappingFile | None, mapping: Path | MappingFile | None, partner: Partner | None, read: int, file: str,
) -> Matches:  # fmt: skip
    """Fit columns to fields: as a person says, else as names and values propose."""
    titles = _titles(columns)
    # A city's description is complete; without fields, columns of the same name are taken.
    exact = isinstance(given, Source)
    proposed = None if exact else propose_matches(decoded.drop(columns=list(solids)), theme, titles, read)
    if given is None:
        assert proposed is not None  # noqa: S101  # nothing is exact that is not given
        return proposed
    present = {**columns, **(partner.columns if partner else {})}
    named = mapping.name if isinstance(mapping, Path) else file
    if exact and not given.fields:
        given = given.model_copy(update={"fields": {n: n for n in theme.by_name if n in present}})
    return given_matches(given, theme, present, named, proposed)


def _objects_of_theme(matches: Matches, theme: Theme, types: Sequence[str]) -> tuple[Matches, list[Noted]]:
    """Take from a city model the objects that the theme is about, if it has some and nobody chose among them."""
    rows = matches.rows
    about = tuple(kind for kind in types if kind in theme.city_objects)
    others = [kind for kind in types if kind not in theme.city_objects]
    if not about or not others or OBJECT_TYPE in rows.where:
        return matches, []
    where = {**rows.where, OBJECT_TYPE: about}
    detail = Text(en="{types} (--source-layer takes one of them)", vi="{types} (lấy từng loại bằng --source-layer)")
    note = ("objects.not_of_theme", detail.format(types=", ".join(others)), None)
    return replace(matches, rows=rows.model_copy(update={"where": where})), [note]


def _joined(matches: Matches, join: Join, decoded: pd.DataFrame) -> Matches:
    """Add a join to a mapping. Where nothing else names a row, the key does if it is different in every row."""
    update: dict[str, Any] = {"join": join}
    reason = matches.id_reason
    if matches.id is None and join.layer and join.on in decoded and decoded[join.on].is_unique:
        update["id"] = join.on
        reason = Text(en="the key that it is joined by", vi="khóa dùng để nối")
    return replace(matches, rows=matches.rows.model_copy(update=update), id_reason=reason)


def sample_of(reader: Readable, limits: CheckLimits) -> tuple[gpd.GeoDataFrame, int]:
    """Return some rows spread over the beginning of the file, and how many rows that beginning has."""
    parts: list[gpd.GeoDataFrame] = []
    read = 0
    each = max(2, limits.sample // 5)

    def pick(rows: int) -> npt.NDArray[np.intp]:
        if rows <= limits.sample and not parts:
            return np.arange(rows)
        # Some as they come, since neighbours in a file are often alike, then some of all the others.
        head = min(rows, each // 2)
        return np.concatenate([np.arange(head), np.arange(head, rows, (rows - head) // each + 1)])

    batches = reader.sampled(max(limits.sample, limits.reach // 5), pick)
    for part, rows in batches:
        parts.append(part)
        read += rows
        if read >= limits.reach:
            break
    if hasattr(batches, "close"):
        batches.close()
    if not parts:
        empty = pd.DataFrame({c: pd.Series(dtype=object) for c in reader.columns})
        return gpd.GeoDataFrame(empty, geometry=np.empty(0, dtype=object)), 0
    together = pd.concat([part.set_crs(None, allow_override=True) for part in parts], ignore_index=True)
    return gpd.GeoDataFrame(together, geometry=parts[0].geometry.name), read


def _places(sample: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Return a place for each feature, in the file's own numbers."""
    bounds = shapely.bounds(np.asarray(sample.geometry.values, dtype=object)).reshape(-1, 4)
    places: npt.NDArray[np.float64] = (bounds[:, :2] + bounds[:, 2:]) / 2
    return places[np.isfinite(places).all(axis=1)]


def _usual_place(reference: Reference, places: npt.NDArray[np.float64]) -> UsualPlace | None:
    if len(places) < 20:
        return None
    there = reference.reading.place(places)
    there = there[np.isfinite(there).all(axis=1)]
    if not len(there):
        return None
    x, y = np.median(there, axis=0)
    usual = float(np.percentile(np.hypot(there[:, 0] - x, there[:, 1] - y), 95))
    return UsualPlace(float(x), float(y), max(0.1, 10 * usual))


def encodings_of(
    sample: pd.DataFrame, columns: Mapping[str, FieldType], solids: tuple[str, ...], given: MappingFile | None
) -> dict[str, Decision]:
    """Decide how each text column is encoded, by its values; a person's choice stands."""
    chosen = dict(given.encodings) if given else {}
    found = {}
    for column, kind in columns.items():
        if column in chosen:
            found[column] = Decision(chosen[column], GIVEN)
        elif kind == "text" and column not in solids:
            values = dict.fromkeys(v for v in sample[column] if isinstance(v, str))
            found[column] = decide_encoding(list(values)[:DISTINCT])
    return found


def decode(frame: pd.DataFrame, encodings: Mapping[str, Decision]) -> pd.DataFrame:
    """Bring the columns that need it to Unicode."""
    changed = {}
    for column, decision in encodings.items():
        if not decision.decodes or column not in frame:
            continue
        codes, distinct = factorized(frame[column])
        decoded = [decision.decode(v) if isinstance(v, str) else v for v in distinct]
        if any(a is not b for a, b in zip(decoded, distinct, strict=True)):
            changed[column] = np.array([*decoded, None], dtype=object)[codes]
    return frame.assign(**changed) if changed else frame


def _titles(columns: Mapping[str, FieldType]) -> dict[str, str]:
    """Readable names of the columns, whose names may be in a legacy encoding too."""
    decision = decide_encoding(columns)
    return {column: decision.decode(column) for column in columns}


def _about_fields(matches: Matches, fields: FieldMapping, encodings: Mapping[str, Decision]) -> list[Noted]:
    problems: list[Noted] = []
    for field_ in matches.without_source():
        if field_.required:
            problems.append(("field.unmapped", field_.title, field_.name))
    if fields.own:
        names = ", ".join(fields.own)
        problems.append(("field.unknown", names if len(names) < 200 else f"{names[:200]}…", None))
    for column, decision in encodings.items():
        if decision.encoding == "unicode" or (decision.decodes and not decision.before):
            continue
        code = "text.nfd" if decision.encoding == "nfd" else "text.legacy"
        problems.append((code, decision.evidence, column))
    return problems

"""Matches of a file's columns with the theme's fields: proposed from names, types and values, or read from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ingest.checks.id_column import Repeats, find_id_column
from ingest.checks.kinds import KINDS
from ingest.checks.names import SAME, likeness, words_of, year_of
from ingest.checks.problems import AS_WRITTEN, QUARANTINE_ID, QUARANTINE_NOTES
from ingest.checks.values import as_type
from ingest.mapping.description import FieldSource, MappingFile, RowMapping
from ingest.mapping.rows import columns_used
from layers.theme import Field, FieldType, Theme, fold
from twin.errors import BadInput
from twin.text import Text

# A match is taken from this confidence on, and mentioned as a hint from the other.
TAKEN = 0.6
HINT = 0.3
# Columns that a program measures in the units of the map, whatever those are: SHAPE_Area, ST_Length.
MEASURED = (("shape",), ("st",))
MOST_TERMS = 60
# Columns that are halves of an address, by the words of their names.
STREETS = frozenset({("ten", "duong"), ("duong",), ("ten", "pho"), ("street",), ("street", "name"), ("addr", "street")})
HOUSE_NUMBERS = frozenset({("so", "nha"), ("house", "number"), ("housenumber",), ("addr", "housenumber")})
# What a wholly empty column loses against its rivals.
EMPTY_COSTS = 0.5
WEB = re.compile(
    r"(?i)^\s*(?:https?://|www\.)|^\s*[\w-]+(?:\.[\w-]+)*\.(?:vn|com|org|net|edu|gov)(?:[/:]|\s*$)|@[\w-]+\.\w"
)
WEB_WORDS = frozenset({"url", "website", "web", "link", "email", "mail", "domain"})
# Endings of column names that are units, by their UCUM codes.
UNITS = {"km": "km", "ha": "har", "m2": "m2", "km2": "km2", "cm": "cm", "mm": "mm", "kmh": "km/h", "m": "m"}
# Of the values that are no terms a mapping file names so many.
UNKNOWN_NAMED = 20
ALL_ROWS = RowMapping()
GIVEN = Text(en="as the mapping says", vi="theo tệp ánh xạ")
MENDED = Text(en="an export of quarantine that comes back mended", vi="tệp xuất từ khu cách ly, đã sửa")


@dataclass(frozen=True, slots=True)
class Match:
    """A field and where its values come from, how sure that is (0 to 1), and why. `unknown` are values that were seen
    and are no terms of its vocabulary, the most frequent first.
    """

    field: str
    source: FieldSource
    confidence: float
    reason: Text
    unknown: tuple[str, ...] = ()

    @property
    def taken(self) -> bool:
        """Whether it is sure enough to be used."""
        return self.confidence >= TAKEN

    @property
    def column(self) -> str:
        """The column, as people see it."""
        s = self.source
        return s.column or s.template or f"= {s.constant}"


@dataclass(frozen=True, slots=True)
class Matches:
    """A whole mapping: the fields that have a source, hints, and how rows become features.

    `rows` holds everything but the fields: the id, what is left out, the join. `given`: a person wrote the mapping.
    """

    theme: Theme
    taken: tuple[Match, ...]
    hints: tuple[Match, ...] = ()
    rows: RowMapping = ALL_ROWS
    id_reason: Text = GIVEN
    given: bool = False
    repeats: Repeats | None = None

    @property
    def id(self) -> str | None:
        """The column that names each feature, or a template of columns."""
        return self.rows.id

    @property
    def drop(self) -> tuple[str, ...]:
        """The columns to leave out."""
        return self.rows.drop

    def mapping(self) -> RowMapping:
        """Return the mapping in the words of a mapping file."""
        fields = {m.field: m.source.column if m.source.is_plain else m.source for m in self.taken}
        return self.rows.model_copy(update={"fields": fields})

    def without_source(self) -> tuple[Field, ...]:
        """Return the fields that no column gives."""
        mapped = {m.field for m in self.taken}
        return tuple(f for f in self.theme.fields if f.name not in mapped)


def given_matches(
    mapping: MappingFile, theme: Theme, columns: Mapping[str, FieldType], file: str, proposed: Matches | None = None
) -> Matches:
    """Fit a mapping that a person wrote to a theme and a file; what does not fit is named.

    Fields that it does not name come from `proposed`, where their columns are still free, and so does the id. A field
    or an id that is given as "" stays without a column.
    """
    if unknown := sorted(set(mapping.fields) - set(theme.by_name)):
        raise BadInput(
            Text(
                en="{file}: the theme {theme} has no field {unknown}. Its fields are: {known}.",
                vi="{file}: chuyên đề {theme} không có trường {unknown}. Các trường: {known}.",
            ).format(file=file, theme=theme.name, unknown=", ".join(unknown), known=", ".join(theme.by_name))
        )
    without = {name for name, source in mapping.fields.items() if source == ""}
    mapping = mapping.model_copy(update={"fields": {n: s for n, s in mapping.fields.items() if n not in without}})
    sources = mapping.field_sources()
    named = mapping.model_copy(update={"id": None}) if mapping.id == "" else mapping
    used = columns_used(named, sources) | set(mapping.encodings)
    if absent := sorted(used - set(columns)):
        raise BadInput(
            Text(
                en="{file} names the column {absent}, which the data file does not have. Its columns are: {present}.",
                vi="{file} nêu cột {absent} mà tệp dữ liệu không có. Các cột hiện có: {present}.",
            ).format(file=file, absent=", ".join(absent), present=", ".join(columns))
        )
    taken = {name: Match(name, source, 1.0, GIVEN) for name, source in sources.items()}
    hints: tuple[Match, ...] = ()
    identity, reason = named.id, GIVEN
    if proposed is not None:
        busy = {m.source.column for m in taken.values()} | {*mapping.drop}
        for match in proposed.taken:
            if match.field not in taken and match.field not in without and match.source.column not in busy:
                taken[match.field] = match
        hints = tuple(h for h in proposed.hints if h.field not in taken and h.source.column not in busy)
        if mapping.id is None:
            identity, reason = proposed.id, proposed.id_reason
    rows = named.model_copy(update={"id": identity, "fields": {}})
    order = {f.name: place for place, f in enumerate(theme.fields)}
    matches = tuple(sorted(taken.values(), key=lambda m: order[m.field]))
    return Matches(theme, matches, hints, rows, reason, given=True)


# Proposing -----------------------------------------------------------------------------------------------------------


def propose(
    sample: pd.DataFrame, theme: Theme, titles: Mapping[str, str] | None = None, read: int | None = None
) -> Matches:
    """Propose a mapping from some rows of the file, which were chosen from `read` rows.

    `titles` gives columns a readable name, where theirs is not.
    """
    titles = titles or {}
    notes = _notes_of_quarantine(sample)
    sample = sample.drop(columns=[*notes])
    candidates = [
        match
        for column in sample.columns
        if words_of(column)[:1] not in MEASURED
        for field in theme.fields
        if (match := _match(sample[column], titles.get(column, column), field)) is not None
    ]
    # Of columns that fit alike the latest year, then the one that tells features apart better, then the first.
    order = {id(c): _rank(c, sample) for c in candidates}
    taken: dict[str, Match] = {}
    columns: set[str] = set()
    hints: dict[str, Match] = {}
    for match in sorted(candidates, key=lambda c: order[id(c)]):
        column = str(match.source.column)
        if match.field in taken or (column in columns and not match.source.extract):
            continue
        if match.taken:
            taken[match.field] = match
            # A column whose first word gives a term still holds a name for another field.
            columns |= set() if match.source.extract else {column}
        else:
            hints.setdefault(match.field, match)
    _add_label(taken, theme)
    _add_house_number(taken, {column: words_of(titles.get(column, column)) for column in sample.columns})
    _add_year(taken, theme)
    key, reason, repeats = (QUARANTINE_ID, MENDED, None) if notes else find_id_column(sample, titles, read)
    fields = {f.name: place for place, f in enumerate(theme.fields)}
    return Matches(
        theme,
        tuple(sorted(taken.values(), key=lambda m: fields[m.field])),
        tuple(h for name, h in hints.items() if name not in taken and str(h.source.column) not in columns),
        RowMapping(id=key, drop=notes),
        reason,
        repeats=repeats,
    )


def _notes_of_quarantine(sample: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of notes, if the file is an export of quarantine that comes back mended."""
    added = (QUARANTINE_ID, *QUARANTINE_NOTES)
    if not set(added) <= set(sample.columns) or not sample["reason"].dropna().isin(KINDS).all():
        return ()
    # The key that the program for GeoPackages gave the export is no column of the agency's.
    return tuple(column for column in (*QUARANTINE_NOTES, AS_WRITTEN, "fid") if column in sample.columns)


def _rank(match: Match, sample: pd.DataFrame) -> tuple[float, int, float]:
    column = str(match.source.column)
    # A column that is nearly empty gives way to one that is not, though its name fits better.
    empty = EMPTY_COSTS * float(sample[column].isna().mean()) if len(sample) else 0.0
    return (-round(match.confidence - empty, 2), -(year_of(column) or 0), -_distinctness(sample[column]))


def _other_unit(column: str, field: Field) -> str | None:
    """Return the unit that a column's name ends with, if it is another than the field's."""
    words = words_of(column)
    unit = UNITS.get(words[-1]) if len(words) > 1 else None
    return None if unit is None or field.unit is None or unit == field.unit else unit


def _distinctness(values: pd.Series) -> float:
    present = values.dropna()
    return float(present.astype(str).nunique() / len(present)) if len(present) else 0.0


def _match(values: pd.Series, name: str, field: Field) -> Match | None:
    like = likeness(name, field)
    present = values.dropna()
    if field.vocabulary is not None:
        return _match_terms(present, str(values.name), field, like.score, like.reason)
    if like.score < HINT:
        return None
    confidence, reason = like
    # A column that is called like the field is the field: its values decide about rows, and only against a rival.
    named = like.reason is SAME
    if len(present) and field.type != "text":
        fitting = _fitting(present, field)
        if fitting < 0.9:
            confidence = TAKEN + (confidence - TAKEN) * fitting if named else min(confidence, 0.55) * fitting
            reason = Text(
                en="{reason}, but {share:.0%} of the values fit", vi="{reason}, nhưng chỉ {share:.0%} giá trị hợp lệ"
            ).format(reason=reason, share=fitting)
        if (unit := _other_unit(name, field)) is not None:
            confidence = min(confidence, 0.5)
            reason = Text(
                en="{reason}, but in {unit}, not in {own}", vi="{reason}, nhưng theo {unit}, không phải {own}"
            ).format(reason=reason, unit=unit, own=field.unit)
    elif field.type == "text" and len(present):
        confidence += 0.05 * (_distinctness(values) - 1)
        if pd.api.types.is_float_dtype(values.dtype) and (present % 1 != 0).any():
            confidence *= 0.5
        addresses = float(present.astype(str).str.contains(WEB).mean())
        if addresses > 0.5 and not WEB_WORDS & set(words_of(field.name)):
            confidence = min(confidence, 0.4)
            reason = Text(
                en="{reason}, but its values are web addresses", vi="{reason}, nhưng giá trị là địa chỉ web"
            ).format(reason=reason)
    source = FieldSource.model_validate({"from": str(values.name)})
    return Match(field.name, source, round(confidence, 3), reason) if confidence >= HINT else None


def _fitting(present: pd.Series, field: Field) -> float:
    converted, wrong = as_type(present, field.type)
    fits = ~np.asarray(wrong)
    if field.minimum is not None or field.maximum is not None:
        numbers = pd.to_numeric(pd.Series(converted), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        low = -np.inf if field.minimum is None else field.minimum
        high = np.inf if field.maximum is None else field.maximum
        fits &= (numbers >= low) & (numbers <= high)
    return float(fits.mean())


def _match_terms(present: pd.Series, column: str, field: Field, named: float, why: Text) -> Match | None:
    """Match a field with a vocabulary: by how many values are terms, with or without tones, or begin with one."""
    if present.empty and words_of(column) == words_of(field.name):
        # Nothing speaks against it, as long as no other column has the values.
        return Match(field.name, FieldSource.model_validate({"from": column}), TAKEN, why)
    same = why is SAME
    if present.empty or (pd.api.types.is_numeric_dtype(present.dtype) and not same):
        return None
    texts = present.astype(str)
    counts = texts.value_counts()
    lookup = field.lookup
    share = _share(counts, lambda v: fold(v) in lookup)
    source: dict[str, Any] = {"from": column}
    if share < 0.98:
        bare = _without_tones(lookup)
        # The most frequent values tell enough: of addresses there are as many as rows, and none is a term.
        often = counts.index[: 10 * MOST_TERMS]
        translated = {v: bare[w] for v in often if fold(v) not in lookup and (w := words_of(v)) in bare}
        if translated and len(translated) <= MOST_TERMS:
            source["values"] = translated
            share = _share(counts, lambda v: fold(v) in lookup or v in translated)
    if share < 0.5:
        spellings = _first_words(counts, lookup)
        leading = _share(counts, lambda v: _starts_with(v, spellings))
        if leading >= 0.9:
            extract = "^(" + "|".join(re.escape(s).replace("\\ ", " ") for s in spellings) + ")"
            why = Text(en="its first word is a term", vi="từ đầu là một giá trị của danh mục")
            # "Residential - highrise" begins with a term too, and means another: not worth the risk where not needed.
            sure = 0.75 if field.required and leading >= 0.98 else 0.5
            return Match(field.name, FieldSource.model_validate({"from": column, "extract": extract}), sure, why)
    if share < 0.5 and named < HINT:
        return None
    confidence = min(1.0, 0.35 * named + 0.65 * share) if share >= 0.5 else 0.5 * named
    if named < HINT and (share < 0.9 or len(counts) < 2):
        confidence = min(confidence, 0.5)
    if same:
        confidence = max(confidence, TAKEN)
    known = source.get("values", {})
    unknown = tuple(str(v) for v in counts.index[: 10 * MOST_TERMS] if fold(v) not in lookup and v not in known)
    hits = Text(en="{share:.0%} of the values are terms", vi="{share:.0%} giá trị thuộc danh mục").format(share=share)
    reason = Text(en=f"{why.en}; {hits.en}", vi=f"{why.vi}; {hits.vi}") if named else hits
    return Match(
        field.name, FieldSource.model_validate(source), round(confidence, 3), reason, unknown[: UNKNOWN_NAMED + 1]
    )


def _share(counts: pd.Series, accepted: Callable[[str], bool]) -> float:
    return float(sum(n for value, n in counts.items() if accepted(str(value))) / counts.sum())


def _without_tones(lookup: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Return the terms by their words without tone marks, as far as these are unambiguous."""
    bare: dict[tuple[str, ...], set[str]] = {}
    for spelling, key in lookup.items():
        bare.setdefault(words_of(spelling), set()).add(key)
    return {words: next(iter(keys)) for words, keys in bare.items() if len(keys) == 1}


def _first_words(counts: pd.Series, lookup: Mapping[str, str]) -> list[str]:
    found: set[str] = set()
    for value in counts.index[:2000]:
        words = str(value).split()
        for n in (3, 2, 1):
            start = " ".join(words[:n])
            if len(words) > n and fold(start) in lookup:
                found.add(start)
                break
    return sorted(found, key=lambda s: (-len(s), s))


def _starts_with(value: str, spellings: list[str]) -> bool:
    return any(value.startswith(s) for s in spellings)


def _add_label(taken: dict[str, Match], theme: Theme) -> None:
    """Take as the name too a column whose first word gives the kind, such as "Phường Bến Nghé"."""
    for match in list(taken.values()):
        column = match.source.column
        if theme.label and theme.label not in taken and column and match.source.extract:
            reason = Text(en="names each feature", vi="nêu tên từng đối tượng")
            taken[theme.label] = Match(theme.label, FieldSource.model_validate({"from": column}), 0.65, reason)


def _add_house_number(taken: dict[str, Match], columns: Mapping[str, tuple[str, ...]]) -> None:
    """Join an address that is two columns, the house's number and the street."""
    match = taken.get("address")
    street = match.source.column if match and match.source.is_plain else None
    number = next((column for column, words in columns.items() if words in HOUSE_NUMBERS), None)
    if match is None or street is None or number is None or columns[street] not in STREETS:
        return
    if not any(sign in number + street for sign in "{}"):
        reason = Text(en="house number and street", vi="số nhà và tên đường")
        joined = FieldSource(template=f"{{{number}}} {{{street}}}")
        taken["address"] = Match("address", joined, match.confidence, reason)


def _add_year(taken: dict[str, Match], theme: Theme) -> None:
    """Take a figure's year from its column's name, where it often stands alone."""
    years = {year for m in taken.values() if m.source.column and (year := year_of(m.source.column))}
    if "year" in theme.by_name and "year" not in taken and len(years) == 1:
        (year,) = years
        reason = Text(en="from the names of the columns", vi="theo tên cột")
        taken["year"] = Match("year", FieldSource(constant=year), 0.7, reason)

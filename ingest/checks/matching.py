"""Which column of a file is which field of the theme: proposed from names, types and values, or read from a file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.checks.names import likely_term, likeness, words_of, year_of
from ingest.checks.problems import AS_WRITTEN, KINDS, QUARANTINE_ID, QUARANTINE_NOTES
from ingest.checks.values import as_type
from ingest.spec import FieldSource, Source
from layers.theme import Field, FieldType, Theme, fold
from twin.errors import BadInput
from twin.text import Text

# A match is taken from this confidence on, and mentioned as a hint from the other.
TAKEN = 0.6
HINT = 0.3
ID_WORDS = frozenset({"id", "ma", "code", "key", "khoa", "gid", "uuid", "ref", "osm", "mã"})
# Numbers that a program gives anew at each export: an id should outlive that.
FLEETING = frozenset({"objectid", "fid", "ogcfid", "rowid", "oid", "stt", "index"})
# Columns that a program measures in the units of the map, whatever those are: SHAPE_Area, ST_Length.
MEASURED = (("shape",), ("st",))
MOST_TERMS = 60
# Columns that are halves of an address, by the words of their names.
STREETS = frozenset({("ten", "duong"), ("duong",), ("ten", "pho"), ("street",), ("street", "name"), ("addr", "street")})
HOUSE_NUMBERS = frozenset({("so", "nha"), ("house", "number"), ("housenumber",), ("addr", "housenumber")})
# Of the values that are no terms a mapping file names so many.
UNKNOWN_NAMED = 20
# An id that comes twice or is missing is a mistake to report; a column where that is common is no id.
NEARLY_ALL = 0.8

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
    """A whole mapping: the fields that have a source, hints, the id, and columns to leave out."""

    theme: Theme
    taken: tuple[Match, ...]
    hints: tuple[Match, ...] = ()
    id: str | None = None
    id_reason: Text = GIVEN
    prefix: str = ""
    drop: tuple[str, ...] = ()
    encodings: Mapping[str, str] | None = None
    crs: str | None = None
    given: bool = False

    def source(self, file: str) -> Source:
        """The mapping in the words of a city's description."""
        fields = {m.field: m.source.column if _is_plain(m.source) else m.source for m in self.taken}
        return Source(file=Path(file), id=self.id, prefix=self.prefix, drop=self.drop, fields=fields)

    def without_source(self) -> tuple[Field, ...]:
        """The fields that no column gives."""
        mapped = {m.field for m in self.taken}
        return tuple(f for f in self.theme.fields if f.name not in mapped)


class MappingFile(BaseModel):
    """A mapping that a person wrote or edited: `fields` as in a city's description, and more to know of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = None
    prefix: str = ""
    drop: tuple[str, ...] = ()
    crs: str | None = None
    encodings: Mapping[str, Literal["unicode", "tcvn3", "vni", "cp1258", "utf-8"]] = {}
    fields: Mapping[str, str | FieldSource] = {}


def read_mapping(path: Path, theme: Theme, columns: Mapping[str, FieldType]) -> Matches:
    """Read a mapping file; what does not fit the theme or the file is named."""
    try:
        spec = MappingFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unusable(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise _unusable(path, f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from None
    if unknown := sorted(set(spec.fields) - set(theme.by_name)):
        raise BadInput(
            Text(
                en="{file}: the theme {theme} has no field {unknown}. Its fields are: {known}.",
                vi="{file}: chuyên đề {theme} không có trường {unknown}. Các trường: {known}.",
            ).format(file=path.name, theme=theme.name, unknown=", ".join(unknown), known=", ".join(theme.by_name))
        )
    sources = Source(file=path, fields=spec.fields).field_sources()
    used = {c for s in sources.values() for c in (s.column, s.per) if c} | set(spec.encodings)
    used |= {spec.id} if spec.id and "{" not in spec.id else set()
    if absent := sorted(used - set(columns)):
        raise BadInput(
            Text(
                en="{file} names the column {absent}, which the data file does not have. Its columns are: {present}.",
                vi="{file} nêu cột {absent} mà tệp dữ liệu không có. Các cột hiện có: {present}.",
            ).format(file=path.name, absent=", ".join(absent), present=", ".join(columns))
        )
    taken = tuple(Match(name, source, 1.0, GIVEN) for name, source in sources.items())
    return Matches(theme, taken, (), spec.id, GIVEN, spec.prefix, spec.drop, spec.encodings, spec.crs, given=True)


def _unusable(path: Path, reason: str) -> BadInput:
    return BadInput(
        Text(en="{path} cannot be used: {reason}.", vi="Không dùng được {path}: {reason}.").format(
            path=path.name, reason=reason.strip().rstrip(".")
        )
    )


# Proposing -----------------------------------------------------------------------------------------------------------


def propose(sample: pd.DataFrame, theme: Theme, titles: Mapping[str, str] | None = None) -> Matches:
    """Propose a mapping from some rows of the file. `titles` gives columns a readable name, where theirs is not."""
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
    key, reason = (QUARANTINE_ID, MENDED) if notes else _id_column(sample, titles)
    fields = {f.name: place for place, f in enumerate(theme.fields)}
    return Matches(
        theme,
        tuple(sorted(taken.values(), key=lambda m: fields[m.field])),
        tuple(h for name, h in hints.items() if name not in taken and str(h.source.column) not in columns),
        key,
        reason,
        drop=notes,
    )


def _notes_of_quarantine(sample: pd.DataFrame) -> tuple[str, ...]:
    """The columns of notes, if the file is an export of quarantine that comes back mended."""
    added = (QUARANTINE_ID, *QUARANTINE_NOTES)
    if not set(added) <= set(sample.columns) or not sample["reason"].dropna().isin(KINDS).all():
        return ()
    # The key that the program for GeoPackages gave the export is no column of the agency's.
    return tuple(column for column in (*QUARANTINE_NOTES, AS_WRITTEN, "fid") if column in sample.columns)


def _rank(match: Match, sample: pd.DataFrame) -> tuple[float, int, float]:
    column = str(match.source.column)
    return (-round(match.confidence, 2), -(year_of(column) or 0), -_distinctness(sample[column]))


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
    if len(present) and field.type != "text":
        fitting = _fitting(present, field)
        if fitting < 0.9:
            confidence = min(confidence, 0.55) * fitting
            reason = Text(
                en="{reason}, but {share:.0%} of the values fit", vi="{reason}, nhưng chỉ {share:.0%} giá trị hợp lệ"
            ).format(reason=reason, share=fitting)
    elif field.type == "text" and len(present):
        confidence += 0.05 * (_distinctness(values) - 1)
        if pd.api.types.is_float_dtype(values.dtype) and (present % 1 != 0).any():
            confidence *= 0.5
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
    if present.empty or pd.api.types.is_numeric_dtype(present.dtype):
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
    """The terms by their words without tone marks, as far as these are unambiguous."""
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
    """A column such as "Phường Bến Nghé" gives the kind by its first word, and is the name as well."""
    for match in list(taken.values()):
        column = match.source.column
        if theme.label and theme.label not in taken and column and match.source.extract:
            reason = Text(en="names each feature", vi="nêu tên từng đối tượng")
            taken[theme.label] = Match(theme.label, FieldSource.model_validate({"from": column}), 0.65, reason)


def _add_house_number(taken: dict[str, Match], columns: Mapping[str, tuple[str, ...]]) -> None:
    """An address is often two columns, the house's number and the street."""
    match = taken.get("address")
    street = match.source.column if match and _is_plain(match.source) else None
    number = next((column for column, words in columns.items() if words in HOUSE_NUMBERS), None)
    if match is None or street is None or number is None or columns[street] not in STREETS:
        return
    if not any(sign in number + street for sign in "{}"):
        reason = Text(en="house number and street", vi="số nhà và tên đường")
        joined = FieldSource(template=f"{{{number}}} {{{street}}}")
        taken["address"] = Match("address", joined, match.confidence, reason)


def _add_year(taken: dict[str, Match], theme: Theme) -> None:
    """A figure's year often stands in its column's name only."""
    years = {year for m in taken.values() if m.source.column and (year := year_of(m.source.column))}
    if "year" in theme.by_name and "year" not in taken and len(years) == 1:
        (year,) = years
        reason = Text(en="from the names of the columns", vi="theo tên cột")
        taken["year"] = Match("year", FieldSource(constant=year), 0.7, reason)


def _id_column(sample: pd.DataFrame, titles: Mapping[str, str]) -> tuple[str | None, Text]:
    best: tuple[float, str] | None = None
    for column in sample.columns:
        words = words_of(titles.get(column, column))
        values = sample[column]
        if not ID_WORDS & set(words) and "".join(words) not in FLEETING:
            continue
        different = _distinctness(values)
        if len(values) == 0 or values.isna().mean() > 1 - NEARLY_ALL or different < NEARLY_ALL:
            continue
        if pd.api.types.is_float_dtype(values.dtype) and (values % 1 != 0).any():
            continue
        score = 0.5 if "".join(words) in FLEETING else 1.0 if len(words) == 1 else 0.9 - 0.05 * len(words)
        score -= 1 - different if score > TAKEN else 0
        if best is None or score > best[0]:
            best = (score, column)
    if best is None:
        return None, Text(
            en="no column names each feature; ids are made from the geometry",
            vi="không cột nào định danh đối tượng; mã được tạo từ hình học",
        )
    if best[0] < TAKEN:
        return None, Text(
            en="“{column}” changes with each export; ids are made from the geometry",
            vi="“{column}” đổi mỗi lần xuất tệp; mã được tạo từ hình học",
        ).format(column=best[1])
    if _distinctness(sample[best[1]]) < 1:
        return best[1], Text(en="different in almost every row", vi="khác nhau ở hầu hết các dòng")
    return best[1], Text(en="different in every row that was looked at", vi="khác nhau ở mọi dòng đã xem")


# Writing -------------------------------------------------------------------------------------------------------------


def to_toml(
    matches: Matches, file: str, columns: Mapping[str, FieldType], crs: str, encodings: Mapping[str, str]
) -> str:
    """Write a mapping as a file to edit, with the reasons as comments."""
    theme = matches.theme
    lines = [
        f"# {_say('The columns of', 'Các cột của')} {_comment(file)} → {theme.name} ({theme.title})",
        "# " + _say("Edit it, check again with --mapping THIS_FILE.", "Sửa rồi kiểm tra lại với --mapping TỆP_NÀY."),
        "",
        f"# {_comment(str(matches.id_reason))}",
        f"id = {_quoted(matches.id)}" if matches.id else '# id = "…"',
        f"# crs = {_quoted(crs)}",
    ]
    mapped = {str(m.source.column) for m in matches.taken}
    rest = [c for c in columns if c not in mapped and c != matches.id]
    if rest:
        lines.append("# " + _say("Carried along; to leave columns out:", "Giữ kèm theo; để bỏ bớt cột:"))
        lines.append(f"{'' if matches.drop else '# '}drop = {_list(matches.drop or rest)}")
    lines += ["", "[fields]"]
    for match in matches.taken:
        lines.append(f"# {match.confidence:.0%}: {_comment(str(match.reason))}")
        lines.append(f"{match.field} = {_value(match.source)}")
        lines += _translation(match, theme.by_name[match.field])
    for match in matches.hints:
        lines.append(f"# {match.confidence:.0%}, {_say('not taken', 'chưa dùng')}: {_comment(str(match.reason))}")
        lines.append(f"# {match.field} = {_value(match.source)}")
        lines += _translation(match, theme.by_name[match.field])
    for field in matches.without_source():
        if all(h.field != field.name for h in matches.hints):
            need = _say("required", "bắt buộc") if field.required else _say("no column", "không có cột")
            lines.append(f'# {field.name} = "…"  # {need}: {_say(field.title.en, field.title.vi)}')
    if encodings:
        lines += ["", "[encodings]", *(f"{_quoted(c)} = {_quoted(e)}" for c, e in encodings.items())]
    return "\n".join(lines) + "\n"


def _translation(match: Match, field: Field) -> list[str]:
    """Lines that show how values that are no terms are translated, with the terms that they may mean."""
    if not match.unknown or not field.vocabulary:
        return []
    named = match.unknown[:UNKNOWN_NAMED]
    values = {**(match.source.values or {}), **{value: likely_term(value, field) or "…" for value in named}}
    said: dict[str, Any] = {**match.source.model_dump(by_alias=True, exclude_none=True), "values": values}
    if "other" in field.vocabulary:
        said.setdefault("other", "other")
    more = _say(" (and more)", " (và nhiều giá trị khác)") if len(match.unknown) > len(named) else ""
    terms = ", ".join(f"{key} ({entry.title})" for key, entry in field.vocabulary.items())
    return [
        "# " + _say("Values that are no terms", "Giá trị không có trong danh mục") + more + _say(
            "; to translate them, complete this and put it in place of the line above:",
            "; để quy đổi, hãy hoàn chỉnh dòng sau và thay cho dòng trên:",
        ),
        f"# {match.field} = {_value(FieldSource.model_validate(said))}",
        "# " + _say("Terms: ", "Danh mục: ") + _comment(terms),
    ]  # fmt: skip


def _say(en: str, vi: str) -> str:
    return str(Text(en=en, vi=vi))


def _comment(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: Any) -> str:
    return "[" + ", ".join(_quoted(str(i)) for i in items) + "]"


def _value(source: FieldSource) -> str:
    if _is_plain(source):
        return _quoted(str(source.column))
    parts = []
    for name, value in source.model_dump(by_alias=True, exclude_none=True).items():
        if isinstance(value, Mapping):
            written = "{ " + ", ".join(f"{_quoted(str(k))} = {_quoted(str(v))}" for k, v in value.items()) + " }"
        elif isinstance(value, tuple):
            written = "[" + ", ".join(f"[{limit}, {_quoted(term)}]" for limit, term in value) + "]"
        else:
            written = json.dumps(value, ensure_ascii=False)
        parts.append(f"{name} = {written}")
    return "{ " + ", ".join(parts) + " }"


def _is_plain(source: FieldSource) -> bool:
    return source.column is not None and source == FieldSource.model_validate({"from": source.column})

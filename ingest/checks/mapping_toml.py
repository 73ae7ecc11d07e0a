"""Proposed mappings as files to edit: TOML, with the reasons as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ingest.checks.matching import UNKNOWN_NAMED, Match, Matches
from ingest.checks.names import likely_term
from ingest.mapping.description import FieldSource, MappingFile
from layers.theme import Field, FieldType
from twin.text import Text


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
        f"{'' if isinstance(matches.rows, MappingFile) and matches.rows.crs else '# '}crs = {_quoted(crs)}",
        *_about_rows(matches),
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


def _about_rows(matches: Matches) -> list[str]:
    """Return lines that say which rows are taken, and what they are joined with."""
    rows, lines = matches.rows, []
    if rows.prefix:
        lines.append(f"prefix = {_quoted(rows.prefix)}")
    if isinstance(rows, MappingFile):
        given = rows.model_dump(include={"encoding", "longitude", "latitude", "wkt", "layer"}, exclude_none=True)
        lines += [f"{name} = {_quoted(value)}" for name, value in given.items()]
        if rows.osm:
            lines.append(f"osm = {_table(rows.osm.model_dump(exclude_defaults=True))}")
    if rows.unique:
        lines.append(f"unique = {_quoted(rows.unique)}")
    elif matches.repeats is not None:
        column = _quoted(matches.repeats.column)
        lines.append(
            "# "
            + _say("Where the rows of one value are one thing:", "Nếu các dòng cùng giá trị là một đối tượng:")
            + f" id = {column}, unique = {column}"
        )
    if rows.where:
        lines.append(f"where = {_table(dict(rows.where))}")
    if rows.join:
        join = rows.join.model_dump(exclude_none=True, exclude_defaults=True, mode="json")
        lines.append(f"join = {_table(join)}")
    return lines


def _table(values: Mapping[str, Any]) -> str:
    """Write an inline table of TOML."""

    def written(value: Any) -> str:
        if isinstance(value, Mapping):
            return _table(value)
        if isinstance(value, list | tuple):
            return "[" + ", ".join(written(v) for v in value) + "]"
        return _quoted(str(value))

    return "{ " + ", ".join(f"{_quoted(str(k))} = {written(v)}" for k, v in values.items()) + " }"


def _translation(match: Match, field: Field) -> list[str]:
    """Return lines that show how values that are no terms are translated, with the terms that they may mean."""
    if not match.unknown or not field.vocabulary:
        return []
    named = match.unknown[:UNKNOWN_NAMED]
    values = {**(match.source.values or {}), **{value: likely_term(value, field) or "…" for value in named}}
    source: dict[str, Any] = {**match.source.model_dump(by_alias=True, exclude_none=True), "values": values}
    if "other" in field.vocabulary:
        source.setdefault("other", "other")
    more = _say(" (and more)", " (và nhiều giá trị khác)") if len(match.unknown) > len(named) else ""
    terms = ", ".join(f"{key} ({entry.title})" for key, entry in field.vocabulary.items())
    return [
        "# " + _say("Values that are no terms", "Giá trị không có trong danh mục") + more + _say(
            "; to translate them, complete this and put it in place of the line above:",
            "; để quy đổi, hãy hoàn chỉnh dòng sau và thay cho dòng trên:",
        ),
        f"# {match.field} = {_value(FieldSource.model_validate(source))}",
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
    if source.is_plain:
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

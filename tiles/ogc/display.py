"""A feature's values as people read them: titles, terms and numbers in their language, units as signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from layers.contracts import theme_of
from layers.theme import Field, Theme
from twin.access.permit import Permit
from twin.catalogue.catalogue import Column
from twin.text import Language, Text

# UCUM codes that are not what people write.
UNITS: dict[str, Text] = {
    "km2": Text(en="km²", vi="km²"),
    "m2": Text(en="m²", vi="m²"),
    "ug/m3": Text(en="µg/m³", vi="µg/m³"),
    "deg": Text(en="°", vi="°"),
    "1": Text(en="", vi=""),
    "{person}": Text(en="people", vi="người"),
    "{person}/km2": Text(en="people/km²", vi="người/km²"),
    "{pcu}/h": Text(en="pcu/h", vi="xe quy đổi/giờ"),
}
# The colour of features whose own may not be shown.
UNTINTED = "#b8b8b8"
YES = Text(en="yes", vi="có")
NO = Text(en="no", vi="không")


def number(value: float, language: Language) -> str:
    """Write a number with the language's marks: 1,234.5 or 1.234,5; at most two decimals."""
    text = f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return text.translate(str.maketrans(",.", ".,")) if language == "vi" else text


def count(permit: Permit, features: int, language: Language) -> str:
    """Write a number of features, or that it is less than the least that may be shown."""
    return f"< {permit.least_count}" if permit.count(features) is None else number(features, language)


def day(moment: datetime, zone: tzinfo, language: Language) -> str:
    """Write the day of a moment as it was in the city."""
    then = moment.astimezone(zone)
    return f"{then:%d/%m/%Y}" if language == "vi" else f"{then.day} {then:%B %Y}"


def unit(code: str | None, language: Language) -> str:
    """Return a unit as people write it."""
    if code is None:
        return ""
    return UNITS[code].in_language(language) if code in UNITS else code


def value(raw: Any, field: Field | None, language: Language) -> str:
    """One value as text."""
    if field is not None and field.vocabulary and raw in field.vocabulary:
        return field.vocabulary[raw].title.in_language(language)
    if isinstance(raw, bool):
        return (YES if raw else NO).in_language(language)
    if isinstance(raw, int | float):
        # A year is a name, not a quantity.
        is_year = field is not None and field.name.startswith("year")
        return str(raw) if is_year else number(raw, language)
    return str(raw)


def rows(
    columns: Sequence[Column], theme: Theme, properties: Mapping[str, Any], language: Language
) -> list[dict[str, str]]:
    """Return what a feature says, column by column, as people read it; empty ones and the label are left out."""
    return [
        _row(column, theme.by_name.get(column.name), properties[column.name], language)
        for column in columns
        if properties.get(column.name) is not None and column.name != theme.label
    ]


def _row(column: Column, field: Field | None, raw: Any, language: Language) -> dict[str, str]:
    return {
        "title": column.title.in_language(language),
        "value": value(raw, field, language),
        "unit": unit(column.unit, language),
    }


def title(theme: Theme, properties: Mapping[str, Any]) -> str | None:
    """Return what a feature is called, if it has a name."""
    named = properties.get(theme.label or "name")
    return str(named) if named else None


def shown_style(permit: Permit) -> dict[str, Any]:
    """Return the style of a layer without what reads a column that may not be shown; its colours become one."""
    style = theme_of(permit.layer).style
    return _shown(style, permit) if permit.key else dict(style)


def _shown(part: Mapping[str, Any], permit: Permit) -> dict[str, Any]:
    found = {}
    for name, entry in part.items():
        if not isinstance(entry, Mapping):
            found[name] = entry
        elif permit.shows(entry.get("field", "")):
            found[name] = _shown(entry, permit)
        elif "categories" in entry or isinstance(entry.get("other"), str):
            found[name] = entry.get("other", UNTINTED)
        elif "stops" in entry and isinstance(entry["stops"][0][1], str):
            found[name] = UNTINTED
    return found


def legend(theme: Theme, style: Mapping[str, Any], language: Language) -> list[dict[str, str]]:
    """Return the legend that follows from a style: its terms, its steps, or its one colour."""
    for part in ("fill", "line", "circle"):
        paint = style.get(part)
        color = paint.get("color") if isinstance(paint, Mapping) and "color" in paint else paint
        if color is None:
            continue
        if isinstance(color, str):
            return [{"label": theme.title.in_language(language), "color": color}]
        field = theme.by_name[color["field"]]
        if "categories" in color:
            vocabulary = field.vocabulary or {}
            return [
                {"label": vocabulary[key].title.in_language(language), "color": shade}
                for key, shade in color["categories"].items()
            ]
        sign = unit(field.unit, language)
        return [
            {"label": f"≥ {number(step, language)} {sign}".strip(), "color": shade} for step, shade in color["stops"]
        ]
    return []

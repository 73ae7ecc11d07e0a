"""A feature's values as people read them: titles, terms and numbers in their language, units as signs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from layers.theme import Field, Theme
from twin.catalogue.catalogue import Column, Layer
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
YES = Text(en="yes", vi="có")
NO = Text(en="no", vi="không")


def number(value: float, language: Language) -> str:
    """Write a number with the language's marks: 1,234.5 or 1.234,5; at most two decimals."""
    text = f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return text.translate(str.maketrans(",.", ".,")) if language == "vi" else text


def day(moment: datetime, zone: tzinfo, language: Language) -> str:
    """Write the day of a moment as it was in the city."""
    then = moment.astimezone(zone)
    return f"{then:%d/%m/%Y}" if language == "vi" else f"{then.day} {then:%B %Y}"


def unit(code: str | None, language: Language) -> str:
    """A unit as people write it."""
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


def rows(layer: Layer, theme: Theme, properties: Mapping[str, Any], language: Language) -> list[dict[str, str]]:
    """What a feature says, field by field: the theme's fields first, then the agency's own; empty ones left out."""
    assert layer.current is not None  # noqa: S101
    return [
        _row(column, theme.by_name.get(column.name), properties[column.name], language)
        for column in layer.current.columns
        if properties.get(column.name) is not None and column.name != theme.label
    ]


def _row(column: Column, field: Field | None, raw: Any, language: Language) -> dict[str, str]:
    return {
        "title": column.title.in_language(language),
        "value": value(raw, field, language),
        "unit": unit(column.unit, language),
    }


def title(theme: Theme, properties: Mapping[str, Any]) -> str | None:
    """What a feature is called, if it has a name."""
    named = properties.get(theme.label or "name")
    return str(named) if named else None


def legend(theme: Theme, language: Language) -> list[dict[str, str]]:
    """The legend that follows from a theme's style: its terms, its steps, or its one colour."""
    for part in ("fill", "line", "circle"):
        paint = theme.style.get(part)
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

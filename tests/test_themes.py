"""Themes: contracts that hold together, in both languages."""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

import layers
from layers.registry import theme, themes
from layers.theme import Detail, Field, Rollup, Theme, equal, fields_of_style
from tiles.ogc.display import UNITS, legend
from twin.errors import NotFound
from twin.text import LANGUAGES, Text

EXPECTED = {
    "boundaries", "roads", "water", "buildings", "places", "zoning", "population", "flood_spots",
    "traffic_segments", "sensors",
}  # fmt: skip
ALL = sorted(themes())
NAME = Text(en="x", vi="x")


def test_the_city_s_themes_are_there() -> None:
    assert set(themes()) >= EXPECTED


NEW_THEME = """
from layers.theme import Detail, Field, Theme, equal
from twin.text import Text

TREES = Theme(
    name="trees", title=Text(en="Trees", vi="Cây xanh"), description=Text(en="Street trees.", vi="Cây đường phố."),
    geometry="point", resolution=11, fields=(Field("species", "text", Text(en="Species", vi="Loài")),),
    importance=equal, details=(Detail(15),), style={"order": 70, "circle": {"color": "#4c8a3f", "radius": 3}},
)
"""


def test_adding_a_theme_is_adding_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trees_of_a_test.py").write_text(NEW_THEME)
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(tmp_path)])
    themes.cache_clear()
    try:
        assert theme("trees").title.vi == "Cây xanh"
        assert set(themes()) >= EXPECTED
    finally:
        sys.modules.pop("layers.trees_of_a_test", None)
        monkeypatch.undo()
        themes.cache_clear()


def test_an_unknown_theme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="buildings"):
        theme("bildings")


@pytest.mark.parametrize("name", ALL)
def test_everything_a_theme_shows_has_both_languages(name: str) -> None:
    of = theme(name)
    texts = [of.title, of.description, *(f.title for f in of.fields)]
    texts += [t.title for f in of.fields for t in (f.vocabulary or {}).values()]
    assert all(text.en.strip() and text.vi.strip() for text in texts)


@pytest.mark.parametrize("name", ALL)
def test_a_vocabulary_s_spellings_lead_to_one_term_each(name: str) -> None:
    for field in theme(name).fields:
        spellings: dict[str, set[str]] = {}
        for key, entry in (field.vocabulary or {}).items():
            for spelling in (key, *entry.aliases):
                spellings.setdefault(spelling.casefold(), set()).add(key)
        assert {s for s, keys in spellings.items() if len(keys) > 1} == set()


@pytest.mark.parametrize("name", ALL)
def test_a_style_reads_only_fields_that_tiles_carry(name: str) -> None:
    of = theme(name)
    assert fields_of_style(of.style) - {of.label} <= set(of.tile_fields)


@pytest.mark.parametrize("name", ALL)
def test_a_style_colours_only_terms_of_its_vocabulary(name: str) -> None:
    of = theme(name)
    for part in of.style.values():
        for paint in (part, part.get("color") if isinstance(part, dict) else None):
            if isinstance(paint, dict) and "categories" in paint:
                assert set(paint["categories"]) <= set(of.by_name[paint["field"]].vocabulary or {})


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ALL)
def test_every_theme_has_a_legend(name: str, language: str) -> None:
    entries = legend(theme(name), theme(name).style, language)
    assert entries
    assert all(entry["label"] and entry["color"].startswith("#") for entry in entries)


@pytest.mark.parametrize("name", ALL)
def test_importance_is_a_finite_number_for_every_feature_whatever_is_missing(name: str) -> None:
    of = theme(name)
    shape = {"point": shapely.Point(106.7, 10.7), "line": shapely.LineString([(106.7, 10.7), (106.8, 10.7)])}
    geometry = shape.get(of.geometry, shapely.box(106.7, 10.7, 106.71, 10.71))
    frame = gpd.GeoDataFrame({f.name: [None, None] for f in of.fields}, geometry=[geometry] * 2, crs=4326)
    found = of.importance(frame)
    assert found.shape == (2,) and np.isfinite(found).all()


def test_units_that_are_not_plain_are_written_as_people_write_them() -> None:
    used = {f.unit for t in themes().values() for f in t.fields if f.unit}
    assert {u for u in used if "{" in u or u.endswith("2")} <= set(UNITS)


def a_theme(**changes: object) -> Theme:
    given = {
        "name": "t", "title": NAME, "description": NAME, "geometry": "point", "resolution": 9,
        "fields": (Field("name", "text", NAME),), "details": (Detail(5),), "style": {}, "importance": equal,
    }  # fmt: skip
    return Theme(**(given | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": (Field("name", "text", NAME), Field("name", "text", NAME))},
        {"tile_fields": ("height",)},
        {"label": "title"},
        {"style": {"fill": {"field": "use"}}},
        {"details": ()},
        {"details": (Detail(9), Detail(5))},
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="theme"):
        a_theme(**changes)


@pytest.mark.parametrize("name", ["geom", "fid", "Name", "1st", "tên", "a b", 'x"', ""])
def test_a_field_needs_a_plain_name_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match="field name"):
        Field(name, "text", NAME)


def test_only_numbers_can_be_summed() -> None:
    with pytest.raises(ValueError, match="needs a number"):
        Field("use", "text", NAME, rollup=Rollup.SUM)


def test_a_zoom_shows_the_detail_of_the_last_step_at_or_below_it() -> None:
    of = a_theme(details=(Detail(8, 5), Detail(12, 1)))
    assert of.detail(7) is None
    assert of.detail(8) == of.detail(11) == Detail(8, 5)
    assert of.detail(20) == Detail(12, 1)


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_page_of_themes_is_what_the_themes_say(language: str) -> None:
    from scripts.document_themes import PAGES, document

    # Written anew by: .venv/bin/python scripts/document_themes.py
    assert PAGES[language].read_text("utf-8") == document(language)  # type: ignore[index, arg-type]

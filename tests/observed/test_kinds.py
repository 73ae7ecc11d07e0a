"""Observed kinds: grades, dates, units, and the rules that hold for all of them."""

from __future__ import annotations

import doctest
import math
import pkgutil
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers import observed
from layers.observed.kind import Grade, ObservedKind, Scale
from layers.observed.rain import RAIN
from layers.observed.registry import KINDS, kind_of
from layers.observed.weather import TEMPERATURE, WIND_DIRECTION, WIND_SPEED
from twin.errors import BadInput, NotFound
from twin.text import LANGUAGES, Text

ALL = sorted(KINDS)
SCALES = [(kind.name, scale) for kind in KINDS.values() for scale in kind.scales]
TODAY = date(2026, 1, 15)
T = Text(en="x", vi="x")


@pytest.mark.parametrize("module", sorted(m.name for m in pkgutil.iter_modules(observed.__path__)))
def test_examples_in_the_documentation_give_what_they_say(module: str) -> None:
    assert doctest.testmod(import_module(f"layers.observed.{module}")).failed == 0


def test_the_kinds_that_the_city_observes_are_there() -> None:
    expected = {
        "pm2_5", "pm10", "tsp", "o3", "no2", "so2", "co", "vn_aqi", "us_aqi", "water_level", "rain", "temperature",
        "humidity", "pressure", "wind_speed", "wind_direction", "traffic_speed", "los", "flood_depth", "vehicle_speed",
    }  # fmt: skip
    assert expected <= set(KINDS)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="water_level"):
        kind_of("watr_level")


@pytest.mark.parametrize("name", ALL)
def test_a_kind_speaks_both_languages_and_has_a_unit(name: str) -> None:
    kind = KINDS[name]
    texts = [kind.title, *([kind.note] if kind.note else [])]
    for scale in kind.scales:
        texts += [scale.title, scale.source, *(grade.title for grade in scale.grades)]
    assert all(text.in_language(language).strip() for text in texts for language in LANGUAGES)
    assert kind.unit and kind.digits >= 0 and kind.name == name


@pytest.mark.parametrize(("name", "scale"), SCALES)
def test_limits_lie_in_the_plausible_range(name: str, scale: Scale) -> None:
    assert all(KINDS[name].minimum < limit < KINDS[name].maximum for limit in scale.limits)


@given(st.sampled_from([scale for _, scale in SCALES]), st.floats(allow_nan=True, allow_infinity=True))
def test_a_grade_is_the_one_whose_limits_hold_the_value(scale: Scale, value: float) -> None:
    grade = scale.grade(value)
    if not math.isfinite(value):
        assert grade is None and scale.grade_index([value]).tolist() == [-1]
        return
    index = sum(value >= limit if scale.reaches else value > limit for limit in scale.limits)
    assert grade is scale.grades[index] and scale.grade_index(np.array([value])).tolist() == [index]


def test_missing_values_have_no_grade() -> None:
    found = RAIN.scales[0].grade_index([None, math.nan, 0.0, 60.0])
    assert found.tolist() == [-1, -1, 0, 4] and found.dtype == np.int8
    assert RAIN.grade(None, TODAY) is None and RAIN.scales[0].grade_index([]).tolist() == []


@pytest.mark.parametrize("name", ALL)
def test_another_unit_converts_there_and_back(name: str) -> None:
    kind = KINDS[name]
    for unit in [kind.unit, *kind.units]:
        assert kind.in_unit(kind.convert([1.0, 20.0], unit), unit) == pytest.approx([1.0, 20.0])


def test_units_give_known_values_and_unknown_ones_are_refused() -> None:
    assert TEMPERATURE.convert([300.15, 273.15], "K") == pytest.approx([27.0, 0.0])
    assert TEMPERATURE.convert([86.0], "[degF]") == pytest.approx([30.0])
    assert WIND_SPEED.convert([36.0], "km/h") == pytest.approx([10.0])
    assert kind_of("no2").convert([100.0], "[ppb]") == pytest.approx([188.0])
    assert kind_of("co").convert([1.0], "[ppm]") == pytest.approx([1145.0])
    with pytest.raises(BadInput, match=r"\[degF\]"):
        TEMPERATURE.convert([1.0], "mm")


def test_repeated_values_are_normal_only_where_nature_repeats_them() -> None:
    assert RAIN.stuck_except == (0.0,) and RAIN.stuck_seconds is not None
    assert TEMPERATURE.stuck_except == () and WIND_DIRECTION.stuck_seconds is None
    assert WIND_DIRECTION.circular and not any(k.circular for k in KINDS.values() if k is not WIND_DIRECTION)


LOW, HIGH = Grade("low", T, "#000000"), Grade("high", T, "#ffffff")
EVERYWHERE = Scale("level", T, T, (1.0,), (LOW, HIGH))


def with_scales(*scales: Scale) -> ObservedKind:
    return replace(RAIN, scales=scales)


def test_a_scale_is_chosen_by_name_day_and_place() -> None:
    later = replace(EVERYWHERE, limits=(2.0,), valid_from=date(2020, 1, 1))
    here = replace(EVERYWHERE, limits=(3.0,), place="here")
    other = replace(EVERYWHERE, name="other", limits=(9.0,))
    kind = with_scales(EVERYWHERE, later, here, other)
    chosen = [
        kind.scale_at(date(2019, 12, 31)), kind.scale_at(date(2020, 1, 1)), kind.scale_at(TODAY, "here"),
        kind.scale_at(TODAY, "there"), kind.scale_at(TODAY, name="other"),
    ]  # fmt: skip
    assert chosen == [EVERYWHERE, later, here, later, other]
    assert with_scales(here).scale_at(TODAY) is None and with_scales(later).scale_at(date(2019, 1, 1)) is None
    assert with_scales().grade(1.0, TODAY) is None


def test_a_scale_changes_at_midnight_in_vietnam() -> None:
    kind = with_scales(EVERYWHERE, replace(EVERYWHERE, limits=(2.0,), valid_from=date(2020, 1, 1)))
    before, after = (kind.grade(1.5, datetime(2019, 12, 31, hour, tzinfo=UTC)) for hour in (16, 17))
    assert (before, after) == (HIGH, LOW)
    with pytest.raises(ValueError, match="zone"):
        kind.scale_at(datetime(2020, 1, 1))  # noqa: DTZ001, RUF100


@pytest.mark.parametrize("wrong", [
    {"limits": (1.0, 2.0)}, {"limits": (math.nan,)}, {"grades": (LOW, LOW)}, {"limits": (2.0, 1.0), "grades": (LOW, HIGH, LOW)},
])  # fmt: skip
def test_a_scale_whose_parts_do_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="level"):
        replace(EVERYWHERE, **wrong)


@pytest.mark.parametrize("wrong", [
    {"name": "Rain"}, {"minimum": 300}, {"every_seconds": 10 * 3600}, {"units": {"mm": (1.0, 0.0)}},
    {"units": {"cm": (0.0, 0.0)}}, {"scales": (EVERYWHERE, EVERYWHERE)},
])  # fmt: skip
def test_a_kind_whose_parts_do_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011, RUF100
        replace(RAIN, **wrong)


def test_a_colour_is_written_in_full() -> None:
    with pytest.raises(ValueError, match="#rrggbb"):
        Grade("low", T, "#fff")

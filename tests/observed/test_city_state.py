"""Water, rain, wind, traffic, flood, wards and vehicles: the tables, and the recorded checkpoints."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.observed.flood import FLOOD_DEPTH, PASSABLE, FloodState, passable
from layers.observed.kind import Grade
from layers.observed.rain import RAIN
from layers.observed.traffic import CLASS_OF_ROAD, LOS, SPEED, SPEED_SCALES, level_of_service
from layers.observed.vehicles import distance, is_fresh, is_jump
from layers.observed.wards import WARD_KINDS
from layers.observed.water_level import WATER_LEVEL
from layers.observed.weather import mean_direction
from layers.roads import ROADS
from layers.traffic import LEVEL_OF_SERVICE

NOW = datetime(2026, 1, 15, 3, tzinfo=UTC)
BEST_FIRST = "ABCDEF"


def key(grade: Grade | None) -> str | None:
    return grade.key if grade else None


@pytest.mark.parametrize(("level", "day", "expected"), [
    (1.42, date(2014, 11, 22), "alarm_2"), (1.51, date(2019, 3, 21), "alarm_3"), (1.51, date(2020, 3, 19), "alarm_3"),
    (1.51, date(2020, 3, 20), "alarm_2"), (1.39, date(2024, 1, 1), "below"), (1.4, date(2024, 1, 1), "alarm_1"),
    (1.6, date(2024, 1, 1), "alarm_3"), (1.59, date(2024, 1, 1), "alarm_2"),
])  # fmt: skip
def test_alarm_levels_of_phu_an_follow_the_date(level: float, day: date, expected: str) -> None:
    assert key(WATER_LEVEL.grade(level, day, "Phú An")) == expected


def test_a_gauge_without_alarm_levels_has_no_grade() -> None:
    assert WATER_LEVEL.grade(9.9, NOW) is None and WATER_LEVEL.grade(9.9, NOW, "Vũng Tàu") is None
    assert key(WATER_LEVEL.grade(1.33, date(2014, 11, 22), "Thủ Dầu Một")) == "alarm_3"
    assert key(WATER_LEVEL.grade(1.78, NOW, "Nhà Bè")) == "alarm_3"


@pytest.mark.city
def test_the_recorded_tide_reaches_alarm_three_at_three_of_four_high_waters(city_data: Path) -> None:
    tide = pd.read_csv(city_data / "hcmc/flood/phu_an_tide_observed.csv", parse_dates=["time"]).set_index("time")
    levels = tide["level_m_hondau"]
    assert levels["2024-10-17T16:30+07:00"] == 1.68 and levels["2024-10-18T11:30+07:00"] == -1.23
    assert levels["2024-10-18T17:00+07:00"] == levels.max() == 1.70
    two_days = levels["2024-10-17T00:00+07:00":"2024-10-18T23:59+07:00"]
    reached = [key(WATER_LEVEL.grade(v, t.to_pydatetime(), "Phú An")) for t, v in two_days.items()]
    assert [k for k in reached if k != "below"] == ["alarm_2", "alarm_3", "alarm_3", "alarm_3"]


def test_grades_of_an_hour_s_rain() -> None:
    graded = [key(RAIN.grade(v, NOW)) for v in (0, 0.1, 1.9, 2, 9.2, 18.8, 50)]
    assert graded == ["dry", "light", "light", "moderate", "moderate", "heavy", "violent"]


@given(st.lists(st.floats(0, 359), min_size=1, max_size=9), st.floats(-360, 360))
def test_a_mean_direction_turns_with_its_directions(degrees: list[float], turn: float) -> None:
    mean, turned = mean_direction(degrees), mean_direction([d + turn for d in degrees])
    length = math.hypot(*(sum(f(math.radians(d)) for d in degrees) for f in (math.cos, math.sin))) / len(degrees)
    if length > 1e-3:
        assert math.isclose((turned - mean - turn + 180) % 360, 180, abs_tol=1e-6)


def test_a_mean_direction_goes_across_north_and_weights_by_speed() -> None:
    assert mean_direction([359.0, 1.0]) == pytest.approx(0, abs=1e-9) or mean_direction([359.0, 1.0]) > 359.999
    assert mean_direction([0.0, 90.0], [1.0, 0.0]) == pytest.approx(0)
    assert mean_direction([10.0, math.nan]) == pytest.approx(10)
    assert math.isnan(mean_direction([])) and math.isnan(mean_direction([math.nan]))
    assert math.isnan(mean_direction([90.0], [0.0]))


@given(st.floats(0, 120), st.floats(0, 120), st.one_of(st.none(), st.sampled_from(sorted(CLASS_OF_ROAD))))
def test_a_faster_road_never_has_a_worse_level(a: float, b: float, road_class: str | None) -> None:
    slow, fast = (level_of_service(v, 50.0, road_class) for v in (min(a, b), max(a, b)))
    assert slow and fast and BEST_FIRST.index(fast.key) <= BEST_FIRST.index(slow.key)


@pytest.mark.parametrize(
    ("design", "letters"), [("I", "FEDCBA"), ("II", "FEDCBA"), ("III", "FEDCBA"), ("IV", "FEDCBA")]
)
def test_a_limit_of_the_table_belongs_to_the_slower_level(design: str, letters: str) -> None:
    scale = SPEED_SCALES[design]
    assert [scale.grades[i].key for i in scale.grade_index(scale.limits)] == list(letters[:5])
    assert key(SPEED.grade(scale.limits[-1] + 1, NOW, design)) == "A"


def test_level_of_service_by_class_by_ratio_and_not_at_all() -> None:
    assert key(level_of_service(41, road_class="residential")) == "A"
    assert key(level_of_service(41, free_flow_speed=100)) == "D"
    # A class without a table of speeds falls back to the ratio.
    assert key(level_of_service(41, free_flow_speed=100, road_class="path")) == "D"
    assert level_of_service(41) is None and level_of_service(41, free_flow_speed=0) is None
    assert level_of_service(None, 50) is None and level_of_service(-1, 50) is None and level_of_service(300, 50) is None
    assert level_of_service(math.nan, 50, "primary") is None
    assert SPEED.grade(30, NOW) is None


def test_levels_and_classes_are_those_of_the_themes() -> None:
    assert set(CLASS_OF_ROAD) <= set(ROADS.by_name["class"].vocabulary or {})
    assert {g.key: g.title for g in LOS.scales[0].grades} == {
        k: t.title for k, t in (LEVEL_OF_SERVICE.vocabulary or {}).items()
    }
    assert [key(LOS.grade(v, NOW)) for v in (1.0, 1.5, 2.2, 6.0)] == ["A", "A", "B", "F"]


@given(st.floats(0, 5))
def test_who_can_pass_agrees_with_the_grade(depth: float) -> None:
    grade, who = PASSABLE.grade(depth), passable(depth)
    assert grade and who
    order = [g.key for g in PASSABLE.grades].index(grade.key)
    assert (who.by_motorbike, who.by_car, who.on_foot) == (order < 2, order < 3, order < 5)


def test_who_can_pass_is_unknown_without_a_fresh_depth() -> None:
    assert passable(math.nan) is None and passable(-0.1) is None
    state = FloodState(0.1, "model", NOW)
    assert state.age(NOW + timedelta(minutes=5)) == 300
    assert state.passable(NOW + timedelta(seconds=FLOOD_DEPTH.fresh_seconds)) is not None
    assert state.passable(NOW + timedelta(seconds=FLOOD_DEPTH.fresh_seconds + 1)) is None
    assert state.passable(NOW - timedelta(seconds=1)) is None, "an observation of the future"
    with pytest.raises(ValueError, match="camera"):
        FloodState(0.1, "hearsay", NOW)
    with pytest.raises(ValueError, match="zone"):
        FloodState(0.1, "camera", datetime(2026, 1, 1))  # noqa: DTZ001, RUF100


def test_a_ward_s_value_is_one_a_day_in_the_unit_of_its_kind() -> None:
    assert all(k.every_seconds == 86400 and k.stuck_seconds is None and k.scales for k in WARD_KINDS)
    assert {k.name for k in WARD_KINDS} >= {"ward_pm2_5", "ward_vn_aqi"}


def test_a_vehicle_s_position_ages_and_cannot_jump() -> None:
    assert is_fresh(NOW, NOW + timedelta(seconds=120)) and not is_fresh(NOW, NOW + timedelta(seconds=121))
    assert not is_fresh(NOW + timedelta(seconds=5), NOW)
    assert distance(106.7, 10.7, 106.7, 10.7) == 0 and distance(0, 0, 180, 0) == pytest.approx(20_015_115, abs=1)
    assert not is_jump(40, 0) and is_jump(60, 0) and is_jump(60, -5)

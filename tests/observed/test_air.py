"""Air: the worked examples of Decision 1459, the tables, dated limits, and the recorded replay day."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.observed.air import PM2_5, QCVN_05, TSP, VN_AQI, VN_GRADES, limit, particles_contradict
from layers.observed.air_index import (
    US_TABLE,
    VN_INDEX,
    VN_TABLE,
    aqi_day,
    greatest_8h_mean,
    mean_of_hours,
    nowcast,
    round_index,
    us_aqi,
    us_aqi_part,
    vn_aqi_day,
    vn_aqi_hour,
    vn_aqi_part,
)  # fmt: skip

NAN = math.nan
PARTS = sorted(VN_TABLE)
# The table of example 2.3 a, turned round: the newest hour first.
EXAMPLE = [20.6, 19.6, 22.4, 20.3, 16.5, 19.0, 16.5, 19.5, 23.5, 20.5, 24.7, 26.9]
# The ozone of example 2.2.2 a, from 18:00 of the day before to 00:00.
OZONE = [
    15.7, 14.2, 17.7, 18.9, 19.3, 15.7, 19.7, 22.6, 27.1, 29.0, 31.9, 25.3, 34.7, 35.2, 41.6, 45.7, 49.2, 55.8, 69.6,
    78.3, 91.5, 97.7, 81.2, 71.8, 43.5, 34.3, 21.5, 20.5, 19.4, 20.4, 21.3,
]  # fmt: skip
concentrations = st.floats(0, 10_000)


def test_the_worked_nowcast_of_the_decision() -> None:
    assert nowcast(EXAMPLE) == pytest.approx(20.266, abs=0.001)


def test_the_worked_hour_of_the_decision_but_for_its_misprint() -> None:
    index = vn_aqi_hour(pm2_5=EXAMPLE, o3=136.1, no2=118.7)
    assert index is not None
    assert {part: round_index(value) for part, value in index.parts.items()} == {"pm2_5": 41, "o3": 43, "no2": 59}
    # The decision prints 60 for NO2; its own formula gives 59.35.
    assert (index.value, index.dominant) == (59, "no2")


def test_the_worked_day_of_the_decision() -> None:
    parts = [("o3_8h", 89.3, 45), ("o3", 114.6, 36), ("no2", 130.8, 65), ("pm2_5", 55.7, 110)]
    assert [round_index(float(vn_aqi_part(part, value))) for part, value, _ in parts] == [45, 36, 65, 110]
    index = vn_aqi_day(pm2_5=[55.7] * 24, o3=[114.6] + [50.0] * 23, no2=[130.8] + [NAN] * 23)
    assert index is not None and (index.value, index.dominant) == (110, "pm2_5")


def test_the_worked_means_of_eight_hours_of_the_decision() -> None:
    assert greatest_8h_mean(OZONE) == pytest.approx(74.4, abs=0.05)
    assert mean_of_hours(OZONE[:8]) == pytest.approx(18.0, abs=0.05)
    index = vn_aqi_day(pm10=[40.0] * 24, o3=OZONE[7:], o3_before=OZONE[:7])
    assert index is not None and index.parts["o3_8h"] == pytest.approx(74.4 / 2, abs=0.05)


@pytest.mark.parametrize("part", PARTS)
def test_the_index_has_the_table_s_values_at_the_table_s_concentrations(part: str) -> None:
    limits = VN_TABLE[part]
    assert vn_aqi_part(part, limits).tolist() == list(VN_INDEX[: len(limits)])


@given(st.sampled_from(PARTS), concentrations, concentrations)
def test_more_of_a_pollutant_never_lowers_the_index(part: str, a: float, b: float) -> None:
    low, high = vn_aqi_part(part, [min(a, b), max(a, b)])
    assert np.isnan(high) or 0 <= low <= high <= 500


@given(st.sampled_from(sorted(US_TABLE)), concentrations, concentrations)
def test_more_of_a_pollutant_never_lowers_its_part_of_the_us_index(part: str, a: float, b: float) -> None:
    low, high = us_aqi_part(part, min(a, b)), us_aqi_part(part, max(a, b))
    assert math.isnan(low) or math.isnan(high) or low <= high


@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1000)), min_size=12, max_size=12))
def test_nowcast_lies_between_its_hours_and_needs_two_of_the_newest_three(hours: list[float]) -> None:
    value, present = nowcast(hours), [h for h in hours if not math.isnan(h)]
    if sum(not math.isnan(h) for h in hours[:3]) < 2:
        assert math.isnan(value)
    else:
        assert min(present) * (1 - 2**-12) - 1e-9 <= value <= max(present) + 1e-9


def test_nowcast_is_not_lowered_by_a_missing_hour() -> None:
    assert nowcast([100.0, 100.0, NAN, *[10.0] * 9]) > nowcast([100.0, 100.0, 10.0, *[10.0] * 9])
    assert nowcast([0.0] * 12) == 0
    with pytest.raises(ValueError, match="12"):
        nowcast([1.0])


def test_without_particles_there_is_no_index() -> None:
    assert vn_aqi_hour(o3=300, no2=500) is None
    assert vn_aqi_hour(pm10=[NAN] * 12, o3=300) is None
    assert vn_aqi_day(o3=[100.0] * 24, pm2_5=[20.0] * 17 + [NAN] * 7) is None


def test_a_flagged_gas_that_is_left_out_does_not_decide_the_index() -> None:
    index = vn_aqi_hour(pm2_5=EXAMPLE, so2=NAN)
    assert index is not None and set(index.parts) == {"pm2_5"} and index.value == 41


def test_ozone_of_eight_hours_above_400_has_no_part() -> None:
    index = vn_aqi_day(pm10=[10.0] * 24, o3=[450.0] * 24)
    assert index is not None and "o3_8h" not in index.parts and index.parts["o3"] == pytest.approx(212.5)


def test_values_beyond_the_table_and_missing_ones() -> None:
    assert vn_aqi_part("pm2_5", [501.0, -1.0, NAN]).tolist()[0] == 500
    assert np.isnan(vn_aqi_part("pm2_5", [-1.0, NAN, math.inf])).all()


def test_the_day_of_the_index_ends_with_the_hour_of_midnight() -> None:
    assert aqi_day(datetime(2022, 1, 3, 18, tzinfo=UTC)) == date(2022, 1, 4)
    assert aqi_day(datetime(2022, 1, 3, 17, tzinfo=UTC)) == date(2022, 1, 3)
    with pytest.raises(ValueError, match="zone"):
        aqi_day(datetime(2022, 1, 3, 17))  # noqa: DTZ001, RUF100


@pytest.mark.parametrize(("part", "value", "index"), [
    ("pm2_5", 9.0, 50), ("pm2_5", 9.09, 50), ("pm2_5", 9.1, 51), ("pm2_5", 35.49, 100), ("pm2_5", 325.4, 500),
    ("pm2_5", 425.4, 699.2), ("pm10", 54.9, 50), ("pm10", 55, 51), ("no2_1h", 53 * 1.88, 50), ("no2_1h", 54 * 1.88, 51),
    ("so2_1h", 75 * 2.62, 100), ("so2_1h", 700, 184.6), ("so2_1h", 2000, 200), ("so2_24h", 305 * 2.62, 201),
    ("o3_8h", 54 * 1.96, 50), ("o3_8h", 70 * 1.96, 100), ("co_8h", 4400 * 1.145, 50), ("co_8h", 9400 * 1.145, 100),
])  # fmt: skip
def test_the_us_index_at_its_limits(part: str, value: float, index: float) -> None:
    assert us_aqi_part(part, value) == pytest.approx(index, abs=0.1)


def test_parts_of_the_us_index_that_say_nothing() -> None:
    nothing = [("o3_1h", 124 * 1.96), ("o3_8h", 201 * 1.96), ("so2_24h", 304 * 2.62), ("pm10", NAN), ("pm10", -1.0)]
    assert all(math.isnan(us_aqi_part(part, value)) for part, value in nothing)
    assert us_aqi({"pm2_5": NAN}) is None
    index = us_aqi({"pm2_5": 35.5, "o3_8h": 10.0})
    assert index is not None and (index.value, index.dominant) == (101, "pm2_5")


def test_limits_hold_from_their_day() -> None:
    assert [limit("pm10", "24h", date(y, 9, 12)) for y in (2013, 2014, 2022, 2023)] == [None, 150, 150, 100]
    assert limit("pm10", "24h", date(2023, 9, 11)) == 150
    assert [limit("pm2_5", "24h", date(2025, 12, 31)), limit("pm2_5", "24h", date(2026, 1, 1))] == [50, 45]
    assert limit("o3", "year", date(2024, 1, 1)) is None and limit("x", "1h", date(2024, 1, 1)) is None
    assert sorted(QCVN_05)[0] == date(2014, 1, 1)


def test_a_limit_itself_is_allowed_and_its_scale_follows_the_date() -> None:
    scale = PM2_5.scale_at(date(2026, 3, 1), name="qcvn_05_24h")
    assert scale is not None and scale.limits == (45,)
    assert [scale.grades[i].key for i in scale.grade_index([45.0, 45.1])] == ["within", "above"]


def test_an_index_is_graded_as_it_is_rounded() -> None:
    keys = [grade.key for grade in VN_GRADES]
    graded = [VN_AQI.grade(v, date(2024, 1, 1)) for v in (50.4, 50.5, 100, 101, 201, 301)]
    assert [keys.index(grade.key) for grade in graded if grade] == [0, 1, 1, 2, 4, 5]


def test_the_grade_of_a_concentration_is_that_of_its_index() -> None:
    for value in (0.0, 25.0, 25.5, 50.0, 80.0, 81.0, 250.0, 251.0):
        by_value, by_index = (
            PM2_5.grade(value, date(2024, 1, 1)),
            VN_AQI.grade(round_index(float(vn_aqi_part("pm2_5", value))), date(2024, 1, 1)),
        )
        assert by_value is by_index


def test_dust_that_is_finer_than_all_dust_contradicts_it() -> None:
    assert particles_contradict([87.4], [NAN], [0.0]).tolist() == [True]
    assert TSP.minimum > 0, "an hour without any dust is out of range"


def healthyair(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "hcmc/sensors/healthyair_2021_2022.csv")
    # Local time without a zone, the day first.
    frame["time"] = pd.to_datetime(frame["date"], format="%d-%m-%Y %H:%M").dt.tz_localize("Asia/Ho_Chi_Minh")
    return frame.set_index(["Station_No", "time"])


@pytest.mark.city
@pytest.mark.parametrize(("station", "moment", "value", "mean", "part"), [
    (4, "2022-01-04T08:00Z", 186.2033333, 139.50, 192.5),
    (3, "2022-01-04T05:00Z", 87.375, 86.20, 154.4),
    (1, "2022-01-04T01:00Z", 13.96666667, 22.55, 45.1),
])  # fmt: skip
def test_the_checkpoints_of_the_replay_day(
    city_data: Path, station: int, moment: str, value: float, mean: float, part: float
) -> None:
    series = healthyair(city_data).loc[station].loc[:moment].tail(12)
    hours = series["PM2.5"].to_list()[::-1]
    assert len(hours) == 12 and hours[0] == pytest.approx(value)
    assert nowcast(hours) == pytest.approx(mean, abs=0.01)
    assert float(vn_aqi_part("pm2_5", nowcast(hours))) == pytest.approx(part, abs=0.05)
    newest = series.iloc[-1]
    if station == 1:
        assert newest[["O3", "NO2", "SO2"]].isna().all()
    if station == 3:
        assert particles_contradict([newest["PM2.5"]], [NAN], [newest["TSP"]]).all() and newest["TSP"] < TSP.minimum

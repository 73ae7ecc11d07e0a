"""Dates as people write them: the day or the year first, each by itself, and of the city's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks.values import as_type

CITY = ZoneInfo("Asia/Ho_Chi_Minh")
DAYS = st.dates(date(1800, 1, 1), date(2199, 12, 31))
FORMS = ("{0.day}/{0.month}/{0.year}", "{0:%d/%m/%Y}", "{0:%d-%m-%Y}", "{0:%d.%m.%Y}", "{0:%Y-%m-%d}", "{0:%Y/%m/%d}",
         "{0:%Y%m%d}", "{0.year}-{0.month}-{0.day}", " {0:%Y-%m-%d} ", "{0:%Y-%m-%d}T08:30:00", "{0:%d/%m/%Y} 23:59",
         "{0:%Y-%m-%d} 00:30:00+07:00")  # fmt: skip


def as_dates(*values: object) -> list[date | None]:
    found, wrong = as_type(pd.Series(list(values), dtype=object), "date", CITY)
    assert [value is None for value in found] == list(wrong)
    return list(found)


def as_moments(*values: object) -> list[datetime | None]:
    found, wrong = as_type(pd.Series(list(values), dtype=object), "time", CITY)
    assert list(pd.isna(found)) == list(wrong)
    return [None if pd.isna(value) else value.to_pydatetime() for value in found]


@settings(max_examples=200, deadline=None)
@given(days=st.lists(st.tuples(DAYS, st.sampled_from(FORMS)), min_size=1, max_size=12))
def test_every_date_is_read_as_it_is_written_whatever_stands_beside_it(days: list[tuple[date, str]]) -> None:
    assert as_dates(*(form.format(day) for day, form in days)) == [day for day, _ in days]


def test_the_fifth_of_march_is_never_the_third_of_may() -> None:
    assert as_dates("05/03/2024", "25/03/2024", "5-3-2024", "05.03.2024") == [
        date(2024, 3, 5), date(2024, 3, 25), date(2024, 3, 5), date(2024, 3, 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written",
    ["03/25/2024", "31/02/2024", "2024", "03-2024", "5/3/24", "5/3-2024", "hôm qua", "", "2024-03-05 sáng", "2024-03-05T25:00", 1709600000,
     "0000-00-00", "9999999999", "5/3/2024 8 giờ", True, [2024, 3, 5]],
)  # fmt: skip
def test_what_is_no_date_is_not_made_one(written: object) -> None:
    assert as_dates(written) == as_moments(written) == [None]


def test_numbers_and_dates_of_spreadsheets_are_dates() -> None:
    assert (
        as_dates(20240305, 20240305.0, date(2024, 3, 5), datetime(2024, 3, 5, 10), pd.Timestamp("2024-03-05"))
        == [date(2024, 3, 5)] * 5
    )
    assert as_dates(None, float("nan"), pd.NaT, pd.NA) == [None] * 4


@settings(max_examples=200, deadline=None)
@given(
    moment=st.datetimes(datetime(1800, 1, 1), datetime(2199, 12, 31)), hours=st.integers(-12, 14), seconds=st.booleans()
)
def test_a_time_is_of_the_zone_that_it_names_else_of_the_city_s_clock(
    moment: datetime, hours: int, seconds: bool
) -> None:
    moment = moment.replace(microsecond=0, second=moment.second if seconds else 0)
    zone = timezone(timedelta(hours=hours))
    named, local = moment.replace(tzinfo=zone), moment.replace(tzinfo=CITY)
    assert as_moments(named.isoformat(), moment.isoformat(), f"{moment:%d/%m/%Y %H:%M:%S}") == [
        named.astimezone(UTC), local.astimezone(UTC), local.astimezone(UTC)
    ]  # fmt: skip
    # A day is that of the city, of a time that names a zone.
    assert as_dates(named.isoformat(), moment.isoformat()) == [named.astimezone(CITY).date(), moment.date()]


def test_columns_of_times_are_read_as_single_ones_are() -> None:
    text = pd.Series(["2024-03-05T00:30:00", "2024-03-04T18:00:00"])
    naive = pd.to_datetime(text)
    aware = naive.dt.tz_localize("UTC")
    expected = [date(2024, 3, 5), date(2024, 3, 4)]
    assert as_type(naive, "date", CITY)[0].tolist() == expected
    assert as_type(aware, "date", CITY)[0].tolist() == [date(2024, 3, 5), date(2024, 3, 5)]
    moments = np.array(as_type(naive, "time", CITY)[0])
    assert moments.tolist() == np.array(as_type(text, "time", CITY)[0]).tolist()
    assert np.array(as_type(aware, "time", CITY)[0]).tolist() == aware.tolist()

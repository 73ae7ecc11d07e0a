"""Replays: a recorded day again, at its own time or shifted to now, and then never mixed with what was recorded."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.streams.backfill import backfill, description_of
from ingest.streams.declaring import ensure_layers
from ingest.streams.replay import layer_of_replay, replay, timetable
from ingest.streams.service import stream_pool
from tests.conftest import run_async
from tests.streams.test_recordings import DESCRIPTION, entries, values, with_connection
from twin.catalogue.catalogue import LAYER_ID, read_catalogue
from twin.db.database import Database
from twin.errors import BadInput, NotFound
from twin.streams.writer import Written

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
DAY = date(2024, 4, 3)

HOURS = "station,day,hour,dust,total,wind,state\n" + "".join(
    f"1,{day:02}/04/2024,{hour:02}:00,{20 + hour},{60 + hour},{hour},ok\n" for day in (2, 3, 4) for hour in range(24)
)

whens = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "streams.toml").write_text(DESCRIPTION)
    (tmp_path / "air.csv").write_text(HOURS)
    return tmp_path


def play(database: Database, folder: Path, day: date = DAY, speed: float = 0.0, to_now: bool = False) -> Written:
    description = description_of(folder)
    ensure_layers(database, description)

    async def go() -> Written:
        async with stream_pool(database) as pool:
            return await replay(database, pool, description.find("air"), folder, day, speed, ZONE, to_now)

    return run_async(go())


@given(whens, st.timedeltas(timedelta(0), timedelta(days=1)), st.floats(1, 1e6), whens, st.floats(0, 1))
def test_a_shifted_replay_never_writes_the_future_and_ends_now(
    first: datetime, length: timedelta, speed: float, now: datetime, part: float
) -> None:
    last = first + length
    plan = timetable(first, last, speed, now)
    recorded = first + part * length
    clock = now + timedelta(seconds=plan.seconds_until(recorded))
    assert recorded + plan.shift <= clock + timedelta(milliseconds=1)
    end = now + timedelta(seconds=plan.seconds_until(last))
    assert abs(last + plan.shift - end) < timedelta(milliseconds=1)


def test_at_speed_one_each_value_comes_at_its_own_time() -> None:
    first, now = datetime(2024, 4, 3, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    plan = timetable(first, first + timedelta(hours=5), 1, now)
    assert first + plan.shift == now
    assert plan.seconds_until(first + timedelta(hours=2)) == 7200


@pytest.mark.parametrize(("speed", "now"), [(-1, None), (float("nan"), None), (0.5, datetime(2026, 1, 1, tzinfo=UTC))])
def test_a_speed_that_makes_no_sense_is_refused(speed: float, now: datetime | None) -> None:
    with pytest.raises(BadInput):
        timetable(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC), speed, now)


def test_a_replay_writes_the_day_of_the_citys_clock_at_its_own_time(database: Database, folder: Path) -> None:
    written = play(database, folder)
    assert written.new == 72
    found = values(database, "station-1.pm2_5")
    assert (min(found), max(found)) == ("2024-04-02T17:00Z", "2024-04-03T16:00Z")
    assert found["2024-04-03T05:00Z"] == (32, 0)
    assert play(database, folder).repeated == 72


def test_a_replay_keeps_its_pace(database: Database, folder: Path) -> None:
    begun = time.monotonic()
    play(database, folder, speed=23 * 3600 / 2)
    assert 1.9 < time.monotonic() - begun < 6


def test_a_shifted_replay_stands_in_a_layer_of_its_own_that_says_so(database: Database, folder: Path) -> None:
    description = description_of(folder)
    ensure_layers(database, description)
    with_connection(database, lambda c: backfill(c, description.find("air"), folder, str(ZONE)))
    before = values(database, "station-1.pm2_5")
    begun = datetime.now(UTC)
    written = play(database, folder, to_now=True)
    assert (written.new, written.set_aside) == (72, 0)
    assert values(database, "station-1.pm2_5") == before
    with database.session() as session:
        layer = read_catalogue(session)["env.air_replay_20240403"]
    assert layer.title.en == "Không khí (replayed, shifted from 2024-04-03)".replace("Không khí", "Air")
    assert "dời từ 2024-04-03" in layer.title.vi
    shifted = [e for e in entries(database) if e.layer == layer.id]
    assert len(shifted) == 3
    assert all("shifted from 2024-04-03" in e.thing_name for e in shifted)
    told = with_connection(
        database,
        lambda c: c.fetch("SELECT properties::text AS p FROM live.datastream WHERE code LIKE 'replay-20240403:%'"),
    )
    assert all('"shifted_from": "2024-04-03"' in row["p"] for row in told)
    rows = with_connection(
        database,
        lambda c: c.fetch(
            "SELECT o.time, o.value FROM live.observation o JOIN live.datastream d ON d.id = o.stream "
            "WHERE d.code = 'replay-20240403:station-1.pm2_5' ORDER BY o.time"
        ),
    )
    assert [row["value"] for row in rows] == [20 + hour for hour in range(24)]
    assert timedelta(0) <= rows[-1]["time"] - begun < timedelta(seconds=20)


def test_a_second_shifted_replay_begins_anew(database: Database, folder: Path) -> None:
    play(database, folder, to_now=True)
    play(database, folder, to_now=True)
    found = values(database, "replay-20240403:station-1.pm2_5")
    assert len(found) == 24


def test_a_day_without_values_is_said_to_have_none(database: Database, folder: Path) -> None:
    with pytest.raises(NotFound, match="2023-01-01"):
        play(database, folder, day=date(2023, 1, 1))


@given(st.from_regex(LAYER_ID.rstrip("$").lstrip("^"), fullmatch=True), st.dates(date(2000, 1, 1), date(2099, 1, 1)))
def test_the_layer_of_a_replay_has_a_name_that_layers_may_have(layer: str, day: date) -> None:
    from re import match

    assert match(LAYER_ID, layer_of_replay(layer, day))


@pytest.mark.city
def test_the_spring_tide_of_october_2024_is_replayed_to_now(database: Database, city_data: Path) -> None:
    description = description_of(city_data / "hcmc")
    ensure_layers(database, description)

    async def go() -> Written:
        async with stream_pool(database) as pool:
            return await replay(
                database, pool, description.find("phu_an"), city_data / "hcmc", date(2024, 10, 17), 600_000, ZONE, True
            )

    assert run_async(go()).new >= 3
    assert max(v for v, _ in values(database, "replay-20241017:phu-an.water_level").values() if v is not None) == 1.68

"""Recorded files: read as their description says, with everything that cannot be read, placed or believed counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.publish.city import described_city, load_city
from ingest.streams.backfill import BackfillReport, backfill, description_of, source_of
from ingest.streams.declaring import declare, ensure_layers
from ingest.streams.description import StreamDescription, TimeSpec, read_description
from tests.conftest import HOME, ROOT, Quiet, empty_database, run_async
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.flags import Flag
from twin.text import Text, speaking

ZONE = "Asia/Ho_Chi_Minh"

DESCRIPTION = """
[[agency]]
name = "env"
title = { vi = "Môi trường", en = "Environment" }

[[layer]]
id = "env.air"
title = { vi = "Không khí", en = "Air" }
licence = "CC0-1.0"
attribution = "the test"
sharing = "open"

[[source]]
name = "air"
title = { vi = "Không khí", en = "Air" }
file = "air.csv"
layer = "env.air"
thing = "station-{station}"
thing_name = "Station {station}"
attribution = "the test"
missing = ["NA", "-9999"]
place = { note = { vi = "Chưa rõ vị trí.", en = "The place is not known." } }
[source.time]
columns = ["day", "hour"]
format = "%d/%m/%Y %H:%M"
zone = "Asia/Ho_Chi_Minh"
[[source.value]]
column = "dust"
kind = "pm2_5"
[[source.value]]
column = "total"
kind = "tsp"
[[source.value]]
column = "wind"
kind = "wind_speed"
unit = "km/h"
[[source.leave_out]]
where = { state = ["test"] }
reason = { vi = "Chạy thử.", en = "A trial run." }
[[source.suspect]]
columns = ["dust"]
where = { station = ["2"] }
at_least = 400
reason = { vi = "Trần cảm biến.", en = "The sensor's ceiling." }
[[source.check]]
check = "particles"
pm2_5 = "dust"
tsp = "total"
"""

ROWS = """station,day,hour,dust,total,wind,state
1,03/04/2024,07:00,20.5,35,36,ok
1,03/04/2024,08:00,NA,-9999,18,ok
1,13/04/2024,08:00,abc,40,19,ok
1,04/13/2024,08:00,21,40,18,ok
1,03/04/2024,09:00,21,40
2,03/04/2024,07:00,450,500,0,ok
2,03/04/2024,08:00,60,30,0,ok
2,03/04/2024,09:00,60,0,0,ok
2,03/04/2024,10:00,99,99,0,test
,03/04/2024,10:00,99,99,0,ok
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "streams.toml").write_text(DESCRIPTION)
    (tmp_path / "air.csv").write_text(ROWS)
    return tmp_path


def fill_in(database: Database, folder: Path, name: str = "air") -> BackfillReport:
    description = description_of(folder)
    ensure_layers(database, description, [description.find(name)])
    return with_connection(database, lambda c: backfill(c, description.find(name), folder, ZONE))


def with_connection(database: Database, work: Any) -> Any:
    async def go() -> Any:
        connection = await asyncpg.connect(**database.asyncpg_options("writer"))
        try:
            return await work(connection)
        finally:
            await connection.close()

    return run_async(go())


def values(database: Database, code: str) -> dict[str, tuple[float | None, int]]:
    """The values of a stream by UTC time, with their flags."""
    rows = with_connection(
        database,
        lambda c: c.fetch(
            "SELECT o.time, o.value, o.flag FROM live.observation o JOIN live.datastream d ON d.id = o.stream "
            "WHERE d.code = $1", code,
        ),
    )  # fmt: skip
    return {row["time"].strftime("%Y-%m-%dT%H:%MZ"): (row["value"], row["flag"]) for row in rows}


def entries(database: Database) -> list[StreamEntry]:
    return list(with_connection(database, read_entries).values())


# Files --------------------------------------------------------------------------------------------


def test_a_file_is_read_as_its_description_says(database: Database, folder: Path) -> None:
    report = fill_in(database, folder)
    # Day first, local time, and kilometres an hour come in as metres a second.
    assert values(database, "station-1.pm2_5") == {"2024-04-03T00:00Z": (20.5, 0)}
    assert values(database, "station-1.wind_speed")["2024-04-03T00:00Z"] == (pytest.approx(10.0), 0)
    assert report.exit_code == 1
    assert (report.tally.rows, report.written.new, report.tally.values) == (10, 15, 15)


def test_every_row_that_is_not_used_is_counted_with_its_reason_and_line(database: Database, folder: Path) -> None:
    told = fill_in(database, folder).to_dict()
    assert {u["reason"]: (u["count"], u["lines"]) for u in told["unread"]} == {
        "cells": (1, [6]), "time": (1, [5]), "number": (1, [4]), "key": (1, [11]),
    }  # fmt: skip
    assert told["leftOut"] == [{"reason": {"en": "A trial run.", "vi": "Chạy thử."}, "rows": 1}]
    assert told["unplaced"] == [{"reason": {"en": "The place is not known.", "vi": "Chưa rõ vị trí."}, "things": 2}]
    assert told["joinedRows"] == 0


def test_values_that_contradict_each_other_are_flagged_and_a_broken_sensor_proves_nothing(
    database: Database, folder: Path
) -> None:
    report = fill_in(database, folder)
    dust, total = values(database, "station-2.pm2_5"), values(database, "station-2.tsp")
    assert dust["2024-04-03T00:00Z"] == (450, Flag.SUSPECT)
    assert dust["2024-04-03T01:00Z"] == (60, Flag.SUSPECT)
    assert total["2024-04-03T01:00Z"] == (30, Flag.SUSPECT)
    # Zero is no weight of dust: the other value is believed.
    assert dust["2024-04-03T02:00Z"] == (60, 0)
    assert total["2024-04-03T02:00Z"] == (0, Flag.OUT_OF_RANGE)
    assert report.tally.suspected == {0: 1}
    assert report.flags == {Flag.SUSPECT: 3, Flag.OUT_OF_RANGE: 1}


def test_a_second_run_changes_nothing(database: Database, folder: Path) -> None:
    first = fill_in(database, folder)
    before = values(database, "station-2.pm2_5")
    second = fill_in(database, folder)
    assert (second.written.new, second.written.corrected, second.written.repeated) == (0, 0, first.written.new)
    assert values(database, "station-2.pm2_5") == before
    assert second.flags == first.flags


def test_a_corrected_file_corrects_its_values_and_keeps_the_old_ones(database: Database, folder: Path) -> None:
    fill_in(database, folder)
    (folder / "air.csv").write_text(ROWS.replace("07:00,20.5", "07:00,22.5"))
    report = fill_in(database, folder)
    assert report.written.corrected == 1
    assert values(database, "station-1.pm2_5")["2024-04-03T00:00Z"] == (22.5, 0)
    old = with_connection(database, lambda c: c.fetch("SELECT value, corrected_by FROM live.correction"))
    assert [tuple(row) for row in old] == [(20.5, "file air.csv")]


def test_parquet_gives_what_csv_gives(database: Database, folder: Path) -> None:
    import pandas as pd

    frame = pd.read_csv(folder / "air.csv", dtype=str, on_bad_lines="skip", keep_default_na=False)
    frame = frame[frame["wind"] != ""]
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "air.parquet")
    (folder / "streams.toml").write_text(DESCRIPTION.replace("air.csv", "air.parquet"))
    report = fill_in(database, folder)
    assert report.written.new == 15
    assert values(database, "station-1.pm2_5") == {"2024-04-03T00:00Z": (20.5, 0)}


def test_typed_columns_of_parquet_are_read(database: Database, tmp_path: Path) -> None:
    table = pa.table({
        "station": [1, 1], "at": pa.array([datetime(2024, 4, 3, tzinfo=UTC)] * 2, pa.timestamp("ms", "UTC")),
        "dust": [20.5, None],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "air.parquet")
    text = DESCRIPTION.split("[[source]]")[0] + (
        '[[source]]\nname = "air"\ntitle = { vi = "a", en = "a" }\nfile = "air.parquet"\nlayer = "env.air"\n'
        'thing = "station-{station}"\nthing_name = "{station}"\nattribution = "t"\n'
        'place = { point = [106.7, 10.77], note = { vi = "đo", en = "surveyed" } }\n'
        'time = { columns = ["at"], format = "iso" }\n[[source.value]]\ncolumn = "dust"\nkind = "pm2_5"\n'
    )
    (tmp_path / "streams.toml").write_text(text)
    report = fill_in(database, tmp_path)
    assert values(database, "station-1.pm2_5") == {"2024-04-03T00:00Z": (20.5, 0)}
    assert report.exit_code == 0
    (entry,) = entries(database)
    assert (entry.longitude, entry.latitude, entry.note.en) == (106.7, 10.77, "surveyed")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("station,day,hour,dust,total\n", "has no column state, wind"),
        ("", "has no column"),
        ("\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused_in_one_sentence(
    database: Database, folder: Path, content: str, said: str
) -> None:
    (folder / "air.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput) as refused, speaking("en"):
        fill_in(database, folder)
    assert said in refused.value.message.en
    assert refused.value.message.en != refused.value.message.vi


def test_two_things_that_come_to_one_code_are_refused_and_not_mixed(database: Database, folder: Path) -> None:
    (folder / "air.csv").write_text(ROWS.replace("\n2,", "\n1 b,").replace("\n1,", "\n1-b,"))
    with pytest.raises(BadInput, match="station-1"):
        fill_in(database, folder)


def test_streams_of_cells_stand_in_their_cells_and_a_wrong_cell_is_refused(database: Database, folder: Path) -> None:
    place = 'place = { note = { vi = "Chưa rõ vị trí.", en = "The place is not known." } }'
    for cell, good in (("8a65b567514ffff", True), ("8a65", False)):
        (folder / "streams.toml").write_text(DESCRIPTION.replace(place, f'place = {{ cell = "{cell}" }}'))
        if good:
            report = fill_in(database, folder)
            # All but the row of nothing and the one with too few cells.
            assert report.prepared.joined_rows == report.prepared.rows - 2
            assert all(e.is_placed and e.cell for e in entries(database))
        else:
            with pytest.raises(BadInput, match="8a65"):
                fill_in(database, folder)


def test_only_the_layers_of_the_files_are_made_and_an_agency_keeps_its_title(database: Database, folder: Path) -> None:
    more = '[[layer]]\nid = "env.water"\ntitle = { vi = "Nước", en = "Water" }\nlicence = "x"\nattribution = "x"\n'
    (folder / "streams.toml").write_text(DESCRIPTION + more)
    with database.session() as session:
        ensure_agency(session, "env", Text(en="The agency's own", vi="Tên riêng"))
    fill_in(database, folder)
    with database.session() as session:
        layers = read_catalogue(session)
    assert set(layers) == {"env.air"}
    assert layers["env.air"].agency.title.en == "The agency's own"


def test_the_source_of_a_file_is_found_by_its_name(folder: Path) -> None:
    description = description_of(folder)
    assert source_of(description, Path("elsewhere/air.csv")).name == "air"
    with pytest.raises(BadInput, match="--source"):
        source_of(description, Path("water.csv"))


# Times --------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))
def test_days_come_first_where_they_are_declared_first(moment: datetime) -> None:
    parse = TimeSpec(columns=("t",), format="%d-%m-%Y %H:%M", zone=ZONE).parser()
    found = parse(moment.strftime("%d-%m-%Y %H:%M"))
    assert found.replace(tzinfo=None) == moment.replace(second=0, microsecond=0)
    assert found.utcoffset().total_seconds() == 7 * 3600  # type: ignore[union-attr]


def test_a_time_without_a_zone_is_refused_where_none_is_declared() -> None:
    parse = TimeSpec(columns=("t",), format="iso").parser()
    assert parse("2024-10-18T17:00:00+07:00") == datetime(2024, 10, 18, 10, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        parse("2024-10-18T17:00:00")


def test_a_file_of_hours_stands_on_its_typical_day() -> None:
    parse = TimeSpec(columns=("p",), format="period_%H_%M", zone=ZONE, day=date(2000, 1, 1)).parser()
    assert parse("period_7_30") == datetime(2000, 1, 1, 0, 30, tzinfo=UTC)


# Descriptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "en", "vi"),
    [
        ('kind = "tsp"', 'kind = "dust"', "At source.1.value.2: nothing called 'dust' is observed", "không có đại lượng"),
        ('unit = "km/h"', 'unit = "kph"', "not a unit of wind_speed; known units (UCUM): m/s", "không phải đơn vị"),
        ('zone = "Asia/Ho_Chi_Minh"', 'zone = "Saigon"', "there is no time zone", "không có múi giờ"),
        ('attribution = "the test"\nmissing', "missing", "At source.1.attribution: this has to be given", "bắt buộc"),
        ('format = "', 'fromat = "', "format: this has to be given", "bắt buộc"),
        ("at_least", "atleast", "there is no such setting", "không có mục này"),
        ('columns = ["dust"]', 'columns = ["pm"]', "'pm' is not the column of a value", "không phải cột giá trị"),
        ('place = { note', 'place = { point = [1, 2], cell = "8a", note', "give one of feature, cell, point", "chỉ nêu một"),
        ('id = "env.air"', 'id = "Env"', "has not the form", "không đúng dạng"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_description_is_named_with_its_place_and_what_to_do(
    tmp_path: Path, before: str, after: str, en: str, vi: str
) -> None:
    assert before in DESCRIPTION
    (tmp_path / "mine.toml").write_text(DESCRIPTION.replace(before, after))
    with pytest.raises(BadInput) as refused:
        read_description(tmp_path / "mine.toml")
    assert en in refused.value.message.en
    assert vi in refused.value.message.vi
    assert "mine.toml" in refused.value.message.en


def test_a_place_is_a_feature_a_point_with_its_source_or_nothing_with_the_reason(tmp_path: Path) -> None:
    bare = DESCRIPTION.replace(
        'place = { note = { vi = "Chưa rõ vị trí.", en = "The place is not known." } }', "place = {}"
    )
    (tmp_path / "mine.toml").write_text(bare)
    with pytest.raises(BadInput, match="add a note"):
        read_description(tmp_path / "mine.toml")


def test_the_sample_description_declares_devices_with_and_without_places(database: Database) -> None:
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Môi trường"))
        ensure_layer(session, LayerEntry("environment.sensors", "sensors", Text(en="S", vi="S"), sharing=Sharing.OPEN))
    description = read_description(ROOT / "ingest" / "cities" / "sample.streams.toml")
    report = with_connection(database, lambda c: declare(c, description))
    assert report.streams == {"environment.sensors": 4}
    assert (report.things, report.unplaced) == (3, 2)
    by_code = {e.code: e for e in entries(database)}
    assert by_code["rain-1.rain"].note.en == "Coordinates declared by whoever installed it."
    assert not by_code["air-1.pm2_5"].is_placed
    assert by_code["gauge-1.water_level"].note.en == "The layer environment.sensors has no feature “n0-0”."
    # The second time nothing is added.
    again = with_connection(database, lambda c: declare(c, description))
    assert again.ids == report.ids


# The city's own files ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(cluster: PrivateCluster, migrated_template: str, city_data: Path) -> Iterator[tuple[Database, Path]]:
    """The wards and traffic segments of the real city, which recorded streams join."""
    folder = city_data / "hcmc"
    with empty_database(cluster, migrated_template) as database:
        whole = described_city(folder)
        needed = ("planning.wards", "transport.traffic_segments")
        part = replace(whole, layers=[layer for layer in whole.layers if layer.entry.id in needed])
        loaded = load_city(database, part, Settings(home=HOME, database=database.url.database), Quiet())
        assert not loaded.refused
        yield database, folder


def real_report(real: tuple[Database, Path], name: str) -> BackfillReport:
    return fill_in(real[0], real[1], name)


@pytest.mark.city
def test_healthyair_is_read_day_first_unplaced_and_flagged(real: tuple[Database, Path]) -> None:
    report = real_report(real, "healthyair")
    assert (report.tally.rows, report.prepared.joined_rows, report.prepared.declared.unplaced) == (52_548, 0, 6)
    assert not report.tally.unread.counts
    of = values
    assert of(real[0], "healthyair-4.pm2_5")["2022-01-04T08:00Z"] == (pytest.approx(186.2033333), 0)
    assert of(real[0], "healthyair-3.pm2_5")["2022-01-04T05:00Z"] == (87.375, 0)
    assert of(real[0], "healthyair-1.pm2_5")["2022-01-04T01:00Z"] == (pytest.approx(13.96666667), 0)
    assert of(real[0], "healthyair-3.tsp")["2022-01-04T05:00Z"][1] & Flag.OUT_OF_RANGE
    # Absent, and not zero.
    assert "2022-01-04T01:00Z" not in of(real[0], "healthyair-1.o3")
    stuck = of(real[0], "healthyair-4.temperature").values()
    assert sum(value == 20.4 and bool(flag & Flag.STUCK) for value, flag in stuck) > 8_000
    assert all(flag & Flag.SUSPECT for _, flag in of(real[0], "healthyair-2.so2").values())
    assert report.tally.suspected[1] == 942


@pytest.mark.city
def test_high_and_low_waters_of_phu_an_have_their_checkpoints_and_no_place(real: tuple[Database, Path]) -> None:
    report = real_report(real, "phu_an")
    assert (report.tally.rows, report.written.new, report.prepared.declared.unplaced) == (501, 501, 1)
    assert report.exit_code == 0
    found = values(real[0], "phu-an.water_level")
    assert found["2024-10-17T09:30Z"] == (1.68, 0)
    assert found["2024-10-18T04:30Z"] == (-1.23, 0)
    assert found["2024-10-18T10:00Z"] == (1.70, 0)
    assert max(value for value, _ in found.values() if value is not None) == 1.70
    kinds = with_connection(real[0], lambda c: c.fetch("SELECT parameters->>'kind' AS k, count(*) AS n "
                                                       "FROM live.observation_detail GROUP BY 1"))  # fmt: skip
    assert {row["k"]: row["n"] for row in kinds} == {"high": 251, "low": 250}


@pytest.mark.city
def test_weather_is_a_model_in_our_units(real: tuple[Database, Path]) -> None:
    report = real_report(real, "weather")
    assert report.tally.rows == 11_208
    rain = values(real[0], "weather.rain")
    assert (rain["2025-08-14T07:00Z"], rain["2025-08-14T08:00Z"]) == ((9.2, 0), (18.8, 0))
    assert values(real[0], "weather.temperature")["2025-08-14T06:00Z"] == (31.9, 0)
    assert values(real[0], "weather.wind_speed")["2024-10-31T17:00Z"] == (pytest.approx(7.7 / 3.6), 0)
    assert {e.basis for e in entries(real[0]) if e.layer == "environment.weather"} == {"modelled"}


@pytest.mark.city
def test_ward_days_join_the_wards_and_keep_their_sources_apart(real: tuple[Database, Path]) -> None:
    report = real_report(real, "air_daily")
    assert (report.tally.rows, report.prepared.joined_rows, report.prepared.declared.things) == (2_215, 2_215, 167)
    assert report.written.repeated == 0
    found = [e for e in entries(real[0]) if e.layer == "planning.wards"]
    assert all(e.is_placed and e.fid is not None for e in found)
    assert values(real[0], "air-27496-aqiin.ward_pm2_5")["2026-05-25T17:00Z"] == (pytest.approx(7.5454545), 0)


@pytest.mark.city
def test_a_typical_day_stands_on_the_segments_that_exist_and_says_what_does_not_join(
    real: tuple[Database, Path],
) -> None:
    report = real_report(real, "street_los")
    assert (report.tally.rows, report.prepared.joined_rows) == (8_290, 6_849)
    things = report.prepared.declared
    assert (things.things, things.things - things.unplaced) == (1_967, 1_559)
    morning = with_connection(
        real[0],
        lambda c: c.fetch(
            "SELECT t.feature_id AS way, o.value FROM live.observation o JOIN live.datastream d ON d.id = o.stream "
            "JOIN live.thing t ON t.id = d.thing_id WHERE o.time = '2000-01-01T07:30+07' AND t.fid IS NOT NULL"
        ),
    )  # fmt: skip
    at = {row["way"]: row["value"] for row in morning}
    assert len(at) == 161
    assert (at["way/32575943"], at["way/405259808"]) == (1.0, 2.2)


@pytest.mark.city
def test_no_row_of_the_segments_joins_and_the_random_dumps_are_flagged(real: tuple[Database, Path]) -> None:
    report = real_report(real, "segment_status")
    assert (report.tally.rows, report.prepared.joined_rows) == (90_938, 0)
    assert report.tally.suspected == {0: 36_091}
    assert report.flags[Flag.SUSPECT] == 36_091
    with speaking("en"):
        told = [str(line) for line in report.lines()]
    assert "0 of 90,938 rows have a place on the map." in told
    assert any("0 to 40" in line and "36,091" in line for line in told)
    assert values(real[0], "segment-6324.traffic_speed")["2020-12-24T00:19Z"] == (28, 0)
    exact = datetime(2020, 12, 24, 3, 32, 33, 227_000, tzinfo=UTC)
    (row,) = with_connection(
        real[0],
        lambda c: c.fetch(
            "SELECT o.value FROM live.observation o JOIN live.datastream d ON d.id = o.stream "
            "WHERE d.code = 'segment-72534.traffic_speed' AND o.time = $1", exact,
        ),
    )  # fmt: skip
    assert row["value"] == 46


def test_the_description_of_the_city_can_be_read_without_its_files() -> None:
    description = read_description(ROOT / "ingest" / "cities" / "hcmc.streams.toml")
    assert isinstance(description, StreamDescription)
    assert {s.name for s in description.source} == {
        "healthyair", "air_daily", "weather", "phu_an", "street_los", "segment_status",
    }  # fmt: skip

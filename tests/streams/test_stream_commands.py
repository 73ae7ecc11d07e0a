"""`twin ingest stream`: its commands as people run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import HOME, ROOT
from tests.streams.test_recordings import DESCRIPTION, ROWS, values
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.text import Text

COMMANDS = ("declare", "list", "run", "backfill", "replay", "simulate", "export")


def environment(database: Database | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")}
    named = {"TWIN_DATABASE": str(database.url.database)} if database else {}
    return kept | {"TWIN_HOME": str(HOME), "LC_ALL": "C.UTF-8", **named}


def stream(database: Database | None, *arguments: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "twin", "--lang", lang, "ingest", "stream", *arguments],
        env=environment(database), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "streams.toml").write_text(DESCRIPTION)
    (tmp_path / "air.csv").write_text(ROWS)
    return tmp_path


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_every_command_helps_with_an_example(lang: str) -> None:
    for command in COMMANDS:
        told = stream(None, command, "--help", lang=lang).stdout
        assert f"twin ingest stream {command}" in told
        assert ("Example" if lang == "en" else "Ví dụ") in told


def test_a_folder_is_back_filled_and_the_report_is_for_people_and_machines(database: Database, folder: Path) -> None:
    first = stream(database, "backfill", "--data", str(folder))
    assert first.returncode == 1, first.stderr
    assert "15 new, 0 repeated" in first.stdout
    assert "Not read, 1: the time has not the declared form (line 5)." in first.stdout
    again = stream(database, "backfill", "--data", str(folder), lang="vi")
    assert "0 mới, 15 lặp lại" in again.stdout
    told = json.loads(stream(database, "backfill", str(folder / "air.csv"), "--json").stdout)
    assert (told[0]["source"], told[0]["new"], told[0]["repeated"]) == ("air", 0, 15)


def test_a_clean_file_ends_with_zero(database: Database, folder: Path) -> None:
    (folder / "air.csv").write_text("\n".join(ROWS.splitlines()[:2]) + "\n")
    assert stream(database, "backfill", "--data", str(folder)).returncode == 0


def test_wrong_input_is_one_sentence_and_the_code_two(database: Database, folder: Path) -> None:
    (folder / "streams.toml").write_text(DESCRIPTION.replace('kind = "tsp"', 'kind = "dust"'))
    refused = stream(database, "backfill", "--data", str(folder))
    assert refused.returncode == 2
    assert "At source.1.value.2" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stream(database, "backfill").returncode == 2


def test_a_layer_that_is_missing_is_named_and_the_code_three(database: Database, folder: Path) -> None:
    (folder / "streams.toml").write_text(DESCRIPTION.replace('layer = "env.air"', 'layer = "env.other"'))
    missing = stream(database, "backfill", "--data", str(folder))
    assert missing.returncode == 3
    assert "There is no layer “env.other”." in missing.stderr


def test_a_file_that_cannot_be_used_does_not_keep_the_others_out(database: Database, folder: Path) -> None:
    source = "[[source]]" + DESCRIPTION.split("[[source]]", 1)[1]
    other = source.replace('name = "air"', 'name = "gone"').replace("air.csv", "gone.csv")
    before = DESCRIPTION.split("[[source]]", 1)[0]
    (folder / "streams.toml").write_text(before + other + source)
    told = stream(database, "backfill", "--data", str(folder), "--json")
    assert told.returncode == 2
    assert "gone.csv" in told.stderr
    assert [(one["source"], one.get("new")) for one in json.loads(told.stdout)] == [("gone", None), ("air", 15)]


def test_unplaced_streams_stand_in_a_list_with_the_reason(database: Database, folder: Path) -> None:
    stream(database, "backfill", "--data", str(folder))
    told = stream(database, "list", "--unplaced").stdout
    assert "env.air" in told
    assert "The place is not known." in told
    found = json.loads(stream(database, "list", "--layer", "env.air", "--json").stdout)
    assert len(found) == 6
    assert not any(entry["placed"] for entry in found)


def test_streams_of_devices_are_declared_from_a_file(database: Database) -> None:
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Môi trường"))
        ensure_layer(session, LayerEntry("environment.sensors", "sensors", Text(en="S", vi="S"), sharing=Sharing.OPEN))
    sample = str(ROOT / "ingest" / "cities" / "sample.streams.toml")
    told = stream(database, "declare", sample)
    assert told.returncode == 0, told.stderr
    assert "environment.sensors: 4 streams" in told.stderr
    assert json.loads(stream(database, "declare", sample, "--json").stdout)["unplaced"] == 2


def test_a_day_is_replayed_at_once(database: Database, folder: Path) -> None:
    told = stream(
        database, "replay", "--data", str(folder), "--source", "air", "--day", "2024-04-03", "--speed", "0", "--json"
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["new"] == 13
    unknown = stream(database, "replay", "--data", str(folder), "--source", "water", "--day", "2024-04-03")
    assert unknown.returncode == 2
    assert "Described are: air." in unknown.stderr


def test_ctrl_c_ends_a_replay_cleanly(database: Database, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "twin", "--lang", "en", "ingest", "stream", "replay", "--data", str(folder),
         "--source", "air", "--day", "2024-04-03", "--speed", "1"],
        env=environment(database), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    # The first hour is written at once; the second is an hour away.
    while not values(database, "station-2.pm2_5") and time.monotonic() < deadline:
        time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Stopped." in told
    assert "Traceback" not in told
    assert set(values(database, "station-2.pm2_5")) == {"2024-04-03T00:00Z"}


def test_a_city_without_layers_is_simulated_as_far_as_it_goes(database: Database) -> None:
    told = stream(database, "simulate", "--once")
    assert told.returncode == 0, told.stderr
    assert "no traffic is simulated" in told.stderr
    found = json.loads(stream(database, "list", "--json").stdout)
    assert {entry["kind"] for entry in found} == {"rain", "pm2_5", "pm10", "no2", "o3", "temperature", "humidity"}
    assert {entry["basis"] for entry in found} == {"simulated"}


def test_the_service_ends_cleanly_when_it_is_told_to(database: Database) -> None:
    environ = environment(database) | {"TWIN_MQTT_URL": ""}
    # No broker is looked for where an address is given; none answers at this one, and the service says so and waits.
    environ["TWIN_MQTT_URL"] = "mqtt://127.0.0.1:9"
    process = subprocess.Popen(
        [sys.executable, "-m", "twin", "--lang", "en", "ingest", "stream", "run"],
        env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert "Traceback" not in told
    assert "does not answer yet" in told

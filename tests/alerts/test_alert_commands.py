"""`twin ingest alerts`: its commands as people run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.alerts.test_rule_files import GOOD
from tests.alerts.worlds import alerting
from tests.conftest import HOME, ROOT, run_async
from tests.streams.worlds import declared, describe
from twin.db.database import Database

COMMANDS = ("load", "rules", "list", "ack", "close", "test")
SILENT = """
[[rule]]
name = "silent"
agency = "env"
severity = "serious"
title = { en = "Silent", vi = "Mất tín hiệu" }
streams = { codes = ["st-*"] }
when = { type = "silence", seconds = 600 }

[[rule]]
name = "many"
agency = "env"
severity = "information"
title = { en = "{value} gauges", vi = "{value} trạm" }
streams = { codes = ["st-*"] }
when = { type = "aggregate", of = "count", raise_at = 1, clear_at = 0.5, clear_seconds = 0 }
"""


def environment(database: Database | None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")}
    named = {"TWIN_DATABASE": str(database.url.database)} if database else {}
    return kept | {"TWIN_HOME": str(HOME), "LC_ALL": "C.UTF-8", **named}


def alerts(database: Database | None, *arguments: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "twin", "--lang", lang, "ingest", "alerts", *arguments],
        env=environment(database), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def fill(database: Database) -> None:
    """An hour of values of one gauge, high in its middle."""
    describe(database)

    async def work() -> None:
        async with alerting(database, streams=(declared("st-1"),)) as a:
            await a.write("st-1", *((float(m), 150.0 if 10 <= m < 30 else 20.0) for m in range(45)))

    run_async(work())


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_every_command_helps_with_an_example(lang: str) -> None:
    for command in COMMANDS:
        told = alerts(None, command, "--help", lang=lang).stdout
        assert f"twin ingest alerts {command}" in told
        assert ("Example" if lang == "en" else "Ví dụ") in told


def test_rules_are_tried_loaded_and_their_incidents_closed(database: Database, tmp_path: Path) -> None:
    fill(database)
    file = tmp_path / "env.alerts.toml"
    file.write_text(GOOD + SILENT)
    tried = json.loads(alerts(database, "test", str(file), "--json").stdout)
    assert {one["rule"]: len(one["incidents"]) for one in tried} == {"dust": 1, "silent": 1, "many": 1}
    (dust,) = tried[0]["incidents"]
    assert dust["value"] == 150.0 and dust["until"] is not None
    assert "dust: 1 incidents on 1 streams" in alerts(database, "test", str(file)).stdout
    assert json.loads(alerts(database, "rules", "--json").stdout) == [], "nothing was stored"

    lower = GOOD.replace("raise_at = 100", "raise_at = 10").replace("clear_at = 80", "clear_at = 5")
    file.write_text(lower.replace("seconds = 600", "seconds = 60"))
    told = alerts(database, "load", str(file), lang="vi")
    assert (told.returncode, told.stdout) == (0, "env/dust: mới\n")
    assert json.loads(alerts(database, "load", str(file), "--json").stdout)[0]["result"] == "same"
    assert "dust" in alerts(database, "rules").stdout

    async def raise_it() -> None:
        async with alerting(database, streams=(declared("st-1"),)) as a:
            await a.write("st-1", (46, 30.0), (48, 30.0))

    run_async(raise_it())
    (found,) = json.loads(alerts(database, "list", "--json").stdout)
    number = str(found["id"])
    assert alerts(database, "ack", number, "--note", "looked at").returncode == 0
    assert "acknowledged" in alerts(database, "list").stdout
    assert alerts(database, "close", number).returncode == 0
    assert alerts(database, "close", number).returncode == 3
    assert json.loads(alerts(database, "list", "--json").stdout) == []
    assert len(json.loads(alerts(database, "list", "--all", "--json").stdout)) == 1


def test_a_wrong_file_is_one_sentence_and_the_code_two(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "env.alerts.toml"
    for text in (GOOD.replace("raise_at = 100", "raise_at = 'x'"), GOOD.replace("pm2_5", "dust")):
        file.write_text(text)
        refused = alerts(database, "load", str(file))
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "Traceback" not in refused.stderr
    file.write_text(GOOD.replace('agency = "env"', 'agency = "env"\nwebhook = "https://127.0.0.1/"'))
    assert "TWIN_WEBHOOK_HOSTS" in alerts(database, "load", str(file)).stderr


def test_the_service_notices_silence_within_two_seconds_of_its_limit(database: Database, tmp_path: Path) -> None:
    fill(database)
    file = tmp_path / "env.alerts.toml"
    file.write_text("version = 1\n" + SILENT.split("[[rule]]")[0] + "[[rule]]" + SILENT.split("[[rule]]")[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "twin", "--lang", "en", "ingest", "stream", "run"],
        env=environment(database) | {"TWIN_MQTT_URL": "mqtt://127.0.0.1:9"}, cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        time.sleep(4)
        # The last value is older than ten minutes only if five more have passed since: the rule says so at once.
        file.write_text(file.read_text().replace("600", "60"))
        assert alerts(database, "load", str(file)).returncode == 0
        time.sleep(2.5)
        (found,) = json.loads(alerts(database, "list", "--json").stdout)
        assert found["rule"] == "silent"
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert "Traceback" not in told

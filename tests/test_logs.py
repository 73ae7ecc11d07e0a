"""Logs: one format for all programs, and the request or the job in each line that belongs to one."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, serving
from tests.uploads.programs import eventually
from twin.db.database import Database, libpq
from twin.logs import JsonFormatter, TextFormatter, log_context

TILE = "/tiles/construction.buildings/15/26104/15382.mvt"


def lines(log: Path) -> list[dict[str, Any]]:
    """The lines of a log that are JSON objects; the others are what programs say to people."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("twin.test").makeRecord("twin.test", logging.INFO, "", 0, message, (), None, extra=extra)


@given(message=st.text(), value=st.text() | st.integers() | st.none(), job=st.text())
def test_whatever_is_logged_is_one_json_object_in_one_line_of_ascii(message: str, value: object, job: str) -> None:
    with log_context(job=job):
        line = JsonFormatter().format(record(message, value=value))
    assert line.isascii() and line.isprintable()
    written = json.loads(line)
    assert written["message"] == message and written["value"] == value and written["job"] == job
    assert written["level"] == "INFO" and written["logger"] == "twin.test" and written["time"].endswith("+00:00")


@given(message=st.text(), value=st.text())
def test_text_for_a_terminal_is_one_line_that_cannot_steer_it(message: str, value: str) -> None:
    line = TextFormatter().format(record(message, value=value))
    assert line.isprintable() and " INFO twin.test: " in line and " value=" in line


def test_fields_hold_within_their_block_only_and_add_to_those_around_it() -> None:
    with log_context(request_id="a"):
        with log_context(job="b"):
            inner = json.loads(JsonFormatter().format(record("")))
        outer = json.loads(JsonFormatter().format(record("")))
    assert (inner["request_id"], inner["job"]) == ("a", "b")
    assert outer["request_id"] == "a" and "job" not in outer


@pytest.mark.parametrize(
    ("setting", "terminal", "is_json"),
    [("", True, False), ("", False, True), ("json", True, True), ("text", False, False)],
)
def test_a_terminal_gets_text_and_a_file_json_unless_the_setting_says_otherwise(
    setting: str, terminal: bool, is_json: bool
) -> None:
    reads, writes = os.openpty() if terminal else os.pipe()
    script = "import logging; from twin.logs import set_up_logging; set_up_logging(); logging.warning('a word')"
    environment = {k: v for k, v in os.environ.items() if k != "TWIN_LOG"} | ({"TWIN_LOG": setting} if setting else {})
    subprocess.run([sys.executable, "-c", script], env=environment, stderr=writes, cwd=ROOT, check=True)
    os.close(writes)
    line = os.read(reads, 4096).decode()
    os.close(reads)
    assert "a word" in line and line.startswith("{") == is_json


def test_each_line_of_a_request_has_its_id_which_the_answer_names_too(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    name = database.url.database
    with serving(database, log) as server:
        # The roles of the server are let in no more, and those that are in are sent away.
        with psycopg.connect(libpq(database.url), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )
            answer = httpx.get(f"{server.url}/health", headers={"X-Request-ID": "from-a-proxy.7"}, timeout=30)
            other = httpx.get(f"{server.url}/nothing/here")
            away = httpx.get(f"{server.url}/cells/at?lng=106.7&lat=10.77", timeout=30)
            connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        eventually(lambda: httpx.get(f"{server.url}/health", timeout=5).status_code == 200)
    assert answer.status_code == 503 and answer.headers["x-request-id"] == "from-a-proxy.7"
    assert away.status_code == 503 and away.json()["request_id"] == away.headers["x-request-id"]
    # A problem of the request is the same document for the same request.
    assert "request_id" not in other.json() and other.headers["x-request-id"]
    # Whatever the program said, it said as JSON.
    assert all(line.startswith("{") for line in log.read_text().splitlines()), log.read_text()


def test_a_request_that_takes_long_is_logged_with_its_id_and_without_its_query(
    sample_database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with serving(sample_database, log, settings={"TWIN_SLOW_SECONDS": "0.000001"}) as server:
        reply = httpx.get(f"{server.url}{TILE}?", headers={"X-Request-ID": "mine.1"})
        httpx.get(f"{server.url}/collections?key=secret", headers={"X-Request-ID": "two words"})
    assert reply.status_code == 200
    requests = [line for line in lines(log) if line["logger"] == "twin.requests"]
    (mine,) = [line for line in requests if line["request_id"] == "mine.1"]
    assert (mine["status"], mine["path"], mine["method"]) == (200, TILE, "GET") and mine["seconds"] > 0
    assert all(line["request_id"] for line in requests) and "two words" not in log.read_text()
    assert "secret" not in log.read_text()

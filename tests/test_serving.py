"""`twin serve` with several processes: what dies is started again, and a crash loop ends with a sentence."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.uploads.programs import Programs, _children, eventually
from twin.db.database import Database


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Programs:
    return Programs(database, tmp_path, {"TWIN_WORKERS": "2"})


def serving(server: Programs, pid: int) -> list[int]:
    """The processes that answer requests."""
    return [child for child in _children(pid) if b"serve" in command_of(child)]


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_server_process_that_is_killed_again_and_again_is_replaced_and_the_others_answer(server: Programs) -> None:
    process = server.serve()
    failed = 0
    try:
        eventually(lambda: len(serving(server, process.pid)) == 2)
        survivor = serving(server, process.pid)[1]
        for _ in range(3):
            eventually(lambda: len(serving(server, process.pid)) == 2)
            (victim,) = set(serving(server, process.pid)) - {survivor}
            # Again within seconds: that is no crash loop.
            os.kill(victim, signal.SIGKILL)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                try:
                    failed += httpx.get(f"{server.url}/health/live", timeout=5).status_code != 200
                except httpx.TransportError:
                    failed += 1
                time.sleep(0.05)
            eventually(lambda gone=victim: gone not in serving(server, process.pid))
            assert survivor in serving(server, process.pid) and process.poll() is None
        eventually(lambda: len(serving(server, process.pid)) == 2)
        eventually(lambda: httpx.get(f"{server.url}/health", timeout=5).status_code == 200)
        # A connection that was just given to the killed process is lost with it.
        assert failed <= 3
        assert "starting it again" in server.log.read_text()
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_crash_loop_ends_with_a_sentence(server: Programs) -> None:
    process = server.serve()
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        for child in serving(server, process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.1)
    assert process.wait(20) == 3
    output = server.log.read_text()
    assert "so it gave up" in output and "Traceback" not in output

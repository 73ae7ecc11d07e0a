"""`twin demo` as a person runs it: from nothing to a map, stopped by Ctrl-C, quick the second time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import HOME, free_port
from twin.db.cluster import PrivateCluster

READY = "The city is at"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home in a path with a blank and tone marks, beside the test cluster's."""
    folder = HOME.parent / f"bản đồ thử {os.getpid()}" / ".twin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    yield folder
    PrivateCluster(folder).stop()
    shutil.rmtree(PrivateCluster(folder).data, ignore_errors=True)
    shutil.rmtree(folder.parent)


@contextmanager
def demo(home: Path, port: int, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the demo until it says where the city is; give the process and what it said so far."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LANG", "LC_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "twin", "demo", "--buildings", "300", "--port", str(port), *options],
        cwd=home.parent, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C" in line:
                break
        yield process, said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def test_a_demo_goes_from_nothing_to_a_map_and_ctrl_c_stops_all_of_it(home: Path) -> None:
    home.mkdir()
    port = free_port()
    with demo(home, port) as (process, said):
        text = "".join(said)
        assert READY in text and f"http://127.0.0.1:{port}/" in text
        assert "[1/3]" in text and "[2/3]" in text and "[3/3]" in text
        assert "construction.buildings" in text
        assert status(f"http://127.0.0.1:{port}/") == status(f"http://127.0.0.1:{port}/deck.json") == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
    assert PrivateCluster(home).status() == "stopped"
    with pytest.raises(OSError):
        status(f"http://127.0.0.1:{port}/health")

    started = time.monotonic()
    with demo(home, port) as (process, said):
        text = "".join(said)
        assert "0 layers published, 17 unchanged" in text
        assert time.monotonic() - started < 60
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    assert PrivateCluster(home).status() == "stopped"


def test_two_cities_stand_side_by_side_in_one_home(home: Path) -> None:
    home.mkdir()
    with demo(home, free_port()) as (process, _):
        process.send_signal(signal.SIGINT)
        process.wait(90)
    with demo(home, free_port(), "--buildings", "350") as (process, said):
        assert "17 layers published" in "".join(said)
        process.send_signal(signal.SIGINT)
        process.wait(90)

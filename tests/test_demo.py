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
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import HOME, free_port
from tests.uploads.programs import eventually
from twin import supervision
from twin.db.cluster import PrivateCluster
from twin.errors import SetupProblem
from twin.supervision import Program, running
from twin.text import Text

READY = "The city is at"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home in a path with a blank and tone marks, beside the test cluster's; a demo goes on with what another made."""
    folder = HOME.parent / f"bản đồ thử {os.getpid()}" / ".twin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    PrivateCluster(folder).stop()
    shutil.rmtree(PrivateCluster(folder).data, ignore_errors=True)
    shutil.rmtree(folder.parent)


@contextmanager
def demo(home: Path, port: int, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the demo until it says where the city is; give the process and what it printed so far."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LANG", "LC_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "twin", "demo", "--buildings", "300", "--port", str(port), *options],
        cwd=home.parent, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    output: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            output.append(line)
            if "Ctrl-C" in line:
                break
        yield process, output
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def test_a_demo_goes_from_nothing_to_a_map_and_ctrl_c_stops_all_of_it(home: Path) -> None:
    port = free_port()
    with demo(home, port) as (process, output):
        text = "".join(output)
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
    with demo(home, port) as (process, output):
        text = "".join(output)
        assert "0 layers published, 17 unchanged" in text
        assert time.monotonic() - started < 60
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    assert PrivateCluster(home).status() == "stopped"


def test_what_dies_in_a_demo_is_started_again_with_a_word(home: Path) -> None:
    port = free_port()
    with demo(home, port) as (process, output):
        assert "503" not in "".join(output) and "WARNING" not in "".join(output)
        assert process.stderr is not None
        Thread(target=output.extend, args=(process.stderr,), daemon=True).start()
        server, worker = programs_of(process.pid, "serve"), programs_of(process.pid, "worker")
        postmaster = int((PrivateCluster(home).data / "postmaster.pid").read_text().split("\n")[0])
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: programs_of(process.pid, "worker") not in (0, worker))
        os.kill(postmaster, signal.SIGKILL)
        eventually(lambda: "The database ended by itself" in "".join(output))
        eventually(lambda: healthy(port), 60)
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        os.kill(server, signal.SIGKILL)
        # Its processes do not go on answering beside the next one's.
        eventually(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))
        eventually(lambda: programs_of(process.pid, "serve") not in (0, server))
        eventually(lambda: healthy(port), 60)
        text = "".join(output)
        assert all(f"The {part} ended by itself and is started again" in text for part in ("worker", "server"))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
    assert PrivateCluster(home).status() == "stopped"


def test_two_cities_stand_side_by_side_in_one_home(home: Path) -> None:
    # The first is there already, unless this test runs alone.
    if PrivateCluster(home).status() == "absent":
        with demo(home, free_port()) as (process, _):
            process.send_signal(signal.SIGINT)
            process.wait(90)
    with demo(home, free_port(), "--buildings", "350") as (process, output):
        assert "17 layers published" in "".join(output)
        process.send_signal(signal.SIGINT)
        process.wait(90)


def programs_of(demo: int, command: str) -> int:
    """The process of a demo that runs this command, or 0."""
    for child in Path(f"/proc/{demo}/task/{demo}/children").read_text().split():
        with suppress(OSError):
            if command.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    return 0


def healthy(port: int) -> bool:
    with suppress(OSError):
        return status(f"http://127.0.0.1:{port}/health") == 200
    return False


class Broken:
    """A part of a demo that never runs for long."""

    name = Text(en="The part", vi="Bộ phận")

    def __init__(self) -> None:
        self.starts = 0

    def start(self) -> None:
        self.starts += 1

    def runs(self) -> bool:
        return False

    def stop(self) -> None:
        return None


def test_a_part_that_ends_again_and_again_is_given_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twin.supervision.PAUSES", (0.0,) * 4)
    part = Broken()
    with pytest.raises(SetupProblem, match="The part ended by itself 5 times"), running([part]) as watch:
        for _ in range(20):
            watch.look()
    assert part.starts == 5


def test_a_demo_shows_the_city_without_the_layers_that_cannot_be_loaded_names_them_and_ends_with_a_code_of_its_own(
    home: Path, tmp_path: Path
) -> None:
    from tests.test_city_load import LAMPS, MINIMAL

    layer = MINIMAL[MINIMAL.index("[[layer]]") :].replace("transport.lamps", "transport.bulbs")
    (tmp_path / "city.toml").write_text(MINIMAL + layer.replace("lamps.csv", "gone.csv"))
    (tmp_path / "lamps.csv").write_text(LAMPS)
    with demo(home, free_port(), "--data", str(tmp_path)) as (process, lines):
        text = "".join(lines)
        assert READY in text and "transport.bulbs" in text and "gone.csv" in text
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 4


def test_a_signal_while_a_part_is_started_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*_: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"])
        started.append(process)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return process

    class Stopped(Exception):
        pass

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    monkeypatch.setattr(supervision, "start_program", start)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped), supervision.running([Program(Text("The sleeper", "Tiến trình ngủ"), ())]):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].wait(5) == -signal.SIGTERM

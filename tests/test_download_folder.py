"""Prepared downloads on the disk: whole or not there, made by one at a time, removed when nobody needs them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from twin.catalogue.download_folder import DownloadFolder, is_being_made

KEY, OTHER = f"a_b_v1-{'0' * 16}", f"a_b_v2-{'1' * 16}"


@pytest.fixture
def folder(tmp_path: Path) -> DownloadFolder:
    return DownloadFolder(tmp_path / "downloads")


def make(folder: DownloadFolder, key: str, content: bytes, used_seconds_ago: float = 0) -> Path:
    making = folder.begin(key, "csv")
    assert making is not None
    making.write(content)
    path = making.finish().path
    then = time.time() - used_seconds_ago
    os.utime(path, (then, then))
    return path


def test_a_file_is_there_only_when_it_is_whole_and_its_name_is_its_digest(folder: DownloadFolder) -> None:
    making = folder.begin(KEY, "csv")
    assert making is not None
    making.write(b"id\r\n")
    assert folder.find(KEY, "csv") is None
    making.write(b"1\r\n")
    made = making.finish()
    assert folder.find(KEY, "csv") == made
    assert made.path.read_bytes() == b"id\r\n1\r\n"
    assert (made.size, made.sha256) == (7, hashlib.sha256(b"id\r\n1\r\n").hexdigest())
    assert [p.name for p in folder.root.iterdir()] == [made.path.name]
    assert folder.root.stat().st_mode & 0o077 == 0


def test_one_makes_and_the_others_wait(folder: DownloadFolder) -> None:
    making = folder.begin(KEY, "csv")
    assert making is not None
    assert folder.begin(KEY, "csv") is None
    beside = folder.begin(KEY, "gpkg")
    assert beside is not None
    beside.close()
    making.close()
    again = folder.begin(KEY, "csv")
    assert again is not None
    again.close()
    assert list(folder.root.iterdir()) == []


def test_of_many_threads_exactly_one_makes(folder: DownloadFolder) -> None:
    made: list[object] = []

    def work() -> None:
        while folder.find(KEY, "csv") is None:
            making = folder.begin(KEY, "csv")
            if making is None:
                continue
            if folder.find(KEY, "csv") is None:
                making.write(b"x" * 100)
                made.append(making.finish())
            making.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(list(folder.root.iterdir())) == 1


def test_what_grows_can_be_read_and_goes_on_under_its_name(folder: DownloadFolder) -> None:
    assert folder.growing(KEY, "csv") is None
    making = folder.begin(KEY, "csv")
    assert making is not None
    assert folder.growing(KEY, "csv") is None
    making.write(b"first")
    handle = folder.growing(KEY, "csv")
    assert handle is not None and os.read(handle, 100) == b"first" and is_being_made(handle)
    making.write(b"second")
    made = making.finish()
    assert os.read(handle, 100) == b"second" and not is_being_made(handle)
    assert os.fstat(handle).st_ino == made.path.stat().st_ino
    os.close(handle)


def test_what_a_killed_program_left_is_begun_anew(folder: DownloadFolder) -> None:
    program = (
        "import sys, time; from twin.catalogue.download_folder import DownloadFolder; from pathlib import Path\n"
        f"making = DownloadFolder(Path(sys.argv[1])).begin({KEY!r}, 'csv'); making.workspace(); making.write(b'half')\n"
        "print('begun', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.root)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert folder.begin(KEY, "csv") is None
        handle = folder.growing(KEY, "csv")
        assert handle is not None
        process.send_signal(signal.SIGKILL)
    assert not is_being_made(handle) and folder.growing(KEY, "csv") is None
    assert make(folder, KEY, b"whole").read_bytes() == b"whole"
    # Whoever read the old one has its bytes, not the new one's.
    assert os.read(handle, 100) == b"half" and os.read(handle, 100) == b""
    os.close(handle)


def test_a_killed_program_s_remains_are_swept(folder: DownloadFolder) -> None:
    folder.root.mkdir()
    (folder.root / f"{KEY}.csv.part").write_bytes(b"half")
    (folder.root / f"{KEY}.csv.work").mkdir()
    making = folder.begin(OTHER, "csv")
    assert making is not None
    making.write(b"growing")
    folder.sweep(lambda _: True, 1000)
    assert [p.name for p in folder.root.iterdir()] == [f"{OTHER}.csv.part"]
    making.close()


def test_unwanted_files_go_but_not_under_somebody_s_hands(folder: DownloadFolder) -> None:
    gone = make(folder, KEY, b"x", used_seconds_ago=100)
    stays = make(folder, OTHER, b"x", used_seconds_ago=5)
    assert folder.sweep(lambda _: False, 1000) == [gone]
    assert stays.exists() and not gone.exists() and folder.find(KEY, "csv") is None


def test_over_the_budget_the_least_recently_used_go_first(folder: DownloadFolder) -> None:
    keys = [f"a_b_v{n}-{'0' * 16}" for n in range(5)]
    paths = [make(folder, key, b"x" * 100, used_seconds_ago=1000 - n) for n, key in enumerate(keys)]
    # Asked for now: the oldest is the most recently used.
    assert folder.find(keys[0], "csv") is not None
    assert folder.sweep(lambda _: True, 350) == paths[1:3]
    assert [p.exists() for p in paths] == [True, False, False, True, True]
    assert folder.sweep(lambda _: True, 0, keep=paths[4]) == [paths[3]]

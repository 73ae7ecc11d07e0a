"""What the program keeps in its home is its user's alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.catalogue.download_folder import DownloadFolder
from twin.catalogue.raster_files import RasterFolder
from twin.config import Settings
from twin.db.database import open_database, remember_opened
from twin.jobs.uploads import UploadFolder
from twin.private_files import FOLDERS, close_home, open_private, private_folder


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o177])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_every_folder_and_file_that_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    rasters = RasterFolder(tmp_path / "home" / "rasters")
    rasters.write(rasters.new_name("a"), lambda path: path.write_bytes(b"x") and None)
    uploads = UploadFolder(tmp_path / "home" / "uploads")
    from uuid import uuid4

    uploads.begin(uuid4(), 10)
    downloads = DownloadFolder(tmp_path / "home" / "downloads")
    making = downloads.begin("0" * 32, "csv")
    assert making is not None
    making.write(b"x")
    with open_private(tmp_path / "home" / "initdb.log", "w+") as log:
        log.write("x")
    assert modes(tmp_path / "home") == {0o700, 0o600}


def test_what_earlier_programs_left_open_is_closed_at_start(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    for name in (*FOLDERS, "other"):
        (home / name / "inner").mkdir(parents=True)
        (home / name / "inner" / "file").write_text("x")
        (home / name / "inner" / "file").chmod(0o644)
        (home / name).chmod(0o755)
    (home / "initdb.log").write_text("x")
    outside.write_text("x")
    outside.chmod(0o644)
    (home / "rasters" / "link").symlink_to(outside)
    open_database(Settings(home=home, database_url="postgresql://x@127.0.0.1:1/x"))
    for name in FOLDERS:
        assert modes(home / name) - {stat.S_IMODE(outside.stat().st_mode)} == {0o700, 0o600}
    assert stat.S_IMODE((home / "initdb.log").stat().st_mode) == 0o600
    # What the program does not know, and what lies elsewhere, is left alone.
    assert stat.S_IMODE((home / "other" / "inner" / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert not stat.S_IMODE(home.stat().st_mode) & 0o066


@given(mode=st.integers(0, 0o777))
def test_closing_takes_rights_of_others_and_none_of_the_user_s(
    tmp_path_factory: pytest.TempPathFactory, mode: int
) -> None:
    home = tmp_path_factory.mktemp("home")
    file = home / "uploads" / "file"
    file.parent.mkdir()
    file.write_text("x")
    file.chmod(mode)
    close_home(home)
    assert stat.S_IMODE(file.stat().st_mode) == mode & 0o700


def test_the_name_of_the_open_database_is_private(tmp_path: Path) -> None:
    private_folder(tmp_path / "a" / "home")
    remember_opened(Settings(home=tmp_path / "a" / "home"), "sample")
    assert modes(tmp_path / "a") == {0o700, 0o600}

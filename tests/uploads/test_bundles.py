"""What consists of several files is sent as one archive, the same each time."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from ingest.readers.opening import open_file
from tests.test_publish import houses
from twin.client.bundles import bundled
from twin.errors import BadInput


def test_a_shapefile_takes_along_what_belongs_to_it_and_nothing_else(tmp_path: Path) -> None:
    houses().to_file(tmp_path / "nhà.shp", encoding="UTF-8")
    houses().to_file(tmp_path / "other.shp")
    (tmp_path / "nhà.gpkg").write_text("not of it")
    digests = set()
    for _ in range(2):
        with bundled(tmp_path / "nhà.shp") as archive:
            assert archive.name == "nhà.zip"
            names = set(zipfile.ZipFile(archive).namelist())
            digests.add(hashlib.sha256(archive.read_bytes()).hexdigest())
            with open_file(archive) as reader:  # type: ignore[attr-defined]
                assert reader.count == 60
    assert names == {f"nhà{ending}" for ending in (".shp", ".shx", ".dbf", ".prj", ".cpg")}
    assert len(digests) == 1 and not archive.exists()


def test_a_geodatabase_is_packed_with_its_folder(tmp_path: Path) -> None:
    houses().to_file(tmp_path / "nha.gdb", driver="OpenFileGDB")
    with bundled(tmp_path / "nha.gdb") as archive, open_file(archive) as reader:  # type: ignore[attr-defined]
        assert (reader.format, reader.count) == ("FileGDB", 60)


def test_a_file_that_stands_for_itself_is_sent_as_it_is_and_a_folder_is_refused(tmp_path: Path) -> None:
    houses().to_file(tmp_path / "nha.gpkg")
    with bundled(tmp_path / "nha.gpkg") as file:
        assert file == tmp_path / "nha.gpkg"
    with pytest.raises(BadInput), bundled(tmp_path):
        pass

"""Archives are unpacked within limits, into a folder of their own, or not at all (attack 3)."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.readers.archive import members, unpack
from ingest.readers.limits import LimitExceeded, Limits
from ingest.readers.opening import open_file
from ingest.readers.source import ReadOptions, sweep
from tests.readers.files import pack, read, write
from twin.errors import BadInput


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def archive(path: Path, files: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.filename = name
            entry.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(entry, key, value)
            content.writestr(entry, data)
    return path


def refused(path: Path, work: Path, **limits: int) -> str:
    """Both the look and the unpacking refuse, and nothing is left behind."""
    with pytest.raises(BadInput) as error:
        unpack(path, ReadOptions(workspace=work, limits=Limits(**limits)))
    assert list(work.iterdir()) == []
    assert sorted(p.name for p in work.parent.iterdir()) == sorted({path.name, "work"})
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "../x.shp",
        "a/../../x.shp",
        "/etc/x.shp",
        "C:/x.shp",
        "C:\\x.shp",
        "..\\x.shp",
        "a\nb.shp",
        "a/..",
        "x\x1b[2J.shp",
    ],
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, work: Path, name: str) -> None:
    message = refused(archive(tmp_path / "a.zip", {name: b"x"}), work)
    assert "a.zip" in message
    assert "\n" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, work: Path, kind: int) -> None:
    file = archive(tmp_path / "a.zip", {"a.shp": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16, create_system=3)
    assert "link or a device" in refused(file, work)


def test_the_same_name_twice_is_refused_in_whatever_letter_case(tmp_path: Path, work: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        content.writestr("a.shp", "1")
        content.writestr("A.SHP", "2")
    assert "twice" in refused(tmp_path / "a.zip", work)


def test_a_bomb_is_refused_by_its_ratio_and_by_its_size(tmp_path: Path, work: Path) -> None:
    file = archive(tmp_path / "a.zip", {"a.geojson": b"\0" * 300_000_000})
    assert file.stat().st_size < 400_000
    assert "TWIN_LIMIT_RATIO" in refused(file, work)
    assert "TWIN_LIMIT_UNPACKED_BYTES" in refused(file, work, unpacked_bytes=1_000_000)


def test_sizes_that_lie_are_found_while_inflating(tmp_path: Path, work: Path) -> None:
    file = archive(tmp_path / "a.zip", {"a.geojson": b"\0" * 40_000_000})
    content = bytearray(file.read_bytes())
    true = struct.pack("<I", 40_000_000)
    assert content.count(true) == 2
    for claimed in (10, 41_000_000):
        file.write_bytes(bytes(content).replace(true, struct.pack("<I", claimed)))
        refused(file, work)


def test_too_many_entries_are_refused_by_the_length_of_the_directory(tmp_path: Path, work: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        for i in range(20_000):
            content.writestr(f"{i}", b"")
    assert "TWIN_LIMIT_ENTRIES" in refused(tmp_path / "a.zip", work)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    end = whole.rfind(b"PK\x05\x06")
    whole[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    (tmp_path / "a.zip").write_bytes(whole)
    refused(tmp_path / "a.zip", work, entries=100)


def test_a_million_entries_are_refused_without_reading_them(tmp_path: Path, work: Path) -> None:
    one = (
        b"PK\x01\x02"
        + b"\x14\x03\x14\0\0\0\0\0\0\0!\0"
        + b"\0" * 12
        + struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 0)
        + b"x"
    )
    directory = one * 1_000_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + directory + end)
    assert "TWIN_LIMIT_ENTRIES" in refused(tmp_path / "a.zip", work)


def test_long_names_are_refused(tmp_path: Path, work: Path) -> None:
    assert "TWIN_LIMIT_NAME_LENGTH" in refused(archive(tmp_path / "a.zip", {"a" * 300 + ".shp": b""}), work)


def test_encrypted_archives_say_so(tmp_path: Path, work: Path) -> None:
    file = archive(tmp_path / "a.zip", {"a.geojson": b"{}"})
    content = file.read_bytes().replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")
    file.write_bytes(content)
    assert "password" in refused(file, work)


def test_archives_within_archives_are_not_opened(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.zip", [write(tmp_path / "a.geojson", "GeoJSON")])
    with pytest.raises(BadInput, match="archives inside"):
        open_file(pack(tmp_path / "outer.zip", [inner]))


def test_an_archive_without_anything_to_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file of a format"):
        open_file(archive(tmp_path / "a.zip", {"readme.md": b"x"}))
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(BadInput, match="cut off or broken"):
        open_file(tmp_path / "b.zip")


def test_only_what_belongs_to_the_file_is_unpacked(tmp_path: Path, work: Path) -> None:
    write(tmp_path / "lots.shp", "ESRI Shapefile")
    (tmp_path / "video.mp4").write_bytes(b"x" * 1000)
    file = pack(tmp_path / "a.zip", [*tmp_path.glob("lots.*"), tmp_path / "video.mp4"])
    reader = open_file(file, ReadOptions(workspace=work))
    assert not list(work.rglob("video.mp4"))
    assert next(reader.batches(10)).shape[0] == 3
    reader.close()
    assert list(work.iterdir()) == []


def test_a_reader_that_is_forgotten_cleans_up_too(tmp_path: Path, work: Path) -> None:
    write(tmp_path / "lots.shp", "ESRI Shapefile")
    reader = open_file(pack(tmp_path / "a.zip", tmp_path.glob("lots.*")), ReadOptions(workspace=work))
    assert list(work.iterdir())
    del reader
    assert list(work.iterdir()) == []


def test_a_folder_in_the_archive_and_the_dust_of_a_macintosh_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "lots.shp", "ESRI Shapefile")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        content.writestr("dữ liệu/", "")
        for file in tmp_path.glob("lots.*"):
            content.write(file, f"dữ liệu/{file.name}")
            content.writestr(f"__MACOSX/dữ liệu/._{file.name}", b"dust")
    assert len(read(tmp_path / "a.zip")[1]) == 3


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_archive_is_read_or_refused_and_writes_nothing_outside(tmp_path: Path, at: int, value: bytes) -> None:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    whole = archive(
        tmp_path / "good.zip", {"a/b.geojson": b'{"type":"x"}' * 20, "c.csv": b"lon,lat\n1,2\n"}
    ).read_bytes()
    at %= len(whole)
    file = tmp_path / "bad.zip"
    file.write_bytes(whole[:at] + value + whole[at + len(value) :])
    before = {p.name for p in tmp_path.iterdir()}
    try:
        members(file, Limits())
        folder = unpack(file, ReadOptions(workspace=work))
    except BadInput:
        assert list(work.iterdir()) == []
    else:
        assert folder.parent == work
        import shutil

        shutil.rmtree(folder)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_limits_say_what_is_allowed_in_vietnamese_too(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded) as error:
        members(archive(tmp_path / "a.zip", {"a": b"", "b": b""}), Limits(entries=1))
    assert "mức cho phép là 1" in error.value.message.vi


def test_what_killed_readers_left_unpacked_is_swept_and_what_is_in_use_stays(tmp_path: Path) -> None:
    work = tmp_path / "work"
    pack(tmp_path / "a.zip", [write(tmp_path / "a.geojson", "GeoJSON")])
    with open_file(tmp_path / "a.zip", ReadOptions(workspace=work)):
        (used,) = work.iterdir()
        for name in ("twin-read-4194305-dead", "twin-read-odd", "something-else"):
            (work / name).mkdir()
            (work / name / "part.shp").write_bytes(b"x")
        (work / "twin-read-link").symlink_to(tmp_path)
        assert sweep(3600, work) == 0
        assert sweep(-1, work) == 2
        assert {p.name for p in work.iterdir()} == {used.name, "something-else", "twin-read-link"}
    assert not used.exists() and sweep(0, tmp_path / "nowhere") == 0

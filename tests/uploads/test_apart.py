"""What reads a stranger's file can do nothing else, and reads it as a reader in one's own process would."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ingest.apart.raster import _regular
from ingest.apart.started import ReadingEnded, ReadingProcess
from ingest.apart.wire import pack, unpack
from ingest.readers.opening import open_file, open_raster
from ingest.readers.source import ReadOptions, make_batch
from tests.conftest import ROOT
from tests.test_publish import houses
from tests.test_raster_publish import ground
from tests.test_raster_publish import write as write_raster
from twin.crs import parse_crs
from twin.errors import BadInput
from twin.text import Text

# Tried by a program that has given up its rights as the reading process does.
ATTEMPTS = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from twin.sandbox import confine
folder, secret = map(Path, sys.argv[1:3])
lacking = confine([Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib"), Path("/lib64")], [folder])
attempts = {
    "internet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "pair": lambda: socket.socketpair(),
    "fork": os.fork,
    "program": lambda: subprocess.run(["/bin/true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "secret": secret.read_text,
    "list": lambda: os.listdir(secret.parent),
    "write": lambda: secret.with_name("new").write_text("x"),
    "link": lambda: (os.symlink(secret, folder / "link"), (folder / "link").read_text()),
    "memory": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
}
done = []
for name, attempt in attempts.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
(folder / "own").write_text("mine")
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
print(lacking, done, (folder / "own").read_text())
"""


def test_a_process_that_has_given_up_its_rights_reaches_neither_network_files_nor_processes(tmp_path: Path) -> None:
    folder, secret = tmp_path / "folder", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("key")
    command = [sys.executable, "-c", ATTEMPTS, str(folder), str(secret)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    if done.stdout.startswith("['"):
        pytest.skip(f"this system lacks {done.stdout}")
    assert done.stdout == "[] [] mine\n", done.stdout + done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of some formats, good and bad."""
    folder = tmp_path_factory.mktemp("files")
    frame = houses(40)
    frame["when"] = pd.Timestamp("2024-05-01T10:00:00+07:00")
    frame["day"] = date(2024, 5, 1)
    frame["count"] = pd.array([*range(39), None], dtype="Int64")
    frame["old"] = pd.array([True, None] * 20, dtype="boolean")
    frame.to_file(folder / "nhà ở.gpkg")
    frame.drop(columns=["when", "old"]).to_file(folder / "nha.geojson", driver="GeoJSON")
    frame.to_parquet(folder / "nha.parquet")
    (folder / "tram.csv").write_text("ten,lon,lat\nBến Thành,106.7,10.77\nkhông,,\n")
    (folder / "bad.geojson").write_text('{"type":"FeatureCollection","features":[')
    return folder


@pytest.fixture
def process(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingProcess]:
    monkeypatch.setenv("TWIN_DATABASE_URL", "postgresql://owner:secret@127.0.0.1/city")
    with closing(ReadingProcess(files)) as process:
        yield process


def test_a_file_is_read_apart_as_it_is_read_here(process: ReadingProcess, files: Path) -> None:
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    # How to log, and for which job, is all that it is told.
    ours = {name for name in re.findall(rb"(?:^|\0)(TWIN_\w+)=", environment) if not name.startswith(b"TWIN_LOG")}
    assert b"secret" not in environment and not ours
    for name in ("nhà ở.gpkg", "nha.geojson", "nha.parquet", "tram.csv"):
        with closing(open_file(files / name)) as here:
            apart = process.open(files / name, ReadOptions())
            for said in ("format", "driver", "columns", "crs", "crs_reason", "count", "layers", "raw_text", "encoding"):
                assert getattr(apart, said) == getattr(here, said), (name, said)
            assert_alike(apart.batches(7), here.batches(7))
            pick = lambda rows: np.arange(0, rows, 3)  # noqa: E731
            sampled, expected = list(apart.sampled(10, pick)), list(here.sampled(10, pick))
            assert [rows for _, rows in sampled] == [rows for _, rows in expected]
            assert_alike((batch for batch, _ in sampled), (batch for batch, _ in expected))
            # One that is not read to its end leaves the reader usable.
            beginning = apart.batches(5)
            assert len(next(beginning)) <= 5
            beginning.close()  # type: ignore[attr-defined]
            assert sum(len(batch) for batch in apart.batches(5)) == sum(len(batch) for batch in here.batches(5))


def assert_alike(some: Iterator[gpd.GeoDataFrame], others: Iterator[gpd.GeoDataFrame]) -> None:
    for one, other in zip(some, others, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))


def test_an_error_of_a_reader_arrives_as_the_same_sentence_in_both_languages(
    process: ReadingProcess, files: Path
) -> None:
    with pytest.raises(BadInput) as here:
        open_file(files / "bad.geojson")
    with pytest.raises(BadInput) as apart:
        process.open(files / "bad.geojson", ReadOptions())
    assert apart.value.message == here.value.message
    # What lies outside the folder does not exist for it, whoever asks.
    outside = files.parent / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    with pytest.raises((BadInput, Exception)) as refused:
        process.open(outside, ReadOptions())
    assert "1,2" not in str(refused.value)
    process._process.kill()
    process._process.wait()
    with pytest.raises(ReadingEnded):
        process.open(files / "tram.csv", ReadOptions())


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo taken over",)


@pytest.mark.parametrize(
    "message",
    [
        pickle.dumps(Hostile()),
        pickle.dumps(("item", [Hostile()])),
        pickle.dumps(np.arange(3)),
        pickle.dumps(Text(en="a", vi="b")),
        b"",
        b"\x80\x05not a pickle",
    ],
)
def test_a_message_that_could_run_code_is_refused(message: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        unpack(message)


def test_no_message_makes_objects_of_raw_bytes() -> None:
    class Forged(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return ("array", "|O8", b"\0" * 8, (1,)) if value == "here" else None

    import io

    written = io.BytesIO()
    Forged(written, protocol=5).dump(["here"])
    with pytest.raises(pickle.UnpicklingError):
        unpack(written.getvalue())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.decimals(allow_nan=False) | st.dates() | st.datetimes(timezones=st.just(UTC))
    | st.builds(Text, en=st.text(), vi=st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@given(value=plain)
def test_plain_values_arrive_as_they_are(value: object) -> None:
    assert unpack(pack(value)) == value


@given(
    texts=st.lists(st.none() | st.text(), min_size=1, max_size=8),
    places=st.lists(st.none() | st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.none() | st.floats(0, 9))),
)
def test_a_batch_arrives_as_it_is(
    texts: list[str | None], places: list[tuple[float, float, float | None] | None]
) -> None:
    rows = len(texts)
    shapes = np.full(rows, None, dtype=object)
    for row, place in enumerate(places[:rows]):
        if place is not None:
            x, y, z = place
            shapes[row] = shapely.Point(x, y) if z is None else shapely.Point(x, y, z)
    columns = {
        "text": pd.Series(texts, dtype=object),
        "mixed": pd.Series([Decimal(1), b"x", date(2024, 1, 1), 1, None, [1], {"a": None}, "x"][:rows], dtype=object),
        "number": pd.Series(np.linspace(0, 1, rows)),
        "integer": pd.Series(pd.array([None, *range(rows - 1)], dtype="Int64")),
        "yes": pd.Series(pd.array([None, *[True] * (rows - 1)], dtype="boolean")),
        "utc": pd.Series(pd.date_range("2024-01-01", periods=rows, tz="UTC")),
        "zoned": pd.Series(pd.date_range("2024-01-01", periods=rows, tz=timezone(timedelta(hours=7)))),
        "moments": pd.Series([pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC))] * rows, dtype=object),
    }
    batch = make_batch(columns, shapes)
    pd.testing.assert_frame_equal(pd.DataFrame(unpack(pack(batch))), pd.DataFrame(batch))


def test_a_raster_is_read_apart_as_it_is_read_here(tmp_path: Path) -> None:
    write_raster(tmp_path / "ground.tif", ground(), nodata=-9999.0)
    own = tmp_path / "own"
    own.mkdir()
    with (
        closing(ReadingProcess(own, tmp_path)) as process,
        open_raster(tmp_path / "ground.tif") as here,
    ):
        assert process.is_raster(tmp_path / "ground.tif", ReadOptions())
        apart = process.open_raster(tmp_path / "ground.tif", ReadOptions())
        assert apart.describe() == here.describe()
        values, expected = apart.cell_values(11), here.cell_values(11)
        assert len(values) > 100
        for column in ("cell", "value", "samples", "lowest", "highest", "share"):
            np.testing.assert_array_equal(getattr(values, column), getattr(expected, column))
        for one, other in zip(apart.overview(), here.overview(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert apart.place_of(3, 4) == here.place_of(3, 4)
        apart.crs = here.crs = parse_crs("EPSG:9210")
        apart.to_cog(tmp_path / "apart.tif")
        here.to_cog(tmp_path / "here.tif")
        assert (tmp_path / "apart.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()
        # A link in place of the copy would lead out of the folder.
        process._process.kill()
        process._process.wait()
        (own / "copy.tif").unlink()
        (own / "copy.tif").symlink_to(tmp_path / "ground.tif")
        with pytest.raises(ReadingEnded):
            _regular(own / "copy.tif")

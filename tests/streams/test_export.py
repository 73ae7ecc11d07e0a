"""Exports: the values of streams as files over HTTP and from the command line, of what may be read alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from tests.conftest import run_async, serving
from tests.streams.test_stream_commands import stream
from tests.streams.worlds import START, declared, describe, world
from twin.db.database import Database
from twin.db.tables import Sharing

COUNT = 1500
SPAN = {"from": START.isoformat(), "to": (START + timedelta(minutes=COUNT / 2)).isoformat()}


async def fill(database: Database) -> dict[str, int]:
    """Values of an open layer and of a restricted one; one of them is out of range, one was corrected."""
    async with world(database, declared("a"), declared("b", unit="=ug")) as w:
        batch = [w.value(code, n / 2, n / 4) for code in "ab" for n in range(COUNT)]
        await w.writer.write(w.connection, [*batch, w.value("a", 0.25, 900.0)], "test")
        await w.writer.write(w.connection, [w.value("a", 1, 7.5)], "somebody")
        ids = w.ids
    async with world(database, declared("secret"), layer="env.restricted") as w:
        await w.writer.write(w.connection, [w.value("secret", 0, 1.0)], "test")
        return ids | w.ids


@pytest.fixture(scope="module")
def city(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, int]]]:
    describe(module_database, Sharing.OPEN, Sharing.RESTRICTED)
    ids = run_async(fill(module_database))
    with serving(module_database, tmp_path_factory.mktemp("export") / "server.log") as server:
        yield server.url, ids


def check(rows: list[dict[str, object]], ids: dict[str, int]) -> None:
    assert len(rows) == 2 * COUNT + 1
    assert [row["stream"] for row in rows] == sorted(row["stream"] for row in rows)  # type: ignore[type-var]
    of_a = [row for row in rows if row["stream"] == ids["a"]]
    assert [row["value"] for row in of_a[:5]] == [0.0, 900.0, 0.25, 7.5, 0.75]
    assert [row["flags"] for row in of_a[:3]] == ["", "out_of_range", ""]
    assert [n for n, row in enumerate(of_a) if row["corrected"]] == [3]
    assert {(row["code"], row["kind"]) for row in rows} == {("a", "pm2_5"), ("b", "pm2_5")}


def test_a_layers_observations_are_given_as_csv_with_times_in_utc_and_no_formulas(
    city: tuple[str, dict[str, int]],
) -> None:
    url, ids = city
    answer = httpx.get(f"{url}/collections/env.open/observations.csv", params=SPAN)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="env.open_observations.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows[0]["time"] == START.isoformat().replace("+00:00", "Z")
    assert {row["unit"] for row in rows} == {"ug/m3", "'=ug"}
    typed = [
        {**row, "stream": int(row["stream"]), "value": float(row["value"]), "corrected": row["corrected"] == "true"}
        for row in rows
    ]
    check(typed, ids)  # type: ignore[arg-type]


def test_parquet_has_the_same_values_with_types(city: tuple[str, dict[str, int]]) -> None:
    url, ids = city
    answer = httpx.get(f"{url}/collections/env.open/observations.parquet", params=SPAN)
    table = pq.read_table(io.BytesIO(answer.content))
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    check(table.to_pylist(), ids)


def test_one_streams_values_end_before_the_end(city: tuple[str, dict[str, int]]) -> None:
    url, ids = city
    span = {"from": START.isoformat(), "to": (START + timedelta(minutes=1)).isoformat()}
    answer = httpx.get(f"{url}/streams/{ids['b']}/observations.csv", params=span)
    assert [row["value"] for row in csv.DictReader(io.StringIO(answer.text))] == ["0.0", "0.25"]
    long_ago = {"from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}
    assert httpx.get(f"{url}/streams/{ids['b']}/observations.csv", params=long_ago).text.count("\n") == 1
    empty = httpx.get(f"{url}/streams/{ids['b']}/observations.parquet", params=long_ago)
    assert pq.read_table(io.BytesIO(empty.content)).num_rows == 0


def test_hidden_streams_and_unknown_forms_are_not_found_and_a_wrong_span_is_refused(
    city: tuple[str, dict[str, int]],
) -> None:
    url, ids = city
    for path in (
        f"streams/{ids['secret']}/observations.csv", "collections/env.restricted/observations.parquet",
        f"streams/{ids['a']}/observations.xml",
    ):  # fmt: skip
        assert httpx.get(f"{url}/{path}").status_code == 404, path
    backwards = {"from": SPAN["to"], "to": SPAN["from"]}
    assert httpx.get(f"{url}/streams/{ids['a']}/observations.csv", params=backwards).status_code == 400


def test_the_command_writes_the_same_file_and_says_where_there_is_nothing(
    city: tuple[str, dict[str, int]], module_database: Database, tmp_path: Path
) -> None:
    url, _ = city
    for form in ("csv", "parquet"):
        out = tmp_path / f"values.{form}"
        span = ("--from", SPAN["from"], "--to", SPAN["to"])
        done = stream(module_database, "export", "--layer", "env.open", *span, "--out", str(out))
        assert done.returncode == 0 and "3,001" in done.stderr, done.stderr
        served = httpx.get(f"{url}/collections/env.open/observations.{form}", params=SPAN).content
        if form == "csv":
            assert out.read_bytes() == served
        else:
            assert pq.read_table(out).equals(pq.read_table(io.BytesIO(served)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["values.csv", "values.parquet"]
    missing = stream(module_database, "export", "--layer", "env.nothing", "--out", str(tmp_path / "x.csv"))
    assert missing.returncode == 3 and "has no streams" in missing.stderr
    named = stream(module_database, "export", "--layer", "env.open", "--out", str(tmp_path / "x.txt"))
    assert named.returncode == 2 and ".parquet" in named.stderr

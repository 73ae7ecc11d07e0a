"""Whole layers as files: every format holds what the table holds, made once, whole or not at all, for whom it may be."""

from __future__ import annotations

import asyncio
import csv
import errno
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import geopandas as gpd
import httpx
import pandas as pd
import psutil
import psycopg
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from fastapi.testclient import TestClient

from tests.conftest import HOME, ROOT, LiveServer, serving, small_disk, text_of
from tests.features.conftest import COLUMNS, CONTRACT, COUNT, ITEMS, LAYER, NAMES, TABLE, plots
from tiles.app import create_app
from tiles.downloads import commands, routes
from tiles.downloads import formats as known
from twin.access.keys import new_key
from twin.catalogue.catalogue import LayerEntry, change_entry, ensure_agency, ensure_layer
from twin.catalogue.download_folder import Making
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.catalogue.versions import retire
from twin.config import Settings
from twin.db.tables import PrincipalRole, Sharing
from twin.spreadsheets import FORMULA, NUMBER
from twin.text import Text

FORMS = ("geojson", "fgb", "parquet", "gpkg", "csv")
BIG = 120_000
SECRET = "lab.secret"


def at(form: str, version: int | None = 2) -> str:
    return f"/downloads/{LAYER}{f'@{version}' if version else ''}.{form}"


def fetch(http: httpx.Client, address: str, **headers: str) -> httpx.Response:
    answer = http.get(address, headers=headers)
    assert answer.status_code == 200, answer.text[:500]
    return answer


def folder_of(server: LiveServer) -> Path:
    home = Path(psutil.Process(server.process.pid).environ()["TWIN_HOME"])
    return home / "downloads" / str(server.database.url.database)


@pytest.fixture(scope="module")
def expected(sql: psycopg.Connection) -> pd.DataFrame:
    columns = ", ".join(f'"{n}"' for n in NAMES)
    found = sql.execute(f"SELECT id, {columns}, ST_AsBinary(geom) FROM {TABLE} ORDER BY id").fetchall()
    return pd.DataFrame(found, columns=["id", *NAMES, "wkb"]).astype(object)


def same(value: object, right: object) -> bool:
    """Whether a reader's value is the table's, in whatever type the reader gives it."""
    if right is None or right is pd.NaT or right != right:
        return value is None or value == "" or value is pd.NaT or value != value
    if hasattr(right, "isoformat"):
        utc = pd.Timestamp(right).tz_localize("UTC") if pd.Timestamp(right).tz is None else pd.Timestamp(right)
        read = pd.Timestamp(value)
        return (read.tz_localize("UTC") if read.tz is None else read) == utc
    if isinstance(right, bool):
        return value in ((True, "true", 1) if right else (False, "false", 0))
    if isinstance(right, int | float):
        return float(value) == float(right)
    return value == right


def compare(rows: dict[str, dict[str, object]], shapes: dict[str, object], expected: pd.DataFrame) -> None:
    assert sorted(rows) == sorted(expected["id"])
    for right in expected.itertuples(index=False):
        for name in NAMES:
            assert same(rows[right.id][name], getattr(right, name)), (right.id, name, rows[right.id][name])
        # A format may write a polygon as a collection of one.
        assert shapely.equals_exact(
            shapely.normalize(shapes[right.id]), shapely.normalize(shapely.from_wkb(right.wkb)), tolerance=1.1e-7
        )


def of_frame(frame: gpd.GeoDataFrame) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    frame = frame.astype(object)
    records = {row["id"]: row for row in frame.to_dict("records")}
    return records, {
        key: row[frame.geometry.name if hasattr(frame, "geometry") else "geometry"] for key, row in records.items()
    }


def test_geojson_holds_the_table_and_says_what_it_is(http: httpx.Client, expected: pd.DataFrame) -> None:
    answer = fetch(http, at("geojson"))
    assert answer.headers["content-type"] == "application/geo+json"
    document = answer.json()
    rows = {f["id"]: f["properties"] for f in document["features"]}
    compare(rows, {f["id"]: shapely.geometry.shape(f["geometry"]) for f in document["features"]}, expected)
    assert document["numberReturned"] == COUNT and document["licence"] == "CC0-1.0" and document["title_vi"] == "Lô đất"
    assert "Phòng thí nghiệm" in document["citation_vi"] and document["version"] == "2"
    items = http.get(ITEMS, params={"limit": 1000}).json()["features"]
    assert document["features"] == items


def test_flatgeobuf_and_geopackage_hold_the_table(http: httpx.Client, expected: pd.DataFrame, tmp_path: Path) -> None:
    for form, mark in (("fgb", b"fgb"), ("gpkg", b"SQLite format 3\0")):
        path = tmp_path / f"plots.{form}"
        path.write_bytes(fetch(http, at(form)).content)
        assert path.read_bytes().startswith(mark)
        frame = pyogrio.read_dataframe(path)
        assert frame.crs.to_epsg() == 4326
        compare(*of_frame(frame), expected)
        said = pyogrio.read_info(path)["layer_metadata"]
        assert said["licence"] == "CC0-1.0" and said["title_vi"] == "Lô đất" and LAYER in said["citation"]
    with sqlite3.connect(path) as geopackage:
        contents = geopackage.execute("SELECT table_name, identifier FROM gpkg_contents").fetchall()
        assert contents == [(LAYER, "Plots")]
        assert geopackage.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'rtree%geom'").fetchone()[0] == 1


def test_geoparquet_holds_the_table(http: httpx.Client, expected: pd.DataFrame) -> None:
    content = io.BytesIO(fetch(http, at("parquet")).content)
    compare(*of_frame(gpd.read_parquet(content)), expected)
    said = pq.read_schema(content).metadata
    assert said[b"licence"] == b"CC0-1.0" and said[b"title_vi"].decode() == "Lô đất"
    assert json.loads(said[b"geo"])["columns"]["geometry"]["encoding"] == "WKB"


def test_csv_opens_in_a_spreadsheet_without_a_formula_and_gives_every_text_back(
    http: httpx.Client, expected: pd.DataFrame
) -> None:
    content = fetch(http, at("csv")).content
    assert content.startswith(b"\xef\xbb\xbfid,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    texts = [value for row in rows for name, value in row.items() if name in ("id", "label", "use")]
    assert not [t for t in texts if t[:1] in tuple("=+-@\t\r＝＋－＠") and not NUMBER.fullmatch(t)]
    assert any(t.startswith("'=") for t in texts)
    for row in rows:
        rest = row["label"].removeprefix("'")
        if rest != row["label"] and FORMULA.match(rest) and not NUMBER.fullmatch(rest):
            row["label"] = rest
    compare({r["id"]: r for r in rows}, {r["id"]: shapely.from_wkt(r["wkt"]) for r in rows}, expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_has_its_length_its_digest_and_its_name(http: httpx.Client, form: str) -> None:
    answer = fetch(http, at(form))
    content = answer.content
    assert int(answer.headers["content-length"]) == len(content)
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    assert answer.headers["content-disposition"] == f'attachment; filename="{LAYER}_v2.{form}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert 'rel="license"' in answer.headers["link"] and "publicdomain/zero" in answer.headers["link"]
    head = http.head(at(form))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "content-type", "content-disposition"):
        assert head.headers[name] == answer.headers[name]
    known = http.get(at(form), headers={"If-None-Match": answer.headers["etag"]})
    assert known.status_code == 304 and known.content == b""
    assert "max-age=60" in fetch(http, at(form, None)).headers["cache-control"]
    assert fetch(http, at(form, None)).content == content


def test_parts_of_a_file_can_be_asked_for(http: httpx.Client) -> None:
    whole = fetch(http, at("fgb"))
    tag, size = whole.headers["etag"], len(whole.content)
    part = http.get(at("fgb"), headers={"Range": "bytes=100-199", "If-Range": tag})
    assert part.status_code == 206 and part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{size}"
    assert http.get(at("fgb"), headers={"Range": "bytes=-5"}).content == whole.content[-5:]
    assert http.get(at("fgb"), headers={"Range": "bytes=100-199", "If-Range": '"other"'}).content == whole.content
    beyond = http.get(at("fgb"), headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416 and beyond.headers["content-range"] == f"bytes */{size}"
    assert beyond.headers["content-type"] == "application/problem+json" and beyond.json()["status"] == 416
    for nonsense in ("bytes=a-b", "rows=1-2", "bytes=", "bytes=1-2,", "bytes=" + "1-1," * 99 + "1-1"):
        answer = http.get(at("fgb"), headers={"Range": nonsense})
        assert (answer.status_code, answer.content) == (200, whole.content), nonsense
    assert http.get(at("fgb"), headers={"Range": "bytes=7-3"}).status_code == 416


def test_an_answer_is_never_packed_for_then_its_parts_would_be_others(http: httpx.Client) -> None:
    answer = fetch(http, at("csv"), **{"Accept-Encoding": "gzip"})
    assert answer.headers.get("content-encoding", "identity") == "identity"


def test_what_is_not_there_says_so(http: httpx.Client) -> None:
    for address, status in (
        ("/downloads/lab.nothing.csv", 404), (at("shp"), 404), (at("csv", 99), 404), (f"/downloads/{LAYER}@x.csv", 400),
        (f"{at('csv')}?limit=5", 400), ("/downloads/nonsense.csv", 404), (f"/downloads/{LAYER},{LAYER}.csv", 404),
    ):  # fmt: skip
        answer = http.get(address)
        assert answer.status_code == status, address
        assert answer.headers["content-type"] == "application/problem+json"
    assert http.get(f"/downloads/..%2f..%2fsecrets{LAYER}.csv").status_code in (400, 404)


@pytest.fixture(scope="module")
def secret(lab: LiveServer, http: httpx.Client) -> str:
    """A layer for its own agency alone, and a key of that agency."""
    contract = CONTRACT.model_copy(update={"layer": SECRET})
    with lab.database.session() as session:
        ensure_layer(
            session,
            LayerEntry(
                SECRET, LAYER, contract.title.text, sharing=Sharing.RESTRICTED, contract=contract.model_dump_json()
            ),
        )
        ensure_agency(session, "other", Text(en="Other", vi="Khác"))
        keys = [new_key(session, agency, "desk", PrincipalRole.READER, "test") for agency in ("lab", "other")]
    with Staging(lab.database, SECRET, Shape(COLUMNS, 10), Provenance("a test", "made up")) as staging:
        staging.append(plots(20))
        staging.publish()
    lab.database.writer.dispose()
    own = {"Authorization": f"Bearer {keys[0]}"}
    for _ in range(100):
        if http.get(f"/collections/{SECRET}", headers=own).status_code == 200:
            break
        time.sleep(0.05)
    answer = http.get(f"/downloads/{SECRET}.csv", headers={"Authorization": f"Bearer {keys[1]}"})
    assert answer.status_code == 404
    return keys[0]


def test_a_restricted_layer_s_file_is_asked_for_each_time(http: httpx.Client, secret: str) -> None:
    own = {"Authorization": f"Bearer {secret}"}
    answer = http.get(f"/downloads/{SECRET}@1.csv", headers=own)
    assert answer.status_code == 200 and answer.headers["cache-control"].startswith("private")
    assert "Authorization" in answer.headers["vary"]
    hidden = http.get(f"/downloads/{SECRET}@1.csv")
    missing = http.get("/downloads/lab.absent@1.csv")
    assert hidden.status_code == missing.status_code == 404
    assert text_of(hidden).replace(SECRET, "") == text_of(missing).replace("lab.absent", "")
    assert http.get(f"/downloads/{SECRET}@1.csv", headers={"If-None-Match": answer.headers["etag"]}).status_code == 404
    assert http.head(f"/downloads/{SECRET}@1.csv").status_code == 404


@pytest.fixture(scope="module")
def big(sql: psycopg.Connection) -> int:
    """The first version's table, filled up behind the catalogue's back."""
    sql.execute(
        "INSERT INTO layer_data.lab_plots_v1 (fid, id, label, size, importance, digest, cell, geom) "
        "SELECT 1000000 + n, 'x' || n, repeat('nhãn ', 8), n, 1, n, 0, "
        "ST_MakeEnvelope(106.7, 10.7, 106.7 + n * 1e-9, 10.7 + n * 1e-9, 4326) "
        f"FROM generate_series(1, {BIG}) AS n"
    )
    return BIG + COUNT


def test_many_ask_at_once_and_one_file_is_made(lab: LiveServer, http: httpx.Client, big: int) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: httpx.get(f"{lab.url}{at('csv', 1)}", timeout=120).content, range(8)))
    assert len({hashlib.sha256(a).hexdigest() for a in answers}) == 1
    assert answers[0].count(b"\r\n") >= big
    assert len(list(folder_of(lab).glob("lab_plots_v1-*.csv"))) == 1
    # Only one connection was needed for all of them: had each been made, some would have got a 503.
    assert not list(folder_of(lab).glob("*.part"))


def test_the_first_to_ask_sees_the_file_grow_and_memory_stays_flat(
    lab: LiveServer, http: httpx.Client, big: int
) -> None:
    server = psutil.Process(lab.process.pid)

    def memory() -> int:
        return sum(p.memory_info().rss for p in [server, *server.children()])

    fetch(http, at("geojson"))
    before = highest = memory()
    folder, received, grew = folder_of(lab), 0, False
    digest = hashlib.sha256()
    with http.stream("GET", at("geojson", 1), headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status_code == 200
        growing = "content-length" not in answer.headers
        for chunk in answer.iter_raw(1 << 18):
            received += len(chunk)
            digest.update(chunk)
            grew = grew or bool(list(folder.glob("lab_plots_v1-*.geojson.part")))
            highest = max(highest, memory())
    (made,) = folder.glob("lab_plots_v1-*.geojson")
    assert made.stat().st_size == received and digest.hexdigest() in made.name
    assert grew == growing
    assert highest - before < 60_000_000, (before, highest)


def test_who_goes_away_leaves_a_whole_file_for_the_next(lab: LiveServer, http: httpx.Client, big: int) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{lab.url}{at('gpkg', 1)}", timeout=0.3)
    answer = fetch(http, at("gpkg", 1))
    with sqlite3.connect(":memory:") as geopackage:
        geopackage.deserialize(answer.content)
        assert geopackage.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert geopackage.execute(f'SELECT count(*) FROM "{LAYER}"').fetchone() == (big,)


def test_two_processes_make_one_file(lab: LiveServer, big: int, tmp_path: Path) -> None:
    home = Path(psutil.Process(lab.process.pid).environ()["TWIN_HOME"])
    with serving(lab.database, tmp_path / "log", home=home, settings={"TWIN_DOWNLOADS": str(tmp_path / "d")}) as one:
        settings = {"TWIN_DOWNLOADS": str(tmp_path / "d")}
        with (
            serving(lab.database, tmp_path / "log2", home=home, settings=settings) as two,
            ThreadPoolExecutor(6) as threads,
        ):
            urls = [f"{server.url}{at(form, 1)}" for form in ("parquet", "fgb") for server in (one, two, one)]
            answers = list(threads.map(lambda url: httpx.get(url, timeout=120), urls))
            assert {a.status_code for a in answers} == {200}
            for three in (answers[:3], answers[3:]):
                assert len({hashlib.sha256(a.content).hexdigest() for a in three}) == 1
            names = [p.suffix for p in (tmp_path / "d" / str(lab.database.url.database)).iterdir()]
            assert sorted(names) == [".fgb", ".parquet"]


def test_a_full_disk_is_said_and_leaves_nothing(lab: LiveServer, big: int, tmp_path: Path) -> None:
    home = Path(psutil.Process(lab.process.pid).environ()["TWIN_HOME"])
    with small_disk(tmp_path / "small", 3) as small:
        # GDAL says what it thinks to the standard error, beside the log.
        settings = {"TWIN_DOWNLOADS": str(small), "CPL_LOG": "/dev/null"}
        with serving(lab.database, tmp_path / "log", home=home, settings=settings) as server:
            assert httpx.get(f"{server.url}{at('csv')}", timeout=60).status_code == 200
            answer = httpx.get(f"{server.url}{at('gpkg', 1)}", timeout=60, headers={"Accept-Language": "vi"})
            assert answer.status_code == 507 and "không còn chỗ" in answer.json()["detail"]
            part = {"Range": "bytes=0-"}
            answer = httpx.get(f"{server.url}{at('csv', 1)}", timeout=60, headers=part)
            assert answer.status_code == 507 and answer.headers["content-type"] == "application/problem+json"
            (kept,) = (small / str(lab.database.url.database)).iterdir()
            assert kept.name.startswith("lab_plots_v2") and kept.suffix == ".csv"


@pytest.fixture
def impatient(lab: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The program in this process, which does not wait for a file to be ready before it sends it."""
    monkeypatch.setattr(routes, "PATIENCE_SECONDS", 0.0)
    name = lab.database.url.database
    settings = Settings(home=HOME, database=name, downloads=tmp_path / "downloads", stream_seconds=20)
    with TestClient(create_app(settings, lab.database), raise_server_exceptions=False) as client:
        assert wait_for(lambda: client.get("/collections").status_code == 200)
        yield client


def test_a_file_that_grows_is_sent_to_its_last_byte(impatient: TestClient, tmp_path: Path) -> None:
    for form in ("geojson", "csv", "parquet"):
        answer = impatient.get(at(form), headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        (made,) = (tmp_path / "downloads").glob(f"*/*.{form}")
        assert made.read_bytes() == answer.content
        if "content-length" not in answer.headers:
            assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
        assert "etag" in impatient.get(at(form)).headers


def test_a_file_whose_maker_fails_is_not_taken_for_whole(
    impatient: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Making.write, []

    def write(making: Making, chunk: bytes) -> None:
        calls.append(chunk)
        if len(calls) == 2:
            # Long enough for the reader to have begun.
            time.sleep(1)
            raise OSError(errno.ENOSPC, "full")
        real(making, chunk)

    monkeypatch.setattr(Making, "write", write)
    messages: list[dict[str, object]] = []
    asked: list[bool] = []

    async def ask() -> None:
        async def receive() -> dict[str, object]:
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(30)
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, object]) -> None:
            messages.append(dict(message))

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": at("geojson"),
            "raw_path": at("geojson").encode(), "query_string": b"", "headers": [], "scheme": "http",
            "server": ("testserver", 80), "root_path": "",
        }  # fmt: skip
        with suppress(RuntimeError, OSError):
            await impatient.app(scope, receive, send)

    assert impatient.portal is not None
    impatient.portal.call(ask)
    # It had begun, so a status could not tell any more; but it has no end.
    assert messages[0]["status"] == 200 and str(messages[1]["body"]).startswith('b\'{"type":"FeatureCollection"')
    assert all(message["more_body"] for message in messages[1:])
    folder = tmp_path / "downloads" / str(impatient.app.state.city.database.url.database)  # type: ignore[attr-defined]
    assert wait_for(lambda: list(folder.iterdir()) == [])
    monkeypatch.setattr(Making, "write", real)
    assert impatient.get(at("geojson")).json()["numberReturned"] == COUNT


def test_a_folder_that_cannot_be_written_is_said_and_the_features_are_still_there(
    impatient: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "downloads").write_text("no folder")
    for form in FORMS:
        answer = impatient.get(at(form), headers={"Accept-Language": "en"})
        assert answer.status_code == 503 and f"/collections/{LAYER}/items" in answer.json()["detail"]
    assert impatient.get(ITEMS).status_code == impatient.get(f"/catalogue/{LAYER}").status_code == 200


def test_files_are_prepared_by_a_command(lab: LiveServer, tmp_path: Path) -> None:
    home = psutil.Process(lab.process.pid).environ()["TWIN_HOME"]
    environment = os.environ | {
        "TWIN_HOME": home, "TWIN_DATABASE": str(lab.database.url.database), "TWIN_DOWNLOADS": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "twin", "tiles", "prepare", LAYER, "--form", "csv", "--form", "gpkg", "--json"]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    files = json.loads(run.stdout)["files"]
    assert [file["form"] for file in files] == ["csv", "gpkg"]
    for file in files:
        content = Path(file["file"]).read_bytes()
        assert len(content) == file["bytes"] and hashlib.sha256(content).hexdigest() == file["sha256"]


def test_the_command_knows_every_form() -> None:
    assert tuple(known.FORMS) == commands.FORMS


def test_a_new_licence_is_a_new_file(lab: LiveServer, http: httpx.Client) -> None:
    def said() -> str:
        return http.get(at("geojson", None)).json()["attribution"]

    assert said() == "a test"
    with lab.database.session() as session:
        change_entry(session, LAYER, {"attribution": "somebody else"}, "test")
    lab.database.writer.dispose()
    assert wait_for(lambda: said() == "somebody else")


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_retired_version_s_files_go(lab: LiveServer, http: httpx.Client) -> None:
    fetch(http, at("csv", 1))
    files = list(folder_of(lab).glob("lab_plots_v1-*"))
    assert files
    for path in files:
        os.utime(path, (1, 1))
    retire(lab.database, LAYER, 1)
    lab.database.writer.dispose()
    assert wait_for(lambda: not list(folder_of(lab).glob("lab_plots_v1-*")))
    assert list(folder_of(lab).glob("lab_plots_v2-*"))
    assert http.get(at("csv", 1)).status_code == 404

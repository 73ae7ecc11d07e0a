"""Every format is read back with an independent reader and compared with the table; long answers need no memory."""

from __future__ import annotations

import csv
import io
import json

import geopandas as gpd
import httpx
import pandas as pd
import psutil
import psycopg
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import LiveServer
from tests.features.conftest import COUNT, ITEMS, LAYER, NAMES, TABLE
from twin.spreadsheets import FORMULA, NUMBER, cell

BIG = 150_000


@pytest.fixture(scope="module")
def expected(sql: psycopg.Connection) -> pd.DataFrame:
    columns = ", ".join(f'"{n}"' for n in NAMES)
    found = sql.execute(f"SELECT id, {columns}, ST_AsBinary(geom) FROM {TABLE} ORDER BY fid").fetchall()
    return pd.DataFrame(found, columns=["id", *NAMES, "wkb"])


def get(http: httpx.Client, form: str, **given: object) -> httpx.Response:
    answer = http.get(ITEMS, params={"f": form, **given})
    assert answer.status_code == 200, answer.text[:500]
    return answer


def plain(value: object) -> object:
    if value is None or value is pd.NaT or value != value:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def compare(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(found) == COUNT
    merged = found.merge(expected, on="id", suffixes=("", "_expected"), validate="one_to_one")
    assert len(merged) == COUNT
    for name in NAMES:
        got, wanted = ([str(plain(v)) for v in merged[column]] for column in (name, f"{name}_expected"))
        if name == "since":
            got, wanted = ([v[:10] for v in side] for side in (got, wanted))
        if name in ("floors", "size"):
            got, wanted = ([None if v == "None" else float(v) for v in side] for side in (got, wanted))
        if name == "built":
            got = [v.replace("1.0", "True").replace("0.0", "False") for v in got]
        if name == "seen_at":
            got, wanted = ([None if v == "None" else pd.Timestamp(v) for v in side] for side in (got, wanted))
        assert got == wanted, name
    shapes = shapely.from_wkb(merged["wkb"].to_numpy())
    assert shapely.equals_exact(merged.geometry.to_numpy(), shapes, tolerance=1e-7).all()


def test_geoparquet_is_the_table(http: httpx.Client, expected: pd.DataFrame) -> None:
    answer = get(http, "geoparquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    found = gpd.read_parquet(io.BytesIO(answer.content))
    assert found.crs == "OGC:CRS84" and list(found.columns) == ["id", *NAMES, "geometry"]
    assert list(found["id"]) == list(expected["id"])
    compare(found, expected)


def test_flatgeobuf_is_the_table_and_has_its_index(http: httpx.Client, expected: pd.DataFrame) -> None:
    answer = get(http, "flatgeobuf")
    assert answer.content[:3] == b"fgb"
    compare(gpd.read_file(io.BytesIO(answer.content)), expected)
    window = gpd.read_file(io.BytesIO(answer.content), bbox=(106.70, 10.77, 106.7012, 10.7712))
    inside = shapely.intersects(shapely.from_wkb(expected["wkb"]), shapely.box(106.70, 10.77, 106.7012, 10.7712))
    assert set(window["id"]) == set(expected["id"][inside])


@pytest.mark.parametrize(("form", "mark"), [("ndjson", ""), ("geojsonseq", "\x1e")])
def test_lines_are_the_features(http: httpx.Client, form: str, mark: str) -> None:
    lines = get(http, form).text.removesuffix("\n").split("\n")
    assert all(line.startswith(mark) for line in lines)
    features = http.get(ITEMS, params={"limit": 1000}).json()["features"]
    assert [json.loads(line.removeprefix(mark)) for line in lines] == features


def test_csv_is_the_table_and_no_cell_is_a_formula(http: httpx.Client, expected: pd.DataFrame) -> None:
    answer = get(http, "csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert f'filename="{LAYER}_v2.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [r["id"] for r in rows] == list(expected["id"])
    for row, label in zip(rows, expected["label"], strict=True):
        assert row["label"] in (plain(label) or "", f"'{label}")
        assert row["label"][:1] not in ("=", "@", "\t", "+") and (row["label"][:1] != "-" or row["label"] == "-5")
    assert {r["label"] for r in rows} >= {'\'=HYPERLINK("x")', "'@sum", "-5", "'-x", "'+84 28", "'\ttab", "line\nbreak"}
    assert [float(r["size"]) if r["size"] else None for r in rows] == [plain(v) for v in expected["size"]]
    assert {r["built"] for r in rows} == {"true", "false", ""}
    shapes = shapely.from_wkt([r["wkt"] for r in rows])
    assert shapely.equals_exact(shapes, shapely.from_wkb(expected["wkb"].to_numpy()), tolerance=1e-7).all()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"), (" =1+1", "' =1+1"), ("＝1", "'＝1"), ("-1", "-1"), ("+1.5e3", "+1.5e3"), ("-1-1", "'-1-1"),
        ("\r=1", "'\r=1"), ("a=1", "a=1"), (None, ""), (True, "true"), (-3.5, -3.5), (float("nan"), ""),
        ("@x", "'@x"), ("-", "'-"), ("+84", "+84"), ("'=1", "''=1"), ("'ngày", "'ngày"), ("'-5", "''-5"), ("''@", "'''@"),
    ],
)  # fmt: skip
def test_a_cell_never_begins_a_formula(value: object, written: object) -> None:
    assert cell(value) == written


@given(st.text(alphabet="'=+-@\t\r\n 1a＝đ\0", max_size=6))
def test_taking_the_apostrophe_away_gives_the_text_back(text: str) -> None:
    written = cell(text)
    rest = written[1:] if written.startswith("'") else ""
    # The rule as docs/catalogue.md states it.
    marked = FORMULA.match(rest) is not None and not NUMBER.fullmatch(rest)
    assert (rest if marked else written) == text


def test_jsonfg_says_when_features_were(http: httpx.Client, expected: pd.DataFrame) -> None:
    document = get(http, "jsonfg", limit=1000).json()
    assert document["conformsTo"] == ["http://www.opengis.net/spec/json-fg-1/1.0/conf/core"]
    assert document["geometryDimension"] == 2 and "coordRefSys" not in document
    for feature, seen in zip(document["features"], expected["seen_at"], strict=True):
        assert feature["place"] is None
        if plain(seen) is None:
            assert feature["time"] is None
        else:
            assert pd.Timestamp(feature["time"]["timestamp"]) == seen and feature["time"]["timestamp"].endswith("Z")
    one = http.get(f"{ITEMS}/p7", params={"f": "jsonfg"}).json()
    assert one["conformsTo"] == document["conformsTo"] and one["featureType"] == document["featureType"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/geo+json"), ("application/json", "application/geo+json"), ("text/csv", "text/csv"),
        ("application/geo+json;q=0.5, text/html", "text/html"), ("text/*", "text/html"), ("", "application/geo+json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/vnd.flatgeobuf", "application/vnd.flatgeobuf"), ("image/png, */*;q=0.1", "application/geo+json"),
        ("application/fg+json", "application/fg+json"), ("application/x-ndjson", "application/x-ndjson"),
    ],
)  # fmt: skip
def test_accept_chooses_the_format(http: httpx.Client, accept: str, content_type: str) -> None:
    answer = http.get(ITEMS, headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == content_type
    assert "Accept" in answer.headers["vary"]


def test_a_format_that_is_not_offered_is_406_and_f_wins_over_accept(http: httpx.Client) -> None:
    assert http.get(ITEMS, headers={"Accept": "image/png"}).status_code == 406
    assert http.get(ITEMS, params={"f": "csv"}, headers={"Accept": "image/png"}).status_code == 200


def test_no_features_are_an_empty_answer_in_every_format(http: httpx.Client) -> None:
    none = {"bbox": "0,0,1,1"}
    assert http.get(ITEMS, params=none).json()["features"] == []
    assert http.get(ITEMS, params={**none, "limit": 5000}).json()["features"] == []
    assert http.get(ITEMS, params={**none, "crs": "EPSG:9210"}).json()["features"] == []
    assert get(http, "ndjson", **none).content == b""
    assert len(get(http, "csv", **none).text.splitlines()) == 1
    assert gpd.read_parquet(io.BytesIO(get(http, "geoparquet", **none).content)).empty
    assert gpd.read_file(io.BytesIO(get(http, "flatgeobuf", **none).content)).empty
    assert "Không có đối tượng nào" in get(http, "html", **none, lang="vi").text


def test_a_long_answer_leaves_the_server_s_memory_flat(
    lab: LiveServer, http: httpx.Client, sql: psycopg.Connection
) -> None:
    # The first version's table is filled up behind the catalogue's back; only this test reads it.
    sql.execute(
        "INSERT INTO layer_data.lab_plots_v1 (fid, id, label, size, importance, digest, cell, geom) "
        "SELECT 1000000 + n, 'x' || n, repeat('nhãn ', 8), n, 1, n, 0, "
        "ST_MakeEnvelope(106.7, 10.7, 106.7 + n * 1e-9, 10.7 + n * 1e-9, 4326) "
        f"FROM generate_series(1, {BIG}) AS n"
    )
    sql.execute("ANALYZE layer_data.lab_plots_v1")
    server = psutil.Process(lab.process.pid)

    def memory() -> int:
        return sum(p.memory_info().rss for p in [server, *server.children()])

    for form in ("geoparquet", "flatgeobuf", "csv", "ndjson"):
        get(http, form, limit=20_000, version=1)
    before = highest = memory()
    for form, least in (
        ("ndjson", 30_000_000),
        ("csv", 18_000_000),
        ("geoparquet", 1_500_000),
        ("flatgeobuf", 18_000_000),
    ):
        received = 0
        asked = {"params": {"f": form, "version": 1}, "headers": {"Accept-Encoding": "identity"}}
        with http.stream("GET", ITEMS, **asked) as answer:
            for chunk in answer.iter_raw(1 << 20):
                received += len(chunk)
                highest = max(highest, memory())
        assert received > least, form
    assert highest - before < 20_000_000, (before, highest)


def test_a_reader_that_goes_away_frees_its_connection(http: httpx.Client, lab: LiveServer) -> None:
    for _ in range(12):
        with (
            httpx.Client(base_url=lab.url) as client,
            client.stream("GET", ITEMS, params={"f": "ndjson", "version": 1, "limit": 200_000}) as answer,
        ):
            next(answer.iter_raw(1000))
    assert len(get(http, "ndjson", limit=5).text.splitlines()) == 5

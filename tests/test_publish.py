"""An officer's way: check a file, publish it, mend what was set aside, publish again."""

from __future__ import annotations

import json
import random
import subprocess
import time
import tomllib
from pathlib import Path

import geopandas as gpd
import mercantile
import numpy as np
import pytest
import shapely
import sqlalchemy as sa

from ingest.publish.engine import PublishRequest, check_file, publish_file
from layers.registry import theme
from tests.commands import run
from tests.conftest import HOME
from tests.forks import forks
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.crs import transform
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.text import Text

LAYER = "construction.houses"


@pytest.fixture
def city(database: Database) -> Database:
    with database.session() as session:
        ensure_agency(session, "construction", Text(en="Construction", vi="Sở Xây dựng"))
        ensure_layer(session, LayerEntry(LAYER, "buildings", Text(en="Houses", vi="Nhà"), sharing=Sharing.OPEN))
    return database


def houses(count: int = 60, height: float = 9.0) -> gpd.GeoDataFrame:
    """Houses of Quận 1 with an officer's column names."""
    numbers = np.arange(count)
    x, y = 106.700 + (numbers % 10) * 3e-4, 10.775 + (numbers // 10) * 3e-4
    return gpd.GeoDataFrame(
        {
            "MaNha": [f"N{n:04d}" for n in numbers],
            "SoTang": (numbers % 5 + 1).astype("int64"),
            "ChieuCao": height + numbers % 7,
            "DiaChi": [f"{n + 1} Nguyễn Huệ, phường Bến Nghé" for n in numbers],
        },
        geometry=shapely.box(x, y, x + 1.2e-4, y + 2e-4),
        crs=4326,
    )


def publish(database: Database, path: Path, **request: object) -> object:
    settings = Settings(home=HOME, database=database.url.database)
    return publish_file(
        database, settings, path, PublishRequest(LAYER, **request), "an officer", path.name, None, lambda *_: None
    )  # type: ignore[arg-type]


def twin(database: Database, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, TWIN_HOME=str(HOME), TWIN_DATABASE=str(database.url.database), **environment)


def rows(database: Database) -> dict[str, tuple]:
    with database.session() as session:
        table = read_catalogue(session)[LAYER].current.table
        found = session.execute(sa.text(f"SELECT id, levels, height, address, geom FROM layer_data.{table}")).all()
    return {row[0]: tuple(row[1:]) for row in found}


def test_a_vn2000_shapefile_without_prj_in_tcvn3_lands_where_it_belongs_and_reads_right(
    city: Database, tmp_path: Path
) -> None:
    from ingest.checks.encodings import decode_tcvn3

    letters = {decode_tcvn3(chr(byte)): chr(byte) for byte in range(255, 127, -1)}
    source = houses()
    legacy = source.set_geometry(
        shapely.transform(source.geometry.values, lambda c: transform(c, 4326, 9210)), crs=9210
    )
    # A DBF holds bytes; latin-1 carries them one to one.
    legacy["DiaChi"] = ["".join(letters.get(c, c) for c in text) for text in legacy["DiaChi"]]
    path = tmp_path / "nha.shp"
    legacy.to_file(path, encoding="ISO-8859-1")
    for ending in (".prj", ".cpg"):
        path.with_suffix(ending).unlink(missing_ok=True)

    result = publish(city, path)
    assert result.outcome is not None and result.outcome.features == 60
    assert result.report.to_dict()["crs"]["code"] == "EPSG:9210"
    found = rows(city)
    assert found["N0007"][2] == "8 Nguyễn Huệ, phường Bến Nghé"
    assert found["N0007"][:2] == (3, 9.0)
    with city.session() as session:
        table = read_catalogue(session)[LAYER].current.table
        place = session.execute(
            sa.text(f"SELECT ST_AsText(ST_Centroid(geom)) FROM layer_data.{table} WHERE id = 'N0007'")
        )
        lng, lat = (float(v) for v in place.scalar_one()[6:-1].split())
    expected = source.geometry.iloc[7].centroid
    assert abs(lng - expected.x) < 2e-7 and abs(lat - expected.y) < 2e-7


def test_what_cannot_be_published_is_set_aside_mended_and_published_again(city: Database, tmp_path: Path) -> None:
    bad = houses()
    bad.loc[3, "ChieuCao"] = 9000
    bad.loc[4, "geometry"] = shapely.Polygon()
    path = tmp_path / "nha.gpkg"
    bad.to_file(path)
    first = publish(city, path)
    assert (first.outcome.features, first.outcome.quarantined, first.exit_code) == (58, 2, 1)

    out = tmp_path / "bad.gpkg"
    assert twin(city, "ingest", "quarantine", LAYER, "--out", str(out)).returncode == 0
    assert set(gpd.read_file(out)["reason"]) == {"field.range", "geometry.missing"}

    mended = houses().iloc[3:5]
    mended.to_file(tmp_path / "mended.gpkg")
    second = publish(city, tmp_path / "mended.gpkg", mode="upsert")
    assert (second.outcome.features, second.outcome.quarantined) == (60, 0)


def test_an_export_of_quarantine_comes_back_mended_without_its_notes(city: Database, tmp_path: Path) -> None:
    bad = houses().assign(GhiChu="khảo sát")
    bad["SoTang"] = bad["SoTang"].astype(object)
    bad.loc[[3, 7], "SoTang"] = "ba"
    bad.loc[4, "ChieuCao"] = 9000
    bad.astype({"SoTang": str}).to_file(tmp_path / "nha.gpkg")
    publish(city, tmp_path / "nha.gpkg")
    with city.session() as session:
        before = [column.name for column in read_catalogue(session)[LAYER].current.stored_columns]

    listed = twin(city, "ingest", "quarantine", LAYER)
    assert "      2  A value of the wrong type\n      1  A value out of range\n" in listed.stdout
    assert f"--layer {LAYER} --mode upsert" in listed.stderr

    out = tmp_path / "to_mend.gpkg"
    twin(city, "ingest", "quarantine", LAYER, "--out", str(out))
    mended = gpd.read_file(out)
    mended.loc[mended["reason"] == "field.type", "levels"] = "3"
    mended.loc[mended["reason"] == "field.range", "height"] = 12.5
    mended.to_file(tmp_path / "mended.gpkg")
    done = twin(city, "ingest", "publish", str(tmp_path / "mended.gpkg"), "--layer", LAYER, "--mode", "upsert")
    assert done.returncode == 0, done.stdout + done.stderr
    with city.session() as session:
        current = read_catalogue(session)[LAYER].current
    assert [column.name for column in current.stored_columns] == before
    assert (current.features, current.quarantined) == (60, 0)
    found = rows(city)
    assert (found["N0003"][0], found["N0007"][0], found["N0004"][1]) == (3, 3, 12.5)
    assert found["N0003"][2] == "4 Nguyễn Huệ, phường Bến Nghé"


def test_strict_refuses_all_and_a_dry_run_writes_nothing(city: Database, tmp_path: Path) -> None:
    bad = houses()
    bad.loc[3, "ChieuCao"] = 9000
    path = tmp_path / "nha.gpkg"
    bad.to_file(path)
    # A dry run ends as the publish would: the others would be published, unless one failure refuses all.
    for order, code in (({"strict": True}, 2), ({"dry_run": True}, 1), ({"strict": True, "dry_run": True}, 2)):
        result = publish(city, path, **order)
        assert result.outcome is None and result.report.bad == 1 and result.exit_code == code
    with city.session() as session:
        assert read_catalogue(session)[LAYER].current is None


def test_an_unchanged_file_makes_no_version_and_says_so(city: Database, tmp_path: Path) -> None:
    path = tmp_path / "nha.gpkg"
    houses().to_file(path)
    publish(city, path)
    done = twin(city, "ingest", "publish", str(path), "--layer", LAYER)
    assert done.returncode == 0 and "Nothing changed: version 1" in done.stderr
    told = json.loads(twin(city, "ingest", "publish", str(path), "--layer", LAYER, "--json").stdout)
    assert (told["unchanged"], told["version"]) == (True, 1)


def test_appending_what_is_there_already_sets_it_aside(city: Database, tmp_path: Path) -> None:
    houses(10).to_file(tmp_path / "a.gpkg")
    houses(12).to_file(tmp_path / "b.gpkg")
    publish(city, tmp_path / "a.gpkg")
    result = publish(city, tmp_path / "b.gpkg", mode="append")
    assert (result.outcome.features, result.outcome.quarantined) == (12, 10)
    with city.session() as session:
        assert set(session.scalars(sa.text("SELECT reason FROM twin.quarantine"))) == {"id.exists"}


def test_a_version_records_who_from_which_file_and_why(city: Database, tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "nha.gpkg"
    houses().to_file(path)
    assert twin(city, "ingest", "publish", str(path), "--layer", LAYER, "--reason", "survey of May").returncode == 0
    (fact,) = json.loads(twin(city, "ingest", "versions", LAYER, "--json").stdout)
    assert fact["reason"] == "survey of May" and fact["source"] == "nha.gpkg"
    assert fact["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert fact["by"] and fact["tool"]


def test_checking_writes_nothing_and_its_exit_code_tells(city: Database, tmp_path: Path) -> None:
    path = tmp_path / "nha.gpkg"
    houses().to_file(path)
    html, mapping = tmp_path / "report.html", tmp_path / "mapping.toml"
    done = twin(
        city, "ingest", "check", str(path), "--theme", "buildings", "--html", str(html), "--write-mapping", str(mapping)
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "<svg" in html.read_text() and "SoTang" in mapping.read_text()
    assert twin(city, "ingest", "check", str(path), "--theme", "buildings", "--mapping", str(mapping)).returncode == 0
    with city.session() as session:
        assert read_catalogue(session)[LAYER].current is None
    vietnamese = twin(city, "ingest", "check", str(path), "--theme", "buildings", LANG="vi_VN.UTF-8")
    assert vietnamese.stdout != done.stdout and "đối tượng" in vietnamese.stdout


def test_a_new_layer_is_made_with_its_theme_for_an_agency_that_is_known(city: Database, tmp_path: Path) -> None:
    path = tmp_path / "nha.gpkg"
    houses().to_file(path)
    unknown = twin(city, "ingest", "publish", str(path), "--layer", "construction.new")
    assert unknown.returncode == 3 and "--theme" in unknown.stderr
    made = twin(
        city,
        "ingest",
        "publish",
        str(path),
        "--layer",
        "construction.new",
        "--theme",
        "buildings",
        "--title",
        "Nhà mới",
    )
    assert made.returncode == 0, made.stderr
    stranger = twin(city, "ingest", "publish", str(path), "--layer", "nobody.new", "--theme", "buildings")
    assert stranger.returncode == 3 and "construction" in stranger.stderr


def test_a_layer_of_the_agency_s_own_is_proposed_made_published_and_served(city: Database, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from tiles.app import create_app

    table = tmp_path / "gieng.csv"
    kinds = ["khoan", "đào"] * 6
    table.write_text(
        "Mã,Loại,Sâu_m,lon,lat,Ngày khoan,Lưu lượng,Đo lúc\n"
        + "".join(
            f'G{i},{k},{i + 5.5},{106.7 + i / 1000},10.77,{i % 12 + 1:02}/03/2024,"{i},5",05/03/2024 {i:02}:30\n'
            for i, k in enumerate(kinds)
        )
    )
    contract = tmp_path / "gieng.toml"
    assert (
        twin(city, "layer", "new", str(table), "--layer", "construction.wells", "--write", str(contract)).returncode
        == 0
    )
    text = contract.read_text()
    assert 'unit = "m"' in text and "khoan" in text
    types = {field["name"]: field["type"] for field in tomllib.loads(text)["field"]}
    assert types == {
        "ma": "text",
        "loai": "text",
        "sau_m": "number",
        "ngay_khoan": "date",
        "luu_luong": "number",
        "do_luc": "time",
    }
    contract.write_text(text.replace('sharing = "restricted"', 'sharing = "open"'))
    made = twin(city, "layer", "new", "--contract", str(contract))
    assert made.returncode == 0, made.stderr
    done = twin(city, "ingest", "publish", str(table), "--layer", "construction.wells")
    assert done.returncode in (0, 1), done.stderr + done.stdout

    with city.session() as session:
        table_name = read_catalogue(session)["construction.wells"].current.table
        measured = session.execute(
            sa.text(
                f"SELECT ngay_khoan::text, luu_luong, (do_luc AT TIME ZONE 'UTC')::text FROM layer_data.{table_name} WHERE ma = 'G4'"
            )
        ).one()
    # The fifth of March, and half past four on the city's clock.
    assert tuple(measured) == ("2024-03-05", 4.5, "2024-03-04 21:30:00")

    settings = Settings(home=HOME, database=city.url.database)
    with TestClient(create_app(settings, city)) as client:
        deadline = time.monotonic() + 10
        while client.get("/health").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        described = client.get("/collections/construction.wells", params={"lang": "vi"}).json()
        assert described["featureCount"] == 12 and {e["label"] for e in described["legend"]} == {"khoan", "đào"}
        answer = client.get("/cells/at", params={"lng": 106.7, "lat": 10.77}).json()
        assert "G0" in json.dumps(answer)
        tile = mercantile.tile(106.705, 10.77, 13)
        assert client.get(f"/tiles/construction.wells/{tile.z}/{tile.x}/{tile.y}.mvt").content


def publish_at(url: str, path: str) -> None:
    publish(Database(sa.make_url(url), private=True), Path(path))


def test_a_publish_killed_at_random_leaves_the_old_or_the_new_and_the_retry_succeeds(
    city: Database, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.gpkg", tmp_path / "new.gpkg"
    houses(3000, height=9).to_file(old)
    houses(3000, height=20).to_file(new)
    publish(city, old)
    heights = {tuple(sorted({round(r[1]) for r in rows(city).values()}))}
    chance = random.Random(5)  # noqa: S311
    with forks(__name__) as processes:
        for _ in range(6):
            pid = processes.start("publish_at", city.url.render_as_string(False), str(new))
            time.sleep(chance.uniform(0.05, 1.5))
            processes.kill(pid)
            heights.add(tuple(sorted({round(r[1]) for r in rows(city).values()})))
    assert len(heights) <= 2
    result = publish(city, new)
    assert result.outcome.features == 3000
    assert min(r[1] for r in rows(city).values()) == 20
    with city.session() as session:
        assert set(session.scalars(sa.text("SELECT state FROM twin.layer_version"))) == {"published"}


def test_a_file_of_very_many_columns_is_published_in_any_mode_without_a_word_from_a_library(
    city: Database, tmp_path: Path
) -> None:
    wide = houses(5).assign(**{f"k{i}": np.arange(5) + i for i in range(150)})
    file = tmp_path / "wide.csv"
    for mode in ("replace", "upsert"):
        wide["k0"] += 1
        wide.to_csv(file, index=False)
        asked = ("--layer", LAYER, "--mode", mode, "--wkt", "geometry")
        done = twin(city, "ingest", "publish", str(file), *asked, PYTHONWARNINGS="always")
        assert done.returncode in (0, 1), done.stderr
        assert "PerformanceWarning" not in done.stderr
    with city.session() as session:
        current = read_catalogue(session)[LAYER].current
    assert current is not None and current.number == 2 and len(current.stored_columns) > 150


def test_what_was_set_aside_is_told_in_the_language_of_whoever_reads_it(city: Database, tmp_path: Path) -> None:
    bad = houses()
    bad.loc[3, "geometry"] = shapely.Point(106.7, 10.77)
    bad.loc[4, "ChieuCao"] = 9000
    path = tmp_path / "nha.gpkg"
    bad.to_file(path)
    done = twin(city, "ingest", "publish", str(path), "--layer", LAYER, LANG="vi_VN.UTF-8")
    assert done.returncode == 1 and "Cách ly 2" in done.stderr
    english = twin(city, "ingest", "quarantine", LAYER, COLUMNS="160").stdout
    assert "The wrong kind of geometry" in english and "polygons are expected" in english and "cần" not in english
    vietnamese = twin(city, "ingest", "quarantine", LAYER, LANG="vi_VN.UTF-8", COLUMNS="160").stdout
    assert "Sai kiểu hình học" in vietnamese and "cần vùng" in vietnamese and "expected" not in vietnamese
    told = {e["id"]: e for e in json.loads(twin(city, "ingest", "quarantine", LAYER, "--json").stdout)}
    assert told["N0003"]["reason"] == "geometry.kind" and told["N0003"]["detail"]["vi"].startswith("cần vùng")
    assert told["N0004"]["detail"] == {"en": "height = 9000.0", "vi": "height = 9000.0"}


def test_a_table_s_column_of_wkt_can_be_named_and_a_file_s_layers_are_listed(city: Database, tmp_path: Path) -> None:
    frame = houses(30)
    table = tmp_path / "nha.csv"
    frame.drop(columns="geometry").assign(ranh=frame.geometry.to_wkt(), lon=0, lat=0).to_csv(table, index=False)
    done = twin(city, "ingest", "publish", str(table), "--layer", LAYER, "--wkt", "ranh", "--crs", "EPSG:4326")
    assert done.returncode in (0, 1), done.stderr + done.stdout
    assert shapely.from_wkb(rows(city)["N0003"][3]).equals(frame.geometry.iloc[3])
    two = tmp_path / "hai.gpkg"
    houses(3).to_file(two, layer="nha")
    houses(4).to_file(two, layer="kho")
    asked = twin(city, "ingest", "publish", str(two), "--layer", LAYER)
    assert asked.returncode == 2 and "--source-layer: nha, kho" in asked.stderr
    wrong = twin(city, "ingest", "check", str(two), "--layer", LAYER, "--source-layer", "nhà", LANG="vi_VN.UTF-8")
    assert wrong.returncode == 2 and "không có lớp “nhà”" in wrong.stderr and "nha, kho" in wrong.stderr
    assert twin(city, "ingest", "publish", str(two), "--layer", LAYER, "--source-layer", "kho").returncode == 0
    assert len(rows(city)) == 4


REAL = [
    ("hcmc/population/Population_Ward_Level.shp", "population", 322),
    ("hcmc/boundaries/wards_2025_168.geojson", "boundaries", 168),
    ("hcmc/buildings/d7_buildings_5895.geojson", "buildings", 5895),
]


@pytest.mark.city
@pytest.mark.parametrize(("file", "theme_name", "count"), REAL)
def test_real_files_of_the_city_are_recognised_and_fit(city_data: Path, file: str, theme_name: str, count: int) -> None:
    report = check_file(
        city_data / file, theme(theme_name), PublishRequest("x.y"), Settings(home=HOME), lambda *_: None
    )
    assert report.good == count and report.publishable

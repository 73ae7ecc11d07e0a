"""Loading a whole city: from its description, or the sample; once, again, and after a death half-way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shapely
import sqlalchemy as sa

from ingest.mapping.description import read_spec
from ingest.publish import city as of_city
from ingest.publish.city import check_city, described_city, load_city
from ingest.publish.engine import sha256_of
from tests.conftest import HOME, ROOT, Quiet
from twin.catalogue.catalogue import read_catalogue
from twin.config import Settings
from twin.db.database import Database
from twin.errors import BadInput, Conflict

MINIMAL = """
id = "test"
title = { vi = "Thử", en = "Test" }
[[agency]]
name = "transport"
title = { vi = "Giao thông", en = "Transport" }
[[layer]]
id = "transport.lamps"
theme = "places"
title = { vi = "Đèn", en = "Lamps" }
licence = "CC0-1.0"
attribution = "a test"
[[layer.source]]
file = "lamps.csv"
longitude = "x"
latitude = "y"
id = "no"
[layer.source.fields]
name = { template = "{street} {no}" }
kind = { from = "sort", values = { big = "sight" }, other = "park" }
"""
LAMPS = "no,x,y,street,sort,Ghi chú\n1,106.70,10.77,Hàm Nghi,big,\n2,106.71,10.77,Hàm Nghi,bus_station,mới\n3,,10.77,Lê Lợi,,x\n4,106.72,10.78,Lê Lợi,odd,y\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "city.toml").write_text(MINIMAL)
    (tmp_path / "lamps.csv").write_text(LAMPS)
    return tmp_path


def rows(database: Database, table: str) -> dict[str, tuple]:
    with database.session() as session:
        found = session.execute(
            sa.text(f"SELECT id, name, kind, ghi_chu, ST_AsText(geom) FROM layer_data.{table}")
        ).all()
    return {row[0]: tuple(row[1:]) for row in found}


def test_a_described_file_becomes_a_layer_and_what_cannot_be_used_is_set_aside(
    database: Database, settings: Settings, folder: Path
) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    assert rows(database, "transport_lamps_v1") == {
        "1": ("Hàm Nghi 1", "sight", None, "POINT(106.7 10.77)"),
        "2": ("Hàm Nghi 2", "station", "mới", "POINT(106.71 10.77)"),
        "4": ("Lê Lợi 4", "park", "y", "POINT(106.72 10.78)"),
    }
    with database.session() as session:
        aside = session.execute(sa.text("SELECT feature_id, reason FROM twin.quarantine")).all()
    assert aside == [("3", "geometry.missing")]


def test_a_load_reads_each_file_for_its_digest_once(
    database: Database, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(of_city, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    load_city(database, described_city(folder), settings, Quiet())
    assert read == ["lamps.csv"]


def test_a_second_load_publishes_nothing(database: Database, settings: Settings, folder: Path) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    again = load_city(database, described_city(folder), settings, Quiet())
    assert (again.published, again.unchanged) == ([], ["transport.lamps"])


def test_a_changed_file_and_a_changed_mapping_are_published_anew(
    database: Database, settings: Settings, folder: Path
) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    (folder / "lamps.csv").write_text(LAMPS + "5,106.73,10.78,Pasteur,big,\n")
    assert load_city(database, described_city(folder), settings, Quiet()).published
    (folder / "city.toml").write_text(MINIMAL.replace('"{street} {no}"', '"{no} {street}"'))
    assert load_city(database, described_city(folder), settings, Quiet()).published
    with database.session() as session:
        assert read_catalogue(session)["transport.lamps"].current.number == 3


def test_a_title_can_change_without_a_new_version(database: Database, settings: Settings, folder: Path) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    (folder / "city.toml").write_text(MINIMAL.replace("Lamps", "Street lamps"))
    assert not load_city(database, described_city(folder), settings, Quiet()).published
    with database.session() as session:
        assert read_catalogue(session)["transport.lamps"].title.en == "Street lamps"


def test_another_city_does_not_mix_into_a_database(database: Database, settings: Settings, folder: Path) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    (folder / "city.toml").write_text(MINIMAL.replace('id = "test"', 'id = "other"'))
    with pytest.raises(Conflict, match="test"):
        load_city(database, described_city(folder), settings, Quiet())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('theme = "places"', 'theme = "lamps"'), "lamps"),
        (("name = {", "nmae = {"), "nmae"),
        (("licence", "license"), "licen"),
        (("[[agency]]", "[[agency"), "city.toml"),
        (("other = \"park\"", "otter = \"park\""), "kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_description_is_named(
    database: Database, settings: Settings, folder: Path, change: tuple[str, str], named: str
) -> None:
    (folder / "city.toml").write_text(MINIMAL.replace(*change))
    with pytest.raises(BadInput, match=named):
        load_city(database, described_city(folder), settings, Quiet())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('"lamps.csv"', '"../lamps.csv"'), "outside"),
        (('"lamps.csv"', '"gone.csv"'), "gone.csv"),
        (('longitude = "x"', 'longitude = "lon"'), "lon"),
        (('from = "sort"', 'from = "sorte"'), "sorte"),
        (('kind = {', '# kind = {'), "required"),
        (('id = "no"', 'id = "no"\ncrs = "EPSG:32633"'), "Far outside|outside"),
    ],
)  # fmt: skip
def test_a_layer_whose_files_cannot_be_published_keeps_its_version_and_says_why(
    database: Database, settings: Settings, folder: Path, change: tuple[str, str], named: str
) -> None:
    load_city(database, described_city(folder), settings, Quiet())
    before = rows(database, "transport_lamps_v1")
    (folder / "city.toml").write_text(MINIMAL.replace(*change))
    loaded = load_city(database, described_city(folder), settings, Quiet())
    assert list(loaded.refused) == ["transport.lamps"] and re.search(named, loaded.refused["transport.lamps"].en)
    with database.session() as session:
        current = read_catalogue(session)["transport.lamps"].current
    assert (current.number, current.features, rows(database, "transport_lamps_v1")) == (1, 3, before)


def test_a_layer_of_two_files_keeps_its_version_when_one_of_them_lost_its_values(
    database: Database, settings: Settings, folder: Path
) -> None:
    second = (
        MINIMAL[MINIMAL.index("[[layer.source]]") :]
        .replace("lamps.csv", "more.csv")
        .replace('id = "no"', 'id = "m{no}"')
    )
    (folder / "city.toml").write_text(MINIMAL + second)
    (folder / "more.csv").write_text(LAMPS)
    assert load_city(database, described_city(folder), settings, Quiet()).published
    assert len(rows(database, "transport_lamps_v1")) == 6
    (folder / "more.csv").write_text(LAMPS.replace("big", "").replace("bus_station", "").replace("odd", ""))
    loaded = load_city(database, described_city(folder), settings, Quiet())
    assert "more.csv" in loaded.refused["transport.lamps"].en
    assert len(rows(database, "transport_lamps_v1")) == 6


def test_to_check_a_layer_that_a_city_does_not_describe_is_refused_and_the_layers_are_named(
    database: Database, settings: Settings, folder: Path
) -> None:
    with pytest.raises(BadInput, match=r"transport\.lamp\. .* transport\.lamps"):
        check_city(described_city(folder), settings, Quiet(), database, ["transport.lamp"])
    reports, refused = check_city(described_city(folder), settings, Quiet(), database, ["transport.lamps"])
    assert list(reports) == ["transport.lamps"] and not refused


def test_the_other_layers_of_a_city_are_loaded_when_one_cannot_be(
    database: Database, settings: Settings, folder: Path
) -> None:
    layer = MINIMAL[MINIMAL.index("[[layer]]") :].replace("transport.lamps", "transport.bulbs")
    (folder / "city.toml").write_text(MINIMAL.replace('"lamps.csv"', '"gone.csv"') + layer)
    loaded = load_city(database, described_city(folder), settings, Quiet())
    assert (list(loaded.refused), loaded.published) == (["transport.lamps"], ["transport.bulbs"])


def test_text_of_a_described_file_in_a_legacy_encoding_is_decoded_and_its_digest_is_kept(
    database: Database, settings: Settings, folder: Path
) -> None:
    from tests.checks.legacy_text import as_tcvn3

    names = ["Bệnh viện Chợ Rẫy", "Trường tiểu học Đuốc Sống", "Chợ Bến Thành", "Công viên Lê Văn Tám"] * 5
    lines = [f"{i},{106.70 + i / 1000},10.77,{name},big," for i, name in enumerate(names)]
    (folder / "lamps.csv").write_text(as_tcvn3("\n".join(["no,x,y,street,sort,note", *lines])), "latin-1")
    load_city(database, described_city(folder), settings, Quiet())
    with database.session() as session:
        published = set(session.scalars(sa.text("SELECT name FROM layer_data.transport_lamps_v1")))
        digest = session.scalar(sa.text("SELECT source_sha256 FROM twin.layer_version"))
    assert "Bệnh viện Chợ Rẫy 0" in published
    assert digest == hashlib.sha256((folder / "lamps.csv").read_bytes()).hexdigest()


def test_a_file_that_is_something_else_is_refused(database: Database, settings: Settings, folder: Path) -> None:
    (folder / "city.toml").write_text(MINIMAL.replace("lamps.csv", "lamps.geojson"))
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    vrt = f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>{folder}/secret.csv</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    for content in (vrt, "", "not json", "\x00\xff" * 50, '{"type": "FeatureCollection"'):
        (folder / "lamps.geojson").write_text(content)
        loaded = load_city(database, described_city(folder), settings, Quiet())
        assert "lamps.geojson" in loaded.refused["transport.lamps"].en


def contents(database: Database) -> dict[str, str]:
    with database.session() as session:
        found = session.execute(
            sa.text(
                "SELECT v.table_name, v.content FROM twin.layer l JOIN twin.layer_version v ON v.id = l.current_version_id"
            )
        )
        return {table.rsplit("_v", 1)[0]: content for table, content in found}


def test_killing_the_loader_again_and_again_and_starting_it_again_gives_the_same_city(
    database: Database, sample_database: Database
) -> None:
    command = [
        sys.executable,
        "-m",
        "twin",
        "ingest",
        "city",
        "--buildings",
        "600",
        "--database",
        str(database.url.database),
    ]
    environment = os.environ | {"TWIN_HOME": str(HOME)}
    # Each one goes on where the last was killed: a moment after the first layer, and after two further ones.
    for layers, moment in ((1, 0.15), (4, 0.5), (9, 0.3)):
        loader = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while loader.poll() is None and len(contents(database)) < layers and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moment)
        loader.send_signal(signal.SIGKILL)
        loader.wait()
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=120, capture_output=True)
    assert contents(database) == contents(sample_database)
    with database.session() as session:
        states = set(session.scalars(sa.text("SELECT state FROM twin.layer_version")))
    assert states == {"published"}


def test_the_sample_city_is_marked_as_a_sample_in_every_layer(sample_database: Database) -> None:
    with sample_database.session() as session:
        layers = read_catalogue(session).values()
    assert len(layers) == 17
    assert all(item.sample and "mẫu" in item.attribution and item.current.quarantined == 0 for item in layers)


def test_the_description_that_comes_along_is_valid_and_speaks_both_languages() -> None:
    spec = read_spec(ROOT / "ingest" / "cities" / "hcmc.toml")
    assert len({layer.id for layer in spec.layer}) == len(spec.layer) == 30
    assert {layer.id.split(".")[0] for layer in spec.layer} == {agency.name for agency in spec.agency}


# With the city's real files --------------------------------------------------------------------------------------------

COUNTS = {
    "planning.wards": 168, "planning.wards_2008": 322, "planning.districts": 22, "statistics.population_2019": 322,
    "statistics.population_2025": 167, "construction.buildings_d7": 5895, "planning.zoning_d7": 629,
    "environment.flood_spots": 107, "transport.cameras": 282, "transport.bus_routes": 331, "transport.bus_stops": 5382,
    "environment.air_stations": 21, "education.schools": 1839, "health.hospitals": 178, "transport.metro_stations": 40,
    "transport.traffic_segments": 1559, "environment.lakes_2026": 365, "transport.roads_2026": 7127,
    "environment.land_cover": 110825, "environment.flood_depth_1p5m": 111797,
}  # fmt: skip


@pytest.mark.city
def test_the_real_city_s_layers_have_the_counts_that_their_sources_state(real_city: Database) -> None:
    with real_city.session() as session:
        layers = read_catalogue(session)
    assert {name: layers[name].current.features for name in COUNTS} == COUNTS
    assert layers["transport.roads"].current.features > 32_000
    assert layers["transport.roads"].current.features + layers["transport.roads"].current.quarantined > 33_000
    assert layers["construction.buildings"].current.features > 5_000


@pytest.mark.city
def test_the_census_adds_up_and_every_flood_spot_lies_in_a_ward_of_2025(real_city: Database) -> None:
    with real_city.session() as session:
        assert (
            session.scalar(sa.text("SELECT sum(population) FROM layer_data.statistics_population_2019_v1")) == 8_993_082
        )
        inside = session.scalar(
            sa.text(
                "SELECT count(DISTINCT f.fid) FROM layer_data.environment_flood_spots_v1 f "
                "JOIN layer_data.planning_wards_v1 w ON ST_Intersects(f.geom, w.geom)"
            )
        )
        tallest = session.scalar(sa.text("SELECT max(height) FROM layer_data.construction_buildings_d7_v1"))
    assert (inside, tallest) == (107, 210)


@pytest.mark.city
def test_old_districts_come_out_of_their_collections_as_polygons(real_city: Database, city_data: Path) -> None:
    source = json.loads((city_data / "hcmc/boundaries/districts_2021_22.geojson").read_text())
    expected = sum(shapely.geometry.shape(f["geometry"]).area for f in source["features"])
    with real_city.session() as session:
        kinds = set(session.scalars(sa.text("SELECT GeometryType(geom) FROM layer_data.planning_districts_v1")))
        area = session.scalar(sa.text("SELECT sum(ST_Area(geom)) FROM layer_data.planning_districts_v1"))
    assert kinds <= {"POLYGON", "MULTIPOLYGON"}
    assert area == pytest.approx(expected, rel=1e-3)


@pytest.mark.city
def test_vietnamese_names_arrive_whole(real_city: Database) -> None:
    with real_city.session() as session:
        wards = set(session.scalars(sa.text("SELECT name FROM layer_data.planning_wards_v1")))
        streets = set(session.scalars(sa.text("SELECT name FROM layer_data.transport_roads_v1")))
    assert {"Thủ Dầu Một", "Thạnh An", "Tân Định"} <= wards
    assert any(name and "Nguyễn Huệ" in name for name in streets)


RASTER = """
id = "test"
title = { vi = "Thử", en = "Test" }
[[agency]]
name = "environment"
title = { vi = "Môi trường", en = "Environment" }
[[layer]]
id = "environment.cover"
theme = "land_cover"
title = { vi = "Lớp phủ", en = "Cover" }
licence = "CC0-1.0"
attribution = "a test"
[[layer.source]]
file = "cover.tif"
[layer.source.codes]
10 = "trees"
"""


def test_a_described_raster_becomes_a_layer_of_cells(database: Database, settings: Settings, tmp_path: Path) -> None:
    import numpy as np

    from tests.test_raster_publish import write

    settings = settings.model_copy(update={"rasters": tmp_path / "rasters"})
    (tmp_path / "city.toml").write_text(RASTER)
    write(tmp_path / "cover.tif", np.full((60, 60), 10, np.uint8))
    load_city(database, described_city(tmp_path), settings, Quiet())
    again = load_city(database, described_city(tmp_path), settings, Quiet())
    assert (again.published, again.unchanged) == ([], ["environment.cover"])
    with database.session() as session:
        current = read_catalogue(session)["environment.cover"].current
        assert session.scalar(sa.text(f"SELECT count(*) FROM layer_data.{current.table} WHERE cover = 'trees'")) > 200
    write(tmp_path / "cover.tif", np.full((60, 60), 99, np.uint8))
    loaded = load_city(database, described_city(tmp_path), settings, Quiet())
    assert "cover.tif" in loaded.refused["environment.cover"].en

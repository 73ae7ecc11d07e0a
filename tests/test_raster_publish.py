"""A raster as a layer: checked, published with its file and its cells, compared, taken back, retired."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import h3
import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from rasterio.transform import from_origin

from ingest.publish.engine import PublishRequest, PublishResult, check_file, publish_file
from layers.registry import theme
from tests.commands import run
from tests.conftest import HOME
from tests.forks import forks
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.cells.cover import parse_cell
from twin.config import Settings
from twin.crs import transform
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.text import Text

COVER, GROUND = "environment.land_cover", "environment.elevation"
WEST, NORTH, SIZE = 680_000.0, 1_192_000.0, 30.0


@pytest.fixture
def city(database: Database) -> Database:
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Sở Tài nguyên và Môi trường"))
        for layer, of in ((COVER, "land_cover"), (GROUND, "elevation")):
            ensure_layer(session, LayerEntry(layer, of, Text(en=layer, vi=layer), sharing=Sharing.OPEN))
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rasters"


def write(path: Path, values: np.ndarray, crs: int | None = 32648, corner: tuple[float, float] = (WEST, NORTH),
          size: float = SIZE, **profile: object) -> Path:  # fmt: skip
    bands = values if values.ndim == 3 else values[None]
    options = {"nodata": -9999.0 if bands.dtype.kind == "f" else 0} | profile
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype,
        crs=f"EPSG:{crs}" if crs else None, transform=from_origin(*corner, size, size), **options,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


def classes(seed: int = 1) -> np.ndarray:
    """Land cover of 3.6 by 2.7 km in Quận 1 and Bình Thạnh: patches of classes, a corner without data."""
    patches = np.random.default_rng(seed).choice([1, 2, 5, 7, 7, 11], (18, 24)).astype(np.uint8)
    values = np.kron(patches, np.ones((5, 5), np.uint8))
    values[:10, :10] = 0
    return values


def ground(lift: float = 0.0) -> np.ndarray:
    """Heights from 0 to 6 m, falling to the east."""
    x, y = np.meshgrid(np.linspace(6, 0, 120), np.linspace(0, 1, 90))
    return (x + 0.2 * np.sin(9 * y) + 0.2 + lift).astype(np.float32)


def settings_of(database: Database, folder: Path, **more: object) -> Settings:
    return Settings(home=HOME, database=database.url.database, rasters=folder, **more)  # type: ignore[arg-type]


def publish(database: Database, folder: Path, path: Path, layer: str = COVER, keep: int = 5, **request: object
            ) -> PublishResult:  # fmt: skip
    settings = settings_of(database, folder, keep_versions=keep)
    return publish_file(
        database, settings, path, PublishRequest(layer, **request), "an officer", path.name, None, lambda *_: None
    )  # type: ignore[arg-type]


def twin(database: Database, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run(
        *arguments, TWIN_HOME=str(HOME), TWIN_DATABASE=str(database.url.database), TWIN_RASTERS=str(folder), **more
    )


def table_of(database: Database, layer: str = COVER) -> str:
    with database.session() as session:
        current = read_catalogue(session)[layer].current
        assert current is not None
        return current.table


def by_hand(values: np.ndarray, known: np.ndarray, resolution: int) -> dict[str, list[float]]:
    """The values of each cell, pixel by pixel with h3 alone."""
    found: dict[str, list[float]] = {}
    rows, columns = np.nonzero(known)
    centres = np.column_stack([WEST + (columns + 0.5) * SIZE, NORTH - (rows + 0.5) * SIZE])
    for (x, y), value in zip(transform(centres, 32648), values[rows, columns], strict=True):
        found.setdefault(h3.latlng_to_cell(y, x, resolution), []).append(float(value))
    return found


def test_a_raster_of_classes_is_published_as_a_file_and_as_cells(city: Database, folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "phu.tif", classes())
    done = publish(city, folder, file, reason="first map")
    assert done.exit_code == 0 and done.outcome is not None
    expected = by_hand(classes(), classes() != 0, 10)
    assert done.outcome.features == done.outcome.cells == len(expected)

    with city.session() as session:
        version = read_catalogue(session)[COVER].current
        rows = session.execute(
            sa.text(
                f"SELECT f.id, f.cover, f.share, f.samples, ST_X(ST_Centroid(geom)), ST_Y(ST_Centroid(geom)), "
                f"c.cell, c.whole FROM layer_data.{version.table} f JOIN layer_data.{version.table}_cells c USING (fid)"
            )
        ).all()
    terms = {1: "water", 2: "trees", 5: "crops", 7: "built", 11: "grass"}
    assert {row[0] for row in rows} == set(expected)
    for cell, cover, share, samples, x, y, index, whole in rows:
        counts = Counter(terms[int(v)] for v in expected[cell])
        assert counts[cover] == max(counts.values())
        assert (samples, round(share * samples)) == (counts.total(), counts[cover])
        lat, lng = h3.cell_to_latlng(cell)
        assert abs(x - lng) < 1e-6 and abs(y - lat) < 1e-6
        assert whole and index == parse_cell(cell)

    raster = version.raster
    copy = folder / raster["path"]
    assert [p.name for p in folder.iterdir()] == [copy.name]
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == raster["sha256"]
    assert (raster["crs"], raster["width"], raster["height"], raster["nodata"]) == ("EPSG:32648", 120, 90, 0)
    assert sum(count for _, count in raster["classes"].values()) == int((classes() != 0).sum())
    with rasterio.open(copy) as stored:
        assert np.array_equal(stored.read(1), classes())
        assert stored.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_raster_of_quantities_gives_mean_lowest_and_highest(city: Database, folder: Path, tmp_path: Path) -> None:
    values = ground()
    values[:20] = -9999
    done = publish(city, folder, write(tmp_path / "dem.tif", values), GROUND)
    expected = by_hand(values, values != -9999, 10)
    assert done.outcome is not None and done.outcome.features == len(expected)
    with city.session() as session:
        rows = session.execute(
            sa.text(f"SELECT id, elevation, lowest, highest, samples FROM layer_data.{table_of(city, GROUND)}")
        ).all()
        raster = read_catalogue(session)[GROUND].current.raster
    for cell, mean, lowest, highest, samples in rows:
        assert mean == pytest.approx(np.mean(expected[cell]), abs=2e-6)
        assert (lowest, highest, samples) == (min(expected[cell]), max(expected[cell]), len(expected[cell]))
    assert raster["minimum"] == pytest.approx(values[values > -9999].min())
    assert raster["unit"] == "m"


def test_an_unchanged_raster_makes_no_version_and_leaves_no_file(city: Database, folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "phu.tif", classes())
    publish(city, folder, file)
    again = publish(city, folder, file)
    assert again.outcome.unchanged and again.outcome.number == 1
    assert len(list(folder.iterdir())) == 1
    # One pixel of another class, which no cell's class may show, is another raster.
    values = classes()
    values[40, 40] = 1 if values[40, 40] != 1 else 2
    assert publish(city, folder, write(tmp_path / "b.tif", values)).outcome.number == 2


def test_strict_and_dry_run_write_nothing_and_left_out_pixels_are_counted(
    city: Database, folder: Path, tmp_path: Path
) -> None:
    values = classes()
    values[50:52, 50:60] = 77
    file = write(tmp_path / "phu.tif", values)
    # A dry run ends as the publish would.
    for order, code in (({"strict": True}, 2), ({"dry_run": True}, 1), ({"strict": True, "dry_run": True}, 2)):
        result = publish(city, folder, file, **order)
        assert result.outcome is None and result.report.bad == 20 and result.exit_code == code
    assert not folder.exists()
    done = publish(city, folder, file)
    assert (done.exit_code, done.outcome.number, done.outcome.quarantined) == (1, 1, 0)
    (problem,) = [p for p in done.report.problems if p.code == "raster.class"]
    assert (problem.field, problem.count) == ("77", 20)
    with pytest.raises(BadInput, match="--mode"):
        publish(city, folder, file, mode="upsert")


def test_codes_of_another_map_are_translated_by_a_file(city: Database, folder: Path, tmp_path: Path) -> None:
    other = np.choose((classes() > 2).astype(int), [np.uint8(80), np.uint8(10)]).astype(np.uint8)
    file = write(tmp_path / "worldcover.tif", other)
    refused = publish(city, folder, file)
    # Code 10 means something else here, and 80 nothing.
    assert {p.field for p in refused.report.problems if p.code == "raster.class"} == {"80"}
    codes = tmp_path / "codes.toml"
    codes.write_text('[codes]\n10 = "trees"\n80 = "water"\n')
    done = publish(city, folder, file, mapping=codes)
    assert done.exit_code == 0
    with city.session() as session:
        found = set(session.scalars(sa.text(f"SELECT DISTINCT cover FROM layer_data.{table_of(city)}")))
    assert found == {"trees", "water"}
    codes.write_text('[codes]\n10 = "jungle"\n')
    with pytest.raises(BadInput, match="jungle"):
        publish(city, folder, file, mapping=codes)


def checked(tmp_path: Path, values: np.ndarray, of: str = "elevation", crs: str | None = None, **about: object):
    file = write(tmp_path / "a.tif", values, **about)  # type: ignore[arg-type]
    return check_file(file, theme(of), PublishRequest("", crs=crs), Settings(home=HOME), lambda *_: None)


def codes_of(report: object) -> set[str]:
    return {problem.code for problem in report.problems}  # type: ignore[attr-defined]


def test_values_that_cannot_be_are_found_and_left_out(tmp_path: Path) -> None:
    values = ground()
    values[5, 5], values[6, 6:9], values[7, 7] = -1e9, np.nan, np.inf
    report = checked(tmp_path, values)
    assert codes_of(report) == {"raster.range", "raster.not_finite"} and report.bad == 1
    assert report.low > -1 and report.publishable
    (wrong,) = [p for p in report.problems if p.code == "raster.range"]
    assert "-1e+09 in row 6, column 6" in str(wrong.examples[0].detail)
    lng, lat = wrong.examples[0].place
    assert (lng, lat) == pytest.approx(tuple(transform(np.array([[WEST + 165, NORTH - 165]]), 32648)[0]))


def test_a_raster_without_a_crs_gets_the_one_that_fits_and_its_copy_says_it(
    city: Database, folder: Path, tmp_path: Path
) -> None:
    corner = transform(transform(np.array([[WEST, NORTH]]), 32648), 4326, 9210)[0]
    file = write(tmp_path / "dem.tif", ground(), crs=None, corner=tuple(corner))
    done = publish(city, folder, file, GROUND)
    assert {"crs.missing"} <= codes_of(done.report) and done.report.to_dict()["crs"]["code"] == "EPSG:9210"
    with city.session() as session:
        current = read_catalogue(session)[GROUND].current
        with rasterio.open(folder / current.raster["path"]) as stored:
            assert stored.crs.to_epsg() == 9210
            assert stored.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    west, south, east, north = current.bounds
    middle = transform(np.array([[WEST + 1800, NORTH - 1350]]), 32648)[0]
    assert west < middle[0] < east and south < middle[1] < north
    assert abs((west + east) / 2 - middle[0]) < 0.002 and abs((south + north) / 2 - middle[1]) < 0.002


def test_a_raster_of_another_place_is_refused(tmp_path: Path) -> None:
    hanoi = checked(tmp_path, ground(), corner=(588_000.0, 2_325_000.0))
    assert not hanoi.publishable and hanoi.exit_code == 2 and codes_of(hanoi) & {"raster.elsewhere", "crs.wrong"}
    wrong = checked(tmp_path, ground(), crs="EPSG:9208")
    assert codes_of(wrong) & {"crs.doubtful", "crs.wrong", "raster.elsewhere"}


def test_parts_far_outside_the_city_make_no_cells(tmp_path: Path) -> None:
    values = np.ones((60, 90), np.float32)
    report = checked(tmp_path, values, size=5000.0, corner=(500_000.0, 1_300_000.0))
    assert {"raster.beyond", "raster.coarse"} <= codes_of(report) and report.publishable
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"photometric": "RGB", "nodata": None}, "raster.kind"),
        ({}, "raster.bands"),
    ],
)
def test_pictures_are_refused_and_several_bands_are_told(tmp_path: Path, about: dict, code: str) -> None:
    three = np.stack([classes()] * 3)
    assert code in codes_of(checked(tmp_path, three, "land_cover", **about))


def test_a_raster_without_data_and_one_of_another_unit(tmp_path: Path) -> None:
    empty = checked(tmp_path, np.full((20, 20), -9999, np.float32))
    assert "raster.empty" in codes_of(empty) and not empty.publishable
    file = write(tmp_path / "feet.tif", ground())
    with rasterio.open(file, "r+") as opened:
        opened.units = ("ft",)
    report = check_file(file, theme("elevation"), PublishRequest(""), Settings(home=HOME), lambda *_: None)
    assert codes_of(report) == {"raster.unit"} and report.exit_code == 1


def test_scaled_values_are_read_as_the_file_means_them(tmp_path: Path) -> None:
    file = write(tmp_path / "cm.tif", (ground() * 100).astype(np.int16), nodata=-32768)
    with rasterio.open(file, "r+") as opened:
        opened.scales = (0.01,)
    report = check_file(file, theme("elevation"), PublishRequest(""), Settings(home=HOME), lambda *_: None)
    assert 5 < report.high < 7


def test_rasters_and_features_do_not_take_each_other_s_place(city: Database, folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "phu.tif", classes())
    with pytest.raises(BadInput, match="land_cover"):
        check_file(file, theme("buildings"), PublishRequest(""), Settings(home=HOME), lambda *_: None)
    points = tmp_path / "points.geojson"
    points.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},'
        '"geometry":{"type":"Point","coordinates":[106.7,10.7]}}]}'
    )
    with pytest.raises(BadInput, match="rasters"):
        publish(city, folder, points)


def test_versions_diff_rollback_and_retire_work_as_with_features(city: Database, folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        values = ground()
        values[:, :30] += number
        publish(city, folder, write(tmp_path / f"{number}.tif", values), GROUND, keep=2)
    files = {p.name for p in folder.iterdir()}
    assert len(files) == 2
    listed = json.loads(twin(city, folder, "ingest", "versions", GROUND, "--json").stdout)
    assert [v["state"] for v in listed] == ["published", "published", "retired"]
    assert {v["raster"]["path"] for v in listed[:2]} == files and "path" not in listed[2]["raster"]

    difference = json.loads(twin(city, folder, "ingest", "diff", GROUND, "2", "3", "--json").stdout)
    lifted = by_hand(ground(), np.arange(120)[None].repeat(90, 0) < 30, 10)
    assert (difference["added"], difference["removed"], difference["changed"]) == (0, 0, len(lifted))
    assert difference["fields"]["elevation"] == len(lifted) and difference["geometryChanged"] == 0

    before = twin(city, folder, "ingest", "show", GROUND, "--at", "2999-01-01", "--json")
    assert json.loads(before.stdout)["version"] == 3
    assert twin(city, folder, "ingest", "rollback", GROUND).returncode == 0
    shown = twin(city, folder, "layer", "show", GROUND)
    assert "EPSG:32648" in shown.stdout and "float32" in shown.stdout
    with city.session() as session:
        current = read_catalogue(session)[GROUND].current
    assert current.number == 2 and current.raster["path"] in files
    # A version that was gone back to stays, however many come after it.
    publish(city, folder, write(tmp_path / "9.tif", ground(9)), GROUND, keep=1)
    assert len(list(folder.iterdir())) == 1


def test_the_command_line_takes_a_raster_from_nothing_to_the_map(city: Database, folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "phu.tif", classes())
    html = tmp_path / "report.html"
    checked = twin(city, folder, "ingest", "check", str(file), "--theme", "land_cover", "--html", str(html))
    assert checked.returncode == 0, checked.stderr
    assert "EPSG:32648" in checked.stdout and "Built-up area" in checked.stdout and "<svg" in html.read_text()
    done = twin(
        city, folder, "ingest", "publish", str(file), "--layer", "environment.cover_2026", "--theme", "land_cover",
        "--sharing", "open", "--reason", "satellite map", LANG="vi_VN.UTF-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Đã công bố phiên bản 1" in done.stderr and "ô" in done.stderr
    (version,) = json.loads(twin(city, folder, "ingest", "versions", "environment.cover_2026", "--json").stdout)
    assert version["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert version["reason"] == "satellite map"


def test_cells_of_a_raster_are_answered_drawn_and_described_without_its_path(
    city: Database, folder: Path, tmp_path: Path
) -> None:
    import mapbox_vector_tile
    import mercantile
    from starlette.testclient import TestClient

    from tiles.app import create_app

    publish(city, folder, write(tmp_path / "phu.tif", classes()))
    lng, lat = transform(np.array([[WEST + 1800, NORTH - 1350]]), 32648)[0]
    with TestClient(create_app(settings_of(city, folder), city)) as client:
        deadline = time.monotonic() + 10
        while client.get("/health").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        described = client.get(f"/collections/{COVER}", params={"lang": "vi"}).json()
        assert described["raster"]["crs"] == "EPSG:32648" and "path" not in described["raster"]
        assert "Mặt nước" in {entry["label"] for entry in described["legend"]}
        cell = h3.latlng_to_cell(lat, lng, 10)
        exact = client.get(f"/cells/{cell}").json()["agencies"][0]["layers"][0]
        assert [f["id"] for f in exact["features"]] == [cell] and exact["features"][0]["whole"]
        at = client.get("/cells/at", params={"lng": lng, "lat": lat}).json()["agencies"][0]["layers"][0]
        assert at["features"][0]["id"] == cell and at["features"][0]["here"]
        tile = mercantile.tile(lng, lat, 14)
        drawn = mapbox_vector_tile.decode(client.get(f"/tiles/{COVER}/{tile.z}/{tile.x}/{tile.y}.mvt").content)
        features = drawn[COVER]["features"]
        assert len(features) > 50 and {f["properties"]["cover"] for f in features} <= set(
            theme("land_cover").by_name["cover"].vocabulary
        )


def publish_at(url: str, folder: str, path: str) -> None:
    publish(Database(sa.make_url(url), private=True), Path(folder), Path(path), GROUND)


def test_a_raster_publish_killed_at_random_leaves_one_whole_version_and_the_retry_sweeps_its_files(
    city: Database, folder: Path, tmp_path: Path
) -> None:
    old = write(tmp_path / "old.tif", ground())
    new = write(tmp_path / "new.tif", np.kron(ground(5), np.ones((8, 8), np.float32)), size=SIZE / 8)
    publish(city, folder, old, GROUND)
    chance = random.Random(7)  # noqa: S311
    seen = set()
    with forks(__name__) as processes:
        for _ in range(6):
            pid = processes.start("publish_at", city.url.render_as_string(False), str(folder), str(new))
            time.sleep(chance.uniform(0.05, 1.5))
            processes.kill(pid)
            with city.session() as session:
                current = read_catalogue(session)[GROUND].current
                low = session.scalar(sa.text(f"SELECT round(min(lowest)) FROM layer_data.{current.table}"))
            with rasterio.open(folder / current.raster["path"]) as stored:
                seen.add((float(low), float(np.round(stored.read(1).min()))))
    assert seen <= {(0.0, 0.0), (5.0, 5.0)}
    assert publish(city, folder, new, GROUND).outcome.features > 0
    with city.session() as session:
        assert set(session.scalars(sa.text("SELECT state FROM twin.layer_version"))) == {"published"}
        named = set(session.scalars(sa.text("SELECT raster->>'path' FROM twin.layer_version")))
    assert {p.name for p in folder.iterdir()} == named


def test_a_file_that_a_killed_program_left_half_written_is_swept(city: Database, folder: Path, tmp_path: Path) -> None:
    from twin.catalogue.staging import Provenance, Shape, Staging

    def dies(path: Path) -> None:
        path.write_bytes(b"half")
        path.with_name(f".{path.name}.part").write_bytes(b"a quarter")
        raise KeyboardInterrupt

    settings = settings_of(city, folder)
    with pytest.raises(KeyboardInterrupt), Staging(
        city, COVER, Shape((), 10), Provenance("x", "x"), rasters=settings.raster_folder
    ) as staging:  # fmt: skip
        staging.keep_raster({}, dies)
    assert list(folder.iterdir()) == []
    # As after kill -9: the row and the files stay, and the next publish of the layer removes both.
    with city.session() as session:
        key = read_catalogue(session)[COVER].key
        session.execute(
            sa.text(
                "INSERT INTO twin.layer_version (layer_id, number, state, table_name, columns, resolution, "
                "tool_version, created_by, raster) VALUES (:key, 7, 'staging', 'environment_land_cover_v7', '[]', 10, "
                "'x', 'x', '{\"path\": \"environment_land_cover_v7_aa.tif\"}')"
            ),
            {"key": key},
        )
    for name in ("environment_land_cover_v7_aa.tif", ".environment_land_cover_v7_aa.tif.part", "somebody_elses.tif"):
        (folder / name).write_bytes(b"left")
    publish(city, folder, write(tmp_path / "phu.tif", classes()))
    names = {p.name for p in folder.iterdir()}
    assert "somebody_elses.tif" in names and len(names) == 2

"""What a city twin must survive: hostile names, a disk that is really full, versions that do not look alike."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from ingest.publish.engine import PublishRequest, publish_file
from tests.conftest import HOME, small_disk
from tests.test_publish import LAYER, city, houses, publish, twin  # noqa: F401  # `city` is a fixture
from tests.test_raster_publish import GROUND, write
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, libpq
from twin.errors import Unavailable
from twin.text import Text

# Names -------------------------------------------------------------------------------------------------------------

COLUMNS = {
    'a"; DROP TABLE twin.layer; --': "quote",
    "'; SELECT pg_sleep(9)": "apostrophe",
    "Тên": "homoglyph",  # a Cyrillic letter, which is the point
    "Ten": "plain",
    "tên": "marks",
    "select": "keyword",
    "geom": "reserved",
    "cell": "reserved too",
    "{x}": "braces",
    "%s": "format",
    "🏠": "picture",
    "[red]x[/red]": "markup",
    "a" * 90: "long",
    "a" * 89 + "b": "long too",
}


def test_hostile_names_of_columns_are_only_names(city: Database, tmp_path: Path) -> None:  # noqa: F811
    frame = houses(40).assign(**{name: f"{title} {{}}%s'\";" for name, title in COLUMNS.items()})
    path = tmp_path / "nha'; DROP TABLE x; --.geojson"
    path.write_text(frame.to_json(drop_id=True))
    done = publish(city, path)
    assert done.outcome.features == 40
    with city.session() as session:
        current = read_catalogue(session)[LAYER].current
        names = {column.name for column in current.stored_columns}
        (row,) = session.execute(
            sa.text(f"SELECT * FROM layer_data.{current.table} WHERE id = 'N0001'")
        ).mappings()  # fmt: skip
    assert all(name.isascii() and name.isidentifier() for name in names)
    carried = [str(value) for value in row.values() if isinstance(value, str)]
    assert all(any(value.startswith(title) for value in carried) for title in COLUMNS.values())

    frame.loc[2, 'a"; DROP TABLE twin.layer; --'] = "changed"
    frame.loc[3, "ChieuCao"] = 9000
    (tmp_path / "b.geojson").write_text(frame.to_json(drop_id=True))
    assert publish(city, tmp_path / "b.geojson").outcome.quarantined == 1
    changes = json.loads(twin(city, "ingest", "diff", LAYER, "1", "2", "--json").stdout)
    assert (changes["changed"], changes["removed"], len(changes["fields"])) == (1, 1, 1)
    changes = tmp_path / "changes.geojson"
    assert twin(city, "ingest", "diff", LAYER, "1", "2", "--geojson", str(changes)).returncode == 0
    assert len(json.loads(changes.read_text())["features"]) == 2
    out = tmp_path / "aside.gpkg"
    assert twin(city, "ingest", "quarantine", LAYER, "--out", str(out)).returncode == 0
    (aside,) = gpd.read_file(out).to_dict("records")
    assert aside["reason"] == "field.range"
    shown = twin(city, "layer", "show", LAYER)
    assert shown.returncode == 0 and "long" not in shown.stderr


LAYERS = (
    "construction.houses; DROP TABLE x", 'construction."houses"', "construction.hоuses", "сonstruction.houses",
    "construction.houses'--", "construction", ".", "", "construction.houses\n", "x" * 5000, "construction.Houses",
    "construction.houses_v1", "../../etc.passwd", "[red]a.b[/red]",
)  # fmt: skip
COMMANDS = [
    ["ingest", "versions", "--", "NAME"], ["ingest", "diff", "--", "NAME", "1", "2"],
    ["ingest", "show", "--at", "2026-01-01", "--", "NAME"], ["ingest", "rollback", "--", "NAME"],
    ["ingest", "quarantine", "--", "NAME"], ["ingest", "publish", "FILE", "--layer", "NAME", "--theme", "places"],
    ["layer", "show", "--", "NAME"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_hostile_names_of_layers_are_refused_everywhere(
    city: Database,  # noqa: F811
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from twin.cli import main

    monkeypatch.setenv("TWIN_HOME", str(HOME))
    monkeypatch.setenv("TWIN_DATABASE", str(city.url.database))
    (tmp_path / "a.csv").write_text("id,lon,lat\n1,106.7,10.77\n")
    for name in LAYERS:
        if name == "construction.houses_v1" and command[1] == "publish":
            continue  # that is a good name for a new layer
        with pytest.raises(SystemExit) as ended:
            main([{"NAME": name, "FILE": str(tmp_path / "a.csv")}.get(part, part) for part in command])
        output = capsys.readouterr()
        assert ended.value.code in (2, 3) and output.err.startswith("twin: ") and len(output.err) < 400, name
        assert "psycopg" not in output.err and "Traceback" not in output.err
    with city.session() as session:
        assert set(read_catalogue(session)) == {LAYER}


# A full disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def full_tablespace(city: Database, cluster: PrivateCluster) -> Iterator[Callable[[], None]]:  # noqa: F811
    """New tables of the test's database lie on a small disk; the function given makes room on it."""
    folder = Path("/var/tmp") / f"twin-small-{os.getpid()}"  # noqa: S108  # the database's user has to reach it
    name = f"small_{os.getpid()}"
    database = str(city.url.database)
    with small_disk(folder, 3) as disk:
        os.chown(disk, cluster.data.stat().st_uid, -1)
        with psycopg.connect(libpq(cluster.url("postgres")), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
            connection.execute(f"GRANT CREATE ON TABLESPACE {name} TO PUBLIC")
            connection.execute(f"ALTER DATABASE {database} SET default_tablespace = {name}")
            try:
                yield lambda: subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True) and None
            finally:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
                )
                connection.execute(f"ALTER DATABASE {database} RESET default_tablespace")
                with psycopg.connect(libpq(cluster.url(database)), autocommit=True) as own:
                    tables = own.execute(
                        "SELECT schemaname, tablename FROM pg_tables WHERE tablespace = %s", [name]
                    ).fetchall()
                    for schema, table in tables:
                        own.execute(f'DROP TABLE {schema}."{table}"')
                connection.execute(f"DROP TABLESPACE {name}")


def test_a_disk_that_fills_during_the_copy_leaves_the_old_version_and_the_retry_succeeds(
    city: Database,  # noqa: F811
    full_tablespace: Callable[[], None],
    tmp_path: Path,
) -> None:
    houses(50).to_file(tmp_path / "small.gpkg")
    parts = [houses(5000).translate(dx / 100) for dx in range(4)]
    many = gpd.GeoDataFrame({"MaNha": [f"M{n}" for n in range(20_000)]}, geometry=np.concatenate(parts), crs=4326)
    many.to_file(tmp_path / "large.gpkg")
    publish(city, tmp_path / "small.gpkg")
    city.writer.dispose()
    with pytest.raises(Unavailable, match="disk is full"):
        publish(city, tmp_path / "large.gpkg")
    done = twin(city, "ingest", "publish", str(tmp_path / "large.gpkg"), "--layer", LAYER)
    assert done.returncode == 3 and "disk is full" in done.stderr and "Traceback" not in done.stderr
    with city.session() as session:
        current = read_catalogue(session)[LAYER].current
        assert (current.number, current.features) == (1, 50)
        assert session.scalar(sa.text(f"SELECT count(*) FROM layer_data.{current.table}")) == 50
        assert session.scalar(sa.text("SELECT count(*) FROM twin.layer_version")) == 1
        left = session.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'layer_data'")).all()
        assert left and all(table.startswith(current.table) for table in left)
    full_tablespace()
    assert publish(city, tmp_path / "large.gpkg").outcome.features == 20_000


def test_a_disk_that_fills_while_a_raster_is_written_leaves_the_old_version_and_the_retry_succeeds(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Môi trường"))
        ensure_layer(session, LayerEntry(GROUND, "elevation", Text(en="Ground", vi="Mặt đất")))

    def put(path: Path, disk: Path) -> object:
        settings = Settings(home=HOME, database=database.url.database, rasters=disk)
        return publish_file(
            database, settings, path, PublishRequest(GROUND), "x", path.name, None, lambda *_: None
        ).outcome

    noise = np.random.default_rng(3).uniform(0, 9, (900, 900)).astype(np.float32)
    small, large = write(tmp_path / "a.tif", noise[:60, :60]), write(tmp_path / "b.tif", noise)
    with small_disk(tmp_path / "disk", 2) as disk:
        assert put(small, disk).number == 1
        kept = {p.name for p in disk.iterdir()}
        with pytest.raises(Unavailable, match="disk of the rasters"):
            put(large, disk)
        assert {p.name for p in disk.iterdir()} == kept
        with database.session() as session:
            assert read_catalogue(session)[GROUND].current.number == 1
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        assert put(large, disk).features > 2000


# Versions that do not look alike ---------------------------------------------------------------------------------------


def test_versions_with_other_columns_are_compared_and_gone_back_to(city: Database, tmp_path: Path) -> None:  # noqa: F811
    from starlette.testclient import TestClient

    from tiles.app import create_app

    one = houses(20).assign(Chu="An", SoNguoi=range(20))
    two = houses(20).assign(SoNguoi=[f"{n}" if n else "nhiều" for n in range(20)], NamXay=1990)
    one.to_file(tmp_path / "1.gpkg")
    two.to_file(tmp_path / "2.gpkg")
    publish(city, tmp_path / "1.gpkg")
    publish(city, tmp_path / "2.gpkg")
    changes = json.loads(twin(city, "ingest", "diff", LAYER, "1", "2", "--json").stdout)
    assert (changes["added"], changes["removed"], changes["geometryChanged"]) == (0, 0, 0)
    assert changes["changed"] == 20 and "chu" in changes["lostColumns"]
    back = json.loads(twin(city, "ingest", "diff", LAYER, "2", "1", "--json").stdout)
    assert "chu" in back["newColumns"]
    # Of the column whose type changed, only the value that really is another counts.
    assert {changes["fields"].get("songuoi", 0), back["fields"].get("songuoi", 0)} == {1}

    assert twin(city, "ingest", "rollback", LAYER, "--to", "1").returncode == 0
    with TestClient(create_app(Settings(home=HOME, database=city.url.database), city)) as client:
        import time

        deadline = time.monotonic() + 10
        while client.get("/health").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        answer = client.get("/cells/at", params={"lng": 106.70005, "lat": 10.77505}).json()
        assert '"An"' in json.dumps(answer, ensure_ascii=False)
        for version in (1, 2):
            assert client.get(f"/tiles/{LAYER}@{version}/15/26096/15396.mvt").status_code == 200
    # Adding to the version that was gone back to keeps the columns of both files.
    houses(22).iloc[20:].assign(NamXay=2001).to_file(tmp_path / "3.gpkg")
    third = publish(city, tmp_path / "3.gpkg", mode="append")
    assert third.outcome.features == 22
    with city.session() as session:
        current = read_catalogue(session)[LAYER].current
    assert {"chu", "songuoi"} <= {column.name for column in current.stored_columns}

"""Tables that name a ward, a school or a street by its code get the shapes and columns of what they name."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.checks.report import Report
from ingest.mapping.description import Join
from ingest.mapping.joins import Partners, TablePartner
from ingest.publish.engine import PublishRequest, PublishResult, check_file, publish_file
from layers.registry import theme
from tests.commands import run
from tests.conftest import HOME
from twin.access.principals import Principal
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import PrincipalRole, Sharing
from twin.errors import BadInput, NotFound
from twin.text import Text

CODES = ("00760", "00761", "00762", "00763")
NAMES = ("Bến Nghé", "Bến Thành", "Cô Giang", "Đa Kao")
SQUARES = [shapely.box(106.70 + i / 100, 10.77, 106.71 + i / 100, 10.78) for i in range(4)]


def publish(database: Database, path: Path, layer: str, **request: object) -> PublishResult:
    settings = Settings(home=HOME, database=database.url.database)
    order = PublishRequest(layer, **request)  # type: ignore[arg-type]
    return publish_file(database, settings, path, order, "an officer", path.name, None, lambda *_: None)


@pytest.fixture
def wards(database: Database, tmp_path: Path) -> Database:
    """A city with four wards, and empty layers to publish into."""
    with database.session() as session:
        ensure_agency(session, "planning", Text(en="Planning", vi="Quy hoạch"))
        ensure_agency(session, "statistics", Text(en="Statistics", vi="Thống kê"))
        for name, of, sharing in (
            ("planning.wards", "boundaries", Sharing.OPEN), ("planning.secret", "boundaries", Sharing.RESTRICTED),
            ("statistics.people", "population", Sharing.OPEN),
        ):  # fmt: skip
            ensure_layer(session, LayerEntry(name, of, Text(en=name, vi=name), sharing=sharing))
    file = tmp_path / "wards.geojson"
    gpd.GeoDataFrame(
        {"id": CODES, "code": CODES, "name": NAMES, "level": "ward"}, geometry=SQUARES, crs=4326
    ).to_file(file)  # fmt: skip
    for layer in ("planning.wards", "planning.secret"):
        assert publish(database, file, layer).outcome is not None
    return database


def table(folder: Path, text: str, mapping: str | None = None) -> tuple[Path, Path | None]:
    (folder / "people.csv").write_text(text)
    if mapping is None:
        return folder / "people.csv", None
    (folder / "people.toml").write_text(mapping)
    return folder / "people.csv", folder / "people.toml"


def published(database: Database, layer: str = "statistics.people") -> dict[str, tuple[object, ...]]:
    with database.session() as session:
        current = read_catalogue(session)[layer].current
        assert current is not None
        rows = session.execute(
            sa.text(f'SELECT id, name, population, ST_AsText(ST_Centroid(geom), 6) FROM layer_data."{current.table}"')
        )
        return {row[0]: tuple(row[1:]) for row in rows}


def quarantine(database: Database) -> list[tuple[str, str]]:
    with database.session() as session:
        return [
            tuple(row) for row in session.execute(sa.text("SELECT reason, detail FROM twin.quarantine ORDER BY 1, 2"))
        ]


JOIN = 'id = "ma"\njoin = { layer = "planning.wards", on = "ma", key = "code" }\n'


def test_a_table_without_coordinates_takes_the_shapes_of_the_layer_that_its_codes_name(
    wards: Database, tmp_path: Path
) -> None:
    file, mapping = table(tmp_path, "ma,ten,dan_so\n00760,Bến Nghé,100\n00763,Đa Kao,300\n", JOIN)
    result = publish(wards, file, "statistics.people", mapping=mapping)
    assert result.outcome is not None and result.outcome.quarantined == 0
    assert published(wards) == {
        "00760": ("Bến Nghé", 100, "POINT(106.705 10.775)"), "00763": ("Đa Kao", 300, "POINT(106.735 10.775)"),
    }  # fmt: skip


def test_a_key_with_a_character_that_the_database_does_not_take_names_no_feature(
    wards: Database, tmp_path: Path
) -> None:
    text = "ma,ten,dan_so\n00760,Bến Nghé,100\n0076\x001,Bến Thành,200\n"
    file, mapping = table(tmp_path, text, JOIN)
    file.write_text(text, "utf-16")
    assert publish(wards, file, "statistics.people", mapping=mapping).outcome is not None
    assert set(published(wards)) == {"00760"} and [reason for reason, _ in quarantine(wards)] == ["join.unmatched"]


def test_the_layer_is_proposed_where_nearly_all_values_of_a_column_name_its_features(
    wards: Database, tmp_path: Path
) -> None:
    file, _ = table(tmp_path, "Mã phường,ten,dan_so\n00760,Bến Nghé,100\n00761,Bến Thành,200\n00763,Đa Kao,300\n")
    result = publish(wards, file, "statistics.people")
    assert set(published(wards)) == {"00760", "00761", "00763"}
    used = next(p for p in result.report.problems if p.code == "join.used")
    assert used.field == "Mã phường" and "planning.wards (version 1)" in str(used.examples[0].detail)
    assert 'join = { "layer" = "planning.wards", "on" = "Mã phường"' in result.report.plan.to_toml()


def test_a_join_that_was_proposed_by_names_is_a_warning_and_one_by_codes_is_none(
    wards: Database, tmp_path: Path
) -> None:
    by_name, _ = table(tmp_path, "ten,dan_so\nBến Nghé,100\nBến Thành,200\nĐa Kao,300\n")
    report = publish(wards, by_name, "statistics.people").report
    found = {problem.code: problem for problem in report.problems}
    assert found["join.by_name"].severity == "warning" and found["join.by_name"].field == "ten"
    assert report.exit_code == 1 and "join.used" not in found
    by_code, _ = table(tmp_path, "ma,dan_so\n00760,100\n00761,200\n00763,300\n")
    assert "join.by_name" not in {p.code for p in publish(wards, by_code, "statistics.people").report.problems}


def test_a_written_proposal_publishes_the_same_features_again(wards: Database, tmp_path: Path) -> None:
    file, _ = table(tmp_path, "ma,ten,dan_so\n00760,Bến Nghé,100\n00761,Bến Thành,200\n00763,Đa Kao,300\n")
    report = publish(wards, file, "statistics.people").report
    (tmp_path / "again.toml").write_text(report.plan.to_toml())
    again = publish(wards, file, "statistics.people", mapping=tmp_path / "again.toml")
    assert again.outcome is not None and again.outcome.unchanged


def test_codes_that_name_nothing_or_several_features_go_to_quarantine_with_the_code(
    wards: Database, tmp_path: Path
) -> None:
    file, mapping = table(
        tmp_path, "ma,ten,dan_so\n00760,A,1\n99999,B,2\n,C,3\n", JOIN.replace('id = "ma"\n', 'id = "ten"\n')
    )
    result = publish(wards, file, "statistics.people", mapping=mapping)
    assert set(published(wards)) == {"A"}
    assert [reason for reason, _ in quarantine(wards)] == ["join.unmatched", "join.unmatched"]
    assert {detail for _, detail in quarantine(wards)} == {"ma = 99999", "ma = "}
    assert (result.report.features, result.report.good, result.report.bad) == (3, 1, 2)


def test_codes_that_lost_their_leading_zeros_are_joined_and_the_loss_is_reported(
    wards: Database, tmp_path: Path
) -> None:
    file, mapping = table(tmp_path, "ma,ten,dan_so\n760,A,1\n00761,B,2\n", JOIN)
    result = publish(wards, file, "statistics.people", mapping=mapping)
    assert set(published(wards)) == {"760", "00761"}
    padded = next(p for p in result.report.problems if p.code == "join.padded")
    assert padded.count == 1


def test_columns_of_the_joined_layer_come_along_and_a_clash_is_refused(wards: Database, tmp_path: Path) -> None:
    file, mapping = table(
        tmp_path, "ma,dan_so\n00760,1\n", 'id = "ma"\njoin = { layer = "planning.wards", on = "ma", key = "code", columns = ["name"] }\n[fields]\nname = "name"\n'
    )  # fmt: skip
    publish(wards, file, "statistics.people", mapping=mapping)
    assert published(wards)["00760"][:2] == ("Bến Nghé", 1)
    file, mapping = table(
        tmp_path, "ma,name,dan_so\n00760,x,1\n", 'join = { layer = "planning.wards", on = "ma", key = "code", columns = ["name"] }\n'
    )  # fmt: skip
    with pytest.raises(BadInput, match="both have the column name"):
        publish(wards, file, "statistics.people", mapping=mapping)


def test_a_table_with_neither_coordinates_nor_known_codes_is_refused_with_its_count_and_what_to_do(
    wards: Database, tmp_path: Path
) -> None:
    file, _ = table(tmp_path, "ma,ten,dan_so\nx1,A,1\nx2,B,abc\n")
    report = check_file(
        file, theme("population"), PublishRequest(""), Settings(home=HOME), lambda *_: None, lambda: wards
    )
    assert isinstance(report, Report)
    assert (report.features, report.exit_code, report.plan.blockers) == (2, 2, ("geometry.unmapped",))
    codes = [p.code for p in report.problems]
    assert "file.empty" not in codes and "geometry.missing" not in codes and "field.type" in codes


def test_a_publisher_joins_only_what_he_may_read_and_is_not_told_that_the_rest_exists(
    wards: Database, tmp_path: Path
) -> None:
    officer = Principal("desk", "statistics", PrincipalRole.PUBLISHER)
    for layer in ("planning.secret", "planning.nothing"):
        file, mapping = table(tmp_path, "ma,ten,dan_so\n00760,A,1\n", JOIN.replace("planning.wards", layer))
        with pytest.raises(NotFound) as error:
            publish(wards, file, "statistics.people", mapping=mapping, principal=officer, uploaded=True)
        assert error.value.message.en.replace(layer, "…") == "There is no layer “…” to join."
    file, mapping = table(tmp_path, "ma,ten,dan_so\n00760,A,1\n", JOIN)
    assert publish(wards, file, "statistics.people", mapping=mapping, principal=officer).outcome is not None


def test_a_file_is_joined_from_beside_the_mapping_or_from_the_same_archive_and_never_from_elsewhere(
    wards: Database, tmp_path: Path
) -> None:
    with wards.session() as session:
        ensure_layer(session, LayerEntry("planning.shops", "places", Text("Shops", "Shops")))
    shops = gpd.GeoDataFrame(
        {"ma": ["a", "b", "c"], "ten": ["Chợ A", "Chợ B", "Chợ C"], "kind": "market"}, geometry=[s.centroid for s in SQUARES[:3]], crs=4326
    )  # fmt: skip
    shops.to_file(tmp_path / "shops.geojson")
    (tmp_path / "rents.csv").write_text("shop,rent\na,1\na,3\nb,5\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'id = "ma"\njoin = { file = "rents.csv", on = "ma", key = "shop", mean = ["rent"], count = "rents" }\n'
    )
    result = publish(wards, tmp_path / "shops.geojson", "planning.shops", mapping=mapping)
    with wards.session() as session:
        rows = session.execute(sa.text("SELECT id, rent, rents FROM layer_data.planning_shops_v1 ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("a", 2.0, 2), ("b", 5.0, 1)]
    assert (result.report.features, result.report.left_out) == (3, 1)  # type: ignore[union-attr]

    with pytest.raises(BadInput, match=r"ZIP"):
        publish(wards, tmp_path / "shops.geojson", "planning.shops", mapping=mapping, uploaded=True)
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(tmp_path / "shops.geojson", "shops.geojson")
        archive.write(tmp_path / "rents.csv", "rents.csv")
    again = publish(wards, tmp_path / "both.zip", "planning.shops", mapping=mapping, uploaded=True)
    assert again.outcome is not None and again.outcome.unchanged
    mapping.write_text('id = "ma"\njoin = { file = "../secret.csv", on = "ma", key = "shop" }\n')
    (tmp_path.parent / "secret.csv").write_text("shop,rent\na,1\n")
    with pytest.raises(BadInput, match="outside"):
        publish(wards, tmp_path / "shops.geojson", "planning.shops", mapping=mapping)


def test_a_mapping_keeps_rows_by_value_and_the_first_of_each_and_tells_how_many_it_leaves_out(
    wards: Database, tmp_path: Path
) -> None:
    lines = ["ma,nam,dan_so"] + [
        f"{code},{year},{year - 2000}" for year in (2023, 2024) for code in CODES for _ in "12"
    ]
    file, mapping = table(
        tmp_path, "\n".join(lines), 'id = "{ma}-{nam}"\nunique = "ma"\nwhere = { nam = ["2024"] }\njoin = { layer = "planning.wards", on = "ma", key = "code" }\n'
    )  # fmt: skip
    report = publish(wards, file, "statistics.people", mapping=mapping).report
    assert {row: found[1] for row, found in published(wards).items()} == {f"{code}-2024": 24 for code in CODES}
    assert isinstance(report, Report)
    assert (report.features, report.good, report.bad, report.left_out) == (16, 4, 0, 12)


def test_the_command_line_publishes_a_table_by_its_codes(wards: Database, tmp_path: Path) -> None:
    file, _ = table(tmp_path, "ma_phuong,ten,dan_so\n00760,Bến Nghé,100\n00761,Bến Thành,200\n")
    environment = {"TWIN_HOME": str(HOME), "TWIN_DATABASE": str(wards.url.database)}
    done = run("ingest", "publish", str(file), "--layer", "statistics.people", "--json", **environment)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["features"] == 2


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(-99, 99))), max_size=30),
    keys=st.lists(st.one_of(st.none(), st.sampled_from("abcxyz")), max_size=20),
)
def test_a_joined_table_gives_each_key_the_mean_and_the_number_of_its_rows(
    rows: list[tuple[str, int | None]], keys: list[str | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("join") / "t.csv"
    file.write_text("key,value,x,y\n" + "".join(f"{k},{'' if v is None else v},,\n" for k, v in rows))
    matched = TablePartner(file, Join(file=Path("t.csv"), on="k", key="key", mean=("value",), count="n")).match(
        np.array(keys, dtype=object)
    )
    for place, key in enumerate(keys):
        mine = [v for k, v in rows if k == key]
        assert bool(matched.found[place]) == bool(mine)
        if mine:
            there = [v for v in mine if v is not None]
            assert matched.values["n"].iloc[place] == len(mine)
            mean = matched.values["value"].iloc[place]
            assert mean == pytest.approx(sum(there) / len(there)) if there else np.isnan(mean)


def test_where_no_database_runs_a_file_is_checked_all_the_same() -> None:
    nowhere = Partners(
        database=lambda: Database(sa.engine.make_url("postgresql+psycopg://x@127.0.0.1:1/none"), private=False)
    )
    assert nowhere.propose(pd.DataFrame({"ma": ["1", "2"]})) is None
    assert replace(nowhere, database=None).propose(pd.DataFrame({"ma": ["1", "2"]})) is None

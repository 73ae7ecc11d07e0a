"""What was published: versions, differences, the version of a time, taking back, what was set aside."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import sqlalchemy as sa

from ingest.mapping.rows import columns_of_layer
from layers.registry import theme
from tests.commands import run
from tests.conftest import HOME
from tests.test_versions import LAYER, WHO, catalogue, columns, lamps, layer, publish, shape
from twin.catalogue.catalogue import Column, LayerEntry, ensure_agency, ensure_layer
from twin.catalogue.differences import changes, summary
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.db.database import Database
from twin.text import Text

__all__ = ["layer"]  # the fixture


def twin(database: Database, *arguments: str) -> str:
    done = run(*arguments, TWIN_HOME=str(HOME), TWIN_DATABASE=str(database.url.database))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def changed(layer: Database) -> Database:
    """Version 2 drops lamp 1, moves lamp 2, renames lamp 3, adds lamp 6."""
    publish(layer, lamps(5))
    after = lamps(6)
    after.loc[1, "geometry"] = after.geometry.iloc[4]
    after.loc[2, "name"] = "đèn mới"
    publish(layer, after.iloc[1:].reset_index(drop=True))
    return layer


def test_a_difference_counts_added_removed_moved_and_renamed(changed: Database) -> None:
    versions = catalogue(changed).versions
    with changed.session() as session:
        counted = summary(session, versions[1], versions[2])
        each = {c.id: c for c in changes(session, versions[1], versions[2])}
    assert (counted.added, counted.removed, counted.changed, counted.geometry) == (1, 1, 2, 1)
    assert counted.fields == {"name": 1}
    assert {i: c.kind for i, c in each.items()} == {"1": "removed", "2": "changed", "3": "changed", "6": "added"}
    assert each["2"].geometry_changed and each["2"].fields == {}
    assert each["3"].fields == {"name": ("lamp", "đèn mới")} and not each["3"].geometry_changed


def wards_of(database: Database) -> None:
    """Two wards that overlap, as real ones do; the last of the lamps lies in neither."""
    columns = columns_of_layer(theme("boundaries"), {})
    with database.session() as session:
        ensure_agency(session, "planning", Text(en="Planning", vi="Quy hoạch"))
        ensure_layer(session, LayerEntry("planning.wards", "boundaries", Text(en="Wards", vi="Phường")))
    frame = gpd.GeoDataFrame(
        {"fid": [1, 2], "id": ["a", "b"], "name": ["An Khánh", "Bến Thành"], "importance": 1.0},
        geometry=shapely.box([106.7, 106.70025], 10.7, [106.70035, 106.70055], 10.8),
        crs=4326,
    )
    frame = frame.reindex(columns=[*frame.columns, *(c.name for c in columns if c.name not in frame)])
    with Staging(database, "planning.wards", Shape(columns, 9, "name"), WHO) as staging:
        staging.append(frame.astype({c.name: object for c in columns}))
        staging.publish()


def test_a_difference_is_counted_by_ward_and_each_feature_once(changed: Database) -> None:
    assert json.loads(twin(changed, "ingest", "diff", LAYER, "1", "2", "--json"))["wards"] == {}
    wards_of(changed)
    difference = json.loads(twin(changed, "ingest", "diff", LAYER, "1", "2", "--json"))
    # Lamp 1 went and lamp 3, in both wards, was renamed; lamp 2 moved; lamp 6 came.
    assert difference["wards"] == {"An Khánh": 2, "Bến Thành": 1, "—": 1}
    output = twin(changed, "--lang", "vi", "ingest", "diff", LAYER, "1", "2")
    assert "Theo phường:" in output and "      2  An Khánh\n" in output


def test_a_difference_across_schemas_names_the_columns(layer: Database) -> None:
    publish(layer, lamps(3))
    wider = Shape(
        (*columns()[1:], Column("watts", "integer", Text(en="Watts", vi="Công suất"))), shape().resolution, False
    )
    with Staging(layer, LAYER, wider, WHO) as staging:
        staging.append(lamps(3).assign(watts=60))
        staging.publish()
    versions = catalogue(layer).versions
    with layer.session() as session:
        counted = summary(session, versions[1], versions[2])
    assert (counted.new_columns, counted.lost_columns, counted.changed) == (("watts",), ("name",), 3)


def test_the_same_version_does_not_differ_from_itself(changed: Database) -> None:
    version = catalogue(changed).versions[1]
    with changed.session() as session:
        assert summary(session, version, version).total == 0


def test_the_commands_tell_versions_differences_and_times(changed: Database, tmp_path: Path) -> None:
    listed = json.loads(twin(changed, "ingest", "versions", LAYER, "--json"))
    assert [(v["version"], v["current"], v["features"]) for v in listed] == [(2, True, 5), (1, False, 5)]
    assert "a test" in twin(changed, "ingest", "versions", LAYER)

    out = tmp_path / "changes.geojson"
    difference = json.loads(twin(changed, "ingest", "diff", LAYER, "1", "2", "--json", "--geojson", str(out)))
    assert (difference["added"], difference["removed"], difference["changed"], difference["fields"]) == (
        1,
        1,
        2,
        {"name": 1},
    )
    assert gpd.read_file(out).set_index("id")["change"].to_dict()["6"] == "added"
    assert "đèn" not in twin(changed, "--lang", "vi", "ingest", "diff", LAYER, "1")

    assert json.loads(twin(changed, "ingest", "rollback", LAYER, "--reason", "wrong file", "--json"))["current"] == 1
    now = json.loads(twin(changed, "ingest", "show", LAYER, "--at", "2999-01-01", "--json"))
    assert now["version"] == 1
    with changed.session() as session:
        between = session.scalar(sa.text("SELECT max(at)::text FROM twin.audit WHERE action = 'publish'"))
    then = json.loads(twin(changed, "ingest", "show", LAYER, "--at", between, "--json"))
    assert then["version"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diff", LAYER, "1", "9"), "no version 9"),
        (("versions", "transport.none"), "twin layer list"),
        (("versions", "lamps"), "agency.layer"),
        (("show", LAYER, "--at", "yesterday"), "2026-11-01"),
        (("show", LAYER, "--at", "1999-01-01"), "1999-01-01"),
        (("rollback", LAYER, "--to", "7"), "Kept versions"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(changed: Database, arguments: tuple[str, ...], message: str) -> None:
    done = run("ingest", *arguments, TWIN_HOME=str(HOME), TWIN_DATABASE=str(changed.url.database))
    assert done.returncode in (2, 3)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_what_was_set_aside_is_listed_and_exported_to_be_mended(layer: Database, tmp_path: Path) -> None:
    bad = {
        "feature_id": "9",
        "reason": "field.range",
        "detail": "height = 9000",
        "properties": {"height": 9000},
        "geometry": None,
    }
    with Staging(layer, LAYER, shape(), WHO) as staging:
        staging.append(lamps(2))
        staging.quarantine([bad])
        staging.publish()
    assert "height = 9000" in twin(layer, "ingest", "quarantine", LAYER)
    out = tmp_path / "bad.gpkg"
    twin(layer, "ingest", "quarantine", LAYER, "--out", str(out))
    row = gpd.read_file(out).iloc[0]
    assert (row["feature_id"], row["reason"], row["height"]) == ("9", "field.range", 9000)


def test_what_a_file_or_a_person_wrote_is_neither_markup_nor_steers_the_terminal(layer: Database) -> None:
    evil = "[red]x[/red] \x1b[2J\x07"
    bad = {"feature_id": evil, "reason": "field.range", "detail": evil, "properties": {}, "geometry": None}
    with Staging(layer, LAYER, shape(), Provenance("[bold]me", evil, reason=evil)) as staging:
        staging.append(lamps(2))
        staging.quarantine([bad])
        staging.publish()
    for output in (
        twin(layer, "ingest", "quarantine", LAYER), twin(layer, "ingest", "versions", LAYER),
        twin(layer, "ingest", "show", LAYER, "--at", "2999-01-01"),
    ):  # fmt: skip
        assert "[red]x[/red] ·[2J·" in " ".join(output.split())
        assert all(sign.isprintable() for sign in output if sign != "\n")


def test_a_layer_of_more_than_fifty_columns_can_be_compared_and_asked(layer: Database) -> None:
    many = tuple(Column(f"c{i}", "integer", Text(en="c", vi="c")) for i in range(120))
    with Staging(layer, LAYER, Shape((*columns(), *many), shape().resolution), WHO) as staging:
        staging.append(lamps(2).assign(**{f"c{i}": i for i in range(120)}))
        staging.publish()
    publish(layer, lamps(2))
    versions = catalogue(layer).versions
    with layer.session() as session:
        assert len(summary(session, versions[1], versions[2]).lost_columns) == 120
        assert len(list(changes(session, versions[1], versions[1]))) == 0

"""Versions: staged apart, swapped whole, taken back, retired; a publisher's death leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import geopandas as gpd
import numpy as np
import pandas as pd
import psycopg
import pytest
import shapely
import sqlalchemy as sa

from layers.registry import theme
from tests.conftest import ROOT
from tests.forks import Forks, forks
from twin.catalogue.catalogue import Column, Layer, LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.staging import Mode, Outcome, Provenance, Shape, Staging
from twin.catalogue.versions import retire, rollback
from twin.db.database import Database, libpq
from twin.db.tables import Audit, Sharing
from twin.errors import NotFound
from twin.text import Text

LAYER = "transport.lamps"
WHO = Provenance(actor="a test", source="made up")


def columns() -> tuple:
    from ingest.mapping.rows import columns_of_layer

    return columns_of_layer(theme("places"), {})


def shape() -> Shape:
    return Shape(columns(), theme("places").resolution)


def lamps(count: int, name: str = "lamp", first: int = 1) -> gpd.GeoDataFrame:
    numbers = np.arange(first, first + count)
    points = shapely.points(106.7 + (numbers % 100) * 1e-4, 10.77 + (numbers // 100) * 1e-4)
    frame = gpd.GeoDataFrame({"fid": numbers.astype("int64"), "id": numbers.astype(str)}, geometry=points, crs=4326)
    return frame.assign(name=name, kind="sight", address=None, importance=1.0)


@pytest.fixture
def layer(database: Database) -> Database:
    with database.session() as session:
        ensure_agency(session, "transport", Text(en="Transport", vi="Giao thông"))
        ensure_layer(session, LayerEntry(LAYER, "places", Text(en="Lamps", vi="Đèn đường"), sharing=Sharing.OPEN))
    return database


def publish(database: Database, *batches: gpd.GeoDataFrame, keep: int = 5, mode: Mode = "replace") -> Outcome:
    with Staging(database, LAYER, shape(), WHO, keep, mode) as staging:
        for batch in batches:
            staging.append(batch)
        return staging.publish()


def catalogue(database: Database) -> Layer:
    with database.session() as session:
        return read_catalogue(session)[LAYER]


def tables(database: Database) -> set[str]:
    with database.session() as session:
        found = session.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'layer_data'"))
        return {name for (name,) in found}


def names_in(database: Database, table: str) -> set[str]:
    with database.session() as session:
        return {name for (name,) in session.execute(sa.text(f"SELECT DISTINCT name FROM layer_data.{table}"))}


def test_a_publish_makes_version_one_with_its_count_bounds_and_cells(layer: Database) -> None:
    outcome = publish(layer, lamps(150), lamps(50, first=151))
    current = catalogue(layer).current
    assert current is not None
    assert (outcome.number, current.number, current.features) == (1, 1, 200)
    assert current.bounds == pytest.approx((106.7, 10.77, 106.7099, 10.7702), abs=1e-9)
    with layer.session() as session:
        cells = session.execute(
            sa.text(f"SELECT count(*), count(DISTINCT fid) FROM layer_data.{current.cell_table}")
        ).one()
    assert cells == (200, 200)


def test_every_property_comes_back_as_it_went_in(layer: Database) -> None:
    publish(layer, lamps(3, name="Đèn Nguyễn Huệ"))
    table = catalogue(layer).current.table
    with layer.session() as session:
        rows = session.execute(
            sa.text(
                f"SELECT fid, id, name, kind, address, ST_AsText(geom), ST_SRID(geom) FROM layer_data.{table} ORDER BY fid"
            )
        ).all()
    assert rows[0] == (1, "1", "Đèn Nguyễn Huệ", "sight", None, "POINT(106.7001 10.77)", 4326)
    assert len(rows) == 3


def test_publishing_the_same_content_again_makes_no_version_in_whatever_order(layer: Database) -> None:
    publish(layer, lamps(100))
    again = publish(layer, lamps(100).iloc[::-1].reset_index(drop=True))
    assert again.unchanged and again.number == 1
    assert tables(layer) == {"transport_lamps_v1", "transport_lamps_v1_cells"}


def test_one_changed_value_makes_a_new_version(layer: Database) -> None:
    publish(layer, lamps(100))
    changed = lamps(100)
    changed.loc[42, "name"] = "another"
    assert not publish(layer, changed).unchanged
    assert catalogue(layer).current.number == 2


def test_two_features_that_swap_their_names_are_a_change(layer: Database) -> None:
    first = lamps(2)
    first["name"] = ["a", "b"]
    second = lamps(2)
    second["name"] = ["b", "a"]
    publish(layer, first)
    assert not publish(layer, second).unchanged


def test_a_publish_that_fails_leaves_the_current_version_and_no_tables(layer: Database) -> None:
    publish(layer, lamps(10))
    with (
        pytest.raises(RuntimeError, match="the reader broke"),
        Staging(layer, LAYER, shape(), WHO) as staging,
    ):
        staging.append(lamps(20))
        raise RuntimeError("the reader broke")
    assert catalogue(layer).current.features == 10
    assert tables(layer) == {"transport_lamps_v1", "transport_lamps_v1_cells"}
    assert publish(layer, lamps(20)).number == 2


def test_readers_see_the_old_or_the_new_version_and_never_a_mix(layer: Database) -> None:
    publish(layer, lamps(500, name="v1"))
    seen: list[tuple[int, set[str], int]] = []
    stop = threading.Event()

    def read() -> None:
        while not (stop.is_set() and seen and seen[-1][0] == 4):
            current = catalogue(layer).current
            with layer.session() as session:
                rows = session.execute(
                    sa.text(f"SELECT name, count(*) FROM layer_data.{current.table} GROUP BY 1")
                ).all()
            seen.append((current.number, {name for name, _ in rows}, sum(count for _, count in rows)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2, 5):
            publish(layer, lamps(500, name=f"v{number}"))
    finally:
        stop.set()
        reader.join()
    assert {number for number, _, _ in seen} >= {1, 4}
    assert all(names == {f"v{number}"} and count == 500 for number, names, count in seen)


def test_rollback_points_back_and_forward_and_keeps_both(layer: Database) -> None:
    for number in (1, 2, 3):
        publish(layer, lamps(10, name=f"v{number}"))
    assert rollback(layer, LAYER, None, "a test", "wrong file") == 2
    assert catalogue(layer).current.number == 2
    assert rollback(layer, LAYER, 3, "a test") == 3
    assert sorted(catalogue(layer).versions) == [1, 2, 3]
    with layer.session() as session:
        actions = session.scalars(sa.select(Audit.action).where(Audit.layer == LAYER).order_by(Audit.id)).all()
    assert actions == ["publish", "publish", "publish", "rollback", "rollback"]


def test_a_version_that_never_was_cannot_be_rolled_back_to(layer: Database) -> None:
    publish(layer, lamps(10))
    with pytest.raises(NotFound, match="1"):
        rollback(layer, LAYER, 9, "a test")
    with pytest.raises(NotFound):
        rollback(layer, LAYER, None, "a test")


def test_only_the_last_versions_are_kept_and_retiring_drops_their_tables(layer: Database) -> None:
    for number in range(1, 9):
        publish(layer, lamps(5, name=f"v{number}"), keep=5)
    assert sorted(catalogue(layer).versions) == [4, 5, 6, 7, 8]
    assert len(tables(layer)) == 10


def test_the_current_version_is_kept_even_when_it_is_old(layer: Database) -> None:
    for number in (1, 2, 3):
        publish(layer, lamps(5, name=f"v{number}"))
    rollback(layer, LAYER, 1, "a test")
    retire(layer, LAYER, keep=1)
    assert sorted(catalogue(layer).versions) == [1, 3]
    assert catalogue(layer).current.number == 1


def test_a_table_that_a_reader_holds_is_retired_later(layer: Database) -> None:
    for number in (1, 2):
        publish(layer, lamps(5, name=f"v{number}"))
    with psycopg.connect(libpq(layer.url)) as holding:
        holding.execute("SELECT count(*) FROM layer_data.transport_lamps_v1")
        assert retire(layer, LAYER, keep=1) == []
        assert sorted(catalogue(layer).versions) == [1, 2]
    assert retire(layer, LAYER, keep=1) == [1]


def test_what_is_set_aside_is_kept_with_its_reason(layer: Database) -> None:
    with Staging(layer, LAYER, shape(), WHO) as staging:
        staging.append(lamps(5))
        staging.quarantine(
            [{"feature_id": "6", "reason": "geometry.missing", "detail": "", "properties": {"name": "dark"}, "geometry": None}]
        )  # fmt: skip
        outcome = staging.publish()
    assert outcome.quarantined == catalogue(layer).current.quarantined == 1
    with layer.session() as session:
        row = session.execute(sa.text("SELECT feature_id, reason, properties FROM twin.quarantine")).one()
    assert row == ("6", "geometry.missing", {"name": "dark"})


def test_an_empty_publish_is_a_version_with_no_features(layer: Database) -> None:
    publish(layer, lamps(5))
    outcome = publish(layer)
    assert (outcome.number, outcome.features) == (2, 0)
    assert catalogue(layer).current.bounds is None


def test_a_layer_that_does_not_exist_cannot_be_published_into(database: Database) -> None:
    with pytest.raises(NotFound, match=LAYER), Staging(database, LAYER, shape(), WHO):
        pass


def test_readers_may_not_write_and_the_writer_may_not_change_the_audit(layer: Database) -> None:
    publish(layer, lamps(5))
    reader, options = layer.login("reader")
    with psycopg.connect(libpq(reader)) as connection:
        assert connection.execute("SELECT count(*) FROM layer_data.transport_lamps_v1").fetchone() == (5,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM layer_data.transport_lamps_v1")
    assert options["default_transaction_read_only"] == "on"
    with layer.session() as session, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        session.execute(sa.text("DELETE FROM twin.audit"))


def contents(database: Database) -> dict[str, str]:
    table = catalogue(database).current.table
    with database.session() as session:
        return dict(session.execute(sa.text(f"SELECT id, name FROM layer_data.{table}")).all())


def test_an_upsert_replaces_what_comes_again_adds_what_is_new_and_keeps_the_rest(layer: Database) -> None:
    publish(layer, lamps(4, name="old"))
    outcome = publish(layer, lamps(3, name="new", first=3), mode="upsert")
    assert (outcome.number, outcome.features, outcome.cells) == (2, 5, 5)
    assert contents(layer) == {"1": "old", "2": "old", "3": "new", "4": "new", "5": "new"}
    current = catalogue(layer).current
    assert current.bounds == pytest.approx((106.7001, 10.77, 106.7005, 10.77), abs=1e-9)
    with layer.session() as session:
        fids = session.scalars(sa.text(f"SELECT fid FROM layer_data.{current.cell_table} ORDER BY fid")).all()
    assert fids == [1, 2, 3, 4, 5]


def test_an_upsert_of_what_is_there_already_makes_no_version(layer: Database) -> None:
    publish(layer, lamps(100))
    assert publish(layer, lamps(10, first=20), mode="upsert").unchanged
    assert publish(layer, mode="upsert").unchanged


def test_an_upsert_and_a_replacement_with_the_same_content_have_the_same_digest(layer: Database) -> None:
    publish(layer, lamps(4, name="old"))
    publish(layer, lamps(2, name="new", first=4), mode="upsert")
    whole = pd.concat([lamps(3, name="old"), lamps(2, name="new", first=4)], ignore_index=True)
    assert publish(layer, whole).unchanged


def test_an_upsert_into_an_empty_layer_is_its_first_version(layer: Database) -> None:
    assert publish(layer, lamps(3), mode="upsert").features == 3


def test_a_column_that_an_older_version_lacks_is_empty_for_what_came_along(layer: Database) -> None:
    publish(layer, lamps(2))
    wider = Shape((*columns(), Column("watts", "integer", Text(en="Watts", vi="Công suất"))), shape().resolution)
    with Staging(layer, LAYER, wider, WHO, mode="upsert") as staging:
        staging.append(lamps(1, first=2).assign(watts=60))
        staging.publish()
    with layer.session() as session:
        found = session.execute(sa.text("SELECT id, watts FROM layer_data.transport_lamps_v2 ORDER BY id")).all()
    assert found == [("1", None), ("2", 60)]


def publish_and_die(url: str, step: str) -> None:
    """Publish until a step, and be killed there."""
    import twin.catalogue.staging as staging_module

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step in ("_unique_ddl", "_index_ddl", "_primary_key", "point_to"):
        setattr(staging_module, step, die)
    elif step in ("_begin", "_roll_up", "_swap"):
        setattr(staging_module.Staging, step, die)
    if step == "after swap":
        staging_module.retire = die
    with Staging(Database(sa.make_url(url), private=True), LAYER, shape(), WHO) as staging:
        if step == "staged":
            die()
        staging.append(lamps(500, name="v2"))
        if step == "filled":
            die()
        staging.publish()


@pytest.fixture(scope="module")
def processes() -> Iterator[Forks]:
    with forks(__name__) as running:
        yield running


@pytest.mark.parametrize(
    ("step", "survivor"),
    [("_begin", "v1"), ("staged", "v1"), ("filled", "v1"), ("_index_ddl", "v1"), ("_swap", "v1"), ("_unique_ddl", "v1"), ("_roll_up", "v1"), ("_primary_key", "v1"), ("point_to", "v1"), ("after swap", "v2")],
)  # fmt: skip
def test_a_publisher_killed_at_any_step_leaves_the_old_or_the_new_and_a_retry_succeeds(
    layer: Database, processes: Forks, step: str, survivor: str
) -> None:
    publish(layer, lamps(500, name="v1"))
    url = layer.url.render_as_string(hide_password=False)
    assert processes.wait(processes.start("publish_and_die", url, step)) == -signal.SIGKILL
    assert names_in(layer, catalogue(layer).current.table) == {survivor}
    retried = publish(layer, lamps(500, name="v2"))
    assert retried.unchanged is (survivor == "v2")
    assert names_in(layer, catalogue(layer).current.table) == {"v2"}
    used = {name for v in catalogue(layer).versions.values() for name in (v.table, v.cell_table)}
    assert tables(layer) == used


def test_two_publishers_of_one_layer_go_one_after_the_other(layer: Database) -> None:
    publish(layer, lamps(10, name="v1"))
    order: list[str] = []

    def second() -> None:
        publish(layer, lamps(10, name="second"))
        order.append("second")

    with Staging(layer, LAYER, shape(), WHO) as staging:
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.5)
        staging.append(lamps(10, name="first"))
        staging.publish()
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert names_in(layer, catalogue(layer).current.table) == {"second"}


@pytest.fixture(autouse=True)
def _in_project_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(p) for p in (sys.path[0], str(ROOT))]))
    yield

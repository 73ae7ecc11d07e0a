"""`check` and `publish` say the same of every file: one set of rules, whether or not anything is written."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.publish.engine import PublishRequest, PublishResult, check_file, publish_file
from layers.registry import theme
from tests.conftest import HOME, empty_database
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.tables import Quarantine, Sharing
from twin.text import Text

LAYER, WARDS = "health.places", "planning.wards"
COLUMNS = ("ma", "ten", "loai", "phuong", "lng", "lat")
FIELDS = '\n[fields]\nname = "ten"\nkind = "loai"\n'
# Tables of TOML come last.
PARTS = ("id", "where", "unique", "join", "fields")
Row = tuple[str, ...]


@pytest.fixture(scope="module")
def city(cluster: PrivateCluster, migrated_template: str) -> Iterator[Database]:
    with empty_database(cluster, migrated_template) as database:
        with database.session() as session:
            for name, of in ((LAYER, "places"), (WARDS, "boundaries")):
                agency = name.partition(".")[0]
                ensure_agency(session, agency, Text(en=agency, vi=agency))
                ensure_layer(session, LayerEntry(name, of, Text(en=name, vi=name), sharing=Sharing.OPEN))
        yield database


@pytest.fixture(scope="module")
def folder(city: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table to join, and the wards of a published layer."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "phuong.csv").write_text("phuong,dan_so\n01,100\n02,200\n01,300\n", "utf-8")
    square = '"POLYGON ((106.7{n} 10.7, 106.7{n}5 10.7, 106.7{n}5 10.705, 106.7{n} 10.705, 106.7{n} 10.7))"'
    rows = [f"0{n},Phường {n},ward,{square.format(n=n)}" for n in (1, 2)]
    (folder / "wards.csv").write_text("\n".join(["code,name,level,wkt", *rows]), "utf-8")
    mapping = folder / "wards.toml"
    mapping.write_text('id = "code"\ncrs = "EPSG:4326"\n[fields]\ncode = "code"\nname = "name"\nlevel = "level"\n')
    result = publish(city, folder / "wards.csv", PublishRequest(WARDS, mapping=mapping))
    assert result.outcome is not None
    return folder


def publish(database: Database, path: Path, request: PublishRequest) -> PublishResult:
    config = Settings(home=HOME, database=database.url.database, batch_rows=3)
    return publish_file(database, config, path, request, "an officer", path.name, None, lambda *_: None)


rows_of_tables = st.lists(
    st.tuples(
        st.sampled_from(["A1", "A2", "A3", "A4", "a 5", ""]),
        st.sampled_from(["Trường Hoa Mi", "Chợ", "=1+1", "x" * 40, ""]),
        st.sampled_from(["school", "market", "hospital", "không rõ", ""]),
        st.sampled_from(["01", "1", "02", "09", ""]),
        st.sampled_from(["106.70", "106.71", "106.72", "0", "170.5", "n/a", ""]),
        st.sampled_from(["10.77", "10.78", "0", "95", ""]),
    ),
    max_size=8,
)
mappings = st.fixed_dictionaries({
    "id": st.sampled_from(["", 'id = "ma"\n', 'id = "{ma}-{ten}"\n']),
    "where": st.sampled_from(["", 'where = { loai = ["school", "market", ""] }\n', 'where = { ma = ["A1"] }\n']),
    "unique": st.sampled_from(["", 'unique = "ma"\n', 'unique = "ten"\n']),
    "join": st.sampled_from([
        "", 'join = { file = "phuong.csv", on = "phuong", key = "phuong", mean = ["dan_so"], count = "so_dong" }\n',
        f'join = {{ layer = "{WARDS}", on = "phuong", key = "code" }}\n',
    ]),
    "fields": st.sampled_from(["", FIELDS]),
})  # fmt: skip


def say_the_same(city: Database, folder: Path, rows: list[Row], mapping: dict[str, str], crs: str | None) -> None:
    path, toml = folder / "places.csv", folder / "places.toml"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    toml.write_text("".join(mapping[part] for part in PARTS), "utf-8")
    request = PublishRequest(LAYER, mapping=toml if any(mapping.values()) else None, crs=crs)

    config = Settings(home=HOME, database=city.url.database, batch_rows=3)
    report = check_file(path, theme("places"), request, config, lambda *_: None, lambda: city)
    rehearsed = publish(city, path, replace(request, dry_run=True))
    strict = publish(city, path, replace(request, dry_run=True, strict=True))
    published = publish(city, path, request)

    expected: dict[str, Any] = report.to_dict()
    for result in (rehearsed, strict, published):
        assert result.report.to_dict() == expected
    assert report.features == len(rows) == report.good + report.bad + report.left_out  # type: ignore[union-attr]
    assert rehearsed.exit_code == published.exit_code == report.exit_code
    refused_by_strict = report.bad > 0 or not report.publishable
    assert strict.exit_code == (2 if refused_by_strict else report.exit_code)
    assert rehearsed.outcome is None and strict.outcome is None
    assert (published.outcome is None) == (not report.publishable) == (report.exit_code == 2)
    if published.outcome is not None:
        assert (published.outcome.features, published.outcome.quarantined) == (report.good, report.bad)
    if published.outcome is not None and not published.outcome.unchanged:
        with city.session() as session:
            newest = sa.select(sa.func.max(Quarantine.version_id)).scalar_subquery()
            reasons = session.scalars(sa.select(Quarantine.reason).where(Quarantine.version_id == newest)).all()
        refused = {problem.code for problem in report.problems if problem.severity == "refused"}
        assert not report.bad or set(reasons) <= refused


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_tables, mapping=mappings, crs=st.sampled_from([None, "EPSG:4326"]))
def test_check_and_publish_say_the_same_of_every_table(
    city: Database, folder: Path, rows: list[Row], mapping: dict[str, str], crs: str | None
) -> None:
    say_the_same(city, folder, rows, mapping, crs)

"""Ids are texts as they stand in the file, in every format, also those that a driver keeps beside the columns."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.readers.files import LOTS, feature, geojson, problems, read, write
from twin.errors import BadInput

POINT = {"type": "Point", "coordinates": [106.7, 10.7]}

IDS = st.one_of(
    st.integers(-(10**25), 10**25), st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
)


def with_ids(path: Path, ids: list[Any], **properties: Any) -> Path:
    return geojson(path, [{**feature(POINT, **properties), "id": value} for value in ids])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(ids=st.lists(IDS, min_size=1, max_size=6))
def test_the_ids_of_geojson_features_are_texts_as_they_are_written(
    tmp_path_factory: pytest.TempPathFactory, ids: list[Any]
) -> None:
    _, rows = read(with_ids(tmp_path_factory.mktemp("ids") / "a.geojson", ids, ten="x"))
    assert rows["id"].tolist() == [str(value) for value in ids]


def test_an_id_of_a_feature_and_a_property_of_that_name_are_two_columns(tmp_path: Path) -> None:
    _, rows = read(with_ids(tmp_path / "a.geojson", ["z", "y"], id=5))
    assert rows["id"].tolist() == [5, 5] and rows["id_2"].tolist() == ["z", "y"]


def test_ids_of_another_member_or_a_nested_value_are_none_of_a_feature(tmp_path: Path) -> None:
    content = {"meta": {"id": 9}, "features": [feature(POINT, of={"id": 3})], "type": "FeatureCollection"}
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    assert "id" not in read(tmp_path / "a.geojson")[1]


def test_ids_of_geojson_lines_and_a_single_feature_are_read(tmp_path: Path) -> None:
    one = {**feature(POINT, a=1), "id": 7}
    (tmp_path / "a.geojsonl").write_text("\n".join(json.dumps({**one, "id": i}) for i in (30, 4)))
    (tmp_path / "b.geojson").write_text(json.dumps(one))
    assert read(tmp_path / "a.geojsonl")[1]["id"].tolist() == ["30", "4"]
    assert read(tmp_path / "b.geojson")[1]["id"].tolist() == ["7"]


def test_an_id_without_its_feature_is_refused_not_given_to_the_next_one(tmp_path: Path) -> None:
    features = [{"type": "Strange", "id": 1}, {**feature(POINT), "id": 2}]
    with pytest.raises(BadInput, match="ids cannot be given"):
        read(geojson(tmp_path / "a.geojson", features))


@pytest.mark.parametrize("name", ["OGC_FID", "wkb_geometry", "fid", "geometry", "geom", "FID"])
def test_a_property_with_a_name_of_the_driver_keeps_its_values(tmp_path: Path, name: str) -> None:
    features = [{"type": "Feature", "geometry": POINT, "properties": {"ma": "a", name: n}} for n in (100, 101)]
    path = geojson(tmp_path / "a.geojson", features)
    _, rows = read(path)
    assert [100, 101] in [rows[c].tolist() for c in rows.columns if c.lower().startswith(name.lower())]
    assert rows.geometry.notna().all()


@pytest.mark.parametrize("key", ["fid", "ma_thua", "OGC_FID"])
def test_the_key_of_a_geopackage_is_a_column(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "a.gpkg", "GPKG", layer_options={"FID": key})
    with closing(sqlite3.connect(path)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(f'UPDATE a SET "{key}" = 79203012345678900 + "{key}"')
    _, rows = read(path)
    assert rows[key].tolist() == [f"7920301234567890{i}" for i in (1, 2, 3)]


def dbf_with(path: Path, width: int, values: list[str]) -> Path:
    """Write a Shapefile of points with one column N(width, 0)."""
    pyogrio.write_dataframe(LOTS[["so", "geometry"]], path, driver="ESRI Shapefile")
    field = b"ma".ljust(11, b"\0") + b"N" + b"\0" * 4 + bytes([width, 0]) + b"\0" * 14
    rows = b"".join(b" " + value.rjust(width).encode() for value in values)
    head = b"\x03\x1a\x05\x01" + struct.pack("<IHH", len(values), 32 + 32 + 1, 1 + width) + b"\0" * 20
    path.with_suffix(".dbf").write_bytes(head + field + b"\r" + rows + b"\x1a")
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.integers(0, 10**20 - 1), min_size=3, max_size=3), zeros=st.booleans())
def test_whole_numbers_of_a_dbase_file_are_exact_however_wide(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], zeros: bool
) -> None:
    written = [f"{value:020d}" if zeros else str(value) for value in values]
    _, rows = read(dbf_with(tmp_path_factory.mktemp("dbf") / "a.shp", 20, written))
    assert rows["ma"].tolist() == written


def test_zeros_in_front_of_narrow_numbers_stay(tmp_path: Path) -> None:
    assert read(dbf_with(tmp_path / "a.shp", 5, ["00123", "7", ""]))[1]["ma"].tolist() == ["00123", "7", None]


def test_a_workbook_s_codes_are_read_as_they_are_shown_and_long_ones_are_named(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["ma", "so", "lng", "lat"], [7, 1, 106.7, 10.7], [123, 79203012345678901, 106.7, 10.8]):
        book.active.append(row)
    for cell in (book.active["A2"], book.active["A3"]):
        cell.number_format = "00000"
    book.save(tmp_path / "a.xlsx")
    _, rows = read(tmp_path / "a.xlsx")
    assert rows["ma"].tolist() == ["00007", "00123"] and "e" not in rows["so"][1]
    assert problems(rows) == [None, "value.inexact"]
    assert shapely.get_x(rows.geometry[0]) == 106.7

"""Coarser cells: everything is counted once, and a map of the whole city shows it."""

from __future__ import annotations

from collections import Counter

import geopandas as gpd
import h3
import httpx
import mapbox_vector_tile
import mercantile
import numpy as np
import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa

from layers.registry import theme
from tests.conftest import LiveServer
from tests.test_versions import LAYER, WHO, layer  # noqa: F401  # a fixture
from twin.catalogue.catalogue import Column, read_catalogue
from twin.catalogue.staging import Shape, Staging
from twin.cells.cover import format_cell
from twin.cells.rollup import CELLS_A_TILE, Plan, Rolled, parent_sql, resolution_for
from twin.db.database import Database, libpq
from twin.text import Text

COLUMNS = (
    Column("kind", "text", Text(en="Kind", vi="Loại")),
    Column("watts", "integer", Text(en="Watts", vi="Công suất")),
    Column("length", "number", Text(en="Length", vi="Chiều dài")),
)
PLAN = Plan(8, (
    Rolled("kind", "text", "mode"), Rolled("watts", "integer", "sum"), Rolled("length", "number", "mean", "watts"),
))  # fmt: skip


def lamps(count: int, seed: int = 3, first: int = 0) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(106.7, 0.05, count), rng.normal(10.77, 0.05, count)
    watts = rng.integers(10, 200, count).astype(object)
    watts[rng.random(count) < 0.2] = None
    return gpd.GeoDataFrame(
        {
            "fid": np.arange(first, first + count) + 1,
            "id": [str(i + first) for i in range(count)],
            "importance": 1.0,
            "kind": rng.choice(np.array(["gas", "led", "neon", None], dtype=object), count),
            "watts": watts,
            "length": np.round(rng.uniform(0, 9, count), 2),
        },
        geometry=gpd.points_from_xy(x, y),
        crs=4326,
    )


def check(database: Database, features: gpd.GeoDataFrame, table: str) -> None:
    with database.session() as session:
        rows = session.execute(sa.text(f"SELECT resolution, cell, features, kind, watts, length FROM {table}")).all()
        geometries = session.execute(sa.text(f"SELECT cell, ST_AsText(ST_Centroid(geom)) FROM {table}")).all()
    assert {row.resolution for row in rows} == {8, 7, 6, 5, 4}
    for resolution in (8, 7, 6, 5, 4):
        # A feature lies in the ancestor of its own fine cell, which near an edge is not the coarse cell of its place.
        here = {row.cell: row for row in rows if row.resolution == resolution}
        assert sum(row.features for row in here.values()) == len(features)
        fine = {}
        for row in features.itertuples():
            cell = h3.str_to_int(
                h3.cell_to_parent(h3.latlng_to_cell(row.geometry.y, row.geometry.x, RESOLUTION), resolution)
            )
            fine.setdefault(cell, []).append(row)
        assert set(here) == set(fine)
        for cell, row in here.items():
            assert row.features == len(fine[cell])
            kinds = Counter(r.kind for r in fine[cell] if pd.notna(r.kind))
            assert row.kind == (min(kinds, key=lambda k: (-kinds[k], k)) if kinds else None)
            watts = [r.watts for r in fine[cell] if pd.notna(r.watts)]
            assert row.watts == (sum(watts) if watts else None)
            if watts:
                mean = sum(r.length * r.watts for r in fine[cell] if pd.notna(r.watts)) / sum(watts)
                assert row.length == pytest.approx(mean)
            else:
                assert row.length is None
    for cell, point in geometries[:50]:
        lat, lng = h3.cell_to_latlng(format_cell(cell))
        x, y = (float(part) for part in point.removeprefix("POINT(").removesuffix(")").split())
        assert abs(x - lng) < 1e-3 * 2 ** (8 - h3.get_resolution(format_cell(cell))) and abs(y - lat) < 0.05


RESOLUTION = 11


def test_a_roll_up_equals_counting_one_feature_after_another_also_after_an_upsert(layer: Database) -> None:  # noqa: F811
    shape = Shape(COLUMNS, RESOLUTION, rollup=PLAN)
    first = lamps(800)
    with Staging(layer, LAYER, shape, WHO) as staging:
        staging.append(first.iloc[:300].reset_index(drop=True))
        staging.append(first.iloc[300:].reset_index(drop=True))
        staging.publish()
    check(layer, first, "layer_data.transport_lamps_v1_rollup")
    more = lamps(100, seed=4, first=750)
    with Staging(layer, LAYER, shape, WHO, mode="upsert") as staging:
        staging.append(more)
        staging.publish()
    both = gpd.GeoDataFrame(
        [*first[~first["id"].isin(more["id"])].to_dict("records"), *more.to_dict("records")], crs=4326
    )
    check(layer, both, "layer_data.transport_lamps_v2_rollup")
    with layer.session() as session:
        version = read_catalogue(session)[LAYER].current
    assert version is not None and version.stored_rollup == PLAN.as_dict()


def test_a_retired_version_takes_its_roll_up_along(layer: Database) -> None:  # noqa: F811
    for n in range(3):
        with Staging(layer, LAYER, Shape(COLUMNS, RESOLUTION, rollup=PLAN), WHO, keep=1) as staging:
            staging.append(lamps(20, seed=n))
            staging.publish()
    with layer.session() as session:
        left = session.scalars(
            sa.text(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'layer_data' AND table_name LIKE 'transport_lamps%'"
            )
        ).all()
    assert sorted(left) == ["transport_lamps_v3", "transport_lamps_v3_cells", "transport_lamps_v3_rollup"]


def test_the_ancestor_in_sql_is_h3_s(layer: Database) -> None:  # noqa: F811
    rng = np.random.default_rng(1)
    with layer.session() as session:
        for _ in range(60):
            cell = h3.latlng_to_cell(rng.uniform(-89, 89), rng.uniform(-180, 180), int(rng.integers(5, 16)))
            coarse = int(rng.integers(0, h3.get_resolution(cell) + 1))
            found = session.scalar(sa.text(f"SELECT {parent_sql(str(h3.str_to_int(cell)) + '::bigint', coarse)}"))
            assert format_cell(found) == h3.cell_to_parent(cell, coarse)


def test_the_cells_of_a_zoom_are_as_fine_as_a_tile_can_show() -> None:
    for zoom in range(4, 16):
        area = (40_075 / 2**zoom) ** 2
        assert area / h3.average_hexagon_area(resolution_for(zoom)) <= CELLS_A_TILE
        assert area / h3.average_hexagon_area(resolution_for(zoom) + 1) > CELLS_A_TILE


@pytest.mark.parametrize("zoom", [7, 9, 11, 12])
def test_below_the_first_zoom_of_buildings_the_tiles_hold_cells_that_count_them_all(
    http: httpx.Client, live_server: LiveServer, zoom: int
) -> None:
    about = http.get("/collections/construction.buildings").json()
    assert theme("buildings").minzoom > zoom
    counts: dict[str, int] = {}
    for tile in mercantile.tiles(*about["bounds"], [zoom]):
        answer = http.get(f"/tiles/construction.buildings/{tile.z}/{tile.x}/{tile.y}.mvt")
        layers = mapbox_vector_tile.decode(answer.content)
        assert set(layers) <= {"construction.buildings:cells"}
        for feature in layers.get("construction.buildings:cells", {"features": []})["features"]:
            counts[feature["properties"]["cell"]] = feature["properties"]["features"]
            cell, found = feature["properties"]["cell"], feature["properties"]
            assert h3.get_resolution(cell) == min(resolution_for(zoom), 8)
            assert found["per_km2"] == pytest.approx(found["features"] / h3.cell_area(cell), rel=1e-4, abs=0.06)
    assert sum(counts.values()) == about["featureCount"]
    with psycopg.connect(libpq(live_server.database.url)) as connection:
        table = f"construction_buildings_v{about['version']}_rollup"
        tallest = connection.execute(f"SELECT max(height) FROM layer_data.{table}").fetchone()
    assert tallest is not None and tallest[0] > 20

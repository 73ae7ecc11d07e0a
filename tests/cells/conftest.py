"""A layer with a property of every rule in three versions of one content: with a roll-up, without, and of old tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import pytest
import shapely
import sqlalchemy as sa

from ingest.mapping.rows import columns_of_layer
from layers.contracts import Contract, as_theme
from tests.conftest import LiveServer, serving
from tests.features.conftest import register
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.cells.rollup import Plan
from twin.db.cluster import PrivateCluster
from twin.db.database import Database

LAYER = "lab.sheds"
COUNT = 700


def _field(name: str, type_: str, rollup: str | None = None, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "type": type_,
        "title": {"vi": f"{name} (vi)", "en": f"{name} (en)"},
        "rollup": rollup,
        **more,
    }


CONTRACT = Contract.model_validate(
    {
        "layer": LAYER,
        "title": {"vi": "Nhà kho", "en": "Sheds"},
        "licence": "CC0-1.0",
        "attribution": "a test",
        "sharing": "open",
        "geometry": "polygon",
        "resolution": 10,
        "field": [
            _field("kind", "text", "mode"),
            _field("note", "text"),
            _field("first", "text", "min"),
            _field("area", "number", "sum", unit="m2"),
            _field("doors", "integer", "sum"),
            _field("height", "number", "max", unit="m"),
            _field("level", "integer", "mean"),
            _field("owner", "text", "count"),
            _field("locked", "boolean", "max"),
            _field("since", "date", "min"),
            _field("features", "integer", "sum"),
        ],
    }
)
THEME = as_theme(CONTRACT)
COLUMNS = columns_of_layer(THEME, {})
ROLLED = {f.name: f.rollup.value for f in THEME.fields if f.rollup and f.name != "features"}


def sheds(count: int = COUNT) -> gpd.GeoDataFrame:
    """Boxes of 10 to 900 metres, scattered so that some cells hold many; every value is missing now and then."""
    rng = np.random.default_rng(11)
    x, y = rng.normal(106.70, 0.02, count), rng.normal(10.77, 0.02, count)
    side = 10 ** rng.uniform(-4, -2.1, count)
    frame = gpd.GeoDataFrame(
        {
            "fid": np.arange(count, dtype="int64") * 2 + 1,
            "id": [f"s{n}" for n in range(count)],
            "kind": pd.Series(rng.choice(["brick", "Ống", "tin", "wood"], count), dtype=object),
            "note": pd.Series([f"n{n}" for n in range(count)], dtype=object),
            "first": pd.Series(rng.choice(["a", "B", "ä", "Đ", "z"], count), dtype=object),
            "area": rng.integers(1, 4000, count) / 4,
            "doors": pd.array(rng.integers(0, 9, count), dtype="Int64"),
            "height": rng.integers(4, 90, count) / 2,
            "level": pd.array(rng.integers(-2, 9, count), dtype="Int64"),
            "owner": pd.Series([f"o{n % 5}" for n in range(count)], dtype=object),
            "locked": pd.array(rng.integers(0, 2, count).astype(bool), dtype="boolean"),
            "since": pd.Series([date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 900, count)], dtype=object),
            "features": pd.array(rng.integers(0, 9, count), dtype="Int64"),
            "importance": 1.0,
        },
        geometry=shapely.box(x, y, x + side, y + side / 2),
        crs=4326,
    )  # fmt: skip
    for name in ROLLED:
        frame.loc[rng.random(count) < 0.3, name] = None
    return frame


@pytest.fixture(scope="session")
def lab(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The program serving the layer."""
    database = Database(cluster.url(f"{os.environ['TWIN_TEST_RUN']}_sheds_{os.getpid()}"), private=True)
    register(database, LAYER, CONTRACT)
    # A roll-up has no way to hold a boolean's greatest value: that one is always counted from the features.
    rolled = tuple(c for c in THEME.rolled(ROLLED) if c.type != "boolean")
    for number, plan in enumerate((Plan(8, rolled), None, None), 1):
        shape = Shape(COLUMNS, CONTRACT.resolution, rollup=plan)
        with Staging(database, LAYER, shape, Provenance("a test", "made up")) as staging:
            # A version that is equal to the one before would not be made.
            staging.append(sheds().assign(note=f"{number}"))
            staging.publish()
    with database.session() as session:
        session.execute(sa.text("ALTER TABLE layer_data.lab_sheds_v3 DROP COLUMN cell"))
    database.writer.dispose()
    with serving(database, tmp_path_factory.mktemp("sheds") / "server.log") as server:
        yield server
    database.writer.dispose()


@pytest.fixture(scope="session")
def http(lab: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab.url, timeout=60, headers={"Accept-Language": "en"}) as client:
        yield client

"""A layer with a field of every type, awkward texts and missing values, in two versions, served by the program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
import shapely

from ingest.mapping.rows import columns_of_layer
from layers.contracts import Contract, as_theme, document
from tests.conftest import LiveServer, serving
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, libpq
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text

LAYER = "lab.plots"
COUNT = 240
TEXTS = [
    "Bến Nghé", "bến nghé", "Ben Nghe", "Đa Kao", "đa kao", "Da Kao", "=HYPERLINK(\"x\")", "+84 28", "-5", "-x", "@sum",
    "<script>alert(1)</script>", "it's", 'a "quoted" one', "50%", "a_b", "back\\slash", "", "line\nbreak", "\ttab", None,
    "Tân Phú", "zebra", "Ω",
]  # fmt: skip
CONTRACT = Contract.model_validate(
    {
        "layer": LAYER,
        "title": {"vi": "Lô đất", "en": "Plots"},
        "licence": "CC0-1.0",
        "attribution": "a test",
        "sharing": "open",
        "geometry": "polygon",
        "field": [
            {"name": "label", "type": "text", "title": {"vi": "Nhãn", "en": "Label"}},
            {"name": "size", "type": "number", "title": {"vi": "Cỡ", "en": "Size"}, "unit": "m2", "minimum": -1000},
            {"name": "floors", "type": "integer", "title": {"vi": "Tầng", "en": "Floors"}},
            {"name": "built", "type": "boolean", "title": {"vi": "Đã xây", "en": "Built"}},
            {"name": "seen_at", "type": "time", "title": {"vi": "Lúc", "en": "Seen at"}},
            {"name": "since", "type": "date", "title": {"vi": "Từ", "en": "Since"}},
            {
                "name": "use", "type": "text", "title": {"vi": "Công năng", "en": "Use"},
                "vocabulary": {"home": {"vi": "Nhà", "en": "Home"}, "shop": {"vi": "Cửa hàng", "en": "Shop"}},
            },
        ],
    }
)  # fmt: skip
COLUMNS = columns_of_layer(as_theme(CONTRACT), {})
NAMES = tuple(c.name for c in COLUMNS)


def plots(count: int = COUNT, size_shift: float = 0.0) -> gpd.GeoDataFrame:
    """Squares on a grid of about 110 m, every value missing now and then."""
    rng = np.random.default_rng(7)
    numbers = np.arange(count)
    x, y = 106.70 + (numbers % 20) * 1e-3, 10.77 + (numbers // 20) * 1e-3
    side = rng.uniform(2e-4, 1.5e-3, count)
    frame = gpd.GeoDataFrame(
        {
            "fid": numbers.astype("int64") * 3 + 5,
            "id": [f"p{n}" if n % 40 else f"p/{n} ä" for n in numbers],
            "label": pd.Series([TEXTS[n % len(TEXTS)] for n in numbers], dtype=object),
            "size": rng.integers(-4, 40, count) / 2 + size_shift,
            "floors": pd.array(rng.integers(0, 6, count), dtype="Int64"),
            "built": pd.array(rng.integers(0, 2, count).astype(bool), dtype="boolean"),
            "seen_at": pd.to_datetime(
                [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=int(h)) for h in rng.integers(0, 2000, count)]
            ),
            "since": pd.Series([date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 900, count)], dtype=object),
            "use": pd.Series(["home" if n % 3 else "shop" for n in numbers], dtype=object),
            "importance": 1.0,
        },
        geometry=shapely.box(x, y, x + side, y + side),
        crs=4326,
    )  # fmt: skip
    for position, name in enumerate(("size", "floors", "built", "seen_at", "since")):
        frame.loc[(numbers + position) % 11 == 0, name] = None
    return frame


def register(database: Database, layer: str, contract: Contract) -> None:
    """Make the tables, an agency and its open layer, which has a contract of its own."""
    migrate(database)
    with database.session() as session:
        ensure_agency(session, "lab", Text(en="Lab", vi="Phòng thí nghiệm"))
        ensure_layer(
            session,
            LayerEntry(
                layer, layer, contract.title.text, licence="CC0-1.0", attribution="a test", sharing=Sharing.OPEN,
                contract=document(contract),
            ),
        )  # fmt: skip


def publish(database: Database, frame: gpd.GeoDataFrame) -> None:
    resolution = as_theme(CONTRACT).resolution
    with Staging(database, LAYER, Shape(COLUMNS, resolution), Provenance("a test", "made up")) as staging:
        staging.append(frame)
        staging.publish()


@pytest.fixture(scope="module")
def lab(
    cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[LiveServer]:
    """The program serving the layer; one for each test file."""
    name = request.module.__name__.rpartition(".")[2][5:20]
    database = Database(cluster.url(f"{os.environ['TWIN_TEST_RUN']}_lab_{name}_{os.getpid()}"), private=True)
    register(database, LAYER, CONTRACT)
    publish(database, plots(size_shift=100))
    publish(database, plots())
    database.writer.dispose()
    with serving(database, tmp_path_factory.mktemp("lab") / "server.log") as server:
        yield server
    database.writer.dispose()


@pytest.fixture(scope="module")
def http(lab: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def sql(lab: LiveServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq(lab.database.url), autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


ITEMS = f"/collections/{LAYER}/items"
TABLE = "layer_data.lab_plots_v2"


def ids(answer: httpx.Response) -> list[str]:
    """The ids of a GeoJSON answer."""
    assert answer.status_code == 200, answer.text
    return [feature["id"] for feature in answer.json()["features"]]


def linked(answer: httpx.Response, rel: str) -> str | None:
    """The address behind a link."""
    return next((link["href"] for link in answer.json()["links"] if link["rel"] == rel), None)

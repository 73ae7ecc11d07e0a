"""A policy that holds something back from strangers, on every channel: a column, fine cells, small counts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import h3
import httpx
import mapbox_vector_tile
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import sqlalchemy as sa
from starlette.testclient import TestClient

from ingest.mapping.rows import columns_of_layer
from layers.contracts import Contract, as_theme
from tests.access.walk import client, requests_for, running, send
from tests.conftest import HOME, RUN, run_async
from tests.features.conftest import register
from tiles.app import create_app
from tiles.vector.archives import LAYERS, PERMIT
from tiles.vector.bake import bake
from twin.access import policy
from twin.access.keys import new_key
from twin.access.permit import permit_of, same_key, whole_permit
from twin.access.policy import EVERYTHING, Grant
from twin.access.principals import ANONYMOUS, Principal
from twin.catalogue.catalogue import Layer, read_catalogue
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.cells.rollup import Plan
from twin.client import Twin
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.tables import PrincipalRole
from twin.private_files import private_folder

LAYER = "lab.homes"
# In the names, the titles and the values of what is hidden, and nowhere else.
SIGN = b"veiled"
HIDDEN = frozenset({"veiled_owner", "veiled_kind", "veiled_rent", "veiled_since"})
FINEST, LEAST = 8, 3
CONTRACT = Contract.model_validate(
    {
        "layer": LAYER, "title": {"vi": "Nhà", "en": "Homes"}, "licence": "CC0-1.0", "attribution": "a test",
        "sharing": "open", "geometry": "polygon", "resolution": 10, "label": "veiled_owner",
        "field": [
            {"name": "veiled_owner", "type": "text", "title": {"vi": "veiled chủ", "en": "veiled owner"}},
            {
                "name": "veiled_kind", "type": "text", "title": {"vi": "veiled loại", "en": "veiled kind"}, "rollup": "mode",
                "vocabulary": {
                    "veiled_a": {"vi": "veiled một", "en": "veiled one"}, "veiled_b": {"vi": "veiled hai", "en": "veiled two"},
                },
            },
            {"name": "veiled_rent", "type": "number", "title": {"vi": "veiled giá", "en": "veiled rent"}, "rollup": "sum"},
            {"name": "veiled_since", "type": "date", "title": {"vi": "veiled từ", "en": "veiled since"}},
            {"name": "floors", "type": "integer", "title": {"vi": "Tầng", "en": "Floors"}, "rollup": "max"},
        ],
    }
)  # fmt: skip
THEME = as_theme(CONTRACT)
COLUMNS = columns_of_layer(THEME, {})
COUNT = 60
ITEMS = f"/collections/{LAYER}/items"


def homes(rent: float = 1.0) -> gpd.GeoDataFrame:
    """Houses in clusters of one, two and many, so that some cells hold few."""
    rng = np.random.default_rng(3)
    x = np.concatenate([[106.7005, 106.75, 106.7501], rng.normal(106.7005, 0.0005, COUNT - 3)])
    y = np.concatenate([[10.77, 10.80, 10.8001], rng.normal(10.77, 0.0005, COUNT - 3)])
    numbers = np.arange(COUNT)
    return gpd.GeoDataFrame(
        {
            "fid": numbers.astype("int64") + 1,
            "id": [str(n + 1) for n in numbers],
            "veiled_owner": pd.Series([f"veiled{n}" for n in numbers], dtype=object),
            "veiled_kind": pd.Series(["veiled_a" if n % 3 else "veiled_b" for n in numbers], dtype=object),
            "veiled_rent": numbers * rent,
            "veiled_since": pd.Series([pd.Timestamp("2020-01-01").date()] * COUNT, dtype=object),
            "floors": pd.array(numbers % 7, dtype="Int64"),
            "importance": 1.0,
        },
        geometry=shapely.box(x, y, x + 2e-4, y + 2e-4),
        crs=4326,
    )


def sparing(principal: Principal, layer: Layer) -> Grant | None:
    """The policy: strangers get less."""
    if principal.agency == layer.agency.name:
        return EVERYTHING
    return Grant(HIDDEN, FINEST, LEAST)


@dataclass(frozen=True)
class Lab:
    database: Database
    folder: Path
    own: str
    other: str


@pytest.fixture(scope="module")
def lab(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from twin.catalogue.catalogue import ensure_agency
    from twin.text import Text

    database = Database(cluster.url(f"{os.environ[RUN]}_policy_{os.getpid()}"), private=True)
    register(database, LAYER, CONTRACT)
    for rent in (2.0, 1.0):
        plan = Plan(10, THEME.rolled(c.name for c in COLUMNS))
        with Staging(
            database, LAYER, Shape(COLUMNS, 10, "veiled_owner", plan), Provenance("a test", "made up")
        ) as staging:
            staging.append(homes(rent))
            staging.publish()
    with database.session() as session:
        ensure_agency(session, "other", Text(en="Other", vi="Khác"))
        own = new_key(session, "lab", "desk", PrincipalRole.READER, "a test")
        other = new_key(session, "other", "desk", PrincipalRole.READER, "a test")
    folder = tmp_path_factory.mktemp("policy")
    private_folder(folder / "archives")
    yield Lab(database, folder, own, other)
    database.writer.dispose()
    engine = sa.create_engine(cluster.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database.url.database} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(autouse=True)
def _sparing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "grant", sparing)


def ask(lab: Lab, *questions: tuple[str | None, str]) -> list[httpx.Response]:
    """Answers of one server to questions, one after another: the key, the address."""

    async def answers() -> list[httpx.Response]:
        async with running(lab.database, lab.folder) as (_, served):
            found = []
            for key, path in questions:
                async with client(served, key) as http:
                    found.append(await http.get(path))
            return found

    return run_async(answers())


def test_a_hidden_column_is_on_no_channel_in_no_format_for_strangers_and_on_each_for_its_agency(lab: Lab) -> None:
    """PlannedRequest in turns, the agency first: whatever is kept of its answers is given to nobody else."""

    async def walk() -> tuple[list[str], set[str]]:
        shown, leaks = set(), []
        async with running(lab.database, lab.folder) as (app, served):
            for request in requests_for(app, LAYER):
                if request.method != "GET":
                    continue
                for key in (lab.own, None, lab.other, None, lab.own):
                    async with client(served, key) as http:
                        answer = await send(http, request)
                    assert answer.status_code < 500, (str(request), answer.text)
                    # The names of the application's own parts are no secret; what it tells of itself is.
                    there = SIGN in answer.content
                    if key == lab.own and there:
                        shown.add(request.route)
                    elif key != lab.own and there:
                        at = answer.content.index(SIGN)
                        leaks.append(f"{request}: {answer.content[max(0, at - 60) : at + 40]!r}")
        return leaks, shown

    leaks, shown = run_async(walk())
    assert not leaks, "\n".join(leaks)
    # The same addresses do show it to the agency, or the search above would find nothing anywhere.
    assert shown >= {
        "/collections/{layer}/items", "/collections/{layer}/items/{feature:path}", "/tiles/{layers}/{z}/{x}/{y}.mvt",
        "/tiles/{layers}/tilejson.json", "/collections/{layer}/tiles/{grid}/{matrix}/{row}/{column}",
        "/collections/{layer}/schema", "/collections/{layer}/queryables", "/collections/{layer}/sortables",
        "/collections/{layer}/cells", "/collections/{layer}/cells/tiles/{grid}/{matrix}/{row}/{column}",
        "/cells/at", "/cells/{cell}", "/collections", "/collections/{layer}", "/catalogue/{layer}", "/deck.json",
        "/downloads/{layer}.{form}",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["geojson", "gpkg", "fgb", "parquet", "csv"])
@pytest.mark.parametrize("version", ["", "@1"])
def test_downloads_are_kept_apart_by_what_they_hold(lab: Lab, form: str, version: str) -> None:
    path = f"/downloads/{LAYER}{version}.{form}"
    own, stranger, again, other = ask(lab, (lab.own, path), (None, path), (lab.own, path), (lab.other, path))
    assert SIGN in own.content and SIGN not in stranger.content and b"floors" in stranger.content
    assert own.content == again.content and own.headers["etag"] == again.headers["etag"] != stranger.headers["etag"]
    # Two principals with equal permits share one file.
    assert other.content == stranger.content and other.headers["etag"] == stranger.headers["etag"]
    assert "public" in stranger.headers["cache-control"] and "private" in own.headers["cache-control"]
    if form == "parquet":
        assert not HIDDEN & set(pq.read_table(io.BytesIO(stranger.content)).column_names)


USES = [
    "filter={name}='x'", "filter={name} IS NULL", "sortby={name}", "sortby=-{name}", "properties={name}", "{name}=x",
    "filter=CASEI({name})='x'", "filter=floors=1 OR {name}='x'", "sortby=floors,{name}",
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_a_hidden_column_can_be_used_no_more_than_one_that_does_not_exist(lab: Lab, use: str) -> None:
    addresses = [ITEMS, f"/collections/{LAYER}/cells", f"/tiles/{LAYER}/15/26096/15397.mvt"]
    for address in addresses:
        hidden, missing = (f"{address}?{use.format(name=name)}" for name in ("veiled_owner", "absent_owner"))
        for first, second in zip(*[iter(ask(lab, (None, hidden), (None, missing)))] * 2, strict=True):
            assert first.text.replace("veiled_owner", "absent_owner") == second.text, (address, use)
            assert first.status_code == second.status_code
    of_items = f"{ITEMS}?{use.format(name='veiled_owner')}"
    own, stranger = ask(lab, (lab.own, of_items), (None, of_items))
    assert (own.status_code, stranger.status_code) == (200, 400)


def test_no_cell_is_finer_and_no_count_smaller_than_may_be_told(lab: Lab) -> None:
    cells = f"/collections/{LAYER}/cells"
    for path in (cells, f"{cells}?filter=floors>=0", f"{cells}?version=1"):
        (answer,) = ask(lab, (None, path))
        document = answer.json()
        assert document["resolution"] <= FINEST and document["resolutions"] == list(range(FINEST + 1))
        assert document["cells"] and all(row["features"] >= LEAST for row in document["cells"])
        assert sum(row["features"] for row in document["cells"]) == COUNT - 2
    own, stranger = ask(lab, (lab.own, f"{cells}?resolution=10"), (None, f"{cells}?resolution=10"))
    assert (
        own.status_code == 200 and stranger.status_code == 400 and "9" not in stranger.json()["detail"].split(":")[-1]
    )
    about, page = ask(lab, (None, f"/collections/{LAYER}"), (None, f"{ITEMS}?count=true&ids=1,2"))
    assert about.json()["cellResolution"] == FINEST and about.json()["featureCount"] == COUNT
    assert "numberMatched" not in page.json() and page.json()["numberReturned"] == 2
    (counted,) = ask(lab, (lab.own, f"{ITEMS}?count=true&ids=1,2"))
    assert counted.json()["numberMatched"] == 2


def test_the_extent_is_no_more_exact_than_the_finest_cell(lab: Lab) -> None:
    own, stranger = ask(lab, (lab.own, f"/collections/{LAYER}"), (None, f"/collections/{LAYER}"))
    inner, outer = own.json()["bounds"], stranger.json()["bounds"]
    assert outer[0] < inner[0] and outer[1] < inner[1] and outer[2] > inner[2] and outer[3] > inner[3]


def test_tiles_of_cells_are_as_coarse_and_leave_small_counts_out(lab: Lab) -> None:
    for path in (
        f"/tiles/{LAYER}/8/203/120.mvt", f"/tiles/{LAYER}/8/203/120.mvt?filter=floors>=0",
        f"/collections/{LAYER}/cells/tiles/WebMercatorQuad/8/120/203", f"/collections/{LAYER}/cells/tiles/WebMercatorQuad/15/15397/26096",
    ):  # fmt: skip
        own, stranger = ask(lab, (lab.own, path), (None, path))
        assert own.headers["etag"] != stranger.headers["etag"]
        whole = mapbox_vector_tile.decode(own.content)[f"{LAYER}:cells"]["features"]
        drawn = mapbox_vector_tile.decode(stranger.content)[f"{LAYER}:cells"]["features"]
        assert drawn and sum(f["properties"]["features"] for f in drawn) <= sum(
            f["properties"]["features"] for f in whole
        )
        for feature in drawn:
            assert h3.get_resolution(feature["properties"]["cell"]) <= FINEST
            assert feature["properties"]["features"] >= LEAST


def of_layer(answer: httpx.Response) -> dict[str, Any] | None:
    found = [layer for agency in answer.json()["agencies"] for layer in agency["layers"] if layer["layer"] == LAYER]
    return found[0] if found else None


def test_the_profile_of_a_place_tells_of_the_cell_around_and_of_no_few(lab: Lab) -> None:
    at, lonely = "/cells/at?lng=106.7006&lat=10.7701", "/cells/at?lng=106.7501&lat=10.8001"
    own, stranger, few_own, few = ask(lab, (lab.own, at), (None, at), (lab.own, lonely), (None, lonely))
    mine, theirs = of_layer(own), of_layer(stranger)
    assert mine is not None and any(f["here"] for f in mine["features"]) and "resolution" not in mine
    assert theirs is not None and theirs["resolution"] == FINEST and theirs["total"] > mine["total"]
    assert not any(f["here"] for f in theirs["features"])
    assert of_layer(few_own) is not None and of_layer(few) is None


def test_the_history_counts_only_what_may_be_seen_to_change(lab: Lab) -> None:
    own, stranger = ask(lab, *((key, f"/catalogue/{LAYER}?f=html&lang=en") for key in (lab.own, None)))
    assert (
        f"{COUNT - 1} changed" in own.text and "changed" not in stranger.text.split("<table")[-1].split("</table>")[0]
    )


def test_an_archive_is_given_to_those_who_may_read_all_that_it_holds(lab: Lab) -> None:
    with lab.database.session() as session:
        layers = read_catalogue(session)
    layer = layers[LAYER]
    assert layer.current is not None
    for name, permit in (("whole", whole_permit(layer, layer.current)), ("less", permit_of(ANONYMOUS, layers, LAYER))):
        metadata = {LAYERS: [permit.name], PERMIT: same_key([permit])}
        target = lab.folder / "archives" / f"{name}.pmtiles"
        box = (106.69, 10.76, 106.71, 10.78)
        run_async(bake(lab.database, [permit], metadata, box, range(13, 15), target, lambda *_: None))
    paths = ["/archives/whole.pmtiles", "/archives/less.pmtiles", "/archives/absent.pmtiles", "/archives"]
    own = ask(lab, *((lab.own, path) for path in paths))
    stranger = ask(lab, *((None, path) for path in paths))
    assert [answer.status_code for answer in own] == [200, 200, 404, 200]
    assert [answer.status_code for answer in stranger] == [404, 200, 404, 200]
    assert stranger[0].text.replace("whole", "absent") == stranger[2].text
    assert [one["id"] for one in stranger[3].json()["archives"]] == ["less"]
    tile = "/archives/less/14/13048/7698.mvt"
    (drawn,) = ask(lab, (None, tile))
    assert drawn.status_code == 200 and SIGN not in drawn.content and b"lab.homes" in drawn.content
    assert "public" in stranger[1].headers["cache-control"] and "private" in own[0].headers["cache-control"]


def test_live_events_tell_strangers_no_more(lab: Lab) -> None:
    own, stranger = ask(lab, (lab.own, "/live?once=true"), (None, "/live?once=true"))
    assert LAYER in stranger.text and SIGN not in stranger.content
    # What one sees of a layer is another thing than what the other sees.
    assert own.text.split("id:")[1].split("\n")[0] != stranger.text.split("id:")[1].split("\n")[0]


def test_frames_of_the_client_have_no_hidden_column(lab: Lab) -> None:
    settings = Settings(home=HOME, database=lab.database.url.database)
    with (
        TestClient(create_app(settings, lab.database), base_url="http://127.0.0.1") as http,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(httpx, "Client", lambda **options: _with_headers(http, options["headers"]))
        for key, shown in ((None, set()), (lab.own, HIDDEN)):
            layer = Twin("http://127.0.0.1", key=key).layer(LAYER)
            frame, cells, about = layer.to_geodataframe(), layer.cells(), layer.describe()
            assert HIDDEN & set(frame.columns) == shown and "floors" in frame.columns
            assert HIDDEN & set(about.schema) == shown
            assert {"veiled_rent", "veiled_kind"} & set(cells.columns) == shown & {"veiled_rent", "veiled_kind"}


def _with_headers(http: TestClient, headers: dict[str, str]) -> TestClient:
    http.headers.pop("authorization", None)
    http.headers.update(headers)
    return http


def test_a_join_takes_no_hidden_column_for_a_stranger(lab: Lab) -> None:
    from ingest.mapping.description import Join
    from ingest.mapping.joins import Partners
    from twin.errors import BadInput

    stranger = Partners(database=lambda: lab.database, principal=Principal("desk", "other", PrincipalRole.PUBLISHER))
    with pytest.raises(BadInput) as refused:
        stranger.open(Join(layer=LAYER, on="x", columns=("veiled_owner",)))
    assert "veiled_kind" not in str(refused.value)
    own = Partners(database=lambda: lab.database, principal=Principal("desk", "lab", PrincipalRole.PUBLISHER))
    assert set(own.open(Join(layer=LAYER, on="x", columns=("veiled_owner",))).columns) == {"veiled_owner"}

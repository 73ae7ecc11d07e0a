"""Programs that others wrote read the API: GDAL's OAPIF driver, GDAL's JSON-FG driver, OWSLib."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
import shapely

from tests.conftest import LiveServer
from tests.features.conftest import COUNT, ITEMS, LAYER, NAMES, TABLE
from twin.crs import transform

Stored = dict[str, shapely.Geometry]


@pytest.fixture(scope="module")
def stored(sql: psycopg.Connection) -> Stored:
    rows = sql.execute(f"SELECT id, ST_AsBinary(geom) FROM {TABLE}").fetchall()
    return {i: shapely.from_wkb(wkb) for i, wkb in rows}


# GDAL with all its drivers, in a process of its own: publishing takes some of them out of this one.
ALL_DRIVERS = {k: v for k, v in os.environ.items() if k not in ("GDAL_SKIP", "OGR_SKIP")}
READ = """
import json, sys
import geopandas as gpd
source, options = sys.argv[1], json.loads(sys.argv[2])
if "bbox" in options:
    options["bbox"] = tuple(options["bbox"])
found = gpd.read_file(source, **options)
print(json.dumps({
    "crs": list(found.crs.to_authority()), "columns": list(found.columns), "id": list(found["id"]),
    "wkb": [g.wkb_hex for g in found.geometry],
}))
"""


def read_with_gdal(source: str, **options: object) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-c", READ, source, json.dumps(options)],
        capture_output=True, text=True, timeout=90, check=False, env=ALL_DRIVERS,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout)
    found["geometry"] = shapely.from_wkb(found.pop("wkb"))
    return found


def test_gdal_reads_every_feature_through_its_oapif_driver(lab: LiveServer, stored: Stored) -> None:
    found = read_with_gdal(f"OAPIF:{lab.url}", layer=LAYER)
    assert len(found["id"]) == COUNT and set(NAMES) <= set(found["columns"])
    assert found["crs"] in (["OGC", "CRS84"], ["EPSG", "4326"])
    for identifier, geometry in zip(found["id"], found["geometry"], strict=True):
        assert shapely.equals_exact(geometry, stored[identifier], tolerance=2e-7)


def test_gdal_asks_for_a_box_and_a_filter(lab: LiveServer, http: httpx.Client, sql: psycopg.Connection) -> None:
    box = [106.70, 10.77, 106.7042, 10.7742]
    found = read_with_gdal(f"OAPIF:{lab.url}", layer=LAYER, bbox=box)
    expected = http.get(ITEMS, params={"bbox": ",".join(map(str, box)), "limit": 1000}).json()["features"]
    assert set(found["id"]) == {f["id"] for f in expected}
    filtered = read_with_gdal(f"OAPIF:{lab.url}", layer=LAYER, where="use = 'shop' AND floors >= 3")
    (count,) = sql.execute(f"SELECT count(*) FROM {TABLE} WHERE use = 'shop' AND floors >= 3").fetchone()
    assert len(filtered["id"]) == count > 0


def test_ogrinfo_starts_at_the_landing_page(lab: LiveServer) -> None:
    run = subprocess.run(
        ["ogrinfo", "-ro", "-so", f"OAPIF:{lab.url}", LAYER],
        capture_output=True, text=True, timeout=60, check=False, env=ALL_DRIVERS,
    )  # fmt: skip
    assert run.returncode == 0 and "ERROR" not in run.stderr, run.stdout + run.stderr
    assert f"Feature Count: {COUNT}" in run.stdout and "seen_at: DateTime" in run.stdout


def test_gdal_reads_json_fg_in_vn2000(http: httpx.Client, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "plots.json"
    path.write_bytes(http.get(ITEMS, params={"f": "jsonfg", "crs": "EPSG:9210", "limit": 1000}).content)
    found = read_with_gdal(str(path))
    assert found["crs"] == ["EPSG", "9210"] and len(found["id"]) == COUNT
    expected = transform(shapely.get_coordinates([stored[i] for i in found["id"]]), 4326, 9210)
    assert np.abs(shapely.get_coordinates(found["geometry"]) - expected).max() <= 1e-3


def test_owslib_finds_its_way(lab: LiveServer) -> None:
    from owslib.ogcapi.features import Features

    api = Features(lab.url)
    assert api.conformance()["conformsTo"]
    assert api.feature_collections() == [LAYER]
    assert api.collection(LAYER)["itemType"] == "feature"
    queryables = api.collection_queryables(LAYER)
    assert set(NAMES) < set(queryables["properties"])
    schema = api.collection_schema(LAYER)
    assert schema["properties"]["geometry"]["x-ogc-role"] == "primary-geometry"
    page = api.collection_items(LAYER, limit=7, bbox=[106.70, 10.77, 106.72, 10.79])
    assert page["numberReturned"] == 7
    filtered = api.collection_items(LAYER, filter="floors = 3", limit=100)
    assert {f["properties"]["floors"] for f in filtered["features"]} == {3}
    assert api.collection_item(LAYER, "p7")["id"] == "p7"


def test_qgis_finds_everything_that_it_asks_for_on_its_way_to_a_layer(lab: LiveServer, stored: Stored) -> None:
    """The requests of QGIS's provider for OGC API — Features, in their order and with their headers (QGIS 3.34 to 3.44).

    QGIS itself is too large to be installed for a test; this asks what it asks, and wants what it wants.
    """

    def ask(url: str, accept: str = "application/json") -> httpx.Response:
        answer = httpx.get(url, headers={"Accept": accept, "User-Agent": "Mozilla/5.0 QGIS/34400"}, timeout=30)
        assert answer.status_code == 200, (url, answer.text)
        return answer

    def link(document: dict[str, Any], rel: str, wanted: tuple[str, ...] = ()) -> str:
        """The link whose type is preferred, else the first: as QGIS chooses."""
        found = [entry for entry in document["links"] if entry["rel"] == rel]
        return str(min(found, key=lambda e: wanted.index(e["type"]) if e["type"] in wanted else len(wanted))["href"])

    landing = ask(lab.url).json()
    openapi = ("application/vnd.oai.openapi+json;version=3.0", "application/openapi+json;version=3.0")
    api = ask(link(landing, "service-desc", openapi), ", ".join([*openapi, "application/json"])).json()
    limit = api["components"]["parameters"]["limit"]["schema"]
    page = min(max(1000, limit["default"]), limit["maximum"])
    assert page == 1000
    collections = link(landing, "data", ("application/json",))
    assert LAYER in [c["id"] for c in ask(collections).json()["collections"]]
    own = ask(f"{collections}/{LAYER}").json()
    west, south, east, north = own["extent"]["spatial"]["bbox"][0]
    assert west < east and south < north
    assert "http://www.opengis.net/def/crs/EPSG/0/9210" in own["crs"] and own["storageCrs"] in own["crs"]

    classes = ask(link(landing, "conformance")).json()["conformsTo"]
    for name in (
        "ogcapi-features-2/1.0/conf/crs", "cql2/1.0/conf/cql2-text", "cql2/1.0/conf/basic-cql2",
        "ogcapi-features-3/1.0/conf/filter", "ogcapi-features-3/1.0/conf/features-filter",
        "cql2/1.0/conf/advanced-comparison-operators", "cql2/1.0/conf/case-insensitive-comparison",
        "ogcapi-features-5/1.0/conf/schemas",
    ):  # fmt: skip
        assert f"http://www.opengis.net/spec/{name}" in classes
    queryables = ask(f"{collections}/{LAYER}/queryables", "application/schema+json, application/json").json()
    assert queryables["properties"]
    schema = ask(link(own, "http://www.opengis.net/def/rel/ogc/1.0/schema", ("application/schema+json",))).json()
    roles = {name: of.get("x-ogc-role") for name, of in schema["properties"].items()}
    assert "id" in roles.values() and "primary-geometry" in roles.values()

    geojson = "application/geo+json, application/json"
    items = f"{collections}/{LAYER}/items"
    assert ask(f"{items}?limit=10", geojson).json()["numberMatched"] == COUNT
    assert ask(f"{items}?limit=1", geojson).json()["numberMatched"] == COUNT
    # QGIS asks what may be changed; nothing may.
    assert httpx.options(items).headers["allow"] == "GET, HEAD"
    for crs, box in (
        ("", f"{west},{south},{east},{north}"),
        ("&crs=http://www.opengis.net/def/crs/EPSG/0/4326&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/4326",
         f"{south},{west},{north},{east}"),
    ):  # fmt: skip
        seen: list[str] = []
        address: str | None = f"{items}?limit={page // 10}&bbox={box}{crs}"
        while address:
            part = ask(address, geojson).json()
            seen += [feature["id"] for feature in part["features"]]
            address = next((e["href"] for e in part["links"] if e["rel"] == "next"), None)
        assert sorted(seen) == sorted(stored)

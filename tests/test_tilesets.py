"""OGC API — Tiles over HTTP: tile matrix sets, tilesets, and tiles in the city's own plane; tiles under a filter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter

import httpx
import mapbox_vector_tile
import mercantile
import morecantile
import numpy as np
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from layers.registry import theme
from tests.examples import examples
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Grid, box_of, grids_of
from twin.city import read_city
from twin.crs import transform

# The reader of agencies' files leaves out the drivers that it does not need, for this process and its children.
ALL_DRIVERS = {k: v for k, v in os.environ.items() if k not in ("GDAL_SKIP", "OGR_SKIP")}
OWN = "VN2000Zone10545Quad"
GRIDS = grids_of(read_city("hcmc"))
CENTER = (106.7335, 10.7765)
BUILDINGS = "construction.buildings"


def table_of(sql: psycopg.Connection, layer: str) -> str:
    return sql.execute(
        "SELECT v.table_name FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id "
        "JOIN twin.layer_version v ON v.id = l.current_version_id WHERE a.name || '.' || l.name = %s", [layer],
    ).fetchone()[0]  # fmt: skip


def box(grid: Grid, z: int, x: int, y: int) -> tuple[float, float, float, float]:
    if grid is WEB_MERCATOR:
        bounds = mercantile.xy_bounds(x, y, z)
        return bounds.left, bounds.bottom, bounds.right, bounds.top
    return box_of(grid, z, x, y)


def tile_at(grid: Grid, matrix: int, lng: float, lat: float) -> tuple[int, int]:
    """Column and row of the tile at a place, computed apart from the program."""
    if grid is WEB_MERCATOR:
        tile = mercantile.tile(lng, lat, matrix)
        return tile.x, tile.y
    x, y = transform(np.array([[lng, lat]]), 4326, grid.code)[0]
    side = 256 * grid.cell_size / 2**matrix
    return int((x - grid.origin[0]) // side), int((grid.origin[1] - y) // side)


def fetch(http: httpx.Client, layer: str, grid: Grid, z: int, x: int, y: int, **asked: str) -> dict:
    answer = http.get(f"/collections/{layer}/tiles/{grid.id}/{z}/{y}/{x}", params=asked)
    assert answer.status_code == 200, answer.text
    return mapbox_vector_tile.decode(answer.content, default_options={"y_coord_down": False})


def in_plane(geometry: dict, within: tuple[float, float, float, float]) -> shapely.Geometry:
    """A decoded geometry, from the tile's units to the plane of its grid."""
    left, bottom, right, top = within
    return shapely.transform(
        shapely.geometry.shape(geometry),
        lambda c: c / 4096 * [right - left, top - bottom] + [left, bottom],
    )


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tile_of_any_grid_holds_the_features_of_its_area_where_they_are(
    data: st.DataObject, http: httpx.Client, collections: dict, sql: psycopg.Connection
) -> None:
    """Ids and places, compared with a plain query and PROJ, at scales where a theme shows all its features."""
    layer = data.draw(st.sampled_from(sorted(collections)))
    grid = data.draw(st.sampled_from(sorted(GRIDS.values(), key=lambda g: g.id)))
    of = theme(collections[layer]["theme"])
    lowest = max(of.details[-1].zoom, 16) - grid.shift
    z = data.draw(st.integers(lowest, min(grid.last, lowest + 3)))
    west, south, east, north = collections[layer]["bounds"]
    x, y = tile_at(grid, z, data.draw(st.floats(west, east)), data.draw(st.floats(south, north)))
    left, bottom, right, top = within = box(grid, z, x, y)
    unit = (right - left) / 4096
    found = fetch(http, layer, grid, z, x, y).get(layer, {"features": []})["features"]

    # Everything near, brought to the grid's plane by PROJ: not by the affine map that the server fits to the tile.
    reach = [left - 200 * unit, bottom - 200 * unit, right + 200 * unit, top + 200 * unit]
    corners = np.array([[reach[i], reach[j]] for i in (0, 2) for j in (1, 3)])
    degrees = transform(corners, grid.code)
    rows = sql.execute(
        f"SELECT fid, ST_AsBinary(geom) FROM layer_data.{table_of(sql, layer)} "
        "WHERE geom && ST_MakeEnvelope(%s, %s, %s, %s, 4326)",
        [*degrees.min(axis=0), *degrees.max(axis=0)],
    ).fetchall()
    plain = {
        fid: shapely.transform(shapely.from_wkb(wkb), lambda c: transform(c, 4326, grid.code)) for fid, wkb in rows
    }

    def around(units: float) -> shapely.Geometry:
        return shapely.box(left - units * unit, bottom - units * unit, right + units * unit, top + units * unit)

    ids = {f["id"] for f in found}
    certain, possible = around(64 - 2), around(64 + 2)
    assert ids <= {fid for fid, shape in plain.items() if shapely.intersects(shape, possible)}
    missing = {fid for fid, shape in plain.items() if shapely.intersects(shape, certain)} - ids
    # What is smaller than the tile's grid may round away.
    assert all(max(np.subtract(plain[f].bounds[2:], plain[f].bounds[:2])) < 2 * unit for f in missing), missing
    for feature in found:
        drawn = in_plane(feature["geometry"], within)
        whole = plain[feature["id"]]
        # Rounding moves a corner by at most 0.71 units; mending what crosses itself after that, a little more.
        corners = shapely.points(shapely.get_coordinates(drawn))
        assert shapely.distance(corners, whole).max() <= 1.5 * unit


def test_the_sets_are_listed_and_described_as_the_standard_has_them(http: httpx.Client) -> None:
    listed = http.get("/tileMatrixSets").json()["tileMatrixSets"]
    assert [s["id"] for s in listed] == ["WebMercatorQuad", OWN]
    for entry in listed:
        document = http.get(entry["links"][0]["href"]).json()
        read = morecantile.TileMatrixSet.model_validate(document)
        assert read.id == entry["id"]
        for z, x, y in ((0, 0, 0), (5, 17, 11), (9, 269, 170)):
            theirs = read.xy_bounds(morecantile.Tile(x, y, z))
            assert tuple(theirs) == pytest.approx(box(GRIDS[entry["id"]], z, x, y), abs=1e-3)
    own = http.get(f"/tileMatrixSets/{OWN}").json()
    assert CRS(own["crs"]).to_epsg() == 9210
    assert own["tileMatrices"][11]["cellSize"] == 1.0
    said = [http.get(f"/tileMatrixSets/{OWN}", params={"lang": lang}).json()["title"] for lang in ("vi", "en")]
    assert said[0] != said[1]


def test_a_tileset_leads_to_its_tiles_and_names_the_rows_and_columns_that_hold_something(
    http: httpx.Client, collections: dict
) -> None:
    listed = http.get(f"/collections/{BUILDINGS}/tiles").json()["tilesets"]
    assert {s["tileMatrixSetId"] for s in listed} == set(GRIDS)
    for entry in listed:
        address = next(link["href"] for link in entry["links"] if link["rel"] == "item")
        own = http.get(f"/collections/{BUILDINGS}/tiles/{entry['tileMatrixSetId']}").json()
        limits = own["tileMatrixSetLimits"][-1]
        # The last matrix is full detail: the middle of the limits has buildings, and their edge none beyond.
        row = (limits["minTileRow"] + limits["maxTileRow"]) // 2
        column = (limits["minTileCol"] + limits["maxTileCol"]) // 2
        tile = address.format(tileMatrix=limits["tileMatrix"], tileRow=row, tileCol=column)
        answer = http.get(tile)
        assert mapbox_vector_tile.decode(answer.content)[BUILDINGS]["features"]
        assert "immutable" in answer.headers["cache-control"]
        for beyond in ({"tileRow": limits["minTileRow"] - 1}, {"tileCol": limits["maxTileCol"] + 1}):
            place = {"tileMatrix": limits["tileMatrix"], "tileRow": row, "tileCol": column} | beyond
            assert http.get(address.format(**place)).content == b""
        assert own["layers"][0]["id"] == BUILDINGS
    links = {link["rel"]: link["href"] for link in collections[BUILDINGS]["links"]}
    assert links["http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"].endswith(f"/collections/{BUILDINGS}/tiles")
    root = {link["rel"] for link in http.get("/landing").json()["links"]}
    assert "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes" in root
    assert "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core" in http.get("/conformance").json()["conformsTo"]


def test_the_two_addresses_of_a_web_tile_give_one_tile(http: httpx.Client) -> None:
    x, y = tile_at(WEB_MERCATOR, 15, *CENTER)
    long = http.get(f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/15/{y}/{x}")
    short = http.get(f"/tiles/{BUILDINGS}/15/{x}/{y}.mvt")
    assert long.content == short.content
    assert long.headers["etag"] == short.headers["etag"]
    again = http.get(str(long.url), headers={"If-None-Match": long.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"/collections/{BUILDINGS}/tiles/NoSuchQuad/1/0/0", 404, "WebMercatorQuad, VN2000Zone10545Quad"),
        (f"/collections/{BUILDINGS}/tiles/{OWN}/15/0/0", 404, "0 to 14"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/1/2/0", 404, "no tile 1/2/0"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/x/2/0", 400, ""),
        ("/collections/no.layer/tiles/WebMercatorQuad/1/0/0", 404, "no.layer"),
        ("/collections/no.layer/tiles", 404, "no.layer"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/1/0/0?colour=red", 400, "colour"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/1/0/0?f=png", 400, "mvt"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/1/0/0?version=99", 404, "99"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/15/0/0?filter=colour='red'", 400, "colour"),
        (f"/collections/{BUILDINGS}/tiles/WebMercatorQuad/15/0/0?filter=height>>", 400, "CQL2"),
        (f"/tiles/{BUILDINGS},transport.roads/15/0/0.mvt?filter=height>3", 400, "height"),
        ("/tileMatrixSets/NoSuchQuad", 404, "WebMercatorQuad"),
        (f"/collections/{BUILDINGS}/tiles?f=html", 400, "json"),
    ],
)
def test_what_is_not_there_is_404_and_what_is_not_understood_400(
    http: httpx.Client, path: str, status: int, said: str
) -> None:
    answer = http.get(path, headers={"Accept-Language": "en"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert said in answer.json()["detail"]


# CQL2 and SQL say these alike.
FILTERS = ("height > 12", "\"use\" = 'house' OR height < 6", "levels BETWEEN 2 AND 4", "id LIKE '%1'")


@pytest.mark.parametrize("grid", sorted(GRIDS))
@pytest.mark.parametrize("wanted", FILTERS)
def test_a_tile_under_a_filter_holds_the_features_that_meet_it(
    http: httpx.Client, sql: psycopg.Connection, grid: str, wanted: str
) -> None:
    own = GRIDS[grid]
    z = 16 - own.shift
    x, y = tile_at(own, z, *CENTER)
    everything = {f["id"] for f in fetch(http, BUILDINGS, own, z, x, y)[BUILDINGS]["features"]}
    found = {f["id"] for f in fetch(http, BUILDINGS, own, z, x, y, filter=wanted)[BUILDINGS]["features"]}
    meeting = sql.execute(f"SELECT fid FROM layer_data.{table_of(sql, BUILDINGS)} WHERE {wanted.replace('%', '%%')}")
    assert found == everything & {fid for (fid,) in meeting}
    assert 0 < len(found) < len(everything)


def test_below_the_first_zoom_the_filtered_features_are_counted_in_their_cells(
    http: httpx.Client, collections: dict, sql: psycopg.Connection
) -> None:
    layer = collections[BUILDINGS]
    matrix = theme(layer["theme"]).minzoom - 1
    table = table_of(sql, BUILDINGS)
    for grid in GRIDS.values():
        z = matrix - grid.shift
        x, y = tile_at(grid, z, *CENTER)
        name = f"{BUILDINGS}:cells"
        some = fetch(http, BUILDINGS, grid, z, x, y, filter="height > 20")[name]["features"]
        everything = fetch(http, BUILDINGS, grid, z, x, y)[name]["features"]
        counted = {f["properties"]["cell"]: f["properties"]["features"] for f in some}
        assert set(counted) < {f["properties"]["cell"] for f in everything}
        cells = [int(cell, 16) for cell in counted]
        resolution = cells[0] >> 52 & 0xF
        unused = (1 << 3 * (15 - resolution)) - 1
        homes = [
            (cell & 0x7F0F_FFFF_FFFF_FFFF) | resolution << 52 | unused
            for (cell,) in sql.execute(f"SELECT cell FROM layer_data.{table} WHERE height > 20")
        ]
        plain = Counter(homes)
        assert {int(cell, 16): n for cell, n in counted.items()} == {cell: plain[cell] for cell in cells}


def test_filtered_and_whole_tiles_are_kept_apart(http: httpx.Client) -> None:
    x, y = tile_at(WEB_MERCATOR, 16, *CENTER)
    address = f"/tiles/{BUILDINGS}/16/{x}/{y}.mvt"
    answers = [http.get(address, params=p) for p in ({}, {"filter": "height > 20"}, {"filter": "height > 21"}, {})]
    assert len({a.headers["etag"] for a in answers}) == 3
    assert answers[0].content == answers[3].content
    assert len(answers[1].content) < len(answers[0].content)


def test_gdal_reads_tiles_of_the_citys_own_grid(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """GDAL's MVT driver, told the tile's place by its box."""
    ogrinfo = shutil.which("ogrinfo")
    assert ogrinfo, "the set-up installs gdal-bin"
    grid, z = GRIDS[OWN], 10
    x, y = tile_at(grid, z, *CENTER)
    file = tmp_path_factory.mktemp("mvt") / "tile.mvt"
    file.write_bytes(http.get(f"/collections/{BUILDINGS}/tiles/{OWN}/{z}/{y}/{x}").content)
    left, bottom, right, top = box(grid, z, x, y)
    said = subprocess.run(
        [ogrinfo, "-so", "-al", "-oo", f"GEOREF_TOPX={left}", "-oo", f"GEOREF_TOPY={top}",
         "-oo", f"GEOREF_TILEDIMX={right - left}", "-oo", f"GEOREF_TILEDIMY={right - left}", f"MVT:{file}"],
        capture_output=True, text=True, check=True, env=ALL_DRIVERS,
    ).stdout  # fmt: skip
    extent = re.search(
        rf"Layer name: {BUILDINGS}\n(?:.*\n)*?Extent: \(([\d.]+), ([\d.]+)\) - \(([\d.]+), ([\d.]+)\)", said
    )
    assert extent, said
    found = [float(n) for n in extent.groups()]
    grown = (right - left) * 64 / 4096
    assert left - grown <= found[0] < found[2] <= right + grown
    assert bottom - grown <= found[1] < found[3] <= top + grown

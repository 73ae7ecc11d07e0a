"""The city's real files go in through the real publish: the right number of features, in the right places."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import h3
import numpy as np
import osmium
import pytest
import rasterio
import shapely
import sqlalchemy as sa

from ingest.publish.engine import PublishRequest, PublishResult, publish_file
from tests.conftest import HOME
from twin.catalogue.catalogue import LayerEntry, Version, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.crs import transform
from twin.db.database import Database
from twin.text import Text

pytestmark = pytest.mark.city

LAYER = "city.things"


def publish(database: Database, path: Path, theme: str, rasters: Path | None = None, **request: object
            ) -> PublishResult:  # fmt: skip
    with database.session() as session:
        ensure_agency(session, "city", Text(en="City", vi="Thành phố"))
        ensure_layer(session, LayerEntry(LAYER, theme, Text(en="Things", vi="Vật")))
    settings = Settings(home=HOME, database=database.url.database, rasters=rasters)
    asked = PublishRequest(LAYER, **request)  # type: ignore[arg-type]
    return publish_file(database, settings, path, asked, "a test", path.name, None, lambda *_: None)


def published(database: Database) -> tuple[Version, gpd.GeoDataFrame]:
    """The current version with its features, read back from the database."""
    with database.session() as session:
        version = read_catalogue(session)[LAYER].current
        assert version is not None
        frame = gpd.read_postgis(
            sa.text(f"SELECT * FROM layer_data.{version.table} ORDER BY id"), session.connection(), geom_col="geom"
        )
    return version, frame


def metres_apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest distance between the middles of features, by pair."""
    a, b = (shapely.get_coordinates(shapely.centroid(shapes)) for shapes in (one, other))
    return float(np.hypot((a[:, 0] - b[:, 0]) * np.cos(np.radians(10.8)), a[:, 1] - b[:, 1]).max() * 111_195)


def test_the_ward_shapefile_with_its_population(database: Database, city_data: Path) -> None:
    path = city_data / "hcmc/population/Population_Ward_Level.shp"
    done = publish(database, path, "population")
    assert done.outcome is not None and (done.outcome.features, done.outcome.quarantined) == (322, 0)
    source = gpd.read_file(path)
    _, rows = published(database)
    named = done.report.plan.matches
    column = next(m.source.column for m in named.taken if m.field == "population")
    assert named.id is not None and column is not None
    by_id = source.set_index(source[named.id].map(lambda v: str(int(v)) if isinstance(v, float) else str(v)))
    rows = rows.set_index("id")
    assert set(rows.index) == set(by_id.index)
    both = by_id.loc[rows.index]
    assert (rows["population"].to_numpy() == both[column].round().astype(int).to_numpy()).all()
    expected = both.geometry.to_crs(4326) if both.crs else both.geometry
    assert metres_apart(rows.geometry.to_numpy(), expected.to_numpy()) < 1


@pytest.mark.parametrize("zone", [9210, 9208])
def test_wards_in_vn2000_without_a_prj_find_their_way(
    database: Database, city_data: Path, tmp_path: Path, zone: int
) -> None:
    wards = gpd.read_file(city_data / "hcmc/boundaries/wards_2008_322_coarse.geojson")
    moved = wards.set_geometry(
        shapely.transform(wards.geometry.to_numpy(), lambda xy: transform(xy, 4326, zone)), crs=zone
    )
    moved = moved.rename(columns={name: name[:10] for name in moved.columns if name != "geometry"})
    path = tmp_path / "phuong_xa.shp"
    moved.to_file(path, encoding="UTF-8")
    path.with_suffix(".prj").unlink()
    done = publish(database, path, "boundaries", crs=None if zone == 9210 else f"EPSG:{zone}")
    assert done.outcome is not None, done.report.to_dict()["problems"]
    assert done.report.to_dict()["crs"]["code"] == f"EPSG:{zone}"
    assert ("crs.missing" in {p.code for p in done.report.problems}) == (zone == 9210)
    assert done.outcome.features + done.outcome.quarantined == len(wards) == 322
    _, rows = published(database)
    # By position: whatever ids the file has, each ward lies on itself.
    tree = shapely.STRtree(shapely.centroid(wards.geometry.to_numpy()))
    found = tree.nearest(shapely.centroid(rows.geometry.to_numpy()))
    assert len(set(found)) == len(rows) >= 318
    assert metres_apart(rows.geometry.to_numpy(), wards.geometry.to_numpy()[found]) < 1


def test_the_wards_of_2025_are_published_with_their_overlaps_told(database: Database, city_data: Path) -> None:
    path = city_data / "hcmc/boundaries/wards_2025_168.geojson"
    done = publish(database, path, "boundaries")
    assert done.outcome is not None and (done.outcome.features, done.outcome.quarantined) == (168, 0)
    (overlap,) = [p for p in done.report.problems if p.code == "coverage.overlap"]
    assert (overlap.count, overlap.severity, done.exit_code) == (28, "warning", 1)
    source = gpd.read_file(path)
    _, rows = published(database)
    tree = shapely.STRtree(shapely.centroid(source.geometry.to_numpy()))
    found = tree.nearest(shapely.centroid(rows.geometry.to_numpy()))
    assert len(set(found)) == 168
    assert metres_apart(rows.geometry.to_numpy(), source.geometry.to_numpy()[found]) < 1
    names = next(m.source.column for m in done.report.plan.matches.taken if m.field == "name")
    assert list(rows["name"]) == list(source[names].to_numpy()[found])


def test_the_land_cover_raster_becomes_cells_with_the_class_that_lies_there(
    database: Database, city_data: Path, tmp_path: Path
) -> None:
    path = city_data / "hcmc/zoning/landcover_30m.tif"
    done = publish(database, path, "land_cover", tmp_path / "rasters")
    assert done.outcome is not None and (done.exit_code, done.outcome.features) == (0, 110_825)
    version, rows = published(database)
    with rasterio.open(path) as file, rasterio.open(tmp_path / "rasters" / version.raster["path"]) as copy:
        values, crs = file.read(1), 32648
        assert np.array_equal(values, copy.read(1))
        terms = {1: "water", 2: "trees", 4: "wetland", 5: "crops", 7: "built", 8: "bare", 11: "grass"}
        for row in rows.iloc[::997].itertuples():
            # Every pixel whose middle lies in the cell, found by another way than at publish.
            ring = np.array([(lng, lat) for lat, lng in h3.cell_to_boundary(row.id)])
            xy = transform(ring, 4326, crs)
            (top, left), (bottom, right) = (
                file.index(xy[:, 0].min(), xy[:, 1].max()), file.index(xy[:, 0].max(), xy[:, 1].min())
            )  # fmt: skip
            r, c = (a.ravel() for a in np.mgrid[max(top, 0) : bottom + 1, max(left, 0) : right + 1])
            inside = [(i, j) for i, j in zip(r, c, strict=True) if i < file.height and j < file.width]
            places = transform(np.array([file.xy(i, j) for i, j in inside]), crs)
            there = [
                terms[int(values[i, j])]
                for (i, j), (x, y) in zip(inside, places, strict=True)
                if values[i, j] and h3.latlng_to_cell(y, x, 10) == row.id
            ]
            assert len(there) == row.samples
            assert there.count(row.cover) == max(map(there.count, there))
    assert sum(version.raster["classes"][c][1] for c in version.raster["classes"]) == int((values != 0).sum())


def test_the_flood_raster_leaves_out_depths_that_cannot_be(database: Database, city_data: Path, tmp_path: Path) -> None:
    path = city_data / "hcmc/flood/bathtub_1p5m_depth_30m.tif"
    done = publish(database, path, "flood_depth", tmp_path / "rasters")
    with rasterio.open(path) as file:
        values = file.read(1)
    assert (done.report.bad, done.exit_code) == (int((values > 20).sum()), 1)
    version, rows = published(database)
    assert version.raster["pixels"]["good"] == int(((values >= 0) & (values <= 20)).sum()) == rows["samples"].sum()
    assert rows["depth"].dot(rows["samples"]) == pytest.approx(values[(values >= 0) & (values <= 20)].sum(), rel=1e-6)
    assert rows["highest"].max() <= 20


@pytest.fixture(scope="module")
def roads(module_database: Database, city_data: Path) -> PublishResult:
    """The roads of the extract, published once; tests only read them."""
    return publish(module_database, city_data / "hcmc/osm/hcmc_2018.osm.pbf", "roads", source_layer="line:highway")


def test_roads_of_the_openstreetmap_extract(module_database: Database, roads: PublishResult, city_data: Path) -> None:
    path, done = city_data / "hcmc/osm/hcmc_2018.osm.pbf", roads
    ways: dict[str, list[tuple[float, float]]] = {}
    for item in osmium.FileProcessor(path).with_locations().with_filter(osmium.filter.KeyFilter("highway")):
        if type(item) is not osmium.osm.Node and item.is_way():
            ways[f"way/{item.id}"] = [(n.lon, n.lat) for n in item.nodes if n.location.valid()]
    assert done.outcome is not None
    assert done.outcome.features + done.outcome.quarantined == done.report.features == len(ways) == 33_044
    assert done.outcome.features > 33_000
    _, rows = published(module_database)
    assert set(rows["id"]) <= set(ways)
    for row in rows.iloc[::501].itertuples():
        assert np.allclose(shapely.get_coordinates(row.geom), ways[row.id], atol=1e-7)


@pytest.mark.usefixtures("roads")
def test_what_a_real_publish_set_aside_can_be_fetched_back(module_database: Database) -> None:
    with module_database.session() as session:
        aside = session.execute(sa.text("SELECT feature_id, reason, properties, geometry FROM twin.quarantine")).all()
    assert aside and all(row.feature_id.startswith("way/") and row.geometry is not None for row in aside)
    assert {"field.vocabulary"} <= {row.reason for row in aside}
    assert json.dumps(aside[0].properties)

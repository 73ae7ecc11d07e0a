"""Real files of several makers: the right number of features, in the places where another reading finds them."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from functools import cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import osmium
import pytest
import rasterio
import shapely
from pyproj import CRS

from ingest.mapping.description import OsmFilter
from ingest.readers.opening import open_file, open_raster
from ingest.readers.source import Reader, ReadOptions
from tests.readers.files import problems, read
from twin.crs import to_wgs84

pytestmark = pytest.mark.city


def plain_cityjson(path: Path) -> dict[str, np.ndarray]:
    """The lowest and highest corner of each top-level object, by json and numpy alone."""
    document = json.loads(path.read_text())
    transform = document["transform"]
    vertices = np.array(document["vertices"]) * transform["scale"] + transform["translate"]

    def numbers(boundaries: object) -> list[int]:
        if isinstance(boundaries, int):
            return [boundaries]
        return [n for b in boundaries for n in numbers(b)]  # type: ignore[attr-defined]

    boxes = {}
    for name, thing in document["CityObjects"].items():
        if thing.get("parents"):
            continue
        whole = [thing, *(document["CityObjects"][c] for c in thing.get("children", ()))]
        used = [n for part in whole for g in part.get("geometry", ()) for n in numbers(g["boundaries"])]
        boxes[name] = np.array([vertices[used].min(axis=0), vertices[used].max(axis=0)])
    return boxes


@cache
def whole(path: Path) -> tuple[Reader, gpd.GeoDataFrame]:
    """All of a file, read once for all tests."""
    return read(path, rows=64)


@pytest.mark.parametrize(
    ("name", "count", "code", "near"),
    [
        ("delft.city.json", 570, 28992, (4.36, 52.01)),
        ("zurich_subset_lod2.city.json", 49, 2056, (8.60, 47.36)),
        ("lod2_buildings_v2.city.json", 100, 3068, (13.04, 52.33)),
    ],
)
def test_cityjson_models(city_data: Path, name: str, count: int, code: int, near: tuple[float, float]) -> None:
    reader, rows = whole(city_data / "formats" / name)
    assert (len(rows), reader.count) == (count, count)
    assert problems(rows) == [None] * count
    assert CRS.from_user_input(reader.crs).to_epsg() == code
    boxes = plain_cityjson(city_data / "formats" / name)
    assert set(rows["id"]) == set(boxes)
    for row in rows.itertuples():
        (west, south, low), (east, north, _) = boxes[row.id]
        box = row.geometry.bounds
        if name == "delft.city.json":
            assert box == pytest.approx((west, south, east, north), abs=0.01)
        else:
            # A footprint lies below its roof, which may stand out over it.
            assert west - 0.01 <= box[0]
            assert south - 0.01 <= box[1]
            assert box[2] <= east + 0.01
            assert box[3] <= north + 0.01
        assert row.base_height == pytest.approx(low, abs=0.01)
        assert row.geometry.is_valid
        assert row.geometry.area > 0
    place = shapely.union_all(to_wgs84(rows.geometry.to_numpy(), reader.crs)).centroid
    assert (place.x, place.y) == pytest.approx(near, abs=0.15)


def test_delft_heights_and_kinds_are_those_of_the_file(city_data: Path) -> None:
    document = json.loads((city_data / "formats/delft.city.json").read_text())
    _, rows = whole(city_data / "formats/delft.city.json")
    kinds = rows["object_type"].value_counts().to_dict()
    assert kinds == {
        "Building": 160, "Road": 143, "PlantCover": 126, "LandUse": 81, "GenericCityObject": 54, "Bridge": 3, "WaterBody": 3,
    }  # fmt: skip
    for row in rows[rows["object_type"] == "Building"].itertuples():
        assert row.height == document["CityObjects"][row.id]["attributes"]["measuredHeight"]
        assert len(shapely.from_wkb(row.solid).geoms) == len(
            document["CityObjects"][row.id]["geometry"][0]["boundaries"][0]
        )
    _, buildings = read(city_data / "formats/delft.city.json", layer="Building")
    assert len(buildings) == 160


def positions(text: str) -> np.ndarray:
    lists = re.findall(r"<gml:posList[^>]*>([^<]+)</gml:posList>", text)
    return np.concatenate([np.array(numbers.split(), float).reshape(-1, 3) for numbers in lists])


def test_the_potsdam_model(city_data: Path) -> None:
    reader, rows = read(city_data / "formats/Potsdam_LoD1.gml", rows=40)
    assert len(rows) == 97
    assert problems(rows) == [None] * 97
    assert CRS.from_user_input(reader.crs).to_epsg() == 25833
    text = (city_data / "formats/Potsdam_LoD1.gml").read_text()
    for building in re.findall(r'<bldg:Building gml:id="([^"]+)">(.*?)</bldg:Building>', text, re.DOTALL):
        row = rows[rows["id"] == building[0]].iloc[0]
        there = positions(building[1])
        assert row.geometry.bounds == pytest.approx((*there[:, :2].min(axis=0), *there[:, :2].max(axis=0)), abs=1e-3)
        assert row["base_height"] == pytest.approx(there[:, 2].min())
    place = shapely.union_all(to_wgs84(rows.geometry.to_numpy(), reader.crs)).centroid
    assert (place.x, place.y) == pytest.approx((13.05, 52.41), abs=0.05)


def test_the_plateau_model_whose_latitude_stands_first(city_data: Path) -> None:
    reader, rows = read(city_data / "formats/PLATEAU_53394517_bldg_6697_CityGML2.gml")
    assert len(rows) == 1
    there = positions((city_data / "formats/PLATEAU_53394517_bldg_6697_CityGML2.gml").read_text())
    west, south, east, north = rows.total_bounds
    assert (west, south) > (139.71, 35.67)
    assert (east, north) < (139.73, 35.69)
    assert west >= there[:, 1].min() - 1e-9
    assert south >= there[:, 0].min() - 1e-9
    assert CRS.from_user_input(reader.crs).is_geographic
    assert (rows["height"][0], rows["建物ID"][0]) == (31.7, "13104-bldg-53")


def test_the_berlin_models_in_both_encodings_are_the_same_buildings(city_data: Path) -> None:
    _, gml = read(city_data / "formats/lod2_buildings_v3.gml")
    _, cityjson = read(city_data / "formats/lod2_buildings_v2.city.json")
    assert len(gml) == len(cityjson) == 100
    both = gml.set_index("id").join(cityjson.set_index("id"), suffixes=("", "_j"))
    assert both["name"].tolist() == both["name_j"].tolist()
    for row in both.itertuples():
        assert row.geometry.symmetric_difference(row.geometry_j).area < 0.02
        assert len(shapely.from_wkb(row.solid).geoms) == len(shapely.from_wkb(row.solid_j).geoms)
    assert both["height"].tolist() == both["height_j"].tolist()
    assert both["levels"].tolist() == both["levels_j"].tolist()
    assert both["roof_type"].tolist() == both["roof_type_j"].tolist()


def test_the_cairns_timetable(city_data: Path) -> None:
    with zipfile.ZipFile(city_data / "formats/cairns_gtfs.zip") as archive:
        tables = {
            name: list(csv.DictReader(io.StringIO(archive.read(f"{name}.txt").decode("utf-8-sig"))))
            for name in ("stops", "routes", "trips", "shapes")
        }
    _, stops = read(city_data / "formats/cairns_gtfs.zip", layer="stops")
    assert len(stops) == len(tables["stops"]) == 416
    for row, stop in zip(stops.itertuples(), tables["stops"], strict=True):
        assert (row.geometry.x, row.geometry.y) == (float(stop["stop_lon"]), float(stop["stop_lat"]))
    _, shapes = read(city_data / "formats/cairns_gtfs.zip", layer="shapes")
    assert set(shapes["shape_id"]) == {p["shape_id"] for p in tables["shapes"]}
    assert shapely.get_num_coordinates(shapes.geometry.to_numpy()).sum() == len(tables["shapes"])
    _, routes = read(city_data / "formats/cairns_gtfs.zip", layer="routes")
    assert len(routes) == 22
    for row in routes.itertuples():
        used = {t["shape_id"] for t in tables["trips"] if t["route_id"] == row.route_id}
        assert len(shapely.get_parts(row.geometry)) == len(used)


def test_the_population_shapefile(city_data: Path) -> None:
    path = city_data / "hcmc/population/Population_Ward_Level.shp"
    reader, rows = read(path, rows=100)
    assert (len(rows), reader.count, reader.format) == (322, 322, "Shapefile")
    assert CRS.from_user_input(reader.crs).to_epsg() == 32648
    header = path.read_bytes()[:100]
    assert rows.total_bounds == pytest.approx(np.frombuffer(header[36:68], "<f8"))
    assert rows["Com_Name"][:3].tolist() == ["Tan Dinh", "Ben Nghe", "Cau Ong Lanh"]
    # The census of 2019, as it was published.
    assert rows["Pop_2019"].sum() == pytest.approx(8_993_082, rel=0.002)


def test_the_land_cover_raster_in_cells(city_data: Path) -> None:
    path = city_data / "hcmc/zoning/landcover_30m.tif"
    with rasterio.open(path) as file:
        values = file.read(1)
    with open_raster(path) as reader:
        description = reader.describe()
        cells = reader.cell_values(8)
    assert (description.width, description.height, description.nodata) == (values.shape[1], values.shape[0], (0.0,))
    assert cells.how == "mode"
    assert cells.samples.sum() == (values != 0).sum()
    assert set(cells.value) <= set(np.unique(values[values != 0]).astype(float))
    assert 2500 < len(cells.cell) < 2700


def test_the_extract_of_2018(city_data: Path) -> None:
    path = city_data / "hcmc/osm/hcmc_2018.osm.pbf"
    reader, rows = read(path, osm=OsmFilter(geometry="line", tags={"highway": ("*",)}), rows=5000)
    expected = sum(1 for o in osmium.FileProcessor(path) if o.is_way() and "highway" in o.tags)
    assert len(rows) == expected > 1000
    assert (reader.format, reader.driver) == ("OpenStreetMap PBF", "osmium")
    west, south, east, north = rows.total_bounds
    assert (106 < west < east < 108, 10 < south < north < 12) == (True, True)


def test_every_vector_file_of_the_city_opens_or_says_what_it_lacks(city_data: Path) -> None:
    for path in sorted((city_data / "hcmc").rglob("*.geojson")):
        expected = len(json.loads(path.read_text("utf-8"))["features"])
        reader = open_file(path, ReadOptions())
        assert sum(len(batch) for batch in reader.batches(1000)) == expected

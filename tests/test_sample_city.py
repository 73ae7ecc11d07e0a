"""The sample city keeps the promises that demonstrations, tests and benchmarks build on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from ingest.sample import SampleCity, generate
from ingest.sample.plane import METRES_PER_LAT, METRES_PER_LON, to_metres
from layers.registry import theme
from layers.theme import Field
from twin.errors import BadInput

SMALL = 400
SPRING_TIDE = 1.65
AGENCIES = {"planning", "construction", "transport", "environment", "health", "education", "statistics"}
KINDS = {"point": {"Point"}, "line": {"LineString", "MultiLineString"}, "polygon": {"Polygon", "MultiPolygon"}}
TABLE = {
    ("planning", "wards"): "boundaries",
    ("planning", "zoning"): "zoning",
    ("planning", "land_use"): "land_use",
    ("planning", "places"): "places",
    ("construction", "buildings"): "buildings",
    ("transport", "roads"): "roads",
    ("transport", "traffic_segments"): "traffic_segments",
    ("transport", "bus_routes"): "transit_routes",
    ("transport", "stops"): "transit_stops",
    ("environment", "water"): "water",
    ("environment", "waterways"): "waterways",
    ("environment", "flood_spots"): "flood_spots",
    ("environment", "sensors"): "sensors",
    ("statistics", "population"): "population",
    ("education", "schools"): "places",
    ("health", "clinics"): "places",
}


def draw(city: SampleCity) -> dict[str, gpd.GeoDataFrame]:
    return {layer.name: pd.concat(list(layer.batches()), ignore_index=True) for layer in city.layers}


def metres(frame: gpd.GeoDataFrame) -> np.ndarray:
    """Geometries in metres about the city's centre."""
    return shapely.transform(
        np.asarray(frame.geometry.values), lambda xy: np.column_stack(to_metres(xy[:, 0], xy[:, 1]))
    )


def digest(city: SampleCity) -> str:
    sha = hashlib.sha256()
    for layer in city.layers:
        for batch in layer.batches():
            sha.update(b"".join(shapely.to_wkb(np.asarray(batch.geometry.values))))
            sha.update(batch.drop(columns="geometry").to_csv().encode())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def whole() -> tuple[SampleCity, dict[str, gpd.GeoDataFrame]]:
    city = generate()
    return city, draw(city)


@pytest.fixture(scope="module")
def city(whole) -> SampleCity:
    return whole[0]


@pytest.fixture(scope="module")
def layers(whole) -> dict[str, gpd.GeoDataFrame]:
    return whole[1]


@pytest.fixture(scope="module")
def small() -> dict[str, gpd.GeoDataFrame]:
    return draw(generate(SMALL))


def test_two_generations_of_one_seed_are_identical() -> None:
    assert digest(generate(SMALL, 7)) == digest(generate(SMALL, 7))


def test_another_process_draws_the_same_city() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_sample_city import *; print(digest(generate(400, 7)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert run.stdout.strip() == digest(generate(SMALL, 7))


def test_layers_read_in_another_order_are_the_same() -> None:
    forwards, backwards = generate(SMALL, 9), generate(SMALL, 9)
    after = {layer.name: list(layer.batches()) for layer in reversed(backwards.layers)}
    for layer in forwards.layers:
        for one, other in zip(layer.batches(), after[layer.name], strict=True):
            pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))


def test_another_seed_draws_another_city() -> None:
    assert digest(generate(SMALL, 7)) != digest(generate(SMALL, 8))


def test_the_fingerprint_follows_seed_and_size() -> None:
    assert generate(SMALL, 7).fingerprint == generate(SMALL, 7).fingerprint
    assert len({generate(n, s).fingerprint for n in (SMALL, 500) for s in (7, 8)}) == 4


def test_every_layer_is_there_with_its_agency_and_theme(city) -> None:
    assert {(layer.agency, layer.name): layer.theme for layer in city.layers} == TABLE
    assert {layer.agency for layer in city.layers} == AGENCIES
    assert all(layer.title.en and layer.title.vi for layer in city.layers)


@pytest.mark.parametrize("size", ["layers", "small"])
def test_every_layer_has_sound_features_of_its_theme_s_kind(size, request, city) -> None:
    for layer in city.layers:
        frame = request.getfixturevalue(size)[layer.name]
        shapes = np.asarray(frame.geometry.values)
        assert len(frame) > 0, layer.name
        assert frame.crs.to_epsg() == 4326
        assert frame["id"].is_unique and frame["id"].notna().all(), layer.name
        assert set(shapely.get_type_id(shapes)) <= {1, 0, 3, 5, 6}
        assert set(frame.geom_type) <= KINDS[theme(layer.theme).geometry], layer.name
        assert shapely.is_valid(shapes).all(), layer.name
        assert not shapely.is_empty(shapes).any(), layer.name


@pytest.mark.parametrize("size", ["layers", "small"])
def test_every_value_is_in_its_theme_s_vocabulary_and_range(size, request, city) -> None:
    for layer in city.layers:
        frame = request.getfixturevalue(size)[layer.name]
        fields = theme(layer.theme).by_name
        assert set(frame.columns) - {"id", "geometry"} <= set(fields), layer.name
        for name in set(frame.columns) & set(fields):
            check_values(f"{layer.name}.{name}", frame[name], fields[name])
        for name, field in fields.items():
            if field.required:
                assert frame[name].notna().all(), (layer.name, name)


def check_values(where: str, values: pd.Series, field: Field) -> None:
    known = values.dropna()
    if field.vocabulary:
        assert set(known) <= set(field.vocabulary), where
    match field.type:
        case "integer":
            assert values.dtype == "Int64", where
        case "number":
            assert values.dtype == np.float64, where
        case "boolean":
            assert values.dtype == bool, where
        case "text":
            assert pd.api.types.is_string_dtype(values), where
            assert all(v == unicodedata.normalize("NFC", v) and v.strip() == v and v for v in known), where
    if field.minimum is not None:
        assert (known >= field.minimum).all(), where
    if field.maximum is not None:
        assert (known <= field.maximum).all(), where


def test_the_city_lies_within_its_bounds_and_measures_six_kilometres(city, layers) -> None:
    west, south, east, north = city.bounds
    assert (east - west) * METRES_PER_LON == pytest.approx(6000)
    assert (north - south) * METRES_PER_LAT == pytest.approx(6000)
    for name, frame in layers.items():
        bounds = frame.total_bounds
        assert bounds[0] >= west - 1e-6 and bounds[1] >= south - 1e-6, name
        assert bounds[2] <= east + 1e-6 and bounds[3] <= north + 1e-6, name


@pytest.mark.parametrize("size", ["layers", "small"])
def test_no_building_stands_in_water_or_on_a_street(size, request) -> None:
    frames = request.getfixturevalue(size)
    buildings = shapely.buffer(metres(frames["buildings"]), -0.1)
    wet = shapely.STRtree(metres(frames["water"])).query(buildings, predicate="intersects")
    assert wet.shape[1] == 0
    roads = frames["roads"]
    surface = shapely.buffer(metres(roads), roads["width_m"] / 2 * 0.9, cap_style="flat")
    assert shapely.STRtree(surface).query(buildings, predicate="intersects").shape[1] == 0


@pytest.mark.parametrize("size", ["layers", "small"])
def test_no_two_buildings_overlap(size, request) -> None:
    buildings = metres(request.getfixturevalue(size)["buildings"])
    first, second = shapely.STRtree(buildings).query(buildings, predicate="intersects")
    once = first < second
    shared = shapely.area(shapely.intersection(buildings[first[once]], buildings[second[once]]))
    assert (shared < 0.01).all()


def test_buildings_of_one_block_keep_what_its_zone_allows_in_kind(layers) -> None:
    buildings, zoning = layers["buildings"], layers["zoning"]
    middle = shapely.point_on_surface(np.asarray(buildings.geometry.values))
    at, zone = shapely.STRtree(np.asarray(zoning.geometry.values)).query(middle, predicate="within")
    assert len(np.unique(at)) > 0.999 * len(buildings)
    tall = buildings["levels"].to_numpy(dtype=float)[at] >= 13
    assert set(zoning["use"].to_numpy()[zone[tall]]) <= {"commercial", "mixed", "residential_high"}


def test_zones_do_not_overlap(layers) -> None:
    zones = metres(layers["zoning"])
    first, second = shapely.STRtree(zones).query(zones, predicate="intersects")
    once = first < second
    assert (shapely.area(shapely.intersection(zones[first[once]], zones[second[once]])) < 0.01).all()


@pytest.mark.parametrize("size", ["layers", "small"])
def test_wards_tile_the_square_exactly(size, request) -> None:
    wards = request.getfixturevalue(size)["wards"]
    shapes = np.asarray(wards.geometry.values)
    square = shapely.box(*wards.total_bounds)
    assert len(wards) == 12
    assert shapely.coverage_is_valid(shapes)
    assert shapely.area(shapes).sum() == pytest.approx(square.area, rel=1e-9)
    assert shapely.symmetric_difference(shapely.coverage_union_all(shapes), square).area < 1e-12
    assert (shapely.area(metres(wards)) > 0.01 * shapely.area(metres(wards)).sum()).all()


def test_density_is_population_over_area(layers) -> None:
    population, wards = layers["population"], layers["wards"]
    assert list(population["code"]) == list(wards["code"])
    area = shapely.area(metres(wards)) / 1e6
    assert np.allclose(wards["area_km2"], area, atol=1e-3)
    expected = population["population"].to_numpy(dtype=float) / area
    assert np.allclose(population["density"], expected, atol=0.2)


def test_wards_with_more_homes_have_more_residents(layers) -> None:
    buildings, population = layers["buildings"], layers["population"]
    homes = buildings[buildings["use"].isin(["house", "apartments"])]
    middle = shapely.centroid(np.asarray(homes.geometry.values))
    at, ward = shapely.STRtree(np.asarray(population.geometry.values)).query(middle, predicate="within")
    floor = np.bincount(ward, homes["floor_area_m2"].to_numpy()[at], 12)
    assert np.corrcoef(floor, population["population"].to_numpy(dtype=float))[0, 1] > 0.9
    assert 100_000 < population["population"].sum() < 1_500_000


def test_the_tallest_buildings_cluster_by_the_river(layers) -> None:
    buildings = layers["buildings"]
    assert 200 <= buildings["height"].max() <= 235
    assert buildings["levels"].max() <= 62
    tall = metres(buildings[buildings["height"] > 120])
    river = metres(layers["water"][layers["water"]["kind"] == "river"])[0]
    assert len(tall) >= 15
    assert np.median(shapely.distance(tall, river)) < 700
    spread = np.hypot(*(shapely.get_coordinates(shapely.centroid(tall)) - tall[0].centroid.coords[0]).T)
    assert np.median(spread) < 900


def test_most_houses_are_narrow_and_low(layers) -> None:
    buildings = layers["buildings"]
    houses = buildings[buildings["use"] == "house"]
    assert len(houses) > 0.7 * len(buildings)
    assert houses["levels"].median() in (2, 3, 4)
    area = shapely.area(metres(houses))
    assert 50 < np.median(area) < 160
    assert (buildings["address"].notna()).mean() > 0.95
    assert buildings["address"].str.contains(r"^\d+/\d+ ", regex=True).sum() > 1000


@pytest.mark.parametrize("size", ["layers", "small"])
def test_bridges_carry_streets_over_the_river(size, request) -> None:
    frames = request.getfixturevalue(size)
    roads = frames["roads"]
    river = metres(frames["water"][frames["water"]["kind"] == "river"])[0]
    crossing = shapely.length(shapely.intersection(metres(roads), river)) > 5
    assert crossing.sum() >= 2
    assert roads.loc[crossing, "bridge"].all()


def test_streets_form_a_hierarchy(layers) -> None:
    roads = layers["roads"]
    length = pd.Series(shapely.length(metres(roads))).groupby(roads["class"].to_numpy()).sum()
    assert set(length.index) == {
        "motorway", "trunk", "primary", "secondary", "tertiary", "residential", "service", "path",
    }  # fmt: skip
    assert length["motorway"] < length["primary"] < length["residential"]
    width = roads.groupby("class")["width_m"].median()
    assert width["motorway"] > width["primary"] > width["tertiary"] > width["residential"] > width["service"]
    assert roads.loc[roads["class"] != "path", "name"].notna().all()


def test_ground_is_low_at_the_water_and_spring_tides_reach_some_streets(city, layers) -> None:
    points = shapely.get_coordinates(
        shapely.line_interpolate_point(layers["roads"].geometry.values, 0.5, normalized=True)
    )
    height = city.elevation(points[:, 0], points[:, 1])
    assert np.isfinite(height).all()
    assert 0.005 < np.mean(height[~layers["roads"]["bridge"].to_numpy()] < SPRING_TIDE) < 0.35
    assert 3 <= np.quantile(height, 0.9) <= 8
    river = layers["waterways"][layers["waterways"]["kind"] == "river"].geometry.iloc[0]
    bed = np.array([river.interpolate(s, normalized=True).coords[0] for s in np.linspace(0.05, 0.95, 20)])
    assert (city.elevation(bed[:, 0], bed[:, 1]) < -3).all()


def test_elevation_takes_single_points_and_knows_nothing_outside(city) -> None:
    assert np.isfinite(city.elevation(106.73, 10.78))
    assert np.isnan(city.elevation(107.5, 10.78))


@pytest.mark.parametrize("size", ["layers", "small"])
def test_flood_spots_lie_lower_than_the_city_s_median_street(size, request, city) -> None:
    frames = request.getfixturevalue(size)
    where = city if size == "layers" else generate(SMALL)
    streets = shapely.line_interpolate_point(np.asarray(frames["roads"].geometry.values), 0.5, normalized=True)
    lon, lat = shapely.get_x(streets), shapely.get_y(streets)
    spots = frames["flood_spots"]
    height = where.elevation(spots.geometry.x.to_numpy(), spots.geometry.y.to_numpy())
    assert (height < np.median(where.elevation(lon, lat))).all()
    assert (height[(spots["cause"] == "tide").to_numpy()] < SPRING_TIDE).all()
    if size == "layers":
        assert set(spots["cause"]) == {"tide", "rain", "both"}


def test_traffic_segments_end_at_crossings_and_measure_their_length(layers) -> None:
    traffic = layers["traffic_segments"]
    shapes = metres(traffic)
    assert np.allclose(traffic["length_m"], shapely.length(shapes), atol=0.2)
    first, second = shapely.STRtree(shapes).query(shapes, predicate="crosses")
    at = shapely.centroid(shapely.intersection(shapes[first], shapes[second]))
    assert (shapely.distance(at, shapely.boundary(shapes[first])) < 20).all()
    assert (traffic["speed_kmh"] <= traffic["free_speed_kmh"]).all()
    by_level = traffic.groupby("los")["speed_kmh"].mean()
    assert by_level.iloc[0] > by_level.iloc[-1]


def test_public_transport_has_buses_a_metro_line_and_a_ferry(layers) -> None:
    routes, stops = layers["bus_routes"], layers["stops"]
    assert 6 <= (routes["mode"] == "bus").sum() <= 10
    assert (routes["mode"] == "metro").sum() == 1 and (routes["mode"] == "ferry").sum() == 1
    assert set(stops["mode"]) == {"bus", "metro", "ferry"}
    for mode in ("bus", "metro"):
        lines = shapely.union_all(metres(routes[routes["mode"] == mode]))
        assert (shapely.distance(metres(stops[stops["mode"] == mode]), lines) < 30).all()


def test_about_sixty_sensors_of_every_asked_kind_stand_in_the_city(layers) -> None:
    sensors = layers["sensors"]
    assert 50 <= len(sensors) <= 75
    assert {"water_level", "rain", "air_quality", "traffic_count", "camera", "noise"} <= set(sensors["kind"])
    gauges = metres(sensors[sensors["kind"] == "water_level"])
    water = shapely.union_all(metres(layers["water"]))
    assert (shapely.distance(gauges, water) < 10).all()


def test_schools_and_clinics_are_of_their_agencies_kinds(layers) -> None:
    assert set(layers["schools"]["kind"]) == {"school", "kindergarten", "university"}
    assert set(layers["clinics"]["kind"]) == {"hospital", "clinic"}
    assert {"quarter", "government", "market", "worship", "park", "station", "museum"} <= set(layers["places"]["kind"])


@pytest.mark.parametrize("count", [50, 401, 3_000])
def test_a_small_city_has_exactly_that_many_buildings(count) -> None:
    layer = next(layer for layer in generate(count).layers if layer.name == "buildings")
    assert sum(map(len, layer.batches())) == count


def test_a_larger_size_gives_that_many_buildings() -> None:
    city = generate(45_000)
    layer = next(layer for layer in city.layers if layer.name == "buildings")
    batches = list(layer.batches())
    frame = pd.concat(batches, ignore_index=True)
    assert len(frame) == 45_000 and all(len(b) <= 50_000 for b in batches)
    assert frame["id"].is_unique
    density = 45_000 / (len(batches) * (city._parts[0].tile.side / 1000) ** 2)
    assert density == pytest.approx(40_000 / 36, rel=0.01)


def test_neighbouring_tiles_meet_at_the_river(city) -> None:
    large = generate(200_000)
    parts = {(p.tile.column, p.tile.row): p for p in large._parts}
    (column, row) = next((c, r) for c, r in parts if (c, r + 1) in parts)
    south, north = parts[(column, row)].fabric, parts[(column, row + 1)].fabric
    top = max(c[0] for c in south.water.river_line.coords if c[1] == south.tile.half)
    bottom = max(c[0] for c in north.water.river_line.coords if c[1] == -north.tile.half)
    assert top == pytest.approx(bottom, abs=1.0)


def test_a_size_that_makes_no_city_is_refused_in_both_languages() -> None:
    with pytest.raises(BadInput) as refused:
        generate(3)
    assert "50" in refused.value.message.en and "50" in refused.value.message.vi


def test_generating_is_cheap_and_a_small_city_is_quick() -> None:
    start = time.perf_counter()
    city = generate(2_000_000)
    assert time.perf_counter() - start < 0.5
    assert len(city.layers) == len(TABLE)
    start = time.process_time()
    draw(generate(SMALL, 31))
    assert time.process_time() - start < 4

"""The simulated city: functions of seed and time, layers of its own, and a present that goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.publish.city import load_city, sample_city
from ingest.streams.service import stream_pool
from ingest.streams.simulation import air, flood, rain, tide, traffic
from ingest.streams.simulation.layers import FLOOD, GAUGES, TRAFFIC
from ingest.streams.simulation.simulator import Simulator, prepare_city, unique_codes
from layers.observed.registry import kind_of
from tests.conftest import HOME, Quiet, empty_database, run_async
from twin.catalogue.catalogue import read_catalogue
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.streams.entry import StreamEntry, read_entries

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
WEDNESDAY = datetime(2026, 7, 1, tzinfo=ZONE).timestamp()

times = st.floats(1_700_000_000, 1_900_000_000)
seeds = st.integers(-(2**40), 2**40)
ROADS = [f"r{i}" for i in range(12)]
CLASSES = ["motorway", "trunk", "primary", "secondary", "tertiary", "residential"] * 2
X, Y = np.linspace(-6000, 6000, 12), np.linspace(4000, -4000, 12)


# Pure functions ------------------------------------------------------------------------------------


@given(times, seeds, st.floats(0, 90))
def test_traffic_stays_in_its_range_and_follows_from_seed_and_time(at: float, seed: int, falling: float) -> None:
    roads = traffic.Roads(seed, ROADS, CLASSES)
    ratio = roads.ratio(at, falling, ZONE)
    assert ((ratio >= traffic.SLOWEST_RATIO) & (ratio <= traffic.FASTEST_RATIO)).all()
    again = traffic.Roads(seed, list(reversed(ROADS)), list(reversed(CLASSES))).ratio(at, falling, ZONE)
    assert np.array_equal(ratio, again[::-1])
    assert np.array_equal(roads.ratio(at, falling, ZONE, np.array([3, 5])), ratio[[3, 5]])


@given(times, seeds)
def test_traffic_does_not_jump_within_ten_seconds(at: float, seed: int) -> None:
    roads = traffic.Roads(seed, ROADS, CLASSES)
    assert np.abs(roads.ratio(at, 0.0, ZONE) - roads.ratio(at + 10, 0.0, ZONE)).max() < 0.12


def test_roads_are_slow_in_the_rush_faster_at_night_and_slower_in_the_rain() -> None:
    roads = traffic.Roads(1, ROADS, CLASSES)
    rush, night = (roads.ratio(WEDNESDAY + hour * 3600, 0.0, ZONE).mean() for hour in (17.6, 3.0))
    assert rush < 0.65 < 0.95 < night
    assert roads.ratio(WEDNESDAY + 36_000, 30.0, ZONE).mean() < roads.ratio(WEDNESDAY + 36_000, 0.0, ZONE).mean() - 0.1


def test_a_weekend_has_no_morning_rush() -> None:
    saturday = WEDNESDAY + 3 * 86_400
    roads = traffic.Roads(1, ROADS, CLASSES)
    assert (
        roads.ratio(saturday + 7.4 * 3600, 0.0, ZONE).mean()
        > roads.ratio(WEDNESDAY + 7.4 * 3600, 0.0, ZONE).mean() + 0.2
    )


@given(times)
def test_demand_passes_smoothly_over_every_midnight(at: float) -> None:
    assert abs(traffic.demand_at(at, ZONE) - traffic.demand_at(at + 30, ZONE)) < 0.02


@given(times, seeds)
def test_rain_is_never_negative_and_never_beyond_the_heaviest(at: float, seed: int) -> None:
    found = rain.intensity(seed, [at, at + 600], X, Y, ZONE)
    assert found.shape == (2, 12)
    assert ((found >= 0) & (found <= rain.HEAVIEST)).all()
    assert np.array_equal(found[0], rain.intensity(seed, at, X, Y, ZONE)[0])


@given(times, seeds)
@hypothesis_settings(max_examples=30)
def test_the_rain_of_an_hour_is_the_sum_of_its_parts(at: float, seed: int) -> None:
    parts = sum(rain.depth(seed, at - n * 600, 600, X, Y, ZONE) for n in range(6))
    assert np.allclose(parts, rain.depth(seed, at, 3600, X, Y, ZONE), atol=1e-9)
    assert (parts <= kind_of("rain").maximum).all()


def test_showers_come_and_move() -> None:
    def wet(seconds: float) -> float:
        return float(rain.intensity(5, seconds, X, Y, ZONE).max())

    afternoons = [wet(WEDNESDAY + day * 86_400 + 15.5 * 3600) for day in range(60)]
    nights = [wet(WEDNESDAY + day * 86_400 + 4 * 3600) for day in range(60)]
    assert sum(v > 0 for v in afternoons) > 2 * sum(v > 0 for v in nights) > 0
    raining = WEDNESDAY + next(d for d, v in enumerate(afternoons) if v > 5) * 86_400 + 15.5 * 3600
    here = rain.intensity(5, [raining, raining + 900], X, Y, ZONE)
    assert not np.allclose(here[0], here[1])


@given(times, st.floats(0, 40_000))
def test_the_tide_stays_between_its_bounds_and_rises_slowly(at: float, upstream: float) -> None:
    level = tide.water_level(at, upstream)
    assert tide.LOWEST <= level <= tide.HIGHEST
    assert abs(tide.water_level(at + 600, upstream) - level) < 0.15
    kind = kind_of("water_level")
    assert kind.minimum < tide.LOWEST < tide.HIGHEST < kind.maximum


def test_spring_tides_reach_the_alarms_and_ordinary_days_do_not() -> None:
    year = tide.water_level(WEDNESDAY + np.arange(0, 365 * 86_400, 1800))
    highest = year.reshape(365, 48).max(axis=1)
    assert 1.4 < highest.max() < 1.8
    assert np.median(highest) < 1.4


@given(times, seeds)
@hypothesis_settings(max_examples=30)
def test_floods_are_dry_or_of_a_plausible_depth(at: float, seed: int) -> None:
    depth = flood.from_rain(seed, at, X, Y, ZONE)
    assert ((depth == 0) | ((depth >= flood.SHALLOWEST) & (depth <= flood.DEEPEST))).all()
    assert np.abs(depth - flood.from_rain(seed, at + 60, X, Y, ZONE)).max() < 0.1


def test_most_of_the_year_no_street_is_flooded_by_rain_and_some_storms_do() -> None:
    hours = WEDNESDAY + np.arange(0, 90 * 24, 3) * 3600.0
    deepest = np.array([flood.from_rain(5, at, X, Y, ZONE).max() for at in hours])
    assert 0.0 < (deepest > 0).mean() < 0.3
    assert deepest.max() > 0.1


@given(times, seeds, st.floats(0, 90))
def test_air_stays_in_the_range_of_its_kinds(at: float, seed: int, falling: float) -> None:
    found = air.Air(seed, ROADS).values(at, falling, ZONE)
    assert set(found) == set(air.KINDS)
    for name, values in found.items():
        kind = kind_of(name)
        assert ((values > kind.minimum) & (values <= kind.maximum)).all()


def test_dust_is_worse_in_the_rush_than_at_noon_and_ozone_the_other_way_round() -> None:
    stations = air.Air(1, ROADS)
    morning, noon = (stations.values(WEDNESDAY + hour * 3600, 0.0, ZONE) for hour in (7.5, 12.5))
    assert morning["pm2_5"].mean() > noon["pm2_5"].mean()
    assert morning["o3"].mean() < noon["o3"].mean()


@given(st.lists(st.text(max_size=90), max_size=8))
def test_every_thing_has_a_code_of_its_own(names: list[str]) -> None:
    from re import fullmatch

    from twin.streams.declare import CODE

    codes = unique_codes("traffic", [*names, *names])
    assert len(codes) == 2 * len(names)
    assert all(fullmatch(CODE, code) for code in codes)


# A city --------------------------------------------------------------------------------------------

NEEDED = {"transport.roads", "environment.water", "environment.waterways", "environment.sensors",
          "environment.flood_spots", "environment.elevation"}  # fmt: skip


@pytest.fixture(scope="module")
def city(cluster: PrivateCluster, migrated_template: str) -> Iterator[Database]:
    """What a simulation needs of a small sample city."""
    with empty_database(cluster, migrated_template) as database:
        whole = sample_city(400)
        part = replace(whole, layers=[layer for layer in whole.layers if layer.entry.id in NEEDED])
        loaded = load_city(database, part, settings_of(database), Quiet())
        assert not loaded.refused
        yield database


def settings_of(database: Database) -> Settings:
    return Settings(home=HOME, database=database.url.database)


def simulated(database: Database, *, seconds: float | None = None, seed: int = 7) -> Simulator:
    """Prepare a city, declare its streams, fill the past in, and write once or for some seconds."""
    simulator = Simulator(prepare_city(database, settings_of(database), seed), seed, ZONE)

    async def go() -> None:
        async with stream_pool(database) as pool:
            await simulator.declare(pool)
            await simulator.fill_past(pool, datetime.now(UTC))
            await simulator.run(pool, seconds=seconds, once=seconds is None)

    run_async(go())
    return simulator


def fetch(database: Database, statement: str, *arguments: object) -> list[asyncpg.Record]:
    async def go() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(**database.asyncpg_options("writer"))
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return run_async(go())


def entries_of(database: Database) -> dict[int, StreamEntry]:
    async def go() -> dict[int, StreamEntry]:
        connection = await asyncpg.connect(**database.asyncpg_options("writer"))
        try:
            return await read_entries(connection)
        finally:
            await connection.close()

    return run_async(go())


def test_a_simulated_city_has_layers_of_its_own_that_say_so(city: Database) -> None:
    simulated(city)
    with city.session() as session:
        layers = read_catalogue(session)
    for name in (TRAFFIC, GAUGES, FLOOD):
        layer = layers[name]
        assert layer.sample
        assert layer.sharing is Sharing.OPEN
        assert layer.title.en.endswith("(simulated)")
        assert layer.title.vi.endswith("(mô phỏng)")
    current = layers[TRAFFIC].current
    assert current is not None
    assert 0 < current.features <= 1500
    assert current.quarantined == 0
    entries = [e for e in entries_of(city).values() if e.layer.startswith("simulation.")]
    assert {e.kind for e in entries} >= {
        "traffic_speed",
        "traffic_speed_ratio",
        "rain",
        "water_level",
        "pm2_5",
        "flood_depth",
    }
    assert {e.basis for e in entries} == {"simulated"}
    assert all(e.is_placed for e in entries)
    assert not [e for e in entries_of(city).values() if not e.layer.startswith("simulation.")]


def test_the_roads_are_published_once_and_again_only_when_they_changed(city: Database) -> None:
    prepare_city(city, settings_of(city), 7)
    with city.session() as session:
        before = {name: layer.current for name, layer in read_catalogue(session).items()}
    prepare_city(city, settings_of(city), 7)
    with city.session() as session:
        after = {name: layer.current for name, layer in read_catalogue(session).items()}
        session.execute(
            sa.text(
                "UPDATE twin.layer_version SET number = number + 1 WHERE id = (SELECT current_version_id FROM "
                "twin.layer WHERE name = 'roads')"
            )
        )
    assert before == after
    prepare_city(city, settings_of(city), 7)
    with city.session() as session:
        changed = read_catalogue(session)[TRAFFIC].current
    # The same roads again: the road to them is another one, the version is not.
    assert changed is not None
    assert before[TRAFFIC] is not None
    assert changed.number == before[TRAFFIC].number
    assert changed.fingerprint != before[TRAFFIC].fingerprint


def test_the_last_day_is_filled_in_and_a_second_start_adds_nothing_to_it(city: Database) -> None:
    simulator = simulated(city)
    statement = (
        "SELECT stream, count(*) AS n, min(time) AS first, max(time) AS last, count(*) FILTER (WHERE flag <> 0) AS bad "
        "FROM live.observation WHERE stream = ANY($1::int4[]) GROUP BY stream"
    )
    rows = fetch(city, statement, simulator.streams)
    assert len(rows) == len(simulator.streams)
    for row in rows:
        assert row["n"] >= 95
        assert row["bad"] == 0
        assert row["last"] - row["first"] > timedelta(hours=23)
        assert row["last"] <= datetime.now(UTC)
    before = sum(row["n"] for row in rows)
    simulated(city)
    assert sum(row["n"] for row in fetch(city, statement, simulator.streams)) - before <= 2 * len(simulator.streams)
    assert not fetch(city, "SELECT FROM live.correction")


def test_no_rain_counts_twice(city: Database) -> None:
    simulator = simulated(city)
    streams = simulator.gauges["rain"].ids
    rows = fetch(city, "SELECT DISTINCT time FROM live.observation WHERE stream = ANY($1::int4[])", streams)
    # The value that `once` adds is the only one between the steps.
    between = [row["time"] for row in rows if row["time"].timestamp() % 600]
    assert len(between) <= 6
    assert len(rows) - len(between) >= 143


def test_something_moves_within_ten_seconds(city: Database) -> None:
    simulated(city)
    begun = datetime.now(UTC)
    simulated(city, seconds=11)
    moved = fetch(city, "SELECT DISTINCT time FROM live.observation WHERE received > $1 AND time > $1", begun)
    assert len(moved) >= 2
    assert all(row["time"].timestamp() % 5 == 0 for row in moved)


def test_each_stream_is_due_once_in_its_interval(city: Database) -> None:
    simulator = Simulator(prepare_city(city, settings_of(city), 7), 7, ZONE)
    for group in simulator.groups:
        due = [i for tick in range(0, group.every, 5) for i in group.due(1_800_000_000 + tick).tolist()]
        assert sorted(due) == list(range(len(group.codes)))
        most = max(len(group.due(tick)) for tick in range(0, group.every, 5))
        assert group.together or most <= math.ceil(len(group.codes) * 5 / group.every)


def test_a_hidden_layer_is_not_simulated(city: Database) -> None:
    with city.session() as session:
        session.execute(sa.text("UPDATE twin.layer SET sharing = 'restricted' WHERE name IN ('sensors', 'roads')"))
    try:
        found = prepare_city(city, settings_of(city), 7)
        assert not found.segments
        assert all(g.id.startswith(("pattern:", "environment.water")) for g in found.gauges)
    finally:
        with city.session() as session:
            session.execute(sa.text("UPDATE twin.layer SET sharing = 'open' WHERE name IN ('sensors', 'roads')"))


def test_without_a_ground_the_declared_flood_spots_are_taken(city: Database) -> None:
    with_ground = prepare_city(city, settings_of(city), 7).low_places
    assert with_ground
    assert all(p.cell and p.ground is not None for p in with_ground)
    with city.session() as session:
        session.execute(sa.text("UPDATE twin.layer SET sharing = 'restricted' WHERE name = 'elevation'"))
    try:
        spots = prepare_city(city, settings_of(city), 7).low_places
        assert spots
        assert all(p.cell is None and p.note for p in spots)
    finally:
        with city.session() as session:
            session.execute(sa.text("UPDATE twin.layer SET sharing = 'open' WHERE name = 'elevation'"))

"""The simulator: writes the values of an invented day, at the present time, through the one writer.

A value is a function of the seed and its time. So a restart goes on where the city would be, two simulators of one
seed write the same values, and the last day can be filled in afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

import asyncpg
import numpy as np
import numpy.typing as npt
import shapely

from ingest.streams.alerting import alert_engine
from ingest.streams.consumer import persist
from ingest.streams.declaring import DeclarationReport, declare_into
from ingest.streams.description import ValueSpec, as_code, declaration
from ingest.streams.simulation import flood, rain, tide
from ingest.streams.simulation.air import Air
from ingest.streams.simulation.layers import (
    FLOOD,
    GAUGES,
    INVENTED,
    TRAFFIC,
    ensure_simulation,
    gauge_frame,
    publish_frame,
    segment_frame,
)
from ingest.streams.simulation.noise import Floats, phases
from ingest.streams.simulation.places import (
    OBSERVED,
    Gauge,
    LowPlace,
    Segment,
    bounds_of,
    open_layers,
    read_gauges,
    read_low_places,
    read_segments,
)
from ingest.streams.simulation.traffic import Roads
from twin.catalogue.catalogue import read_catalogue
from twin.config import Settings
from twin.db.database import Database
from twin.streams.declare import Place, StreamDeclaration
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, StreamWriter, Written

log = logging.getLogger("twin.streams")

TICK_SECONDS = 5
PAST = timedelta(hours=24)
PAST_STEP_SECONDS = 900
# After a pause longer than this, the ticks that were missed are filled in coarsely.
MOST_MISSED_TICKS = 24
BATCH = 20_000
EARTH_DEGREE_M = 111_195.0

Indexes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SimulatedCity:
    """What is simulated of a city."""

    segments: Sequence[Segment]
    gauges: Sequence[Gauge]
    low_places: Sequence[LowPlace]
    middle: tuple[float, float]


def prepare_city(database: Database, settings: Settings, seed: int) -> SimulatedCity:
    """Read what there is to simulate, and publish the simulation's roads and gauges where they changed."""
    with database.session() as session:
        layers = read_catalogue(session)
        roads = next(iter(open_layers(layers, "roads")), None)
        segments = read_segments(session, roads) if roads else []
        bounds = bounds_of(segments, settings)
        gauges = read_gauges(session, layers, settings, bounds)
        low_places = read_low_places(session, layers)
    if roads is None:
        log.warning("the city has no open layer of roads, so no traffic is simulated")
    ensure_simulation(database, roads.licence if roads else "", roads.attribution if roads else "")
    if roads is not None and roads.current is not None and segments:
        frame = segment_frame(segments, _roads(seed, segments))
        publish_frame(database, settings, TRAFFIC, frame, [roads.id, roads.current.number, seed])
    if gauges:
        origin = [[g.id, g.kind, round(g.longitude, 6), round(g.latitude, 6)] for g in gauges]
        publish_frame(database, settings, GAUGES, gauge_frame(gauges), origin)
    west, south, east, north = bounds
    return SimulatedCity(segments, gauges, low_places, ((west + east) / 2, (south + north) / 2))


def _roads(seed: int, segments: Sequence[Segment]) -> Roads:
    return Roads(seed, [s.id for s in segments], [s.road_class for s in segments])


@dataclass(slots=True)
class Group:
    """Streams of one kind of thing: `kinds` for each thing, every so many seconds, spread over the ticks."""

    layer: str
    kinds: tuple[str, ...]
    codes: list[str]
    every: int
    x: Floats
    y: Floats
    past_step: int = PAST_STEP_SECONDS
    # Rain is of an interval: all gauges tell it at the same steps, now and in the past, so that none counts twice.
    together: bool = False
    streams: list[list[int]] = field(default_factory=list)

    def due(self, tick: int) -> Indexes:
        """Return which things are told of at a tick (seconds since 1970, a multiple of the tick)."""
        if self.together:
            return np.arange(len(self.codes) if tick % self.every == 0 else 0)
        ticks = self.every // TICK_SECONDS
        return np.arange((tick // TICK_SECONDS) % ticks, len(self.codes), ticks)

    @property
    def ids(self) -> list[int]:
        """All streams."""
        return [stream for of_thing in self.streams for stream in of_thing]


class Simulator:
    """Simulates one city."""

    def __init__(self, city: SimulatedCity, seed: int, zone: tzinfo) -> None:
        self.city, self.seed, self.zone = city, seed, zone
        self._writer = StreamWriter(StreamDirectory(), alert_engine(zone))
        self._roads = _roads(seed, city.segments)
        self._air = Air(seed, [g.id for g in city.gauges])
        self._ground = np.array([math.nan if p.ground is None else p.ground for p in city.low_places], dtype=np.float64)
        unknown = np.isnan(self._ground)
        # The ground of a declared spot is not known: spring tides reach it, ordinary ones do not.
        assumed = 1.15 + 0.35 * phases(seed, [p.id for p in city.low_places])[:, 0] if city.low_places else self._ground
        self._ground = np.where(unknown, assumed, self._ground)
        self._tidal = np.array([p.cause in ("tide", "both") for p in city.low_places], dtype=bool)
        self._rainy = np.array([p.cause in ("rain", "both") for p in city.low_places], dtype=bool)
        self.traffic = self._group(
            TRAFFIC, ("traffic_speed", "traffic_speed_ratio"), [s.id for s in city.segments], 60,
            [_middle(s.geometry) for s in city.segments],
        )  # fmt: skip
        self.flood = self._group(
            FLOOD, ("flood_depth",), [p.id for p in city.low_places], 300,
            [(p.longitude, p.latitude) for p in city.low_places],
        )  # fmt: skip
        self.gauges = {kind: self._gauge_group(kind) for kind in OBSERVED}

    @property
    def groups(self) -> list[Group]:
        """All groups that have streams."""
        return [g for g in (self.traffic, *self.gauges.values(), self.flood) if g.codes]

    @property
    def streams(self) -> list[int]:
        """The ids of all streams, once they are declared."""
        return [stream for group in self.groups for stream in group.ids]

    def _gauge_group(self, kind: str) -> Group:
        of_kind = [g for g in self.city.gauges if g.kind == kind]
        every = {"rain": 600, "water_level": 300}.get(kind, 300)
        group = self._group(
            GAUGES, OBSERVED[kind], [g.id for g in of_kind], every, [(g.longitude, g.latitude) for g in of_kind]
        )
        if kind == "rain":
            group.past_step, group.together = every, True
        return group

    def _group(
        self, layer: str, kinds: tuple[str, ...], ids: Sequence[str], every: int, points: Sequence[tuple[float, float]]
    ) -> Group:
        longitude, latitude = self.city.middle
        at = np.array(points, dtype=np.float64).reshape(len(points), 2)
        x = (at[:, 0] - longitude) * EARTH_DEGREE_M * math.cos(math.radians(latitude))
        y = (at[:, 1] - latitude) * EARTH_DEGREE_M
        return Group(layer, kinds, unique_codes(layer.partition(".")[2], ids), every, x, y)

    # Values ------------------------------------------------------------------------------------------

    def values(self, group: Group, seconds: float, of: Indexes) -> list[Floats]:
        """Return the values of some things of a group at a time: an array for each of the group's kinds."""
        x, y = group.x[of], group.y[of]
        if group.kinds == ("rain",):
            return [rain.depth(self.seed, seconds, group.every, x, y, self.zone).round(2)]
        if group.kinds == ("water_level",):
            return [tide.water_level(seconds, 8_000.0 + y).round(3)]
        if group is self.flood:
            level = tide.water_level(seconds, 8_000.0 + y)
            by_tide = np.where(self._tidal[of], flood.from_tide(level, self._ground[of]), 0.0)
            by_rain = np.where(self._rainy[of], flood.from_rain(self.seed, seconds, x, y, self.zone), 0.0)
            return [np.maximum(by_tide, by_rain).round(2)]
        falling = rain.intensity(self.seed, seconds, x, y, self.zone)[0]
        if group is self.traffic:
            ratio = self._roads.ratio(seconds, falling, self.zone, of)
            return [(ratio * self._roads.free_flow[of]).round(1), ratio.round(3)]
        places = np.array(
            [i for i, g in enumerate(self.city.gauges) if OBSERVED[g.kind] == group.kinds], dtype=np.int64
        )
        everywhere = np.zeros(len(self.city.gauges))
        everywhere[places[of]] = falling
        found = self._air.values(seconds, everywhere, self.zone)
        return [found[kind][places[of]].round(1) for kind in group.kinds]

    def observations(self, group: Group, tick: int, of: Indexes) -> list[Observation]:
        """Return the observations of some things at a time."""
        if not len(of):
            return []
        moment = datetime.fromtimestamp(tick, UTC)
        arrays = [values.tolist() for values in self.values(group, float(tick), of)]
        return [
            Observation(stream, moment, value)
            for i, row in zip(of.tolist(), zip(*arrays, strict=True), strict=True)
            for stream, value in zip(group.streams[i], row, strict=True)
        ]

    # Writing -----------------------------------------------------------------------------------------

    async def declare(self, pool: asyncpg.Pool) -> None:
        """Declare all streams."""
        async with pool.acquire() as connection:
            for group in self.groups:
                report = DeclarationReport()
                made = list(self._declarations(group))
                await declare_into(connection, group.layer, made, report)
                group.streams = [
                    [report.ids[group.layer, f"{code}.{kind}"] for kind in group.kinds] for code in group.codes
                ]
            await self._writer.directory.read(connection)

    def _declarations(self, group: Group) -> Iterator[StreamDeclaration]:
        of_kind = [g for g in self.city.gauges if OBSERVED[g.kind] == group.kinds]
        for i, code in enumerate(group.codes):
            properties: dict[str, object] = {"simulated": True}
            if group is self.traffic:
                segment = self.city.segments[i]
                name, place = segment.name or segment.id, Place(feature=segment.id)
                free_flow = round(float(self._roads.free_flow[i]), 1)
                properties |= {"road_class": segment.road_class, "free_flow_kmh": free_flow}
            elif group is self.flood:
                low = self.city.low_places[i]
                name = low.name
                point = None if low.cell else (low.longitude, low.latitude)
                place = Place(cell=low.cell, point=point, note=low.note)
                if low.ground is not None:
                    properties["ground_m"] = round(float(low.ground), 2)
            else:
                name, place = of_kind[i].name, Place(feature=of_kind[i].id)
            for kind in group.kinds:
                yield declaration(
                    ValueSpec(kind=kind, every_seconds=group.every), thing=code, thing_name=name, code=f"{code}.{kind}",
                    basis="simulated", sensor="simulation", sensor_name="Mô phỏng / simulation",
                    description=f"{INVENTED.vi} {INVENTED.en}", place=place, properties=properties,
                )  # fmt: skip

    async def fill_past(self, pool: asyncpg.Pool, now: datetime) -> Written:
        """Fill in what is missing of the last day, coarsely, so that charts have a past."""
        total = Written()
        batch: list[Observation] = []
        for group in self.groups:
            async with pool.acquire() as connection:
                rows = await connection.fetch(
                    "SELECT stream, time FROM live.latest WHERE stream = ANY($1::int4[])", group.ids
                )
            newest = {row["stream"]: row["time"] for row in rows}
            first = now - PAST
            since = max(first, min((newest.get(stream, first) for stream in group.ids), default=first))
            start = math.ceil(since.timestamp() / group.past_step) * group.past_step
            everything = np.arange(len(group.codes))
            for tick in range(start, int(now.timestamp()) + 1, group.past_step):
                batch += self.observations(group, tick, everything)
                if len(batch) >= BATCH:
                    total.add(await self._write(pool, batch))
                    batch = []
        total.add(await self._write(pool, batch))
        return total

    async def run(self, pool: asyncpg.Pool, seconds: float | None = None, once: bool = False) -> Written:
        """Write what is due at each tick, for so many seconds, or once all streams; else until it is cancelled."""
        total = Written()
        if once:
            now = int(time.time()) // TICK_SECONDS * TICK_SECONDS
            for group in self.groups:
                total.add(await self._write(pool, self.observations(group, now, np.arange(len(group.codes)))))
            return total
        end = math.inf if seconds is None else time.monotonic() + seconds
        last = int(time.time()) // TICK_SECONDS * TICK_SECONDS
        while time.monotonic() < end:
            now = int(time.time()) // TICK_SECONDS * TICK_SECONDS
            if now - last > MOST_MISSED_TICKS * TICK_SECONDS:
                await self.fill_past(pool, datetime.fromtimestamp(now, UTC))
                last = now
            for tick in range(last + TICK_SECONDS, now + 1, TICK_SECONDS):
                due = [o for group in self.groups for o in self.observations(group, tick, group.due(tick))]
                total.add(await self._write(pool, due))
            last = max(last, now)
            wait = last + TICK_SECONDS - time.time()
            await asyncio.sleep(max(0.05, min(wait, end - time.monotonic())))
        return total

    async def _write(self, pool: asyncpg.Pool, batch: Sequence[Observation]) -> Written:
        result = Written()
        if not batch:
            return result

        async def store(connection: asyncpg.Connection) -> None:
            result.add(await self._writer.write(connection, batch, "simulation"))

        await persist(pool, store)
        return result


def unique_codes(prefix: str, ids: Sequence[str]) -> list[str]:
    """Return a code for each id; ids that come to the same code get a number.

    Examples
    --------
    >>> unique_codes("traffic", ["way/1", "way-1"])
    ['traffic-way-1', 'traffic-way-1-2']
    """
    taken: dict[str, int] = {}
    codes = []
    for name in ids:
        code = as_code(f"{prefix}-{name}")
        taken[code] = taken.get(code, 0) + 1
        codes.append(code if taken[code] == 1 else f"{code}-{taken[code]}")
    return codes


def _middle(geometry: shapely.Geometry) -> tuple[float, float]:
    point = shapely.centroid(geometry)
    return float(point.x), float(point.y)

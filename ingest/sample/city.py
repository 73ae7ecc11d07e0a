"""The sample city: lazily drawn layers of a seed and a size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from ingest.sample.buildings import Stock, building_frame, make_stock
from ingest.sample.environment import flood_frame, sensor_frame
from ingest.sample.fabric import Fabric, make_fabric
from ingest.sample.ground import land_use_frame, water_frame, waterway_frame, zoning_frame
from ingest.sample.places import clinic_frame, place_frame, school_frame
from ingest.sample.plane import Floats, Tile, tiles_of, to_degrees, to_metres
from ingest.sample.shapes import Integers, centers
from ingest.sample.streets import Segments, make_segments, road_frame, traffic_frame
from ingest.sample.transit import Transit, make_transit, route_frame, stop_frame
from ingest.sample.wards import COUNT, Wards, make_wards, population_frame, ward_frame
from twin.errors import BadInput
from twin.text import Text

# Raise it with every change that draws another city from the same seed.
GENERATOR_VERSION = 3


class Part:
    """One tile of the city with what its layers share, each computed on first use."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self._residents: Integers | None = None

    @cached_property
    def fabric(self) -> Fabric:
        """Water, streets, blocks."""
        return make_fabric(self.tile)

    @cached_property
    def wards(self) -> Wards:
        """The wards."""
        return make_wards(self.fabric)

    @cached_property
    def segments(self) -> Segments:
        """Main streets between crossings."""
        return make_segments(self.fabric)

    @cached_property
    def transit(self) -> Transit:
        """Public transport."""
        return make_transit(self.fabric, self.segments)

    def stock(self) -> Stock:
        """Return the buildings: not kept, as those of a large city would fill the memory; their residents are."""
        stock = make_stock(self.fabric)
        if self._residents is None:
            ward = self.wards.of(centers(stock.built.geometry))
            self._residents = np.bincount(ward, stock.residents, COUNT).astype(np.int64)
        return stock

    @property
    def residents(self) -> Integers:
        """Residents by ward."""
        if self._residents is None:
            self.stock()
        assert self._residents is not None  # noqa: S101 (filled by stock)
        return self._residents


@dataclass(frozen=True)
class SampleLayer:
    """One layer of the sample city: the agency it stands for, its name and theme."""

    agency: str
    name: str
    theme: str
    title: Text
    _draw: Callable[[Part], gpd.GeoDataFrame] = field(repr=False, compare=False)
    _parts: tuple[Part, ...] = field(repr=False, compare=False)

    def batches(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield the features in EPSG:4326, one tile after the other, at most 50,000 at once."""
        for part in self._parts:
            yield self._draw(part)


@dataclass(frozen=True)
class SampleCity:
    """A riverside city drawn from a seed; a plausible one, not a map of the real one."""

    seed: int
    buildings: int

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        return tuple(Part(tile) for tile in tiles_of(self.buildings, self.seed))

    @property
    def fingerprint(self) -> str:
        """Names the content: another one means other features."""
        return sha256(f"sample city {GENERATOR_VERSION} {self.seed} {self.buildings}".encode()).hexdigest()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        tiles = [p.tile for p in self._parts]
        corners = np.array([[(t.column + dx) * t.side, (t.row + dx) * t.side] for t in tiles for dx in (-0.5, 0.5)])
        low, high = to_degrees(corners[[0]] * 0 + corners.min(axis=0)), to_degrees(corners.max(axis=0)[None])
        return float(low[0, 0]), float(low[0, 1]), float(high[0, 0]), float(high[0, 1])

    def elevation(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> Floats:
        """Height of the ground (the bed, under water) in metres above mean sea level; NaN outside the city."""
        x, y = to_metres(lon, lat)
        height = np.full(np.broadcast(x, y).shape, np.nan)
        for part in self._parts:
            tile = part.tile
            u, v = x - tile.column * tile.side, y - tile.row * tile.side
            inside = (np.abs(u) <= tile.half * (1 + 1e-9)) & (np.abs(v) <= tile.half * (1 + 1e-9))
            if np.any(inside):
                height[inside] = part.fabric.terrain.at(u[inside], v[inside])
        return height

    @cached_property
    def layers(self) -> tuple[SampleLayer, ...]:
        """All layers; the population follows the buildings that it is counted from."""

        def layer(agency: str, name: str, theme: str, en: str, vi: str,
                  draw: Callable[[Part], gpd.GeoDataFrame]) -> SampleLayer:  # fmt: skip
            return SampleLayer(agency, name, theme, Text(en=en, vi=vi), draw, self._parts)

        return (
            layer("planning", "wards", "boundaries", "Wards", "Địa giới phường",
                  lambda p: ward_frame(p.fabric, p.wards)),
            layer("environment", "water", "water", "Water surfaces", "Mặt nước", lambda p: water_frame(p.fabric)),
            layer("environment", "waterways", "waterways", "River and canals", "Sông, kênh, rạch",
                  lambda p: waterway_frame(p.fabric)),
            layer("transport", "roads", "roads", "Roads", "Đường giao thông", lambda p: road_frame(p.fabric)),
            layer("planning", "land_use", "land_use", "Land use", "Hiện trạng sử dụng đất",
                  lambda p: land_use_frame(p.fabric)),
            layer("planning", "zoning", "zoning", "Zoning", "Quy hoạch sử dụng đất", lambda p: zoning_frame(p.fabric)),
            layer("construction", "buildings", "buildings", "Buildings", "Công trình xây dựng",
                  lambda p: building_frame(p.fabric, p.stock())),
            layer("statistics", "population", "population", "Population by ward", "Dân số theo phường",
                  lambda p: population_frame(p.fabric, p.wards, p.residents)),
            layer("planning", "places", "places", "Places", "Địa điểm",
                  lambda p: place_frame(p.fabric, p.wards, p.transit)),
            layer("education", "schools", "places", "Schools", "Trường học", lambda p: school_frame(p.fabric)),
            layer("health", "clinics", "places", "Hospitals and clinics", "Bệnh viện, trạm y tế",
                  lambda p: clinic_frame(p.fabric, p.wards)),
            layer("transport", "traffic_segments", "traffic_segments", "Traffic", "Tình hình giao thông",
                  lambda p: traffic_frame(p.fabric, p.segments)),
            layer("transport", "bus_routes", "transit_routes", "Public transport routes",
                  "Tuyến xe buýt, metro, buýt sông",
                  lambda p: route_frame(p.fabric, p.transit)),
            layer("transport", "stops", "transit_stops", "Stops and stations", "Trạm dừng, nhà ga",
                  lambda p: stop_frame(p.fabric, p.transit)),
            layer("environment", "flood_spots", "flood_spots", "Flood spots", "Điểm ngập",
                  lambda p: flood_frame(p.fabric)),
            layer("environment", "sensors", "sensors", "Sensors", "Cảm biến, trạm quan trắc",
                  lambda p: sensor_frame(p.fabric, p.segments, p.transit)),
        )  # fmt: skip


def generate(buildings: int = 40_000, seed: int = 2025) -> SampleCity:
    """Return a city with so many buildings; cheap, as layers are drawn when they are read."""
    if not 50 <= buildings <= 2_000_000:
        raise BadInput(
            Text(
                en="The sample city has from 50 to 2,000,000 buildings, not {count}.",
                vi="Thành phố mẫu có từ 50 đến 2.000.000 công trình, không phải {count}.",
            ).format(count=buildings)
        )
    return SampleCity(seed=int(seed), buildings=int(buildings))

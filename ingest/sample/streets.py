"""The roads layer and the traffic segments: main streets between crossings."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.sample.fabric import Fabric, distance_to_core
from ingest.sample.plane import Floats, Geometries
from ingest.sample.shapes import Integers, along

LANES = {
    "motorway": 8,
    "trunk": 8,
    "primary": 6,
    "secondary": 4,
    "tertiary": 2,
    "residential": 2,
    "service": 1,
    "path": 1,
}
SPEED = {"motorway": 90, "trunk": 70, "primary": 60, "secondary": 50, "tertiary": 50, "residential": 30, "service": 20,
         "path": 10}  # fmt: skip
# What a lane carries in an hour, in passenger car units.
PCU_LANE = {"motorway": 1900, "trunk": 1500, "primary": 1100, "secondary": 900, "tertiary": 700}
SURFACE = {"service": "bê tông xi măng", "path": "gạch lát"}
PREFIX = {"motorway": "CT", "trunk": "XL", "primary": "DL", "secondary": "KV", "tertiary": "NB"}


@dataclass(frozen=True)
class Segments:
    """Main streets cut at their crossings, in the tile's metres; `street` is the number of the whole street."""

    geometry: Geometries
    street: Integers


def road_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Return the roads layer of one tile, EPSG:4326."""
    streets, tile = fabric.streets, fabric.tile
    kind = pd.Series(streets.road_class)
    count = len(streets)
    code = [f"{PREFIX[c]}-{tile.index}{i:04d}" if c in PREFIX else None for i, c in enumerate(streets.road_class)]
    # Narrow alleys are walked and ridden both ways; few streets of the centre are one-way.
    rng = tile.rng("oneway")
    oneway = (kind == "residential") & (rng.uniform(size=count) < 0.06)
    lanes = kind.map(LANES) + ((kind == "tertiary") & (streets.width > 16.5)) * 2
    return gpd.GeoDataFrame(
        {
            "id": [f"r{tile.index}-{i}" for i in range(count)],
            "name": pd.array(fabric.street_names, dtype="str"),
            "class": pd.array(streets.road_class, dtype="str"),
            "code": pd.array(code, dtype="str"),
            "lanes": pd.array(lanes, dtype="Int64"),
            "maxspeed": pd.array(kind.map(SPEED), dtype="Int64"),
            "oneway": np.asarray(oneway, dtype=bool),
            "bridge": streets.bridge,
            "surface": pd.array(kind.map(SURFACE).fillna("bê tông nhựa"), dtype="str"),
            "width_m": np.round(streets.width, 1),
        },
        geometry=tile.degrees(streets.geometry),
        crs="EPSG:4326",
    )


def make_segments(fabric: Fabric, shortest: float = 4.0) -> Segments:
    """Cut motorways to tertiary streets where others of them cross or end."""
    number = np.flatnonzero(np.isin(fabric.streets.road_class, list(PCU_LANE)))
    geometry = fabric.streets.geometry[number]
    tree = shapely.STRtree(geometry)
    ends = np.concatenate([shapely.get_point(geometry, k) for k in (0, -1)])
    end, line = tree.query(ends, predicate="dwithin", distance=1.5)
    foreign = end % len(geometry) != line
    touches = np.column_stack([line[foreign], end[foreign]])
    at = shapely.line_locate_point(geometry[touches[:, 0]], ends[touches[:, 1]])
    stations: list[list[float]] = [[] for _ in geometry]
    for i, distance in zip(touches[:, 0], at, strict=True):
        stations[i].append(float(distance))
    first, second = tree.query(geometry, predicate="crosses")
    once = first < second
    for i, j in zip(first[once], second[once], strict=True):
        for point in shapely.get_parts(shapely.intersection(geometry[i], geometry[j])):
            if point.geom_type == "Point":
                stations[i].append(geometry[i].project(point))
                stations[j].append(geometry[j].project(point))
    pieces: list[shapely.LineString] = []
    source: list[int] = []
    for i, line_ in enumerate(geometry):
        length = line_.length
        cuts = np.array(sorted(d for d in stations[i] if shortest < d < length - shortest))
        cuts = cuts[np.concatenate([[True], np.diff(cuts) > shortest])] if len(cuts) else cuts
        edges = np.concatenate([[0.0], cuts, [length]])
        found = along(line_, edges[:-1], edges[1:])
        pieces += found
        source += [int(number[i])] * len(found)
    return Segments(np.array(pieces, dtype=object), np.array(source, dtype=np.int64))


def _load(fabric: Fabric, geometry: Geometries, rng: np.random.Generator) -> Floats:
    """Share of its capacity that each segment carries at the busy hour: more near the core and on bridges."""
    core = distance_to_core(fabric, geometry)
    return 0.3 + 0.62 * np.exp(-core / (0.27 * fabric.tile.side)) + rng.normal(0, 0.13, len(geometry))


def traffic_frame(fabric: Fabric, segments: Segments) -> gpd.GeoDataFrame:
    """Return the traffic segments of one tile, EPSG:4326: usual speed and level of service at the busy hour."""
    streets, tile = fabric.streets, fabric.tile
    rng = tile.rng("traffic")
    long = shapely.length(segments.geometry) > 12.0
    segments = Segments(segments.geometry[long], segments.street[long])
    kind = pd.Series(streets.road_class[segments.street])
    bridge = streets.bridge[segments.street]
    load = np.clip(_load(fabric, segments.geometry, rng) + 0.12 * bridge + 0.08 * (kind == "primary"), 0.12, 1.15)
    free = np.asarray(kind.map(SPEED), dtype=np.float64) * rng.uniform(0.82, 0.97, len(kind))
    # Speed falls with load as in the curve of the US Bureau of Public Roads, steeper for mixed traffic.
    speed = free / (1 + 0.9 * load**4)
    los = np.array(list("ABCDEF"))[np.searchsorted([0.35, 0.55, 0.75, 0.9, 1.0], load)]
    capacity = np.asarray(kind.map(PCU_LANE), dtype=np.float64) * np.asarray(kind.map(LANES), dtype=np.float64)
    return gpd.GeoDataFrame(
        {
            "id": [f"t{tile.index}-{i}" for i in range(len(kind))],
            "name": pd.array(_named(fabric.street_names[segments.street]), dtype="str"),
            "los": pd.array(los, dtype="str"),
            "speed_kmh": np.round(speed, 1),
            "free_speed_kmh": np.round(free, 1),
            "capacity_pcu_h": capacity,
            "length_m": np.round(shapely.length(segments.geometry), 1),
            "observations": pd.array(rng.integers(900, 5200, len(kind)), dtype="Int64"),
        },
        geometry=tile.degrees(segments.geometry),
        crs="EPSG:4326",
    )


def _named(names: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    return np.array([n or "Đường chưa đặt tên" for n in names], dtype=object)

"""Flood spots where streets lie low, and the sensors that observe the city."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.sample.fabric import Fabric, distance_to_core
from ingest.sample.plane import Floats
from ingest.sample.shapes import spaced
from ingest.sample.streets import Segments
from ingest.sample.transit import Transit

# Highest spring tide of recent years, metres above mean sea level.
SPRING_TIDE = 1.65
SPOTS = 36
OPERATOR = "Mạng quan trắc của thành phố mẫu"


def _street_points(fabric: Fabric) -> tuple[np.ndarray, Floats]:
    """Return points every 60 m or so along streets on the ground: number of the street and place."""
    streets = fabric.streets
    usable = np.flatnonzero(
        np.isin(streets.road_class, ("primary", "secondary", "tertiary", "residential", "service")) & ~streets.bridge
    )
    length = shapely.length(streets.geometry[usable])
    count = np.maximum(1, (length / 60).astype(np.int64))
    street = np.repeat(usable, count)
    share = np.concatenate([(np.arange(c) + 0.5) / c for c in count])
    points = shapely.line_interpolate_point(streets.geometry[street], share, normalized=True)
    return street, shapely.get_coordinates(points)


def flood_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Return the lowest places of the street network: reached by tides, or hollows where rain gathers."""
    tile = fabric.tile
    rng = tile.rng("floods")
    street, xy = _street_points(fabric)
    ground = fabric.terrain.at(xy[:, 0], xy[:, 1])
    # A hollow lies lower than the ground some way off on all sides.
    around = np.mean([fabric.terrain.at(xy[:, 0] + 160 * np.cos(a), xy[:, 1] + 160 * np.sin(a))
                      for a in np.arange(6) * np.pi / 3], axis=0)  # fmt: skip
    hollow = around - ground
    low = ground < np.quantile(ground, 0.4)
    by_tide = np.flatnonzero(low & (ground < 1.5))
    by_rain = np.flatnonzero(low & (ground >= 1.5))
    apart = 300.0 * max(0.35, tile.scale)
    # Not simply the lowest: spots are where people live and report them.
    order = np.concatenate([
        by_tide[np.argsort(ground[by_tide] + rng.uniform(0, 0.7, len(by_tide)), kind="stable")][: SPOTS * 12],
        by_rain[np.argsort(-hollow[by_rain] + rng.uniform(0, 0.3, len(by_rain)), kind="stable")],
    ])  # fmt: skip
    tidal = spaced(xy, order[np.isin(order, by_tide)], apart, 2 * SPOTS // 3)
    rainy = spaced(xy, order[np.isin(order, by_rain)], apart, SPOTS - len(tidal))
    taken = np.concatenate([tidal, rainy])
    z = ground[taken]
    cause = np.where(z < 1.05, "tide", np.where(z < 1.55, "both", "rain"))
    tide_depth = SPRING_TIDE - z
    depth = np.where(cause == "rain", 0.12 + 0.35 * np.clip(hollow[taken], 0, 0.8), np.maximum(tide_depth, 0.1))
    depth = np.clip(depth * rng.uniform(0.55, 0.95, len(taken)) + (cause == "both") * 0.08, 0.08, 0.9)
    years = ["2022, 2023, 2024" if d > 0.45 else "2023, 2024" if d > 0.25 else "2024" for d in depth]
    named = [fabric.street_names[s] or "Đường nội bộ" for s in street[taken]]
    return gpd.GeoDataFrame(
        {
            "id": [f"f{tile.index}-{i}" for i in range(len(taken))],
            "name": pd.array(named, dtype="str"),
            "cause": pd.array(cause, dtype="str"),
            "depth_m": np.round(depth, 2),
            "years": pd.array(years, dtype="str"),
            "status": pd.array(np.where(depth < 0.2, "đã cải thiện", "còn ngập"), dtype="str"),
        },
        geometry=tile.degrees(shapely.points(xy[taken])),
        crs="EPSG:4326",
    )


def sensor_frame(fabric: Fabric, segments: Segments, transit: Transit) -> gpd.GeoDataFrame:
    """Gauges at the banks, rain and air stations over the tile, counters and cameras at main crossings."""
    tile, water = fabric.tile, fabric.water
    rng = tile.rng("sensors")
    size = max(0.3, tile.scale)
    groups: list[tuple[str, str, Floats]] = []

    shore = shapely.boundary(shapely.buffer(water.river, -4.0))
    gauges = [_nearest(shore, water.river_line.interpolate(s, normalized=True)) for s in (0.12, 0.34, 0.5, 0.66, 0.88)]
    groups.append(("water_level", f"Trạm mực nước sông {fabric.river_name}", np.array(gauges)))
    canals = [c.interpolate(s, normalized=True).coords[0] for c in water.canals for s in (0.35, 0.75)][:6]
    groups.append(("water_level", "Trạm mực nước kênh", np.array(canals)))

    blocks = fabric.blocks
    at = shapely.get_coordinates(shapely.point_on_surface(blocks.area))
    order = rng.permutation(len(at))
    near = order[np.argsort(distance_to_core(fabric, blocks.area[order]) + rng.uniform(0, 0.5 * tile.side, len(order)),
                            kind="stable")]  # fmt: skip
    groups.append(("rain", "Trạm đo mưa", at[spaced(at, order, 1500 * size, 8)]))
    groups.append(("weather", "Trạm khí tượng", at[spaced(at, order[::-1], 2800 * size, 2)]))
    groups.append(("air_quality", "Trạm không khí", at[spaced(at, near, 900 * size, 10)]))
    groups.append(("noise", "Điểm đo tiếng ồn", at[spaced(at, near[::-1], 800 * size, 6)]))

    rank = {"motorway": 0, "primary": 1, "trunk": 1, "secondary": 2, "tertiary": 3}
    kind = np.array([rank[c] for c in fabric.streets.road_class[segments.street]])
    ends = shapely.get_coordinates(shapely.get_point(segments.geometry, 0))
    busy = np.lexsort((distance_to_core(fabric, segments.geometry), kind))
    cameras = spaced(ends, busy[np.isin(kind[busy], (1, 2))], 480 * size, 15)
    groups.append(("camera", "Camera giao lộ", ends[cameras]))
    middles = shapely.get_coordinates(shapely.line_interpolate_point(segments.geometry, 0.5, normalized=True))
    counters = spaced(middles, busy[kind[busy] <= 2], 620 * size, 12)
    groups.append(("traffic_count", "Điểm đếm xe", middles[counters]))

    xy = np.vstack([g[2] for g in groups])
    matched, street = fabric.street_tree.query_nearest(shapely.points(xy), all_matches=False)
    nearest = np.zeros(len(xy), dtype=np.int64)
    nearest[matched] = street
    kinds = [g[0] for g in groups for _ in g[2]]
    names = [f"{g[1]} {i + 1}" for g in groups for i in range(len(g[2]))]
    heading = np.where(np.array(kinds) == "camera", np.round(rng.uniform(0, 359, len(xy))), np.nan)
    prefix = {"water_level": "MN", "rain": "MU", "weather": "KT", "air_quality": "KK", "noise": "TO", "camera": "CM",
              "traffic_count": "DX"}  # fmt: skip
    return gpd.GeoDataFrame(
        {
            "id": [f"n{tile.index}-{i}" for i in range(len(xy))],
            "name": pd.array(names, dtype="str"),
            "kind": pd.array(kinds, dtype="str"),
            "code": pd.array([f"{prefix[k]}{tile.index}{i:03d}" for i, k in enumerate(kinds)], dtype="str"),
            "operator": pd.array([OPERATOR] * len(xy), dtype="str"),
            "address": pd.array(fabric.street_names[nearest], dtype="str"),
            "status": pd.array(np.where(rng.uniform(size=len(xy)) < 0.04, "bảo trì", "hoạt động"), dtype="str"),
            "heading_deg": heading,
        },
        geometry=tile.degrees(shapely.points(xy)),
        crs="EPSG:4326",
    )


def _nearest(rim: shapely.Geometry, point: shapely.Point) -> tuple[float, float]:
    """Return the point of a rim nearest to another."""
    line = shapely.shortest_line(rim, point)
    x, y = line.coords[0]
    return x, y

"""Public transport of a tile: bus routes, a metro line over a boulevard, a river ferry, and their stops."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.sample.fabric import Fabric
from ingest.sample.names import OLD_WORDS, PLACES, VIRTUES, pick
from ingest.sample.plane import Floats, Geometries
from ingest.sample.shapes import Integers, spaced
from ingest.sample.streets import Segments

BUSES = 8
# Buses prefer wide streets: a metre of a smaller one counts as more.
WEIGHT = {"motorway": 3.0, "trunk": 1.0, "primary": 0.8, "secondary": 1.0, "tertiary": 1.7}
RUNNING = "đang hoạt động"


@dataclass(frozen=True)
class Transit:
    """Routes and stops in the tile's metres."""

    routes: Geometries
    route_names: list[str]
    route_modes: list[str]
    route_codes: list[str]
    headways: list[str]
    hours: list[str]
    stop_xy: Floats
    stop_names: npt.NDArray[np.object_]
    stop_mode: npt.NDArray[np.object_]


def _nodes(segments: Segments) -> tuple[Integers, Floats]:
    """Number the ends of segments; ends within five metres are one node."""
    ends = np.concatenate([shapely.get_point(segments.geometry, k) for k in (0, -1)])
    first, second = shapely.STRtree(ends).query(ends, predicate="dwithin", distance=5.0)
    label = np.arange(len(ends))
    for _ in range(6):
        np.minimum.at(label, first, label[second])
    kept, node = np.unique(label, return_inverse=True)
    return node.reshape(2, -1), shapely.get_coordinates(ends[kept])


def _path(links: list[list[tuple[int, int]]], weight: Floats, start: int, goal: int) -> list[tuple[int, int]]:
    """Segments (and the node each ends at) of the shortest way."""
    best = {start: 0.0}
    came: dict[int, tuple[int, int]] = {}
    queue = [(0.0, start)]
    while queue:
        cost, node = heapq.heappop(queue)
        if node == goal:
            break
        if cost > best[node]:
            continue
        for other, segment in links[node]:
            further = cost + float(weight[segment])
            if further < best.get(other, np.inf):
                best[other] = further
                came[other] = (node, segment)
                heapq.heappush(queue, (further, other))
    way: list[tuple[int, int]] = []
    node = goal
    while node in came:
        before, segment = came[node]
        way.append((segment, node))
        node = before
    return way[::-1]


def _bus_lines(fabric: Fabric, segments: Segments) -> list[shapely.LineString]:
    """Ways between opposite sides of the tile over the main streets, each rather along streets not served yet."""
    node, place = _nodes(segments)
    kind = fabric.streets.road_class[segments.street]
    weight = shapely.length(segments.geometry) * np.array([WEIGHT[c] for c in kind])
    links: list[list[tuple[int, int]]] = [[] for _ in place]
    for i, (a, b) in enumerate(node.T):
        links[a].append((int(b), i))
        links[b].append((int(a), i))
    rng = fabric.tile.rng("buses")
    reach = 0.46 * fabric.tile.side
    lines = []
    for k in range(BUSES * 3):
        turn = np.pi * (k + rng.uniform(0, 0.6)) / BUSES
        aim = np.array([np.cos(turn), np.sin(turn)])
        aim *= reach / np.abs(aim).max()
        ends = [int(np.argmin(np.hypot(*(place - s * aim).T))) for s in (1, -1)]
        way = _path(links, weight, ends[0], ends[1])
        xy = [place[ends[0]][None]]
        for segment, end in way:
            step = shapely.get_coordinates(segments.geometry[segment])
            xy.append(step[1:] if node[1, segment] == end else step[::-1][1:])
        line = shapely.LineString(np.vstack(xy)) if way else None
        if line is not None and line.length > 0.6 * fabric.tile.side:
            lines.append(line)
            weight[[segment for segment, _ in way]] *= 1.5
        if len(lines) == BUSES:
            break
    return lines


def _metro_line(fabric: Fabric) -> shapely.LineString:
    """Along one boulevard from west to east, as a viaduct over its middle."""
    streets = fabric.streets
    mine = np.array([str(k) == "across2" for k in streets.key])
    merged = shapely.line_merge(shapely.union_all(streets.geometry[mine]))
    return max(shapely.get_parts(merged), key=shapely.length)


def _along(line: shapely.LineString, apart: float, margin: float) -> Floats:
    count = max(2, round((line.length - 2 * margin) / apart) + 1)
    at = np.linspace(margin, line.length - margin, count)
    found: Floats = shapely.get_coordinates(shapely.line_interpolate_point(line, at))
    return found


def make_transit(fabric: Fabric, segments: Segments) -> Transit:
    """Lay out all routes and their stops."""
    tile = fabric.tile
    rng = tile.rng("transit")
    stretch = max(0.3, tile.scale)
    buses = _bus_lines(fabric, segments)
    metro = _metro_line(fabric)
    ferry = shapely.intersection(
        fabric.water.river_line, shapely.box(-tile.half, -0.44 * tile.side, tile.half, 0.44 * tile.side)
    )
    ferry = max(shapely.get_parts(ferry), key=shapely.length)

    candidates = np.vstack([_along(line, 420.0 * stretch, 60.0 * stretch) for line in buses])
    bus_stops = candidates[spaced(candidates, np.arange(len(candidates)), 170.0 * stretch)]
    stations = _along(metro, 900.0 * stretch, 250.0 * stretch)
    piers = _piers(fabric, _along(ferry, 1100.0 * stretch, 100.0 * stretch))
    street = _street_names(fabric, bus_stops)
    stop_names = [f"Trạm {n}" for n in street]
    stop_names += [f"Ga {n}" for n in pick(VIRTUES, len(stations), rng)]
    stop_names += [f"Bến {n}" for n in pick(OLD_WORDS, len(piers), rng)]
    stop_mode = ["bus"] * len(bus_stops) + ["metro"] * len(stations) + ["ferry"] * len(piers)

    ends = pick(PLACES, 2 * len(buses), rng)
    line_number = tile.index + 1
    return Transit(
        routes=np.array([*buses, metro, ferry], dtype=object),
        route_names=[f"{a} – {b}" for a, b in zip(ends[::2], ends[1::2], strict=True)]
        + [f"Tuyến metro mẫu {line_number}", f"Buýt sông {fabric.river_name}"],
        route_modes=["bus"] * len(buses) + ["metro", "ferry"],
        route_codes=[f"{tile.index * 20 + i + 1:02d}" for i in range(len(buses))]
        + [f"M{line_number}", f"F{line_number}"],
        headways=[str(v) for v in rng.choice([8, 10, 12, 15, 20], len(buses))] + ["6", "30"],
        hours=["05:00–21:00"] * len(buses) + ["05:00–23:00", "06:30–20:30"],
        stop_xy=np.vstack([bus_stops, stations, piers]),
        stop_names=np.array(stop_names, dtype=object),
        stop_mode=np.array(stop_mode, dtype=object),
    )


def _piers(fabric: Fabric, middle: Floats) -> Floats:
    """Landing stages at alternating banks, just off the shore."""
    rim = shapely.boundary(shapely.buffer(fabric.water.river, -8.0))
    inside = shapely.intersection(rim, fabric.tile.square.buffer(-20))
    found = []
    for i, point in enumerate(middle):
        side = np.array([-1.0 if i % 2 else 1.0, 0.0])
        ray = shapely.intersection(shapely.LineString([point, point + side * 600]), inside)
        hits = shapely.get_coordinates(ray)
        found.append(hits[int(np.argmin(np.hypot(*(hits - point).T)))] if len(hits) else point)
    return np.array(found)


def _street_names(fabric: Fabric, xy: Floats) -> list[str]:
    matched, near = fabric.street_tree.query_nearest(shapely.points(xy), all_matches=False)
    street = np.zeros(len(xy), dtype=np.int64)
    street[matched] = near
    seen: dict[str, int] = {}
    found = []
    for s in street:
        name = fabric.street_names[s] or "Đầu cầu"
        seen[name] = seen.get(name, 0) + 1
        found.append(f"{name} {seen[name]:02d}")
    return found


def route_frame(fabric: Fabric, transit: Transit) -> gpd.GeoDataFrame:
    """Return the public transport routes of one tile, EPSG:4326."""
    count = len(transit.routes)
    return gpd.GeoDataFrame(
        {
            "id": [f"route{fabric.tile.index}-{i}" for i in range(count)],
            "name": pd.array(transit.route_names, dtype="str"),
            "code": pd.array(transit.route_codes, dtype="str"),
            "mode": pd.array(transit.route_modes, dtype="str"),
            "headway": pd.array(transit.headways, dtype="str"),
            "hours": pd.array(transit.hours, dtype="str"),
            "status": pd.array([RUNNING] * count, dtype="str"),
        },
        geometry=fabric.tile.degrees(transit.routes),
        crs="EPSG:4326",
    )


def stop_frame(fabric: Fabric, transit: Transit) -> gpd.GeoDataFrame:
    """Return the stops of one tile, EPSG:4326."""
    count = len(transit.stop_xy)
    return gpd.GeoDataFrame(
        {
            "id": [f"stop{fabric.tile.index}-{i}" for i in range(count)],
            "name": pd.array(transit.stop_names, dtype="str"),
            "code": pd.array(
                [f"{m[0].upper()}{fabric.tile.index}{i:03d}" for i, m in enumerate(transit.stop_mode)],
                dtype="str",
            ),
            "mode": pd.array(transit.stop_mode, dtype="str"),
            "status": pd.array([RUNNING] * count, dtype="str"),
        },
        geometry=fabric.tile.degrees(shapely.points(transit.stop_xy)),
        crs="EPSG:4326",
    )

"""Wards: twelve for each tile, bounded by the river, canals and main streets, covering the tile without gaps."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.sample.fabric import Fabric
from ingest.sample.names import ward_names
from ingest.sample.plane import Floats, Geometries, settled
from ingest.sample.shapes import Integers, centers, long_axis, parts

COUNT = 12
CITY = "Thành phố Hồ Chí Minh"
YEAR = 2024


@dataclass(frozen=True)
class Wards:
    """Wards of one tile, in its metres."""

    area: Geometries
    names: list[str]
    codes: list[str]

    def of(self, xy: Floats) -> Integers:
        """Return which ward each point lies in."""
        matched, found = shapely.STRtree(self.area).query_nearest(shapely.points(xy), all_matches=False)
        ward = np.zeros(len(xy), dtype=np.int64)
        ward[matched] = found
        return ward


def _faces(fabric: Fabric) -> Geometries:
    """Pieces of the tile between river, canals and main streets; more than there are wards."""
    streets, water, tile = fabric.streets, fabric.water, fabric.tile
    is_main = np.isin(streets.road_class, ("motorway", "trunk", "primary"))
    is_main |= np.array([str(k).startswith("beside") for k in streets.key])
    edges = [*streets.geometry[is_main], water.river_line, *water.canals, shapely.boundary(tile.square)]
    while True:
        # On a millimetre grid, ends that should lie on the tile's edge do.
        noded = shapely.union_all(edges, grid_size=0.001)
        faces, _ = parts(np.array([shapely.polygonize([noded])]), 3)
        inside: Geometries = faces[shapely.contains_properly(tile.square.buffer(0.01), faces)]
        if len(inside) > COUNT + 4:
            return inside
        largest = inside[[int(np.argmax(shapely.area(inside)))]]
        across = long_axis(largest)[0] + np.pi / 2
        reach = np.array([np.cos(across), np.sin(across)]) * tile.side
        middle = centers(largest)[0]
        edges.append(
            shapely.intersection(shapely.LineString(settled(np.array([middle - reach, middle + reach]))), largest[0])
        )


def _shared(faces: Geometries) -> npt.NDArray[np.float64]:
    """Length in metres of the border that each two faces share."""
    shared = np.zeros((len(faces), len(faces)))
    first, second = shapely.STRtree(faces).query(faces, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    border = shapely.length(shapely.intersection(shapely.boundary(faces[first]), shapely.boundary(faces[second])))
    shared[first, second] = shared[second, first] = border
    return shared


def _joined(fabric: Fabric, faces: Geometries) -> list[list[int]]:
    """Join the smallest group of faces to a neighbour, never over the river if it can be helped, until 12 are left."""
    shared = _shared(faces)
    inside = np.column_stack([f(shapely.point_on_surface(faces)) for f in (shapely.get_x, shapely.get_y)])
    bank = inside[:, 0] < fabric.water.river_x(inside[:, 1])
    area = shapely.area(faces)
    groups: dict[int, list[int]] = {i: [i] for i in range(len(faces))}
    while len(groups) > COUNT:
        order = sorted(groups, key=lambda g: (area[groups[g]].sum(), g))
        smallest = order[0]
        mine = groups.pop(smallest)
        size = area[mine].sum()

        def cost(group: int, mine: list[int] = mine, size: float = size) -> tuple[bool, float, int]:
            theirs = groups[group]
            border = shared[np.ix_(mine, theirs)].sum()
            compact = (size + area[theirs].sum()) / max(border, 1e-3)
            is_across = bool(bank[mine[0]] != bank[theirs[0]])
            return border < 40.0 or is_across, compact, group

        nearest = min(groups, key=cost)
        groups[nearest] = groups[nearest] + mine
    return [groups[g] for g in sorted(groups)]


def make_wards(fabric: Fabric) -> Wards:
    """Draw the wards of a tile, from north-west to south-east."""
    faces = _faces(fabric)
    area = np.array([shapely.coverage_union_all(faces[g]) for g in _joined(fabric, faces)], dtype=object)
    middle = centers(area)
    area = area[np.lexsort((middle[:, 0], -np.round(middle[:, 1] / (fabric.tile.side / 4))))]
    start = fabric.tile.index * COUNT
    codes = [f"{90_001 + start + i}" for i in range(COUNT)]
    return Wards(area, ward_names(start, COUNT, fabric.tile.seed), codes)


def _base(fabric: Fabric, wards: Wards) -> dict[str, object]:
    return {
        "id": [f"w{code}" for code in wards.codes],
        "name": pd.array([f"Phường {n}" for n in wards.names], dtype="str"),
        "code": pd.array(wards.codes, dtype="str"),
        "parent": pd.array([CITY] * COUNT, dtype="str"),
    }


def ward_frame(fabric: Fabric, wards: Wards) -> gpd.GeoDataFrame:
    """Return the boundaries layer of one tile, EPSG:4326."""
    columns = {
        **_base(fabric, wards),
        "level": pd.array(["ward"] * COUNT, dtype="str"),
        "area_km2": np.round(shapely.area(wards.area) / 1e6, 4),
    }
    return gpd.GeoDataFrame(columns, geometry=fabric.tile.degrees(wards.area), crs="EPSG:4326")


def population_frame(fabric: Fabric, wards: Wards, residents: Integers) -> gpd.GeoDataFrame:
    """Return the population layer of one tile, EPSG:4326, from the residents of each ward's buildings."""
    columns = {
        **_base(fabric, wards),
        "population": pd.array(residents, dtype="Int64"),
        "density": np.round(residents / (shapely.area(wards.area) / 1e6), 1),
        "year": pd.array([YEAR] * COUNT, dtype="Int64"),
    }
    return gpd.GeoDataFrame(columns, geometry=fabric.tile.degrees(wards.area), crs="EPSG:4326")

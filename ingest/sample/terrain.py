"""The ground: low along the water, where spring tides reach, and higher away from it. Metres above mean sea level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from ingest.sample.plane import Floats, Tile, settled
from ingest.sample.shapes import Waves, parts
from ingest.sample.water import Water

STEP = 30.0
BANK = 0.5
# Land rises to most of its height within about this distance of water.
REACH = 330.0


@dataclass(frozen=True)
class Terrain:
    """Heights on a regular grid over one tile; points between are interpolated."""

    half: float
    step: float
    heights: Floats

    def at(self, x: Floats, y: Floats) -> Floats:
        """Height at points in the tile's metres; beyond its edge the edge's height."""
        last = len(self.heights) - 1
        u = np.clip((x + self.half) / self.step, 0, last - 1e-9)
        v = np.clip((y + self.half) / self.step, 0, last - 1e-9)
        i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        du, dv = u - i, v - j
        z = self.heights
        return (z[j, i] * (1 - du) + z[j, i + 1] * du) * (1 - dv) + (z[j + 1, i] * (1 - du) + z[j + 1, i + 1] * du) * dv


def make_terrain(tile: Tile, water: Water) -> Terrain:
    """Raise the land from the banks: steeply west of the river, slowly in the flat east, with hollows and swells."""
    count = int(np.ceil(tile.side / STEP)) + 1
    axis = np.linspace(-tile.half, tile.half, count)
    x, y = (v.ravel() for v in np.meshgrid(axis, axis))
    rim = shapely.difference(shapely.boundary(water.surface), shapely.boundary(tile.square).buffer(0.5))
    banks, _ = parts(np.array([rim]), 1)
    xy, index = shapely.get_coordinates(banks, return_index=True)
    same = index[1:] == index[:-1]
    tree = shapely.STRtree(shapely.linestrings(np.stack([xy[:-1][same], xy[1:][same]], axis=1)))
    (matched, _), away = tree.query_nearest(shapely.points(x, y), return_distance=True, all_matches=False)
    distance = np.empty(len(x))
    distance[matched] = away
    surface = water.surface
    shapely.prepare(surface)
    is_wet = shapely.contains_xy(surface, x, y)

    points = np.column_stack([x, y])
    rng = tile.rng("terrain")
    west = 1 / (1 + np.exp((x - water.river_x(y)) / 500.0))
    north_east = 1 / (1 + np.exp(-(x + y - 0.45 * tile.side) / 600.0))
    broad, fine = Waves.random(rng, 1900.0).at(points), Waves.random(rng, 620.0).at(points)
    rise = 2.5 + 3.3 * west + 2.6 * north_east + 0.55 * broad
    land = BANK + rise * (1 - np.exp(-distance / REACH)) + 0.28 * fine * np.minimum(distance / 200.0, 1.0)
    bed = -np.minimum(0.4 + 0.065 * distance, 9.0)
    return Terrain(
        tile.half,
        float(axis[1] - axis[0]),
        settled(np.where(is_wet, bed, np.maximum(land, 0.3))).reshape(count, count),
    )

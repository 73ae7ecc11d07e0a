"""Where cells lie: their outlines, the boxes that find them, and which of them meet an area."""

from __future__ import annotations

import math

import h3
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from twin.catalogue.catalogue import Bounds
from twin.cells.cover import Geometries, Int64, cell_polygons

# A cell's descendants reach beyond it, and cells of one resolution differ in size: with so many average edges around
# an area one meets every feature of every cell that meets the area.
EDGES_AROUND = 4.0
KM_PER_DEGREE = 111.2
# Beyond this latitude a degree of longitude is too short to grow a box by.
POLAR = 85.0


def outlines(cells: Int64) -> Geometries:
    """Return the outlines of cells (EPSG:4326); of those at the 180th meridian the longitudes go on beyond 180."""
    shapes = cell_polygons(cells)
    west, _, east, _ = shapely.bounds(shapes).T if len(shapes) else np.empty((4, 0))
    for i in np.flatnonzero(east - west > 180):
        shapes[i] = shapely.transform(shapes[i], lambda c: np.column_stack([c[:, 0] % 360, c[:, 1]]))
    return shapes


def meeting(cells: Int64, area: BaseGeometry) -> npt.NDArray[np.bool_]:
    """Tell which cells have a point in common with an area (EPSG:4326)."""
    shapes = outlines(cells)
    shapely.prepare(area)
    found: npt.NDArray[np.bool_] = shapely.intersects(area, shapes)
    beyond = shapely.bounds(shapes)[:, 2] > 180 if len(shapes) else found
    if beyond.any():
        moved = shapely.transform(area, lambda c: c + np.array([360.0, 0.0]))
        found |= beyond & shapely.intersects(moved, shapes)
    return found


def around(area: BaseGeometry, resolution: int) -> list[BaseGeometry]:
    """Boxes that meet every feature of every cell of this resolution that meets the area."""
    margin = EDGES_AROUND * h3.average_hexagon_edge_length(resolution) / KM_PER_DEGREE
    boxes = []
    for part in shapely.get_parts(area):
        west, south, east, north = shapely.bounds(part)
        south, north = max(south - margin, -90.0), min(north + margin, 90.0)
        highest = max(-south, north)
        if highest > POLAR:
            return [shapely.box(-180, -90, 180, 90)]
        aside = margin / math.cos(math.radians(highest))
        west, east = west - aside, east + aside
        # What lies beyond the 180th meridian lies on its other side.
        for shift in (-360, 0, 360):
            left, right = max(west + shift, -180.0), min(east + shift, 180.0)
            if left < right:
                boxes.append(shapely.box(left, south, right, north))
    return boxes


def square_kilometres(bounds: Bounds) -> float:
    """About how large a box is."""
    west, south, east, north = bounds
    middle = math.radians((south + north) / 2)
    return abs((east - west) * math.cos(middle) * (north - south)) * KM_PER_DEGREE**2

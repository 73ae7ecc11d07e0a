"""Overlaps and gaps of a layer that should tile the plane: wards, zones, blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely

from ingest.checks.problems import Place
from ingest.checks.shapes import square_metres
from layers.theme import METRES_PER_DEGREE

# Smaller overlaps and gaps, in square metres, are rounding.
OVERLAP_TOLERANCE = 0.01
GAP_TOLERANCE = 1.0

Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two features (by row) with a common area, in square metres, and a place in it (EPSG:4326)."""

    one: int
    other: int
    area: float
    place: Place


@dataclass(frozen=True, slots=True)
class Gap:
    """An area, in square metres, that features enclose and none covers; its mean width in metres, its neighbours."""

    area: float
    width: float
    place: Place
    neighbours: tuple[int, ...]


@dataclass
class Collected:
    """The polygons of a layer as they come, up to a number of features and vertices."""

    most_features: int
    most_vertices: int
    shapes: list[Shapes] = field(default_factory=list)
    ids: list[npt.NDArray[np.object_]] = field(default_factory=list)
    features: int = 0
    vertices: int = 0

    @property
    def is_full(self) -> bool:
        """Whether there were too many to keep."""
        return self.features > self.most_features or self.vertices > self.most_vertices

    def add(self, shapes: Shapes, ids: npt.NDArray[np.object_]) -> None:
        """Keep a batch, or give up all if they become too many."""
        self.features += len(shapes)
        self.vertices += int(shapely.get_num_coordinates(shapes).sum())
        if self.is_full:
            self.shapes, self.ids = [], []
            return
        self.shapes.append(shapes)
        self.ids.append(ids)

    def all(self) -> tuple[Shapes, npt.NDArray[np.object_]]:
        """Return all that was kept."""
        if not self.shapes:
            return np.empty(0, dtype=object), np.empty(0, dtype=object)
        return np.concatenate(self.shapes), np.concatenate(self.ids)


def overlaps(shapes: Shapes, tolerance: float = OVERLAP_TOLERANCE) -> list[Overlap]:
    """Return all pairs of valid polygons (EPSG:4326) that overlap by more than a tolerance, the largest overlap
    first.
    """
    suspects = np.flatnonzero(~shapely.is_empty(shapely.coverage_invalid_edges(shapes)))
    if not len(suspects):
        return []
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes[suspects], predicate="intersects")
    one = suspects[one]
    low, high = np.minimum(one, other), np.maximum(one, other)
    pairs = np.unique(np.column_stack([low, high])[low != high], axis=0)
    if not len(pairs):
        return []
    shared = shapely.intersection(shapes[pairs[:, 0]], shapes[pairs[:, 1]])
    area = square_metres(shared)
    real = np.flatnonzero(area > tolerance)
    inside = shapely.point_on_surface(shared[real])
    return [
        Overlap(int(pairs[i, 0]), int(pairs[i, 1]), float(area[i]), (float(p.x), float(p.y)))
        for i, p in sorted(zip(real, inside, strict=True), key=lambda each: -area[each[0]])
    ]


def gaps(shapes: Shapes, tolerance: float = GAP_TOLERANCE) -> list[Gap]:
    """Return all areas that valid polygons (EPSG:4326) enclose and none covers, the largest first."""
    if not len(shapes):
        return []
    parts = shapely.get_parts(shapely.union_all(shapes))
    rings = [ring for part in parts for ring in part.interiors] if len(parts) else []
    if not rings:
        return []
    holes = shapely.polygons(rings)
    area = square_metres(holes)
    width = 2 * area / (shapely.length(holes) * METRES_PER_DEGREE)
    order = [int(i) for i in np.argsort(-area) if area[i] > tolerance]
    tree = shapely.STRtree(shapes)
    found: list[Gap] = []
    for i in order:
        place = shapely.point_on_surface(holes[i])
        touching = tree.query(holes[i], predicate="intersects") if len(found) < 100 else np.empty(0, dtype=int)
        found.append(Gap(float(area[i]), float(width[i]), (place.x, place.y), tuple(int(n) for n in np.sort(touching))))
    return found

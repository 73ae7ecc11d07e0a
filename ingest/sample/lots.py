"""Lots along the edges of strips, and footprints fitted into lots. Metres; arrays over lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.plane import Floats, Geometries, settled
from ingest.sample.shapes import Integers, long_axis

# Footprints in a unit square whose lower side is the street front.
RECTANGLE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
L_SHAPE = np.array([[0, 0], [1, 0], [1, 0.58], [0.56, 0.58], [0.56, 1], [0, 1]], dtype=np.float64)
L_MIRRORED = np.array([[0, 0], [1, 0], [1, 1], [0.44, 1], [0.44, 0.58], [0, 0.58]], dtype=np.float64)
T_SHAPE = np.array([[0, 0.3], [0.28, 0.3], [0.28, 0], [0.72, 0], [0.72, 0.3], [1, 0.3], [1, 1], [0, 1]])
U_SHAPE = np.array([[0, 0], [0.24, 0], [0.24, 0.7], [0.76, 0.7], [0.76, 0], [1, 0], [1, 1], [0, 1]])
H_SHAPE = np.array([[0, 0], [0.36, 0], [0.36, 0.36], [0.64, 0.36], [0.64, 0], [1, 0], [1, 1], [0.64, 1],
                    [0.64, 0.64], [0.36, 0.64], [0.36, 1], [0, 1]])  # fmt: skip
CROSS = np.array([[0.3, 0], [0.7, 0], [0.7, 0.3], [1, 0.3], [1, 0.7], [0.7, 0.7], [0.7, 1], [0.3, 1], [0.3, 0.7],
                  [0, 0.7], [0, 0.3], [0.3, 0.3]])  # fmt: skip
CHAMFERED = np.array([[0.16, 0], [0.84, 0], [1, 0.16], [1, 0.84], [0.84, 1], [0.16, 1], [0, 0.84], [0, 0.16]])
_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
ROUND = 0.5 + 0.5 * np.column_stack([np.cos(_TURN), np.sin(_TURN)])
SLANTED = np.array([[0, 0.14], [0.86, 0], [1, 0.82], [0.12, 1]])
# A front that slants more than this against its row would make a crooked lot.
STEEPEST = 0.62


@dataclass(frozen=True)
class Lots:
    """Four-cornered lots: corners front-left, front-right, rear-right, rear-left; strip, row and place in the row."""

    corners: Floats
    strip: Integers
    row: Integers
    place: Integers

    def __len__(self) -> int:
        return len(self.strip)

    def take(self, mask: npt.NDArray[Any]) -> Lots:
        """Those of a mask or an index."""
        return Lots(self.corners[mask], self.strip[mask], self.row[mask], self.place[mask])

    @property
    def width(self) -> Floats:
        """Front, in metres."""
        width: Floats = np.hypot(*(self.corners[:, 1] - self.corners[:, 0]).T)
        return width

    @property
    def depth(self) -> Floats:
        """Depth in metres, the mean of both sides."""
        c = self.corners
        depth: Floats = (np.hypot(*(c[:, 3] - c[:, 0]).T) + np.hypot(*(c[:, 2] - c[:, 1]).T)) / 2
        return depth


def _chains(ring: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest v of a closed ring over each u."""
    a, b = ring[:-1], ring[1:]
    run = b[:, 0] - a[:, 0]
    upright = np.abs(run) < 1e-9
    t = (u[None, :] - a[:, :1]) / np.where(upright, 1.0, run)[:, None]
    on = (t >= -1e-9) & (t <= 1 + 1e-9) & ~upright[:, None]
    v = a[:, 1:] + t * (b[:, 1] - a[:, 1])[:, None]
    return np.where(on, v, np.inf).min(axis=0), np.where(on, v, -np.inf).max(axis=0)


def _stretch(ring: Floats) -> tuple[float, float]:
    """Return where along u the land is deep enough for rows: slanted and pointed ends stay open."""
    u = np.linspace(ring[:, 0].min() + 1e-6, ring[:, 0].max() - 1e-6, 41)
    low, high = _chains(ring, u)
    depth = high - low
    deep = np.flatnonzero(depth >= 0.74 * np.sort(depth)[26])
    return float(u[deep[0]]), float(u[deep[-1]])


def _fronts(length: float, low: float, high: float, rng: np.random.Generator) -> Floats:
    """Distances of the side walls from the strip's end."""
    mean = (low + high) / 2
    count = max(1, round(length / mean))
    widths = np.clip(rng.normal(mean, (high - low) / 3, count), low, high)
    widths *= np.where(rng.uniform(size=count) < 0.05, 1.7, 1.0)
    return np.concatenate([[0.0], np.cumsum(widths) * (length / widths.sum())])


def rows(strips: Geometries, front: tuple[float, float], deepest: float, shallowest: float,
         rng: np.random.Generator, is_single: bool = False, turned: float = 0.0) -> Lots:  # fmt: skip
    """Line each strip with lots: two rows back to back where it is deep enough, else one.

    `front` is the range of lot fronts; `turned` (radians) turns the rows against the strip's long axis.
    """
    corners, strip, row, place = [], [], [], []
    angles = long_axis(strips) + turned
    for i, (area, angle) in enumerate(zip(strips, angles, strict=True)):
        cos, sin = np.cos(angle), np.sin(angle)
        xy = shapely.get_coordinates(shapely.get_exterior_ring(area))
        ring = np.column_stack([xy[:, 0] * cos + xy[:, 1] * sin, xy[:, 1] * cos - xy[:, 0] * sin])
        start, end = _stretch(ring)
        u = start + _fronts(end - start, *front, rng)
        low, high = _chains(ring, u)
        middle = (low + high) / 2
        if is_single or np.median(high - low) < 2 * shallowest + 1.5:
            sides = [(low, np.minimum(high - low, 2 * deepest))]
        else:
            sides = [(low, middle - low), (high, middle - high)]
        for k, (edge, reach) in enumerate(sides):
            depth = np.sign(reach) * np.minimum(np.abs(reach), deepest)
            back = edge + depth
            left = np.arange(len(u) - 1)
            quad = np.stack([
                np.column_stack([u[left], edge[left]]), np.column_stack([u[left + 1], edge[left + 1]]),
                np.column_stack([u[left + 1], back[left + 1]]), np.column_stack([u[left], back[left]]),
            ], axis=1)  # fmt: skip
            fits = np.maximum(np.abs(depth[left]), np.abs(depth[left + 1])) >= shallowest
            fits &= np.abs(edge[left + 1] - edge[left]) <= STEEPEST * (u[left + 1] - u[left])
            fits &= np.abs(depth[left]) + np.abs(depth[left + 1]) >= 1.3 * shallowest
            corners.append(
                np.stack([quad[..., 0] * cos - quad[..., 1] * sin, quad[..., 0] * sin + quad[..., 1] * cos], -1)[fits]
            )
            strip.append(np.full(fits.sum(), i))
            row.append(np.full(fits.sum(), k))
            place.append(np.flatnonzero(fits))
    if not corners:
        return Lots(np.zeros((0, 4, 2)), *(np.zeros(0, dtype=np.int64) for _ in range(3)))
    return Lots(settled(np.concatenate(corners)), *(np.concatenate(v).astype(np.int64) for v in (strip, row, place)))


def fit(lots: Lots, shape: Floats, left: npt.ArrayLike, right: npt.ArrayLike, front: npt.ArrayLike,
        rear: npt.ArrayLike) -> Geometries:  # fmt: skip
    """Draw a unit shape into lots, leaving so many metres free at the left, right, front and rear."""
    width, depth = np.maximum(lots.width, 0.1), np.maximum(lots.depth, 0.1)
    s0, s1 = np.asarray(left) / width, 1 - np.asarray(right) / width
    t0, t1 = np.asarray(front) / depth, 1 - np.asarray(rear) / depth
    s = s0[:, None] + shape[None, :, 0] * (s1 - s0)[:, None]
    t = t0[:, None] + shape[None, :, 1] * (t1 - t0)[:, None]
    a, b, c, d = (lots.corners[:, k][:, None, :] for k in range(4))
    s, t = s[..., None], t[..., None]
    xy = (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * d + s * c)
    return shapely.orient_polygons(shapely.polygons(xy)) if len(xy) else np.array([], dtype=object)


def keep_inside(footprints: Geometries, land: Geometries, smallest: float) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Trim footprints to their land; say which are still whole, simple and at least so large (m2)."""
    shapely.prepare(land)
    trimmed = footprints.copy()
    before = shapely.area(footprints)
    over = ~shapely.covers(land, footprints)
    good = shapely.is_valid(footprints)
    over &= good
    trimmed[over] = shapely.intersection(footprints[over], shapely.buffer(land[over], -0.02, quad_segs=1))
    after = shapely.area(trimmed)
    good &= (shapely.get_type_id(trimmed) == 3) & (after >= np.maximum(smallest, 0.45 * before))
    return trimmed, good & shapely.is_valid(trimmed)

"""Curves, frames and small geometry that the parts of the sample city share. All lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.plane import Floats, Geometries, settled

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Waves:
    """A smooth random field over the plane, about -1 to 1: a sum of plane waves of one typical wavelength."""

    vectors: Floats
    phases: Floats

    @classmethod
    def random(cls, rng: np.random.Generator, wavelength: float, count: int = 9) -> Waves:
        """Draw a field whose features are about half a wavelength wide."""
        angle = rng.uniform(0, 2 * np.pi, count)
        number = 2 * np.pi / (wavelength * rng.uniform(0.65, 1.6, count))
        return cls(
            np.column_stack([np.cos(angle), np.sin(angle)]) * number[:, None],
            rng.uniform(0, 2 * np.pi, count),
        )

    def at(self, xy: Floats) -> Floats:
        """Value of the field at (n, 2) points."""
        # Not a matrix product: BLAS adds in an order that differs from machine to machine.
        angle = xy[:, :1] * self.vectors[:, 0] + xy[:, 1:] * self.vectors[:, 1] + self.phases
        total: Floats = np.sin(angle).sum(axis=1)
        rounded: Floats = np.round(total / np.sqrt(len(self.phases)), 9)
        return rounded


def hermite(start: npt.ArrayLike, start_tangent: npt.ArrayLike, end: npt.ArrayLike, end_tangent: npt.ArrayLike,
            count: int = 30) -> Floats:  # fmt: skip
    """Return points of the cubic curve from start to end with the given tangents (whose lengths say how far they
    reach).
    """
    t = np.linspace(0, 1, count)[:, None]
    p0, m0, p1, m1 = (np.asarray(v, dtype=np.float64) for v in (start, start_tangent, end, end_tangent))
    return (2 * t**3 - 3 * t**2 + 1) * p0 + (t**3 - 2 * t**2 + t) * m0 + (3 * t**2 - 2 * t**3) * p1 + (t**3 - t**2) * m1


def normals(points: Floats) -> Floats:
    """Unit normals, to the left of the way, at each point of a polyline."""
    step = np.gradient(points, axis=0)
    step /= np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]
    return np.column_stack([-step[:, 1], step[:, 0]])


def meander(points: Floats, amplitude: float, rng: np.random.Generator, waves: int = 4) -> Floats:
    """Sway a polyline sideways, not at its ends."""
    t = np.linspace(0, 1, len(points))
    sway = sum(
        rng.normal(0, 1 / np.sqrt(k)) * np.sin(2 * np.pi * k * t + rng.uniform(0, 6.28)) for k in range(1, waves + 1)
    )
    return settled(points + normals(points) * (amplitude * 0.6 * sway * np.sin(np.pi * t) ** 0.7)[:, None])


def ribbon(points: Floats, widths: Floats) -> shapely.Polygon:
    """Return the strip of the given widths along a polyline."""
    side = normals(points) * (widths / 2)[:, None]
    return shapely.make_valid(shapely.Polygon(np.vstack([points + side, (points - side)[::-1]])))


def parts(geometries: Geometries, kind: int, smallest: float = 0.0) -> tuple[Geometries, Integers]:
    """Single parts of one kind (1 line, 3 polygon) at least so large (m or m2), and which input each came from."""
    flat, source = shapely.get_parts(np.asarray(geometries, dtype=object), return_index=True)
    flat, deeper = shapely.get_parts(flat, return_index=True)
    source = source[deeper]
    size = shapely.length(flat) if kind == 1 else shapely.area(flat)
    keep = (shapely.get_type_id(flat) == kind) & (size > smallest)
    return flat[keep], source[keep]


def without_spikes(polygons: Geometries, width: float = 1.5) -> Geometries:
    """Polygons without what is narrower than `width`."""
    thinner = shapely.buffer(polygons, -width / 2, join_style="mitre")
    opened: Geometries = shapely.intersection(shapely.buffer(thinner, width / 2, join_style="mitre"), polygons)
    return opened


def long_axis(polygons: Geometries) -> Floats:
    """Angle in radians of the longer side of each polygon's tightest rectangle."""
    if not len(polygons):
        return np.zeros(0)
    envelopes = shapely.oriented_envelope(polygons)
    ring = np.zeros((len(polygons), 3, 2))
    for k in range(3):
        point = shapely.get_point(shapely.get_exterior_ring(envelopes), k)
        ring[:, k, 0], ring[:, k, 1] = shapely.get_x(point), shapely.get_y(point)
    first, second = ring[:, 1] - ring[:, 0], ring[:, 2] - ring[:, 1]
    is_first = np.hypot(*first.T) >= np.hypot(*second.T)
    side = np.where(is_first[:, None], first, second)
    return np.nan_to_num(np.arctan2(side[:, 1], side[:, 0]))


def extents(polygons: Geometries, angle: Floats) -> Floats:
    """Bounds (u0, v0, u1, v1) of each polygon in the frame turned by its angle."""
    xy, index = shapely.get_coordinates(polygons, return_index=True)
    cos, sin = np.cos(angle)[index], np.sin(angle)[index]
    uv = np.column_stack([xy[:, 0] * cos + xy[:, 1] * sin, xy[:, 1] * cos - xy[:, 0] * sin])
    starts = np.searchsorted(index, np.arange(len(polygons)))
    return np.hstack([np.minimum.reduceat(uv, starts), np.maximum.reduceat(uv, starts)])


def centers(geometries: Geometries) -> Floats:
    """Centroids as (n, 2)."""
    points = shapely.centroid(geometries)
    return np.column_stack([shapely.get_x(points), shapely.get_y(points)])


def along(line: shapely.LineString, starts: Floats, ends: Floats) -> list[shapely.LineString]:
    """Return the stretches of a line between pairs of distances from its beginning."""
    xy = shapely.get_coordinates(line)
    where = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    cut = []
    for a, b in zip(starts, ends, strict=True):
        inner = (where > a + 1e-6) & (where < b - 1e-6)
        d = np.concatenate([[a], where[inner], [b]])
        cut.append(shapely.LineString(np.column_stack([np.interp(d, where, xy[:, 0]), np.interp(d, where, xy[:, 1])])))
    return cut


def spaced(xy: Floats, order: Integers, distance: float, most: int | None = None) -> Integers:
    """Take points in the given order, none nearer than `distance` to one taken before."""
    taken: list[int] = []
    for i in order:
        if most is not None and len(taken) >= most:
            break
        if not taken or np.min(np.hypot(*(xy[taken] - xy[i]).T)) >= distance:
            taken.append(int(i))
    return np.array(taken, dtype=np.int64)

"""Geometry: brought to EPSG:4326 and to the theme's kind, mended where it crosses itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.checks.faults import Faults, Mask
from layers.theme import METRES_PER_DEGREE, GeometryKind
from twin.cells.cover import Measured, measure
from twin.crs import to_wgs84
from twin.text import Text

Shapes = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]

DIMENSION: dict[GeometryKind, int] = {"point": 0, "line": 1, "polygon": 2}
KIND_NAMES: dict[str, Text] = {
    "point": Text(en="points", vi="điểm"), "line": Text(en="lines", vi="đường"),
    "polygon": Text(en="polygons", vi="vùng"),
}  # fmt: skip
# By shapely's numbers of types.
TYPE_NAMES = (
    Text(en="a point", vi="điểm"), Text(en="a line", vi="đường"), Text(en="a ring", vi="vòng khép kín"),
    Text(en="a polygon", vi="vùng"), Text(en="points", vi="nhiều điểm"), Text(en="lines", vi="nhiều đường"),
    Text(en="polygons", vi="nhiều vùng"), Text(en="a collection", vi="tập hợp hình"),
)  # fmt: skip

# By the same numbers, and what is missing at the end, for its number is −1.
_COLLECTION = 7
_DIMENSIONS = np.array([0, 1, 1, 2, 0, 1, 2, 2, -1])
_POLYGONAL = np.array([False, False, False, True, False, False, True, False, False])

# How far from the city's outline a feature may lie, in degrees, before it is taken for a mistake.
STRAY_DEGREES = 0.5
MOST_DEGREES = 400.0
# A polygon whose mean width is less than this, in metres, is a sliver.
SLIVER_METRES = 0.2


@dataclass(frozen=True, slots=True)
class UsualPlace:
    """Middle of most features of a file (EPSG:4326), and the distance in degrees beyond which one is a stray."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class CheckedShapes:
    """A batch's geometry: as it came but in EPSG:4326, as it is published, how many shapes were mended, and what the
    coordinates of those that are published tell.
    """

    arrived: Shapes
    shapes: Shapes
    mended: int
    measured: Measured


def area_of(outline: BaseGeometry) -> BaseGeometry:
    """Return the city and as far around it as features may lie."""
    near = shapely.buffer(outline, STRAY_DEGREES, quad_segs=2)
    shapely.prepare(near)
    return near


# Coordinates of hostile files overflow on the way; what comes out infinite is found and set aside.
@np.errstate(all="ignore")
def check_shapes(
    original: Shapes,
    kind: GeometryKind,
    crs: Any,
    near: BaseGeometry,
    faults: Faults,
    usual_place: UsualPlace | None = None,
) -> CheckedShapes:
    """Check and mend the geometry of a batch, given in `crs`."""
    empty = shapely.is_missing(original) | shapely.is_empty(original)
    # Rows that are set aside already, for a key that names nothing, have no geometry for that reason.
    faults.add(empty & faults.none, "geometry.missing")
    measured = measure(original)
    whole = _finite(measured)
    faults.add(~empty & ~whole, "geometry.not_finite")
    sound = original if whole.all() and not empty.any() else _only(~empty & whole, original)
    arrived = to_wgs84(sound, crs)
    if arrived is not original:
        measured = measure(arrived)
    reached = _finite(measured) & _on_earth(measured.bounds)
    faults.add(~empty & whole & ~reached, "geometry.outside_crs")
    usable = ~empty & whole & reached

    shapes, mended = arrived if usable.all() else _only(usable, arrived), 0
    flat = np.zeros(len(original), dtype=bool)
    types = shapely.get_type_id(arrived)
    if kind == "polygon":
        shapes, mended, flat = _mend(shapes, usable & ~convex(types, measured), _POLYGONAL[types], faults)
    shapes = _of_kind(shapes, types if shapes is arrived else shapely.get_type_id(shapes), kind)
    faults.add(usable & ~flat & shapely.is_missing(shapes), "geometry.kind", lambda row: Text(
        en="{wanted} are expected, and this is {found}", vi="cần {wanted}, nhưng đây là {found}"
    ).format(wanted=KIND_NAMES[kind], found=TYPE_NAMES[types[row]]))  # fmt: skip
    shapes, again = _verified(shapes, arrived, kind, faults)
    mended += again
    there = ~shapely.is_missing(shapes)
    if shapes is not arrived:
        measured = measure(shapes)
    if kind != "point":
        _extent(shapes, measured.bounds, there, kind, faults)
    _place(shapes, measured.bounds, there, near, usual_place, faults)
    return CheckedShapes(arrived, shapes, mended, measured)


def finite(shapes: Shapes) -> Mask:
    """Return which geometries have numbers for all their coordinates."""
    return _finite(measure(shapes))


def _finite(measured: Measured) -> Mask:
    sound = np.ones(len(measured.bounds), dtype=bool)
    numbers = np.isfinite(measured.coordinates)
    if not numbers.all():
        sound[measured.owner[~numbers.all(axis=1)]] = False
    return sound


def _on_earth(bounds: Floats) -> Mask:
    """Return which geometries have coordinates that could be degrees, be they swapped or once around the earth.

    Far beyond, sums of coordinates overflow, and no geometry can be mended or even be called valid.
    """
    west, south, east, north = bounds.T
    there: Mask = (west >= -MOST_DEGREES) & (east <= MOST_DEGREES) & (south >= -MOST_DEGREES) & (north <= MOST_DEGREES)
    return there


def square_metres(shapes: Shapes, bounds: Floats | None = None) -> Floats:
    """Return area of polygons in EPSG:4326, with degrees scaled at their latitude."""
    bounds = shapely.bounds(shapes) if bounds is None else bounds
    latitude = np.radians((bounds[:, 1] + bounds[:, 3]) / 2)
    area: Floats = shapely.area(shapes) * METRES_PER_DEGREE**2 * np.cos(latitude)
    return area


def _only(where: Mask, values: Shapes) -> Shapes:
    """Return the values there, and None elsewhere."""
    kept = np.full(len(values), None, dtype=object)
    kept[where] = values[where]
    return kept


# Twice the most that rounding can add to a cross product of differences, as a share of its terms, and some more for
# numbers so small that they lose digits.
_CROSS_ERROR, _CROSS_LEAST = 1e-15, 1e-300


@np.errstate(all="ignore")
def convex(types: npt.NDArray[np.integer], measured: Measured) -> Mask:
    """Return which polygons surely are one convex ring, and therefore valid: most buildings, at a third of the cost.

    The ring turns the same way at each corner, and once around. Where rounding could hide what it does, the answer is
    no. With a hole or several parts the way turns back somewhere, or goes around more than once: each ring alone
    turns by more than half.
    """
    owner = measured.owner
    found: Mask = np.zeros(len(types), dtype=bool)
    if not len(owner):
        return found
    ends = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    starts = np.append(0, ends[:-1] + 1)
    x, y = (np.ascontiguousarray(column) for column in measured.coordinates.T)
    # Edges begin at each corner but the last, and the edge after the last of a ring is its first.
    edges = x.copy(), y.copy()
    after = []
    for numbers, edge in zip((x, y), edges, strict=True):
        edge[:-1] = numbers[1:] - numbers[:-1]
        edge[ends] = edge[starts]
        after.append(np.append(edge[1:], 0.0))
    (ex, ey), (fx, fy) = edges, after
    one, other = ex * fy, ey * fx
    turn = one - other
    doubt = (np.abs(one) + np.abs(other)) * _CROSS_ERROR + _CROSS_LEAST
    left, right = turn > doubt, turn < -doubt
    # How often the way goes over from upwards to downwards and back: twice for each time around.
    up = (ey > 0) | ((ey == 0) & (ex > 0))
    flips = np.append(up[1:] != up[:-1], False)
    # The last corner stands for the first once more.
    left[ends] = right[ends] = True
    flips[ends] = False
    turns = np.logical_and.reduceat(left, starts) | np.logical_and.reduceat(right, starts)
    around = np.add.reduceat(flips, starts, dtype=np.int64) == 2
    found[owner[starts]] = turns & around
    polygonal: npt.NDArray[np.bool_] = found & _POLYGONAL[types]
    return polygonal


def _mend(shapes: Shapes, doubtful: Mask, polygonal: Mask, faults: Faults) -> tuple[Shapes, int, Mask]:
    """Mend polygons that cross themselves; return them, how many were mended, and which have no area to keep."""
    broken = doubtful.copy()
    broken[doubtful] = ~shapely.is_valid(shapes[doubtful])
    if not broken.any():
        return shapes, 0, broken
    before = np.abs(square_metres(shapes))
    shapes = shapes.copy()
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    after = square_metres(shapes)
    kept = broken & (after > 0)
    faults.add(kept, "geometry.crossing", lambda row: Text(
        en="area {before:,.1f} m² → {after:,.1f} m²", vi="diện tích {before:,.1f} m² → {after:,.1f} m²"
    ).format(before=before[row], after=after[row]))  # fmt: skip
    flat = broken & polygonal & ~kept
    faults.add(flat, "geometry.no_area")
    return shapes, int(kept.sum()), flat


def _verified(shapes: Shapes, arrived: Shapes, kind: GeometryKind, faults: Faults) -> tuple[Shapes, int]:
    """Check again what was taken out of collections or mended; what stays invalid is set aside.

    Parts of a collection are valid by themselves and may yet overlap as one geometry.
    """
    there = ~shapely.is_missing(shapes)
    if kind == "point" or not there.any():
        return shapes, 0
    doubtful = there
    if kind == "polygon":
        # All others were looked at before.
        changed = np.fromiter((a is not b for a, b in zip(shapes, arrived, strict=True)), np.bool_, len(shapes))
        doubtful = there & changed
    broken = doubtful.copy()
    broken[doubtful] = ~shapely.is_valid(shapes[doubtful])
    if not broken.any():
        return shapes, 0
    shapes = shapes.copy()
    for row in np.flatnonzero(broken):
        shapes[row] = _sound(shapes[row], DIMENSION[kind])
    invalid = broken & (shapely.is_missing(shapes) | ~shapely.is_valid(shapes))
    # A line of one place has no length, which has a problem of its own.
    flat = invalid & (shapely.length(arrived) == 0)
    faults.add(invalid & ~flat, "geometry.invalid")
    shapes[invalid] = None
    shapes[flat] = arrived[flat]
    return shapes, int((broken & ~invalid).sum())


def _sound(shape: BaseGeometry, dimension: int) -> BaseGeometry | None:
    """Mend a geometry of lines or polygons: parts without extent go, those that overlap become one."""
    parts = shapely.get_parts(shape)
    if dimension == 1:
        parts = parts[shapely.length(parts) > 0]
        if len(parts) < 2:
            return parts[0] if len(parts) else None
        return shapely.multilinestrings(parts)
    try:
        union = shapely.union_all(shapely.make_valid(parts, method="structure", keep_collapsed=False))
    except shapely.GEOSException:
        return None
    return _parts_of(union, dimension) if union.geom_type == "GeometryCollection" else union


def _extent(shapes: Shapes, bounds: Floats, there: Mask, kind: GeometryKind, faults: Faults) -> None:
    length = shapely.length(shapes) * METRES_PER_DEGREE
    if kind == "line":
        faults.add(there & (length == 0), "geometry.no_area")
        return
    area = square_metres(shapes, bounds)
    faults.add(there & (area == 0), "geometry.no_area")
    width = 2 * area / length
    faults.add(there & (area > 0) & (width < SLIVER_METRES), "geometry.sliver", lambda row: Text(
        en="{area:,.2f} m², {width:.2f} m wide", vi="{area:,.2f} m², rộng {width:.2f} m"
    ).format(area=area[row], width=width[row]))  # fmt: skip


def _place(
    shapes: Shapes, bounds: Floats, there: Mask, near: BaseGeometry, usual_place: UsualPlace | None, faults: Faults
) -> None:
    inside = _near(shapes, bounds, near)
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    faults.add(there & ~inside, "geometry.outside_city", lambda row: Text(
        en="{km:,.0f} km from the city", vi="cách thành phố {km:,.0f} km"
    ).format(km=(shapely.distance(near, shapes[row]) + STRAY_DEGREES) * METRES_PER_DEGREE / 1000))  # fmt: skip
    if usual_place is not None:
        away = np.hypot(x - usual_place.x, y - usual_place.y)
        faults.add(there & inside & (away > usual_place.radius), "geometry.stray", lambda row: Text(
            en="{km:,.0f} km from the others", vi="cách các đối tượng khác {km:,.0f} km"
        ).format(km=away[row] * METRES_PER_DEGREE / 1000))  # fmt: skip


def _near(shapes: Shapes, bounds: Floats, near: BaseGeometry) -> Mask:
    """Return which shapes touch an area; one test serves all of them if their common box lies in it."""
    boxed = bounds[~np.isnan(bounds[:, 0])]
    if len(boxed) and shapely.covers(near, shapely.box(*boxed[:, :2].min(axis=0), *boxed[:, 2:].max(axis=0))):
        return ~np.isnan(bounds[:, 0])
    touching: Mask = shapely.intersects(near, shapes)
    return touching


def _of_kind(shapes: Shapes, types: npt.NDArray[np.integer], kind: GeometryKind) -> Shapes:
    """Keep geometries of the kind; from others take the parts of the kind, or a point on a surface or line."""
    dimension = DIMENSION[kind]
    own = _DIMENSIONS[types]
    mixed = np.flatnonzero(types == _COLLECTION)
    if len(mixed):
        shapes = shapes.copy()
        for i in mixed:
            shapes[i] = _parts_of(shapes[i], dimension)
        own = shapely.get_dimensions(shapes)
    if kind == "point":
        wider = own > 0
        if wider.any():
            shapes = shapes.copy()
            shapes[wider] = shapely.point_on_surface(shapes[wider])
            own = shapely.get_dimensions(shapes)
    fitting = (own == dimension) & ~shapely.is_empty(shapes)
    return shapes if fitting.all() else _only(fitting, shapes)


def _parts_of(collection: BaseGeometry, dimension: int) -> BaseGeometry | None:
    parts = np.array([collection], dtype=object)
    while (shapely.get_type_id(parts) >= 4).any():
        parts = shapely.get_parts(parts)
    parts = parts[shapely.get_dimensions(parts) == dimension]
    if not len(parts):
        return None
    if len(parts) == 1:
        return parts[0]
    return (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimension](parts)

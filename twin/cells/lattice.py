"""The plane in which the H3 cells of a region are a regular lattice, and the way there from degrees."""

from __future__ import annotations

from dataclasses import dataclass

import h3
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EARTH_KM = 6371.0
# Half the side of a cell, where neighbouring centres are one apart; and the height of a triangle of centres.
_HALF_SIDE = 1 / np.sqrt(12)
_HEIGHT = np.sqrt(3) / 2
# A point this near to the border of two cells belongs to either: rounding decides.
_ON_THE_BORDER = 1e-6
# The sample has this many rows and columns of cells, reaches some cells and a twentieth of the region beyond it, for
# a box of degrees bulges in the plane, and is at least so many cells wide that the projection shows.
_SAMPLES = 7
_BEYOND_CELLS = 3
_BEYOND_SHARE = 0.05
_REACH_CELLS = 12
# Degrees to each side of the middle: what is farther away may lie behind the projection's horizon.
_WIDEST = 30.0
_NORTHERNMOST = 85.0
# Percent of the points at each end that may lie astray, in another region of the earth than the others.
_ASTRAY = 5
# Columns and rows of hexagons, each of less than 30 bits, make one number.
_SHIFT = 31
# A segment is halved until its pieces are short, and then where it cuts off the corner of a hexagon, until a point lies
# in that. One longer than so many cells is not followed: it would take much memory to no gain.
_LONGEST = 64
_HALVINGS = 10


@dataclass(frozen=True, slots=True)
class Lattice:
    """A plane where the centres of neighbouring cells are one apart and every cell is a regular hexagon.

    H3 projects each face of an icosahedron from the earth's centre onto a plane (gnomonic), where its grid is regular:
    a matrix leads from unit vectors to homogeneous coordinates of that plane. It is found here from the centres of
    some cells and their places in the grid, and has to fit all of them. Where a region crosses an edge of the
    icosahedron or holds one of the twelve pentagons, it does not, and the region has no lattice.
    Source: H3's documentation, “Overview of the H3 geospatial indexing system” and “Local IJ coordinates”.

    `bow` is how far a straight line of degrees, three cells long, may be from a straight line in the plane. `box` is
    where the lattice is known (west, south, east, north in degrees).
    """

    matrix: Floats
    bow: float
    box: Floats

    def holds(self, coordinates: Floats) -> Mask:
        """Tell which points (n × 2, degrees) lie where the lattice is known."""
        (x, y), (west, south, east, north) = coordinates.T, self.box
        there: Mask = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        return there

    def places(self, coordinates: Floats) -> Floats:
        """Where points (n × 2, degrees) that the lattice holds lie in the plane (2 × n)."""
        # Not the operator @: its library's threads spin for a while after each call, and hold up the other cores' work.
        across, along, away = np.einsum("ij,jn->in", self.matrix, _unit_vectors(coordinates))
        across /= away
        along /= away
        return np.stack([across, along])


def lattice_of(coordinates: Floats, resolution: int) -> Lattice | None:
    """Find the lattice of the region of some points (n × 2, degrees), or of most of them if some lie astray."""
    # A column at a time: numpy is ten times slower along rows of two.
    box = np.array([column.min() for column in coordinates.T] + [column.max() for column in coordinates.T])
    if (lattice := _lattice_in(box, resolution)) is not None:
        return lattice
    if not np.isfinite(box).all():
        return None
    low, high = np.percentile(coordinates, (_ASTRAY, 100 - _ASTRAY), axis=0)
    return _lattice_in(np.concatenate([low - (high - low) / 2, high + (high - low) / 2]), resolution)


def _lattice_in(box: Floats, resolution: int) -> Lattice | None:
    west, south, east, north = map(float, box)
    # Written so that what is no number has no lattice.
    if not (south > -_NORTHERNMOST and north < _NORTHERNMOST and east - west < 2 * _WIDEST):
        return None
    spacing = h3.average_hexagon_edge_length(resolution) * np.sqrt(3)
    cell = float(np.degrees(spacing / _EARTH_KM))
    tall = _reach((north - south) / 2, cell)
    middle = (west + east) / 2, (south + north) / 2
    farthest = abs(middle[1]) + tall
    wide = _reach((east - west) / 2, cell / float(np.cos(np.radians(min(farthest, _NORTHERNMOST)))))
    if not (farthest < _NORTHERNMOST and wide < _WIDEST and tall < _WIDEST):
        return None
    steps = np.linspace(-1, 1, _SAMPLES)
    cells = [h3.latlng_to_cell(middle[1] + y * tall, middle[0] + x * wide, resolution) for y in steps for x in steps]
    try:
        i, j = np.array([h3.cell_to_local_ij(cells[len(cells) // 2], cell) for cell in cells], dtype=np.float64).T
    except h3.H3BaseException:
        return None
    # The axes of i and j are a third of a turn apart.
    places = np.stack([i - j / 2, j * _HEIGHT])
    places -= places[:, len(cells) // 2, None]
    matrix = _projection(_unit_vectors(np.array([h3.cell_to_latlng(c)[::-1] for c in cells])), places)
    if matrix is None:
        return None
    # A parallel is bent by the tangent of its latitude, and an arc's middle is length² · bend / 8 from its chord's:
    # nine eighths; two, for cells are not all of the same size.
    bow = 2 * spacing / _EARTH_KM * float(np.tan(np.radians(farthest)))
    return Lattice(matrix, bow, box)


def hexagons(places: Floats) -> tuple[Int64, Mask]:
    """Give a number to the hexagon of each point of the plane (2 × n), the same for all points in it.

    Tells as well which points lie so near to the hexagon's border that they may belong to another one.
    Source of the rounding: Red Blob Games, “Hexagonal Grids”, rounding of cube coordinates.
    """
    r = places[1] / _HEIGHT
    q = places[0] - r / 2
    column, row, third = np.rint(q), np.rint(r), np.rint(-q - r)
    # Three roundings that do not sum up to none: the one that moved its number farthest follows from the others.
    by_q, by_r, by_s = np.abs(column - q), np.abs(row - r), np.abs(third + q + r)
    of_q = (by_q > by_r) & (by_q > by_s)
    of_r = ~of_q & (by_r > by_s)
    column = np.where(of_q, -row - third, column)
    row = np.where(of_r, -column - third, row)
    # As seen from the hexagon's centre; half the difference of two is how far the point is towards a neighbour.
    a, b = q - column, r - row
    c = -a - b
    outwards = np.maximum(np.maximum(np.abs(a - b), np.abs(b - c)), np.abs(c - a)) / 2
    return (column.astype(np.int64) << _SHIFT) + row.astype(np.int64), outwards > 0.5 - _ON_THE_BORDER


def centres(number: Int64) -> Floats:
    """Return the centres of hexagons, in the plane (2 × n)."""
    half = 1 << _SHIFT - 1
    row = ((number + half) & ((1 << _SHIFT) - 1)) - half
    column = (number - row) >> _SHIFT
    return np.stack([column + row / 2, row * _HEIGHT])


@dataclass(frozen=True, slots=True)
class Path:
    """Points in the order in which paths pass them: in `coordinates` (n × 2, degrees) and as `places` of the plane
    (2 × n), the `number` of each one's hexagon, whether it is `on_border`, and the path that each belongs to.
    """

    coordinates: Floats
    places: Floats
    number: Int64
    on_border: Mask
    path: Int64

    @classmethod
    def of(cls, lattice: Lattice, coordinates: Floats, path: Int64) -> Path:
        """Bring points (n × 2, degrees) of paths to the plane. What the lattice does not hold counts as on a border."""
        held = lattice.holds(coordinates)
        if held.all():
            places = lattice.places(coordinates)
            return cls(coordinates, places, *hexagons(places), path)
        places = lattice.places(np.where(held[:, None], coordinates, lattice.box[:2]))
        number, on_border = hexagons(places)
        return cls(coordinates, places, number, on_border | ~held, path)

    def some(self, which: npt.NDArray[np.intp]) -> Path:
        """Return the points of these positions."""
        return Path(
            self.coordinates.take(which, axis=0), self.places.take(which, axis=1), self.number.take(which),
            self.on_border.take(which), self.path.take(which),
        )  # fmt: skip

    def __add__(self, other: Path) -> Path:
        """These points, and others after them."""
        return Path(
            np.concatenate([self.coordinates, other.coordinates]),
            np.concatenate([self.places, other.places], axis=1),
            np.concatenate([self.number, other.number]),
            np.concatenate([self.on_border, other.on_border]),
            np.concatenate([self.path, other.path]),
        )


def follow(lattice: Lattice, start: Path, end: Path) -> tuple[Path, Int64]:
    """Follow segments from each point of `start` to that of `end`, from hexagon to hexagon.

    Gives points in the hexagons that are met between the ends, and the paths of which a segment is very long, or passes
    so near to a corner of the grid that it is not sure which hexagons it meets. Hexagons are convex: a segment whose
    ends lie in one stays there. One that passes into the next through the common side meets no third. Any other is
    halved.
    """
    met = start.some(np.empty(0, np.intp))
    short = np.hypot(*(end.places - start.places)) <= _LONGEST
    too_long = start.path[~short]
    start, end = start.some(np.flatnonzero(short)), end.some(np.flatnonzero(short))
    left = _unsure(lattice, start, end)
    for _ in range(_HALVINGS):
        if not len(left):
            break
        start, end = start.some(left), end.some(left)
        middle = Path.of(lattice, (start.coordinates + end.coordinates) / 2, start.path)
        met += middle
        start, end = start + middle, middle + end
        left = _unsure(lattice, start, end)
    return met, np.concatenate([start.path[left], met.path[met.on_border], too_long])


def _unsure(lattice: Lattice, start: Path, end: Path) -> npt.NDArray[np.intp]:
    """Give the positions of segments that might meet more hexagons than those of their ends.

    The others stay in one, or surely pass into the next through their common side, which stands on the middle between
    the two centres and reaches half its length to each way from there.
    """
    leaving = np.flatnonzero(start.number != end.number)
    near = centres(start.number[leaving])
    (tx, ty), (px, py) = centres(end.number[leaving]) - near, start.places.take(leaving, axis=1) - near
    qx, qy = end.places.take(leaving, axis=1) - near
    before, behind = px * tx + py * ty - 0.5, qx * tx + qy * ty - 0.5
    with np.errstate(all="ignore"):
        share = before / (before - behind)
    aside = np.abs(tx * (py + (qy - py) * share) - ty * (px + (qx - px) * share))
    neighbours = np.abs(tx * tx + ty * ty - 1) < 0.5
    sure = neighbours & (before * behind <= 0) & (aside < _HALF_SIDE - _ON_THE_BORDER - lattice.bow)
    unsure: npt.NDArray[np.intp] = leaving[~sure]
    return unsure


def _reach(half: float, cell: float) -> float:
    return max(half * (1 + _BEYOND_SHARE) + _BEYOND_CELLS * cell, _REACH_CELLS * cell)


def _projection(vectors: Floats, places: Floats) -> Floats | None:
    """Fit the matrix that brings unit vectors (3 × n) to places in the plane (2 × n); None if there is none.

    This is the direct linear transform, with both sides brought to about one beforehand, else it loses digits.
    """
    up = vectors.mean(axis=1)
    up /= np.linalg.norm(up)
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= np.linalg.norm(east)
    frame = np.stack([east, np.cross(up, east), up])
    near = frame @ vectors
    near /= near[2]
    scale, size = np.abs(near[:2]).max(), np.abs(places).max()
    shrink, grow = np.diag([1 / scale, 1 / scale, 1]), np.diag([size, size, 1])
    rows = (shrink @ near).T
    x, y = places[:, :, None] / size
    nothing = np.zeros_like(rows)
    equations = np.block([[rows, nothing, -x * rows], [nothing, rows, -y * rows]])
    # Homogeneous coordinates have no scale: the last number may be one.
    found = np.append(np.linalg.lstsq(equations[:, :8], -equations[:, 8], rcond=None)[0], 1).reshape(3, 3)
    matrix: Floats = grow @ found @ shrink @ frame
    across, along, away = matrix @ vectors
    fits = np.hypot(across / away - places[0], along / away - places[1]).max() < _ON_THE_BORDER / 10
    return matrix if fits else None


def _unit_vectors(coordinates: Floats) -> Floats:
    longitude, latitude = np.radians(coordinates.T)
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])

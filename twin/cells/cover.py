"""H3 cells: which cells a geometry covers, and which of them lie inside it."""

from __future__ import annotations

from dataclasses import dataclass

import h3
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from h3ronpy import ContainmentMode
from h3ronpy.vector import cells_to_coordinates, cells_to_wkb_polygons, coordinates_to_cells, wkb_to_cells

from twin.cells.lattice import Path, follow, lattice_of
from twin.errors import BadInput
from twin.text import Text

Geometries = npt.NDArray[np.object_]
Int64 = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_RESOLUTION = 15

# Cell indexes are 64-bit words whose top bit is never set, so they are the same number as a signed bigint.
_RESOLUTION_SHIFT = 52
_DIGIT_BITS = 3

# A line is covered as a strip this many degrees wide on either side (11 cm): the library's own cover of a line is
# a path through the grid that leaves out cells whose corners the line cuts.
LINE_STRIP = 1e-6

# Rough mean area of a cell in square degrees near the equator, by resolution, to skip polygons that cannot hold one.
_KM2_PER_SQUARE_DEGREE = 111.2**2


@dataclass(frozen=True, slots=True)
class Cover:
    """Cells of many geometries, as parallel arrays.

    Attributes
    ----------
    feature : array of int64
        Position of the geometry.
    cell : array of int64
        H3 index, as a signed integer.
    whole : array of bool
        Whether the cell lies inside the geometry.
    """

    feature: Int64
    cell: Int64
    whole: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cell)


def cover(geometries: Geometries, resolution: int, measured: Measured | None = None) -> Cover:
    """Cover geometries with H3 cells of one resolution.

    Every point of a geometry lies in one of its cells, and a cell marked `whole` lies inside the geometry.

    Parameters
    ----------
    geometries : array of shapely geometries
        In EPSG:4326; missing and empty ones get no cell.
    resolution : int
        H3 resolution, 0 to 15.
    measured : Measured, optional
        The coordinates of the geometries, if they were taken before.

    Returns
    -------
    Cover
        Ordered by geometry, then by cell.

    Examples
    --------
    >>> block = shapely.box(106.700, 10.770, 106.702, 10.772)
    >>> cells = cover(np.array([block]), 11)
    >>> len(cells) > 10, bool(cells.whole.any())
    (True, True)
    """
    geometries = np.asarray(geometries, dtype=object)
    by_corners, rest = settle(corners_of(geometries, measured), resolution)
    parts = [by_corners]
    if len(rest):
        parts.append(cover_fully(geometries[rest], rest, resolution))
    feature, cell, whole = (np.concatenate([getattr(p, name) for p in parts]) for name in ("feature", "cell", "whole"))
    order = np.lexsort((cell, feature))
    return Cover(feature[order], cell[order], whole[order])


def cover_fully(shapes: Geometries, positions: Int64, resolution: int) -> Cover:
    """Cover shapes that their corners do not settle; the cover names them by the given positions."""
    dimension = shapely.get_dimensions(shapes)
    parts = []
    for chosen, covering in (
        (dimension == 0, _cover_points),
        (dimension == 1, _cover_lines),
        (dimension == 2, _cover_polygons),
    ):
        if chosen.any():
            feature, cell, whole = covering(shapes[chosen], resolution)
            parts.append((positions[chosen][feature], cell, whole))
    feature, cell, whole = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Cover(feature, cell, whole)


def cover_wkb_fully(wkb: Geometries, positions: Int64, resolution: int) -> Cover:
    """Do the same to shapes that are given as WKB, as another process gets them."""
    return cover_fully(shapely.from_wkb(wkb), positions, resolution)


def point_cells(longitude: npt.ArrayLike, latitude: npt.ArrayLike, resolution: int) -> Int64:
    """Return the cell of each point, given in degrees.

    Examples
    --------
    >>> format_cell(int(point_cells([106.7], [10.77], 11)[0]))
    '8b65b56604ddfff'
    """
    lat = np.ascontiguousarray(latitude, dtype=np.float64)
    lon = np.ascontiguousarray(longitude, dtype=np.float64)
    return _to_int64(coordinates_to_cells(lat, lon, resolution))


def _to_int64(array: object) -> Int64:
    cells: Int64 = pa.array(array).to_numpy(zero_copy_only=False).astype(np.uint64).view(np.int64)
    return cells


@dataclass(frozen=True, slots=True)
class Measured:
    """The coordinates of many geometries, taken once and used by several checks.

    `coordinates` (n × 2, degrees or whatever their system has), the position of the geometry that each belongs to, and
    each geometry's `bounds` (west, south, east, north; NaN for those that have none). `wkb` is the geometries as
    shapely writes them, where that is known.
    """

    coordinates: Floats
    owner: npt.NDArray[np.intp]
    bounds: Floats
    wkb: Geometries | None = None

    @property
    def total_bounds(self) -> Floats:
        """The box of all of them."""
        west, south, east, north = self.bounds.T
        box: Floats = np.array([np.nanmin(west), np.nanmin(south), np.nanmax(east), np.nanmax(north)])
        return box


def measure(geometries: Geometries) -> Measured:
    """Take the coordinates of geometries; missing and empty ones have none."""
    coordinates, owner = shapely.get_coordinates(geometries, return_index=True)
    return Measured(coordinates, owner, shapely.bounds(geometries))


@dataclass(frozen=True, slots=True)
class Corners:
    """The corners of many geometries, as arrays that another process can be sent quickly.

    `coordinates` (n × 2, degrees), the position of the geometry that each belongs to, and of each geometry the
    extent of its box in square degrees, which is 0 for those that are no surface.
    """

    coordinates: Floats
    owner: Int64
    extent: Floats


def corners_of(geometries: Geometries, measured: Measured | None = None) -> Corners:
    """Take the corners of geometries; missing and empty ones have none."""
    known = measured or measure(geometries)
    west, south, east, north = known.bounds.T
    with np.errstate(invalid="ignore"):
        box = (east - west) * (north - south)
    extent = np.where(shapely.get_dimensions(geometries) < 2, 0.0, box)
    return Corners(known.coordinates, known.owner.astype(np.int64), extent)


def settle(corners: Corners, resolution: int) -> tuple[Cover, Int64]:
    """Cover the shapes that lie in the cells of their corners; give the positions of those that need a full cover.

    Cells are convex, so a shape whose corners fall in one cell lies in it. A line or a small polygon lies in the cells
    of its corners if each of its segments either stays in one cell or passes from a cell to its neighbour through
    their common edge. Buildings are nearly all settled that way, at a tenth of the cost of a full cover.
    """
    coordinates, owner = corners.coordinates, corners.owner
    if not len(owner):
        return Cover(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_)), np.empty(0, np.int64)
    first = _first_of_equals(owner)
    starts = np.flatnonzero(first)
    positions = owner[starts]
    # From here on shapes are counted without those that have no corner.
    shape = np.cumsum(first) - 1
    lattice = lattice_of(coordinates, resolution) if len(owner) >= _WORTH_A_LATTICE else None
    if lattice is None:
        cells = point_cells(coordinates[:, 0], coordinates[:, 1], resolution)
        settled = np.minimum.reduceat(cells, starts) == np.maximum.reduceat(cells, starts)
        chosen = starts[settled]
        return Cover(owner[chosen], cells[chosen], np.zeros(len(chosen), np.bool_)), positions[~settled]

    # A polygon may hold cells that no corner touches, unless its box is smaller than any cell.
    smallest = h3.average_hexagon_area(resolution) * 0.5 / _KM2_PER_SQUARE_DEGREE
    small = corners.extent[positions] < smallest
    path = Path.of(lattice, coordinates, shape)
    settled = ~np.logical_or.reduceat(path.on_border, starts) & (
        small | (np.minimum.reduceat(path.number, starts) == np.maximum.reduceat(path.number, starts))
    )
    changes = ~first & _first_of_equals(path.number)
    # From one corner to the next: where the parts of a multi-geometry or a ring and a hole meet there is no segment,
    # and asking for one all the same does no harm.
    step = np.flatnonzero(changes & settled[shape])
    met, doubtful = follow(lattice, path.some(step - 1), path.some(step))
    settled[doubtful] = False

    passed = path.some(np.flatnonzero(settled[shape] & (first | changes)))
    feature, cell = _named(passed + met.some(np.flatnonzero(settled[met.path])), resolution)
    return Cover(positions[feature], cell, np.zeros(len(cell), np.bool_)), positions[~settled]


# From so many corners on, finding the lattice costs less than asking for each one's cell.
_WORTH_A_LATTICE = 200


def _named(passed: Path, resolution: int) -> tuple[Int64, Int64]:
    """Give the shapes and cells that points of shapes lie in, each pair once, ordered by shape."""
    # The hexagons that the library has to name, each once.
    numbered = pa.array(passed.number).dictionary_encode()
    code = numbered.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    count = len(numbered.dictionary)
    # The last of equal entries stays: the point that came first.
    point = np.empty(count, np.int64)
    point[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    cells = point_cells(passed.coordinates[point, 0], passed.coordinates[point, 1], resolution)
    # numpy sorts much faster than it finds what is unique.
    pair = np.sort(passed.path * count + code)
    feature, code = np.divmod(pair[_first_of_equals(pair)], max(count, 1))
    return feature, cells[code]


def _first_of_equals(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Tell which of ordered values differ from the one before."""
    return np.concatenate([np.ones(min(len(values), 1), np.bool_), values[1:] != values[:-1]])


Arrays = tuple[Int64, Int64, npt.NDArray[np.bool_]]


def _cover_points(shapes: Geometries, resolution: int) -> Arrays:
    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    cells = point_cells(coordinates[:, 0], coordinates[:, 1], resolution)
    pairs = np.unique(np.column_stack([owner.astype(np.int64), cells]), axis=0)
    return pairs[:, 0], pairs[:, 1], np.zeros(len(pairs), np.bool_)


def _cover_lines(shapes: Geometries, resolution: int) -> Arrays:
    strips = shapely.buffer(shapes, LINE_STRIP, quad_segs=1, cap_style="square", join_style="bevel")
    feature, cell = _cells_of(strips, resolution, ContainmentMode.Covers)
    return feature, cell, np.zeros(len(cell), np.bool_)


def _cover_polygons(shapes: Geometries, resolution: int) -> Arrays:
    feature, cell = _cells_of(shapes, resolution, ContainmentMode.Covers)
    whole = np.zeros(len(cell), np.bool_)
    smallest_cell = h3.average_hexagon_area(resolution) * 0.5 / _KM2_PER_SQUARE_DEGREE
    large = np.flatnonzero(shapely.area(shapes) > smallest_cell)
    if len(large):
        inner_feature, inner_cell = _cells_of(shapes[large], resolution, ContainmentMode.ContainsBoundary)
        whole = _is_among(feature, cell, large[inner_feature], inner_cell)
    return feature, cell, whole


def _cells_of(shapes: Geometries, resolution: int, mode: ContainmentMode) -> tuple[Int64, Int64]:
    lists = pa.array(wkb_to_cells(shapely.to_wkb(shapes), resolution, containment_mode=mode))
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    feature = np.repeat(np.arange(len(shapes), dtype=np.int64), lengths)
    cell = _to_int64(lists.flatten())
    # The parts of a multi-geometry may share a cell.
    return _distinct(feature, cell)


def _distinct(feature: Int64, cell: Int64) -> tuple[Int64, Int64]:
    """Order pairs of feature and cell, each once."""
    order = np.lexsort((cell, feature))
    feature, cell = feature[order], cell[order]
    first = np.ones(len(cell), np.bool_)
    first[1:] = (feature[1:] != feature[:-1]) | (cell[1:] != cell[:-1])
    return feature[first], cell[first]


def _is_among(feature: Int64, cell: Int64, among_feature: Int64, among_cell: Int64) -> npt.NDArray[np.bool_]:
    """Tell which (feature, cell) pairs stand in a second set of pairs."""
    both = np.concatenate([np.stack([feature, cell], 1), np.stack([among_feature, among_cell], 1)])
    _, group = np.unique(both, axis=0, return_inverse=True)
    group = group.reshape(-1)
    return np.isin(group[: len(cell)], group[len(cell) :])


def parse_cell(text: str) -> int:
    """Parse a cell index in hexadecimal; return it as a signed 64-bit integer.

    Raises
    ------
    BadInput
        If it is not the index of a cell.

    Examples
    --------
    >>> resolution_of(parse_cell("8b65b5664a21fff"))
    11
    """
    if len(text) == 15 and h3.is_valid_cell(text):
        return int(h3.str_to_int(text))
    raise BadInput(
        Text(
            en="“{text}” is not an H3 cell. A cell looks like this: 8b65b5664a21fff",
            vi="“{text}” không phải ô H3. Một ô có dạng: 8b65b5664a21fff",
        ).format(text=text[:40])
    )


def format_cell(cell: int) -> str:
    """Format a cell index in hexadecimal."""
    return str(h3.int_to_str(cell))


def resolution_of(cell: int) -> int:
    """Return the resolution of a cell, 0 to 15."""
    return cell >> _RESOLUTION_SHIFT & 0xF


def span(cell: int, resolution: int) -> tuple[int, int]:
    """Return the lowest and the highest index that the cell's relatives have at a resolution.

    At a coarser resolution, or its own, both are the one ancestor. At a finer one they bracket exactly the
    descendants: these share the ancestor's digits, which stand above their own in the index.
    Source: the H3 index bit layout (4 bits resolution, 7 bits base cell, 15 digits of 3 bits, unused ones all set).
    """
    own = resolution_of(cell)
    base = (cell & ~(0xF << _RESOLUTION_SHIFT)) | (resolution << _RESOLUTION_SHIFT)
    if resolution <= own:
        unused = (1 << _DIGIT_BITS * (MAX_RESOLUTION - resolution)) - 1
        return base | unused, base | unused
    unused = (1 << _DIGIT_BITS * (MAX_RESOLUTION - resolution)) - 1
    free = ((1 << _DIGIT_BITS * (MAX_RESOLUTION - own)) - 1) & ~unused
    # Digit 7 marks "unused", so 6 is the largest that a descendant has.
    sixes = sum(6 << _DIGIT_BITS * (MAX_RESOLUTION - level) for level in range(own + 1, resolution + 1))
    return base & ~free | unused, base & ~free | sixes | unused


def cell_places(cells: Int64) -> Floats:
    """Return the centres of cells: longitude and latitude in degrees, shape (n, 2)."""
    centres = pa.record_batch(cells_to_coordinates(cells.view(np.uint64)))
    return np.stack([centres.column("lng").to_numpy(), centres.column("lat").to_numpy()], axis=1)


def cell_polygons(cells: Int64) -> Geometries:
    """Return the outlines of cells, as polygons in EPSG:4326."""
    wkb = pa.array(cells_to_wkb_polygons(cells.view(np.uint64)))
    polygons: Geometries = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    return polygons


def parents(cells: Int64, resolution: int) -> Int64:
    """Return the ancestor of each cell at a coarser resolution: see `span`."""
    unused = (1 << _DIGIT_BITS * (MAX_RESOLUTION - resolution)) - 1
    found: Int64 = (cells & ~np.int64(0xF << _RESOLUTION_SHIFT)) | (resolution << _RESOLUTION_SHIFT) | unused
    return found

"""Tile matrix sets: how the plane is divided into tiles, and how the database brings features onto a tile.

The web's grid is known to PostGIS. Those of the city's own systems are not, and PostGIS misses VN-2000 by up to 0.8 m;
so geometry goes to the UTM zone of the city first, which PostGIS does rightly, and from there by an affine map that is
fitted to each tile with `twin.crs`. Both are transverse Mercator projections a degree apart: over a tile of a hundred
kilometres, the affine map is within a tenth of a tile's unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import morecantile
import numpy as np
from morecantile.models import TileMatrixSet
from pyproj import CRS

from twin.city import City, KnownGrid
from twin.crs import transform
from twin.errors import NotFound
from twin.text import Text

Box = tuple[float, float, float, float]
# Zoom (or matrix), column, row.
Place = tuple[int, int, int]

# Points a side at which a tile is compared in two systems.
SAMPLES = 9
EQUATOR_METRES_A_PIXEL = 2 * math.pi * 6_378_137 / 256


@dataclass(frozen=True, slots=True)
class Grid:
    """A tile matrix set. `shift` is what its numbers differ by from the web's zooms of about the same scale.

    `between` is the SRID by whose plane geometry comes to a grid that PostGIS does not know; 0 for the web's.
    """

    id: str
    title: Text
    code: int
    last: int
    shift: int = 0
    origin: tuple[float, float] = (0.0, 0.0)
    cell_size: float = 0.0
    between: int = 0

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def uri(self) -> str:
        """The address under which OGC knows the set, or its name."""
        known = "http://www.opengis.net/def/tilematrixset/OGC/1.0/"
        return known + self.id if self is WEB_MERCATOR else f"urn:twin:tilematrixset:{self.id}"

    @property
    def crs(self) -> str:
        """The address of its reference system."""
        return f"http://www.opengis.net/def/crs/EPSG/0/{self.code}"

    def zoom(self, matrix: int) -> int:
        """Return the web's zoom of about the same scale."""
        return matrix + self.shift

    def has(self, z: int, x: int, y: int) -> bool:
        """Tell whether there is such a tile."""
        return 0 <= z <= self.last and 0 <= x < 2**z and 0 <= y < 2**z

    def document(self) -> TileMatrixSet:
        """Return the set as OGC's Two Dimensional Tile Matrix Set standard writes it."""
        return _document(self)

    # SQL for the database ------------------------------------------------------------------------

    def values(self, places: Sequence[Place]) -> list[list[float]]:
        """Return the first parameters of a statement for some tiles: an array each."""
        rows = [placed(self, *place) for place in places] if self.between else places
        return [list(column) for column in zip(*rows, strict=True)]

    @property
    def parameters(self) -> int:
        """How many parameters these are."""
        return len(AFFINE) if self.between else 3

    def places_sql(self, margin: float) -> str:
        """Return SQL for the requested tiles, a row each.

        `n` is its number, from 1; `box` its box in the plane in which geometry is drawn; `reach` the box (EPSG:4326)
        of all that may show on it, with a margin as a share of its side; `inside` the same without the margin.
        """
        # Without OFFSET, PostgreSQL would put the expressions wherever their columns are used: computed for each
        # feature, not for each tile.
        if not self.between:
            # Margin first, then the reprojection: the box is grown in the tile's own plane.
            return (
                "(SELECT n, ST_TileEnvelope(z, x, y) AS box, ST_Transform(ST_TileEnvelope(z, x, y), 4326) AS inside, "
                f"ST_Transform(ST_TileEnvelope(z, x, y, margin => {margin:.17g}), 4326) AS reach "
                "FROM unnest($1::int[], $2::int[], $3::int[]) WITH ORDINALITY AS tile(z, x, y, n) OFFSET 0)"
            )
        arrays = ", ".join(f"${n}::float8[]" for n in range(1, self.parameters + 1))
        degrees = "ST_MakeEnvelope(west, south, east, north, 4326)"
        return (
            f"(SELECT *, ST_MakeEnvelope(l, b, r, t, {self.between}) AS box, {degrees} AS reach, {degrees} AS inside "
            f"FROM unnest({arrays}) WITH ORDINALITY AS tile({', '.join(AFFINE)}, n) OFFSET 0)"
        )

    def on_grid(self, geometry: str) -> str:
        """SQL for a stored geometry in the plane of the row of `places_sql` that is called `place`."""
        if not self.between:
            return f"ST_Transform({geometry}, 3857)"
        affine = ", ".join(f"place.{name}" for name in AFFINE[8:])
        return f"ST_Affine(ST_Transform({geometry}, {self.between}), {affine})"


# What is known of a tile of a grid of the city's own: its box, the box in degrees, and the affine map onto it.
AFFINE = ("l", "b", "r", "t", "west", "south", "east", "north", "xx", "xy", "yx", "yy", "dx", "dy")

WEB_MERCATOR = Grid(
    "WebMercatorQuad", Text(en="Web Mercator, as web maps have it", vi="Web Mercator, như các bản đồ web"), 3857, 22
)
# How much a tile's box is grown when features are chosen for a grid of the city's own: MVT's buffer of 64 of 4096
# units, and a little for the edges that are straight in one plane and bent in the other.
MARGIN = 0.02


@lru_cache(maxsize=8)
def grids_of(city: City) -> Mapping[str, Grid]:
    """Return all sets that a city's tiles come in, by id; the web's first."""
    return {WEB_MERCATOR.id: WEB_MERCATOR, **{known.id: _grid(known) for known in city.grids}}


def find_grid(name: str, city: City) -> Grid:
    """Return the set of that name."""
    known = grids_of(city)
    if name not in known:
        raise NotFound(
            Text(
                en="There is no tile matrix set “{name}”. Known: {known}.",
                vi="Không có lưới ô “{name}”. Các lưới: {known}.",
            ).format(name=name[:60], known=", ".join(known))
        )
    return known[name]


def check_tile(grid: Grid, z: int, x: int, y: int) -> None:
    """Say that a tile is not there if the grid does not have it."""
    if not grid.has(z, x, y):
        raise NotFound(
            Text(
                en="{grid} has no tile {z}/{y}/{x} (matrix/row/column): matrices go from 0 to {last}, rows and columns "
                "from 0 to 2^matrix − 1.",
                vi="{grid} không có ô {z}/{y}/{x} (mức/hàng/cột): mức từ 0 đến {last}, hàng và cột từ 0 đến 2^mức − 1.",
            ).format(grid=grid.id, z=z, x=x, y=y, last=grid.last)
        )


def _grid(known: KnownGrid) -> Grid:
    side = 256 * known.cell_size
    left, top = known.origin
    middle = transform(np.array([[left + side / 2, top - side / 2]]), known.crs)[0]
    pixel = EQUATOR_METRES_A_PIXEL * math.cos(math.radians(middle[1]))
    zone = int((middle[0] + 180) // 6) + 1
    return Grid(
        known.id, known.title, known.crs, known.last, round(math.log2(pixel / known.cell_size)), known.origin,
        known.cell_size, (32600 if middle[1] >= 0 else 32700) + zone,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _document(grid: Grid) -> TileMatrixSet:
    if grid is WEB_MERCATOR:
        known = morecantile.tms.get(grid.id)
        matrices = [matrix for matrix in known.tileMatrices if int(matrix.id) <= grid.last]
        return known.model_copy(update={"tileMatrices": matrices})
    left, top = grid.origin
    side = 256 * grid.cell_size
    made: TileMatrixSet = TileMatrixSet.custom(
        [left, top - side, left + side, top], CRS.from_epsg(grid.code), id=grid.id, title=grid.title.en,
        maxzoom=grid.last, ordered_axes=["E", "N"],
    )  # fmt: skip
    return made


def box_of(grid: Grid, z: int, x: int, y: int) -> Box:
    """Return a tile's box in the plane of a grid of the city's own: left, bottom, right, top."""
    side = 256 * grid.cell_size / 2**z
    left, top = grid.origin[0] + x * side, grid.origin[1] - y * side
    return left, top - side, left + side, top


@lru_cache(maxsize=4096)
def placed(grid: Grid, z: int, x: int, y: int) -> tuple[float, ...]:
    """Return a tile's box, the box in degrees of what may show on it, and the affine map from the plane between."""
    left, bottom, right, top = box_of(grid, z, x, y)
    grow = (right - left) * MARGIN
    steps = np.linspace(0.0, 1.0, SAMPLES)
    across, down = (axis.ravel() for axis in np.meshgrid(steps, steps))
    own = np.column_stack(
        [left - grow + across * (right - left + 2 * grow), bottom - grow + down * (top - bottom + 2 * grow)]
    )
    degrees = transform(own, grid.code)
    plane = transform(degrees, 4326, grid.between)
    # Fitted around the middle: the numbers stay small, and nothing is lost to rounding.
    from_middle, to_middle = plane.mean(axis=0), own.mean(axis=0)
    fitted, *_ = np.linalg.lstsq(plane - from_middle, own - to_middle, rcond=None)
    shift = to_middle - from_middle @ fitted
    # Boxes in degrees bulge between the samples by less than the margin.
    west, south = degrees.min(axis=0)
    east, north = degrees.max(axis=0)
    (a, d), (b, e) = fitted
    return tuple(map(float, (left, bottom, right, top, west, south, east, north, a, b, d, e, shift[0], shift[1])))

"""The sample city's plane in metres about its centre, the tiles of a larger city, and their randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]
Geometries = npt.NDArray[np.object_]

CENTER = (106.730, 10.780)
# Length of one degree at the centre's latitude, in metres; the plane is true to 0.1 % over some 30 km.
METRES_PER_LON = 111_320.0 * math.cos(math.radians(CENTER[1]))
METRES_PER_LAT = 110_612.0

FULL_SIDE = 6_000.0
FULL_COUNT = 40_000
SMALLEST_SIDE = 1_600.0


def settled(metres: Floats) -> Floats:
    """Round to a tenth of a millimetre: processors differ in the last digit of a sine, and must draw one city."""
    return np.round(metres, 4)


def to_degrees(xy: Floats) -> Floats:
    """Metres in the plane to longitude and latitude (EPSG:4326)."""
    return np.column_stack([CENTER[0] + xy[:, 0] / METRES_PER_LON, CENTER[1] + xy[:, 1] / METRES_PER_LAT])


def to_metres(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Convert longitude and latitude (EPSG:4326) to metres in the plane."""
    x = (np.asarray(lon, dtype=np.float64) - CENTER[0]) * METRES_PER_LON
    y = (np.asarray(lat, dtype=np.float64) - CENTER[1]) * METRES_PER_LAT
    return x, y


@dataclass(frozen=True, slots=True)
class Tile:
    """One square of the city with its share of the buildings; `side` in metres.

    Everything inside a tile is drawn in metres about the tile's own centre. What crosses an edge (river, canals,
    main streets) takes its place from that edge, so that neighbours meet.
    """

    seed: int
    index: int
    column: int
    row: int
    side: float
    buildings: int

    @property
    def half(self) -> float:
        """Half of the side, in metres."""
        return self.side / 2

    @property
    def scale(self) -> float:
        """Size against the full tile: 1 at 6 km, less for a small city."""
        return self.side / FULL_SIDE

    @property
    def square(self) -> shapely.Polygon:
        """The tile's outline in its own metres."""
        return shapely.box(-self.half, -self.half, self.half, self.half)

    def rng(self, stage: str) -> np.random.Generator:
        """Random numbers of one stage of the work, the same in every process."""
        return np.random.default_rng([self.seed, self.index, crc32(stage.encode())])

    def edge_rng(self, edge: str, stage: str) -> np.random.Generator:
        """Random numbers that this tile shares with its neighbour across an edge (north, south, east, west)."""
        column = self.column + (edge == "east")
        row = self.row + (edge == "north")
        across = int(edge in ("north", "south"))
        return np.random.default_rng([self.seed, across, column + 10_000, row + 10_000, crc32(stage.encode())])

    def degrees(self, geometries: Geometries) -> Geometries:
        """Move geometries from the tile's metres to EPSG:4326."""
        shift = np.array([self.column, self.row]) * self.side
        moved: Geometries = shapely.transform(np.asarray(geometries), lambda xy: to_degrees(xy + shift))
        return _mended(moved)


def _mended(geometries: Geometries) -> Geometries:
    """Rounding to degrees can fold a hair's breadth of a polygon over itself; keep the sound part."""
    broken = np.flatnonzero(~shapely.is_valid(geometries))
    for i in broken:
        sound = shapely.get_parts(shapely.make_valid(geometries[i], method="structure", keep_collapsed=False))
        geometries[i] = max(sound, key=shapely.area)
    return geometries


def tiles_of(buildings: int, seed: int) -> tuple[Tile, ...]:
    """Lay out the tiles for so many buildings: one that shrinks below 40,000, more of them above, at one density."""
    count = max(1, math.ceil(buildings / FULL_COUNT))
    # Whole metres, so that corners of neighbouring tiles are the same numbers.
    side = float(round(FULL_SIDE * math.sqrt(buildings / (FULL_COUNT * count))))
    places = [(column, row) for column in range(-40, 41) for row in range(-40, 41)]
    # The city grows to the west and north of its first tile, as the land does around the real one.
    places.sort(key=lambda p: (p != (0, 0), (p[0] + 1.3) ** 2 + (p[1] - 0.6) ** 2, p))
    share, rest = divmod(buildings, count)
    return tuple(
        Tile(seed, i, column, row, max(SMALLEST_SIDE, side), share + (i < rest))
        for i, (column, row) in enumerate(places[:count])
    )

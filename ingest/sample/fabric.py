"""The fabric of one tile: water, ground, streets with names, blocks and strips; worked out once, used by all layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.blocks import Blocks, Strips, make_blocks, make_strips, park_paths, ponds
from ingest.sample.mains import CLASSES, Lines, join, make_mains, with_bridges
from ingest.sample.names import CANALS, RIVERS, pick, street_names
from ingest.sample.plane import Geometries, Tile
from ingest.sample.quarters import bank_strips, make_quarters
from ingest.sample.shapes import Integers, centers
from ingest.sample.terrain import Terrain, make_terrain
from ingest.sample.water import Water, make_water

# Room for buildings, against those wanted: some lots always stay empty, but not too many.
ROOM = 1.08
LEAST_ROOM, MOST_ROOM = 1.05, 1.14
# Buildings on a hectare of blocks of each kind, as the builders turn out.
PER_HECTARE = {
    "dense": 92.0, "rows": 54.5, "villas": 14.5, "center": 15.0, "mixed": 16.0, "towers": 3.2, "school": 3.2,
    "industry": 2.0, "wharf": 1.6, "pagoda": 7.0, "office": 5.0, "hospital": 4.0, "farm": 0.4,
}  # fmt: skip


@dataclass(frozen=True)
class Fabric:
    """Everything of a tile that several layers need, in the tile's metres."""

    tile: Tile
    water: Water
    streets: Lines
    street_names: npt.NDArray[np.object_]
    blocks: Blocks
    strips: Strips
    banks: Geometries
    ponds: Geometries
    pond_block: Integers

    @cached_property
    def terrain(self) -> Terrain:
        """Heights of the ground."""
        return make_terrain(self.tile, self.water)

    @cached_property
    def street_tree(self) -> shapely.STRtree:
        """Index of the streets' axes."""
        return shapely.STRtree(self.streets.geometry)

    @cached_property
    def river_name(self) -> str:
        """The river's name without “sông”; all tiles of a column of the city share it."""
        return RIVERS[(self.tile.column + self.tile.seed) % len(RIVERS)]

    @cached_property
    def canal_names(self) -> list[str]:
        """Names of canals and then creeks, without “kênh” or “rạch”."""
        return pick(CANALS, len(self.water.canals) + len(self.water.creeks), self.tile.rng("canal names"))


def _names(tile: Tile, streets: Lines, water: Water) -> npt.NDArray[np.object_]:
    """Name streets: own names for the larger, numbers in planned quarters, and alleys after the street they leave."""
    rng = tile.rng("street names")
    series = street_names(rng)
    names = np.full(len(streets), None, dtype=object)
    first: list[int] = np.unique(streets.key.astype(str), return_index=True)[1].tolist()
    numbers: dict[str, int] = {}
    by_key: dict[str, str] = {}
    rank = {c: i for i, c in enumerate(CLASSES)}
    for i in sorted(first, key=lambda i: (rank[str(streets.road_class[i])], i)):
        key, road_class = str(streets.key[i]), str(streets.road_class[i])
        if road_class == "motorway":
            by_key[key] = f"Cao tốc {next(series)}"
        elif road_class == "trunk":
            by_key[key] = f"Xa lộ {next(series)}"
        elif road_class == "primary":
            by_key[key] = f"Đại lộ {next(series)}"
        elif key.startswith("quay"):
            by_key[key] = f"Bến {next(series)}"
        elif key.startswith("r") and "-" in key:
            quarter = key.partition("-")[0]
            numbers[quarter] = numbers.get(quarter, 0) + 1
            by_key[key] = f"Đường số {numbers[quarter]}"
        elif road_class == "path":
            by_key[key] = ""
        elif road_class != "service":
            by_key[key] = next(series)
    for i, key in enumerate(streets.key):
        names[i] = by_key.get(str(key)) or None

    alleys = np.flatnonzero(streets.road_class == "service")
    named = np.flatnonzero(~np.isin(streets.road_class, ("service", "path", "motorway")) & ~streets.bridge)
    if len(alleys) and len(named):
        tree = shapely.STRtree(streets.geometry[named])
        ends = np.concatenate([shapely.get_point(streets.geometry[alleys], k) for k in (0, -1)])
        (_, near), away = tree.query_nearest(ends, return_distance=True, all_matches=False)
        away = away.reshape(2, -1)
        side = np.argmin(away, axis=0)
        at = np.arange(len(alleys))
        street = named[near.reshape(2, -1)[side, at]]
        start = ends.reshape(2, -1)[side, at]
        number = (shapely.line_locate_point(streets.geometry[street], start) / 4.2).astype(np.int64) * 2 + 1 + at % 2
        for alley, s, n in zip(alleys, street, number, strict=True):
            names[alley] = f"Hẻm {n} {names[s].removeprefix('Đại lộ ').removeprefix('Xa lộ ')}"
    return names


def _blocks_with_room(tile: Tile, water: Water, mains: Lines) -> tuple[Blocks, Lines]:
    """Blocks with room for the tile's buildings, and the streets between them.

    How much a quarter holds is known only once schools, parks and the like have taken their blocks, so that a first
    plan may have to be drawn again.
    """
    wanted = float(tile.buildings)
    target = wanted * ROOM
    best: tuple[float, Blocks, Lines] | None = None
    for _ in range(6):
        quarters, inner = make_quarters(tile, water, mains, target)
        blocks, residential = make_blocks(tile, quarters, water)
        rate = np.array([PER_HECTARE.get(k, 0.0) for k in blocks.kind])
        room = float((rate * shapely.area(blocks.area)).sum() / 1e4) / wanted
        # Too much room is better than too little, and little of it better than much.
        cost = room if room >= LEAST_ROOM else 1e6 - room
        if best is None or cost < best[0]:
            best = cost, blocks, join([inner, residential])
        if LEAST_ROOM <= room <= MOST_ROOM:
            break
        target *= 1.09 / max(room, 0.2)
    assert best is not None  # noqa: S101 (the loop ran)
    return best[1], best[2]


def make_fabric(tile: Tile) -> Fabric:
    """Work out the fabric of a tile."""
    water = make_water(tile)
    mains = make_mains(tile, water)
    banks = bank_strips(tile, water, mains)
    blocks, inner = _blocks_with_room(tile, water, mains)
    strips, alleys = make_strips(tile, blocks)
    lakes, lake_block = ponds(tile, blocks)
    streets = join([mains, with_bridges(join([inner, alleys]), water), park_paths(tile, blocks, lakes)])
    names = _names(tile, streets, water)
    return Fabric(tile, water, streets, names, blocks, strips, banks, lakes, lake_block)


def distance_to_core(fabric: Fabric, geometries: Geometries) -> npt.NDArray[np.float64]:
    """Metres from the middle of the business centre on the west bank."""
    x, y = fabric.water.bend
    found: npt.NDArray[np.float64] = np.hypot(*(centers(geometries) - [x - 0.045 * fabric.tile.side, y]).T)
    return found

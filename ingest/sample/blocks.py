"""Blocks: the land between streets, what each is used for, and the strips of lots and alleys inside the dense ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.mains import Lines, join, lines
from ingest.sample.plane import Geometries, Tile, settled
from ingest.sample.quarters import CHARACTERS, Quarters
from ingest.sample.shapes import Integers, Waves, centers, parts, spaced
from ingest.sample.split import Cells, SplitRules, split
from ingest.sample.water import Water

HOUSING = ("dense", "rows", "villas", "towers")


@dataclass(frozen=True)
class Special:
    """A use that takes a whole block: where, how far apart (m), how large (m2), and how many at most in a tile."""

    kind: str
    among: tuple[str, ...]
    apart: float
    area: tuple[float, float]
    most: int = 1_000


SPECIALS = (
    Special("hospital", ("dense", "mixed", "rows", "towers"), 1500, (7_000, 26_000), 4),
    Special("university", ("towers", "villas", "dense"), 1900, (10_000, 40_000), 3),
    Special("terminal", ("rows", "towers", "villas", "farm"), 2500, (6_000, 30_000), 2),
    Special("museum", ("center", "mixed"), 420, (3_000, 14_000), 3),
    Special("market", ("dense", "rows", "mixed"), 820, (3_500, 14_000), 14),
    Special("school", HOUSING, 560, (4_500, 22_000)),
    Special("office", ("dense", "rows", "villas", "mixed"), 1150, (2_000, 12_000), 12),
    Special("sport", HOUSING, 1500, (7_000, 30_000), 6),
    Special("park", (*HOUSING, "center", "mixed"), 430, (1_500, 24_000)),
    Special("pagoda", ("dense", "rows", "villas"), 720, (1_500, 9_000), 16),
    Special("church", ("dense", "rows", "villas"), 1500, (1_500, 9_000), 5),
    Special("cemetery", ("farm",), 1800, (8_000, 80_000), 2),
)

# Planned use, storeys, floor area ratio and coverage (%) that a plan allows, by what the block is.
RULES: dict[str, tuple[str, int, float, float]] = {
    "center": ("commercial", 60, 14.0, 60.0),
    "mixed": ("mixed", 25, 7.0, 60.0),
    "dense": ("residential_low", 6, 4.0, 85.0),
    "rows": ("residential_low", 5, 3.2, 75.0),
    "villas": ("residential_low", 3, 1.2, 45.0),
    "towers": ("residential_high", 35, 7.5, 40.0),
    "industry": ("industrial", 4, 1.5, 60.0),
    "wharf": ("port", 3, 1.0, 50.0),
    "park": ("green", 1, 0.05, 5.0),
    "farm": ("residential_low", 4, 1.6, 50.0),
    "wetland": ("green", 0, 0.0, 0.0),
    "vacant": ("mixed", 30, 6.0, 50.0),
    "hospital": ("health", 12, 3.0, 40.0),
    "university": ("education", 10, 2.5, 40.0),
    "school": ("education", 4, 1.6, 40.0),
    "terminal": ("transport", 4, 1.0, 40.0),
    "museum": ("culture", 5, 2.0, 45.0),
    "sport": ("culture", 4, 1.0, 40.0),
    "market": ("commercial", 6, 3.0, 60.0),
    "office": ("public", 8, 3.0, 45.0),
    "pagoda": ("religious", 3, 0.8, 40.0),
    "church": ("religious", 4, 0.9, 40.0),
    "cemetery": ("green", 0, 0.0, 5.0),
}


@dataclass(frozen=True)
class Blocks:
    """Blocks with what they are (`kind`, a key of RULES), the quarter's character and its number."""

    area: Geometries
    gross: Geometries
    quarter: Integers
    character: npt.NDArray[np.object_]
    kind: npt.NDArray[np.object_]


@dataclass(frozen=True)
class Strips:
    """Land for rows of lots: a dense block has several, with alleys between; any other block is its own strip."""

    area: Geometries
    block: Integers


def _kinds(
    tile: Tile,
    area: Geometries,
    character: npt.NDArray[np.object_],
    near_river: npt.NDArray[np.bool_],
    near_water: npt.NDArray[np.bool_],
) -> npt.NDArray[np.object_]:
    rng = tile.rng("kinds")
    kind = character.copy()
    size = shapely.area(area)
    at = centers(area)
    free = np.ones(len(area), dtype=bool)
    for special in SPECIALS:
        fits = free & np.isin(character, special.among) & (size > special.area[0]) & (size < special.area[1])
        order = rng.permutation(np.flatnonzero(fits))
        taken = spaced(at, order, special.apart, special.most)
        kind[taken] = special.kind
        free[taken] = False
    dice = rng.uniform(size=len(area))
    kind[free & (character == "industry") & near_river] = "wharf"
    # Water palms stand in the hollows and along the water, not field by field.
    wet = Waves.random(rng, 1500.0).at(at) + 0.8 * near_water + 0.5 * (dice - 0.5)
    kind[free & (character == "farm") & (wet > 0.55)] = "wetland"
    kind[free & np.isin(character, ("towers", "farm")) & (dice > 0.9)] = "vacant"
    kind[free & (size < 450)] = "park"
    return kind


def make_blocks(tile: Tile, quarters: Quarters, water: Water) -> tuple[Blocks, Lines]:
    """Split quarters into blocks by residential streets and say what each block is."""
    rng = tile.rng("blocks")
    cells, character = quarters.cells, quarters.character
    found: list[Cells] = []
    streets: list[Lines] = []
    for name, wanted in CHARACTERS.items():
        mine = np.flatnonzero(character == name)
        if not len(mine):
            continue
        count = len(mine)
        full = np.ones(count)
        # Old quarters wander; planned ones keep their grid.
        loose = {"dense": 2.0, "farm": 3.0}.get(name, 1.0)
        angle = quarters.angle[mine] if name != "farm" else full * np.nan
        plan = SplitRules(full * wanted.length, full * wanted.depth, angle, full * 0.05 * loose, full * 0.05 * loose,
                    full * wanted.street)  # fmt: skip
        part = Cells(cells.gross[mine], cells.net[mine], np.arange(count))
        split_, cuts = split(part, plan, rng)
        found.append(Cells(split_.gross, split_.net, mine[split_.owner]))
        keys = [
            f"r{mine[o]}-{k}" if k >= 0 else f"r{name}{i}"
            for i, (o, k) in enumerate(zip(cuts.owner, cuts.key, strict=True))
        ]
        streets.append(lines(cuts.geometry, ["residential"] * len(keys), cuts.width, keys))
    net, gross, quarter = (np.concatenate([getattr(c, f) for c in found]) for f in ("net", "gross", "owner"))
    shapely.prepare([water.river, water.surface])
    near_river = shapely.dwithin(water.river, net, 90.0)
    near_water = shapely.dwithin(water.surface, net, 60.0)
    kind = _kinds(tile, net, character[quarter], near_river, near_water)
    return Blocks(net, gross, quarter, character[quarter], kind), join(streets)


def make_strips(tile: Tile, blocks: Blocks) -> tuple[Strips, Lines]:
    """Part dense blocks into strips two houses deep, with alleys between them."""
    rng = tile.rng("strips")
    dense = np.flatnonzero(blocks.kind == "dense")
    others = np.flatnonzero(blocks.kind != "dense")
    full = np.ones(len(dense))
    plan = SplitRules(full * 92, full * rng.uniform(36, 45, len(dense)), full * np.nan, full * 0.05, full * 0.07,
                rng.uniform(3.0, 4.6, len(dense)))  # fmt: skip
    cells, cuts = split(Cells(blocks.gross[dense], blocks.area[dense], np.arange(len(dense))), plan, rng)
    alleys = lines(cuts.geometry, ["service"] * len(cuts.geometry), cuts.width,
                   [f"a{i}" for i in range(len(cuts.geometry))])  # fmt: skip
    area = np.concatenate([cells.net, blocks.area[others]])
    return Strips(area, np.concatenate([dense[cells.owner], others])), alleys


def park_paths(tile: Tile, blocks: Blocks, lakes: Geometries) -> Lines:
    """Footpaths: a ring inside each park and ways across it."""
    rng = tile.rng("paths")
    found: list[shapely.Geometry] = []
    for park in blocks.area[(blocks.kind == "park") & (shapely.area(blocks.area) > 2_500)]:
        inner = park.buffer(-12).buffer(-10).buffer(10)
        for ring in shapely.get_parts(inner):
            if ring.area < 900:
                continue
            rim = ring.exterior
            found.append(shapely.LineString(rim.coords))
            for _ in range(1 if ring.area < 9_000 else 3):
                a = rng.uniform()
                ends = [rim.interpolate((a + d) % 1.0, normalized=True) for d in (0.0, rng.uniform(0.4, 0.6))]
                middle = ring.centroid
                bent = shapely.LineString([ends[0], middle, ends[1]])
                found.append(shapely.intersection(bent, ring))
    dry = shapely.difference(np.array(found, dtype=object), shapely.union_all(shapely.buffer(lakes, 5.0)))
    kept, _ = parts(dry, 1, 12.0)
    found = list(kept)
    return lines(found, ["path"] * len(found), [2.5] * len(found), [f"p{i}" for i in range(len(found))])


def ponds(tile: Tile, blocks: Blocks) -> tuple[Geometries, Integers]:
    """Lakes and ponds in large parks, with the number of their block: smooth, irregular shapes."""
    rng = tile.rng("ponds")
    found, owner = [], []
    for i in np.flatnonzero(blocks.kind == "park"):
        park = blocks.area[i]
        if park.area < 11_000:
            continue
        room = park.buffer(-26)
        if room.is_empty:
            continue
        center = np.array(shapely.point_on_surface(room).coords[0])
        radius = 0.3 * np.sqrt(park.area)
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        swell = 1 + sum(rng.uniform(0.08, 0.24) * np.cos(k * turn + rng.uniform(0, 6.28)) for k in (1, 2, 3))
        rim = center + (radius * swell)[:, None] * np.column_stack([np.cos(turn) * rng.uniform(0.6, 1), np.sin(turn)])
        pond = shapely.intersection(shapely.Polygon(settled(rim)).buffer(0), room).buffer(-6).buffer(6)
        pond = max(shapely.get_parts(pond), key=shapely.area, default=pond)
        if pond.geom_type == "Polygon" and pond.area > 600:
            found.append(pond)
            owner.append(i)
    return np.array(found, dtype=object), np.array(owner, dtype=np.int64)

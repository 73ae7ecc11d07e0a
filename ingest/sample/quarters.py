"""Quarters: the land between main streets, and the character each is given (old town, villas, towers, port …)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.mains import Lines, lines
from ingest.sample.plane import Floats, Geometries, Tile
from ingest.sample.shapes import Integers, Waves, centers, long_axis, parts, without_spikes
from ingest.sample.split import Cells, Cuts, Plan, about, split
from ingest.sample.water import Water


@dataclass(frozen=True)
class Character:
    """What a quarter is made of: wanted block sides and street width in metres, buildings a hectare of blocks."""

    length: float
    depth: float
    street: float
    density: float


CHARACTERS = {
    "center": Character(108, 84, 13.0, 11.8),
    "mixed": Character(125, 88, 11.0, 21.0),
    "dense": Character(150, 96, 9.0, 78.0),
    "rows": Character(150, 50, 9.5, 39.0),
    "villas": Character(150, 64, 10.0, 11.0),
    "towers": Character(190, 125, 13.0, 2.6),
    "industry": Character(290, 190, 15.0, 2.2),
    "park": Character(900, 700, 10.0, 0.0),
    "farm": Character(260, 170, 8.0, 0.4),
}
# Shares of the land that are given out by place before the rest is filled from the centre outwards.
CENTER_SHARE, NEW_CENTER_SHARE, PORT_SHARE, VILLA_SHARE, PARK_SHARE = 0.035, 0.05, 0.05, 0.13, 0.035


@dataclass(frozen=True)
class Quarters:
    """Quarters of a tile: cells, whether each has a regular grid (its angle, else NaN) and its character."""

    cells: Cells
    angle: Floats
    character: npt.NDArray[np.object_]


def bank_strips(tile: Tile, water: Water, mains: Lines) -> Geometries:
    """Return the ground between the water and the quay streets."""
    zone = shapely.intersection(water.quay_zone, tile.square)
    zone = shapely.difference(zone, shapely.union_all([water.surface, *mains.surface()]))
    strips, _ = parts(np.array([zone]), 3, 250.0)
    strips, _ = parts(without_spikes(strips), 3, 250.0)
    return strips


def _superblocks(tile: Tile, water: Water, mains: Lines) -> Cells:
    land = shapely.difference(tile.square, water.quay_zone)
    axes = mains.take(~mains.bridge).geometry
    noded = shapely.union_all([*axes, shapely.boundary(land), *mains.take(mains.bridge).geometry])
    faces, _ = parts(np.array([shapely.polygonize([noded])]), 3, 50.0)
    inside = shapely.intersects(shapely.buffer(land, -0.5), shapely.point_on_surface(faces))
    faces = faces[inside]
    creeks = [shapely.buffer(s, 9.0, quad_segs=3) for s in water.creek_surfaces]
    free = shapely.difference(land, shapely.union_all([*mains.surface(), *creeks]))
    net, source = parts(shapely.intersection(faces, free), 3, 400.0)
    net, again = parts(without_spikes(net, 3.0), 3, 400.0)
    source = source[again]
    gross = about(faces, net, source, 30.0)
    return Cells(gross, net, np.arange(len(net)))


def _streets(cuts: Cuts, road_class: str, stage: str) -> Lines:
    keys = [
        f"{stage}{o}-{k}" if k >= 0 else f"{stage}{i}"
        for i, (o, k) in enumerate(zip(cuts.owner, cuts.key, strict=True))
    ]
    return lines(cuts.geometry, [road_class] * len(keys), cuts.width, keys)


def _fill(count: int, share: float, area: Floats, rank: Floats, free: npt.NDArray[np.bool_]) -> Integers:
    """Free quarters by rank until their area reaches the share of all (`count` at least)."""
    order = np.flatnonzero(free)[np.argsort(rank[free], kind="stable")]
    reached = np.cumsum(area[order]) / area.sum()
    return order[: max(count, int(np.searchsorted(reached, share)))]


def _characters(tile: Tile, water: Water, net: Geometries, target: float) -> npt.NDArray[np.object_]:
    """Give each quarter its character, so that about `target` buildings find room."""
    rng = tile.rng("characters")
    at = centers(net) / tile.side
    area = shapely.area(net)
    bend = np.array(water.bend) / tile.side
    is_west = at[:, 0] < water.river_x(at[:, 1] * tile.side) / tile.side
    noise = Waves.random(rng, 0.3).at(at)

    def distance(x: float, y: float) -> Floats:
        found: Floats = np.hypot(at[:, 0] - x, at[:, 1] - y)
        return found

    core = distance(bend[0] - 0.055, bend[1] - 0.01)
    given = np.full(len(net), "", dtype=object)

    def give(character: str, share: float, rank: Floats, where: npt.NDArray[np.bool_] | bool = True) -> None:
        given[_fill(1, share, area, rank, (given == "") & where)] = character

    give("center", CENTER_SHARE, core, is_west)
    give("towers", NEW_CENTER_SHARE, distance(bend[0] + 0.07, bend[1]), ~is_west)
    give("park", PARK_SHARE / 2, distance(bend[0] + 0.2, bend[1] + 0.03), ~is_west)
    give("park", PARK_SHARE / 4, distance(bend[0] - 0.2, bend[1] + 0.12), is_west)
    give("park", PARK_SHARE / 4, distance(0.3, 0.3), ~is_west)
    south = float(water.river_x(np.array([-0.36 * tile.side]))[0]) / tile.side
    give("industry", PORT_SHARE, distance(south + 0.12, -0.4), ~is_west)
    north = float(water.river_x(np.array([0.24 * tile.side]))[0]) / tile.side
    give("villas", VILLA_SHARE, distance(north + 0.15, 0.22) + 0.02 * noise, ~is_west)

    rest = np.flatnonzero(given == "")
    urban = core - 0.14 * is_west + 0.055 * noise
    rest = rest[np.argsort(urban[rest], kind="stable")]
    place = np.cumsum(area[rest]) / max(area[rest].sum(), 1.0)
    dice = rng.uniform(size=len(rest))
    mixed_near = core[rest] < 0.17
    density = np.array([CHARACTERS[c].density if c else 0.0 for c in given])
    fixed = float((density * area).sum()) / 1e4

    def laid_out(reach: float) -> npt.NDArray[np.object_]:
        extent, dense = min(reach, 1.0), 0.18 + 0.82 * max(0.0, reach - 1.0)
        found = np.where(place < extent * dense, "dense", np.where(place < extent * (dense + 0.24), "rows", "villas"))
        found = np.where((dice < 0.27) & (place > 0.16 * extent), "towers", found)
        found = np.where(mixed_near & (dice > 0.72), "mixed", found)
        return np.where(place > extent, "farm", found).astype(object)

    low, high = 0.0, 2.0
    for _ in range(24):
        middle = (low + high) / 2
        room = sum(CHARACTERS[c].density * area[i] for c, i in zip(laid_out(middle), rest, strict=True)) / 1e4
        low, high = (middle, high) if fixed + room < target else (low, middle)
    given[rest] = laid_out(high)
    return given


def make_quarters(tile: Tile, water: Water, mains: Lines, target: float) -> tuple[Quarters, Lines]:
    """Part the land between the main streets by secondary and tertiary streets, and give each quarter a character."""
    rng = tile.rng("quarters")
    cells = _superblocks(tile, water, mains)
    middle = centers(cells.net)
    is_west = middle[:, 0] < water.river_x(middle[:, 1])
    # West of the river the old town grew street by street; the east was laid out on drawing boards.
    is_grid = rng.uniform(size=len(middle)) < np.where(is_west, 0.35, 0.75)
    angle = np.where(is_grid, long_axis(cells.net) + rng.normal(0, 0.05, len(middle)), np.nan)
    count = len(middle)

    def plan(length: float, depth: float, width: float) -> Plan:
        full = np.full(count, 1.0)
        return Plan(full * length, full * depth, angle, full * 0.07, full * 0.05, full * width)

    cells, wide = split(cells, plan(760, 620, 24.0), rng)
    cells, narrow = split(cells, plan(400, 300, 16.0), rng)
    streets = [_streets(wide, "secondary", "s"), _streets(narrow, "tertiary", "t")]
    found = Quarters(cells, angle[cells.owner], _characters(tile, water, cells.net, target))
    return found, Lines(*(np.concatenate([getattr(s, f) for s in streets]) for f in
                          ("geometry", "road_class", "width", "key", "bridge")))  # fmt: skip

"""What stands on the strips: footprints with storeys, heights and uses for every kind of block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample import lots as shape
from ingest.sample.fabric import Fabric, distance_to_core
from ingest.sample.lots import Lots, fit, keep_inside, rows
from ingest.sample.plane import Floats, Geometries
from ingest.sample.shapes import Integers, centers

WALL = 0.04


@dataclass(frozen=True)
class Built:
    """Buildings of one tile in its own metres; `strip`, `row` and `place` say on which lot each stands.

    `title` is what the building is called before it gets a name of its own ("tower", "school" …; "" for houses).
    """

    geometry: Geometries
    use: npt.NDArray[np.object_]
    title: npt.NDArray[np.object_]
    levels: Integers
    height: Floats
    year: Integers
    strip: Integers
    row: Integers
    place: Integers

    def __len__(self) -> int:
        return len(self.geometry)

    def take(self, index: npt.NDArray[Any]) -> Built:
        """Those of a mask or an index."""
        return Built(*(getattr(self, f)[index] for f in self.__dataclass_fields__))


def join(parts: list[Built]) -> Built:
    """Return one group after the other."""
    return Built(*(np.concatenate([getattr(p, f) for p in parts]) for f in Built.__dataclass_fields__))


@dataclass(frozen=True)
class Site:
    """The strips of one kind: land, their numbers in the tile, metres from the core, random numbers."""

    land: Geometries
    number: Integers
    core: Floats
    reach: float
    is_main: npt.NDArray[np.bool_]
    rng: np.random.Generator

    def one(self, mask: npt.NDArray[np.bool_]) -> Site:
        """Return some of the strips."""
        return Site(
            self.land[mask],
            self.number[mask],
            self.core[mask],
            self.reach,
            self.is_main[np.repeat(mask, 2)],
            self.rng,
        )


def _put(site: Site, lots: Lots, footprints: Geometries, use: npt.ArrayLike, title: npt.ArrayLike,
         levels: npt.ArrayLike, storey: npt.ArrayLike, years: tuple[int, int], smallest: float = 18.0,
         roof: tuple[float, float] = (0.3, 1.4)) -> Built:  # fmt: skip
    """Keep what stands wholly on its strip; height is storeys of `storey` metres and something on the roof."""
    count = len(lots)
    trimmed, good = keep_inside(footprints, site.land[lots.strip], smallest)
    levels = np.broadcast_to(np.asarray(levels), count).astype(np.int64)
    height = levels * np.asarray(storey) + site.rng.uniform(*roof, count)
    # A street is built up within some years; single lots are rebuilt later.
    began = site.rng.integers(years[0], years[1], len(site.land))[lots.strip]
    year = np.minimum(began + np.floor(site.rng.exponential(6, count)).astype(np.int64), 2024)
    made = Built(
        trimmed,
        np.broadcast_to(np.asarray(use, dtype=object), count),
        np.broadcast_to(np.asarray(title, dtype=object), count),
        levels,
        np.round(height, 1),
        year,
        site.number[lots.strip],
        lots.row,
        lots.place,
    )
    return made.take(good)


def _choose(lots: Lots, shapes: list[Floats], weights: list[float], rng: np.random.Generator, left: Floats,
            right: Floats, front: Floats, rear: Floats) -> Geometries:  # fmt: skip
    """Draw each lot's footprint from some shapes."""
    which = rng.choice(len(shapes), len(lots), p=weights)
    found = np.empty(len(lots), dtype=object)
    for k, outline in enumerate(shapes):
        mine = which == k
        if mine.any():
            found[mine] = fit(lots.take(mine), outline, left[mine], right[mine], front[mine], rear[mine])
    return found


def _dense(site: Site) -> Built:
    """Tube houses wall to wall; shophouses along larger streets."""
    rng = site.rng
    lots = rows(site.land, (4.1, 6.1), 21.0, 8.0, rng)
    lots = lots.take(rng.uniform(size=len(lots)) > 0.025)
    count = len(lots)
    front = np.where(rng.uniform(size=count) < 0.35, rng.uniform(0.6, 2.2, count), 0.05)
    wanted = rng.uniform(12, 20, count)
    rear = np.maximum(rng.uniform(0.4, 1.8, count), lots.depth - front - wanted)
    wall = np.full(count, WALL)
    footprints = _choose(lots, [shape.RECTANGLE, shape.L_SHAPE], [0.93, 0.07], rng, wall, wall, front, rear)
    is_main = site.is_main[lots.strip * 2 + lots.row]
    near = np.exp(-site.core[lots.strip] / (0.35 * site.reach))
    levels = 1 + rng.binomial(4, np.clip(0.34 + 0.28 * near + 0.2 * is_main, 0, 0.9))
    levels += (is_main & (rng.uniform(size=count) < 0.15)) * rng.integers(1, 4, count)
    use = np.where(rng.uniform(size=count) < np.where(is_main, 0.55, 0.05), "mixed", "house")
    return _put(site, lots, footprints, use, "", levels, rng.uniform(3.2, 3.6, count), (1962, 2016))


def _rows(site: Site) -> Built:
    """Planned town houses with small front gardens."""
    rng = site.rng
    lots = rows(site.land, (6.3, 9.3), 25.0, 11.0, rng)
    lots = lots.take(rng.uniform(size=len(lots)) > 0.03)
    count = len(lots)
    front = rng.choice([2.4, 3.5, 3.5, 4.5], count)
    rear = np.maximum(rng.uniform(1.5, 4, count), lots.depth - front - rng.uniform(13, 17, count))
    gap = np.where(rng.uniform(size=count) < 0.18, rng.uniform(0.8, 1.6, count), WALL)
    footprints = _choose(lots, [shape.RECTANGLE, shape.L_SHAPE, shape.L_MIRRORED], [0.72, 0.14, 0.14], rng,
                         np.full(count, WALL), gap, front, rear)  # fmt: skip
    is_main = site.is_main[lots.strip * 2 + lots.row]
    levels = rng.choice([2, 3, 3, 4], len(site.land))[lots.strip] + rng.choice([-1, 0, 0, 0, 1], count) + is_main
    use = np.where(rng.uniform(size=count) < np.where(is_main, 0.5, 0.04), "mixed", "house")
    return _put(site, lots, footprints, use, "", np.maximum(levels, 1), rng.uniform(3.3, 3.6, count), (1990, 2021))


def _villas(site: Site) -> Built:
    """Free-standing houses in gardens."""
    rng = site.rng
    lots = rows(site.land, (15.5, 28.0), 31.0, 13.0, rng)
    lots = lots.take(rng.uniform(size=len(lots)) > 0.06)
    count = len(lots)
    side = np.minimum(rng.uniform(1.8, 4.6, (2, count)), 0.22 * lots.width)
    front = np.minimum(rng.uniform(4, 8, count), 0.28 * lots.depth)
    rear = np.maximum(rng.uniform(3, 7, count), lots.depth - front - rng.uniform(12, 19, count))
    outlines = [shape.RECTANGLE, shape.L_SHAPE, shape.L_MIRRORED, shape.T_SHAPE]
    footprints = _choose(lots, outlines, [0.4, 0.22, 0.22, 0.16], rng, side[0], side[1], front, rear)
    levels = rng.choice([1, 2, 2, 3, 3], count)
    return _put(
        site,
        lots,
        footprints,
        "house",
        "",
        levels,
        rng.uniform(3.4, 3.8, count),
        (1994, 2020),
        40,
        (0.8, 2.2),
    )


def _farm(site: Site) -> Built:
    """Farmhouses, few and far between."""
    rng = site.rng
    lots = rows(site.land, (18.0, 40.0), 34.0, 14.0, rng)
    lots = lots.take(rng.uniform(size=len(lots)) < 0.09)
    count = len(lots)
    side = rng.uniform(0.2, 0.32, (2, count)) * lots.width
    front = rng.uniform(5, 12, count)
    footprints = _choose(lots, [shape.RECTANGLE, shape.L_SHAPE], [0.7, 0.3], rng, side[0], side[1], front,
                         np.maximum(3.0, lots.depth - front - rng.uniform(8, 13, count)))  # fmt: skip
    return _put(site, lots, footprints, "house", "", rng.integers(1, 3, count), 3.3, (1975, 2020), 30)


def _mixed(site: Site) -> Built:
    """Hotels, shops and offices of middling height, wall to wall."""
    rng = site.rng
    lots = rows(site.land, (6.5, 19.0), 28.0, 11.0, rng)
    count = len(lots)
    rear = np.maximum(rng.uniform(1, 6, count), lots.depth - rng.uniform(16, 26, count))
    wall = np.full(count, WALL)
    footprints = _choose(lots, [shape.RECTANGLE, shape.L_SHAPE, shape.CHAMFERED], [0.75, 0.17, 0.08], rng, wall, wall,
                         np.full(count, 0.1), rear)  # fmt: skip
    levels = np.clip(np.rint(rng.gamma(4.0, 1.6, count) * (0.55 + lots.width / 22)), 2, 19)
    use = rng.choice(["mixed", "commercial", "office", "house"], count, p=[0.42, 0.25, 0.2, 0.13])
    title = np.where((levels >= 7) & (use != "house"), "block", "")
    return _put(site, lots, footprints, use, title, levels, rng.uniform(3.4, 3.7, count), (1968, 2018))


def _on_podium(site: Site, lots: Lots, towers: Geometries, podium: npt.NDArray[np.bool_], base: npt.ArrayLike, use: str,
               years: tuple[int, int]) -> Built:  # fmt: skip
    """Low buildings about the feet of towers: the lot without the tower that rises out of it."""
    some = lots.take(podium)
    margin = np.full(len(some), 4.0)
    outline = fit(some, shape.RECTANGLE, margin, margin, margin, margin)
    ring = shapely.difference(outline, shapely.buffer(towers[podium], 0.05, join_style="mitre"))
    return _put(site, some, ring, use, "podium", base, 4.2, years, 200)


def _center(site: Site) -> Built:
    """Office towers over shops, between lower houses of business; the tallest stand at the core."""
    rng = site.rng
    has_towers = rng.uniform(size=len(site.land)) < np.clip(1.05 - site.core / (0.12 * site.reach), 0.25, 0.85)
    made = []
    low = site.one(~has_towers)
    if len(low.land):
        part = Site(low.land, low.number, low.core, low.reach, low.is_main, rng)
        made.append(_mixed(part))
    high = site.one(has_towers)
    if len(high.land):
        lots = rows(high.land, (34.0, 54.0), 44.0, 22.0, rng)
        count = len(lots)
        at = np.hypot(*(lots.corners.mean(axis=1) - _peak(site)).T)
        tall = 13 + 45 * np.exp(-((at / (0.072 * site.reach)) ** 2)) * rng.uniform(0.5, 1.0, count)
        levels = np.minimum(np.rint(tall + rng.uniform(0, 6, count)), 58)
        size = rng.uniform(0.56, 0.78, (2, count))
        side, end = (1 - size[0]) * lots.width / 2, (1 - size[1]) * lots.depth / 2
        outlines = [shape.CHAMFERED, shape.RECTANGLE, shape.ROUND, shape.SLANTED, shape.L_SHAPE]
        towers = _choose(lots, outlines, [0.32, 0.34, 0.1, 0.16, 0.08], rng, side, side, end, end)
        if count:
            highest = int(np.argmin(at))
            levels[highest] = 60
        is_tower = rng.uniform(size=count) < 0.74
        if count:
            is_tower[highest] = True
        standing = lots.take(is_tower)
        use = rng.choice(["office", "office", "commercial", "mixed"], len(standing))
        made.append(
            _put(
                high,
                standing,
                towers[is_tower],
                use,
                "tower",
                levels[is_tower],
                3.6,
                (1996, 2022),
                200,
                (2, 5),
            )
        )
        made.append(
            _on_podium(high, lots, towers, is_tower, rng.integers(3, 7, is_tower.sum()), "commercial", (1996, 2022))
        )
        rest = lots.take(~is_tower)
        margin = np.full(len(rest), 3.0)
        low_rise = _choose(rest, [shape.RECTANGLE, shape.U_SHAPE, shape.L_SHAPE], [0.4, 0.3, 0.3], rng, margin, margin,
                           margin, margin)  # fmt: skip
        made.append(
            _put(
                high,
                rest,
                low_rise,
                "commercial",
                "block",
                rng.integers(4, 12, len(rest)),
                3.7,
                (1935, 2015),
                100,
            )
        )
    return join(made)


def _peak(site: Site) -> Floats:
    """Return where the skyline culminates: the strip nearest the core."""
    found: Floats = centers(site.land[[int(np.argmin(site.core))]])[0]
    return found


def _towers(site: Site) -> Built:
    """Estates of apartment towers, alike within one estate."""
    rng = site.rng
    lots = rows(site.land, (50.0, 66.0), 60.0, 36.0, rng)
    sizes = np.array([[30.0, 34.0], [46.0, 19.0], [34.0, 34.0], [40.0, 26.0], [30.0, 30.0]])
    outlines = [shape.H_SHAPE, shape.RECTANGLE, shape.CROSS, shape.SLANTED, shape.CHAMFERED]
    estate = rng.choice(5, len(site.land), p=[0.3, 0.26, 0.2, 0.1, 0.14])
    base = np.rint(15 + 18 * rng.beta(1.3, 2.6, len(site.land))).astype(np.int64)
    made = []
    for k, outline in enumerate(outlines):
        some = lots.take(estate[lots.strip] == k)
        wide, deep = np.minimum(sizes[k][0], some.width - 8), np.minimum(sizes[k][1], some.depth - 8)
        some_fit = (wide > 12) & (deep > 12)
        some, wide, deep = some.take(some_fit), wide[some_fit], deep[some_fit]
        count = len(some)
        side, end = (some.width - wide) / 2, (some.depth - deep) / 2
        towers = fit(some, outline, side, side, end, end)
        levels = np.clip(base[some.strip] + rng.integers(-2, 3, count), 15, 35)
        made.append(_put(site, some, towers, "apartments", "estate", levels, 3.2, (2004, 2022), 150, (1.5, 4)))
        podium = (some.strip % 3) == 0
        if podium.any():
            made.append(_on_podium(site, some, towers, podium, 2, "commercial", (2004, 2022)))
    return join(made)


def _sheds(site: Site) -> Built:
    """Halls and warehouses."""
    rng = site.rng
    lots = rows(site.land, (34.0, 64.0), 92.0, 30.0, rng)
    lots = lots.take(rng.uniform(size=len(lots)) > 0.1)
    count = len(lots)
    margin = rng.uniform(4, 8, (3, count))
    footprints = _choose(lots, [shape.RECTANGLE, shape.L_SHAPE], [0.86, 0.14], rng, margin[0], margin[1],
                         np.full(count, 10.0), margin[2] + rng.uniform(0, 18, count))  # fmt: skip
    levels = rng.choice([1, 1, 1, 2], count)
    return _put(site, lots, footprints, "industrial", "shed", levels, rng.uniform(6.5, 9.5, count), (1985, 2021), 200)


def _campus(front: tuple[float, float], deepest: float, margin: float, outlines: list[Floats], use: str, title: str,
            levels: tuple[int, int], storey: float = 3.7, keep: float = 1.0, is_single: bool = False,
            years: tuple[int, int] = (1975, 2018)) -> Callable[[Site], Built]:  # fmt: skip
    """Return a kind of block with a few free-standing buildings of one use."""

    def build(site: Site) -> Built:
        rng = site.rng
        lots = rows(site.land, front, deepest, min(deepest, 16.0 + margin), rng, is_single)
        lots = lots.take((lots.width > 2.5 * margin) & (rng.uniform(size=len(lots)) < keep))
        count = len(lots)
        gap = np.full(count, margin)
        footprints = _choose(lots, outlines, [1 / len(outlines)] * len(outlines), rng, gap, gap, gap, gap)
        height = rng.integers(levels[0], levels[1] + 1, count)
        return _put(site, lots, footprints, use, title, height, storey, years, 60)

    return build


BUILDERS: dict[str, Callable[[Site], Built]] = {
    "dense": _dense,
    "rows": _rows,
    "villas": _villas,
    "farm": _farm,
    "mixed": _mixed,
    "center": _center,
    "towers": _towers,
    "industry": _sheds,
    "wharf": _sheds,
    "school": _campus((48, 66), 46, 6, [shape.U_SHAPE, shape.L_SHAPE, shape.L_MIRRORED], "education", "school", (2, 4),
                      keep=0.75),
    "hospital": _campus((36, 52), 48, 6, [shape.H_SHAPE, shape.RECTANGLE, shape.U_SHAPE], "health", "hospital",
                        (3, 12)),
    "university": _campus((44, 60), 50, 8, [shape.U_SHAPE, shape.H_SHAPE, shape.L_SHAPE], "education", "university",
                          (3, 9), keep=0.8),
    "market": _campus((46, 70), 60, 7, [shape.RECTANGLE], "commercial", "market", (1, 2), 5.0),
    "office": _campus((34, 52), 40, 6, [shape.U_SHAPE, shape.RECTANGLE], "public", "office", (2, 6)),
    "pagoda": _campus((20, 30), 28, 5, [shape.RECTANGLE, shape.T_SHAPE], "religious", "pagoda", (1, 2), 5.5, 0.6,
                      years=(1890, 1995)),
    "church": _campus((30, 44), 44, 7, [shape.CROSS, shape.RECTANGLE], "religious", "church", (1, 2), 9.0, 0.6,
                      years=(1890, 1995)),
    "museum": _campus((50, 80), 60, 9, [shape.RECTANGLE, shape.H_SHAPE, shape.ROUND], "public", "museum", (2, 4), 5.0),
    "terminal": _campus((60, 90), 44, 9, [shape.RECTANGLE], "other", "terminal", (1, 2), 6.0, 0.6),
    "sport": _campus((50, 80), 40, 8, [shape.RECTANGLE, shape.ROUND], "public", "sport", (1, 2), 7.0, 0.5),
}  # fmt: skip


def facing(fabric: Fabric, strips: Geometries) -> Integers:
    """Return the street that each strip's lower and upper row look onto: index 2 * strip + row."""
    lots = rows(strips, (1e6, 1e6), 12.0, 0.5, np.random.default_rng(0))
    middle = (lots.corners[:, 0] + lots.corners[:, 1]) / 2
    inward = (lots.corners[:, 3] + lots.corners[:, 2]) / 2 - middle
    length = np.maximum(np.hypot(*inward.T), 1e-6)[:, None]
    points = middle - inward / length * 3.0
    is_street = np.flatnonzero(~np.isin(fabric.streets.road_class, ("motorway", "path")))
    tree = shapely.STRtree(fabric.streets.geometry[is_street])
    found = np.full(2 * len(strips), -1, dtype=np.int64)
    at = 2 * lots.strip + lots.row
    # Most rows have their street at hand; looking no further is much faster.
    for reach in (30.0, None):
        left = np.flatnonzero(found[at] < 0)
        matched, near = tree.query_nearest(shapely.points(points[left]), max_distance=reach, all_matches=False)
        found[at[left[matched]]] = is_street[near]
    missing = found.reshape(-1, 2)
    both = missing.max(axis=1)
    return np.where(missing < 0, both[:, None], missing).ravel()


def build(fabric: Fabric, kinds: dict[str, npt.NDArray[np.bool_]], front: Integers, stage: str) -> Built:
    """Build on the strips of each kind, given as masks over the fabric's strips."""
    core = distance_to_core(fabric, fabric.strips.area)
    wide = np.isin(fabric.streets.road_class, ("trunk", "primary", "secondary", "tertiary"))
    is_main = np.where(front >= 0, wide[front], False)
    made = []
    for kind, mask in kinds.items():
        number = np.flatnonzero(mask)
        if not len(number):
            continue
        mains = is_main.reshape(-1, 2)[number].ravel()
        site = Site(fabric.strips.area[number], number, core[number], fabric.tile.side, mains,
                    fabric.tile.rng(f"{stage} {kind}"))  # fmt: skip
        made.append(BUILDERS[kind](site))
    return join(made)

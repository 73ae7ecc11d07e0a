"""The buildings of a tile: exactly its share of the city's number, with addresses, names and residents."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.sample.built import BUILDERS, Built, build, facing, join
from ingest.sample.fabric import Fabric
from ingest.sample.names import ESTATES, HOUSES, OLD_WORDS, PLACES, TREES, VIRTUES, pick
from ingest.sample.plane import Floats
from ingest.sample.shapes import Integers

# Living space in m2 for one resident.
SPACE_HOUSE, SPACE_APARTMENT = 34.0, 42.0
# Lots of these titles are thinned first when a tile has room for more buildings than its share.
THINNED = ("dense", "rows", "villas")


@dataclass(frozen=True)
class Stock:
    """The buildings of a tile, their residents, and the street that each row of lots looks onto."""

    built: Built
    residents: Integers
    front: Integers


def _on_open_land(fabric: Fabric, kind: npt.NDArray[np.object_], front: Integers, missing: int) -> list[Built]:
    """Town houses along the streets of open land, strip by strip, until so many more have found room."""
    made: list[Built] = []
    for strip in np.flatnonzero(np.isin(kind, ("vacant", "wetland", "park"))):
        if missing <= 0:
            break
        made.append(build(fabric, {"dense": np.arange(len(kind)) == strip}, front, f"more {strip}"))
        missing -= len(made[-1])
    return made


def _thinned(built: Built, kind: npt.NDArray[np.object_], count: int, rng: np.random.Generator) -> Built:
    """Leave lots empty at random, houses first, until `count` buildings remain."""
    excess = len(built) - count
    if excess <= 0:
        return built
    is_house = np.isin(kind[built.strip], THINNED) & (built.title == "")
    order = np.concatenate([rng.permutation(np.flatnonzero(is_house)), rng.permutation(np.flatnonzero(~is_house))])
    keep = np.ones(len(built), dtype=bool)
    keep[order[:excess]] = False
    return built.take(keep)


def make_stock(fabric: Fabric) -> Stock:
    """Build a tile's share of the buildings."""
    front = facing(fabric, fabric.strips.area)
    kind = fabric.blocks.kind[fabric.strips.block]
    built = build(fabric, {name: kind == name for name in BUILDERS}, front, "build")
    count = fabric.tile.buildings
    if len(built) < count:
        built = join([built, *_on_open_land(fabric, kind, front, count - len(built))])
    built = _thinned(built, kind, count, fabric.tile.rng("thin"))
    order = np.lexsort((built.place, built.row, built.strip))
    built = built.take(order)
    return Stock(built, _residents(built, fabric.tile.rng("residents")), front)


def _residents(built: Built, rng: np.random.Generator) -> Integers:
    floor = shapely.area(built.geometry) * built.levels
    is_home = np.isin(built.use, ("house", "apartments"))
    space = np.where(built.use == "apartments", SPACE_APARTMENT, SPACE_HOUSE)
    share = np.where(is_home, 1.0, np.where((built.use == "mixed") & (built.title == ""), 0.55, 0.0))
    people = floor * share / space * rng.uniform(0.7, 1.25, len(built))
    # Large houses hold a large family, not a crowd.
    most = np.where(built.use == "apartments", np.inf, 11.0)
    whole: npt.NDArray[np.int64] = np.floor(np.minimum(people, most)).astype(np.int64)
    return whole


def _addresses(fabric: Fabric, stock: Stock) -> npt.NDArray[np.object_]:
    """House number and street; behind an alley the alley's number comes first, as on doors in the city."""
    built = stock.built
    street = stock.front[2 * built.strip + np.minimum(built.row, 1)]
    rng = fabric.tile.rng("numbers")
    start = rng.integers(1, 180, 2 * len(fabric.strips.area))[2 * built.strip + np.minimum(built.row, 1)]
    number = 2 * ((start % 90) + built.place) + 1 + built.row % 2
    names = fabric.street_names
    found = np.full(len(built), None, dtype=object)
    for i, (s, n, p) in enumerate(zip(street, number, built.place, strict=True)):
        name = names[s] if s >= 0 else None
        if name is None:
            continue
        if name.startswith("Hẻm "):
            alley, rest = name[4:].split(" ", 1)
            found[i] = f"{alley}/{p + 1} {rest}"
        else:
            found[i] = f"{n} {name}"
    return found


def _names(fabric: Fabric, built: Built) -> npt.NDArray[np.object_]:
    """Return names for what people call by name: towers, estates, schools, markets, pagodas …"""
    rng = fabric.tile.rng("building names")
    found = np.full(len(built), None, dtype=object)

    def by_strip(title: str, words: tuple[str, ...], form: str, suffix: str | None = None) -> None:
        mine = np.flatnonzero(built.title == title)
        strips, which = np.unique(built.strip[mine], return_inverse=True)
        chosen = pick(words, len(strips), rng)
        seen: dict[int, int] = {}
        for i, w in zip(mine, which, strict=True):
            seen[w] = seen.get(w, 0) + 1
            tail = "" if suffix is None else f" – {suffix} {_letter(seen[w])}"
            found[i] = form.format(chosen[w]) + tail

    towers = np.flatnonzero(built.title == "tower")
    found[towers] = [f"Tòa nhà {name}" for name in pick(HOUSES, len(towers), rng)]
    if len(towers):
        found[towers[int(np.argmax(built.height[towers]))]] = f"Tháp {fabric.river_name}"
    hotels = np.flatnonzero((built.title == "block") & (built.use == "commercial"))
    found[hotels] = [f"Khách sạn {name}" for name in pick(HOUSES[::-1], len(hotels), rng)]
    by_strip("estate", ESTATES, "Chung cư {}", "Lô")
    by_strip("shed", VIRTUES, "Kho {}", "Nhà")
    by_strip("school", TREES, "Trường {}", "Dãy")
    by_strip("hospital", VIRTUES, "Bệnh viện {}", "Khu")
    by_strip("university", PLACES, "Trường Đại học {}", "Nhà")
    by_strip("market", OLD_WORDS, "Chợ {}")
    by_strip("museum", OLD_WORDS, "Bảo tàng {}")
    return found


def _letter(number: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number - 1) % 26] + ("" if number <= 26 else str((number - 1) // 26 + 1))


def building_frame(fabric: Fabric, stock: Stock) -> gpd.GeoDataFrame:
    """Return the buildings layer of one tile, EPSG:4326."""
    built, tile = stock.built, fabric.tile
    floor: Floats = np.round(shapely.area(built.geometry) * built.levels * 0.95, 1)
    return gpd.GeoDataFrame(
        {
            "id": [f"b{tile.index}-{i}" for i in range(len(built))],
            "name": pd.array(_names(fabric, built), dtype="str"),
            "height": built.height,
            "levels": pd.array(built.levels, dtype="Int64"),
            "use": pd.array(built.use, dtype="str"),
            "address": pd.array(_addresses(fabric, stock), dtype="str"),
            "year_built": pd.array(built.year, dtype="Int64"),
            "floor_area_m2": floor,
        },
        geometry=tile.degrees(built.geometry),
        crs="EPSG:4326",
    )

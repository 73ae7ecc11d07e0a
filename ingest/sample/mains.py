"""The main streets of a tile: expressway, trunk road, boulevards over the river, rings along it, and quay streets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.plane import Floats, Geometries, Tile
from ingest.sample.shapes import along, hermite, meander, normals, parts
from ingest.sample.water import CANAL_QUAY, RIVER_QUAY, Water

# A column of a table that is being made.
Column = Sequence[Any] | npt.NDArray[Any]

CLASSES = ("motorway", "trunk", "primary", "secondary", "tertiary", "residential", "service", "path")
# Width between the blocks on both sides, in metres.
WIDTHS = {"motorway": 52.0, "trunk": 42.0, "primary": 36.0, "secondary": 25.0, "tertiary": 16.0}

# Place on the west and east edges as a share of the side, its play, class, and how straight it holds to the bridge.
ACROSS = (
    (0.405, 0.015, "motorway"),
    (0.085, 0.02, "primary"),
    (-0.095, 0.02, "primary"),
    (-0.405, 0.015, "trunk"),
)
# Distance from the river at the north and south edges as a share of the side, how far it follows the river, class.
BESIDE = (
    (-0.15, 0.80, "primary"),
    (-0.30, 0.50, "secondary"),
    (-0.47, 0.25, "primary"),
    (0.13, 0.72, "primary"),
    (0.235, 0.34, "secondary"),
)
# A smaller city has fewer of each.
SMALL_ACROSS, SMALL_BESIDE = (0, 2), (0, 3)
SMALL = 0.55


@dataclass(frozen=True)
class Lines:
    """Streets as centre lines with class, width in metres, and a key that streets of one name share."""

    geometry: Geometries
    road_class: np.ndarray
    width: Floats
    key: np.ndarray
    bridge: np.ndarray

    def __len__(self) -> int:
        return len(self.geometry)

    def take(self, mask: np.ndarray) -> Lines:
        """Those of a mask or an index."""
        return Lines(*(getattr(self, f)[mask] for f in ("geometry", "road_class", "width", "key", "bridge")))

    def surface(self) -> Geometries:
        """Return the ground that each street takes."""
        ground: Geometries = shapely.buffer(
            self.geometry, self.width / 2, cap_style="flat", join_style="mitre", quad_segs=2
        )
        return ground


def lines(
    geometry: Column, road_class: Column, width: Column, key: Column,
    bridge: Column | None = None,
) -> Lines:  # fmt: skip
    """Make a table of streets from columns."""
    count = len(geometry)
    return Lines(
        np.array(geometry, dtype=object),
        np.array(road_class, dtype=object),
        np.asarray(width, dtype=np.float64),
        np.array(key, dtype=object),
        np.zeros(count, dtype=bool) if bridge is None else np.asarray(bridge, dtype=bool),
    )


def join(tables: list[Lines]) -> Lines:
    """Return one table after the other."""
    return Lines(*(np.concatenate([getattr(t, f) for t in tables]) for f in
                   ("geometry", "road_class", "width", "key", "bridge")))  # fmt: skip


def _across(tile: Tile, water: Water, share: float, play: float) -> Floats:
    """Return a boulevard from the west to the east edge that meets the river squarely on its bridge."""
    west, east = ((share + tile.edge_rng(e, f"across{share}").uniform(-play, play)) * tile.side
                  for e in ("west", "east"))  # fmt: skip
    points = water.river_points
    crossing = int(np.argmin(np.abs(points[:, 1] - (west + east) / 2)))
    normal = normals(points)[crossing]
    normal = normal * np.sign(normal[0]) + [0.35, 0]
    normal /= np.hypot(*normal)
    reach = 260.0 * max(0.4, tile.scale)
    left, right = points[crossing] - normal * reach, points[crossing] + normal * reach
    half = tile.half
    pull_west, pull_east = 0.9 * (left[0] + half), 0.9 * (half - right[0])
    first = hermite((-half, west), (pull_west, 0), left, normal * pull_west, 40)
    second = hermite(right, normal * pull_east, (half, east), (pull_east, 0), 40)
    rng = tile.rng(f"across{share}")
    sway = 0.02 * tile.side
    return np.vstack([[-half - 80, west], meander(first, sway, rng, 2), meander(second, sway, rng, 2),
                      [half + 80, east]])  # fmt: skip


def _beside(tile: Tile, water: Water, offset: float, follow: float) -> Floats:
    """Return a street from the north to the south edge that follows the river's bend more or less."""
    y = np.linspace(tile.half, -tile.half, 90)
    ends = {
        e: float(water.river_x(np.array([tile.half if e == "north" else -tile.half]))[0]) for e in ("north", "south")
    }
    straight = np.interp(y, [-tile.half, tile.half], [ends["south"], ends["north"]])
    river = water.river_x(y)
    # Far from the river a street remembers only its broad sweep.
    weights = np.hanning(25) / np.hanning(25).sum()
    around = np.lib.stride_tricks.sliding_window_view(np.pad(river, 12, mode="edge"), 25)
    smooth = (around * weights).sum(axis=1)
    x = straight + follow * (smooth - straight) + offset * tile.side
    points = meander(np.column_stack([x, y]), 0.012 * tile.side, tile.rng(f"beside{offset}"), 3)
    return np.vstack([points[0] + [0, 80], points, points[-1] - [0, 80]])


def _quays(tile: Tile, water: Water) -> Lines:
    """Streets along both banks of the river and the canals."""
    square = tile.square
    rim = shapely.intersection(shapely.boundary(water.quay_zone), square)
    rim = shapely.difference(rim, shapely.boundary(square).buffer(1.0))
    rim = shapely.line_merge(rim)
    near_river = water.river.buffer(RIVER_QUAY * max(0.5, tile.scale) + 6)
    river_side, a = parts(np.array([shapely.line_merge(shapely.intersection(rim, near_river))]), 1, 8)
    canal_side, b = parts(np.array([shapely.line_merge(shapely.difference(rim, near_river))]), 1, 8)
    geometry = np.concatenate([river_side, canal_side])
    is_river = np.arange(len(geometry)) < len(a)
    return lines(
        geometry,
        np.where(is_river, "secondary", "tertiary"),
        np.where(is_river, 18.0, 2 * CANAL_QUAY - 10.0),
        [f"quay{i}" for i in range(len(a) + len(b))],
    )


def _small_bridges(tile: Tile, water: Water, taken: shapely.Geometry) -> Lines:
    """Bridges of side streets over the canals, where no main street crosses nearby."""
    rng = tile.rng("bridges")
    found = []
    for canal in water.canals:
        at = float(rng.uniform(250, 420))
        while at < canal.length - 200:
            p, q = (np.array(canal.interpolate(at + d).coords[0]) for d in (-5, 5))
            normal = np.array([-(q - p)[1], (q - p)[0]]) / np.hypot(*(q - p))
            cut = shapely.intersection(shapely.LineString([p - normal * 60, p + normal * 60]), water.quay_zone)
            is_clear = cut.geom_type == "LineString" and 25 < cut.length < 90
            if is_clear and not cut.intersects(water.river.buffer(60)) and taken.distance(cut) > 140:
                found.append(cut)
            at += float(rng.uniform(420, 640))
    count = len(found)
    return lines(found, ["tertiary"] * count, [12.0] * count, [f"bridge{i}" for i in range(count)], [True] * count)


def with_bridges(table: Lines, water: Water) -> Lines:
    """Cut streets where they go over water; those stretches are bridges."""
    over = shapely.union_all([water.river.buffer(14), *shapely.buffer(water.canal_surfaces, 6),
                              *shapely.buffer(water.creek_surfaces, 4)])  # fmt: skip
    shapely.prepare(over)
    pieces: list[tuple[int, shapely.LineString, bool]] = []
    is_wet = shapely.intersects(over, table.geometry)
    for i, line in enumerate(table.geometry):
        if not is_wet[i]:
            pieces.append((i, line, False))
            continue
        cuts = shapely.get_coordinates(shapely.intersection(line, shapely.boundary(over)))
        stations = np.unique(np.concatenate([[0], [line.project(shapely.Point(c)) for c in cuts], [line.length]]))
        stations = stations[np.concatenate([[True], np.diff(stations) > 0.5])]
        stations[-1] = line.length
        for piece in along(line, stations[:-1], stations[1:]):
            pieces.append((i, piece, bool(over.contains(piece.interpolate(0.5, normalized=True)))))
    source = np.array([i for i, _, _ in pieces])
    return Lines(np.array([g for _, g, _ in pieces], dtype=object), table.road_class[source], table.width[source],
                 table.key[source], np.array([b for _, _, b in pieces]))  # fmt: skip


def make_mains(tile: Tile, water: Water) -> Lines:
    """Draw the main streets and quay streets of a tile, cut at their bridges."""
    is_small = tile.scale < SMALL
    square = tile.square
    found: list[tuple[shapely.LineString, str, str]] = []
    for i, (share, play, road_class) in enumerate(ACROSS):
        if not is_small or i in SMALL_ACROSS:
            found.append((shapely.LineString(_across(tile, water, share, play)), road_class, f"across{i}"))
    for i, (offset, follow, road_class) in enumerate(BESIDE):
        if not is_small or i in SMALL_BESIDE:
            found.append((shapely.LineString(_beside(tile, water, offset, follow)), road_class, f"beside{i}"))
    clipped, source = parts(np.array([shapely.intersection(g, square) for g, _, _ in found]), 1, 30)
    shrink = 0.6 if is_small else 1.0
    mains = lines(
        clipped,
        [found[i][1] for i in source],
        [WIDTHS[found[i][1]] * shrink for i in source],
        [found[i][2] for i in source],
    )
    bridges = _small_bridges(tile, water, shapely.union_all(mains.geometry))
    return join([with_bridges(join([mains, _quays(tile, water)]), water), bridges])

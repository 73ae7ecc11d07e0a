"""The river, its canals and creeks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from ingest.sample.plane import Floats, Geometries, Tile, settled
from ingest.sample.shapes import hermite, meander, normals, ribbon

RIVER_WIDTH = 270.0
# Half the width of the strip between the bank and the quay street's axis.
RIVER_QUAY, CANAL_QUAY = 34.0, 11.0


@dataclass(frozen=True)
class Water:
    """Water of one tile: surfaces, centre lines, and the zone between the quay streets. Metres about the tile's centre.

    `bend` is the river's point in the middle of its great bend, where the centre of the city lies on the west bank.
    """

    river_line: shapely.LineString
    river_points: Floats
    canals: tuple[shapely.LineString, ...]
    creeks: tuple[shapely.LineString, ...]
    river: shapely.Polygon
    canal_surfaces: Geometries
    creek_surfaces: Geometries
    surface: shapely.Geometry
    quay_zone: shapely.Geometry
    bend: tuple[float, float]

    def river_x(self, y: Floats) -> Floats:
        """Return where the river's axis passes at the given northings."""
        line = self.river_points[::-1]
        return np.interp(y, line[:, 1], line[:, 0])


def _river(tile: Tile) -> tuple[Floats, Floats]:
    rng = tile.rng("river")
    top, bottom = (tile.edge_rng(e, "river").uniform(0.16, 0.22) * tile.side for e in ("north", "south"))
    s = np.linspace(0, 1, 360)
    # A sine-generated curve: its direction, not its place, swings like a sine, which is how rivers meander.
    course = (
        rng.uniform(1.02, 1.2) * np.sin(2 * np.pi * s)
        + rng.uniform(0.12, 0.3) * np.sin(4 * np.pi * s)
        + rng.uniform(-0.22, 0.22) * np.sin(6 * np.pi * s)
    )
    x, y = -np.cumsum(np.sin(course)), -np.cumsum(np.cos(course))
    x -= np.linspace(x[0], x[-1], len(x))
    x *= rng.uniform(0.33, 0.38) * tile.side / np.ptp(x)
    y = tile.half - (y[0] - y) / (y[0] - y[-1]) * tile.side
    x += top + (bottom - top) * (3 * s**2 - 2 * s**3)
    points = np.vstack([[x[0], tile.half + 500], np.column_stack([x, y]), [x[-1], -tile.half - 500]])
    at = np.concatenate([[0], s, [1]])
    swell = 0.16 * np.sin(2 * np.pi * 1.6 * at + rng.uniform(0, 6)) + 0.06 * np.sin(2 * np.pi * 5 * at)
    widths = RIVER_WIDTH * max(0.36, tile.scale) * (1 + swell * np.sin(np.pi * at) ** 2)
    return settled(points), settled(widths)


def _canal(tile: Tile, points: Floats, edge: str, north: bool, rng: np.random.Generator) -> shapely.LineString:
    """Return a canal from the river to the place on the west or east edge that both neighbours know."""
    sign = -1.0 if edge == "west" else 1.0
    share = tile.edge_rng(edge, "canals").uniform(0.2, 0.28, 2)
    y = (share[0] if north else -share[1]) * tile.side
    start = int(np.argmin(np.abs(points[:, 1] - y * rng.uniform(0.8, 1.0))))
    normal = normals(points)[start]
    normal *= sign * np.sign(normal[0])
    end = np.array([sign * tile.half, y])
    reach = float(np.hypot(*(end - points[start])))
    curve = hermite(points[start], normal * reach * 0.9, end, np.array([sign, 0.0]) * reach * 0.8, 60)
    curve = meander(curve, min(260.0, reach * 0.13), rng)
    return shapely.LineString(np.vstack([curve, [end[0] + sign * 100, end[1]]]))


def _creek(start: Floats, heading: float, length: float, rng: np.random.Generator) -> shapely.LineString:
    steps = max(8, int(length / 40))
    at = np.linspace(0, length, steps)
    turn = np.cumsum(rng.normal(0, 0.1, steps)) + sum(
        rng.uniform(0.4, 0.8) * np.sin(at / wave + rng.uniform(0, 6.28)) for wave in (45.0, 80.0)
    )
    path = np.cumsum(np.column_stack([np.cos(heading + turn), np.sin(heading + turn)]) * length / steps, axis=0)
    return shapely.LineString(_rounded(settled(np.vstack([start, start + path]))))


def _rounded(xy: Floats) -> Floats:
    """Cut the corners of a polyline twice, so that it bends like water."""
    for _ in range(2):
        first, last = xy[:1], xy[-1:]
        xy = np.vstack([first, np.stack([0.75 * xy[:-1] + 0.25 * xy[1:], 0.25 * xy[:-1] + 0.75 * xy[1:]], 1)
                        .reshape(-1, 2), last])  # fmt: skip
    return xy


def make_water(tile: Tile) -> Water:
    """Draw the river from north to south, canals to the west and east edges, and creeks that end inland."""
    rng = tile.rng("canals")
    points, widths = _river(tile)
    river = shapely.intersection(ribbon(points, widths), tile.square.buffer(60))
    canals = [_canal(tile, points, edge, north, rng) for edge in ("west", "east") for north in (True, False)]
    size = max(0.5, tile.scale)
    canal_widths = np.array([36.0, 28.0, 22.0, 32.0]) * size
    surfaces = [line.buffer(w / 2, quad_segs=4) for line, w in zip(canals, canal_widths, strict=True)]

    creeks, creek_surfaces = [], []
    for k, share in enumerate((0.3, 0.46, 0.57, 0.8)):
        base = points[int(share * len(points))]
        heading = (0.0, -0.15, 0.35, 0.1)[k] + rng.normal(0, 0.2) + (np.pi if k == 3 else 0.0)
        creek = _creek(base, heading, tile.side * rng.uniform(0.19, 0.3), rng)
        creeks.append(creek)
        creek_surfaces.append(creek.buffer(rng.uniform(5.0, 8.0), quad_segs=4))

    square = tile.square
    wide = [river.buffer(RIVER_QUAY * size, quad_segs=6)]
    wide += [s.buffer(CANAL_QUAY, quad_segs=6) for s in surfaces]
    # Opening and closing rounds the corners where a canal meets the river, as quay streets do.
    zone = shapely.union_all(wide).buffer(25).buffer(-25)
    middle = points[int(0.5 * len(points))]
    return Water(
        river_line=shapely.intersection(shapely.LineString(points), square),
        river_points=points,
        canals=tuple(canals),
        creeks=tuple(creeks),
        river=shapely.intersection(river, square),
        canal_surfaces=np.array([shapely.intersection(shapely.difference(s, river), square) for s in surfaces]),
        creek_surfaces=np.array(
            [shapely.intersection(shapely.difference(s, shapely.union_all([river, *surfaces])), square)
             for s in creek_surfaces]
        ),
        surface=shapely.intersection(shapely.union_all([river, *surfaces, *creek_surfaces]), square),
        quay_zone=shapely.intersection(zone, square.buffer(60)),
        bend=(float(middle[0]), float(middle[1])),
    )  # fmt: skip

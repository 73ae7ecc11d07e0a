"""The map of a report: the city, the layer thinned to what a picture can show, and a number at each problem's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.checks.problems import Place

Shapes = npt.NDArray[np.object_]

MOST_SHAPES = 2000
UNKNOWN = "#b8b8b8"
WIDTH, HEIGHT = 960, 620
MARGIN = 24
# How much around the problems is shown, as a part of the layer's extent.
SURROUNDINGS = 0.05


@dataclass
class Thinned:
    """An even selection of the features that come by: each n-th, and n doubles when there are too many."""

    most: int = MOST_SHAPES
    step: int = 1
    seen: int = 0
    kept: list[BaseGeometry] = field(default_factory=list)

    def add(self, shapes: Shapes) -> None:
        """Take some of a batch."""
        first = -self.seen % self.step
        self.seen += len(shapes)
        self.kept.extend(shapes[first :: self.step])
        while len(self.kept) > self.most:
            self.kept = self.kept[::2]
            self.step *= 2

    def shapes(self) -> tuple[BaseGeometry, ...]:
        """Return what was kept."""
        return tuple(self.kept)


@dataclass(frozen=True, slots=True)
class Frame:
    """Longitude and latitude to the picture's pixels: scaled alike in both directions at the middle latitude."""

    bounds: tuple[float, float, float, float]
    scale: float
    squeeze: float
    width: float
    height: float

    def pixels(self, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return pixels, from the upper left."""
        x = (coordinates[:, 0] - self.bounds[0]) * self.squeeze * self.scale
        y = (self.bounds[3] - coordinates[:, 1]) * self.scale
        return np.column_stack([x, y])


def frame_of(bounds: tuple[float, float, float, float], width: float = WIDTH, height: float = HEIGHT) -> Frame:
    """Return a picture of a width and height with an area in its middle, as large as it can be."""
    west, south, east, north = bounds
    squeeze = float(np.cos(np.radians((south + north) / 2)))
    across, down = max((east - west) * squeeze, 1e-6), max(north - south, 1e-6)
    scale = min((width - 2 * MARGIN) / across, (height - 2 * MARGIN) / down)
    x, y = (west + east) / 2, (south + north) / 2
    half_x, half_y = width / scale / squeeze / 2, height / scale / 2
    return Frame((x - half_x, y - half_y, x + half_x, y + half_y), scale, squeeze, width, height)


def area_shown(
    shapes: list[BaseGeometry], places: list[Place], outline: BaseGeometry
) -> tuple[float, float, float, float]:
    """Return what the picture shows: the places of problems with the features around, else all features."""
    near = shapely.bounds(shapely.buffer(outline, 0.6, quad_segs=2))
    boxes = np.array([shapely.bounds(s) for s in shapes] or [shapely.bounds(outline)])
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    room = max(0.0005, SURROUNDINGS * max(east - west, north - south))
    there = np.array([(x, y) for x, y in places if near[0] <= x <= near[2] and near[1] <= y <= near[3]])
    if len(there):
        (west, south), (east, north) = there.min(axis=0) - room, there.max(axis=0) + room
    return float(west), float(south), float(east), float(north)


def spread(points: list[tuple[float, float]], apart: float) -> list[tuple[float, float]]:
    """Move marks that would cover each other to the nearest free spot, looked for in growing rings."""
    placed: list[tuple[float, float]] = []
    for x, y in points:
        spot = (x, y)
        for step in range(1, 600):
            if all(np.hypot(spot[0] - a, spot[1] - b) >= apart for a, b in placed):
                break
            ring, turn = 1 + step // 12, step % 12 * np.pi / 6
            spot = (x + ring * apart / 2 * float(np.cos(turn)), y + ring * apart / 2 * float(np.sin(turn)))
        placed.append(spot)
    return placed


def path(shape: BaseGeometry, frame: Frame, tolerance: float = 0.35) -> str:
    """Return a shape as SVG path data, simplified to what the picture can show; a point is a dot."""
    simple = shapely.simplify(shape, tolerance / frame.scale, preserve_topology=False)
    if simple.is_empty:
        simple = shapely.point_on_surface(shape)
    return "".join(_ring(part, frame) for part in shapely.get_parts(shapely.get_parts([simple])))


def _ring(part: BaseGeometry, frame: Frame) -> str:
    if part.geom_type == "Point":
        x, y = frame.pixels(shapely.get_coordinates(part))[0]
        return f"M{x:.1f} {y:.1f}h0"
    if part.geom_type == "Polygon":
        return "".join(_line(ring, frame) + "z" for ring in (part.exterior, *part.interiors))
    if part.geom_type == "GeometryCollection":
        return "".join(_ring(inner, frame) for inner in part.geoms)
    return _line(part, frame)


def _line(line: BaseGeometry, frame: Frame) -> str:
    points = np.round(frame.pixels(shapely.get_coordinates(line)), 1)
    different = np.ones(len(points), dtype=bool)
    different[1:] = (points[1:] != points[:-1]).any(axis=1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points[different])


def color_of(expression: Mapping[str, Any], value: float | str) -> str:
    """Return the colour that a style gives to a value: of its category, or between its stops (see docs, "Styles")."""
    if "categories" in expression:
        return str(expression["categories"].get(value, expression.get("other", UNKNOWN)))
    limits = np.array([limit for limit, _ in expression["stops"]], dtype=float)
    shades = np.array([[int(shade[i : i + 2], 16) for i in (1, 3, 5)] for _, shade in expression["stops"]], dtype=float)
    mixed = [round(float(np.interp(float(value), limits, shades[:, part]))) for part in range(3)]
    return "#" + "".join(f"{part:02x}" for part in mixed)

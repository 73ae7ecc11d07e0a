"""A small picture of a version: its features, or the cells that stand for them, drawn as SVG over the wards."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import asyncpg
import h3
import numpy as np
import shapely

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.http.server import CityContext
from twin.access.permit import Permit, permit_of
from twin.access.principals import ANONYMOUS
from twin.catalogue.catalogue import Bounds, Layer
from twin.city import City
from twin.db.tables import DATA_SCHEMA
from twin.errors import NotFound

WIDTH, HEIGHT, MARGIN = 640, 400, 16
# A layer of one place is shown with this much around it, in degrees of latitude (about 2 km).
LEAST_SPAN = 0.018
# How much is drawn at most: more could not be distinguished, and the picture stays small.
SHAPES: Mapping[str, int] = {"point": 8000, "line": 4000, "polygon": 4000}
CELLS, MOST_CELLS, SAMPLED = 900, 3000, 20_000
# So few cells say less than the features themselves.
FEW_CELLS = 40
# What lies apart from nearly all the rest, such as an island far out, does not make the rest small.
APART = 0.02
PLAIN = "#0b6e99"
LAND, EDGE, AROUND, INK = "#eceff1", "#cbd3d8", "#f7f9fa", "#22303a"


class Frame:
    """How degrees become pixels: equal lengths both ways at the middle latitude."""

    def __init__(self, bounds: Bounds) -> None:
        west, south, east, north = bounds
        middle = (south + north) / 2
        self.stretch = math.cos(math.radians(min(abs(middle), 85.0)))
        height = max(north - south, LEAST_SPAN)
        width = max((east - west) * self.stretch, LEAST_SPAN)
        self.scale = min((WIDTH - 2 * MARGIN) / width, (HEIGHT - 2 * MARGIN) / height)
        self.x0, self.y0 = (west + east) / 2, middle

    @property
    def bounds(self) -> Bounds:
        """What the whole picture shows, in degrees."""
        half_width = WIDTH / 2 / self.scale / self.stretch
        half_height = HEIGHT / 2 / self.scale
        return self.x0 - half_width, self.y0 - half_height, self.x0 + half_width, self.y0 + half_height

    @property
    def pixel(self) -> float:
        """Degrees of latitude of one pixel."""
        return 1 / self.scale

    def move(self, coordinates: Any) -> Any:
        """Degrees to pixels, y downwards, to a tenth of a pixel."""
        x = (coordinates[:, 0] - self.x0) * self.stretch * self.scale + WIDTH / 2
        y = (self.y0 - coordinates[:, 1]) * self.scale + HEIGHT / 2
        return np.round(np.column_stack([x, y]), 1)


def wards_for_all(city: CityContext) -> Permit | None:
    """Return the permit for the city's wards, if everybody may see them."""
    try:
        return permit_of(ANONYMOUS, city.layers, city.settings.profile.wards)
    except NotFound:
        return None


async def draw(city: CityContext, chosen: Permit, wards: Permit | None) -> bytes:
    """Draw a version over the city's wards, or over its outline."""
    profile = city.settings.profile
    frame = Frame(chosen.bounds or profile.outline.bounds)
    async with city.connection(asking=True) as connection:
        shapes = await _shapes(connection, chosen, frame)
        if shapes:
            frame = Frame(_bounds([shape for shape, _, _ in shapes]))
        ground = await _ground(connection, wards, frame) if wards is not None else []
    if not ground:
        ground = [profile.outline]
    return _picture(frame, ground, shapes, chosen.layer, profile)


def _bounds(shapes: Sequence[Any]) -> Bounds:
    """Return what holds the shapes; without those that lie far apart from the rest, if that halves it at least."""
    bounds = shapely.bounds(shapes)
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    low, high = np.quantile(middles, [APART, 1 - APART], axis=0)
    near = np.all((middles >= low - (high - low) / 2) & (middles <= high + (high - low) / 2), axis=1)

    def around(some: Any) -> Bounds:
        return (*some[:, :2].min(axis=0).tolist(), *some[:, 2:].max(axis=0).tolist())

    west, south, east, north = whole = around(bounds)
    if not near.any():
        return whole
    rest = around(bounds[near])
    is_much_smaller = (rest[2] - rest[0]) * (rest[3] - rest[1]) < (east - west) * (north - south) / 2
    return rest if is_much_smaller else whole


async def _ground(connection: asyncpg.Connection, wards: Permit, frame: Frame) -> list[Any]:
    rows = await connection.fetch(
        f"SELECT ST_AsBinary(ST_Simplify(geom, $5, true)) FROM {DATA_SCHEMA}.\"{wards.version.table}\" "
        "WHERE geom && ST_MakeEnvelope($1, $2, $3, $4, 4326) LIMIT 1500",
        *frame.bounds, frame.pixel * 0.7,
    )  # fmt: skip
    return _read(row[0] for row in rows)


async def _shapes(connection: asyncpg.Connection, permit: Permit, frame: Frame) -> list[tuple[Any, str, float]]:
    """Return what is drawn: geometry in degrees, colour, opacity."""
    of, version = theme_of(permit.layer), permit.version
    most = SHAPES[of.geometry]
    if permit.rollup is not None and version.features > most and version.bounds:
        cells = await _cells(connection, permit)
        if len(cells) >= FEW_CELLS:
            return cells
    field, color = _paint(_of_style(of), {c.name for c in permit.columns})
    value = next((c.sql("f") for c in permit.columns if c.name == field), "NULL")
    # Few of many, taken evenly: sorting or reading all of them would take too long.
    share = 100 * SAMPLED / max(version.features, 1)
    sample = f"TABLESAMPLE SYSTEM ({share:.4f}) REPEATABLE (1)" if share < 100 else ""
    rows = await connection.fetch(
        f"SELECT ST_AsBinary(ST_Simplify(geom, $1, true)), {value} AS value "
        f"FROM {DATA_SCHEMA}.\"{version.table}\" AS f {sample} ORDER BY importance DESC, fid LIMIT {most}",
        frame.pixel * 0.5,
    )  # fmt: skip
    # The most important on top.
    return [(shape, color(row["value"]), 1.0) for row in reversed(rows) for shape in _read([row[0]])]


async def _cells(connection: asyncpg.Connection, permit: Permit) -> list[tuple[Any, str, float]]:
    version, rollup = permit.version, permit.rollup
    assert rollup is not None and version.bounds is not None  # noqa: S101
    west, south, east, north = version.bounds
    area = (east - west) * math.cos(math.radians((south + north) / 2)) * (north - south) * 111.195**2
    kept = rollup["resolutions"]
    resolution = max((r for r in kept if area / h3.average_hexagon_area(r) <= CELLS), default=min(kept))
    of = theme_of(permit.layer)
    cells = of.style.get("cells")
    paint = cells["color"] if isinstance(cells, Mapping) and "color" in cells else _of_style(of)
    field, color = _paint(paint, set(rollup["columns"]))
    value = f'"{field}"' if field else "NULL"
    rows = await connection.fetch(
        f'SELECT ST_AsBinary(geom), features, {value} AS value FROM {DATA_SCHEMA}."{version.rollup_table}" '
        f"WHERE resolution = $1 AND features >= {permit.least_count} ORDER BY cell LIMIT {MOST_CELLS}",
        resolution,
    )
    most = math.log1p(max((row["features"] for row in rows), default=1))
    return [
        (shape, color(row["value"]), 0.9 if field else round(0.2 + 0.75 * math.log1p(row["features"]) / most, 2))
        for row in rows
        for shape in _read([row[0]])
    ]


def _read(found: Any) -> list[Any]:
    return [shapely.from_wkb(wkb) for wkb in found if wkb is not None]


# Colours ---------------------------------------------------------------------------------------------


def _of_style(of: Theme) -> Any:
    """Return the paint of a theme's style that distinguishes its features."""
    for part in ("fill", "circle", "line"):
        paint = of.style.get(part)
        color = paint.get("color") if isinstance(paint, Mapping) and "color" in paint else paint
        if color is not None:
            return color
    return PLAIN


def _paint(paint: Any, columns: set[str]) -> tuple[str | None, Callable[[Any], str]]:
    """Return the field that decides the colour, if one does, and what turns its value into a colour."""
    if isinstance(paint, str):
        return None, lambda _: paint
    field = paint.get("field") if isinstance(paint, Mapping) else None
    if field not in columns:
        return None, lambda _: PLAIN
    if "categories" in paint:
        return field, lambda value: str(paint["categories"].get(value, paint.get("other", PLAIN)))
    if "stops" in paint:
        stops = paint["stops"]

        def step(value: Any) -> str:
            if value is None:
                return str(paint.get("other", "#b8b8b8"))
            return str(next((shade for at, shade in reversed(stops) if value >= at), stops[0][1]))

        return field, step
    return None, lambda _: PLAIN


# SVG -------------------------------------------------------------------------------------------------


def _picture(
    frame: Frame, ground: Sequence[Any], shapes: Sequence[tuple[Any, str, float]], layer: Layer, city: City
) -> bytes:
    of = theme_of(layer)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img"><title>{escape(layer.title.vi)} · {escape(layer.title.en)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{AROUND}"/>',
        f'<path d="{_path(frame, ground)}" fill="{LAND}" stroke="{EDGE}" stroke-width="0.8" fill-rule="evenodd"/>',
    ]
    if any(opacity < 1 for _, _, opacity in shapes):
        over = f'<path d="{_path(frame, ground)}" fill="none" stroke="#ffffff" stroke-opacity=".75" stroke-width="1"/>'
    else:
        over = ""
    gathered: dict[tuple[str, float], list[Any]] = {}
    for shape, color, opacity in shapes:
        gathered.setdefault((color, opacity), []).append(shape)
    for (color, opacity), same in gathered.items():
        parts.append(_drawn(frame, same, escape(color, {'"': "&quot;"}), opacity, filled="fill" in of.style))
    parts.append(over)
    parts.append(_scale_bar(frame))
    parts.append(_locator(frame, city))
    parts.append("</svg>")
    return "".join(parts).encode()


def _shade(color: str) -> str:
    """Return a colour, darker by a quarter."""
    if re.fullmatch(r"#[0-9a-f]{6}", color, re.IGNORECASE) is None:
        return color
    return "#" + "".join(f"{int(int(color[i : i + 2], 16) * 0.75):02x}" for i in (1, 3, 5))


def _visible(color: str) -> str:
    """Return a colour that thin lines can be seen in on the light ground."""
    if re.fullmatch(r"#[0-9a-f]{6}", color, re.IGNORECASE) is None:
        return color
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return _shade(color) if 0.21 * red + 0.72 * green + 0.07 * blue > 190 else color


def _drawn(frame: Frame, shapes: Sequence[Any], color: str, opacity: float, *, filled: bool) -> str:
    points = [shape for shape in shapes if shape.geom_type in ("Point", "MultiPoint")]
    lines = [shape for shape in shapes if "Line" in shape.geom_type]
    areas = [shape for shape in shapes if "Polygon" in shape.geom_type]
    made = ""
    if areas:
        edge, width = (_shade(color), 0.6) if filled else (color, 1.2)
        made += (
            f'<path d="{_path(frame, areas)}" fill="{color}" fill-opacity="{opacity * (0.9 if filled else 0.12):.2f}" '
            f'stroke="{edge}" stroke-width="{width}" stroke-opacity="{opacity:.2f}" fill-rule="evenodd"/>'
        )
    if lines:
        made += (
            f'<path d="{_path(frame, lines)}" fill="none" stroke="{_visible(color)}" stroke-width="1.4" '
            'stroke-linecap="round" stroke-linejoin="round"/>'
        )
    if points:
        # A line of no length with round ends is a dot: much shorter than as many circles.
        radius = 3.2 if len(points) < 200 else 2.0 if len(points) < 2000 else 1.3
        at = frame.move(shapely.get_coordinates(points))
        dots = "".join(f"M{x:g} {y:g}h0" for x, y in at.tolist())
        for width, paint in ((radius * 2 + 1.6, "#ffffff"), (radius * 2, color)):
            made += f'<path d="{dots}" stroke="{paint}" stroke-width="{width:g}" stroke-linecap="round" fill="none"/>'
    return made


def _path(frame: Frame, shapes: Sequence[Any]) -> str:
    """Return the outlines of some shapes as one path; corners that fall on the same place are left out."""
    made = []
    rings = shapely.get_parts(shapely.boundary(shapes) if "Polygon" in shapes[0].geom_type else shapes)
    for ring in rings:
        at = frame.move(shapely.get_coordinates(ring))
        if len(at) > 2:
            keep = np.append(True, np.any(np.diff(at, axis=0) != 0, axis=1))
            at = at[keep]
        if len(at) >= 2:
            made.append("M" + " ".join(f"{x:g} {y:g}" for x, y in at.tolist()))
        elif len(at) == 1:
            # Too small for a shape, but there.
            made.append(f"M{at[0, 0]:g} {at[0, 1]:g}h.6v.6z")
    return "".join(made)


def _scale_bar(frame: Frame) -> str:
    """Return a bar of a round length."""
    metres_a_pixel = frame.pixel * 111_195
    longest = metres_a_pixel * 140
    power = 10 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    width = length / metres_a_pixel
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = MARGIN, HEIGHT - MARGIN
    return (
        f'<path d="M{x} {y - 5}v5h{width:.1f}v-5" fill="none" stroke="#ffffff" stroke-width="4"/>'
        f'<path d="M{x} {y - 5}v5h{width:.1f}v-5" fill="none" stroke="{INK}" stroke-width="1.5"/>'
        f'<text x="{x + 5}" y="{y - 5}" font-family="system-ui,sans-serif" font-size="12" fill="{INK}" '
        f'stroke="#ffffff" stroke-width="3" paint-order="stroke">{text}</text>'
    )


def _locator(frame: Frame, city: City) -> str:
    """Where in the city the picture lies, if it shows a small part of it."""
    largest = max(shapely.get_parts(city.outline), key=shapely.area)
    west, south, east, north = largest.bounds
    shown = frame.bounds
    if (shown[2] - shown[0]) > 0.5 * (east - west) or not shapely.box(*shown).intersects(largest):
        return ""
    size = 84.0
    scale = size / max((east - west) * frame.stretch, north - south)
    left, top = WIDTH - MARGIN - (east - west) * frame.stretch * scale, MARGIN

    def move(coordinates: Any) -> Any:
        x = (coordinates[:, 0] - west) * frame.stretch * scale + left
        y = (north - coordinates[:, 1]) * scale + top
        return np.round(np.column_stack([x, y]), 1)

    outline = " ".join(f"{x:g} {y:g}" for x, y in move(shapely.get_coordinates(largest.exterior)).tolist())
    x0, y1, x1, y0 = move(np.array([shown[:2], shown[2:]])).ravel().tolist()
    return (
        f'<path d="M{outline}z" fill="#ffffff" fill-opacity=".9" stroke="#8a979f" stroke-width="1"/>'
        f'<rect x="{x0:g}" y="{y0:g}" width="{max(x1 - x0, 3):g}" height="{max(y1 - y0, 3):g}" fill="#d55e00" '
        'fill-opacity=".35" stroke="#d55e00" stroke-width="1.2"/>'
    )

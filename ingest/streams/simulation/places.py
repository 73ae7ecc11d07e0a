"""Where a city is simulated: main roads, sensors, low ground; read from its open layers, whatever city it is.

Only open layers are read: what the simulation shows, everybody sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import h3
import numpy as np
import shapely
import sqlalchemy as sa
from sqlalchemy.orm import Session

from ingest.streams.simulation.tide import HIGHEST
from twin.catalogue.catalogue import Layer
from twin.config import Settings
from twin.db.tables import Sharing
from twin.text import Text

AGENCY = "simulation"
MOST_SEGMENTS = 1_200
MOST_SENSORS = 40
MOST_FLOODED = 200
# Water is "near" within this (degrees, about 200 m).
NEAR_WATER = 0.0018
# Cells below this are water's bed, or faults of the terrain (m above the datum).
LOWEST_GROUND = 0.3

MAIN_ROADS = ("motorway", "trunk", "primary", "secondary", "tertiary")
# What a sensor of the theme `sensors` observes, as kinds of `layers.observed`.
OBSERVED: Mapping[str, tuple[str, ...]] = {
    "rain": ("rain",), "water_level": ("water_level",), "air_quality": ("pm2_5", "pm10", "no2", "o3"),
    "weather": ("temperature", "humidity"),
}  # fmt: skip
_PATTERN = {"rain": 4, "air_quality": 3, "weather": 2}
_PATTERN_NAMES = {
    "rain": "Điểm mưa", "air_quality": "Điểm không khí", "weather": "Điểm khí tượng", "water_level": "Điểm mực nước",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a main road; `id` is the road's."""

    id: str
    name: str | None
    road_class: str
    geometry: shapely.Geometry
    length: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A point where something is observed; `kind` is one of the theme `sensors`, `id` names its origin."""

    id: str
    name: str
    kind: str
    longitude: float
    latitude: float


@dataclass(frozen=True, slots=True)
class LowPlace:
    """A place that floods: an H3 cell with its ground, or a declared flood spot, whose ground is not known.

    `note` is the source of the point. `cause` is that of the theme `flood_spots`; both for a cell.
    """

    id: str
    name: str
    longitude: float
    latitude: float
    cell: str | None
    ground: float | None
    cause: str
    note: Text | None = None


def open_layers(layers: Mapping[str, Layer], theme: str) -> list[Layer]:
    """Return the published open layers of a theme, the largest first; never the simulation's own."""
    found = [
        layer for layer in layers.values()
        if layer.theme == theme and layer.current is not None and layer.sharing is Sharing.OPEN
        and layer.agency.name != AGENCY
    ]  # fmt: skip
    return sorted(found, key=lambda layer: (-(layer.current.features if layer.current else 0), layer.id))


def _table(layer: Layer) -> str:
    assert layer.current is not None  # noqa: S101  # open_layers gives published ones
    return f'layer_data."{layer.current.table}"'


def read_segments(session: Session, roads: Layer) -> list[Segment]:
    """Return the main roads, the greatest classes first."""
    rows = session.execute(
        sa.text(
            f"SELECT id, name, class, ST_AsBinary(geom) AS geom, ST_Length(geom::geography) AS length "  # noqa: S608
            f"FROM {_table(roads)} WHERE class = ANY(:classes) "  # names come from the catalogue
            "ORDER BY array_position(:classes, class), ST_Length(geom) DESC, id LIMIT :most"
        ),
        {"classes": list(MAIN_ROADS), "most": MOST_SEGMENTS},
    )
    return [
        Segment(r["id"], r["name"], r["class"], shapely.from_wkb(bytes(r["geom"])), r["length"])
        for r in rows.mappings()
    ]


def read_gauges(
    session: Session, layers: Mapping[str, Layer], settings: Settings, bounds: Sequence[float]
) -> list[Gauge]:
    """Return the sensors of open layers; a regular pattern for what no layer has.

    Parameters
    ----------
    session : Session
    layers : mapping
        The catalogue.
    settings : Settings
        For the city's outline: the pattern stays inside it.
    bounds : sequence of float
        West, south, east, north of where the city lives: its main roads.
    """
    found: list[Gauge] = []
    for layer in open_layers(layers, "sensors"):
        rows = session.execute(
            sa.text(
                "SELECT DISTINCT ON (kind, round(ST_X(p)::numeric, 4), round(ST_Y(p)::numeric, 4)) "  # noqa: S608
                "id, name, kind, ST_X(p) AS x, ST_Y(p) AS y "
                f"FROM (SELECT id, name, kind, ST_PointOnSurface(geom) AS p FROM {_table(layer)} "
                "WHERE kind = ANY(:kinds)) s ORDER BY kind, round(ST_X(p)::numeric, 4), round(ST_Y(p)::numeric, 4), id"
            ),
            {"kinds": list(OBSERVED)},
        ).mappings()
        found += [Gauge(f"{layer.id}:{r['id']}", r["name"] or r["id"], r["kind"], r["x"], r["y"]) for r in rows]
    of_kind = {kind: [g for g in found if g.kind == kind][:MOST_SENSORS] for kind in OBSERVED}
    for kind, size in _PATTERN.items():
        if not of_kind[kind]:
            of_kind[kind] = list(_pattern(kind, size, settings.profile.outline, bounds))
    if not of_kind["water_level"]:
        of_kind["water_level"] = _on_water(session, layers, bounds)
    return [gauge for gauges in of_kind.values() for gauge in gauges]


def _pattern(kind: str, size: int, outline: shapely.Geometry, bounds: Sequence[float]) -> Iterator[Gauge]:
    west, south, east, north = bounds
    for row in range(size):
        for column in range(size):
            x = west + (east - west) * (column + 0.5) / size
            y = south + (north - south) * (row + 0.5) / size
            if outline.contains(shapely.Point(x, y)):
                number = row * size + column + 1
                yield Gauge(f"pattern:{kind}-{number}", f"{_PATTERN_NAMES[kind]} {number}", kind, x, y)


def _on_water(session: Session, layers: Mapping[str, Layer], bounds: Sequence[float]) -> list[Gauge]:
    for theme, size in (("waterways", "ST_Length"), ("water", "ST_Area")):
        for layer in open_layers(layers, theme):
            rows = session.execute(
                sa.text(
                    f"SELECT id, ST_X(ST_PointOnSurface(geom)) AS x, ST_Y(ST_PointOnSurface(geom)) AS y "  # noqa: S608
                    f"FROM {_table(layer)} WHERE geom && ST_MakeEnvelope(:w, :s, :e, :n, 4326) "
                    f"ORDER BY {size}(geom) DESC, id LIMIT 5"
                ),
                dict(zip("wsen", bounds, strict=True)),
            ).mappings()
            kind = "water_level"
            if found := [
                Gauge(f"{layer.id}:{r['id']}", f"{_PATTERN_NAMES[kind]} {n}", kind, r["x"], r["y"])
                for n, r in enumerate(rows, 1)
            ]:
                return found
    return []


def read_low_places(session: Session, layers: Mapping[str, Layer]) -> list[LowPlace]:
    """Return low cells near water where a ground is published, else the declared flood spots."""
    return _low_cells(session, layers) or _flood_spots(session, layers)


def _low_cells(session: Session, layers: Mapping[str, Layer]) -> list[LowPlace]:
    water = [_table(layer) for theme in ("water", "waterways") for layer in open_layers(layers, theme)]
    if not water:
        return []
    near = " OR ".join(f"EXISTS (SELECT FROM {table} w WHERE ST_DWithin(w.geom, g.geom, :near))" for table in water)
    inside = " OR ".join(
        f"EXISTS (SELECT FROM {table} w WHERE ST_Dimension(w.geom) = 2 AND ST_Intersects(w.geom, g.middle))"
        for table in water
    )
    for layer in open_layers(layers, "elevation"):
        rows = session.execute(
            sa.text(
                "SELECT g.cell, g.elevation, ST_X(g.middle) AS x, ST_Y(g.middle) AS y FROM ("  # noqa: S608
                f"SELECT cell, elevation, geom, ST_Centroid(geom) AS middle FROM {_table(layer)} "
                "WHERE elevation > :lowest AND elevation < :highest) g "
                f"WHERE ({near}) AND NOT ({inside}) ORDER BY g.elevation, g.cell LIMIT :most"
            ),
            {"near": NEAR_WATER, "lowest": LOWEST_GROUND, "highest": HIGHEST, "most": MOST_FLOODED},
        ).mappings()
        found = []
        for r in rows:
            cell = h3.int_to_str(r["cell"] & (2**64 - 1))
            found.append(LowPlace(cell, f"Ô {cell}", r["x"], r["y"], cell, r["elevation"], "both"))
        if found:
            return found
    return []


def _flood_spots(session: Session, layers: Mapping[str, Layer]) -> list[LowPlace]:
    found = []
    for layer in open_layers(layers, "flood_spots"):
        rows = session.execute(
            sa.text(
                "SELECT id, name, cause, ST_X(p) AS x, ST_Y(p) AS y FROM "  # noqa: S608
                f"(SELECT id, name, cause, ST_PointOnSurface(geom) AS p FROM {_table(layer)}) s ORDER BY id LIMIT :most"
            ),
            {"most": MOST_FLOODED},
        ).mappings()
        for r in rows:
            note = Text(en="The flood spot “{id}” of the layer {layer}.", vi="Điểm ngập “{id}” của lớp {layer}.")
            found.append(
                LowPlace(f"{layer.id}:{r['id']}", r["name"] or r["id"], r["x"], r["y"], None, None, r["cause"],
                         note.format(id=r["id"], layer=layer.id))
            )  # fmt: skip
    return found[:MOST_FLOODED]


def bounds_of(segments: Sequence[Segment], settings: Settings) -> tuple[float, float, float, float]:
    """Return where most main roads are; around the map's first view where there are none."""
    if not segments:
        x, y = settings.profile.view.center
        return x - 0.05, y - 0.05, x + 0.05, y + 0.05
    points = shapely.get_coordinates(shapely.centroid(np.array([s.geometry for s in segments], dtype=object)))
    # The far ends of motorways are left out.
    west, south = np.quantile(points, 0.1, axis=0)
    east, north = np.quantile(points, 0.9, axis=0)
    return float(west), float(south), float(east), float(north)

"""3D objects of city models: from faces to a footprint, a height and a solid."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from twin.crs import parse_crs, transform

Ring = npt.NDArray[np.float64]
"""Vertices as rows of x, y, z, the last one being the first again."""

GROUND = "GroundSurface"
FOOTPRINT = "FootPrint"
ROOF_EDGE = "RoofEdge"
# A face whose outline on the ground is thinner than this, in shares of its extent, stands upright.
UPRIGHT = 1e-6
# Corners that were written apart by rounding become one: a tenth of a millimetre, in metres or in degrees.
GRID_METRES, GRID_DEGREES = 1e-4, 1e-9


@dataclass(frozen=True, slots=True)
class Face:
    """A flat polygon in space: outer ring and holes, the kind of surface it belongs to, its level of detail."""

    rings: tuple[Ring, ...]
    surface: str | None = None
    lod: float = 0.0


@dataclass(slots=True)
class CityObject:
    """One object of a city model with its parts taken in."""

    id: str
    type: str
    attributes: dict[str, Any]
    faces: list[Face] = field(default_factory=list)
    # What an object consists of besides faces: points of trees and lamps, lines of axes.
    others: list[BaseGeometry] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    solid_lod: float | None = None

    def best(self) -> list[Face]:
        """Return the faces of the highest level of detail that is more than a plan."""
        upper = [face for face in self.faces if face.surface not in (FOOTPRINT, ROOF_EDGE)]
        if not upper:
            return []
        lod = max(face.lod for face in upper)
        return [face for face in upper if face.lod == lod]


def footprint(thing: CityObject, degrees: bool) -> BaseGeometry | None:
    """Return the outline on the ground: of the footprint or the ground surfaces if there are any, else of all faces.

    For a solid without named surfaces that is the outline seen from above, so eaves count.
    """
    best = thing.best()
    for chosen in (
        [face for face in thing.faces if face.surface == FOOTPRINT],
        [face for face in best if face.surface == GROUND],
        best,
        [face for face in thing.faces if face.surface == ROOF_EDGE],
    ):
        if (outline := _outline(chosen, degrees)) is not None:
            return outline
    if len(thing.others) == 1:
        return thing.others[0]
    return shapely.GeometryCollection(thing.others) if thing.others else None


def _outline(faces: Sequence[Face], degrees: bool) -> BaseGeometry | None:
    flat = []
    for face in faces:
        polygon = shapely.force_2d(_polygon(face))
        extent = shapely.length(polygon) ** 2
        if extent > 0 and polygon.area > UPRIGHT * extent:
            flat.append(polygon)
    if not flat:
        return None
    if len(flat) == 1:
        return flat[0]
    shapes = shapely.make_valid(np.array(flat, dtype=object), method="structure", keep_collapsed=False)
    try:
        union = shapely.union_all(shapes, grid_size=GRID_DEGREES if degrees else GRID_METRES)
    except shapely.GEOSException:
        union = shapely.union_all(shapes)
    if union.is_empty or shapely.get_dimensions(union) != 2:
        return None
    return _without_cracks(union)


def _without_cracks(union: BaseGeometry) -> BaseGeometry:
    """Take out holes that are only the crack between two faces."""
    polygons = []
    for polygon in shapely.get_parts(union):
        if shapely.get_dimensions(polygon) != 2:
            continue
        holes = [h for h in polygon.interiors if shapely.Polygon(h).area > UPRIGHT * shapely.length(h) ** 2]
        polygons.append(shapely.Polygon(polygon.exterior, holes))
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _polygon(face: Face) -> BaseGeometry:
    return shapely.Polygon(face.rings[0], face.rings[1:])


def heights(thing: CityObject) -> tuple[float | None, float | None]:
    """Return the lowest and the highest z of an object."""
    z = np.concatenate([face.rings[0][:, 2] for face in thing.best()] or [np.empty(0)])
    z = z[np.isfinite(z)]
    return (float(z.min()), float(z.max())) if len(z) else (None, None)


def solid_wkb(thing: CityObject) -> str | None:
    """Return the faces as hexadecimal WKB, a MultiPolygon Z: PostGIS reads it as it is, and so does shapely.

    It is the closed hull if the object is a solid, else the surfaces that there are.
    """
    faces = thing.best()
    if not faces or all(len(face.rings[0]) < 4 for face in faces):
        return None
    parts = [struct.pack("<BII", 1, 1006, len(faces))]
    for face in faces:
        parts.append(struct.pack("<BII", 1, 1003, len(face.rings)))
        for ring in face.rings:
            parts.append(struct.pack("<I", len(ring)))
            parts.append(np.ascontiguousarray(ring, dtype="<f8").tobytes())
    return b"".join(parts).hex()


def solids_to_wgs84(solids: Sequence[str | None], crs: Any) -> npt.NDArray[np.object_]:
    """Bring solids from a reader's `crs` to longitude and latitude; heights stay as they are, in metres."""
    shapes = shapely.from_wkb(np.asarray(solids, dtype=object))
    if not parse_crs(crs).equals(CRS.from_epsg(4326), ignore_axis_order=True):

        def move(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.column_stack([transform(coordinates[:, :2], crs), coordinates[:, 2]])

        shapes = shapely.transform(shapes, move, include_z=True)
    result: npt.NDArray[np.object_] = shapely.to_wkb(shapes, hex=True, output_dimension=3, flavor="iso")
    return result

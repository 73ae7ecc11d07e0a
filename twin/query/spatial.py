"""CQL2's spatial functions, and the geometries that requests write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import shapely
from shapely.geometry.base import BaseGeometry

from twin.query.cql2 import Tree, refuse
from twin.query.reference import Reference
from twin.text import Text

FUNCTIONS = {
    "s_intersects": "ST_Intersects", "s_equals": "ST_Equals", "s_disjoint": "ST_Disjoint", "s_touches": "ST_Touches",
    "s_within": "ST_Within", "s_overlaps": "ST_Overlaps", "s_crosses": "ST_Crosses", "s_contains": "ST_Contains",
}  # fmt: skip
AT_THE_OUTLINE = ("s_touches", "s_overlaps", "s_crosses")
KINDS = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
)
MAX_VERTICES = 10_000
# Edges of a box in a projected system are curves in degrees: drawn with so many corners.
CORNERS_A_SIDE = 32

NOT_A_GEOMETRY = Text(en="this is not a geometry: {reason}", vi="không phải hình học: {reason}")
TOO_MANY = Text(en="a geometry may have {limit:,} vertices at most.", vi="một hình học có tối đa {limit:,} đỉnh.")
OUT_OF_REACH = Text(
    en="the geometry lies outside what its coordinate system can express.",
    vi="hình học nằm ngoài phạm vi của hệ tọa độ.",
)
COLLECTIONS = Text(
    en="a GEOMETRYCOLLECTION is understood by S_INTERSECTS and S_DISJOINT only.",
    vi="chỉ S_INTERSECTS và S_DISJOINT nhận GEOMETRYCOLLECTION.",
)


@dataclass(frozen=True, slots=True)
class Operand:
    """A geometry in SQL; a collection supports fewer functions. `shape` is a geometry that the request wrote."""

    sql: str
    shape: BaseGeometry | None = None

    @property
    def is_collection(self) -> bool:
        """Whether it is a collection of geometries."""
        return self.shape is not None and self.shape.geom_type == "GeometryCollection"


def relation(op: str, left: Operand, right: Operand) -> str:
    """Return the SQL of one spatial relation.

    PostGIS prepares a fixed geometry for ST_Intersects and ST_Within alone. With one of a thousand vertices the other
    relations take a hundred times as long, so those two leave them only the features at the outline.
    """
    if (left.is_collection or right.is_collection) and op not in ("s_intersects", "s_disjoint"):
        raise refuse(COLLECTIONS)
    pair = f"({left.sql}, {right.sql})"
    if op == "s_disjoint":
        return f"(NOT ST_Intersects{pair})"
    if op in AT_THE_OUTLINE:
        # What lies within the other, their insides meeting, neither touches nor overlaps nor crosses it.
        return f"(ST_Intersects{pair} AND NOT ST_Within{pair} AND {FUNCTIONS[op]}{pair})"
    return f"{FUNCTIONS[op]}{pair}"


def literal(shape: BaseGeometry, placeholder: str) -> Operand:
    """Return a bound geometry (WKB, EPSG:4326)."""
    return Operand(f"ST_GeomFromWKB({placeholder}, 4326)", shape)


def to_wkb(shape: BaseGeometry) -> bytes:
    """Return a geometry as it is bound."""
    wkb: bytes = shapely.to_wkb(shape)
    return wkb


def read_literal(node: Tree, reference: Reference) -> BaseGeometry:
    """Read a GeoJSON geometry or a box, and bring it to EPSG:4326 in two dimensions."""
    if not isinstance(node, dict):
        raise refuse(NOT_A_GEOMETRY.format(reason=str(node)[:60]))
    if set(node) == {"bbox"}:
        return box(node["bbox"], reference)
    if node.get("type") not in KINDS:
        raise refuse(NOT_A_GEOMETRY.format(reason=str(node.get("type", node))[:60]))
    try:
        shape = shapely.force_2d(shapely.from_geojson(orjson.dumps(node)))
    except (shapely.errors.ShapelyError, shapely.GEOSException, TypeError, ValueError) as error:
        raise refuse(NOT_A_GEOMETRY.format(reason=str(error).split("\n")[0][:120])) from None
    if shapely.get_num_coordinates(shape) > MAX_VERTICES:
        raise refuse(TOO_MANY.format(limit=MAX_VERTICES))
    if shape.is_empty:
        raise refuse(NOT_A_GEOMETRY.format(reason="EMPTY"))
    if not shape.is_valid:
        raise refuse(NOT_A_GEOMETRY.format(reason=shapely.is_valid_reason(shape)))
    return _within_reach(shape, reference)


def box(numbers: Any, reference: Reference) -> BaseGeometry:
    """Read a box of four or six numbers in the reference's own order of axes; in degrees it may cross 180°."""
    usable = isinstance(numbers, list) and len(numbers) in (4, 6)
    if not usable or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise refuse(NOT_A_GEOMETRY.format(reason="BBOX"))
    half = len(numbers) // 2
    low, high = (np.array(numbers[i : i + 2], dtype=np.float64) for i in (0, half))
    if not np.isfinite([*low, *high]).all():
        raise refuse(OUT_OF_REACH)
    if reference.swapped:
        low, high = low[::-1], high[::-1]
    crosses = reference.is_wgs84 and low[0] > high[0]
    if high[1] < low[1] or (high[0] < low[0] and not crosses) or (half == 3 and numbers[5] < numbers[2]):
        raise refuse(
            Text(
                en="a box gives its lower corner first, then its upper one.",
                vi="khung bao ghi góc dưới trước, rồi góc trên.",
            )
        )
    if reference.is_wgs84:
        if crosses:
            return shapely.MultiPolygon([shapely.box(low[0], low[1], 180, high[1]),
                                         shapely.box(-180, low[1], high[0], high[1])])  # fmt: skip
        return shapely.box(*low, *high)
    outline = shapely.box(*low, *high)
    side = max(high[0] - low[0], high[1] - low[1])
    if reference.code != 3857 and side > 0:
        outline = shapely.segmentize(outline, side / CORNERS_A_SIDE)
    if reference.swapped:
        outline = shapely.transform(outline, lambda c: c[:, ::-1])
    return _within_reach(outline, reference)


def _within_reach(shape: BaseGeometry, reference: Reference) -> BaseGeometry:
    moved: BaseGeometry = reference.to_wgs84(np.array([shape], dtype=object))[0]
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise refuse(OUT_OF_REACH)
    return moved

"""Coordinate reference systems: anything the city's files come in, to EPSG:4326, with the right datum shift."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup

from twin.errors import BadInput
from twin.text import Text

# Seven parameters of 2007, coordinate-frame rotations (EPSG operation 6960). PROJ knows several operations for
# VN-2000; taking another, or reading these as position-vector rotations, misses by 0.5 m and more.
VN2000_TO_WGS84 = "VN-2000 to WGS 84 (2)"

Coordinates = npt.NDArray[np.float64]


def parse_crs(value: Any) -> CRS:
    """Read a CRS from an EPSG code, a name or WKT."""
    try:
        return CRS.from_user_input(value)
    except CRSError:
        raise BadInput(
            Text(
                en="“{value}” is not a coordinate reference system that PROJ knows. Example: EPSG:9210",
                vi="“{value}” không phải hệ tọa độ mà PROJ biết. Ví dụ: EPSG:9210",
            ).format(value=str(value)[:80])
        ) from None


def usable_crs(found: Any) -> CRS | None:
    """Return the horizontal part of a system that can be brought to longitude and latitude; None of any other."""
    try:
        crs = CRS.from_user_input(found)
        if crs.is_compound:
            crs = crs.sub_crs_list[0]
        if crs.is_geocentric or crs.is_vertical or crs.is_engineering:
            return None
        if (crs.source_crs if crs.is_bound and crs.source_crs else crs).name.lower().startswith("undefined"):
            return None
        if len(crs.axis_info) == 3:
            crs = crs.to_2d()
        # Whether there is a way at all; another planet or a plane of no place has none.
        transform(np.array([[0.0, 0.0]]), crs)
    except (CRSError, ProjError, ValueError, TypeError):
        return None
    return crs


@lru_cache(maxsize=64)
def _transformer(source: CRS, target: CRS) -> Transformer:
    if source == target:
        return Transformer.from_crs(source, target, always_xy=True)
    if "VN-2000" in (source.geodetic_crs or source).name or "VN-2000" in (target.geodetic_crs or target).name:
        for candidate in TransformerGroup(source, target, always_xy=True).transformers:
            if VN2000_TO_WGS84 in candidate.description:
                return candidate
    return Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=64)
def with_shift(source: CRS) -> str | None:
    """A system of VN-2000 in PROJ's notation with its seven parameters written into it; None for any other system.

    For GDAL, which chooses an operation by itself: the one that misses by 0.8 m. A code or a name in the definition
    would lead it there again, so the result has none.
    """
    if "VN-2000" not in (source.geodetic_crs or source).name:
        return None
    datum = _transformer(source.geodetic_crs or source, parse_crs(4326)).operations or ()
    x, y, z, rx, ry, rz, scale = next([float(p.value) for p in o.params] for o in datum if VN2000_TO_WGS84 in o.name)
    # The notation turns the other way round than the operation, which rotates the frame.
    said = source.to_dict() | {"towgs84": ",".join(f"{v:.10g}" for v in (x, y, z, -rx, -ry, -rz, scale))}
    return " ".join(f"+{key}" if value is None else f"+{key}={value}" for key, value in said.items() if key != "type")


def transform(coordinates: Coordinates, source: Any, target: Any = 4326) -> Coordinates:
    """Transform an (n, 2) array of x, y (longitude, latitude; easting, northing) between two systems.

    Axis order is always x, y, whatever the authority says. Points outside a projection's reach become infinite.
    """
    x, y = _transformer(parse_crs(source), parse_crs(target)).transform(coordinates[:, 0], coordinates[:, 1])
    return np.column_stack([x, y])


def to_wgs84(geometries: npt.NDArray[np.object_], source: Any) -> npt.NDArray[np.object_]:
    """Bring an array of shapely geometries to EPSG:4326, in two dimensions; missing ones stay missing."""
    # Copying geometry that is flat already would cost as much as checking its validity.
    is_flat = not (shapely.has_z(geometries).any() or shapely.has_m(geometries).any())
    flat: npt.NDArray[np.object_] = geometries if is_flat else shapely.force_2d(geometries)
    if parse_crs(source).equals(CRS.from_epsg(4326), ignore_axis_order=True):
        return flat
    moved: npt.NDArray[np.object_] = shapely.transform(flat, lambda c: transform(c, source))
    return moved

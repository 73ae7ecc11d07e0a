"""Coordinate reference systems: parsing, and transformation to EPSG:4326 with the right datum shift of VN-2000."""

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
    """Parse a CRS.

    Parameters
    ----------
    value : str, int, dict or pyproj.CRS
        An EPSG code, a name, WKT or a PROJ string.

    Raises
    ------
    BadInput
        If PROJ does not know it.

    Examples
    --------
    >>> parse_crs("EPSG:9210").is_projected
    True
    """
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
    """Return a system of VN-2000 as a PROJ string with its seven parameters; None for any other system.

    For GDAL, which by itself chooses an operation that misses by 0.8 m. A code or a name in the definition would lead
    it there again, so the result has none.
    """
    if "VN-2000" not in (source.geodetic_crs or source).name:
        return None
    datum = _transformer(source.geodetic_crs or source, parse_crs(4326)).operations or ()
    x, y, z, rx, ry, rz, scale = next([float(p.value) for p in o.params] for o in datum if VN2000_TO_WGS84 in o.name)
    # The notation turns the other way round than the operation, which rotates the frame.
    definition = source.to_dict() | {"towgs84": ",".join(f"{v:.10g}" for v in (x, y, z, -rx, -ry, -rz, scale))}
    return " ".join(
        f"+{key}" if value is None else f"+{key}={value}" for key, value in definition.items() if key != "type"
    )


def transform(coordinates: Coordinates, source: Any, target: Any = 4326) -> Coordinates:
    """Transform coordinates between two systems; VN-2000 goes through its seven parameters of 2007 (EPSG:6960).

    Parameters
    ----------
    coordinates : array of shape (n, 2)
        x, y: easting and northing in the system's unit, or longitude and latitude in degrees, whatever axis order the
        authority states.
    source, target : str, int or pyproj.CRS
        As for `parse_crs`.

    Returns
    -------
    array of shape (n, 2)
        x, y in the target; infinite where a projection does not reach.

    Examples
    --------
    >>> transform(np.array([[603866.19, 1190634.47]]), "EPSG:9210").round(4).tolist()
    [[106.7015, 10.7651]]
    """
    x, y = _transformer(parse_crs(source), parse_crs(target)).transform(coordinates[:, 0], coordinates[:, 1])
    return np.column_stack([x, y])


def to_wgs84(geometries: npt.NDArray[np.object_], source: Any) -> npt.NDArray[np.object_]:
    """Transform geometries to EPSG:4326, in two dimensions.

    Parameters
    ----------
    geometries : array of shapely geometries
        Missing ones stay missing; heights and measures are dropped.
    source : str, int or pyproj.CRS
        The system that they are in.

    Returns
    -------
    array of shapely geometries
        Longitude and latitude in degrees. The same array if nothing changes.

    Examples
    --------
    >>> point = to_wgs84(np.array([shapely.Point(603866.19, 1190634.47)]), "EPSG:9210")[0]
    >>> round(point.x, 4), round(point.y, 4)
    (106.7015, 10.7651)
    """
    # Copying geometry that is flat already would cost as much as checking its validity.
    is_flat = not (shapely.has_z(geometries).any() or shapely.has_m(geometries).any())
    flat: npt.NDArray[np.object_] = geometries if is_flat else shapely.force_2d(geometries)
    if parse_crs(source).equals(CRS.from_epsg(4326), ignore_axis_order=True):
        return flat
    moved: npt.NDArray[np.object_] = shapely.transform(flat, lambda c: transform(c, source))
    return moved

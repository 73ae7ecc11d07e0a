"""Coordinate reference systems as OGC API names them: by address, each with its own order of axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS

from twin.catalogue.catalogue import DEGREE_DIGITS
from twin.city import City
from twin.crs import transform
from twin.errors import BadInput
from twin.text import Text

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
ALWAYS = (4326, 3857)

# About a millimetre on the ground.
METRE_DIGITS = 3

Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference system that coordinates are given in. `swapped`: its first axis points north (latitude first).

    `in_sql` says that PostGIS brings longitude and latitude there rightly. Its own entries for VN-2000 miss by up to
    0.8 m (rotations read the other way round) and some zones are missing, so those are computed by `twin.crs`.
    """

    uri: str
    code: int
    swapped: bool
    digits: int

    @property
    def in_sql(self) -> bool:
        """Whether the database itself may write coordinates in this system."""
        return self.code in ALWAYS

    @property
    def is_wgs84(self) -> bool:
        """Whether coordinates are stored in this system, apart from the order of axes."""
        return self.code == 4326

    def sql(self, geometry: str) -> str:
        """Return the SQL for a stored geometry in this system, with its own order of axes; integer codes only."""
        if not self.is_wgs84:
            return f"ST_Transform({geometry}, {self.code:d})"
        return f"ST_FlipCoordinates({geometry})" if self.swapped else geometry

    def from_wgs84(self, shapes: Shapes, *, in_own_order: bool = True) -> Shapes:
        """Bring geometries of EPSG:4326 (longitude first) here, rounded, with this system's order of axes.

        Formats that always put x before y (FlatGeobuf, GeoParquet) do not want the order of axes.
        """
        swap = self.swapped and in_own_order

        def move(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            moved = transform(coordinates, 4326, self.code) if not self.is_wgs84 else coordinates
            return np.round(moved[:, ::-1] if swap else moved, self.digits)

        moved: Shapes = shapely.transform(shapes, move)
        return moved

    def to_wgs84(self, shapes: Shapes) -> Shapes:
        """Bring geometries of this system to EPSG:4326, longitude first."""

        def move(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            straight = coordinates[:, ::-1] if self.swapped else coordinates
            return straight if self.is_wgs84 else transform(straight, self.code)

        moved: Shapes = shapely.transform(shapes, move)
        return moved


WGS84 = Reference(CRS84, 4326, swapped=False, digits=DEGREE_DIGITS)


@lru_cache(maxsize=64)
def by_code(code: int) -> Reference:
    """Return the system of an EPSG code."""
    crs = CRS.from_epsg(code)
    # Nine digits of a degree keep the millimetre that tells a datum shift.
    digits = METRE_DIGITS if crs.is_projected else DEGREE_DIGITS if code == 4326 else 9
    return Reference(f"{EPSG}{code}", code, crs.axis_info[0].direction == "north", digits)


@lru_cache(maxsize=8)
def _by_uri(codes: tuple[int, ...]) -> Mapping[str, Reference]:
    return {CRS84: WGS84, **{reference.uri: reference for reference in map(by_code, codes)}}


def offered(city: City) -> Mapping[str, Reference]:
    """What a city's features can be had in, by address: CRS84 first, then EPSG:4326 and 3857, then the city's own."""
    return _by_uri((*ALWAYS, *(known.code for known in city.crs if known.code not in ALWAYS)))


def read_reference(text: str, name: str, known: Mapping[str, Reference]) -> Reference:
    """Read a parameter that names a system by its address, or shortly as `EPSG:9210`."""
    short = text.strip("[]")
    for reference in known.values():
        if text == reference.uri or (reference.uri != CRS84 and short == f"EPSG:{reference.code}"):
            return reference
    if short in ("CRS84", "OGC:CRS84"):
        return WGS84
    raise BadInput(
        Text(
            en="{name}: “{text}” is not offered. Known: {known}.",
            vi="{name}: không có hệ tọa độ “{text}”. Các hệ đang có: {known}.",
        ).format(name=name, text=text[:100], known=", ".join(known))
    )

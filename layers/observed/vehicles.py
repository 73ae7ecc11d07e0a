"""Vehicles: their speed, and when a position is fresh and believable. The position is the Location of a Thing."""

from __future__ import annotations

import math
from datetime import datetime

from layers.observed.kind import ObservedKind
from layers.theme import Rollup
from twin.text import Text

# A position older than this tells where the vehicle was, not where it is.
POSITION_FRESH_SECONDS = 120.0
# Faster than any bus or lorry in the city: a jump of the receiver.
FASTEST_KMH = 130.0
EARTH_RADIUS_M = 6_371_008.8

VEHICLE_SPEED = ObservedKind(
    name="vehicle_speed",
    title=Text(en="Vehicle speed", vi="Tốc độ phương tiện"),
    unit="km/h",
    minimum=0,
    maximum=FASTEST_KMH,
    fresh_seconds=POSITION_FRESH_SECONDS,
    every_seconds=15,
    stuck_seconds=1800,
    # A vehicle may stand for hours.
    stuck_except=(0.0,),
    over_time="mean",
    over_cells=Rollup.MEAN,
    units={"m/s": (3.6, 0.0), "[mi_i]/h": (1.609344, 0.0), "[kn_i]": (1.852, 0.0)},
    digits=0,
)


def is_fresh(observed: datetime, now: datetime) -> bool:
    """Tell whether a position still says where the vehicle is; both times carry their zone."""
    return 0 <= (now - observed).total_seconds() <= POSITION_FRESH_SECONDS


def distance(longitude: float, latitude: float, to_longitude: float, to_latitude: float) -> float:
    """Return the length of the great circle between two positions (WGS 84 degrees), in metres.

    The Earth counts as a sphere (haversine formula), which is right to half a percent.

    Examples
    --------
    >>> round(distance(106.70, 10.77, 106.71, 10.77))
    1092
    """
    a, b = math.radians(latitude), math.radians(to_latitude)
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(to_longitude - longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def is_jump(metres: float, seconds: float, inaccuracy: float = 50.0) -> bool:
    """Tell whether a vehicle cannot have moved so far in the time; `inaccuracy` is the error of a position in metres.

    Examples
    --------
    >>> is_jump(500, 15), is_jump(2000, 15)
    (False, True)
    """
    return metres - inaccuracy > FASTEST_KMH / 3.6 * max(seconds, 0.0)

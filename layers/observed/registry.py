"""The observed kinds by name."""

from __future__ import annotations

from collections.abc import Mapping

from layers.observed.air import AIR_KINDS
from layers.observed.flood import FLOOD_DEPTH
from layers.observed.kind import ObservedKind
from layers.observed.rain import RAIN
from layers.observed.traffic import TRAFFIC_KINDS
from layers.observed.vehicles import VEHICLE_SPEED
from layers.observed.wards import WARD_KINDS
from layers.observed.water_level import WATER_LEVEL
from layers.observed.weather import WEATHER_KINDS
from twin.errors import NotFound
from twin.text import Text

KINDS: Mapping[str, ObservedKind] = {
    kind.name: kind
    for kind in (
        *AIR_KINDS, WATER_LEVEL, RAIN, *WEATHER_KINDS, *TRAFFIC_KINDS, FLOOD_DEPTH, *WARD_KINDS, VEHICLE_SPEED,
    )
}  # fmt: skip


def kind_of(name: str) -> ObservedKind:
    """Return the observed kind of that name.

    Raises
    ------
    NotFound
        If there is none; the message names those there are.

    Examples
    --------
    >>> kind_of("rain").unit
    'mm'
    """
    try:
        return KINDS[name]
    except KeyError:
        raise NotFound(
            Text(
                en="Nothing called “{name}” is observed. Known kinds: {known}.",
                vi="Không có đại lượng quan trắc “{name}”. Các đại lượng hiện có: {known}.",
            ).format(name=name, known=", ".join(sorted(KINDS)))
        ) from None

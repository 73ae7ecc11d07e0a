"""Values of wards: one for each day, made from the values of a kind inside the ward."""

from __future__ import annotations

from dataclasses import replace

from layers.observed.air import CO, NO2, O3, PM2_5, PM10, SO2, US_AQI, VN_AQI
from layers.observed.kind import ObservedKind
from twin.text import Text

DAY = 24 * 3600.0


def ward_kind(kind: ObservedKind) -> ObservedKind:
    """Return the kind for the daily value of a ward: the same unit, range and scales, fresh for two days.

    A source gives one value for each ward and day, by its own method, so one that does not change is not suspicious.

    Examples
    --------
    >>> from layers.observed.air import PM2_5
    >>> ward_kind(PM2_5).name, ward_kind(PM2_5).every_seconds
    ('ward_pm2_5', 86400.0)
    """
    return replace(
        kind,
        name=f"ward_{kind.name}",
        title=Text(en="{kind}, day and ward", vi="{kind}, theo ngày và phường").format(kind=kind.title),
        fresh_seconds=2 * DAY,
        every_seconds=DAY,
        stuck_seconds=None,
        stuck_except=(),
    )


WARD_KINDS = tuple(ward_kind(kind) for kind in (PM2_5, PM10, O3, NO2, SO2, CO, VN_AQI, US_AQI))

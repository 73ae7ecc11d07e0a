"""Tide: five harmonic constituents around the datum, of the size that the Saigon river has. Plausible, no forecast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Name: speed (degrees an hour), amplitude (m), phase (degrees). The speeds are those of the astronomical
# constituents; amplitudes are set so that spring tides reach about 1.6 m; the phases are invented.
CONSTITUENTS: Mapping[str, tuple[float, float, float]] = {
    "M2": (28.9841042, 0.62, 40.0), "S2": (30.0, 0.24, 85.0), "N2": (28.4397295, 0.12, 20.0),
    "K1": (15.0410686, 0.46, 250.0), "O1": (13.9430356, 0.34, 200.0),
}  # fmt: skip
MEAN = 0.05
HIGHEST = MEAN + sum(amplitude for _, amplitude, _ in CONSTITUENTS.values())
LOWEST = MEAN - sum(amplitude for _, amplitude, _ in CONSTITUENTS.values())

# A wave of the tide runs up the river at about this speed.
WAVE_METRES_PER_SECOND = 6.0
_EPOCH = 946_684_800  # 2000-01-01T00:00Z


def water_level(seconds: npt.ArrayLike, upstream_metres: npt.ArrayLike = 0.0) -> Floats:
    """Return the water level in metres above the datum.

    Parameters
    ----------
    seconds : array_like
        Since 1970, UTC.
    upstream_metres : array_like
        Distance up the river: the tide comes later there.

    Examples
    --------
    >>> bool(LOWEST <= water_level(0) <= HIGHEST)
    True
    """
    local = (
        np.asarray(seconds, dtype=np.float64) - np.asarray(upstream_metres, dtype=np.float64) / WAVE_METRES_PER_SECOND
    )
    hours = (local - _EPOCH) / 3600.0
    level = np.full(np.shape(hours), MEAN)
    for speed, amplitude, phase in CONSTITUENTS.values():
        level = level + amplitude * np.cos(np.radians((speed * hours - phase) % 360.0))
    return level

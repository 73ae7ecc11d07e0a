"""Traffic: how fast each road runs at a time of the city's week, slower in the rain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

import numpy as np
import numpy.typing as npt

from ingest.streams.simulation.noise import Floats, phases, waves

# Speed on the empty road (km/h), and the load at the height of a workday's rush, by class of the theme `roads`.
FREE_FLOW: Mapping[str, float] = {
    "motorway": 85.0, "trunk": 62.0, "primary": 50.0, "secondary": 43.0, "tertiary": 36.0, "residential": 28.0,
}  # fmt: skip
RUSH: Mapping[str, float] = {
    "motorway": 0.85, "trunk": 1.0, "primary": 1.1, "secondary": 1.05, "tertiary": 0.95, "residential": 0.7,
}  # fmt: skip
OTHER = "residential"

# Hours of the city's clock: height, middle, width.
_WORKDAY = ((0.92, 7.4, 1.1), (0.45, 11.6, 1.6), (1.0, 17.6, 1.4), (0.35, 20.5, 1.8))
_WEEKEND = ((0.35, 9.0, 2.0), (0.5, 16.5, 2.5), (0.6, 19.5, 2.0))
_BASE = 0.12

SLOWEST_RATIO, FASTEST_RATIO = 0.06, 1.1


def is_weekend(moment: datetime) -> bool:
    """Tell whether a moment of the city's clock is on a Saturday or a Sunday."""
    return moment.weekday() >= 5


def demand(hour: float, weekend: bool) -> float:
    """Return the share of the rush that is on the roads at an hour (0 to 24) of the city's clock.

    Examples
    --------
    >>> demand(17.6, False) > demand(14.0, False) > demand(3.0, False)
    True
    """
    total = _BASE
    for height, middle, width in _WEEKEND if weekend else _WORKDAY:
        # The clock is round: one o'clock is near to eleven at night.
        away = (hour - middle + 12.0) % 24.0 - 12.0
        total += height * float(np.exp(-((away / width) ** 2)))
    return min(total, 1.2)


def demand_at(seconds: float, zone: tzinfo) -> float:
    """Return the demand at a time; between a workday and a weekend it passes over within the night."""
    moment = datetime.fromtimestamp(seconds, zone)
    hour = moment.hour + moment.minute / 60.0 + moment.second / 3600.0 + moment.microsecond / 3.6e9
    today = is_weekend(moment)
    now = demand(hour, today)
    # In the two hours around midnight one day's curve gives way to the other's.
    other = datetime.fromtimestamp(seconds + (7200 if hour > 12 else -7200), zone)
    if is_weekend(other) == today or not (hour > 23 or hour < 1):
        return now
    share = 0.5 * (1 - (24 - hour if hour > 12 else hour))
    return (1 - share) * now + share * demand(hour, not today)


class Roads:
    """Road segments by id and class."""

    def __init__(self, seed: int, ids: Sequence[str], classes: Sequence[str]) -> None:
        known = [name if name in FREE_FLOW else OTHER for name in classes]
        phase = phases(seed, ids)
        self._phase = phase
        # Each segment is a little faster or slower, and more or less busy, than its class.
        self.free_flow: Floats = np.array([FREE_FLOW[name] for name in known]) * (0.9 + 0.2 * phase[:, 0])
        self._rush: Floats = np.array([RUSH[name] for name in known]) * (0.75 + 0.4 * phase[:, 1])

    def ratio(
        self, seconds: float, rain: npt.ArrayLike, zone: tzinfo, of: npt.NDArray[np.int64] | slice = slice(None)
    ) -> Floats:
        """Return the share of the free-flow speed at which segments run.

        Parameters
        ----------
        seconds : float
            Since 1970, UTC.
        rain : array_like
            mm/h at each segment.
        zone : tzinfo
            The city's clock.
        of : array of int or slice
            Which segments.
        """
        phase = self._phase[of]
        load = demand_at(seconds, zone) * self._rush[of]
        load = load * (1 + 0.12 * waves(phase, seconds, 2400.0)) + 0.04 * waves(phase, seconds, 500.0)
        wet = 1.0 - np.exp(-np.asarray(rain, dtype=np.float64) / 12.0)
        load = np.clip(load + 0.2 * wet, 0.0, 1.6)
        # Speed falls with load as in the curve of the US Bureau of Public Roads, steeper for mixed traffic.
        share = (1.0 + 0.03 * waves(phase, seconds, 180.0)) / (1.0 + 1.25 * load**2.6) * (1.0 - 0.18 * wet)
        return np.asarray(np.clip(share, SLOWEST_RATIO, FASTEST_RATIO))

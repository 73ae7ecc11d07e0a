"""Air: the daily cycle of pollutants and weather; rush hours and still nights raise dust, showers wash it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

import numpy as np
import numpy.typing as npt

from ingest.streams.simulation.noise import Floats, phases, waves

KINDS = ("pm2_5", "pm10", "no2", "o3", "temperature", "humidity")
_HOURS = 2 * np.pi / 24.0
RANGES: Mapping[str, tuple[float, float]] = {
    "pm2_5": (3.0, 160.0), "pm10": (6.0, 260.0), "no2": (4.0, 140.0), "o3": (4.0, 150.0),
    "temperature": (20.0, 38.0), "humidity": (35.0, 100.0),
}  # fmt: skip


class Air:
    """Stations by id."""

    def __init__(self, seed: int, ids: Sequence[str]) -> None:
        self._phase = phases(seed, ids)
        self._place = 0.8 + 0.4 * self._phase[:, 0]

    def values(self, seconds: float, rain: npt.ArrayLike, zone: tzinfo) -> dict[str, Floats]:
        """Return the values of all kinds at all stations.

        Parameters
        ----------
        seconds : float
            Since 1970, UTC.
        rain : array_like
            mm/h at each station.
        zone : tzinfo
            The city's clock.

        Returns
        -------
        dict of str to array
            µg/m³, °C and %, for each of KINDS.
        """
        moment = datetime.fromtimestamp(seconds, zone)
        hour = moment.hour + moment.minute / 60.0 + moment.second / 3600.0
        wet = 1.0 - np.exp(-np.asarray(rain, dtype=np.float64) / 8.0)
        days = waves(self._phase.mean(axis=0, keepdims=True), seconds, 5.3 * 86_400.0)[0]
        here = waves(self._phase, seconds, 4 * 3600.0)
        rush = _bump(hour, 7.5, 2.0) + 0.8 * _bump(hour, 18.5, 2.5)
        night = 0.5 * (1 + np.cos(_HOURS * (hour - 4.0)))
        sun = max(0.0, float(np.sin(_HOURS * (hour - 6.0))))
        fine = (
            (22.0 + 14.0 * rush + 8.0 * night) * (1 + 0.45 * days) * self._place * (1 + 0.2 * here) * (1 - 0.45 * wet)
        )
        heat = 27.8 + 4.6 * np.cos(_HOURS * (hour - 14.0)) + 0.8 * days + 0.4 * here - 2.5 * wet
        found = {
            "pm2_5": fine,
            "pm10": fine * (1.55 + 0.15 * here),
            "no2": (18.0 + 26.0 * rush) * self._place * (1 + 0.2 * here),
            "o3": (14.0 + 62.0 * sun) * (1 - 0.5 * wet) * (1 + 0.15 * here),
            "temperature": heat,
            "humidity": 76.0 - 2.6 * (heat - 27.8) + 12.0 * wet,
        }
        return {kind: np.clip(found[kind], *RANGES[kind]) for kind in KINDS}


def _bump(hour: float, middle: float, width: float) -> float:
    away = (hour - middle + 12.0) % 24.0 - 12.0
    return float(np.exp(-((away / width) ** 2)))

"""Rain: showers that are born, drift and die, each a Gaussian cell; most come in the afternoons of the wet season."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Showers are drawn hour by hour; none lives longer than this many hours.
LONGEST_HOURS = 3
STEP_SECONDS = 60.0
# A shower does not rain harder than this (mm/h).
HEAVIEST = 90.0
_MOST_SHOWERS = 4

# The area over which showers are drawn (m around the middle); cities larger than it get dry rims.
REACH = 8_000.0


class Showers(NamedTuple):
    """Showers as columns: first centre (m), drift (m/s), beginning and length (s), peak (mm/h), radius (m)."""

    x: Floats
    y: Floats
    east: Floats
    north: Floats
    start: Floats
    length: Floats
    peak: Floats
    radius: Floats


def shower_rate(local_hour: int, month: int) -> float:
    """Return the mean number of showers that begin in an hour of the city's clock, anywhere over the city."""
    season = 1.0 if 5 <= month <= 11 else 0.25
    afternoon = math.exp(-(((local_hour - 15.5) / 2.5) ** 2))
    return season * (0.08 + 0.7 * afternoon)


@lru_cache(maxsize=256)
def showers_of(seed: int, hour: int, zone: tzinfo) -> Showers:
    """Return the showers that begin in an hour, counted from 1970 in UTC."""
    rng = np.random.default_rng([seed % 2**32, hour % 2**32, 7])
    local = datetime.fromtimestamp(hour * 3600, zone)
    count = min(int(rng.poisson(shower_rate(local.hour, local.month))), _MOST_SHOWERS)
    direction = rng.uniform(0.0, 2 * math.pi, count)
    speed = rng.uniform(2.0, 7.0, count)
    return Showers(
        rng.uniform(-REACH, REACH, count), rng.uniform(-REACH, REACH, count),
        speed * np.cos(direction), speed * np.sin(direction),
        hour * 3600.0 + rng.uniform(0.0, 3600.0, count), rng.uniform(1800.0, LONGEST_HOURS * 3600.0 - 3600.0, count),
        np.minimum(HEAVIEST, rng.gamma(2.0, 17.0, count)), rng.uniform(1500.0, 5000.0, count),
    )  # fmt: skip


def _alive(seed: int, first: float, last: float, zone: tzinfo) -> Showers:
    hours = range(math.floor(first / 3600.0) - LONGEST_HOURS, math.floor(last / 3600.0) + 1)
    parts = [showers_of(seed, hour, zone) for hour in hours]
    return Showers(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def intensity(seed: int, seconds: npt.ArrayLike, x: Floats, y: Floats, zone: tzinfo) -> Floats:
    """Return how hard it rains at places and times, in mm/h.

    Parameters
    ----------
    seed : int
    seconds : array_like
        Times since 1970, UTC.
    x, y : array
        Places in metres east and north of the city's middle.
    zone : tzinfo
        The city's clock.

    Returns
    -------
    array
        A row for each time, a column for each place.
    """
    times = np.atleast_1d(np.asarray(seconds, dtype=np.float64))
    rain = np.zeros((len(times), len(x)))
    if not len(times):
        return rain
    s = _alive(seed, float(times.min()), float(times.max()), zone)
    for n in range(len(s.start)):
        age = times - s.start[n]
        living = np.flatnonzero((age > 0) & (age < s.length[n]))
        if not len(living):
            continue
        age = age[living][:, None]
        away = (x - s.x[n] - s.east[n] * age) ** 2 + (y - s.y[n] - s.north[n] * age) ** 2
        strength = s.peak[n] * np.sin(np.pi * age / s.length[n]) ** 2
        rain[living] += strength * np.exp(-away / (2 * s.radius[n] ** 2))
    # Gauges measure nothing below a drizzle.
    return np.where(rain < 0.05, 0.0, np.minimum(rain, HEAVIEST))


def depth(seed: int, until: float, interval: float, x: Floats, y: Floats, zone: tzinfo) -> Floats:
    """Return the rain in mm that fell at places in the interval (seconds) that ends at a time."""
    steps = max(1, round(interval / STEP_SECONDS))
    times = until - interval + (np.arange(steps) + 0.5) * interval / steps
    return np.asarray(intensity(seed, times, x, y, zone).mean(axis=0) * interval / 3600.0)

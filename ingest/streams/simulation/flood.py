"""Flooding: the water that rain leaves where drains cannot take it, and the tide where it stands above the ground."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import numpy.typing as npt

from ingest.streams.simulation.rain import intensity

Floats = npt.NDArray[np.float64]

# What drains take (mm/h), how much deeper water stands in a hollow than it fell, and how fast a puddle runs off.
DRAINAGE = 12.0
GATHERING = 10.0
RUN_OFF_PER_HOUR = 0.9
# What fell longer ago has run off.
MEMORY_SECONDS = 6 * 3600.0
STEP_SECONDS = 300.0
DEEPEST = 0.9
# Less than this is a wet street (m).
SHALLOWEST = 0.02


def from_rain(seed: int, seconds: float, x: Floats, y: Floats, zone: tzinfo) -> Floats:
    """Return the depth of rain water at hollows, in metres.

    Parameters
    ----------
    seed, seconds, x, y, zone
        As for `rain.intensity`.

    Notes
    -----
    A hollow gathers what falls beyond the drains and loses a share of it each hour: dh/dt = gathering *
    max(rain - drainage, 0) - run-off * h, from six hours before, in steps of five minutes.
    """
    steps = int(MEMORY_SECONDS / STEP_SECONDS)
    times = seconds - (np.arange(steps)[::-1] + 0.5) * STEP_SECONDS
    excess = np.maximum(intensity(seed, times, x, y, zone) - DRAINAGE, 0.0) / 1000.0
    # The share of a step's water that is left at the end.
    left = np.exp(-RUN_OFF_PER_HOUR * (np.arange(steps)[::-1] + 0.5) * STEP_SECONDS / 3600.0)
    gathered = GATHERING * STEP_SECONDS / 3600.0 * (left[:, None] * excess).sum(axis=0)
    return _shown(gathered)


def from_tide(level: npt.ArrayLike, ground: npt.ArrayLike) -> Floats:
    """Return the depth of the tide above the ground, in metres; both are heights above the datum.

    Examples
    --------
    >>> from_tide([1.6, 1.0], [1.2, 1.2]).round(2).tolist()
    [0.4, 0.0]
    """
    return _shown(np.asarray(level, dtype=np.float64) - np.asarray(ground, dtype=np.float64))


def _shown(depth: Floats) -> Floats:
    return np.where(depth < SHALLOWEST, 0.0, np.minimum(depth, DEEPEST))

"""Smooth noise: sums of waves whose phases follow from a seed and a name, so that a value depends on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Periods of the waves, as shares of the period that is asked for: no two repeat together.
_SHARES = (1.0, 0.618, 0.311)
_WEIGHTS = (0.5, 0.3, 0.2)


def phases(seed: int, names: Sequence[str]) -> Floats:
    """Return for each name its phases in turns, from 0 to 1, the same for the same seed.

    Examples
    --------
    >>> bool((phases(1, ["a"]) == phases(1, ["b", "a"])[1]).all())
    True
    """
    digests = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=12).digest() for name in names]
    raw = np.frombuffer(b"".join(digests), dtype="<u4").reshape(len(names), len(_SHARES))
    return raw.astype(np.float64) / 2**32


def waves(phase: Floats, seconds: float, period: float) -> Floats:
    """Return a smooth value from -1 to 1 for each row of phases, at a time, changing over about a period (seconds)."""
    turns = phase + (seconds / (period * np.array(_SHARES))) % 1.0
    return np.asarray(np.sin(2 * np.pi * turns) @ np.array(_WEIGHTS))

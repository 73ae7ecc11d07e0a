"""Repeated values, found by hashes of eight bytes each: ids and geometries of millions of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

UInt64 = npt.NDArray[np.uint64]


class EarlierValues:
    """The hashes of earlier values, in sorted runs of doubling length, so that adding a batch stays cheap."""

    def __init__(self) -> None:
        self._runs: list[UInt64] = []

    def find_repeats(self, hashes: UInt64) -> npt.NDArray[np.bool_]:
        """Return which values of a batch are repeats, of this or an earlier batch, and add all of them."""
        # Nearly always none did, and sorting alone is much faster than finding the order.
        ordered = np.sort(hashes)
        if not (ordered[1:] == ordered[:-1]).any() and not any(_has_any(run, ordered) for run in self._runs):
            if len(ordered):
                self._add(ordered)
            return np.zeros(len(hashes), dtype=bool)
        order = np.argsort(hashes, kind="stable")
        sorted_ = hashes[order]
        repeated = np.zeros(len(hashes), dtype=bool)
        repeated[order[1:]] = sorted_[1:] == sorted_[:-1]
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, sorted_), len(run) - 1)
            repeated[order] |= run[place] == sorted_
        fresh = sorted_[~repeated[order]]
        if len(fresh):
            self._add(fresh)
        return repeated

    def _add(self, run: UInt64) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


def _has_any(run: UInt64, ordered: UInt64) -> bool:
    return bool((run[np.minimum(np.searchsorted(run, ordered), len(run) - 1)] == ordered).any())


def hash_values(values: npt.NDArray[np.object_]) -> UInt64:
    """Return a hash of each text."""
    hashes: UInt64 = pd.util.hash_array(values, categorize=False)
    return hashes


def hash_shapes(shapes: npt.NDArray[np.object_]) -> UInt64:
    """Return a hash of each geometry's coordinates, in their order."""
    coordinates, index = shapely.get_coordinates(shapes, return_index=True)
    return hash_coordinates(coordinates, index, len(shapes))


def hash_coordinates(coordinates: npt.NDArray[np.float64], index: npt.NDArray[np.intp], count: int) -> UInt64:
    """Return the same hashes from coordinates that are at hand, with the positions of the geometries that they
    belong to.
    """
    # Adding zero turns −0 into 0.
    bits = (coordinates + 0.0).view(np.uint64)
    counts = np.bincount(index, minlength=count)
    ends = np.cumsum(counts)
    position = (np.arange(1, len(index) + 1) - np.repeat(ends - counts, counts)).astype(np.uint64)
    mixed = _mix(bits[:, 0] ^ _mix(bits[:, 1] + position * np.uint64(0x9E3779B97F4A7C15)))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(mixed, dtype=np.uint64)])
    hashes: UInt64 = sums[ends] - sums[ends - counts]
    return hashes


def _mix(x: UInt64) -> UInt64:
    """Spread the bits of numbers (the finisher of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""Feature ids: the agency's own, or one made from the geometry; and the number that tiles carry for each."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

# A number that an agency uses as its id stays that number. Every other id is hashed into the range above, still
# exact in JavaScript (2^53).
PLAIN_NUMBER = re.compile(r"[1-9]\d{0,14}")
HASHED_FROM = 2**52


def ids_from_geometry(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Ids that stay the same as long as a feature's geometry does."""
    return np.array(
        [hashlib.blake2b(wkb, digest_size=8).hexdigest() for wkb in shapely.to_wkb(geometries)], dtype=object
    )


class Numbering:
    """Gives each feature of a layer its number, and finds ids that come twice.

    The number depends on the id alone, so a feature keeps it from version to version. Should two ids hash to one
    number (about once in a thousand layers of two million features), the later takes the next free one.
    """

    def __init__(self) -> None:
        self._numbers: Int64 = np.empty(0, np.int64)
        self._checks: UInt64 = np.empty(0, np.uint64)

    def number(self, ids: npt.NDArray[np.object_]) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """Give the numbers of a batch of ids, and which of the ids came before, here or in an earlier batch."""
        checks: UInt64 = pd.util.hash_array(ids, categorize=False)
        numbers = _numbers_of(ids, checks)
        repeated = self._is_known(numbers, checks)
        fresh = ~repeated
        while (clash := fresh & self._is_taken(numbers, fresh)).any():
            numbers[clash] += 1
        self._remember(numbers[fresh], checks[fresh])
        return numbers, repeated

    def _is_known(self, numbers: Int64, checks: UInt64) -> npt.NDArray[np.bool_]:
        first_here = np.zeros(len(checks), bool)
        first_here[np.unique(checks, return_index=True)[1]] = True
        if not len(self._checks):
            return ~first_here
        place = np.minimum(np.searchsorted(self._checks, checks), len(self._checks) - 1)
        before: npt.NDArray[np.bool_] = self._checks[place] == checks
        return before | ~first_here

    def _is_taken(self, numbers: Int64, fresh: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        taken = np.isin(numbers, self._numbers)
        candidates = np.flatnonzero(fresh)
        first = candidates[np.unique(numbers[candidates], return_index=True)[1]]
        later = fresh.copy()
        later[first] = False
        return taken | later

    def _remember(self, numbers: Int64, checks: UInt64) -> None:
        self._numbers = np.concatenate([self._numbers, numbers])
        self._checks = np.sort(np.concatenate([self._checks, checks]), kind="stable")


def _numbers_of(ids: npt.NDArray[np.object_], checks: UInt64) -> Int64:
    hashed = (checks >> np.uint64(12)).astype(np.int64) + HASHED_FROM
    plain = np.fromiter((PLAIN_NUMBER.fullmatch(i) is not None for i in ids), bool, len(ids))
    hashed[plain] = ids[plain].astype(np.int64)
    return hashed

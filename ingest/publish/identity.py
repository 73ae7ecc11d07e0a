"""Feature ids: the agency's own, or one made from the geometry; and the number that tiles carry for each."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from ingest.repeats import EarlierValues, hash_values

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

# A number that an agency uses as its id stays that number. Every other id is hashed into the range above, still
# exact in JavaScript (2^53).
PLAIN_NUMBER = "^[1-9][0-9]{0,14}$"
HASHED_FROM = 2**52


def ids_from_geometry(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Return ids that stay the same as long as a feature's geometry does."""
    return np.array(
        [hashlib.blake2b(wkb, digest_size=8).hexdigest() for wkb in shapely.to_wkb(geometries)], dtype=object
    )


class Numbering:
    """Gives each feature of a layer its number, and finds ids that come twice.

    The number depends on the id alone, so a feature keeps it from version to version. Should two ids hash to one
    number (about once in a thousand layers of two million features), the later takes the next free one.
    """

    def __init__(self) -> None:
        self._ids, self._numbers = EarlierValues(), EarlierValues()

    def number(self, ids: npt.NDArray[np.object_], distinct: bool = False) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """Return the numbers of a batch of ids, and which of the ids came before, here or in an earlier batch.

        `distinct`: none did, as somebody knows who looked.
        """
        hashes = hash_values(ids)
        repeated = np.zeros(len(ids), dtype=bool) if distinct else self._ids.find_repeats(hashes)
        numbers = _numbers_of(ids, hashes)
        unsettled = np.flatnonzero(~repeated)
        while len(unsettled):
            taken = self._numbers.find_repeats(numbers[unsettled].view(np.uint64))
            unsettled = unsettled[taken]
            numbers[unsettled] += 1
        return numbers, repeated


def _numbers_of(ids: npt.NDArray[np.object_], hashes: UInt64) -> Int64:
    numbers = (hashes >> np.uint64(12)).astype(np.int64) + HASHED_FROM
    plain = pc.match_substring_regex(pa.array(ids, pa.string()), PLAIN_NUMBER).to_numpy(zero_copy_only=False)
    numbers[plain] = ids[plain].astype(np.int64)
    return numbers

"""Features as rows for PostgreSQL's binary COPY, each with a digest of its content."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from twin.catalogue.catalogue import Column

UInt64 = npt.NDArray[np.uint64]

ARROW_TYPES = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(), "time": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


def to_rows(
    features: gpd.GeoDataFrame, wkb: npt.NDArray[np.object_], columns: Sequence[Column], label: str | None
) -> tuple[pa.Table, UInt64]:
    """Return the rows as PostgreSQL takes them, and the digest of each.

    `wkb` holds the features' geometries, little-endian and in two dimensions. Two rows have one digest if their ids,
    geometries and values are equal; a value that is missing adds nothing, so that a new empty column leaves every
    row's digest as it was.
    """
    arrays: dict[str, pa.Array] = {
        "fid": pa.array(features["fid"].to_numpy(), pa.int64()),
        "id": pa.array(features["id"].to_numpy(dtype=object), pa.string()),
    }
    digests = _mix(_hash_objects(features["id"].to_numpy(dtype=object)), 0)
    digests += _mix(_hash_objects(wkb), 1)
    for column in columns:
        array = pa.array(features[column.name], ARROW_TYPES[column.type], from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        arrays[column.name] = array
        if array.null_count < len(array):
            seed = int(_hash_objects(np.array([column.name], dtype=object))[0])
            here = np.asarray(array.is_valid()) if array.null_count else slice(None)
            digests[here] += _mix(_hash_values(array.drop_null() if array.null_count else array), seed)
    # Stirred once more: or the sum over all rows would not see two features exchange a value.
    digests = _mix(digests, 2)
    arrays["importance"] = pa.array(np.asarray(features["importance"], dtype=np.float64))
    arrays["digest"] = pa.array(digests.view(np.int64))
    arrays["geom"] = to_ewkb(pa.array(wkb, pa.binary()))
    if label:
        arrays["label_point"] = _label_points(features, arrays[label])
    return pa.table(arrays), digests


def to_ewkb(wkb: pa.Array) -> pa.Array:
    """WKB with the SRID that PostGIS asks for, put in behind the byte order and the type (little-endian)."""
    heads = pc.binary_slice(wkb, 0, 5)
    result = wkb
    for head in pc.unique(heads.drop_null()):
        code = head.as_py()[1]
        written = pc.binary_replace_slice(wkb, 0, 5, b"\x01" + struct.pack("<II", code | 0x20000000, 4326))
        result = (
            written if pc.all(pc.equal(heads, head)).as_py() else pc.if_else(pc.equal(heads, head), written, result)
        )
    return result


def _label_points(features: gpd.GeoDataFrame, names: pa.Array) -> pa.Array:
    """Return a point inside each polygon that has a name to be written there."""
    points = np.full(len(features), None, dtype=object)
    named = np.asarray(names.is_valid())
    if named.any():
        shapes = np.asarray(features.geometry.values, dtype=object)[named]
        points[named] = shapely.to_wkb(shapely.point_on_surface(shapes))
    return to_ewkb(pa.array(points, pa.binary()))


def _hash_objects(values: npt.NDArray[np.object_]) -> UInt64:
    hashes: UInt64 = pd.util.hash_array(values, categorize=False)
    return hashes


def _hash_values(array: pa.Array) -> UInt64:
    """Return a hash of each value; of numbers and times their bits, which are equal where they are."""
    if pa.types.is_string(array.type):
        encoded = array.dictionary_encode()
        hashes = _hash_objects(encoded.dictionary.to_numpy(zero_copy_only=False))
        spread: UInt64 = hashes[encoded.indices.to_numpy()]
        return spread
    values = np.asarray(array.to_numpy(zero_copy_only=False))
    if values.dtype == np.float64:
        # Adding zero turns −0 into 0.
        values = values + 0.0
    elif values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    else:
        values = values.astype(np.int64)
    numbers: UInt64 = values.view(np.uint64)
    return numbers


def _mix(hashed: UInt64, seed: int) -> UInt64:
    """Stir hashes with a seed (as MurmurHash3 ends), so that equal values in two columns do not cancel out."""
    mixed = hashed ^ np.uint64(seed)
    with np.errstate(over="ignore"):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    stirred: UInt64 = mixed ^ (mixed >> np.uint64(33))
    return stirred

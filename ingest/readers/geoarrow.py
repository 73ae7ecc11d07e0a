"""Geometries that GeoParquet 1.1 keeps as nested lists of coordinates (the encodings of GeoArrow)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from shapely import GeometryType

from ingest.readers.limits import Limits
from ingest.readers.row_problems import add_problem, broken_geometry, too_many_vertices

Objects = npt.NDArray[np.object_]

# By encoding: the type, and in how many lists the coordinates lie.
NATIVE: Mapping[str, tuple[GeometryType, int]] = {
    "POINT": (GeometryType.POINT, 0), "LINESTRING": (GeometryType.LINESTRING, 1),
    "POLYGON": (GeometryType.POLYGON, 2), "MULTIPOINT": (GeometryType.MULTIPOINT, 1),
    "MULTILINESTRING": (GeometryType.MULTILINESTRING, 2), "MULTIPOLYGON": (GeometryType.MULTIPOLYGON, 3),
}  # fmt: skip


def is_native(of: pa.DataType, encoding: str) -> bool:
    """Return whether a column is built as its encoding says, with x and y side by side."""
    for _ in range(NATIVE[encoding][1]):
        if not (pa.types.is_list(of) or pa.types.is_large_list(of)):
            return False
        of = of.value_type
    return pa.types.is_struct(of) and {"x", "y"} <= {field.name for field in of}


def from_native(values: pa.Array, encoding: str, limits: Limits) -> tuple[Objects, Objects, Objects]:
    """Read a column: the geometries, the problems ("reason: detail") and the raw form, of which there is none."""
    shapes, problems, raw = (np.full(len(values), None, dtype=object) for _ in range(3))
    rows = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    try:
        shapes[rows] = _read(values.take(pa.array(rows)), encoding)
    except (shapely.GEOSException, ValueError, pa.ArrowException):
        # One that cannot be read stops nobody else.
        for row in rows:
            try:
                shapes[row] = _read(values.take(pa.array([row])), encoding)[0]
            except (shapely.GEOSException, ValueError, pa.ArrowException) as error:
                problems[row] = broken_geometry(error)
    large = shapely.get_num_coordinates(shapes) > limits.vertices
    if large.any():
        add_problem(problems, large, too_many_vertices(limits.vertices))
        shapes[large] = None
    return shapes, problems, raw


def _read(values: pa.Array, encoding: str) -> Any:
    kind, levels = NATIVE[encoding]
    offsets: list[npt.NDArray[np.int64]] = []
    for _ in range(levels):
        offsets.insert(0, values.offsets.to_numpy().astype(np.int64))
        values = values.values
    coordinates = np.column_stack([values.field(name).to_numpy(zero_copy_only=False) for name in ("x", "y")])
    return shapely.from_ragged_array(kind, coordinates.astype(np.float64), tuple(offsets) or None)

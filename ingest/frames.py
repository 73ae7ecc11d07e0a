"""Tables of features, put together without copying their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from geopandas.array import from_shapely

GEOMETRY = "geometry"


def with_geometry(columns: Mapping[str, Any], geometry: npt.NDArray[np.object_], crs: Any = None) -> gpd.GeoDataFrame:
    """Put columns and shapes together; the geometry's column is called “geometry” and takes the place of any such.

    pandas else copies all columns, to lay those of one type beside each other, and a batch's are soon taken apart.
    """
    others = {name: values for name, values in columns.items() if name != GEOMETRY}
    shapes = from_shapely(geometry, crs=crs)
    return gpd.GeoDataFrame({**others, GEOMETRY: shapes}, index=pd.RangeIndex(len(geometry)), copy=False)


def with_columns(features: gpd.GeoDataFrame, more: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Add columns to features, all at once: one by one, pandas warns of tables of more than a hundred columns."""
    columns = {str(name): values for name, values in features.items()}
    return with_geometry({**columns, **more}, np.asarray(features.geometry.values, dtype=object), features.crs)


def objects(values: npt.NDArray[np.object_] | None, rows: int) -> pd.Series:
    """Return a column of objects as they are, or of nothing."""
    return pd.Series(np.full(rows, None) if values is None else values, dtype=object, copy=False)


def of_codes(values: npt.NDArray[np.object_], codes: pa.Array) -> npt.NDArray[np.object_]:
    """Give each row the value that its code stands for, the same object to all; None where there is no code."""
    known = np.full(len(values) + 1, None, dtype=object)
    known[:-1] = values
    rows: npt.NDArray[np.object_] = known[pc.fill_null(codes, -1).to_numpy()]
    return rows

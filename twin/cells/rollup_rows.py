"""The rows of a roll-up, from what the database counted in the finest cells.

Apart from `twin.cells.rollup`, because this loads pandas, which only publishing needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from h3ronpy.vector import cells_to_wkb_polygons

from twin.catalogue.rows import ARROW_TYPES, to_ewkb
from twin.cells.cover import MAX_RESOLUTION
from twin.cells.rollup import RESOLUTION_MASK, Plan


def build(plan: Plan, sums: pa.Table, modes: dict[str, pa.Table]) -> pa.Table:
    """Make the rows of all resolutions from the answers to `sums_sql` and `mode_sql`."""
    finest = sums.to_pandas()
    counted = {name: table.to_pandas() for name, table in modes.items()}
    levels = [_level(plan, finest, counted, resolution) for resolution in plan.resolutions]
    return pa.concat_tables(levels)


def _level(plan: Plan, finest: pd.DataFrame, counted: dict[str, pd.DataFrame], resolution: int) -> pa.Table:
    here = finest.assign(cell=_parent(finest["cell"].astype("int64"), resolution)).groupby("cell", sort=True)
    result: dict[str, Any] = {"features": here["features"].sum()}
    for n, column in enumerate(plan.columns):
        match column.rule:
            case "sum" | "count":
                # A cell in which no feature has the value has none either.
                result[column.name] = here[f"v{n}"].sum(min_count=1)
            case "min" | "max":
                result[column.name] = here[f"v{n}"].agg(column.rule)
            case "mean":
                result[column.name] = here[f"v{n}"].sum(min_count=1) / here[f"w{n}"].sum(min_count=1)
            case "mode":
                result[column.name] = _most_frequent(counted[column.name], resolution)
    frame = pd.DataFrame(result)
    cells = frame.index.to_numpy(dtype=np.int64)
    arrays: dict[str, pa.Array] = {
        "resolution": pa.array(np.full(len(cells), resolution, np.int16)),
        "cell": pa.array(cells),
        "features": pa.array(frame["features"].to_numpy(dtype=np.int64)),
    }
    for column in plan.columns:
        arrays[column.name] = pa.array(frame[column.name], from_pandas=True).cast(ARROW_TYPES[column.result])
    shapes = pa.array(cells_to_wkb_polygons(cells.view(np.uint64)))
    arrays["geom"] = to_ewkb(shapes.cast(pa.binary()))
    return pa.table(arrays)


def _most_frequent(counted: pd.DataFrame, resolution: int) -> pd.Series:
    """Return the value that stands most often in each cell; of equals the first in order."""
    moved = counted.assign(cell=_parent(counted["cell"].astype("int64"), resolution))
    times = moved.groupby(["cell", "value"], sort=True)["times"].sum().reset_index()
    times = times.sort_values(["cell", "times", "value"], ascending=[True, False, True], kind="stable")
    return times.drop_duplicates("cell").set_index("cell")["value"]


def _parent(cells: pd.Series, resolution: int) -> pd.Series:
    """Return the ancestors of cells: as `twin.cells.rollup.parent_sql`, for cells in memory."""
    unused = (1 << 3 * (MAX_RESOLUTION - resolution)) - 1
    return (cells & RESOLUTION_MASK) | (resolution << 52) | unused

"""From the server's Arrow and GeoParquet to data frames with types that know missing values."""

from __future__ import annotations

import io
import json
import re

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from h3ronpy import cells_to_string
from pyproj import CRS

from twin.cells.cover import cell_polygons
from twin.client.transfer import NO_TWIN
from twin.errors import BadInput

TYPES = {
    pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype(),
}  # fmt: skip
LONGITUDE_LATITUDE = CRS.from_epsg(4326)


def features(content: bytes) -> gpd.GeoDataFrame:
    """Return features from GeoParquet, indexed by id, in their coordinate system."""
    try:
        table = pq.read_table(io.BytesIO(content))
        geo = json.loads(table.schema.metadata[b"geo"])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        raise BadInput(NO_TWIN) from None
    name = geo["primary_column"]
    system = geo["columns"][name].get("crs")
    shapes = shapely.from_wkb(table.column(name).to_numpy())
    frame = table.drop_columns([name]).to_pandas(types_mapper=TYPES.get)
    # GeoParquet without a system means longitude and latitude.
    crs = CRS.from_json_dict(system) if system else LONGITUDE_LATITUDE
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=crs).set_index("id")


def version_named(disposition: str) -> int | None:
    """Return the version in the name of a download."""
    found = re.search(r"_v(\d+)\.", disposition)
    return int(found[1]) if found else None


def cells(content: bytes, *, geometry: bool) -> pd.DataFrame:
    """Return aggregated cells from an Arrow stream, indexed by cell name; with outlines if `geometry`."""
    try:
        table = pa.ipc.open_stream(content).read_all()
        about = json.loads(table.schema.metadata[b"city_twin"])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        raise BadInput(NO_TWIN) from None
    numbers = table.column("cell").combine_chunks()
    frame = table.drop_columns(["cell"]).to_pandas(types_mapper=TYPES.get)
    frame.index = pd.Index(pa.array(cells_to_string(numbers)).to_pylist(), name="cell", dtype="str")
    if geometry:
        outlines = cell_polygons(numbers.to_numpy().view("int64"))
        frame = gpd.GeoDataFrame(frame, geometry=outlines, crs=LONGITUDE_LATITUDE)
    frame.attrs = about
    return frame

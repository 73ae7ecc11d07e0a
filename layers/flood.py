"""Flood spots: streets and crossings that are known to flood, and from what; and modelled depths, a raster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from layers.common import NAME, RASTER_CELLS, SAMPLES, STATUS
from layers.theme import Detail, Field, Raster, Rollup, Theme, by_term, equal, term
from twin.text import Text

if TYPE_CHECKING:
    import geopandas as gpd

CAUSE = Field(
    "cause", "text", Text(en="Cause", vi="Nguyên nhân"), required=True, rollup=Rollup.MODE,
    vocabulary={
        "rain": term("Rain", "Mưa", "#3b7dd8", "mưa"),
        "tide": term("Spring tide", "Triều cường", "#12938a", "triều", "triều cường"),
        "both": term("Rain and tide", "Mưa và triều cường", "#7a4fb5", "mưa và triều"),
    },
    aliases=("nguyen_nhan",),
)  # fmt: skip

FLOOD_SPOTS = Theme(
    name="flood_spots",
    title=Text(en="Flood spots", vi="Điểm ngập"),
    description=Text(
        en="Places that flooded in recent seasons, with the cause.",
        vi="Các điểm ngập trong những mùa gần đây và nguyên nhân.",
    ),
    geometry="point",
    resolution=11,
    fields=(
        NAME,
        CAUSE,
        Field("depth_m", "number", Text(en="Usual depth", vi="Độ sâu thường gặp"), unit="m",
              minimum=0, maximum=5, rollup=Rollup.MAX, aliases=("do_sau",)),
        Field("years", "text", Text(en="Seen in", vi="Ghi nhận năm"), aliases=("nam",)),
        STATUS,
    ),
    importance=equal,
    details=(Detail(9, limit=5000),),
    label="name",
    tile_fields=("name", "cause", "depth_m"),
    style={
        "order": 90,
        "circle": {"color": by_term(CAUSE), "radius": 7, "stroke": "#ffffff"},
        "label": {"field": "name", "size": 11, "color": "#1f4d86", "halo": "#ffffff", "minzoom": 14.5, "priority": 60},
    },
)  # fmt: skip

# More water than this stands nowhere in a city's streets: such pixels are faults of the terrain model.
DEEPEST = 20
# A film of water is not drawn: dry cells would whiten the map under them.
SHOWN_FROM = 0.01


def by_depth(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Rank cells by their mean depth in metres."""
    return np.asarray(features["depth"].astype("float64").fillna(0.0))


DEPTHS = {
    "field": "depth",
    "stops": [[SHOWN_FROM, "#e6f1f8"], [0.2, "#c6dbef"], [0.5, "#8fbfe0"], [1, "#4a90c2"], [2, "#1f5f9e"],
              [4, "#12305f"]],
}  # fmt: skip

FLOOD_DEPTH = Theme(
    name="flood_depth",
    title=Text(en="Flood depth", vi="Độ sâu ngập"),
    description=Text(
        en="Depth of water over the ground in one scenario, as modelled: mean, least and greatest of each cell.",
        vi="Độ sâu nước trên mặt đất theo một kịch bản, kết quả mô hình: trung bình, nhỏ nhất và lớn nhất của mỗi ô.",
    ),
    geometry="polygon",
    resolution=10,
    fields=(
        Field("depth", "number", Text(en="Depth", vi="Độ sâu"), unit="m", required=True,
              minimum=0, maximum=DEEPEST, rollup=Rollup.MEAN, weight="samples", aliases=("do_sau_ngap",)),
        Field("lowest", "number", Text(en="Least depth", vi="Nông nhất"), unit="m",
              minimum=0, maximum=DEEPEST, rollup=Rollup.MIN),
        Field("highest", "number", Text(en="Greatest depth", vi="Sâu nhất"), unit="m",
              minimum=0, maximum=DEEPEST, rollup=Rollup.MAX),
        SAMPLES,
    ),
    raster=Raster("depth", shown_from=SHOWN_FROM),
    importance=by_depth,
    details=(Detail(12, SHOWN_FROM, limit=12_000),),
    rolls_up=True,
    rollup_cells=RASTER_CELLS,
    tile_fields=("depth",),
    visible=False,
    style={
        "order": 32,
        "opacity": 0.65,
        "fill": DEPTHS,
        # The mean over a large cell is small where little of it is under water.
        "cells": {"color": DEPTHS, "opacity": {"field": "depth", "stops": [[0, 0], [SHOWN_FROM, 0.2], [0.5, 0.65]]}},
    },
)  # fmt: skip

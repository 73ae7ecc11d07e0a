"""Elevation of the ground, a raster of metres above mean sea level."""

from __future__ import annotations

from layers.common import RASTER_CELLS, SAMPLES
from layers.theme import Detail, Field, Raster, Rollup, Theme, equal
from twin.text import Text

# From the Dead Sea's shore to the highest mountain: what is beyond is a mark for "nothing known", or a mistake.
LOWEST, HIGHEST = -450, 9000

HEIGHTS = {
    "field": "elevation",
    "stops": [[-2, "#3f7fb0"], [0, "#8cc0d9"], [1, "#cfe6c8"], [2, "#a9d08e"], [5, "#f2e394"],
          [15, "#e0a458"], [50, "#a5673f"], [300, "#f5f0ea"]],
}  # fmt: skip

ELEVATION = Theme(
    name="elevation",
    title=Text(en="Elevation", vi="Độ cao địa hình"),
    description=Text(
        en="Height of the ground above mean sea level: mean, lowest and highest of each cell, from a raster.",
        vi="Độ cao mặt đất so với mực nước biển: trung bình, thấp nhất và cao nhất của mỗi ô, từ ảnh raster.",
    ),
    geometry="polygon",
    resolution=10,
    fields=(
        Field("elevation", "number", Text(en="Elevation", vi="Độ cao"), unit="m", required=True,
              minimum=LOWEST, maximum=HIGHEST, rollup=Rollup.MEAN, weight="samples"),
        Field("lowest", "number", Text(en="Lowest", vi="Thấp nhất"), unit="m",
              minimum=LOWEST, maximum=HIGHEST, rollup=Rollup.MIN),
        Field("highest", "number", Text(en="Highest", vi="Cao nhất"), unit="m",
              minimum=LOWEST, maximum=HIGHEST, rollup=Rollup.MAX),
        SAMPLES,
    ),
    raster=Raster("elevation", terrain=True),
    importance=equal,
    details=(Detail(12, limit=12_000),),
    rolls_up=True,
    rollup_cells=RASTER_CELLS,
    tile_fields=("elevation",),
    visible=False,
    style={
        "order": 16,
        "opacity": 0.6,
        "fill": HEIGHTS,
        "cells": {"color": HEIGHTS, "opacity": 0.6},
    },
)  # fmt: skip

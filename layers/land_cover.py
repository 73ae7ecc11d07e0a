"""Land cover: what lies on the ground as satellites see it, a raster of classes."""

from __future__ import annotations

from layers.common import RASTER_CELLS, SAMPLES, SHARE
from layers.theme import Detail, Field, Raster, Rollup, Theme, by_term, equal, term
from twin.text import Text

COVER = Field(
    "cover", "text", Text(en="Land cover", vi="Lớp phủ"), required=True, rollup=Rollup.MODE,
    vocabulary={
        "water": term("Water", "Mặt nước", "#7fb5d6"),
        "trees": term("Trees", "Cây gỗ", "#4f8f4a"),
        "wetland": term("Flooded vegetation", "Thực vật ngập nước", "#7fa98a"),
        "crops": term("Crops", "Cây trồng", "#e3c567"),
        "built": term("Built-up area", "Đất xây dựng", "#c4827a"),
        "bare": term("Bare ground", "Đất trống", "#c9b79c"),
        "snow": term("Snow and ice", "Băng tuyết", "#e8f1f5"),
        "cloud": term("Cloud, unknown", "Mây, không rõ", "#d9d9d9"),
        "grass": term("Grass and shrubs", "Cỏ và cây bụi", "#b5cf86"),
    },
)  # fmt: skip

LAND_COVER = Theme(
    name="land_cover",
    title=Text(en="Land cover", vi="Lớp phủ mặt đất"),
    description=Text(
        en="What covers the ground: the most frequent class of each cell, from a raster of classes.",
        vi="Lớp phủ mặt đất: loại chiếm nhiều nhất trong mỗi ô, lấy từ ảnh raster phân loại.",
    ),
    geometry="polygon",
    resolution=10,
    fields=(COVER, SHARE, SAMPLES),
    # The codes of the ten-metre land cover map by Esri and Impact Observatory; 3 and 6 are of its first edition.
    raster=Raster("cover", {
        1: "water", 2: "trees", 3: "grass", 4: "wetland", 5: "crops", 6: "grass", 7: "built", 8: "bare", 9: "snow",
        10: "cloud", 11: "grass",
    }),
    importance=equal,
    details=(Detail(12, limit=12_000),),
    rolls_up=True,
    rollup_cells=RASTER_CELLS,
    tile_fields=("cover",),
    visible=False,
    style={
        "order": 15, "opacity": 0.7, "fill": by_term(COVER), "cells": {"color": by_term(COVER), "opacity": 0.7},
    },
)  # fmt: skip

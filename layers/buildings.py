"""Buildings with their heights and uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from layers.common import ADDRESS, NAME
from layers.theme import Detail, Field, Rollup, Theme, by_area, by_term, term
from twin.text import Text

if TYPE_CHECKING:
    import geopandas as gpd

USE = Field(
    "use", "text", Text(en="Use", vi="Công năng"), rollup=Rollup.MODE,
    vocabulary={
        "house": term("House", "Nhà ở riêng lẻ", "#e8d9c0", "residential", "detached", "terrace", "villa",
                      "nhà ở", "nhà phố", "nhà liền kề", "biệt thự"),
        "apartments": term("Apartments", "Chung cư", "#e2c6a0", "apartment", "dormitory", "chung cư"),
        "mixed": term("Mixed use", "Hỗn hợp", "#d3a6a1", "shophouse"),
        "office": term("Office", "Văn phòng", "#a9bcd6"),
        "commercial": term("Commerce", "Thương mại", "#e3a992", "retail", "hotel", "supermarket",
                           "chợ", "siêu thị", "khách sạn", "cửa hàng"),
        "industrial": term("Industry, storage", "Công nghiệp, kho", "#b9aecb", "warehouse", "port",
                           "nhà xưởng", "xưởng", "nhà kho", "kho"),
        "education": term("Education", "Giáo dục", "#f0cf7e", "school", "university", "kindergarten",
                          "trường học", "trường mầm non", "trường đại học"),
        "health": term("Health", "Y tế", "#e99aa6", "hospital", "clinic",
                       "bệnh viện", "trạm y tế", "phòng khám", "bệnh xá"),
        "religious": term("Religious", "Tôn giáo", "#c9b2d9", "church", "temple", "pagoda",
                          "chùa", "nhà thờ", "đình", "miếu"),
        "public": term("Public", "Công cộng", "#9cc5b8", "government", "civic",
                       "trụ sở", "cơ quan", "công sở"),
        "other": term("Other", "Khác", "#dad6cf", "yes", "roof", "infrastructure"),
    },
    aliases=("building", "cong_nang", "loai_cong_trinh"),
)  # fmt: skip

METRES_PER_STOREY = 3.5


def by_bulk(features: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Rank by what is seen from afar: footprint in square metres times height in metres."""
    height = np.asarray(features["height"].astype("float64").fillna(METRES_PER_STOREY))
    bulk: npt.NDArray[np.float64] = by_area(features) * np.maximum(height, METRES_PER_STOREY)
    return bulk


BUILDINGS = Theme(
    name="buildings",
    title=Text(en="Buildings", vi="Công trình xây dựng"),
    description=Text(
        en="Footprints with height, storeys and use.",
        vi="Mặt bằng công trình, chiều cao, số tầng và công năng.",
    ),
    geometry="polygon",
    resolution=11,
    fields=(
        NAME,
        Field(
            "height", "number", Text(en="Height", vi="Chiều cao"), unit="m",
            minimum=0, maximum=600, rollup=Rollup.MAX, aliases=("chieu_cao", "cao"),
        ),
        Field(
            "levels", "integer", Text(en="Storeys", vi="Số tầng"), minimum=0, maximum=130, rollup=Rollup.MEAN,
            aliases=("so_tang", "storey", "storeys", "building_levels", "tang_cao"),
        ),
        USE,
        ADDRESS,
        Field("year_built", "integer", Text(en="Year built", vi="Năm xây dựng"), minimum=1600, maximum=2100,
              aliases=("nam_xay_dung",)),
        Field("floor_area_m2", "number", Text(en="Floor area", vi="Diện tích sàn"), unit="m2", minimum=0,
              rollup=Rollup.SUM, aliases=("dien_tich_san",)),
    ),
    importance=by_bulk,
    details=(Detail(13, 12_000, 1500), Detail(14, 2_000, 4000), Detail(15, 0, 10_000)),
    rolls_up=True,
    label="name",
    tile_fields=("name", "height", "levels", "use"),
    city_objects=("Building", "BuildingPart"),
    base_map=True,
    style={
        "order": 50,
        "extrude": {"field": "height", "levels": {"field": "levels"}, "metres_per_level": METRES_PER_STOREY,
                    "default": METRES_PER_STOREY},
        "fill": by_term(USE, other="#dad6cf"),
        "cells": {"color": "#a06a2c", "opacity": {
            "field": "per_km2", "stops": [[0, 0], [100, 0.05], [500, 0.12], [2000, 0.24], [6000, 0.4]]}},
    },
)  # fmt: skip

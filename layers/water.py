"""Water: surfaces (rivers, lakes, ponds) and the centre lines of rivers and canals."""

from __future__ import annotations

from layers.common import NAME
from layers.theme import Detail, Field, Theme, by_area, by_rank, term
from twin.text import Text

KIND = Field(
    "kind", "text", Text(en="Kind", vi="Loại"),
    vocabulary={
        "river": term("River", "Sông", None, "riverbank", "sông"),
        "canal": term("Canal", "Kênh, rạch", None, "kênh", "rạch", "dock"),
        "stream": term("Stream", "Suối, rạch nhỏ", None, "suối"),
        "drain": term("Drain", "Mương thoát nước", None, "ditch", "mương"),
        "lake": term("Lake", "Hồ", None, "hồ", "water", "yes"),
        "pond": term("Pond", "Ao, đầm", None, "ao", "basin", "pool"),
        "reservoir": term("Reservoir", "Hồ chứa", None, "hồ chứa"),
        "wetland": term("Wetland", "Đất ngập nước", None, "đất ngập nước"),
    },
    aliases=("waterway", "water", "loai"),
)  # fmt: skip

WATER = Theme(
    name="water",
    title=Text(en="Water", vi="Mặt nước"),
    description=Text(en="Surfaces of rivers, canals, lakes and ponds.", vi="Mặt nước sông, kênh rạch, hồ và ao."),
    geometry="polygon",
    resolution=10,
    fields=(NAME, KIND),
    importance=by_area,
    details=(Detail(6, 200_000, 1000), Detail(10, 20_000, 2000), Detail(12, 3_000, 3000), Detail(14, 0, 5000)),
    label="name",
    tile_fields=("name", "kind"),
    city_objects=("WaterBody",),
    base_map=True,
    style={
        "order": 20,
        "fill": "#a8cfe6",
        "label": {"field": "name", "size": 12, "color": "#2f6d95", "halo": "#dcecf6", "minzoom": 13, "priority": 70},
    },
)  # fmt: skip

WATERWAYS = Theme(
    name="waterways",
    title=Text(en="Waterways", vi="Sông, kênh, rạch"),
    description=Text(en="Centre lines of rivers, canals and drains.", vi="Tim sông, kênh, rạch và mương."),
    geometry="line",
    resolution=10,
    fields=(NAME, KIND),
    importance=by_rank({"river": 4.0, "canal": 3.0, "stream": 2.0, "drain": 1.0}, of="kind"),
    details=(Detail(8, 4, 1000), Detail(11, 3, 2000), Detail(13, 2, 3000), Detail(14, 0, 5000)),
    label="name",
    tile_fields=("name", "kind"),
    base_map=True,
    style={
        "order": 19,
        "line": {
            "color": "#a8cfe6",
            "width": {"field": "kind", "other": 4, "categories": {"river": 20, "canal": 10, "stream": 5, "drain": 3}},
            "min_pixels": {"field": "kind", "other": 0.5, "categories": {"river": 1.4, "canal": 1.0}},
        },
        "label": {"field": "name", "size": 12, "color": "#2f6d95", "halo": "#dcecf6",
                  "minzoom": 11, "along": True, "priority": 65},
    },
)  # fmt: skip

"""Sensors: the things that observe the city. Their values are streams; this theme says where they stand."""

from __future__ import annotations

from layers.common import ADDRESS, CODE, NAME, OPERATOR, STATUS
from layers.theme import Detail, Field, Rollup, Theme, by_term, equal, term
from twin.text import Text

KIND = Field(
    "kind", "text", Text(en="Observes", vi="Quan trắc"), required=True, rollup=Rollup.MODE,
    vocabulary={
        "air_quality": term("Air quality", "Chất lượng không khí", "#5c9e4a", "air"),
        "water_level": term("Water level", "Mực nước", "#1f78b4", "tide_gauge"),
        "rain": term("Rain", "Mưa", "#4aa3df", "rain_gauge"),
        "weather": term("Weather", "Khí tượng", "#8a9bb0"),
        "traffic_count": term("Traffic count", "Đếm xe", "#c9702b"),
        "camera": term("Traffic camera", "Camera giao thông", "#6d6d6d", "cctv"),
        "noise": term("Noise", "Tiếng ồn", "#9067a7"),
    },
    aliases=("loai", "type"),
)  # fmt: skip

SENSORS = Theme(
    name="sensors",
    title=Text(en="Sensors", vi="Cảm biến, trạm quan trắc"),
    description=Text(
        en="Stations, gauges and cameras, with what they observe.",
        vi="Trạm đo, cảm biến, camera và đại lượng quan trắc.",
    ),
    geometry="point",
    resolution=11,
    fields=(
        NAME,
        KIND,
        CODE,
        OPERATOR,
        ADDRESS,
        STATUS,
        Field("heading_deg", "number", Text(en="Looks towards", vi="Hướng nhìn"), unit="deg", minimum=0, maximum=360),
    ),
    importance=equal,
    details=(Detail(10, limit=5000),),
    label="name",
    tile_fields=("name", "kind"),
    style={
        "order": 95,
        "circle": {"color": by_term(KIND), "radius": 5, "stroke": "#ffffff"},
        "label": {"field": "name", "size": 10, "color": "#3c4a57", "halo": "#ffffff", "minzoom": 16, "priority": 30},
    },
)  # fmt: skip

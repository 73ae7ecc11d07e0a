"""Public transport: routes with their variants, and stops."""

from __future__ import annotations

from layers.common import ADDRESS, CODE, NAME, STATUS
from layers.theme import Detail, Field, Theme, by_rank, by_term, equal, term
from twin.text import Text

MODE = Field(
    "mode", "text", Text(en="Mode", vi="Phương tiện"), required=True,
    vocabulary={
        "metro": term("Metro", "Metro", "#c2185b", "subway"),
        "bus": term("Bus", "Xe buýt", "#2f7d5b", "brt"),
        "ferry": term("Ferry", "Phà, buýt sông", "#1f78b4"),
    },
)  # fmt: skip

TRANSIT_ROUTES = Theme(
    name="transit_routes",
    title=Text(en="Public transport routes", vi="Tuyến giao thông công cộng"),
    description=Text(en="Bus, metro and ferry routes.", vi="Các tuyến xe buýt, metro và buýt sông."),
    geometry="line",
    resolution=10,
    fields=(
        NAME,
        CODE,
        MODE,
        Field("headway", "text", Text(en="Runs every (minutes)", vi="Giãn cách (phút)")),
        Field("hours", "text", Text(en="Hours of service", vi="Thời gian hoạt động")),
        STATUS,
    ),
    importance=by_rank({"metro": 3.0, "ferry": 2.0, "bus": 1.0}, of="mode"),
    details=(Detail(9, 3, 500), Detail(11, 0, 1500)),
    tile_fields=("name", "code", "mode"),
    visible=False,
    style={"order": 45, "line": {"color": by_term(MODE), "width": 6, "min_pixels": 1.4}},
)  # fmt: skip

TRANSIT_STOPS = Theme(
    name="transit_stops",
    title=Text(en="Stops and stations", vi="Trạm dừng, nhà ga"),
    description=Text(en="Where bus, metro and ferry stop.", vi="Nơi dừng của xe buýt, metro và phà."),
    geometry="point",
    resolution=11,
    fields=(NAME, CODE, MODE, ADDRESS, STATUS),
    importance=equal,
    details=(Detail(14, limit=3000),),
    rolls_up=True,
    label="name",
    tile_fields=("name", "mode"),
    visible=False,
    style={
        "order": 85,
        "circle": {"color": by_term(MODE), "radius": 4, "stroke": "#ffffff"},
        "label": {"field": "name", "size": 10, "color": "#2f5d4a", "halo": "#ffffff", "minzoom": 16, "priority": 20},
    },
)  # fmt: skip

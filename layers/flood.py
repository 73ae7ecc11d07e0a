"""Flood spots: streets and crossings that are known to flood, and from what."""

from __future__ import annotations

from layers.common import NAME, STATUS
from layers.theme import Detail, Field, Rollup, Theme, by_term, equal, term
from twin.text import Text

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

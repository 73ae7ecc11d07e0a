"""Roads and paths, by their class in the street network."""

from __future__ import annotations

from layers.common import CODE, NAME
from layers.theme import Detail, Field, Rollup, Theme, by_rank, term
from twin.text import Text

ROAD_CLASS = Field(
    "class", "text", Text(en="Class", vi="Cấp đường"), required=True,
    vocabulary={
        "motorway": term("Expressway", "Đường cao tốc", "#e8927c", "motorway_link", "cao tốc"),
        "trunk": term("Trunk road", "Quốc lộ", "#f4b183", "trunk_link", "quốc lộ"),
        "primary": term("Primary road", "Đường chính đô thị", "#fbd58a", "primary_link"),
        "secondary": term("Secondary road", "Đường liên khu vực", "#fdeaa8", "secondary_link", "tỉnh lộ"),
        "tertiary": term("Collector", "Đường khu vực", "#ffffff", "tertiary_link"),
        "residential": term("Street", "Đường nội bộ", "#ffffff", "unclassified", "living_street", "road"),
        "service": term("Service lane, alley", "Hẻm, đường phụ", "#ffffff", "track", "hẻm"),
        "path": term("Path for walking", "Lối đi bộ", "#d9c9b4",
                     "footway", "pedestrian", "steps", "cycleway", "bridleway"),
    },
    aliases=("highway", "cap_duong", "loai_duong", "road_class"),
)  # fmt: skip

RANK = {
    "motorway": 8.0, "trunk": 7.0, "primary": 6.0, "secondary": 5.0,
    "tertiary": 4.0, "residential": 3.0, "service": 2.0, "path": 1.0,
}  # fmt: skip

ROADS = Theme(
    name="roads",
    title=Text(en="Roads", vi="Đường giao thông"),
    description=Text(en="The street network, from expressways to alleys.", vi="Mạng lưới đường, từ cao tốc đến hẻm."),
    geometry="line",
    resolution=11,
    fields=(
        NAME,
        ROAD_CLASS,
        CODE,
        Field("lanes", "integer", Text(en="Lanes", vi="Số làn"), minimum=1, maximum=16, aliases=("so_lan",)),
        Field(
            "maxspeed", "integer", Text(en="Speed limit", vi="Tốc độ tối đa"), unit="km/h",
            minimum=5, maximum=130, rollup=Rollup.MAX, aliases=("toc_do",),
        ),
        Field("oneway", "boolean", Text(en="One way", vi="Một chiều"), aliases=("mot_chieu",)),
        Field("bridge", "boolean", Text(en="Bridge", vi="Cầu"), aliases=("cau",)),
        Field("surface", "text", Text(en="Surface", vi="Mặt đường"), aliases=("mat_duong",)),
        Field(
            "width_m", "number", Text(en="Width", vi="Bề rộng"), unit="m",
            minimum=0.5, maximum=200, aliases=("width", "do_rong", "be_rong", "lo_gioi"),
        ),
    ),
    importance=by_rank(RANK, of="class"),
    details=(
        Detail(8, 6, 2000), Detail(11, 5, 3000), Detail(12, 4, 4000), Detail(14, 3, 6000), Detail(15, 1, 10_000),
    ),
    label="name",
    tile_fields=("name", "class"),
    city_objects=("Road", "Track", "Square"),
    base_map=True,
    style={
        "order": 30,
        "line": {
            "color": {"field": "class", "categories": {k: t.color for k, t in (ROAD_CLASS.vocabulary or {}).items()},
                      "other": "#ffffff"},
            "casing": "#cfc6b8",
            "width": {"field": "class", "other": 5, "categories": {
                "motorway": 24, "trunk": 20, "primary": 16, "secondary": 13,
                "tertiary": 10, "residential": 7, "service": 4, "path": 2.5}},
            "min_pixels": {"field": "class", "other": 0.6, "categories": {
                "motorway": 2.4, "trunk": 2.0, "primary": 1.6, "secondary": 1.2, "tertiary": 1.0}},
        },
        "label": {"field": "name", "size": 11, "color": "#5f564b", "halo": "#ffffff",
                  "minzoom": 14, "along": True, "priority": 40},
    },
)  # fmt: skip

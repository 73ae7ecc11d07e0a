"""Land use as it is today (not as planned: that is zoning)."""

from __future__ import annotations

from layers.common import NAME
from layers.theme import Detail, Field, Theme, by_area, by_term, term
from twin.text import Text

USE = Field(
    "use", "text", Text(en="Use", vi="Loại đất"), required=True,
    vocabulary={
        "park": term("Park, garden", "Công viên, vườn hoa", "#c5e3b5", "garden", "recreation_ground", "playground"),
        "green": term("Grass, meadow", "Bãi cỏ, cây xanh", "#d9ecca", "grass", "meadow", "grassland", "scrub",
                      "greenfield", "village_green"),
        "forest": term("Forest", "Rừng", "#b3d6a2", "wood", "nature_reserve"),
        "farm": term("Farmland", "Đất nông nghiệp", "#ebe8c4", "farmland", "farmyard", "orchard"),
        "residential": term("Residential", "Khu dân cư", "#efeae1"),
        "commercial": term("Commercial", "Thương mại, dịch vụ", "#f3dfdb", "retail"),
        "industrial": term("Industrial", "Công nghiệp", "#e3dceb", "port"),
        "sport": term("Sport", "Thể thao", "#bfe3cd", "pitch", "sports_centre", "stadium", "golf_course", "track"),
        "military": term("Military", "Quốc phòng", "#ddd3cf"),
        "cemetery": term("Cemetery", "Nghĩa trang", "#cddcc8", "churchyard"),
        "construction": term("Under construction", "Đang xây dựng", "#e2dccd", "brownfield", "landfill"),
    },
    aliases=("landuse", "leisure", "natural", "hien_trang"),
)  # fmt: skip

LAND_USE = Theme(
    name="land_use",
    title=Text(en="Land use", vi="Hiện trạng sử dụng đất"),
    description=Text(en="What the ground is used for today.", vi="Hiện trạng sử dụng đất."),
    geometry="polygon",
    resolution=10,
    fields=(NAME, USE),
    importance=by_area,
    details=(Detail(9, 200_000, 1000), Detail(12, 20_000, 2000), Detail(14, 0, 4000)),
    label="name",
    tile_fields=("name", "use"),
    city_objects=("LandUse",),
    base_map=True,
    style={
        "order": 10,
        "fill": by_term(USE, other="#eeeae0"),
        "label": {"field": "name", "size": 11, "color": "#46703a", "halo": "#f1f7ec", "minzoom": 15, "priority": 45},
    },
)  # fmt: skip

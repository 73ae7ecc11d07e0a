"""Administrative boundaries: wards, communes and the special zone of today, districts and wards of before."""

from __future__ import annotations

from layers.common import CODE, NAME
from layers.theme import Detail, Field, Theme, by_area, term
from twin.text import Text

LEVEL = Field(
    "level", "text", Text(en="Level", vi="Cấp"), required=True,
    vocabulary={
        "ward": term("Ward", "Phường", None, "phường", "phuong"),
        "commune": term("Commune", "Xã", None, "xã", "xa", "thị trấn", "township"),
        "special_zone": term("Special zone", "Đặc khu", None, "đặc khu", "đặc"),
        "district": term("District", "Quận, huyện", None, "quận", "huyện", "thành phố"),
    },
    aliases=("cap", "loai"),
)  # fmt: skip

BOUNDARIES = Theme(
    name="boundaries",
    title=Text(en="Boundaries", vi="Địa giới hành chính"),
    description=Text(
        en="Administrative units with their codes and names.",
        vi="Các đơn vị hành chính, mã và tên.",
    ),
    geometry="polygon",
    resolution=9,
    fields=(
        NAME,
        CODE,
        LEVEL,
        Field("parent", "text", Text(en="Part of", vi="Thuộc"), aliases=("thuoc", "district", "quan_huyen")),
        Field("area_km2", "number", Text(en="Area", vi="Diện tích"), unit="km2", minimum=0, aliases=("dien_tich",)),
    ),
    importance=by_area,
    details=(Detail(6, limit=2000),),
    label="name",
    tile_fields=("name", "level"),
    coverage=True,
    base_map=True,
    style={
        "order": 60,
        "line": {"color": "#8d6a9f", "width": 0, "min_pixels": 1.2},
        "label": {"field": "name", "size": 13, "color": "#5b3f6b", "halo": "#ffffff", "minzoom": 10, "priority": 90},
    },
)  # fmt: skip

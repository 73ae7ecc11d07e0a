"""Zoning: what a plan allows on each parcel or block."""

from __future__ import annotations

from layers.common import CODE, NAME
from layers.theme import Detail, Field, Rollup, Theme, by_area, by_term, term
from twin.text import Text

USE = Field(
    "use", "text", Text(en="Planned use", vi="Chức năng quy hoạch"), required=True, rollup=Rollup.MODE,
    vocabulary={
        "residential_low": term("Low-rise housing", "Nhà ở thấp tầng", "#f7e3a1"),
        "residential_high": term("High-rise housing", "Nhà ở cao tầng", "#f2b95c"),
        "mixed": term("Mixed use", "Hỗn hợp", "#e58f65"),
        "commercial": term("Commerce, services", "Thương mại, dịch vụ", "#e0707a"),
        "public": term("Public services", "Công trình công cộng", "#8fb8de"),
        "education": term("Education", "Giáo dục", "#b39ddb"),
        "health": term("Health", "Y tế", "#f48fb1"),
        "culture": term("Culture, sport, leisure", "Văn hóa, thể thao, giải trí", "#80cbc4"),
        "religious": term("Religious", "Tôn giáo", "#bcaaa4"),
        "green": term("Park, green buffer", "Cây xanh, công viên", "#9ccc8a"),
        "water": term("Water", "Mặt nước", "#a8cfe6"),
        "industrial": term("Industry", "Công nghiệp", "#a89bc4"),
        "transport": term("Transport, utilities", "Giao thông, hạ tầng kỹ thuật", "#b0b4ba"),
        "port": term("Port, marina", "Cảng, bến du thuyền", "#7d9cb5"),
    },
    aliases=("chuc_nang", "loai_dat", "landuse"),
)  # fmt: skip

ZONING = Theme(
    name="zoning",
    title=Text(en="Zoning", vi="Quy hoạch sử dụng đất"),
    description=Text(
        en="Planned use of land with the limits that a plan sets.",
        vi="Chức năng sử dụng đất và các chỉ tiêu quy hoạch.",
    ),
    geometry="polygon",
    resolution=11,
    fields=(
        NAME,
        CODE,
        USE,
        Field("max_floors", "integer", Text(en="Storeys allowed", vi="Tầng cao tối đa"),
              minimum=0, maximum=130, rollup=Rollup.MAX, aliases=("tang_cao",)),
        Field("max_height", "number", Text(en="Height allowed", vi="Chiều cao tối đa"), unit="m",
              minimum=0, maximum=600, rollup=Rollup.MAX),
        Field("max_far", "number", Text(en="Floor area ratio allowed", vi="Hệ số sử dụng đất tối đa"),
              unit="1", minimum=0, maximum=25, aliases=("he_so_su_dung_dat",)),
        Field("max_coverage", "number", Text(en="Site coverage allowed", vi="Mật độ xây dựng tối đa"),
              unit="%", minimum=0, maximum=100, aliases=("mat_do_xay_dung",)),
    ),
    importance=by_area,
    details=(Detail(11, 20_000, 1000), Detail(13, 0, 5000)),
    tile_fields=("name", "code", "use", "max_floors"),
    coverage=True,
    visible=False,
    style={
        "order": 14,
        "opacity": 0.6,
        "fill": by_term(USE),
        "line": {"color": "#7d7467", "width": 0, "min_pixels": 0.8},
    },
)  # fmt: skip

"""Places that people look for: quarters, schools, hospitals, markets, pagodas, offices of the city."""

from __future__ import annotations

from layers.common import ADDRESS, NAME
from layers.theme import Detail, Field, Rollup, Theme, by_rank, by_term, term
from twin.text import Text

KIND = Field(
    "kind", "text", Text(en="Kind", vi="Loại"), required=True, rollup=Rollup.MODE,
    vocabulary={
        "quarter": term("Quarter", "Khu vực", "#6b6257", "suburb", "neighbourhood", "village", "town", "hamlet"),
        "government": term("Authority", "Cơ quan nhà nước", "#7a5c3e", "townhall", "police", "courthouse",
                           "administrative"),
        "hospital": term("Hospital", "Bệnh viện", "#c8324b", "bệnh viện"),
        "clinic": term("Clinic", "Trạm y tế, phòng khám", "#d96a7c", "doctors", "health_centre", "trạm y tế"),
        "university": term("University, college", "Đại học, cao đẳng", "#b07d12", "college", "đại học",
                           "cao đẳng · trung cấp"),
        "school": term("School", "Trường học", "#c99a2e", "trường phổ thông"),
        "kindergarten": term("Kindergarten", "Trường mầm non", "#d9b45c", "childcare", "mầm non"),
        "market": term("Market", "Chợ", "#b65a2f", "marketplace", "mall", "chợ"),
        "worship": term("Place of worship", "Cơ sở tôn giáo", "#7d5ba6", "place_of_worship"),
        "museum": term("Museum, theatre", "Bảo tàng, nhà hát", "#4b7f9e", "theatre", "library", "arts_centre"),
        "park": term("Park", "Công viên", "#4c8a3f", "công viên"),
        "station": term("Station", "Bến xe, nhà ga", "#2d6da3", "bus_station", "ferry_terminal", "subway_station"),
        "sight": term("Sight", "Điểm tham quan", "#8a5a83", "attraction", "viewpoint", "monument"),
        "hotel": term("Hotel", "Khách sạn", "#7f8c9b"),
        "fuel": term("Fuel", "Trạm xăng", "#8b8b8b"),
    },
    aliases=("amenity", "place", "tourism", "office", "loai"),
)  # fmt: skip

RANK = {
    "quarter": 9.0, "government": 6.0, "hospital": 8.0, "station": 7.0, "university": 6.0, "market": 6.0,
    "museum": 6.0, "park": 5.0, "sight": 5.0, "school": 4.0, "worship": 3.0, "clinic": 3.0,
    "kindergarten": 2.0, "hotel": 2.0, "fuel": 1.0,
}  # fmt: skip

PLACES = Theme(
    name="places",
    title=Text(en="Places", vi="Địa điểm"),
    description=Text(
        en="Named places, from quarters to schools and clinics.",
        vi="Các địa điểm có tên, từ khu vực đến trường học và trạm y tế.",
    ),
    geometry="point",
    resolution=11,
    fields=(NAME, KIND, ADDRESS),
    importance=by_rank(RANK, of="kind"),
    details=(Detail(12, 9, 200), Detail(14, 6, 300), Detail(15, 4, 600), Detail(16, 0, 2000)),
    rolls_up=True,
    label="name",
    tile_fields=("name", "kind"),
    base_map=True,
    style={
        "order": 80,
        "circle": {"color": by_term(KIND, other="#777777"), "radius": 3.5, "stroke": "#ffffff", "minzoom": 15},
        "label": {"field": "name", "size": 11, "color": "#4a4137", "halo": "#ffffff", "minzoom": 14, "priority": 50},
    },
)  # fmt: skip

"""Rain: its depth in an interval, and how heavy the rain of an hour is."""

from __future__ import annotations

from layers.observed.kind import Grade, ObservedKind, Scale
from layers.theme import Rollup
from twin.text import Text

INTENSITY = Scale(
    "rain_hour",
    Text(en="Rain in one hour", vi="Lượng mưa trong một giờ"),
    Text(
        en="UK Met Office: moderate from 2, heavy from 10, violent from 50 mm/h (showers). “Light” from 0.1 mm, the "
           "least that gauges count, is declared by this project.",
        vi="Met Office (Anh): mưa vừa từ 2, mưa to từ 10, mưa rất to từ 50 mm/h (mưa rào). Ngưỡng “mưa nhỏ” 0,1 mm, "
           "lượng nhỏ nhất mà trạm ghi nhận, do dự án này quy định.",
    ),
    (0.1, 2.0, 10.0, 50.0),
    (
        Grade("dry", Text(en="No rain", vi="Không mưa"), "#f4f4f1"),
        Grade("light", Text(en="Light", vi="Mưa nhỏ"), "#b3cde3"),
        Grade("moderate", Text(en="Moderate", vi="Mưa vừa"), "#6497c8"),
        Grade("heavy", Text(en="Heavy", vi="Mưa to"), "#225ea8"),
        Grade("violent", Text(en="Violent", vi="Mưa rất to"), "#2b0a45"),
    ),
)  # fmt: skip

RAIN = ObservedKind(
    name="rain",
    title=Text(en="Rain", vi="Lượng mưa"),
    unit="mm",
    definition="http://vocab.nerc.ac.uk/standard_name/lwe_thickness_of_precipitation_amount/",
    minimum=0,
    maximum=200,
    fresh_seconds=2 * 3600,
    every_seconds=3600,
    stuck_seconds=3 * 3600,
    stuck_except=(0.0,),
    over_time="sum",
    over_cells=Rollup.MEAN,
    scales=(INTENSITY,),
    units={"cm": (10.0, 0.0), "m": (1000.0, 0.0), "[in_i]": (25.4, 0.0), "L/m2": (1.0, 0.0), "kg/m2": (1.0, 0.0)},
    digits=1,
    note=Text(
        en="The depth that fell in the interval that ends at the value's time. The grades are for one hour.",
        vi="Lượng mưa trong khoảng thời gian kết thúc tại thời điểm của số liệu. Các cấp áp dụng cho một giờ.",
    ),
)

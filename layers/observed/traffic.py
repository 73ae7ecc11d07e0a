"""Road traffic: speed, its share of the free-flow speed, and the level of service.

Vietnam has no table of speeds by road class, and no table anywhere is made for traffic of motorbikes. So the tables of
the US Highway Capacity Manual are declared here as data; show the speed beside the level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from layers.observed.kind import Grade, ObservedKind, Scale
from layers.theme import Rollup
from twin.text import Text

_A = Grade("A", Text(en="A — free flow", vi="A — thông thoáng"), "#2a6f9e")
_B = Grade("B", Text(en="B — steady", vi="B — ổn định"), "#6fb7cc")
_C = Grade("C", Text(en="C — busy", vi="C — đông"), "#f4eeb0")
_D = Grade("D", Text(en="D — dense", vi="D — rất đông"), "#eda247")
_E = Grade("E", Text(en="E — at capacity", vi="E — sắp ùn tắc"), "#c9412b")
_F = Grade("F", Text(en="F — jam", vi="F — ùn tắc"), "#5c0f2e")
_SLOW_FIRST = (_F, _E, _D, _C, _B, _A)
_TITLE = Text(en="Level of service", vi="Mức phục vụ")

HCM_2000 = Text(
    en="Highway Capacity Manual 2000, exhibit 15-2, converted from miles per hour; made for cars, not for motorbikes",
    vi="Highway Capacity Manual 2000, bảng 15-2, đổi từ dặm/giờ; lập cho ô tô, không cho xe máy",
)
# km/h; a level needs a greater speed. The class follows from the design speed: I above 72 km/h, II above 56, III above
# 52, IV the rest.
_CLASSES: Mapping[str, tuple[float, ...]] = {
    "I": (26, 34, 43, 55, 68),
    "II": (21, 27, 35, 45, 56),
    "III": (16, 23, 29, 39, 48),
    "IV": (11, 14, 21, 31, 40),
}
# The design class of each road class of the theme `roads`: declared by this project. Of motorways the manual grades
# density instead; class I is the nearest.
CLASS_OF_ROAD: Mapping[str, str] = {
    "motorway": "I", "trunk": "I", "primary": "II", "secondary": "III", "tertiary": "IV", "residential": "IV",
    "service": "IV",
}  # fmt: skip
SPEED_SCALES: Mapping[str, Scale] = {
    name: Scale("level_of_service", _TITLE, HCM_2000, limits, _SLOW_FIRST, place=name, reaches=False)
    for name, limits in _CLASSES.items()
}
RATIO_SCALE = Scale(
    "level_of_service",
    _TITLE,
    Text(
        en="Shares of the free-flow speed declared by this project after the Highway Capacity Manual 2010, chapter 16 "
           "(85, 67, 50, 40 and 30 %), which was not read at source",
        vi="Tỷ lệ so với tốc độ tự do do dự án này quy định, dựa theo Highway Capacity Manual 2010, chương 16 (85, 67, "
           "50, 40 và 30 %), chưa đối chiếu bản gốc",
    ),
    (0.30, 0.40, 0.50, 0.67, 0.85), _SLOW_FIRST, reaches=False,
)  # fmt: skip


def level_of_service(
    speed: float | None, free_flow_speed: float | None = None, road_class: str | None = None
) -> Grade | None:
    """Return the level of service of a speed, by the table of the road's class or by its share of the free-flow speed.

    Parameters
    ----------
    speed : float or None
        km/h.
    free_flow_speed : float, optional
        km/h on the empty road; used where the class is unknown or has no table.
    road_class : str, optional
        A class of the theme `roads`, such as "primary".

    Returns
    -------
    Grade or None
        None without a believable speed, and where neither class nor free-flow speed is known.

    Examples
    --------
    >>> level_of_service(28, road_class="primary").key
    'D'
    >>> level_of_service(28, free_flow_speed=40).key
    'B'
    """
    if speed is None or not SPEED.minimum <= speed <= SPEED.maximum:
        return None
    design = CLASS_OF_ROAD.get(road_class or "")
    return SPEED_SCALES[design].grade(speed) if design else RATIO_SCALE.grade(speed_ratio(speed, free_flow_speed))


def speed_ratio(speed: float, free_flow_speed: float | None) -> float:
    """Return the share of the free-flow speed, without a unit; NaN without a free-flow speed above zero.

    Examples
    --------
    >>> speed_ratio(20, 40)
    0.5
    """
    return speed / free_flow_speed if free_flow_speed and free_flow_speed > 0 else math.nan


_FRESH, _EVERY = 15 * 60.0, 60.0

SPEED = ObservedKind(
    name="traffic_speed", title=Text(en="Traffic speed", vi="Tốc độ dòng xe"), unit="km/h",
    minimum=0, maximum=120, fresh_seconds=_FRESH, every_seconds=_EVERY, stuck_seconds=2 * 3600,
    over_time="mean", over_cells=Rollup.MEAN, scales=tuple(SPEED_SCALES.values()),
    units={"m/s": (3.6, 0.0), "[mi_i]/h": (1.609344, 0.0)}, digits=0,
    note=Text(
        en="The scales hold for a design class (I to IV) as their place; a speed alone has no level of service.",
        vi="Mỗi thang áp dụng cho một cấp thiết kế (I đến IV); chỉ có tốc độ thì chưa xác định được mức phục vụ.",
    ),
)  # fmt: skip
SPEED_RATIO = ObservedKind(
    name="traffic_speed_ratio", title=Text(en="Share of the free-flow speed", vi="Tỷ lệ so với tốc độ tự do"), unit="1",
    minimum=0, maximum=2, fresh_seconds=_FRESH, every_seconds=_EVERY, over_time="mean", over_cells=Rollup.MEAN,
    scales=(RATIO_SCALE,), units={"%": (0.01, 0.0)}, digits=2,
)  # fmt: skip
LOS = ObservedKind(
    name="los", title=_TITLE, unit="1", minimum=1, maximum=6, fresh_seconds=45 * 60, every_seconds=30 * 60,
    over_time="mean", over_cells=Rollup.MEAN, digits=1,
    scales=(
        Scale(
            "level_of_service", _TITLE,
            Text(en="The source's own numbers, rounded: A is 1, F is 6", vi="Số của nguồn, làm tròn: 1 là A, 6 là F"),
            (1.5, 2.5, 3.5, 4.5, 5.5), (_A, _B, _C, _D, _E, _F), reaches=False,
        ),
    ),
    note=Text(
        en="A level that a source publishes itself, as a number; 1.5 is still A.",
        vi="Mức do nguồn tự công bố, ở dạng số; 1,5 vẫn là A.",
    ),
)  # fmt: skip

TRAFFIC_KINDS = (SPEED, SPEED_RATIO, LOS)

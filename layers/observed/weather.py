"""Weather: temperature, humidity, pressure, wind and cloud cover."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from layers.observed.kind import Grade, ObservedKind, Scale, Values
from layers.theme import Rollup
from twin.text import Text

_CF = "http://vocab.nerc.ac.uk/standard_name/"
_HOUR = 3600.0

HEAT = Scale(
    "heat",
    Text(en="Heat", vi="Mức nắng nóng"),
    Text(
        en="Hot from 35, very hot from 37, extremely hot from 39 °C: the grades of Vietnam's weather service for the "
           "day's highest temperature. The limits below 35 °C are declared by this project.",
        vi="Nắng nóng từ 35, gay gắt từ 37, đặc biệt gay gắt từ 39 °C theo phân cấp của ngành khí tượng cho nhiệt độ "
           "cao nhất ngày. Các ngưỡng dưới 35 °C do dự án này quy định.",
    ),
    (20.0, 30.0, 35.0, 37.0, 39.0),
    (
        Grade("cool", Text(en="Cool", vi="Mát"), "#2b6cb0"),
        Grade("mild", Text(en="Mild", vi="Dễ chịu"), "#8ec4e0"),
        Grade("warm", Text(en="Warm", vi="Ấm"), "#fbeea3"),
        Grade("hot", Text(en="Hot", vi="Nắng nóng"), "#eda247"),
        Grade("very_hot", Text(en="Very hot", vi="Nắng nóng gay gắt"), "#c9412b"),
        Grade("extreme", Text(en="Extremely hot", vi="Nắng nóng đặc biệt gay gắt"), "#5c0f2e"),
    ),
)  # fmt: skip

BEAUFORT = Scale(
    "beaufort",
    Text(en="Wind force", vi="Cấp gió"),
    Text(en="Beaufort scale of the WMO, joined to five grades", vi="Thang Beaufort của WMO, gộp thành năm mức"),
    (1.6, 5.5, 10.8, 17.2),
    (
        Grade("calm", Text(en="Calm (0–1)", vi="Lặng gió (cấp 0–1)"), "#f4f4f1"),
        Grade("breeze", Text(en="Light breeze (2–3)", vi="Gió nhẹ (cấp 2–3)"), "#b5d5ea"),
        Grade("fresh", Text(en="Fresh breeze (4–5)", vi="Gió vừa (cấp 4–5)"), "#6497c8"),
        Grade("strong", Text(en="Strong wind (6–7)", vi="Gió mạnh (cấp 6–7)"), "#225ea8"),
        Grade("gale", Text(en="Gale (8 and more)", vi="Gió rất mạnh (từ cấp 8)"), "#2b0a45"),
    ),
)

TEMPERATURE = ObservedKind(
    name="temperature", title=Text(en="Air temperature", vi="Nhiệt độ không khí"), unit="Cel",
    definition=f"{_CF}air_temperature/", minimum=5, maximum=45, fresh_seconds=2 * _HOUR, every_seconds=_HOUR,
    stuck_seconds=6 * _HOUR, over_time="mean", over_cells=Rollup.MEAN, scales=(HEAT,),
    units={"K": (1.0, -273.15), "[degF]": (5 / 9, -160 / 9)},
)  # fmt: skip
HUMIDITY = ObservedKind(
    name="humidity", title=Text(en="Relative humidity", vi="Độ ẩm tương đối"), unit="%",
    definition=f"{_CF}relative_humidity/", minimum=5, maximum=100, fresh_seconds=2 * _HOUR, every_seconds=_HOUR,
    # Air that is saturated stays so for a night.
    stuck_seconds=6 * _HOUR, stuck_except=(99.0, 100.0), over_time="mean", over_cells=Rollup.MEAN,
    units={"1": (100.0, 0.0)}, digits=0,
)  # fmt: skip
PRESSURE = ObservedKind(
    name="pressure", title=Text(en="Air pressure at the station", vi="Khí áp tại trạm"), unit="hPa",
    definition=f"{_CF}surface_air_pressure/", minimum=950, maximum=1050, fresh_seconds=2 * _HOUR, every_seconds=_HOUR,
    stuck_seconds=6 * _HOUR, over_time="mean", over_cells=Rollup.MEAN,
    units={"Pa": (0.01, 0.0), "kPa": (10.0, 0.0), "mbar": (1.0, 0.0), "mm[Hg]": (1.333224, 0.0)},
)  # fmt: skip
WIND_SPEED = ObservedKind(
    name="wind_speed", title=Text(en="Wind speed", vi="Tốc độ gió"), unit="m/s", definition=f"{_CF}wind_speed/",
    minimum=0, maximum=60, fresh_seconds=2 * _HOUR, every_seconds=_HOUR, stuck_seconds=6 * _HOUR, stuck_except=(0.0,),
    over_time="mean", over_cells=Rollup.MEAN, scales=(BEAUFORT,),
    units={"km/h": (1 / 3.6, 0.0), "[kn_i]": (1852 / 3600, 0.0), "[mi_i]/h": (0.44704, 0.0)},
)  # fmt: skip
WIND_DIRECTION = ObservedKind(
    name="wind_direction", title=Text(en="Wind direction", vi="Hướng gió"), unit="deg",
    definition=f"{_CF}wind_from_direction/", minimum=0, maximum=360, fresh_seconds=2 * _HOUR, every_seconds=_HOUR,
    # 359° and 1° have no arithmetic mean; `mean_direction` takes the raw values.
    over_time="last", over_cells=Rollup.MODE, circular=True, units={"rad": (180 / math.pi, 0.0)}, digits=0,
    note=Text(
        en="Where the wind comes from, clockwise from north. An interval shows its last direction.",
        vi="Hướng gió thổi tới, tính theo chiều kim đồng hồ từ hướng bắc. Mỗi khoảng thời gian lấy hướng gió cuối.",
    ),
)  # fmt: skip
CLOUD_COVER = ObservedKind(
    name="cloud_cover", title=Text(en="Cloud cover", vi="Độ che phủ mây"), unit="%",
    definition=f"{_CF}cloud_area_fraction/", minimum=0, maximum=100, fresh_seconds=2 * _HOUR, every_seconds=_HOUR,
    stuck_seconds=12 * _HOUR, stuck_except=(0.0, 100.0), over_time="mean", over_cells=Rollup.MEAN,
    units={"1": (100.0, 0.0), "{okta}": (12.5, 0.0)}, digits=0,
)  # fmt: skip

WEATHER_KINDS = (TEMPERATURE, HUMIDITY, PRESSURE, WIND_SPEED, WIND_DIRECTION, CLOUD_COVER)

# Below this length of the mean unit vector the directions cancel each other out.
_NO_DIRECTION = 1e-9


def mean_direction(degrees: Sequence[float] | Values, speeds: Sequence[float] | Values | None = None) -> float:
    """Return the mean direction: that of the sum of the vectors.

    Parameters
    ----------
    degrees : sequence of float
        Clockwise from north; NaN where one is missing.
    speeds : sequence of float, optional
        The lengths of the vectors; all equal by default.

    Returns
    -------
    float
        Degrees from 0 up to 360; NaN without values, and where they cancel each other out.

    Examples
    --------
    >>> round(mean_direction([350.0, 20.0]), 6)
    5.0
    >>> mean_direction([0.0, 180.0])
    nan
    """
    angles = np.radians(np.asarray(degrees, dtype=np.float64))
    lengths = np.ones(angles.shape) if speeds is None else np.asarray(speeds, dtype=np.float64)
    vectors = lengths * np.exp(1j * angles)
    known = vectors[np.isfinite(vectors)]
    total = np.abs(lengths[np.isfinite(vectors)]).sum()
    mean = known.sum() / total if total > 0 else 0j
    return float(np.degrees(np.angle(mean)) % 360) if abs(mean) > _NO_DIRECTION else math.nan

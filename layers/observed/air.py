"""Air quality: the pollutants and indices that are observed, and the limits of QCVN 05 by date.

Concentrations are means of an hour in µg/m³ at 25 °C and 1 atm. The grade of a concentration is that of its row in
Table 2 of Decision 1459/QĐ-TCMT; the index itself is computed by `layers.observed.air_index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt

from layers.observed.air_index import PER_PPB, VN_TABLE, Hours
from layers.observed.kind import Grade, ObservedKind, Scale
from layers.theme import Rollup
from twin.text import Text

Averaging = Literal["1h", "8h", "24h", "year"]

_OFFICIAL = ("#00e400", "#ffff00", "#ff7e00", "#ff0000", "#8f3f97", "#7e0023")
_DRAWN = ("#35a48a", "#ffe14d", "#ee8422", "#c01f2e", "#7b2d8b", "#2e0716")


def _index_grades(*titles: tuple[str, str, str]) -> tuple[Grade, ...]:
    return tuple(
        Grade(key, Text(en=en, vi=vi), color, official)
        for (key, en, vi), color, official in zip(titles, _DRAWN, _OFFICIAL, strict=True)
    )


DECISION = Text(en="Decision 1459/QĐ-TCMT of 12 November 2019", vi="Quyết định 1459/QĐ-TCMT ngày 12/11/2019")
VN_GRADES = _index_grades(
    ("good", "Good", "Tốt"), ("moderate", "Moderate", "Trung bình"), ("poor", "Poor", "Kém"), ("bad", "Bad", "Xấu"),
    ("very_bad", "Very bad", "Rất xấu"), ("hazardous", "Hazardous", "Nguy hại"),
)  # fmt: skip
# An index is a whole number, and 50 is still good: a mean of indices is rounded first.
_INDEX_LIMITS = (50.5, 100.5, 150.5, 200.5, 300.5)
VN_SCALE = Scale("vn_aqi", Text(en="VN_AQI", vi="VN_AQI"), DECISION, _INDEX_LIMITS, VN_GRADES)
US_SCALE = Scale(
    "us_aqi",
    Text(en="US AQI", vi="AQI Mỹ"),
    Text(en="US EPA, EPA-454/B-24-002 (May 2024)", vi="US EPA, EPA-454/B-24-002 (tháng 5/2024)"),
    _INDEX_LIMITS,
    _index_grades(
        ("good", "Good", "Tốt"), ("moderate", "Moderate", "Trung bình"),
        ("sensitive", "Unhealthy for sensitive groups", "Không tốt cho nhóm nhạy cảm"),
        ("unhealthy", "Unhealthy", "Không tốt"), ("very_unhealthy", "Very unhealthy", "Rất không tốt"),
        ("hazardous", "Hazardous", "Nguy hại"),
    ),
)  # fmt: skip

# QCVN 05 by the day from which it holds: µg/m³ as a mean of 1 hour, 8 hours, 24 hours and a year.
_Limits = tuple[float | None, float | None, float | None, float | None]
_AVERAGINGS: tuple[Averaging, ...] = ("1h", "8h", "24h", "year")
_SINCE_2014: Mapping[str, _Limits] = {
    "so2": (350, None, 125, 50), "co": (30_000, 10_000, None, None), "no2": (200, None, 100, 40),
    "o3": (200, 120, None, None), "tsp": (300, None, 200, 100), "pm10": (None, None, 150, 50),
    "pm2_5": (None, None, 50, 25),
}  # fmt: skip
_SINCE_2023 = {**_SINCE_2014, "pm10": (None, None, 100, 50)}
_SINCE_2026 = {**_SINCE_2023, "pm2_5": (None, None, 45, 25)}
QCVN_05: Mapping[date, tuple[str, Mapping[str, _Limits]]] = {
    date(2014, 1, 1): ("QCVN 05:2013/BTNMT", _SINCE_2014),
    date(2023, 9, 12): ("QCVN 05:2023/BTNMT", _SINCE_2023),
    date(2026, 1, 1): ("QCVN 05:2023/BTNMT", _SINCE_2026),
}


def limit(pollutant: str, averaging: Averaging, on: date) -> float | None:
    """Return the greatest concentration that QCVN 05 allows on a day.

    QCVN 05:2023/BTNMT holds from 12 September 2023, with a lower limit of PM2.5 from 1 January 2026; QCVN
    05:2013/BTNMT from 1 January 2014.

    Parameters
    ----------
    pollutant : {"pm2_5", "pm10", "tsp", "o3", "no2", "so2", "co"}
    averaging : {"1h", "8h", "24h", "year"}
        The time of the mean that the limit is for.
    on : date
        A day in Vietnam.

    Returns
    -------
    float or None
        µg/m³; a value that equals it is allowed. None where there is no limit, and before 2014.

    Examples
    --------
    >>> limit("pm2_5", "24h", date(2025, 12, 31)), limit("pm2_5", "24h", date(2026, 1, 1))
    (50, 45)
    """
    tables = [limits for since, (_, limits) in sorted(QCVN_05.items()) if since <= on]
    return tables[-1][pollutant][_AVERAGINGS.index(averaging)] if tables and pollutant in tables[-1] else None


def particles_contradict(pm2_5: Hours, pm10: Hours, tsp: Hours) -> npt.NDArray[np.bool_]:
    """Tell where finer particles weigh more than the coarser ones they are part of, which cannot be; µg/m³.

    Examples
    --------
    >>> particles_contradict([20.0, 90.0], [float("nan"), float("nan")], [35.0, 0.0]).tolist()
    [False, True]
    """
    fine, middle, total = (np.asarray(v, dtype=np.float64) for v in (pm2_5, pm10, tsp))
    return (fine > middle) | (middle > total) | (fine > total)


_WITHIN = Grade("within", Text(en="Within the limit", vi="Trong giới hạn"), "#2a6f9e")
_ABOVE = Grade("above", Text(en="Above the limit", vi="Vượt giới hạn"), "#ee8422")
_MEAN_OF = {
    "1h": Text(en="one hour", vi="1 giờ"), "8h": Text(en="eight hours", vi="8 giờ"),
    "24h": Text(en="24 hours", vi="24 giờ"), "year": Text(en="a year", vi="năm"),
}  # fmt: skip


def _limit_scales(pollutant: str) -> tuple[Scale, ...]:
    return tuple(
        Scale(
            f"qcvn_05_{averaging}",
            Text(en="Limit of the mean of {time}", vi="Giới hạn trung bình {time}").format(time=_MEAN_OF[averaging]),
            Text(en=name, vi=name), (highest,), (_WITHIN, _ABOVE), valid_from=since, reaches=False,
        )
        for since, (name, limits) in QCVN_05.items()
        for averaging, highest in zip(_AVERAGINGS, limits[pollutant], strict=True)
        if highest is not None
    )  # fmt: skip


def _pollutant(
    name: str, title: Text, definition: str, maximum: float, *, minimum: float = 0, digits: int = 1,
    note: Text | None = None,
) -> ObservedKind:  # fmt: skip
    graded = (
        Scale(name, Text(en="VN_AQI grade of the concentration", vi="Mức VN_AQI theo nồng độ"), DECISION,
              VN_TABLE[name][1:6], VN_GRADES, reaches=False),
    ) if name in VN_TABLE else ()  # fmt: skip
    gas = {"[ppb]": (PER_PPB[name], 0.0), "[ppm]": (1000 * PER_PPB[name], 0.0)} if name in PER_PPB else {}
    return ObservedKind(
        name=name, title=title, unit="ug/m3", definition=definition, minimum=minimum, maximum=maximum,
        fresh_seconds=2 * 3600, every_seconds=3600, stuck_seconds=4 * 3600, over_time="mean", over_cells=Rollup.MEAN,
        scales=(*graded, *_limit_scales(name)), units={"mg/m3": (1000.0, 0.0), "g/m3": (1e6, 0.0), **gas},
        digits=digits, note=note,
    )  # fmt: skip


_EIONET = "http://dd.eionet.europa.eu/vocabulary/aq/pollutant/"
_NEVER_ZERO = Text(
    en="An hour's mean in a city is never zero: such a value is out of range.",
    vi="Trung bình giờ trong đô thị không bao giờ bằng không: giá trị như vậy bị coi là ngoài khoảng.",
)
PM2_5 = _pollutant("pm2_5", Text(en="PM2.5", vi="Bụi PM2.5"), f"{_EIONET}6001", 1000, minimum=0.1, note=_NEVER_ZERO)
PM10 = _pollutant("pm10", Text(en="PM10", vi="Bụi PM10"), f"{_EIONET}5", 2000, minimum=0.5, note=_NEVER_ZERO)
TSP = _pollutant(
    "tsp", Text(en="Total suspended particles", vi="Tổng bụi lơ lửng (TSP)"), "", 5000, minimum=1, note=_NEVER_ZERO
)
O3 = _pollutant("o3", Text(en="Ozone", vi="Ozon (O3)"), f"{_EIONET}7", 1200)
NO2 = _pollutant("no2", Text(en="Nitrogen dioxide", vi="Nitơ dioxit (NO2)"), f"{_EIONET}8", 3850)
SO2 = _pollutant("so2", Text(en="Sulphur dioxide", vi="Lưu huỳnh dioxit (SO2)"), f"{_EIONET}1", 2630)
CO = _pollutant("co", Text(en="Carbon monoxide", vi="Cacbon monoxit (CO)"), f"{_EIONET}10", 150_000, digits=0)


def _index(name: str, title: Text, scale: Scale, maximum: float) -> ObservedKind:
    return ObservedKind(
        name=name, title=title, unit="1", minimum=0, maximum=maximum, fresh_seconds=2 * 3600, every_seconds=3600,
        over_time="max", over_cells=Rollup.MAX, scales=(scale,), digits=0,
        note=Text(
            en="Computed from the pollutants, never measured. A mean of indices is no index, so the greatest counts.",
            vi="Tính từ các chất ô nhiễm, không đo trực tiếp. Không lấy trung bình chỉ số mà lấy giá trị lớn nhất.",
        ),
    )  # fmt: skip


VN_AQI = _index("vn_aqi", Text(en="VN_AQI", vi="VN_AQI"), VN_SCALE, 500)
US_AQI = _index("us_aqi", Text(en="US AQI", vi="AQI theo Mỹ"), US_SCALE, 1000)

AIR_KINDS = (PM2_5, PM10, TSP, O3, NO2, SO2, CO, VN_AQI, US_AQI)

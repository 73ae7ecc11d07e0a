"""Air quality indices: VN_AQI of Decision 1459/QĐ-TCMT (12 November 2019) and the US AQI of May 2024.

Concentrations are µg/m³ at 25 °C and 1 atm, CO too. A missing value is NaN; pass NaN for values that a flag excludes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from layers.observed.kind import VIETNAM_TIME, Values

Hours = Sequence[float] | Values
Part = Literal["pm2_5", "pm10", "o3", "o3_8h", "no2", "so2", "co"]
UsPart = Literal["pm2_5", "pm10", "o3_8h", "o3_1h", "no2_1h", "so2_1h", "so2_24h", "co_8h"]

# Table 2 of the decision: the concentrations (µg/m³) at which each part of the index has the values of VN_INDEX.
VN_INDEX = (0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0)
VN_TABLE: Mapping[str, tuple[float, ...]] = {
    "o3": (0, 160, 200, 300, 400, 800, 1_000, 1_200),
    "o3_8h": (0, 100, 120, 170, 210, 400),
    "co": (0, 10_000, 30_000, 45_000, 60_000, 90_000, 120_000, 150_000),
    "so2": (0, 125, 350, 550, 800, 1_600, 2_100, 2_630),
    "no2": (0, 100, 200, 700, 1_200, 2_350, 3_100, 3_850),
    "pm10": (0, 50, 150, 250, 350, 420, 500, 600),
    "pm2_5": (0, 25, 50, 80, 150, 250, 350, 500),
}
# µg/m³ of one ppb at 25 °C and 1 atm.
PER_PPB: Mapping[str, float] = {"o3": 1.96, "no2": 1.88, "so2": 2.62, "co": 1.145}
# The decision is silent about gaps in a day; three quarters of the hours is the usual demand on a mean.
LEAST_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class AirIndex:
    """An index, and the unrounded parts that it is the greatest of.

    Parameters
    ----------
    value : int
        The greatest part, rounded.
    dominant : str
        The pollutant of the greatest part.
    parts : mapping of str to float
        The index of each pollutant that has a value.
    """

    value: int
    dominant: str
    parts: Mapping[str, float]


def nowcast(hours: Hours) -> float:
    """Return the weighted mean of the last 12 hour means of PM2.5 or PM10 (Decision 1459, 2.2.1 a).

    The weight of each older hour falls by w = min / max, but at least 1/2. At w = 1/2 the decision does not divide by
    the sum of the weights, 1 - 2^-12 when no hour is missing; here a missing hour does not lower the result.

    Parameters
    ----------
    hours : sequence of float
        Twelve hour means in µg/m³, the newest first; NaN where one is missing.

    Returns
    -------
    float
        µg/m³; NaN unless two of the newest three hours have a value.

    Raises
    ------
    ValueError
        If there are not 12 hours.

    Examples
    --------
    >>> hours = [20.6, 19.6, 22.4, 20.3, 16.5, 19.0, 16.5, 19.5, 23.5, 20.5, 24.7, 26.9]
    >>> round(nowcast(hours), 1)
    20.3
    """
    values = _concentrations(hours)
    if values.shape != (12,):
        raise ValueError("NowCast needs 12 hours, the newest first, NaN where one is missing")
    present = np.isfinite(values)
    if present[:3].sum() < 2:
        return math.nan
    greatest = values[present].max()
    w = max(values[present].min() / greatest, 0.5) if greatest > 0 else 1.0
    weights = np.where(present, w ** np.arange(12.0), 0.0)
    mean = float((weights * np.where(present, values, 0.0)).sum() / weights.sum())
    return mean * (1 - 2.0**-12) if w == 0.5 else mean


def vn_aqi_part(pollutant: Part, concentration: float | Hours) -> npt.NDArray[np.float64]:
    """Return the unrounded VN_AQI of one pollutant: straight lines between the rows of Table 2.

    Parameters
    ----------
    pollutant : {"pm2_5", "pm10", "o3", "o3_8h", "no2", "so2", "co"}
        "o3" is the mean of one hour, "o3_8h" that of eight.
    concentration : float or array
        µg/m³; NowCast for particles of an hour, the mean of 24 hours for those of a day.

    Returns
    -------
    array
        Of the same shape, at most 500; NaN for missing and negative concentrations, and for O3 of 8 hours above 400.

    Examples
    --------
    >>> float(vn_aqi_part("no2", 130.8).round(1))
    65.4
    """
    limits = VN_TABLE[pollutant]
    values = _concentrations(concentration)
    parts = np.interp(values, limits, VN_INDEX[: len(limits)])
    return np.where(np.isfinite(values) & ((values <= limits[-1]) | (pollutant != "o3_8h")), parts, np.nan)


def vn_aqi_hour(
    *, pm2_5: Hours = (), pm10: Hours = (), o3: float = math.nan, no2: float = math.nan, so2: float = math.nan,
    co: float = math.nan,
) -> AirIndex | None:  # fmt: skip
    """Return the VN_AQI of an hour (Decision 1459, 2.2.1).

    Parameters
    ----------
    pm2_5, pm10 : sequence of float
        The last 12 hour means for `nowcast`, the newest first; empty where nothing is measured.
    o3, no2, so2, co : float
        The hour means.

    Returns
    -------
    AirIndex or None
        None without PM2.5 and PM10: the decision asks for one of them.

    Examples
    --------
    >>> hours = [20.6, 19.6, 22.4, 20.3, 16.5, 19.0, 16.5, 19.5, 23.5, 20.5, 24.7, 26.9]
    >>> vn_aqi_hour(pm2_5=hours, o3=136.1).value
    43
    """
    return _vn_aqi({
        "pm2_5": nowcast(pm2_5) if len(pm2_5) else math.nan, "pm10": nowcast(pm10) if len(pm10) else math.nan,
        "o3": o3, "no2": no2, "so2": so2, "co": co,
    })  # fmt: skip


def vn_aqi_day(
    *, pm2_5: Hours = (), pm10: Hours = (), o3: Hours = (), no2: Hours = (), so2: Hours = (), co: Hours = (),
    o3_before: Hours = (),
) -> AirIndex | None:  # fmt: skip
    """Return the VN_AQI of a day (Decision 1459, 2.2.2).

    Parameters
    ----------
    pm2_5, pm10, o3, no2, so2, co : sequence of float
        The 24 hour means from 01:00 to 00:00, the oldest first, NaN where one is missing; see `aqi_day`.
    o3_before : sequence of float
        The hour means from 18:00 to 00:00 before, which the first means of eight hours reach back to.

    Returns
    -------
    AirIndex or None
        None without a mean of PM2.5 or PM10. The parts "o3" and "o3_8h" are both given; no 8-hour part above 400.
    """
    eight = greatest_8h_mean(np.concatenate([_concentrations(o3_before), _concentrations(o3)]))
    return _vn_aqi({
        "pm2_5": mean_of_hours(pm2_5), "pm10": mean_of_hours(pm10),
        "o3": _greatest(o3), "o3_8h": eight, "no2": _greatest(no2), "so2": _greatest(so2), "co": _greatest(co),
    })  # fmt: skip


def mean_of_hours(hours: Hours, least_share: float = LEAST_SHARE) -> float:
    """Return the mean of hour means in their unit; NaN if fewer than `least_share` of the hours have a value.

    Examples
    --------
    >>> mean_of_hours([10.0, 20.0, 30.0, float("nan")])
    20.0
    """
    values = _concentrations(hours)
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) and len(present) >= least_share * len(values) else math.nan


def greatest_8h_mean(hours: Hours) -> float:
    """Return the greatest mean of eight consecutive hours, in µg/m³; the oldest first, NaN where one is missing.

    A mean counts if six of its hours have a value.
    """
    values = _concentrations(hours)
    if len(values) < 8:
        return math.nan
    return _greatest([mean_of_hours(window) for window in np.lib.stride_tricks.sliding_window_view(values, 8)])


def aqi_day(moment: datetime) -> date:
    """Return the day of the index to which an hour's value belongs, by its label in Vietnam's time: 01:00 to 00:00.

    Examples
    --------
    >>> from datetime import UTC
    >>> aqi_day(datetime(2022, 1, 4, 17, 0, tzinfo=UTC))  # 00:00 of 5 January
    datetime.date(2022, 1, 4)
    >>> aqi_day(datetime(2022, 1, 4, 18, 0, tzinfo=UTC))
    datetime.date(2022, 1, 5)
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return (moment.astimezone(VIETNAM_TIME) - timedelta(hours=1)).date()


# EPA-454/B-24-002 (May 2024): decimals that are kept, then rows of (least and greatest concentration, least and
# greatest index). PM in µg/m³, O3 and CO in ppm, NO2 and SO2 in ppb.
_Row = tuple[float, float, int, int]
US_TABLE: Mapping[str, tuple[int, tuple[_Row, ...]]] = {
    "pm2_5": (1, ((0, 9.0, 0, 50), (9.1, 35.4, 51, 100), (35.5, 55.4, 101, 150), (55.5, 125.4, 151, 200),
                  (125.5, 225.4, 201, 300), (225.5, 325.4, 301, 500))),
    "pm10": (0, ((0, 54, 0, 50), (55, 154, 51, 100), (155, 254, 101, 150), (255, 354, 151, 200), (355, 424, 201, 300),
                 (425, 604, 301, 500))),
    "o3_8h": (3, ((0, 0.054, 0, 50), (0.055, 0.070, 51, 100), (0.071, 0.085, 101, 150), (0.086, 0.105, 151, 200),
                  (0.106, 0.200, 201, 300))),
    "o3_1h": (3, ((0.125, 0.164, 101, 150), (0.165, 0.204, 151, 200), (0.205, 0.404, 201, 300),
                  (0.405, 0.604, 301, 500))),
    "co_8h": (1, ((0, 4.4, 0, 50), (4.5, 9.4, 51, 100), (9.5, 12.4, 101, 150), (12.5, 15.4, 151, 200),
                  (15.5, 30.4, 201, 300), (30.5, 50.4, 301, 500))),
    "so2_1h": (0, ((0, 35, 0, 50), (36, 75, 51, 100), (76, 185, 101, 150), (186, 304, 151, 200))),
    "so2_24h": (0, ((305, 604, 201, 300), (605, 1004, 301, 500))),
    "no2_1h": (0, ((0, 53, 0, 50), (54, 100, 51, 100), (101, 360, 101, 150), (361, 649, 151, 200),
                   (650, 1249, 201, 300), (1250, 2049, 301, 500))),
}  # fmt: skip


def us_aqi_part(part: UsPart, concentration: float) -> float:
    """Return the unrounded US AQI of one pollutant (EPA-454/B-24-002, equation 1).

    The concentration is converted to the table's unit and truncated to its decimals first. Above the table the last
    line goes on. Ozone of 8 hours says nothing above 0.200 ppm, ozone of 1 hour nothing below 0.125 ppm, SO2 of 24
    hours nothing below 305 ppb; SO2 of 1 hour gives at most 200.

    Parameters
    ----------
    part : {"pm2_5", "pm10", "o3_8h", "o3_1h", "no2_1h", "so2_1h", "so2_24h", "co_8h"}
        The pollutant and the time of its mean; particles have a mean of 24 hours.
    concentration : float
        µg/m³.

    Returns
    -------
    float
        NaN where the part says nothing.

    Examples
    --------
    >>> us_aqi_part("pm2_5", 35.49)
    100.0
    """
    if not (math.isfinite(concentration) and concentration >= 0):
        return math.nan
    decimals, rows = US_TABLE[part]
    pollutant = part.split("_")[0]
    value: float = concentration / PER_PPB.get(pollutant, 1.0) / (1000 if pollutant in ("o3", "co") else 1)
    # A value such as 9.1 is a little less as a float; it must not become 9.0.
    steps = 10.0**decimals
    value = math.floor(round(value * steps, 6)) / steps
    if value < rows[0][0] or (part == "o3_8h" and value > rows[-1][1]):
        return math.nan
    if part == "so2_1h" and value > rows[-1][1]:
        return 200.0
    low, high, index_low, index_high = next((row for row in rows if value <= row[1]), rows[-1])
    return (index_high - index_low) / (high - low) * (value - low) + index_low


def us_aqi(concentrations: Mapping[UsPart, float]) -> AirIndex | None:
    """Return the US AQI of means in µg/m³ by the parts of `us_aqi_part`; None if no part has a value.

    Examples
    --------
    >>> us_aqi({"pm2_5": 35.4, "no2_1h": 100.0}).value
    100
    """
    return _greatest_part({part: us_aqi_part(part, value) for part, value in concentrations.items()})


def round_index(value: float) -> int:
    """Round an index to the nearest whole number, halves upwards, as the worked examples do (109.5 is 110)."""
    return math.floor(round(value, 6) + 0.5)


def _concentrations(values: float | Hours) -> Values:
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers) & (numbers >= 0), numbers, np.nan)


def _greatest(hours: Hours) -> float:
    values = _concentrations(hours)
    return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan


def _vn_aqi(concentrations: Mapping[Part, float]) -> AirIndex | None:
    index = _greatest_part({part: float(vn_aqi_part(part, value)) for part, value in concentrations.items()})
    return index if index and {"pm2_5", "pm10"} & index.parts.keys() else None


def _greatest_part(parts: Mapping[Part, float] | Mapping[UsPart, float]) -> AirIndex | None:
    known = {str(part): value for part, value in parts.items() if math.isfinite(value)}
    if not known:
        return None
    greatest = max(known, key=known.__getitem__)
    return AirIndex(round_index(known[greatest]), greatest.split("_8h")[0].split("_1h")[0].split("_24h")[0], known)

"""The type of an observed quantity: its unit, its grades with their colours, when it is old, how it is aggregated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from layers.theme import IDENTIFIER, Rollup
from twin.errors import BadInput
from twin.text import Text

OverTime = Literal["mean", "sum", "max", "min", "last"]
Values = npt.NDArray[np.float64]

# Standards come into force on a day of this zone; Vietnam has one zone and no summer time.
VIETNAM_TIME = timezone(timedelta(hours=7), "+07")

_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Grade:
    """One class of a scale.

    Parameters
    ----------
    key : str
        The name of the class in the API and in rules.
    title : Text
    color : str
        The colour to draw, ``#rrggbb``. People with colour blindness can tell it from the neighbouring grades.
    official_color : str, optional
        The colour of the standard, where it differs from the colour to draw.
    """

    key: str
    title: Text
    color: str
    official_color: str | None = None

    def __post_init__(self) -> None:
        if not all(_COLOR.fullmatch(color) for color in (self.color, self.official_color or self.color)):
            raise ValueError(f"grade {self.key!r}: colours are written #rrggbb")


@dataclass(frozen=True, slots=True)
class Scale:
    """A table of limits that turns a value into a grade.

    Parameters
    ----------
    name : str
        Tables of the same name replace each other by date and place.
    title : Text
    source : Text
        The document of the limits, or the statement that this project declares them.
    limits : tuple of float
        The limits between the grades, rising, in the unit of the observed kind: `limits[i]` is the lower bound of
        `grades[i + 1]`.
    grades : tuple of Grade
        One more than limits, from the lowest values to the highest.
    valid_from : date, optional
        The first day in Vietnam on which the table holds; None where it always has.
    place : str, optional
        The place where the table holds; None where it holds everywhere.
    reaches : bool
        True where a value that equals a limit belongs to the upper grade ("from 1.4 m"); False where the standard says
        "greater than", so that it belongs to the lower grade.

    Raises
    ------
    ValueError
        If limits and grades do not fit each other.

    Examples
    --------
    >>> low = Grade("low", Text(en="Low", vi="Thấp"), "#2c7bb6")
    >>> high = Grade("high", Text(en="High", vi="Cao"), "#d7191c")
    >>> scale = Scale("level", Text(en="Level", vi="Mức"), Text(en="An example", vi="Ví dụ"), (1.4,), (low, high))
    >>> scale.grade(1.4).key
    'high'
    >>> scale.grade_index([1.39, 1.4, float("nan")]).tolist()
    [0, 1, -1]
    """

    name: str
    title: Text
    source: Text
    limits: tuple[float, ...]
    grades: tuple[Grade, ...]
    valid_from: date | None = None
    place: str | None = None
    reaches: bool = True

    def __post_init__(self) -> None:
        if len(self.grades) != len(self.limits) + 1 or len(self.grades) > 100:
            raise ValueError(f"scale {self.name!r}: there is one grade more than limits")
        if not all(map(math.isfinite, self.limits)) or any(a >= b for a, b in pairwise(self.limits)):
            raise ValueError(f"scale {self.name!r}: limits are numbers that rise")
        if len({grade.key for grade in self.grades}) != len(self.grades):
            raise ValueError(f"scale {self.name!r}: two grades have one key")

    def grade(self, value: float | None) -> Grade | None:
        """Return the grade of one value in the kind's unit; None for a value that is missing or not finite."""
        if value is None:
            return None
        index = int(self.grade_index([value])[0])
        return None if index < 0 else self.grades[index]

    def grade_index(self, values: Sequence[float | None] | Values) -> npt.NDArray[np.int8]:
        """Return the places in `grades` of many values in the kind's unit; -1 for those missing or not finite."""
        numbers = np.asarray(values, dtype=np.float64)
        found = np.searchsorted(np.asarray(self.limits), numbers, side="right" if self.reaches else "left")
        return np.where(np.isfinite(numbers), found, -1).astype(np.int8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedKind:
    """A kind of quantity that streams observe.

    Parameters
    ----------
    name : str
        An identifier.
    title : Text
    unit : str
        The UCUM code of stored values; "" for a number without a unit.
    definition : str
        The URI of the quantity in a public vocabulary; "" where none fits.
    minimum, maximum : float
        The plausible range, in `unit`.
    fresh_seconds : float
        A value older than this no longer tells the present state.
    every_seconds : float
        The usual time between two values.
    stuck_seconds : float, optional
        An unchanged value for this long is suspicious; None where it is normal.
    stuck_except : tuple of float
        Values that repeat normally, such as no rain.
    over_time : {"mean", "sum", "max", "min", "last"}
        How the values of an interval become one.
    over_cells : Rollup
        How the values of several streams become the value of a cell.
    scales : tuple of Scale
        The first is the one to draw by.
    units : mapping of str to (factor, offset)
        Other UCUM units: a value in `unit` is the value in the other unit times the factor plus the offset.
    digits : int
        Decimals to show.
    circular : bool
        True for directions, whose arithmetic mean has no meaning.
    note : Text, optional
        What a reader has to know about the values.

    Raises
    ------
    ValueError
        If the parts do not fit each other.
    """

    name: str
    title: Text
    unit: str
    definition: str = ""
    minimum: float
    maximum: float
    fresh_seconds: float
    every_seconds: float
    stuck_seconds: float | None = None
    stuck_except: tuple[float, ...] = ()
    over_time: OverTime
    over_cells: Rollup
    scales: tuple[Scale, ...] = ()
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    digits: int = 1
    circular: bool = False
    note: Text | None = None

    def __post_init__(self) -> None:
        if not IDENTIFIER.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} is not an identifier")
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name}: the plausible range is empty")
        if not 0 < self.every_seconds <= self.fresh_seconds:
            raise ValueError(f"{self.name}: a value stays fresh at least until the next one")
        if self.unit in self.units or any(factor == 0 for factor, _ in self.units.values()):
            raise ValueError(f"{self.name}: a unit is listed twice or has the factor 0")
        keys = [(scale.name, scale.valid_from, scale.place) for scale in self.scales]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.name}: two scales hold from the same day at the same place")

    def scale_at(self, moment: date, place: str | None = None, name: str | None = None) -> Scale | None:
        """Return the scale that holds at a moment and a place.

        Parameters
        ----------
        moment : date or datetime
            A datetime carries its zone; its day in Vietnam counts.
        place : str, optional
            A scale of the place goes before one that holds everywhere.
        name : str, optional
            The name of the scale; that of the first scale by default.

        Returns
        -------
        Scale or None
            None where no scale held yet.

        Raises
        ------
        ValueError
            If a datetime has no zone.
        """
        name = name or (self.scales[0].name if self.scales else None)
        day = day_in_vietnam(moment)
        holding = [
            scale for scale in self.scales
            if scale.name == name and scale.place in (None, place) and (scale.valid_from or date.min) <= day
        ]  # fmt: skip
        return max(holding, key=lambda s: (s.place is not None, s.valid_from or date.min), default=None)

    def grade(self, value: float | None, moment: date, place: str | None = None) -> Grade | None:
        """Return the grade of a value in `unit` by the first scale; None without a value or a scale."""
        scale = self.scale_at(moment, place)
        return scale.grade(value) if scale else None

    def convert(self, values: Sequence[float] | Values, unit: str) -> Values:
        """Return values that are given in another unit, in `unit`.

        Raises
        ------
        BadInput
            If the unit is not declared for the kind.
        """
        factor, offset = self._factor(unit)
        return np.asarray(values, dtype=np.float64) * factor + offset

    def in_unit(self, values: Sequence[float] | Values, unit: str) -> Values:
        """Return values that are given in `unit`, in another unit; BadInput as for `convert`."""
        factor, offset = self._factor(unit)
        return (np.asarray(values, dtype=np.float64) - offset) / factor

    def _factor(self, unit: str) -> tuple[float, float]:
        if unit == self.unit:
            return 1.0, 0.0
        try:
            return self.units[unit]
        except KeyError:
            raise BadInput(
                Text(
                    en="“{unit}” is not a unit of {kind}. Known units (UCUM): {known}.",
                    vi="“{unit}” không phải là đơn vị của {kind}. Các đơn vị hiện có (UCUM): {known}.",
                ).format(unit=unit, kind=self.title, known=", ".join([self.unit, *self.units]))
            ) from None


def day_in_vietnam(moment: date) -> date:
    """Return the day in Vietnam of a moment; a date is a day already.

    Examples
    --------
    >>> from datetime import UTC
    >>> day_in_vietnam(datetime(2020, 1, 30, 18, 0, tzinfo=UTC))
    datetime.date(2020, 1, 31)
    """
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return moment.astimezone(VIETNAM_TIME).date()

"""Flood: the depth of water on the ground of a cell, who can still pass, where the depth comes from and how old it is.

A depth without its source and its time misleads: a street that a camera showed under water two hours ago may be dry.
So a state of flood is always the three together, `FloodState`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from layers.observed.kind import Grade, ObservedKind, Scale
from layers.theme import Rollup
from twin.text import Text

# Depths (m) above which it is not safe to pass; still water, which moving water is worse than.
WET = 0.05
NOT_BY_MOTORBIKE = 0.2
NOT_BY_SMALL_CAR = 0.3
NOT_BY_CAR = 0.5
NOT_ON_FOOT = 1.2

PASSABLE = Scale(
    "passable",
    Text(en="Who can pass", vi="Khả năng đi lại"),
    Text(
        en="Small cars 0.3 m, all cars, children and the elderly 0.5 m, people 1.2 m: limits of still water in the "
           "Australian Disaster Resilience Guideline 7-3 (2017). Motorbikes 0.2 m and wet ground 0.05 m are declared "
           "by this project, without measurements.",
        vi="Ô tô nhỏ 0,3 m, mọi ô tô, trẻ em và người già 0,5 m, người lớn 1,2 m: giới hạn nước tĩnh theo hướng dẫn "
           "7-3 (2017) của Úc. Xe máy 0,2 m và mặt đường ướt 0,05 m do dự án này quy định, chưa có số đo.",
    ),
    (WET, NOT_BY_MOTORBIKE, NOT_BY_SMALL_CAR, NOT_BY_CAR, NOT_ON_FOOT),
    (
        Grade("dry", Text(en="Not flooded", vi="Không ngập"), "#f4f4f1"),
        Grade("wet", Text(en="All can pass with care", vi="Đi lại được, cần cẩn thận"), "#b5d5ea"),
        Grade("motorbike", Text(en="Not by motorbike", vi="Xe máy không qua được"), "#6ba3d4"),
        Grade("small_car", Text(en="Not by small car", vi="Ô tô nhỏ không qua được"), "#f0a03c"),
        Grade("car", Text(en="Only grown-ups on foot", vi="Chỉ người lớn đi bộ qua được"), "#c8342c"),
        Grade("closed", Text(en="Nobody", vi="Không ai qua được"), "#3d0a2b"),
    ),
    reaches=False,
)  # fmt: skip

FLOOD_DEPTH = ObservedKind(
    name="flood_depth",
    title=Text(en="Flood depth", vi="Độ sâu ngập"),
    unit="m",
    definition="http://vocab.nerc.ac.uk/standard_name/flood_water_thickness/",
    minimum=0,
    maximum=5,
    fresh_seconds=3600,
    every_seconds=600,
    stuck_seconds=12 * 3600,
    stuck_except=(0.0,),
    # One flooded street must be seen in a coarse cell and in a long interval.
    over_time="max",
    over_cells=Rollup.MAX,
    scales=(PASSABLE,),
    units={"cm": (0.01, 0.0), "mm": (0.001, 0.0)},
    digits=2,
)

SOURCES: Mapping[str, Text] = {
    "gauge": Text(en="Measured by a gauge", vi="Đo bằng trạm đo ngập"),
    "camera": Text(en="Seen by a camera", vi="Quan sát bằng camera"),
    "report": Text(en="Reported by people", vi="Người dân báo"),
    "model": Text(en="Computed by a model", vi="Tính từ mô hình"),
    "simulated": Text(en="Simulated", vi="Mô phỏng"),
}


@dataclass(frozen=True, slots=True)
class FloodState:
    """The state of a cell.

    Parameters
    ----------
    depth : float
        Metres over the ground.
    source : str
        A key of `SOURCES`.
    observed : datetime
        With its zone.

    Raises
    ------
    ValueError
        If the source is unknown or the time has no zone.

    Examples
    --------
    >>> from datetime import UTC, timedelta
    >>> seen = datetime(2024, 10, 17, 9, 30, tzinfo=UTC)
    >>> state = FloodState(0.25, "camera", seen)
    >>> state.passable(seen + timedelta(minutes=10)).by_motorbike
    False
    >>> state.passable(seen + timedelta(hours=2)) is None
    True
    """

    depth: float
    source: str
    observed: datetime

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"the source of a flood is one of {', '.join(SOURCES)}")
        if self.observed.tzinfo is None:
            raise ValueError("a moment needs its time zone")

    def age(self, now: datetime) -> float:
        """Return the seconds since the observation."""
        return (now - self.observed).total_seconds()

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether the state still holds now."""
        return 0 <= self.age(now) <= FLOOD_DEPTH.fresh_seconds

    def passable(self, now: datetime) -> Passable | None:
        """Return who can pass now; None where the state is too old, of the future or without a depth."""
        return passable(self.depth) if self.is_fresh(now) else None


@dataclass(frozen=True, slots=True)
class Passable:
    """Who can pass water of a depth; "on foot" means grown-ups, "by car" also small cars."""

    on_foot: bool
    by_motorbike: bool
    by_car: bool


def passable(depth: float) -> Passable | None:
    """Return who can pass still water of a depth in metres, by the limits of `PASSABLE`; None for NaN and below zero.

    Examples
    --------
    >>> passable(0.25)
    Passable(on_foot=True, by_motorbike=False, by_car=True)
    """
    if not math.isfinite(depth) or depth < 0:
        return None
    return Passable(depth <= NOT_ON_FOOT, depth <= NOT_BY_MOTORBIKE, depth <= NOT_BY_SMALL_CAR)

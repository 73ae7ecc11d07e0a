"""How old a layer's data are, compared with the update frequency that its agency states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from twin.catalogue.catalogue import Layer
from twin.text import Text

# How long after a version the next one is due at the latest, in days.
DAYS: Mapping[str, int] = {"continuous": 1, "daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}
FREQUENCIES: Mapping[str, Text] = {
    "continuous": Text(en="continuously", vi="liên tục"),
    "daily": Text(en="daily", vi="hằng ngày"),
    "weekly": Text(en="weekly", vi="hằng tuần"),
    "monthly": Text(en="monthly", vi="hằng tháng"),
    "quarterly": Text(en="quarterly", vi="hằng quý"),
    "yearly": Text(en="yearly", vi="hằng năm"),
    "irregular": Text(en="as needed", vi="khi cần"),
}


class FreshnessLevel(StrEnum):
    """Whether the next version is due."""

    FRESH = "fresh"
    LATE = "late"
    AS_NEEDED = "irregular"


STATES: Mapping[FreshnessLevel, Text] = {
    FreshnessLevel.FRESH: Text(en="on time", vi="đúng hạn"),
    FreshnessLevel.LATE: Text(en="late", vi="quá hạn"),
    FreshnessLevel.AS_NEEDED: Text(en="no due date", vi="không định kỳ"),
}


@dataclass(frozen=True, slots=True)
class Freshness:
    """When a layer was updated, when the next version is due, and whether that has passed."""

    updated: datetime
    due: datetime | None
    state: FreshnessLevel
    age: timedelta


def freshness(layer: Layer, now: datetime) -> Freshness:
    """Tell how fresh the current version of a layer is."""
    assert layer.current is not None  # noqa: S101  # the catalogue shows published layers only
    updated = layer.current.published
    days = DAYS.get(layer.update_frequency)
    due = updated + timedelta(days=days) if days is not None else None
    state = FreshnessLevel.AS_NEEDED if due is None else FreshnessLevel.LATE if now > due else FreshnessLevel.FRESH
    return Freshness(updated, due, state, max(now - updated, timedelta()))


def ago(age: timedelta) -> Text:
    """Return an age in words, in its largest unit."""
    minutes = int(age.total_seconds()) // 60
    for size, en, vi in (
        (525_600, "year", "năm"), (43_200, "month", "tháng"), (1440, "day", "ngày"), (60, "hour", "giờ"),
        (1, "minute", "phút"),
    ):  # fmt: skip
        if count := minutes // size:
            return Text(en=f"{count} {en}{'s' if count > 1 else ''} ago", vi=f"{count} {vi} trước")
    return Text(en="just now", vi="vừa xong")

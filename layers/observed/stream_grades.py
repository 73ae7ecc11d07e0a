"""The grades of streams' values for the rules of alerts, and whether a rule names kinds and grades that exist."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from layers.observed.grading import grade_index, scale_of
from layers.observed.kind import Scale
from layers.observed.registry import KINDS
from layers.observed.traffic import RATIO_SCALE, SPEED_SCALES
from twin.errors import BadInput
from twin.incidents.rules import AlertRule, LevelChange, Threshold
from twin.streams.entry import StreamEntry
from twin.text import Text


class StreamGrades:
    """Grades by the scales of `layers.observed`."""

    def index(self, entry: StreamEntry, value: float, time: datetime) -> int:
        """Return the place of a value's grade in its scale; -1 for none."""
        return grade_index(entry.kind, entry.properties, value, time)

    def title(self, entry: StreamEntry, value: float, time: datetime) -> Text | None:
        """Return what a value's grade is called."""
        found = scale_of(entry.kind, entry.properties, time)
        grade = found[0].grade(value / found[1]) if found else None
        return grade.title if grade else None

    def limit(self, entry: StreamEntry, grade: str, time: datetime, above: bool) -> float | None:
        """Return the lowest value of a grade, or (not `above`) the highest; None where there is no such grade."""
        found = scale_of(entry.kind, entry.properties, time)
        if found is None:
            return None
        scale, divisor = found
        place = next((i for i, g in enumerate(scale.grades) if g.key == grade), None)
        if place is None:
            return None
        if above:
            if place == 0:
                return -math.inf
            limit = scale.limits[place - 1] * divisor
            # "More than" the limit begins with the next number after it.
            return limit if scale.reaches else math.nextafter(limit, math.inf)
        if place == len(scale.limits):
            return math.inf
        limit = scale.limits[place] * divisor
        return math.nextafter(limit, -math.inf) if scale.reaches else limit

    def digits(self, entry: StreamEntry) -> int:
        """Return the decimals that its values are shown with."""
        kind = KINDS.get(entry.kind)
        return kind.digits if kind else 2


def check_rule(rule: AlertRule) -> None:
    """Refuse a rule that names a kind or a grade that does not exist, in a sentence that names those there are."""
    for kind in rule.streams.kinds:
        if kind not in KINDS:
            raise _refused(
                rule, "streams.kinds",
                Text(en="nothing called “{kind}” is observed; known kinds: {known}",
                     vi="không có đại lượng “{kind}”; các đại lượng hiện có: {known}")
                .format(kind=kind[:40], known=", ".join(sorted(KINDS))),
            )  # fmt: skip
    condition = rule.when
    needs_scale = isinstance(condition, LevelChange) or (isinstance(condition, Threshold) and condition.grade)
    if not needs_scale:
        return
    grades = list(dict.fromkeys(grade.key for scale in _scales(rule.streams.kinds[0]) for grade in scale.grades))
    if not grades:
        raise _refused(
            rule, "streams.kinds",
            Text(en="values of “{kind}” have no grades; give raise_at",
                 vi="giá trị của “{kind}” không chia cấp; hãy nêu raise_at").format(kind=rule.streams.kinds[0]),
        )  # fmt: skip
    if isinstance(condition, Threshold) and condition.grade not in grades:
        raise _refused(
            rule, "when.grade",
            Text(en="“{kind}” has no grade “{grade}”; its grades: {known}",
                 vi="“{kind}” không có cấp “{grade}”; các cấp: {known}")
            .format(kind=rule.streams.kinds[0], grade=str(condition.grade)[:40], known=", ".join(grades)),
        )  # fmt: skip


def _scales(kind: str) -> list[Scale]:
    if kind == "traffic_speed":
        return [RATIO_SCALE, *SPEED_SCALES.values()]
    now = datetime.now(UTC).date()
    name = KINDS[kind].scales[0].name if KINDS[kind].scales else None
    return [s for s in KINDS[kind].scales if s.name == name and (s.valid_from is None or s.valid_from <= now)]


def _refused(rule: AlertRule, place: str, reason: Text) -> BadInput:
    return BadInput(
        Text(en="The rule “{name}” cannot be used. At {place}: {reason}.",
             vi="Không dùng được quy tắc “{name}”. Tại {place}: {reason}.")
        .format(name=rule.name, place=place, reason=reason)
    )  # fmt: skip

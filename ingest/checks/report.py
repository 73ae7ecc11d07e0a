"""The report of a check: what was recognised, how the fields fit, every problem. For people and for machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from ingest.checks.kinds import SEVERITIES, Severity
from ingest.checks.plan import Plan
from ingest.checks.problems import Place, Problem
from twin.catalogue.catalogue import Bounds

CLEAN, WITH_WARNINGS, REFUSED = 0, 1, 2


class CheckReport(ABC):
    """What the reports of features and of rasters share: the problems, and what follows from them."""

    __slots__ = ()
    problems: tuple[Problem, ...]

    @property
    @abstractmethod
    def publishable(self) -> bool:
        """Whether anything could be published."""

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with warnings or features (pixels) left out, 2 if nothing of the file can be published."""
        if not self.publishable:
            return REFUSED
        grave = {problem.severity for problem in self.problems}
        return WITH_WARNINGS if grave & {"refused", "warning"} else CLEAN

    @property
    def counts(self) -> Counter[Severity]:
        """How many kinds of problems there are of each severity."""
        return Counter(problem.severity for problem in self.problems)

    def marks(self) -> list[tuple[int, int, Place]]:
        """Return the places to number on a map: (number of the problem, number of the example, place), from 1."""
        return [
            (p, e, example.place)
            for p, problem in enumerate(self.problems, 1)
            for e, example in enumerate(problem.examples, 1)
            if example.place is not None
        ]

    def by_severity(self) -> list[tuple[Severity, list[Problem]]]:
        """Return the problems, the gravest kind first."""
        return [(s, found) for s in SEVERITIES if (found := [p for p in self.problems if p.severity == s])]


@dataclass(frozen=True, slots=True)
class Report(CheckReport):
    """Result of a check.

    Of the `features` that were read, `good` ones can be published, `bad` ones go to quarantine, and `left_out` ones are
    left out by the mapping; `mended` are among the good. `shapes` is a selection of the good features for the map of
    the report.
    """

    plan: Plan
    features: int
    good: int
    bad: int
    mended: int
    bounds: Bounds | None
    problems: tuple[Problem, ...]
    shapes: tuple[BaseGeometry, ...] = ()
    left_out: int = 0

    @property
    def publishable(self) -> bool:
        """Whether anything could be published: refused features would go to quarantine."""
        return self.good > 0 and not self.plan.blockers

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON: text for people has the form {"en": …, "vi": …}, places are [longitude, latitude].

        exit_code     0, 1 or 2
        publishable   whether `publish` would publish the good features
        file          name, format, driver, layer, layers, features
        blockers      codes of what keeps the whole file from being published
        crs           code, name, treatment (what is done to the numbers first), reason,
                      fits: [{crs, inside (share of features in the city), shift_m}]
        encoding      file, by_column (whether it is decided by column), reason,
                      columns: {column: {encoding, evidence, before, after}}, those not plain only
        fields        theme, title, contract: [{name, title, required}], id, id_reason, given (by a file),
                      matched: [{field, title, from, confidence, reason}], hints (the same, not taken),
                      without (fields that no column gives), carried: {column: name}
        features      read, good, bad, mended, left_out (by the mapping)
        bounds        [west, south, east, north] of the good features, or null
        problems      [{code, severity, field, count, title, advice, examples: [{feature, detail, place}],
                      values: [{value, count, term, title}]}]; values where they are the problem, the most frequent
                      first, with the term of the vocabulary that may be meant
        """
        plan, matches = self.plan, self.plan.matches
        return {
            "exit_code": self.exit_code,
            "publishable": self.publishable,
            "file": {
                "name": plan.file, "format": plan.format, "driver": plan.driver, "layer": plan.layer,
                "layers": list(plan.layers), "features": plan.count,
            },
            "blockers": list(plan.blockers),
            "crs": {
                "code": plan.reference.reading.code,
                "name": plan.reference.reading.title.as_dict(),
                "treatment": plan.reference.reading.treatment and plan.reference.reading.treatment.as_dict(),
                "reason": plan.reference.reason.as_dict(),
                "fits": [
                    {"crs": f.reading.name.as_dict(), "inside": round(f.inside, 4), "shift_m": _metres(f.shift)}
                    for f in plan.reference.fits
                ],
            },
            "encoding": {
                "file": plan.encoding,
                "by_column": plan.raw_text,
                "reason": plan.encoding_reason.as_dict(),
                "columns": {
                    column: {
                        "encoding": d.encoding, "evidence": d.evidence.as_dict(), "before": d.before, "after": d.after
                    }
                    for column, d in plan.encodings.items()
                    if d.encoding != "unicode"
                },
            },
            "fields": {
                "theme": plan.theme.name,
                "title": plan.theme.title.as_dict(),
                "contract": [
                    {"name": f.name, "title": f.title.as_dict(), "required": f.required} for f in plan.theme.fields
                ],
                "id": matches.id,
                "id_reason": matches.id_reason.as_dict(),
                "given": matches.given,
                "matched": [self._match(m) for m in matches.taken],
                "hints": [self._match(m) for m in matches.hints],
                "without": [f.name for f in matches.without_source()],
                "carried": dict(plan.mapping.own),
            },
            "features": {
                "read": self.features, "good": self.good, "bad": self.bad, "mended": self.mended,
                "left_out": self.left_out,
            },
            "bounds": list(self.bounds) if self.bounds else None,
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip

    def _match(self, match: Any) -> dict[str, Any]:
        return {
            "field": match.field,
            "title": self.plan.theme.by_name[match.field].title.as_dict(),
            "from": match.source.model_dump(by_alias=True, exclude_none=True),
            "confidence": match.confidence,
            "reason": match.reason.as_dict(),
        }


def _metres(shift: float) -> float | None:
    return round(shift, 1) if shift != float("inf") else None

"""Problems of a file: how often each kind occurs, with examples and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.checks.kinds import KINDS, SEVERITIES, Kind, Severity
from twin.text import Text

# The columns that an export of quarantine adds to a file's own: the feature's id, then notes. When the file comes back
# mended, the notes are left out. The last holds a geometry that could not be read, as the file had it.
QUARANTINE_ID = "feature_id"
QUARANTINE_NOTES = ("reason", "problem", "detail")
AS_WRITTEN = "geometry_as_written"

EXAMPLES = 5
# How many different values of a problem are counted, and how many are listed.
VALUES_COUNTED, VALUES_LISTED = 1000, 10
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One feature with a problem: its id (or "row 12"), where it is (EPSG:4326), and what was found."""

    feature: str
    detail: str | Text = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is a problem: how often it stands in the file, and the term that may be meant, with its title."""

    value: str
    count: int
    term: str | None = None
    title: Text | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the form of the JSON report."""
        return {
            "value": self.value, "count": self.count, "term": self.term,
            "title": self.title.as_dict() if self.title else None,
        }  # fmt: skip


@dataclass
class Problem:
    """One kind of problem in a file, in one field if it concerns a field: how often, with examples, and the most
    frequent values if it is one of values.
    """

    code: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)
    field: str | None = None
    values: tuple[Value, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the table says of it."""
        return KINDS[self.code]

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return self.kind.severity

    def as_dict(self) -> dict[str, Any]:
        """Return the form of the JSON report."""
        return {
            "code": self.code, "severity": self.severity, "field": self.field, "count": self.count,
            "title": self.kind.title.as_dict(), "advice": self.kind.advice.as_dict(),
            "examples": [
                {
                    "feature": e.feature,
                    "detail": e.detail.as_dict() if isinstance(e.detail, Text) else {"en": e.detail, "vi": e.detail},
                    "place": list(e.place) if e.place else None,
                }
                for e in self.examples
            ],
            "values": [value.as_dict() for value in self.values],
        }  # fmt: skip


class Ledger:
    """All problems of a file, each counted, with the first few features as examples."""

    def __init__(self, examples: int = EXAMPLES) -> None:
        self._limit = examples
        self._problems: dict[tuple[str, str | None], Problem] = {}
        self._values: dict[tuple[str, str | None], Counter[str]] = {}

    def note(self, code: str, examples: Iterable[Example] = (), count: int = 1, of: str | None = None) -> None:
        """Count a problem found in some other way than row by row."""
        problem = self._problems.setdefault((code, of), Problem(code, field=of))
        problem.count += count
        for example in examples:
            if len(problem.examples) >= self._limit:
                break
            problem.examples.append(example)

    def rows(
        self, code: str, where: npt.NDArray[np.bool_], example: Callable[[int], Example], of: str | None = None
    ) -> None:
        """Count the rows of a batch with a problem; examples are made only while some are wanted."""
        count = int(np.count_nonzero(where))
        if count:
            self.note(code, (example(int(row)) for row in np.flatnonzero(where)[: self._limit]), count, of)

    def count_values(self, code: str, of: str | None, values: Mapping[str, int]) -> None:
        """Count the values that are a problem; memory stays bounded, for only so many different ones are kept."""
        counts = self._values.setdefault((code, of), Counter())
        for value, count in values.items():
            if value in counts or len(counts) < VALUES_COUNTED:
                counts[value] += count

    def set_values(self, describe: Callable[[str | None, str, int], Value]) -> None:
        """List the most frequent values of each problem; `describe` gets a field, a value and its count."""
        for (code, of), counts in self._values.items():
            listed = tuple(describe(of, value, count) for value, count in counts.most_common(VALUES_LISTED))
            self._problems[code, of].values = listed

    @property
    def problems(self) -> list[Problem]:
        """The problems, the gravest first, then in the order of the table."""
        grave = {severity: place for place, severity in enumerate(SEVERITIES)}
        table = {code: place for place, code in enumerate(KINDS)}
        return sorted(
            self._problems.values(), key=lambda p: (grave[p.severity], table[p.code], -p.count, p.field or "")
        )

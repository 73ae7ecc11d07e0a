"""A kind of problem: its severity, its title and its advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from twin.text import Text

# refused: the feature (or the whole file) is not published. warning: it is published, and somebody should look.
# info: it is published, and nothing needs to be done.
Severity = Literal["refused", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("refused", "warning", "info")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: how grave it is, what it is called, and what to do about it."""

    severity: Severity
    title: Text
    advice: Text


def kind(severity: Severity, en: str, vi: str, do_en: str, do_vi: str) -> Kind:
    """Describe a kind of problem in English and Vietnamese, with the advice of each language."""
    return Kind(severity, Text(en=en, vi=vi), Text(en=do_en, vi=do_vi))

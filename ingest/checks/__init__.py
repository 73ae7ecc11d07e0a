"""Checks of incoming files: what they are, how their columns fit a theme, and every problem with what to do about it.

`inspect(reader, theme, city)` looks at a file and makes a `Plan`; `Checker(plan)` takes its batches and ends in a
`Report`. `check` is the part that only holds features against their theme.
"""

from ingest.checks.checker import Checker
from ingest.checks.contract import CheckedBatch, Findings, check
from ingest.checks.plan import CheckLimits, Plan, inspect
from ingest.checks.report import Report

__all__ = ["CheckLimits", "CheckedBatch", "Checker", "Findings", "Plan", "Report", "check", "inspect"]

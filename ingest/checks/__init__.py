"""Checks of incoming files: what they are, how their columns fit a theme, and every problem with what to do about it."""

from ingest.checks.contract import Checked, Findings, check

__all__ = ["Checked", "Findings", "check"]

"""The kinds of problems that a file can have, by subject, in the order in which reports list them."""

from __future__ import annotations

from ingest.checks.kinds.fields import FIELDS
from ingest.checks.kinds.files import FILES
from ingest.checks.kinds.geometry import GEOMETRY
from ingest.checks.kinds.kind import SEVERITIES, Kind, Severity
from ingest.checks.kinds.rasters import RASTERS

KINDS: dict[str, Kind] = FILES | GEOMETRY | FIELDS | RASTERS

__all__ = ["KINDS", "SEVERITIES", "Kind", "Severity"]

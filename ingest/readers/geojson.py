"""What is looked at in GeoJSON before GDAL reads it."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.limits import Limits, exceeded

CHUNK = 1 << 20
LONGEST_NAME = 300
_NAME = re.compile(rb'"((?:[^"\\]|\\.){0,%d})"\s*:' % LONGEST_NAME)
# Names inside nested values count here too, though they make no column: the line is drawn well above the limit.
_SLACK = 10


def check_names(path: Path, limits: Limits) -> None:
    """Refuse a file with far too many names of properties, before a column is made of each."""
    seen: set[bytes] = set()
    with path.open("rb") as file:
        rest = b""
        while chunk := file.read(CHUNK):
            text = rest + chunk
            seen.update(_NAME.findall(text))
            rest = text[-LONGEST_NAME - 10 :]
            if len(seen) > _SLACK * limits.columns:
                raise exceeded(path.name, limits, "columns")

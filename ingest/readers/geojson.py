"""What is looked at in GeoJSON before GDAL reads it."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.limits import Limits, exceeded

CHUNK = 1 << 20
# A name is told apart from others by its last letters.
ENOUGH = 200
_END_OF_NAME = re.compile(rb'"\s*:')
# Names inside nested values count here too, though they make no column: the line is drawn well above the limit.
_SLACK = 10


def check_geojson(path: Path, limits: Limits) -> None:
    """Refuse a file with far too many names of properties, before a column is made of each, and one huge value."""
    seen: set[bytes] = set()
    quiet = 0
    with path.open("rb") as file:
        rest = b""
        while chunk := file.read(CHUNK):
            text = rest + chunk
            before = _END_OF_NAME.split(text)[:-1]
            seen.update(part[part.rfind(b'"') + 1 :][-ENOUGH:] for part in before)
            # A text or a ring of coordinates has no quotation mark within: such a stretch is one object at most.
            quote = chunk.rfind(b'"')
            quiet = quiet + len(chunk) if quote < 0 else len(chunk) - quote
            if quiet > limits.object_bytes:
                raise exceeded(path.name, limits, "object_bytes")
            rest = chunk[-ENOUGH:]
            if len(seen) > _SLACK * limits.columns:
                raise exceeded(path.name, limits, "columns")

"""Check of a DXF drawing for entities that GDAL leaves out in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ingest.readers.limits import Limits, exceeded
from ingest.readers.source import DAMAGED, cannot_read
from twin.text import Text

# What GDAL makes features of.
_DRAWN = frozenset({
    "POINT", "LINE", "POLYLINE", "LWPOLYLINE", "VERTEX", "SEQEND", "CIRCLE", "ELLIPSE", "ARC", "SPLINE", "HELIX",
    "INSERT", "ATTRIB", "ATTDEF", "TEXT", "MTEXT", "DIMENSION", "ARC_DIMENSION", "HATCH", "3DFACE", "SOLID", "TRACE",
    "LEADER", "MULTILEADER", "MLEADER", "VIEWPORT",
})  # fmt: skip
_LONGEST = 1 << 20


def scan_drawing(path: Path, limits: Limits) -> Text | None:
    """Refuse a drawing that is cut off; name what is left out of it: kinds of entities, and blocks that are missing."""
    entities: Counter[str] = Counter()
    blocks: set[str] = set()
    inserted: Counter[str] = Counter()
    section = kind = last = ""
    with path.open("r", encoding="latin-1", newline=None) as file:
        while code := file.readline(_LONGEST):
            value = file.readline(_LONGEST).strip()
            if len(code) >= _LONGEST:
                raise exceeded(path.name, limits, "object_bytes")
            code = code.strip()
            if code == "0":
                kind = last = value.upper()
                section = "" if kind == "ENDSEC" else section
                if section == "ENTITIES":
                    entities[kind] += 1
            elif code == "2":
                if kind == "SECTION":
                    section = value.upper()
                elif kind == "BLOCK" and section == "BLOCKS":
                    blocks.add(value.upper())
                elif kind == "INSERT":
                    inserted[value.upper()] += 1
    if last != "EOF":
        raise cannot_read(path, DAMAGED)
    left_out = [f"{n} × {name[:40]}" for name, n in sorted(entities.items()) if name not in _DRAWN]
    left_out += [f"{n} × INSERT {name[:40]}" for name, n in sorted(inserted.items()) if name not in blocks]
    if not left_out:
        return None
    named = ", ".join(left_out[:20]) + (" …" if len(left_out) > 20 else "")
    return Text(en=named, vi=named)

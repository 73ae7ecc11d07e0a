"""Pieces of SQL that several statements share, and values as PostgreSQL keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# A function call takes 100 arguments at most, which is 50 pairs.
PAIRS = 50


def json_object(pairs: Sequence[tuple[str, str]]) -> str:
    """Return an expression for a JSON object of any number of (name, expression) pairs; names are plain identifiers."""
    parts = [
        "jsonb_build_object(" + ", ".join(f"'{name}', {value}" for name, value in pairs[start : start + PAIRS]) + ")"
        for start in range(0, len(pairs), PAIRS)
    ]
    return " || ".join(parts) or "'{}'::jsonb"


def storable(value: Any) -> Any:
    """Return a JSON value as PostgreSQL can keep it: no NUL, no half of a character, no number that is none."""
    if isinstance(value, str):
        return value.replace("\0", "·").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable(str(k)): storable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [storable(v) for v in value]
    return value

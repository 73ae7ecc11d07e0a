"""Pieces of SQL that several questions are put together from. Names come from the catalogue: plain identifiers."""

from __future__ import annotations

from collections.abc import Sequence

# A function call takes 100 arguments at most, which is 50 pairs.
PAIRS = 50


def json_object(pairs: Sequence[tuple[str, str]]) -> str:
    """An expression for a JSON object of any number of (name, expression) pairs."""
    parts = [
        "jsonb_build_object(" + ", ".join(f"'{name}', {value}" for name, value in pairs[start : start + PAIRS]) + ")"
        for start in range(0, len(pairs), PAIRS)
    ]
    return " || ".join(parts) or "'{}'::jsonb"

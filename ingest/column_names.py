"""Plain names for the columns of an agency's file: identifiers that a database takes as they are."""

from __future__ import annotations

import re
import unicodedata

MAX_COLUMN_NAME = 40
LAST_OF_NAME = 12


def column_name(name: str) -> str:
    """Return a plain identifier for any column name: tone marks off, small letters, digits and _."""
    bare = unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D"))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).lower()
    bare = re.sub(r"[^a-z0-9]+", "_", bare).strip("_")
    if len(bare) > MAX_COLUMN_NAME:
        # Long names often differ in the year at their end.
        tail = bare[-LAST_OF_NAME:].strip("_")
        bare = f"{bare[: MAX_COLUMN_NAME - len(tail) - 1].rstrip('_')}_{tail}"
    return bare if bare[:1].isalpha() else f"c_{bare}"


def free_name(plain: str, taken: set[str]) -> str:
    """Return a name that is not taken and that the database does not cut off, which knows 63 bytes."""
    if plain not in taken:
        return plain
    new, number = f"{plain}_source", 1
    while new in taken:
        number += 1
        new = f"{plain}_{number}"
    return new

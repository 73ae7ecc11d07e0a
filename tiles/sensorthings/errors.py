"""Refusals, in both languages."""

from __future__ import annotations

from twin.errors import BadInput, NotFound
from twin.text import Text

NO_SUCH = Text(
    en="There is no such entity, or it is not for this reader.",
    vi="Không có thực thể này, hoặc không dành cho người đọc này.",
)


def refuse(en: str, vi: str, **values: object) -> BadInput:
    """Return the error for a request that cannot be understood; long values are cut."""
    short = {name: value[:80] if isinstance(value, str) else value for name, value in values.items()}
    return BadInput(Text(en=en, vi=vi).format(**short))


def missing() -> NotFound:
    """Return the one error for what does not exist and for what is hidden."""
    return NotFound(NO_SUCH)

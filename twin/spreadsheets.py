"""Cells of CSV that are safe to open in a spreadsheet."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from typing import Any

# What spreadsheets take for the beginning of a formula, also in its wide form, and what hides one. Text that has
# apostrophes before such a beginning gets one more, so that taking one away always gives the text back.
FORMULA = re.compile(r"'*([\s\x00]*[=+\-@＝＋－＠]|[\t\r\n])")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")


def cell(value: Any) -> Any:
    """Return a value as a cell of CSV: text that a spreadsheet would run as a formula gets an apostrophe before it.

    Examples
    --------
    >>> cell("=1+1"), cell("-3.5"), cell(None)
    ("'=1+1", '-3.5', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return "'" + value
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value

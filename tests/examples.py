"""How many examples hypothesis looks at, where one of them costs a request, a file or more."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("TEST_EXAMPLES") == "all"


def examples(most: int) -> int:
    """Return a third of the examples; all of them with TEST_EXAMPLES=all. Each run looks at others."""
    return most if THOROUGH else max(10, most // 3)

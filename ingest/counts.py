"""Numbers of features, in words."""

from __future__ import annotations

from twin.text import Text


def feature_count(count: int) -> Text:
    """Return a number of features, in words that fit the number."""
    return Text(en="{n:,} feature" if count == 1 else "{n:,} features", vi="{n:,} đối tượng").format(n=count)

"""The column of a file that names each feature, found by its name and by how many of its values are different."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ingest.checks.names import words_of
from twin.text import Text

ID_WORDS = frozenset({"id", "ma", "code", "key", "khoa", "gid", "uuid", "ref", "osm", "mã"})
# Numbers that a program gives anew at each export: an id should outlive that.
FLEETING = frozenset({"objectid", "fid", "ogcfid", "rowid", "oid", "stt", "index"})
# An id that comes twice or is missing is a mistake to report; a column where that is common is no id.
NEARLY_ALL = 0.8
# A column named like an id of which this share is different may be the id of what several rows are about.
SOME = 0.02
# The score that only columns with lasting ids reach.
LASTING = 0.6


@dataclass(frozen=True, slots=True)
class Repeats:
    """A column whose name says that it is an id, and whose values repeat: this share of the rows that were read."""

    column: str
    share: float


def find_id_column(
    sample: pd.DataFrame, titles: Mapping[str, str], read: int | None = None
) -> tuple[str | None, Text, Repeats | None]:
    """Choose the column that names each feature, with the reason; else name one that only looks like it."""
    best: tuple[float, str, float] | None = None
    repeats: Repeats | None = None
    for column in sample.columns:
        words = words_of(titles.get(column, column))
        values = sample[column]
        if not ID_WORDS & set(words) and "".join(words) not in FLEETING:
            continue
        if len(values) == 0 or values.isna().mean() > 1 - NEARLY_ALL:
            continue
        different = _distinct_share(values, read)
        if different < NEARLY_ALL:
            if different > SOME and (repeats is None or 1 - different < repeats.share):
                repeats = Repeats(column, 1 - different)
            continue
        if pd.api.types.is_float_dtype(values.dtype) and (values % 1 != 0).any():
            continue
        score = 0.5 if "".join(words) in FLEETING else 1.0 if len(words) == 1 else 0.9 - 0.05 * len(words)
        score -= 1 - different if score > LASTING else 0
        if best is None or score > best[0]:
            best = (score, column, different)
    if best is None:
        nothing = Text(
            en="no column names each feature; ids are made from the geometry",
            vi="không cột nào định danh đối tượng; mã được tạo từ hình học",
        )
        return None, nothing, repeats
    if best[0] < LASTING:
        fleeting = Text(
            en="“{column}” changes with each export; ids are made from the geometry",
            vi="“{column}” đổi mỗi lần xuất tệp; mã được tạo từ hình học",
        ).format(column=best[1])
        return None, fleeting, repeats
    if best[2] < 1:
        return best[1], Text(en="different in almost every row", vi="khác nhau ở hầu hết các dòng"), None
    return best[1], Text(en="different in every row that was looked at", vi="khác nhau ở mọi dòng đã xem"), None


def _distinct_share(values: pd.Series, read: int | None) -> float:
    """Estimate which share of a file's rows has a value of its own, from rows chosen evenly from `read` rows.

    Two rows with one value are both in the sample with the square of the sample's share. So pairs are counted, and
    their number in the file follows: of d different values in n rows, each as often as another, n (n / d - 1) / 2
    pairs are alike.
    """
    present = values.dropna().astype(str)
    if not len(present):
        return 0.0
    counts = present.value_counts().to_numpy(dtype=float)
    if read is None or read <= len(values):
        return float(len(counts) / len(present))
    part = len(values) / read
    rows = len(present) / part
    pairs = float((counts * (counts - 1) / 2).sum()) / part**2
    return min(float(len(counts) / len(present)), 1 / (1 + 2 * pairs / rows))

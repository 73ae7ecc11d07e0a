"""Text encodings that a file may be in: a list, because Python's codecs also compress, encrypt and escape."""

from __future__ import annotations

import codecs

from twin.errors import BadInput
from twin.text import Text

_BY_NUMBER = {
    "cp": (
        273, 424, 437, 500, 720, 737, 775, 850, 852, 855, 856, 857, 858, 860, 861, 862, 863, 864, 865, 866, 869,
        874, 875, 932, 949, 950, 1006, 1026, 1125, 1140, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258,
    ),
    "iso8859-": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16),
    "utf-": (8, 16, 32),
}  # fmt: skip
# Canonical names, as `codecs.lookup(…).name` gives them.
TEXT_ENCODINGS = frozenset(
    {f"{family}{number}" for family, numbers in _BY_NUMBER.items() for number in numbers}
    | {
        "ascii", "cp037", "utf-8-sig",
        "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb2312", "gbk", "gb18030", "hz",
        "big5", "big5hkscs", "shift_jis", "shift_jis_2004", "shift_jisx0213", "euc_jp", "euc_jis_2004",
        "euc_jisx0213", "euc_kr", "johab", "koi8-r", "koi8-t", "koi8-u", "kz1048", "ptcp154", "tis-620",
        "hp-roman8", "mac-roman", "mac-cyrillic", "mac-greek", "mac-iceland", "mac-latin2", "mac-turkish",
        "mac-croatian", "mac-romanian", "mac-farsi", "mac-arabic",
    }
)  # fmt: skip


def text_encoding(name: str) -> str:
    """Return the canonical name of a text encoding; refuse what is none."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = None
    if found in TEXT_ENCODINGS:
        return str(found)
    raise BadInput(
        Text(
            en="There is no text encoding “{name}”. Examples: utf-8, cp1258, cp1252.",
            vi="Không có bảng mã chữ “{name}”. Ví dụ: utf-8, cp1258, cp1252.",
        ).format(name=name[:40])
    )

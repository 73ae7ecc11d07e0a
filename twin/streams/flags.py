"""Quality flags of observations: bits, because several may hold of one value."""

from __future__ import annotations

from enum import IntFlag

from twin.text import Text


class Flag(IntFlag):
    """What is known against a value; 0 is a normal value."""

    MISSING = 1
    OUT_OF_RANGE = 2
    STUCK = 4
    FUTURE = 8
    UNIT = 16
    SUSPECT = 32
    TOO_OLD = 64


# Any of these, and a value is kept but takes part in no mean, and is never shown as a normal one.
BAD = int(Flag.MISSING | Flag.OUT_OF_RANGE | Flag.STUCK | Flag.FUTURE | Flag.UNIT | Flag.SUSPECT | Flag.TOO_OLD)

TITLES: dict[Flag, Text] = {
    Flag.MISSING: Text(en="no value", vi="không có giá trị"),
    Flag.OUT_OF_RANGE: Text(en="outside the believable range", vi="ngoài khoảng tin được"),
    Flag.STUCK: Text(en="the same value for too long", vi="giá trị đứng yên quá lâu"),
    Flag.FUTURE: Text(en="from the future", vi="thời điểm ở tương lai"),
    Flag.UNIT: Text(en="in a unit that is not declared", vi="đơn vị đo chưa khai báo"),
    Flag.SUSPECT: Text(en="contradicts another value", vi="mâu thuẫn với giá trị khác"),
    Flag.TOO_OLD: Text(en="older than is taken", vi="cũ hơn mức nhận"),
}


def flag_names(flag: int) -> list[str]:
    """Name the bits of a flag in the words of the API.

    Examples
    --------
    >>> flag_names(6)
    ['out_of_range', 'stuck']
    """
    return [str(bit.name).lower() for bit in Flag if flag & bit]

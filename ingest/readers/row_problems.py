"""Problems of single rows that a reader finds: a code of `ingest.checks.kinds`, and a detail in both languages."""

from __future__ import annotations

import logging
import re

import numpy as np
import numpy.typing as npt

from twin.text import Text, read_stored

logger = logging.getLogger(__name__)

UNREADABLE = "geometry.unreadable"
UNCLOSED = "geometry.unclosed"
TOO_LARGE = "geometry.too_large"
NOT_FINITE = "geometry.not_finite"
CURVED = "geometry.curved"
INCOMPLETE = "object.incomplete"

STRAIGHT_LINES_ONLY = Text(
    en="curves are not read; save the geometry with straight lines",
    vi="không đọc được đường cong; hãy lưu hình bằng đoạn thẳng",
)
NOT_CLOSED = Text(en="the last point of a ring is not its first", vi="điểm cuối của vòng không trùng điểm đầu")
UNKNOWN_KIND = Text(en="an unknown kind of geometry", vi="kiểu hình học không xác định")
CUT_OFF = Text(en="it breaks off before its end", vi="bị cụt giữa chừng")
BAD_NUMBER = Text(en="a number or a word is missing or wrong", vi="có số hoặc từ bị thiếu hoặc sai")
ONE_POINT_LINE = Text(en="a line with one point", vi="đường chỉ có một điểm")
NOT_AS_ITS_FORMAT = Text(en="it does not follow its format", vi="không đúng định dạng")
_SHORT_RING = re.compile(r"number of points in LinearRing found (\d+)")
# What GEOS, numpy and Python write about broken geometry, by a part of the message; the first that fits is used.
_KNOWN: tuple[tuple[re.Pattern[str], str, Text], ...] = (
    (re.compile("closed"), UNCLOSED, NOT_CLOSED),
    (re.compile("(?i)unknown (?:wkb )?type|must contain|not a geometry"), UNREADABLE, UNKNOWN_KIND),
    (re.compile("(?i)EOF|smaller than requested|end of stream|requires a buffer"), UNREADABLE, CUT_OFF),
    (re.compile("(?i)^ParseException: Expected|could not convert|invalid literal"), UNREADABLE, BAD_NUMBER),
)


def row_problem(code: str, detail: str | Text = "") -> str:
    """Write a problem as a cell of the column `__problem__`; `read_row_problem` reads it."""
    written = detail.stored() if isinstance(detail, Text) else detail
    return f"{code}: {written}" if written else code


def read_row_problem(cell: str) -> tuple[str, str | Text]:
    """Return the code and the detail of a cell of the column `__problem__`."""
    code, _, detail = cell.partition(":")
    detail = detail.strip()
    return code, read_stored(detail) if detail.startswith("{") else detail


def too_many_vertices(limit: int) -> str:
    """Return the problem of a geometry with more vertices than the limit."""
    return row_problem(TOO_LARGE, Text(en="more than {n:,} vertices", vi="hơn {n:,} đỉnh").format(n=limit))


def short_ring(points: int) -> Text:
    """Return the detail of a ring with too few points to enclose an area."""
    return Text(
        en="a ring of {n} points; it takes four, the last one equal to the first",
        vi="vòng chỉ có {n} điểm; cần ít nhất bốn, điểm cuối trùng điểm đầu",
    ).format(n=points)


def broken_geometry(error: BaseException) -> str:
    """Return the problem of a geometry that a library refuses; the library's own words go to the log."""
    message = str(error)
    logger.debug("geometry refused: %s %s", type(error).__name__, message[:500])
    if found := _SHORT_RING.search(message):
        return row_problem(UNCLOSED, short_ring(int(found[1])))
    if "point array must contain 0 or >1" in message:
        return row_problem(UNREADABLE, ONE_POINT_LINE)
    for pattern, code, detail in _KNOWN:
        if pattern.search(message):
            return row_problem(code, detail)
    return row_problem(UNREADABLE, NOT_AS_ITS_FORMAT)


def add_problem(problems: npt.NDArray[np.object_], where: npt.NDArray[np.bool_], problem: str) -> None:
    """Write a problem beside the rows that have none yet."""
    problems[where & np.array([p is None for p in problems], dtype=bool)] = problem

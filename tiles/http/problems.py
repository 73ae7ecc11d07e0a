"""Errors as RFC 9457 problem documents: one table from the kind of error to the status, in the reader's language."""

from __future__ import annotations

import asyncio
import logging
import re

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tiles.http.openapi import methods
from tiles.http.principal import language_of
from twin.errors import STATUS, TooCostly, TooMany, TwinError, Unauthenticated, Unavailable
from twin.logs import log_fields
from twin.text import Text

log = logging.getLogger("twin.http")

TITLES = {
    400: Text(en="The request cannot be understood", vi="Yêu cầu không hợp lệ"),
    401: Text(en="The key is not valid", vi="Khóa không hợp lệ"),
    403: Text(en="Not allowed", vi="Không được phép"),
    404: Text(en="Not found", vi="Không tìm thấy"),
    405: Text(en="This method is not offered here", vi="Phương thức không được hỗ trợ ở đây"),
    406: Text(en="Not in this form", vi="Không có ở dạng này"),
    409: Text(en="In conflict with what is there", vi="Xung đột với dữ liệu hiện có"),
    408: Text(en="The request stopped arriving", vi="Yêu cầu bị ngừng giữa chừng"),
    412: Text(en="This version of the protocol is not spoken here", vi="Không hỗ trợ phiên bản giao thức này"),
    414: Text(en="The address is too long", vi="Địa chỉ quá dài"),
    413: Text(en="Too large", vi="Quá lớn"),
    415: Text(en="This kind of content is not taken here", vi="Không nhận kiểu nội dung này"),
    416: Text(en="There are no such bytes", vi="Không có phần dữ liệu đó"),
    423: Text(en="In use", vi="Đang được sử dụng"),
    429: Text(en="Too many at once", vi="Quá nhiều cùng lúc"),
    500: Text(en="A fault of the server", vi="Lỗi của máy chủ"),
    503: Text(en="Not available now", vi="Hiện không phục vụ được"),
    507: Text(en="The server's disk is full", vi="Đĩa của máy chủ đã đầy"),
}
# After which a client that was refused for the moment may come again.
AGAIN_SECONDS = "5"
TRY_LATER = Text(en="Try again in a few seconds.", vi="Hãy thử lại sau vài giây.")
# Between the look at the catalogue and the question, a publish dropped the oldest version.
JUST_RETIRED = Text(
    en="This version was retired at this moment. Ask again for those that are kept.",
    vi="Phiên bản này vừa hết hạn lưu. Hãy hỏi lại các phiên bản còn giữ.",
)
TOO_SLOW = Text(
    en="The answer took too long. Ask for a smaller area.", vi="Trả lời quá lâu. Hãy hỏi một khu vực nhỏ hơn."
)
LOCKED = Text(
    en="The layer's table is being worked on at this moment. Try again in a few seconds.",
    vi="Bảng của lớp dữ liệu đang được xử lý. Hãy thử lại sau vài giây.",
)
TOO_COMPLEX = Text(
    en="The question is too complex for the database. Ask in parts.",
    vi="Truy vấn quá phức tạp đối với cơ sở dữ liệu. Hãy hỏi từng phần.",
)
NOT_COMPUTABLE = Text(
    en="The condition cannot be computed for the geometries of this layer. Use a simpler geometry or another operator.",
    vi="Không tính được điều kiện này với hình học của lớp. Hãy dùng hình học đơn giản hơn hoặc phép toán khác.",
)
GEOMETRY_FAULT = re.compile(r"GEOS|TopologyException|lwgeom|Geometry", re.IGNORECASE)
NO_FIT = Text(
    en="A value in the request lies outside what can be computed with. Use smaller numbers and plain text.",
    vi="Một giá trị trong yêu cầu nằm ngoài phạm vi tính toán. Hãy dùng số nhỏ hơn và văn bản thường.",
)
OUR_FAULT = Text(en="The fault was written to the server's log.", vi="Lỗi đã được ghi vào nhật ký của máy chủ.")

# What a lost, stopped or overfull database looks like from a connection pool.
DATABASE_GONE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError,
                 asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.TooManyConnectionsError,
                 asyncio.TimeoutError)  # fmt: skip


def problem(request: Request, status: int, detail: Text | str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make a problem document."""
    language = language_of(request)
    title = TITLES.get(status, TITLES[400 if status < 500 else 500])
    body = {
        "type": "about:blank",
        "title": title.in_language(language),
        "status": status,
        # What a client sent may be quoted here, half a character included.
        "detail": str(detail.in_language(language) if isinstance(detail, Text) else detail)
        .encode("utf-8", "replace")
        .decode(),
    }
    if status >= 500 and "request_id" in log_fields():
        # The lines of the log with the same one say more. Other problems are equal for equal requests: a hidden layer
        # answers like a missing one.
        body["request_id"] = log_fields()["request_id"]
    return JSONResponse(
        body, status, {"Content-Language": language, "Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )  # fmt: skip


def _headers_of(error: TwinError) -> dict[str, str]:
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case TooCostly():
            # It does not get cheaper by waiting.
            return {}
        case TooMany() | Unavailable():
            return {"Retry-After": AGAIN_SECONDS}
    return {}


def answer_to(request: Request, error: Exception) -> JSONResponse:
    """Return the problem document for an error, whatever kind it is; what is the program's fault goes into the log."""
    match error:
        case TwinError():
            status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
            return problem(request, status, error.message, _headers_of(error))
        case RequestValidationError():
            first = error.errors()[0]
            name = ".".join(str(step) for step in first["loc"][1:]) or str(first["loc"][0])
            return problem(request, 400, f"{name}: {first['msg']}")
        case HTTPException():
            detail: object = error.detail
            headers = dict(error.headers or {})
            if error.status_code == 405:
                # The router names the methods of one of its routes; an address may have several.
                headers["Allow"] = methods(request)
            return problem(request, error.status_code, detail if isinstance(detail, Text) else str(detail), headers)
        case asyncpg.DataError():
            log.info("a value did not fit: %s", error)
            return problem(request, 400, NO_FIT)
        case asyncpg.QueryCanceledError():
            return problem(request, 503, TOO_SLOW, {"Retry-After": AGAIN_SECONDS})
        case asyncpg.LockNotAvailableError():
            return problem(request, 503, LOCKED, {"Retry-After": AGAIN_SECONDS})
        case asyncpg.UndefinedTableError():
            return problem(request, 503, JUST_RETIRED, {"Retry-After": "1"})
        case asyncpg.ProgramLimitExceededError():
            return problem(request, 400, TOO_COMPLEX)
        case asyncpg.InternalServerError() if GEOMETRY_FAULT.search(str(error)):
            # What GEOS cannot compute reaches us so: two geometries that are odd in a way that nobody foresaw.
            log.warning("the database could not compute a condition: %s", error)
            return problem(request, 400, NOT_COMPUTABLE)
        case asyncpg.InsufficientResourcesError():
            log.warning("the database lacks something: %s", error)
            return problem(request, 503, TRY_LATER, {"Retry-After": AGAIN_SECONDS})
    if isinstance(error, DATABASE_GONE):
        log.warning("database not reachable: %s", type(error).__name__)
        return problem(request, 503, TRY_LATER, {"Retry-After": "2"})
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(request, 500, OUR_FAULT)


# Kinds of errors that are answered here; anything else is the program's fault, which Starlette hands over last.
ANSWERED = (TwinError, RequestValidationError, HTTPException, asyncpg.PostgresError, *DATABASE_GONE, Exception)


def install(app: FastAPI) -> None:
    """Give the app its answers to errors."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return answer_to(request, error)

    for kind in ANSWERED:
        app.add_exception_handler(kind, answer)

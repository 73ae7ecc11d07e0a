"""Files in pieces, by the tus 1.0.0 protocol: begin, ask how far it is, send on, give up.

A cut connection loses nothing that arrived. Any server process that shares the folder and the database continues
what another began.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import os
import re
from collections.abc import AsyncIterator
from email.utils import format_datetime
from typing import Annotated, Any, BinaryIO
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from tiles.http.principal import City
from tiles.http.problems import problem
from tiles.publishing.requests import Known, require_publisher_now, writing
from twin.access.policy import require_publisher
from twin.access.principals import Principal
from twin.db.tables import Upload
from twin.errors import BadInput, NoRoom
from twin.jobs.uploads import NO_ROOM, find_upload, folder_of, go_on, open_upload
from twin.text import Text

TUS = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
PIECE = "application/offset+octet-stream"
FLUSH_BYTES = 1 << 20
# A connection that is dead without saying so keeps its upload locked no longer than this.
SILENCE_SECONDS = 30.0
SHA256 = re.compile(r"[0-9a-f]{64}")


def speak_tus(
    response: Response,
    tus_resumable: Annotated[
        str | None, Header(description="Version of the protocol.", json_schema_extra={"enum": [TUS]})
    ] = None,
) -> None:
    """Say which version of the protocol is spoken, and refuse another one."""
    response.headers["Tus-Resumable"] = TUS
    response.headers["Cache-Control"] = "no-store"
    if tus_resumable not in (None, TUS):
        raise HTTPException(
            412,
            Text(en="This server speaks tus {v}.", vi="Máy chủ dùng giao thức tus {v}.").format(v=TUS),
            {"Tus-Version": TUS},
        )


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A header is missing or cannot be understood"},
    401: {"description": "No key, or one that is not valid"},
    403: {"description": "The key may not publish into this layer"},
    404: {"description": "There is no such layer or upload for this key"},
    412: {"description": "Another version of the protocol was requested"},
    503: {"description": "The database is not reachable"},
}
FULL: dict[int | str, dict[str, Any]] = {507: {"description": "The disk is full; what has arrived is kept"}}

router = APIRouter(tags=["publishing"], responses=PROBLEMS, dependencies=[Depends(speak_tus)])


@router.options("/uploads", status_code=204, summary="What this server can do with uploads")
def options(city: City, response: Response) -> None:
    """Tell the protocol's version, its extensions and the largest upload."""
    response.headers["Tus-Version"] = TUS
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Max-Size"] = str(city.settings.upload_bytes)


# Pairs of a name and perhaps a value in base64; one of them is the layer.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_PAIR = rf"[a-z0-9]+(?: {_BASE64})?"
METADATA = rf"^(?:{_PAIR},)*layer (?=[A-Za-z0-9]){_BASE64}(?:,{_PAIR})*$"


@router.post(
    "/uploads",
    status_code=201,
    summary="Begin an upload",
    responses={
        413: {"description": "The file is too large"},
        429: {"description": "The key has too many unfinished uploads"},
        **FULL,
    },
)
def begin(
    request: Request, city: City, principal: Known, response: Response,
    upload_length: Annotated[int, Header(ge=0, description="Bytes of the whole file.")],
    upload_metadata: Annotated[
        str,
        Header(
            max_length=8192,
            json_schema_extra={"pattern": METADATA},
            description="Pairs of a name and a value in base64, divided by commas: `layer` (agency.name), `filename`, "
            "and if you like `sha256` of the whole file (hexadecimal), which is then compared.",
        ),
    ],
) -> dict[str, Any]:  # fmt: skip
    """Make room for a file that is meant for a layer; its address is in `Location`."""
    metadata = _metadata(upload_metadata)
    sha256 = metadata.get("sha256", "").lower() or None
    if "layer" not in metadata:
        raise BadInput(
            Text(
                en="Upload-Metadata names no layer. Example: layer {value}",
                vi="Upload-Metadata không nêu lớp. Ví dụ: layer {value}",
            ).format(value=base64.b64encode(b"construction.houses").decode())
        )
    if sha256 and not SHA256.fullmatch(sha256):
        raise BadInput(Text(en="sha256 has 64 hexadecimal digits.", vi="sha256 phải gồm 64 chữ số thập lục phân."))
    layer = require_publisher_now(request, principal, metadata["layer"])
    folder = folder_of(city.settings)
    with writing(city) as session:
        assert principal.key is not None  # noqa: S101
        upload = open_upload(
            session, city.settings, principal.key, layer.id, metadata.get("filename", ""), upload_length, sha256
        )
        _or_no_room(lambda: folder.begin(upload.id, upload.length))
    response.headers["Location"] = f"/uploads/{upload.id}"
    return _described(upload, 0, response)


@router.head("/uploads/{upload}", summary="How much has arrived, in the header Upload-Offset")
@router.get("/uploads/{upload}", summary="How much has arrived")
def state(city: City, principal: Known, response: Response, upload: UUID) -> dict[str, Any]:
    """Tell how many bytes of an upload are there."""
    found = _mine(city, principal, upload)
    return _described(found, folder_of(city.settings).offset(upload), response)


@router.patch(
    "/uploads/{upload}",
    status_code=204,
    summary="Send the next piece",
    responses={
        408: {"description": "Nothing arrived for half a minute"},
        409: {"description": "The offset is not where the file ends; the header Upload-Offset tells where"},
        415: {"description": f"Content-Type is not {PIECE}"},
        423: {"description": "Another connection is sending this file"},
        **FULL,
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {PIECE: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def send_on(
    request: Request, city: City, principal: Known, upload: UUID,
    upload_offset: Annotated[int, Header(ge=0, description="Where this piece begins: what has arrived so far.")],
) -> Response:  # fmt: skip
    """Append a piece of any size. What arrives is kept, even when the connection breaks in the middle."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != PIECE:
        raise HTTPException(415, Text(en=f"Send pieces as {PIECE}.", vi=f"Hãy gửi từng phần với kiểu {PIECE}."))
    found = await run_in_threadpool(_mine, city, principal, upload)
    with folder_of(city.settings).appending(upload) as file:
        start = file.tell()
        if upload_offset != start:
            message = Text(
                en="The piece begins at {offset:,}, but {there:,} bytes have arrived. Go on from there.",
                vi="Phần gửi bắt đầu từ {offset:,} nhưng đã nhận {there:,} byte. Hãy gửi tiếp từ đó.",
            )
            there = message.format(offset=upload_offset, there=start)
            return problem(request, 409, there, {"Upload-Offset": str(start), "Tus-Resumable": TUS})
        await _append(request, file, found.length - start)
        end = file.tell()
    response = Response(status_code=204, headers={"Tus-Resumable": TUS, "Cache-Control": "no-store"})
    found = await run_in_threadpool(_go_on, city, found)
    _headers(found, end, response)
    return response


@router.delete("/uploads/{upload}", status_code=204, summary="Give up an upload")
def give_up(city: City, principal: Known, upload: UUID) -> None:
    """Remove an upload and what has arrived of it."""
    _mine(city, principal, upload)
    with writing(city) as session:
        session.delete(find_upload(session, upload, principal.agency, hold=True))
    folder_of(city.settings).remove(upload)


def _mine(city: City, principal: Principal, upload: UUID) -> Upload:
    with writing(city) as session:
        found = find_upload(session, upload, principal.agency)
    require_publisher(principal, city.layers, found.layer)
    return found


def _go_on(city: City, upload: Upload) -> Upload:
    with writing(city) as session:
        go_on(session, city.settings, upload)
        return upload


def _described(upload: Upload, offset: int, response: Response) -> dict[str, Any]:
    _headers(upload, offset, response)
    return {
        "id": str(upload.id), "layer": upload.layer, "name": upload.name, "offset": offset, "length": upload.length,
        "expires": upload.expires_at.isoformat(),
    }  # fmt: skip


def _headers(upload: Upload, offset: int, response: Response) -> None:
    response.headers["Upload-Offset"] = str(offset)
    response.headers["Upload-Length"] = str(upload.length)
    response.headers["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)


def _metadata(header: str) -> dict[str, str]:
    """Return the pairs of Upload-Metadata."""
    pairs: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.strip().partition(" ")
        try:
            pairs[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise BadInput(
                Text(
                    en="In Upload-Metadata the value of “{name}” is not base64 of UTF-8 text.",
                    vi="Trong Upload-Metadata, giá trị của “{name}” không phải base64 của văn bản UTF-8.",
                ).format(name=name[:40])
            ) from None
    return pairs


async def _append(request: Request, file: BinaryIO, room: int) -> None:
    """Write what arrives, at most `room` bytes, and make it last. Memory holds one buffer."""
    start, waiting, arrived = file.tell(), bytearray(), 0
    try:
        async for chunk in _chunks(request):
            arrived += len(chunk)
            if arrived > room:
                await run_in_threadpool(file.truncate, start)
                raise BadInput(
                    Text(
                        en="More bytes came than Upload-Length states; this piece is not kept.",
                        vi="Số byte gửi nhiều hơn Upload-Length đã khai; phần này không được giữ.",
                    )
                )
            waiting += chunk
            if len(waiting) >= FLUSH_BYTES:
                await _write(file, waiting)
    except ClientDisconnect:
        # Nobody is there to answer to; what came is kept for the next connection.
        await _write(file, waiting)
        await run_in_threadpool(os.fsync, file.fileno())
        raise HTTPException(408, _SILENT) from None
    except TimeoutError:
        await _write(file, waiting)
        raise HTTPException(408, _SILENT) from None
    await _write(file, waiting)
    await run_in_threadpool(os.fsync, file.fileno())


_SILENT = Text(
    en="The rest did not arrive. Ask with HEAD how far the file is, and go on from there.",
    vi="Phần còn lại không đến. Hãy hỏi bằng HEAD xem đã nhận đến đâu rồi gửi tiếp từ đó.",
)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk


async def _write(file: BinaryIO, waiting: bytearray) -> None:
    piece = bytes(waiting)
    waiting.clear()

    def write() -> None:
        rest = memoryview(piece)
        while rest:  # an unbuffered file may take less than it was given
            rest = rest[file.write(rest) :]

    if piece:
        await run_in_threadpool(_or_no_room, write)


def _or_no_room(step: Any) -> None:
    """Do something with files; a full disk gets its own message."""
    try:
        step()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoRoom(NO_ROOM) from None
        raise

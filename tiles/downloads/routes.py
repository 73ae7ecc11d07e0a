"""Whole layers as files over HTTP: `/downloads/{layer}.{form}`, with ranges; the first to ask sees the file grow."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from tiles.catalogue.vocabulary import licence_address
from tiles.downloads.formats import FORMS, DownloadFormat
from tiles.downloads.prepare import Downloads
from tiles.http.head import HEADERS_ONLY
from tiles.http.principal import City, CurrentPrincipal, language_of
from tiles.http.selection import caching, is_known
from tiles.ogc.links import as_header, base_of, link, path
from tiles.ogc.schemas import BINARY, TEXT
from twin.access.permit import Permit, permit_of
from twin.catalogue.download_folder import Prepared
from twin.errors import NotFound
from twin.text import Text

# A file that is ready by then is sent with its length; for one that grows nobody waits longer.
PATIENCE_SECONDS = 2.0
VARY = "Authorization, X-API-Key"
RANGES = re.compile(r"bytes=\s*(?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+)){0,9}\s*")

router = APIRouter(tags=["downloads"])

NAME = Path(
    description="`agency.layer`, or `agency.layer@3` for a version.", max_length=80, examples=["planning.wards"]
)
SUFFIX = Path(description="The format.", json_schema_extra={"enum": list(FORMS)})
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
CONTENT = {form.media_type: {"schema": TEXT if form.suffix == "csv" else BINARY} for form in FORMS.values()}
CONTENT["application/geo+json"] = {"schema": {"type": "object"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole layer", "content": CONTENT},
    206: {"description": "A range of its bytes", "content": {form.media_type: {} for form in FORMS.values()}},
    304: {"description": "The reader has it already"},
    416: {"description": "The file has no such bytes", "content": PROBLEM},
    507: {"description": "The server's disk is full", "content": PROBLEM},
}


def downloads_of(request: Request) -> Downloads:
    """Return the prepared downloads of the city."""
    downloads: Downloads = request.app.state.downloads
    return downloads


@router.get(
    "/downloads/{layer}.{form}", summary="A whole layer as a file", responses=RESPONSES, response_class=FileResponse
)
async def download(
    request: Request, city: City, principal: CurrentPrincipal, layer: Annotated[str, NAME], form: Annotated[str, SUFFIX]
) -> Response:
    """Send all features of a layer's version. The file is made at the first request, and kept."""
    chosen = permit_of(principal, city.layers, layer)
    if form not in FORMS:
        raise NotFound(
            Text(
                en="There are no downloads of the kind “{form}”. Known: {known}.",
                vi="Không có tệp tải về dạng “{form}”. Có: {known}.",
            ).format(form=form[:20], known=", ".join(FORMS))
        )
    downloads, own = downloads_of(request), FORMS[form]
    headers = _headers(request, chosen, own)
    wants_headers, prepared = bool(request.scope.get(HEADERS_ONLY)), downloads.find(chosen, own)
    if prepared is None and not wants_headers:
        making = downloads.prepare(chosen, own)
        handle = await _beginning(downloads, chosen, own, making, in_parts="range" in request.headers)
        if handle is not None:
            # Not known yet: how long it is, and what it will be known by.
            return StreamingResponse(
                downloads.follow(handle, making), media_type=own.media_type,
                headers=headers | {"Cache-Control": "no-store"},
            )  # fmt: skip
        prepared = await asyncio.shield(making)
    if prepared is None:
        # Its length is not known yet, and no range was requested.
        return StreamingResponse(iter(()), media_type=own.media_type, headers=headers)
    headers |= {"ETag": f'"{prepared.sha256[:32]}"', "Content-Encoding": "identity"}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    if wants_headers:
        own_headers = {"Content-Length": str(prepared.size), "Accept-Ranges": "bytes"}
        return Response(media_type=own.media_type, headers=headers | own_headers)
    _check_range(request, prepared, headers["ETag"])
    return FileResponse(prepared.path, media_type=own.media_type, headers=headers)


def _headers(request: Request, chosen: Permit, form: DownloadFormat) -> dict[str, str]:
    layer, language = chosen.layer, language_of(request)
    base = base_of(request)
    links = [
        link(path(base, "catalogue", layer.id), "describedby", "text/html", layer.title, language),
        link(path(base, "collections", layer.id, "schema"), "describedby", "application/schema+json", "", language),
    ]
    if licence := licence_address(layer.licence):
        links.append(link(licence, "license", "text/html", layer.licence, language))
    return {
        "Cache-Control": caching((chosen,)),
        "Vary": VARY,
        "Content-Disposition": f'attachment; filename="{layer.id}_v{chosen.version.number}.{form.suffix}"',
        **as_header(links),
        "X-Content-Type-Options": "nosniff",
    }


async def _beginning(
    downloads: Downloads, chosen: Permit, form: DownloadFormat, making: asyncio.Task[Prepared], *, in_parts: bool
) -> int | None:
    """A handle on the growing file, if it may be sent so and is not ready soon; None once it is ready or has failed."""
    if in_parts or not form.grows:
        await asyncio.wait([making])
        return None
    await asyncio.wait([making], timeout=PATIENCE_SECONDS)
    key = downloads.key(chosen)
    while not making.done():
        if (handle := downloads.folder.growing(key, form.suffix)) is not None:
            return handle
        await asyncio.wait([making], timeout=PATIENCE_SECONDS / 10)
    return None


def _check_range(request: Request, prepared: Prepared, tag: str) -> None:
    """Answer the requested ranges; unreadable ones count as none, as HTTP says."""
    requested = request.headers.get("range")
    if requested is None:
        return
    if RANGES.fullmatch(requested) is None or prepared.size == 0:
        request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
        return
    ranges = [part.strip() for part in requested.partition("=")[2].split(",")]
    bounds = [part.partition("-") for part in ranges]
    backwards = any(first and last and int(first) > int(last) for first, _, last in bounds)
    beyond = all(int(first) >= prepared.size if first else int(last) == 0 for first, _, last in bounds)
    if (beyond or backwards) and request.headers.get("if-range", tag) == tag:
        raise HTTPException(
            416,
            Text(
                en="The file has {size:,} bytes; the requested range lies beyond them.",
                vi="Tệp có {size:,} byte; phần được hỏi nằm ngoài.",
            ).format(size=prepared.size),
            {"Content-Range": f"bytes */{prepared.size}"},
        )

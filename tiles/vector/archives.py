"""Baked archives over HTTP: whole (PMTiles clients ask for ranges of bytes), and tile by tile."""

from __future__ import annotations

import base64
import logging
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse
from pmtiles.reader import Reader as Archive
from pmtiles.tile import Compression

from tiles.http import content_encoding as encodings
from tiles.http.content_encoding import Encoding
from tiles.http.principal import City, CurrentPrincipal
from tiles.http.selection import is_known
from tiles.http.server import CityContext
from tiles.vector.routes import MEDIA_TYPE, VARY, Index, Zoom, check_tile
from twin.access.permit import permit_of, same_key
from twin.access.principals import ANONYMOUS, Principal
from twin.errors import NotFound
from twin.text import Text

log = logging.getLogger("twin.tiles")

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PMTILES = "application/vnd.pmtiles"
# The keys in an archive's metadata that name its layers with their versions, give the key of the permits under which it
# was baked, and (base64) the picture of a place without anything.
LAYERS, PERMIT, NOTHING_THERE = "twin:layers", "twin:permit", "twin:nothing"
# By the names that PMTiles has for kinds of tiles and of compression.
MEDIA_TYPES = {
    "mvt": MEDIA_TYPE, "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif",
}  # fmt: skip
ENCODINGS: dict[Compression, Encoding] = {
    Compression.NONE: "identity", Compression.GZIP: "gzip", Compression.BROTLI: "br", Compression.ZSTD: "zstd",
}  # fmt: skip

router = APIRouter(tags=["tiles"])
Ending = Annotated[
    Literal["mvt", "png", "jpeg", "webp", "avif"], Path(description="The kind of its tiles, as /archives says it.")
]
Name = Annotated[str, Path(description="An archive's name, as /archives lists it.", pattern=NAME.pattern)]


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive with what it says of itself.

    `ending` is how the addresses of its tiles end, `encoding` how they are compressed, `nothing` what stands for one
    that it does not have.
    """

    path: FilePath
    archive: Archive
    header: Mapping[str, Any]
    metadata: Mapping[str, Any]
    ending: str
    encoding: Encoding
    nothing: bytes
    etag: str


@lru_cache(maxsize=64)
def _open(path: FilePath, modified: int, size: int) -> OpenArchive:
    with path.open("rb") as file:
        # The mapping outlives the file's handle; an archive that is baked anew is another file under the same name.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    archive = Archive(lambda offset, length: mapped[offset : offset + length])
    header, metadata = archive.header(), archive.metadata()
    ending = str(header["tile_type"].name).lower()
    if ending not in MEDIA_TYPES:
        raise ValueError(f"its tiles are of a kind that is not known: {ending}")
    encoding = ENCODINGS[header["tile_compression"]]
    nothing = base64.b64decode(metadata.get(NOTHING_THERE, ""))
    return OpenArchive(path, archive, header, metadata, ending, encoding, nothing, f'"{modified:x}-{size:x}"')


def opened(path: FilePath) -> OpenArchive | None:
    """Open an archive, or None where there is none that can be read."""
    try:
        stat = path.stat()
        return _open(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        return None
    except Exception as error:
        # Whatever file lies there, a client hears that there is no archive; the operator hears why.
        log.warning("%s is no archive that can be read: %s", path.name, error)
        return None


def find(city: CityContext, principal: Principal, name: str) -> tuple[OpenArchive, bool]:
    """Return the archive of that name, and whether everybody may have it.

    One with a layer that is hidden from the principal, or with more of it than the principal may read, answers as if it
    were not there. What holds no more than everybody may read is for every principal.
    """
    missing = NotFound(Text(en="There is no archive “{id}”.", vi="Không có kho ô bản đồ “{id}”.").format(id=name[:80]))
    found = opened(city.settings.archive_folder / f"{name}.pmtiles") if NAME.fullmatch(name) else None
    if found is None:
        raise missing
    # The version that was baked may have been retired: the layer's current one stands for it.
    names = [str(layer).partition("@")[0] for layer in found.metadata.get(LAYERS, ())]
    for who in (ANONYMOUS, principal):
        try:
            permits = [permit_of(who, city.layers, layer) for layer in names]
        except NotFound:
            continue
        if same_key(permits) == found.metadata.get(PERMIT, ""):
            return found, who is ANONYMOUS
    raise missing


def _caching(found: OpenArchive, is_open: bool) -> dict[str, str]:
    return {"Cache-Control": f"{'public' if is_open else 'private'}, max-age=300", "ETag": found.etag, "Vary": VARY}


@router.get("/archives", summary="Baked archives that the reader may use")
async def archives(city: City, principal: CurrentPrincipal, response: Response) -> dict[str, Any]:
    """List the archives: layers with versions, zooms, area and size."""
    response.headers["Cache-Control"] = "private, no-cache"
    listed = []
    for path in sorted(city.settings.archive_folder.glob("*.pmtiles")):
        try:
            found, _ = find(city, principal, path.stem)
        except NotFound:
            continue
        header = found.header
        listed.append(
            {
                "id": path.stem,
                "layers": list(found.metadata.get(LAYERS, ())),
                "minzoom": header["min_zoom"],
                "maxzoom": header["max_zoom"],
                "bounds": [header[f"{side}_e7"] / 1e7 for side in ("min_lon", "min_lat", "max_lon", "max_lat")],
                "bytes": path.stat().st_size,
                "href": f"/archives/{path.stem}.pmtiles",
                "tiles": f"/archives/{path.stem}/{{z}}/{{x}}/{{y}}.{found.ending}",
            }
        )
    return {"archives": listed}


@router.get(
    "/archives/{name}.pmtiles",
    response_class=FileResponse,
    responses={200: {"content": {PMTILES: {}}}, 206: {"content": {PMTILES: {}}, "description": "A range of it"}},
    summary="A whole archive, or ranges of its bytes",
)
async def archive(city: City, principal: CurrentPrincipal, name: Name) -> FileResponse:
    """Send an archive; clients for PMTiles ask for the ranges that they need."""
    found, is_open = find(city, principal, name)
    return FileResponse(
        found.path, media_type=PMTILES, headers=_caching(found, is_open) | {"Content-Encoding": "identity"}
    )


@router.get(
    "/archives/{name}/{z}/{x}/{y}.{ending}",
    response_class=Response,
    responses={
        200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}},
        304: {"description": "The tile that you have is the right one"},
    },
    summary="One tile of an archive",
)
async def tile(
    city: City, principal: CurrentPrincipal, request: Request, name: Name, z: Zoom, x: Index, y: Index, ending: Ending
) -> Response:
    """Give a tile as it was baked; one that is not there is empty."""
    check_tile(z, x, y)
    found, is_open = find(city, principal, name)
    if found.ending != ending:
        raise NotFound(
            Text(en="The tiles of “{id}” end with .{ending}.", vi="Các ô của “{id}” có đuôi .{ending}.").format(
                id=name, ending=found.ending
            )
        )
    headers = _caching(found, is_open)
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    kind, body = MEDIA_TYPES[ending], found.archive.get(z, x, y)
    if body is None:
        return Response(found.nothing, media_type=kind, headers=headers)
    accepted = encodings.chosen(request.headers.get("accept-encoding", ""), (found.encoding, "identity"))
    if accepted != found.encoding:
        body = encodings.decode(body, found.encoding)
    if accepted != "identity":
        headers["Content-Encoding"] = accepted
    return Response(body, media_type=kind, headers=headers)

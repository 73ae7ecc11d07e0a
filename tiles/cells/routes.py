"""The features of a layer counted in H3 cells, over HTTP: pages, tables and vector tiles."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from tiles.cells import answers
from tiles.cells.requests import (
    ARROW,
    FORMATS,
    GEOJSON,
    PARAMETERS,
    PARQUET,
    TILE_PARAMETERS,
    CellsRequest,
    understand,
    understand_tile,
)
from tiles.cells.schemas import AS_GEOJSON, AS_JSON
from tiles.cells.statement import AggregatedCells, counted, first
from tiles.cells.tiles import make_tile
from tiles.features.items import LayerId
from tiles.features.paging import PageStart, write_token
from tiles.features.selection import keeping
from tiles.features.streaming import StreamedResponse, primed, streaming
from tiles.http import content_encoding as encodings
from tiles.http.openapi import reads_parameters
from tiles.http.principal import city_context
from tiles.http.selection import caching, etag, is_known
from tiles.http.server import CityContext
from tiles.ogc.formats import CSV
from tiles.ogc.links import as_header, base_of, link, path, self_and_alternates, with_query
from tiles.ogc.schemas import BINARY, content
from tiles.vector.routes import MEDIA_TYPE, VARY, about
from tiles.vector.tile_cache import CachedTile
from tiles.vector.tilesets import Column, GridId, Matrix, Row
from twin.text import Text

router = APIRouter(tags=["cells"])

RESPONSES = content(AS_JSON, FORMATS)
RESPONSES[200]["content"] |= {
    GEOJSON.media_type: {"schema": AS_GEOJSON},
    **{o.media_type: {"schema": BINARY} for o in (ARROW, PARQUET)},
}


@router.get(
    "/collections/{layer}/cells", summary="A layer counted in H3 cells", responses=RESPONSES,
    openapi_extra={"parameters": [p.openapi() for p in PARAMETERS]},
)  # fmt: skip
@reads_parameters
async def cells(request: Request, layer: LayerId) -> Response:
    """Give the cells that hold features, with their number and the values that the layer's theme rolls up.

    Each feature is counted once: in the lowest of the cells that it touches at the layer's own resolution, and in
    that cell's ancestors. JSON and GeoJSON come in pages, the other formats in one go.
    """
    city, wanted = city_context(request), await understand(request, layer)
    headers = keeping(request, wanted.chosen, wanted.format.name, wanted.about.language)
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    if wanted.format.whole:
        return await _whole(request, city, wanted, headers)
    async with city.connection(asking=True) as connection:
        found, more = await first(connection, wanted.question, wanted.limit)
    ending = {"numberReturned": len(found), "links": _links(request, wanted, found, more)}
    write = answers.as_geojson if wanted.format is GEOJSON else answers.as_json
    return Response(write(found, wanted.about, ending), media_type=wanted.format.media_type, headers=headers)


def _address(request: Request, wanted: CellsRequest) -> str:
    return path(base_of(request), "collections", wanted.chosen.layer.id, "cells")


def _links(request: Request, wanted: CellsRequest, found: AggregatedCells, more: bool) -> list[dict[str, Any]]:
    address, language, layer = _address(request, wanted), wanted.about.language, wanted.chosen.layer
    links = self_and_alternates(address, wanted.given, wanted.format, FORMATS, language)
    if more:
        place = PageStart(wanted.chosen.version.number, True, (), int(found.cells[-1]))
        href = with_query(address, wanted.pinned | {"token": write_token(place, ())})
        links.append(link(href, "next", wanted.format.media_type, Text(en="Next page", vi="Trang sau"), language))
    links.append(link(address.removesuffix("/cells"), "collection", "application/json", layer.title, language))
    return links


async def _whole(request: Request, city: CityContext, wanted: CellsRequest, headers: dict[str, str]) -> Response:
    write = {CSV: answers.as_csv, ARROW: answers.as_arrow}.get(wanted.format, answers.as_parquet)
    links = self_and_alternates(_address(request, wanted), wanted.given, wanted.format, FORMATS, wanted.about.language)
    version = wanted.chosen.version.number
    name = f"{wanted.chosen.layer.id}_v{version}_r{wanted.question.resolution}.{wanted.format.suffix}"
    headers = headers | as_header(links) | {"Content-Disposition": f'attachment; filename="{name}"'}
    if wanted.format is PARQUET:
        # It is compressed already, column by column.
        headers["Content-Encoding"] = "identity"
    seconds = city.settings.stream_seconds
    chunks = await primed(write(_all(city, wanted), wanted.about), seconds)
    return StreamedResponse(chunks, seconds, media_type=wanted.format.media_type, headers=headers)


async def _all(city: CityContext, wanted: CellsRequest) -> AsyncGenerator[AggregatedCells, None]:
    left = wanted.limit
    async with streaming(city) as connection, aclosing(counted(connection, wanted.question)) as read:
        async for part in read:
            yield part.first(left)
            left -= len(part)
            if left <= 0:
                return


@router.get(
    "/collections/{layer}/cells/tiles/{grid}/{matrix}/{row}/{column}",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "A Mapbox Vector Tile"},
        304: {"description": "The tile that you have is the right one"},
    },
    summary="One vector tile of a layer's cells",
    openapi_extra={"parameters": [p.openapi() for p in TILE_PARAMETERS]},
)
@reads_parameters
async def cell_tile(
    request: Request, layer: LayerId, grid: GridId, matrix: Matrix, row: Row, column: Column
) -> Response:
    """Give the cells in a tile as hexagons, in one MVT layer `<layer>:cells`, with the same numbers as the table."""
    city = city_context(request)
    wanted = await understand_tile(request, layer, grid, matrix, row, column)
    # What is counted stands in the name of the grid: a layer has several tiles at one place.
    name = f"{wanted.grid.id}/cells/{wanted.question.resolution}/{wanted.narrowed}/{wanted.chosen.key}"
    chosen = (wanted.chosen,)
    tag = etag(chosen, name, matrix, column, row)
    headers = {"Cache-Control": caching(chosen), "ETag": tag, "Vary": VARY}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    encoding = encodings.chosen(request.headers.get("accept-encoding", ""))

    async def make() -> CachedTile:
        async with city.connection(asking=True) as connection:
            return await make_tile(
                connection, wanted.chosen.layer.id, wanted.question, wanted.grid, matrix, column, row, encoding
            )

    key = (wanted.chosen.version.key,), name, matrix, column, row
    tile, body = await city.tiles.fetch(key, encoding, make)
    return Response(body, media_type=MEDIA_TYPE, headers=headers | about(tile, encoding))

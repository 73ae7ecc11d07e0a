"""OGC API — Tiles: the tile matrix sets, and each layer's vector tiles in every one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from layers.contracts import theme_of
from layers.theme import GeometryKind
from tiles.features.items import LayerId
from tiles.features.selection import VARY, keeping, permit_of_request
from tiles.http.openapi import reads_parameters
from tiles.http.principal import City, Lang, city_context, language_of
from tiles.http.selection import is_known
from tiles.ogc import parameters as request_parameters
from tiles.ogc.formats import JSON, MVT, negotiate
from tiles.ogc.links import RELATION, Link, base_of, link, path, with_query
from tiles.ogc.schemas import LINKS, Schema, content
from tiles.vector.filters import read_where
from tiles.vector.mvt import MAX_DATA_ZOOM
from tiles.vector.routes import MEDIA_TYPE, answer, first_zoom
from tiles.vector.tile_matrix_sets import Grid, check_tile, find_grid, grids_of
from twin.access.permit import Permit
from twin.query.reference import CRS84
from twin.text import Language, Text

_TILES = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/"
CONFORMS = (
    *(_TILES + name for name in ("core", "tileset", "tilesets-list", "geodata-tilesets", "mvt", "json")),
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/tilesetmetadata",
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixsetlimits",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilesetmetadata",
)
DIMENSION: dict[GeometryKind, int] = {"point": 0, "line": 1, "polygon": 2}
TILE = (
    request_parameters.format_parameter([MVT]),
    request_parameters.LANG,
    request_parameters.VERSION,
    request_parameters.AS_OF,
    request_parameters.AT,
    *request_parameters.FILTER,
)
TILESET = (
    request_parameters.format_parameter([JSON]),
    request_parameters.LANG,
    request_parameters.VERSION,
    request_parameters.AS_OF,
    request_parameters.AT,
)
TILE_NAMES, TILESET_NAMES = (frozenset(p.name for p in parameters) for parameters in (TILE, TILESET))
PLAIN = (request_parameters.format_parameter([JSON]).openapi(),)

MATRIX_SETS: Schema = {
    "type": "object", "required": ["tileMatrixSets"],
    "properties": {"tileMatrixSets": {"type": "array", "items": {
        "type": "object", "required": ["id", "links"], "properties": {"id": {"type": "string"}, "links": LINKS}}}},
}  # fmt: skip
MATRIX_SET: Schema = {
    "type": "object", "required": ["id", "crs", "tileMatrices"],
    "properties": {"id": {"type": "string"}, "tileMatrices": {"type": "array", "items": {"type": "object"}}},
}  # fmt: skip
ONE_TILESET: Schema = {
    "type": "object", "required": ["dataType", "crs", "links"],
    "properties": {
        "title": {"type": "string"}, "dataType": {"const": "vector"}, "crs": {"type": "string"}, "links": LINKS,
        "tileMatrixSetId": {"type": "string"}, "tileMatrixSetURI": {"type": "string"},
        "tileMatrixSetLimits": {"type": "array", "items": {"type": "object"}},
    },
}  # fmt: skip
TILESETS: Schema = {
    "type": "object",
    "required": ["tilesets", "links"],
    "properties": {"tilesets": {"type": "array", "items": ONE_TILESET}, "links": LINKS},
}

GridId = Annotated[
    str, Path(description="Id of a tile matrix set; see /tileMatrixSets.", json_schema_extra={"format": "grid"})
]
Matrix = Annotated[int, Path(description="Tile matrix (zoom).", json_schema_extra={"minimum": 0, "maximum": 22})]
Row = Annotated[int, Path(description="Row, counted from the top.", json_schema_extra={"minimum": 0})]
Column = Annotated[int, Path(description="Column, counted from the left.", json_schema_extra={"minimum": 0})]

router = APIRouter(tags=["tiles"])


# Tile matrix sets ----------------------------------------------------------------------------------


@router.get(
    "/tileMatrixSets", summary="How the plane is divided into tiles", responses=content(MATRIX_SETS, [JSON]),
    openapi_extra={"parameters": list(PLAIN)},
)  # fmt: skip
async def matrix_sets(request: Request, city: City, lang: Lang) -> Response:
    """List the tile matrix sets: the web's, and those in the city's own reference systems."""
    negotiate(request, [JSON])
    base = base_of(request)
    listed = [
        {
            "id": grid.id, "title": grid.title.in_language(lang), "uri": grid.uri, "crs": grid.crs,
            "links": [link(path(base, "tileMatrixSets", grid.id), "self", JSON.media_type, grid.title, lang)],
        }
        for grid in grids_of(city.settings.profile).values()
    ]  # fmt: skip
    return _json({"tileMatrixSets": listed}, lang)


@router.get(
    "/tileMatrixSets/{grid}", summary="One tile matrix set", responses=content(MATRIX_SET, [JSON]),
    openapi_extra={"parameters": list(PLAIN)},
)  # fmt: skip
async def matrix_set(request: Request, city: City, lang: Lang, grid: GridId) -> Response:
    """Describe a tile matrix set as OGC's standard writes it."""
    negotiate(request, [JSON])
    found = find_grid(grid, city.settings.profile)
    document = found.document().model_dump(mode="json", exclude_none=True)
    return _json(document | {"title": found.title.in_language(lang), "crs": found.crs, "uri": found.uri}, lang)


def _json(document: Any, language: Language) -> Response:
    headers = {"Cache-Control": "public, max-age=300", "Vary": VARY, "Content-Language": language}
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=headers)


# Tilesets ------------------------------------------------------------------------------------------


@router.get(
    "/collections/{layer}/tiles", summary="A layer's sets of vector tiles", responses=content(TILESETS, [JSON]),
    openapi_extra={"parameters": [p.openapi() for p in TILESET]},
)  # fmt: skip
@reads_parameters
async def tilesets(request: Request, layer: LayerId) -> Response:
    """List a layer's tilesets, one in each tile matrix set."""
    chosen, language = await _described(request, layer), language_of(request)
    headers = keeping(request, chosen, JSON.name, language) | {"Content-Language": language}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    address = path(base_of(request), "collections", chosen.layer.id, "tiles")
    grids = grids_of(city_context(request).settings.profile).values()
    document = {
        "tilesets": [_tileset(request, chosen, grid, language, whole=False) for grid in grids],
        "links": [link(with_query(address, dict(request.query_params)), "self", JSON.media_type, HERE, language)],
    }
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=headers)


@router.get(
    "/collections/{layer}/tiles/{grid}", summary="One set of vector tiles",
    responses=content(ONE_TILESET, [JSON]), openapi_extra={"parameters": [p.openapi() for p in TILESET]},
)  # fmt: skip
@reads_parameters
async def tileset(request: Request, layer: LayerId, grid: GridId) -> Response:
    """Describe a tileset: where its tiles are, in which matrices and rows, and what they hold."""
    chosen, language = await _described(request, layer), language_of(request)
    found = find_grid(grid, city_context(request).settings.profile)
    headers = keeping(request, chosen, JSON.name, language) | {"Content-Language": language}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    document = _tileset(request, chosen, found, language, whole=True)
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=headers)


async def _described(request: Request, layer: str) -> Permit:
    """Return the permit that a request for a description of tiles means."""
    chosen = await permit_of_request(request, layer, TILESET_NAMES)
    negotiate(request, [JSON])
    return chosen


async def permit_for_tile(request: Request, layer: str, known: Collection[str]) -> Permit:
    """Return the permit that a request for a tile means; refuse parameters that are not `known`."""
    chosen = await permit_of_request(request, layer, known)
    # Programs that draw maps say little of what they take, and there is but one format of tiles.
    if "f" in request.query_params:
        negotiate(request, [MVT])
    return chosen


HERE = Text(en="This document", vi="Tài liệu này")


def _tileset(request: Request, chosen: Permit, grid: Grid, language: Language, *, whole: bool) -> dict[str, Any]:
    layer, version, bounds = chosen.layer, chosen.version, chosen.bounds
    address = path(base_of(request), "collections", layer.id, "tiles", grid.id)
    # A tile of a version that is named may be kept for ever.
    number = {"version": str(version.number)}
    links: list[Link] = [
        link(with_query(address, dict(request.query_params)), "self", JSON.media_type, HERE, language),
        link(path(base_of(request), "tileMatrixSets", grid.id), f"{RELATION}tiling-scheme", JSON.media_type,
             grid.title, language),
        link(path(base_of(request), "collections", layer.id), f"{RELATION}geodata", JSON.media_type, layer.title,
             language),
        link(with_query(f"{address}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}", number), "item", MEDIA_TYPE,
             Text(en="Tiles", vi="Các ô bản đồ"), language) | {"templated": True},
    ]  # fmt: skip
    document: dict[str, Any] = {
        "title": f"{layer.title.in_language(language)} — {grid.title.in_language(language)}",
        "dataType": "vector",
        "crs": grid.crs,
        "tileMatrixSetId": grid.id,
        "tileMatrixSetURI": grid.uri,
        "links": links,
    }
    if not whole:
        return document
    of = theme_of(layer)
    schema = path(base_of(request), "collections", layer.id, "schema")
    first, last = _matrices(chosen, grid)
    document["layers"] = [
        {
            "id": layer.id, "title": layer.title.in_language(language), "dataType": "vector",
            "geometryDimension": DIMENSION[of.geometry], "minTileMatrix": str(first), "maxTileMatrix": str(last),
            "links": [link(with_query(schema, number), "describedby", "application/schema+json",
                           Text(en="Schema", vi="Lược đồ"), language)],
        }
    ]  # fmt: skip
    if layer.attribution:
        document["attribution"] = layer.attribution
    if layer.licence:
        document["license"] = layer.licence
    if bounds:
        west, south, east, north = bounds
        document["boundingBox"] = {"lowerLeft": [west, south], "upperRight": [east, north], "crs": CRS84}
        document["tileMatrixSetLimits"] = list(_limits(grid, bounds, first, last))
    return document


def _matrices(chosen: Permit, grid: Grid) -> tuple[int, int]:
    """Return the first and the last matrix that a client needs: beyond, it enlarges what it has."""
    first = max(0, first_zoom(chosen) - grid.shift)
    return first, max(first, min(grid.last, MAX_DATA_ZOOM - grid.shift))


def _limits(grid: Grid, bounds: Sequence[float], first: int, last: int) -> Any:
    """Yield the rows and columns in which there is anything, matrix by matrix."""
    sets = grid.document()
    west, south, east, north = bounds
    for matrix in range(first, last + 1):
        # A box in degrees is no box in another plane: the outermost of its corners count.
        corners = [sets.tile(x, y, matrix) for x in (west, east) for y in (south, north)]
        columns, rows = [c.x for c in corners], [c.y for c in corners]
        yield {
            "tileMatrix": str(matrix),
            "minTileRow": max(0, min(rows)), "maxTileRow": min(2**matrix - 1, max(rows)),
            "minTileCol": max(0, min(columns)), "maxTileCol": min(2**matrix - 1, max(columns)),
        }  # fmt: skip


# Tiles ---------------------------------------------------------------------------------------------


@router.get(
    "/collections/{layer}/tiles/{grid}/{matrix}/{row}/{column}",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "A Mapbox Vector Tile"},
        304: {"description": "The tile that you have is the right one"},
    },
    openapi_extra={"parameters": [p.openapi() for p in TILE]},
    summary="One vector tile of a layer",
)
@reads_parameters
async def tile(request: Request, layer: LayerId, grid: GridId, matrix: Matrix, row: Row, column: Column) -> Response:
    """Give a tile, row before column. What it holds is the same as at /tiles, whose address is the short one."""
    chosen, city = await permit_for_tile(request, layer, TILE_NAMES), city_context(request)
    found = find_grid(grid, city.settings.profile)
    check_tile(found, matrix, column, row)
    where = await read_where(request, city, (chosen,), found)
    return await answer(city, request, (chosen,), matrix, column, row, found, where)

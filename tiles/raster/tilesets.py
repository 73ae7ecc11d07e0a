"""The tilesets of a raster as OGC API — Tiles describes them, and the links that lead to all that a raster offers."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.selection import caching
from tiles.ogc.formats import JSON, Format, negotiate
from tiles.ogc.links import RELATION, Link, base_of, link, path
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import LINKS, Schema, content
from tiles.raster.image import HALF, RasterStyle, mercator
from tiles.raster.routes import PICTURES, VARY, LayerName, describe, only_raster, shows_pixels, zooms
from tiles.vector.tile_matrix_sets import WEB_MERCATOR
from twin.access.permit import Permit
from twin.query.reference import CRS84
from twin.text import Language, Text

TILEJSON = Format("tilejson", "application/vnd.mapbox.tile+json", "TileJSON")
DESCRIPTIONS = (JSON, TILEJSON)

CONFORMS = (
    "http://www.opengis.net/spec/ogcapi-maps-1/1.0/conf/tilesets",
)  # fmt: skip

TILESET: Schema = {
    "type": "object",
    "required": ["dataType", "crs", "links"],
    "properties": {
        "title": {"type": "string"}, "dataType": {"enum": ["map"]}, "crs": {"type": "string"},
        "tileMatrixSetURI": {"type": "string"}, "boundingBox": {"type": "object"},
        "tileMatrixSetLimits": {"type": "array", "items": {"type": "object"}}, "links": LINKS,
    },
}  # fmt: skip
TILESETS: Schema = {
    "type": "object",
    "required": ["tilesets"],
    "properties": {"tilesets": {"type": "array", "items": TILESET}, "links": LINKS},
}

router = APIRouter(tags=["raster tiles"])


@router.get(
    "/collections/{layer}/map/tiles", summary="The tilesets of a raster", responses=content(TILESETS, (JSON,)),
    response_class=Response, openapi_extra={"parameters": [format_parameter((JSON,)).openapi()]},
)  # fmt: skip
async def tilesets(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, layer: LayerName) -> Response:
    """List the tilesets: there is one, in the grid of the web."""
    one = only_raster(layer, city, principal)
    negotiate(request, (JSON,))
    base = base_of(request)
    address = path(base, "collections", layer, "map", "tiles")
    document = {
        "tilesets": [_brief(one, base, layer, lang)],
        "links": [link(address, "self", JSON.media_type, Text(en="This document", vi="Tài liệu này"), lang)],
    }
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(one, lang))


@router.get(
    "/collections/{layer}/map/tiles/WebMercatorQuad", summary="The tileset of a raster",
    responses={
        **content(TILESET, (JSON,)),
        200: {
            "description": "The document",
            "content": {JSON.media_type: {"schema": TILESET}, TILEJSON.media_type: {"schema": {"type": "object"}}},
        },
    },
    response_class=Response, openapi_extra={"parameters": [format_parameter(DESCRIPTIONS).openapi()]},
)  # fmt: skip
async def tileset(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, layer: LayerName) -> Response:
    """Describe the tileset: where it has tiles, at which zooms, at which address; or as TileJSON."""
    one = only_raster(layer, city, principal)
    base = base_of(request)
    if negotiate(request, DESCRIPTIONS) is TILEJSON:
        document = await describe(city, one, RasterStyle(), base, lang)
        return Response(orjson.dumps(document), media_type=TILEJSON.media_type, headers=_headers(one, lang))
    first, last = await city.rasters.run(one, zooms)
    box = (one.version.raster or {}).get("outline") or one.bounds
    document = _brief(one, base, layer, lang)
    if box:
        document["boundingBox"] = {"lowerLeft": [box[0], box[1]], "upperRight": [box[2], box[3]], "crs": CRS84}
        document["tileMatrixSetLimits"] = [_limits(box, zoom) for zoom in range(first, last + 1)]
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(one, lang))


def _headers(one: Permit, language: Language) -> dict[str, str]:
    return {
        "Cache-Control": caching((one,)), "Vary": f"{VARY}, Accept, Accept-Language", "Content-Language": language,
    }  # fmt: skip


def _brief(one: Permit, base: str, name: str, language: Language) -> dict[str, Any]:
    own = path(base, "collections", name, "map", "tiles", WEB_MERCATOR.id)
    template = f"{own}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}"
    grid = Text(en="The grid of tiles", vi="Lưới ô bản đồ")
    return {
        "title": one.layer.title.in_language(language),
        "dataType": "map",
        "crs": WEB_MERCATOR.crs,
        "tileMatrixSetURI": WEB_MERCATOR.uri,
        "links": [
            link(own, "self", JSON.media_type, "WebMercatorQuad", language),
            link(f"{own}?f=tilejson", "alternate", TILEJSON.media_type, "TileJSON", language),
            link(WEB_MERCATOR.uri, f"{RELATION}tiling-scheme", JSON.media_type, grid, language),
            *(link(f"{template}?f={p.name}", "item", p.media_type, p.title, language) | {"templated": True}
              for p in PICTURES),
        ],
    }  # fmt: skip


def _limits(box: tuple[float, float, float, float], zoom: int) -> dict[str, Any]:
    """Return the rows and columns of a zoom that a box in degrees touches."""
    (left, top), (right, bottom) = mercator(box[0], box[3]), mercator(box[2], box[1])
    count = int(2**zoom)

    def place(metres: float) -> int:
        return max(0, min(count - 1, int((metres + HALF) / (2 * HALF) * count)))

    return {
        "tileMatrix": str(zoom), "minTileRow": place(-top), "maxTileRow": place(-bottom),
        "minTileCol": place(left), "maxTileCol": place(right),
    }  # fmt: skip


def raster_links(request: Request, permit: Permit, language: Language) -> list[Link]:
    """Return the links of a raster's collection: tiles, legend, values at points."""
    if not shows_pixels(permit):
        return []
    base = base_of(request)
    own = path(base, "collections", permit.layer.id)
    wkt = "POINT(106.7 10.77)" if (b := permit.bounds) is None else (
        f"POINT({(b[0] + b[2]) / 2:.5f} {(b[1] + b[3]) / 2:.5f})"
    )  # fmt: skip
    return [
        link(f"{own}/map/tiles", f"{RELATION}tilesets-map", JSON.media_type,
             Text(en="Raster tiles", vi="Ô bản đồ raster"), language),
        link(path(base, "tiles", permit.layer.id, "raster.json"), "tiles", JSON.media_type,
             Text(en="TileJSON of the raster tiles", vi="TileJSON của ô bản đồ raster"), language),
        link(f"{own}/map/legend", f"{RELATION}legend", JSON.media_type, Text(en="Legend", vi="Chú giải"), language),
        link(f"{own}/position?coords={wkt.replace(' ', '%20')}", "data", "application/geo+json",
             Text(en="Values at a point", vi="Giá trị tại một điểm"), language),
    ]  # fmt: skip

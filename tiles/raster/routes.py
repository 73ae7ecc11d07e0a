"""Rasters as tiles: pictures in the theme's colours, heights as Terrain-RGB, and their TileJSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from layers.contracts import theme_of
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.selection import caching, etag, is_known
from tiles.http.server import CityContext
from tiles.ogc.formats import Format, negotiate
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import BINARY, content
from tiles.raster.files import OpenRaster
from tiles.raster.image import HALF, SIDE, Form, RasterStyle, Style, draw, empty, is_outside
from tiles.vector.routes import MAX_ZOOM, Index, Zoom, check_tile
from tiles.vector.tile_cache import CachedTile, Key
from tiles.vector.tile_matrix_sets import WEB_MERCATOR
from twin.access.permit import Permit, permits_of
from twin.access.principals import Principal
from twin.errors import BadInput, NotFound
from twin.text import Language, Text

PNG = Format("png", "image/png", "PNG", "png")
WEBP = Format("webp", "image/webp", "WebP", "webp")
PICTURES = (PNG, WEBP)
VARY = "Authorization, X-API-Key"

CONFORMS = ("http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/png",)

router = APIRouter(tags=["raster tiles"])

LayerName = Annotated[
    str, Path(description="A raster: `agency.layer` or `agency.layer@version`.", max_length=80)
]  # fmt: skip
StyleName = Annotated[
    Style,
    Query(description="`default`: the theme's colours. `terrain-rgb`: heights in Mapbox's Terrain-RGB, for elevation."),
]
Scale = Annotated[int, Query(description="2 gives 512 pixels instead of 256.", ge=1, le=2)]
Picture = Annotated[Form, Query(description="Form of the tiles that the document names.")]


def only_raster(layer: str, city: CityContext, principal: Principal, style: Style = "default") -> Permit:
    """Return the raster that a name means; any other layer has no such tiles."""
    return only_one(permits_of(principal, city.layers, layer), style)


def only_one(chosen: Sequence[Permit], style: Style = "default") -> Permit:
    """Return the raster among what was chosen, which must be nothing else."""
    if len(chosen) != 1:
        raise BadInput(Text(en="Name one raster at a time.", vi="Mỗi lần chỉ nêu một lớp raster."))
    return check_raster(chosen[0], style)


def shows_pixels(one: Permit) -> bool:
    """Whether there are pixels to be shown: they tell the value of the raster's column at a place finer than a cell."""
    of, raster = theme_of(one.layer), one.version.raster
    if of.raster is None or raster is None or "path" not in raster:
        return False
    return one.shows(of.raster.field) and one.resolution == one.version.resolution and one.least_count <= 1


def check_raster(one: Permit, style: Style = "default") -> Permit:
    """Refuse a layer that is no raster or whose pixels may not be shown, and a style that its theme does not have."""
    of = theme_of(one.layer)
    if not shows_pixels(one) or of.raster is None:
        raise NotFound(
            Text(
                en="“{id}” is not a raster: it has no pixels. Its features are at /collections/{id}/items, its vector "
                "tiles at /tiles/{id}/{{z}}/{{x}}/{{y}}.mvt.",
                vi="Lớp “{id}” không phải raster nên không có điểm ảnh. Đối tượng của lớp ở /collections/{id}/items, "
                "ô bản đồ vector ở /tiles/{id}/{{z}}/{{x}}/{{y}}.mvt.",
            ).format(id=one.layer.id)
        )
    if style == "terrain-rgb" and not of.raster.terrain:
        raise BadInput(
            Text(
                en="style: “terrain-rgb” is for heights of the ground, and “{id}” has none. Known: default.",
                vi="style: “terrain-rgb” chỉ dành cho độ cao mặt đất, lớp “{id}” không có. Có: default.",
            ).format(id=one.layer.id)
        )
    return one


def key_of(one: Permit, z: int, x: int, y: int, look: RasterStyle) -> Key:
    """Return the tile's name in the cache, which is that of the vector tiles."""
    return (one.version.key,), f"{WEB_MERCATOR.id}/{look}/{one.key}", z, x, y


def headers_of(one: Permit, z: int, x: int, y: int, look: RasterStyle) -> dict[str, str]:
    """Return the headers of a tile, whether or not it is sent."""
    return {"Cache-Control": caching((one,)), "ETag": etag((one,), WEB_MERCATOR.id, look, z, x, y), "Vary": VARY}


async def fetch(city: CityContext, one: Permit, z: int, x: int, y: int, look: RasterStyle) -> tuple[CachedTile, bytes]:
    """Give a tile from memory, or make it. Pictures are compressed as they are: they have one encoding."""

    async def make() -> CachedTile:
        raster = one.version.raster or {}
        if is_outside(raster.get("outline"), z, x, y):
            return CachedTile((), {"identity": empty(one, look)})

        def work(opened: OpenRaster) -> bytes:
            return draw(opened, one, z, x, y, look)

        return CachedTile((), {"identity": await city.rasters.run(one, work)})

    return await city.tiles.fetch(key_of(one, z, x, y, look), "identity", make)


async def _answer(
    request: Request, city: CityContext, principal: Principal, layer: str, place: tuple[int, int, int],
    look: RasterStyle, vary: str = VARY,
) -> Response:  # fmt: skip
    check_tile(*place)
    one = only_raster(layer, city, principal, look.style)
    headers = headers_of(one, *place, look) | {"Vary": vary}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    _, body = await fetch(city, one, *place, look)
    return Response(body, media_type=look.media_type, headers=headers)


def route_of(look: RasterStyle) -> str:
    """Return the short address of tiles that look so."""
    return f"/tiles/{{layer}}/{{z}}/{{x}}/{{y}}{'' if look.scale == 1 else '@2x'}.{look.form}"


def _add(form: Form, scale: int) -> None:
    async def tile(
        city: City, principal: CurrentPrincipal, request: Request, layer: LayerName, z: Zoom, x: Index, y: Index,
        style: StyleName = "default",
    ) -> Response:  # fmt: skip
        """Give a tile of a raster; transparent where it has nothing."""
        return await _answer(request, city, principal, layer, (z, x, y), RasterStyle(style, form, scale))

    tile.__name__ = f"raster_tile_{form}_{scale}"
    pictures = PNG if form == "png" else WEBP
    answers = content(BINARY, (pictures,))
    router.add_api_route(
        route_of(RasterStyle("default", form, scale)), tile, methods=["GET"], response_class=Response,
        responses={status: about for status, about in answers.items() if status != 406},
        summary=f"One raster tile, {form.upper()}, {256 * scale} pixels",
    )  # fmt: skip


# The longer ending first: the shorter one would take it for a part of the row.
for _scale in (2, 1):
    for _form in ("png", "webp"):
        _add(_form, _scale)


@router.get(
    "/collections/{layer}/map/tiles/WebMercatorQuad/{z}/{y}/{x}",
    response_class=Response,
    responses=content(BINARY, PICTURES),
    summary="One raster tile, as OGC API — Tiles has it",
    openapi_extra={"parameters": [format_parameter(PICTURES).openapi()]},
)
async def map_tile(
    city: City, principal: CurrentPrincipal, request: Request, layer: LayerName, z: Zoom, y: Index, x: Index,
    style: StyleName = "default", scale: Scale = 1,
) -> Response:  # fmt: skip
    """Give a tile of a raster; `f` or the header Accept chooses its form."""
    form: Form = "webp" if negotiate(request, PICTURES) is WEBP else "png"
    return await _answer(request, city, principal, layer, (z, x, y), RasterStyle(style, form, scale), f"{VARY}, Accept")


@router.get("/tiles/{layer}/raster.json", summary="TileJSON 3.0 of a raster")
async def tilejson(
    city: City, principal: CurrentPrincipal, lang: Lang, request: Request, response: Response, layer: LayerName,
    style: StyleName = "default", image: Picture = "png", scale: Scale = 1,
) -> dict[str, Any]:  # fmt: skip
    """Describe a raster's tiles for MapLibre and others; their address names the version, so they never change."""
    one = only_raster(layer, city, principal, style)
    response.headers["Cache-Control"] = caching((one,))
    response.headers["Vary"] = f"{VARY}, Accept-Language"
    base = str(request.base_url).rstrip("/")
    return await describe(city, one, RasterStyle(style, image, scale), base, lang)


async def describe(city: CityContext, one: Permit, look: RasterStyle, base: str, language: Language) -> dict[str, Any]:
    """Build the TileJSON document; its zooms are those that the file has pixels and overviews for."""
    first, last = await city.rasters.run(one, zooms)
    raster, layer = one.version.raster or {}, one.layer
    suffix = "" if look.scale == 1 else "@2x"
    query = "" if look.style == "default" else f"?style={look.style}"
    mark = Text(en="Sample data. ", vi="Dữ liệu mẫu. ").in_language(language) if layer.sample else ""
    document: dict[str, Any] = {
        "tilejson": "3.0.0",
        "name": layer.title.in_language(language),
        "description": mark + layer.description.in_language(language),
        "attribution": layer.attribution,
        "version": "1.0.0",
        "scheme": "xyz",
        "tiles": [f"{base}/tiles/{one.name}/{{z}}/{{x}}/{{y}}{suffix}.{look.form}{query}"],
        "tileSize": 256,
        "minzoom": first,
        "maxzoom": last,
    }
    if look.style == "terrain-rgb":
        document["encoding"] = "mapbox"
    if bounds := raster.get("outline") or one.bounds:
        document["bounds"] = list(bounds)
        document["center"] = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, (first + last) // 2]
    return document


def zooms(opened: OpenRaster) -> tuple[int, int]:
    """From the zoom that shows the whole raster in one tile to the first whose pixels are as small as the raster's."""
    largest = max(opened.data.width, opened.data.height)
    last = math.log2(2 * HALF / SIDE / opened.pixel)
    first = math.floor(last - math.log2(max(1, largest / SIDE)))
    # A zoom is not begun for a few percent.
    return max(0, min(MAX_ZOOM, first)), max(0, min(MAX_ZOOM, math.ceil(last - 0.1)))

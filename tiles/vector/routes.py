"""Vector tiles over HTTP: tiles of one layer or several, and their TileJSON."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from layers.contracts import theme_of
from tiles.http import content_encoding as encodings
from tiles.http.content_encoding import Encoding
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.selection import caching, etag, is_known
from tiles.http.server import CityContext
from tiles.ogc.formats import MVT
from tiles.ogc.parameters import FILTER
from tiles.vector.filters import read_where
from tiles.vector.mvt import EVERYTHING, MAX_DATA_ZOOM, ROLLUP_MIN_ZOOM, FeatureCondition, make_tile
from tiles.vector.tile_cache import CachedTile, Key
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Grid
from twin.access.permit import Permit, permits_of, same_key
from twin.catalogue.catalogue import Bounds
from twin.errors import BadInput, NotFound
from twin.text import Language, Text

MAX_ZOOM = WEB_MERCATOR.last
MEDIA_TYPE = MVT.media_type
VARY = "Accept-Encoding, Authorization, X-API-Key"

router = APIRouter(tags=["tiles"])


def check_tile(z: int, x: int, y: int) -> None:
    """Refuse a zoom that is not offered, and say that a tile is not there if the grid does not have it."""
    if not WEB_MERCATOR.has(z, x, y):
        kind = NotFound if 0 <= z <= MAX_ZOOM and min(x, y) >= 0 and max(x, y) < 2**MAX_ZOOM else BadInput
        raise kind(
            Text(
                en="There is no tile {z}/{x}/{y}: z goes from 0 to {max}, x and y from 0 to 2^z − 1.",
                vi="Không có ô {z}/{x}/{y}: z từ 0 đến {max}, x và y từ 0 đến 2^z − 1.",
            ).format(z=z, x=x, y=y, max=MAX_ZOOM)
        )


def headers_of(
    chosen: Sequence[Permit], z: int, x: int, y: int, grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING
) -> dict[str, str]:
    """Return the headers of a tile, whether or not it is sent."""
    return {"Cache-Control": caching(chosen), "ETag": etag(chosen, grid.id, where.name, z, x, y), "Vary": VARY}


def key_of(
    chosen: Sequence[Permit], z: int, x: int, y: int, grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING
) -> Key:
    """Return the tile's name in the cache."""
    return tuple(c.version.key for c in chosen), f"{grid.id}/{where.name}/{same_key(chosen)}", z, x, y


def about(tile: CachedTile, encoding: Encoding) -> dict[str, str]:
    """Return the headers of a tile that is sent."""
    headers = {} if encoding == "identity" else {"Content-Encoding": encoding}
    return headers | ({"X-Tile-Cut": ",".join(tile.cut)} if tile.cut else {})


async def fetch(
    city: CityContext, chosen: Sequence[Permit], z: int, x: int, y: int, encoding: Encoding,
    grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING, key: Key | None = None,
) -> tuple[CachedTile, bytes]:  # fmt: skip
    """Give a tile from memory, or make it; `key` is its name there, if it is known."""

    def make() -> Awaitable[CachedTile]:
        return city.maker.make(chosen, (z, x, y), encoding, grid)

    async def make_of_some() -> CachedTile:
        async with city.connection(asking=True) as connection:
            return await make_tile(connection, chosen, z, x, y, encoding, grid, where)

    key = key or key_of(chosen, z, x, y, grid, where)
    return await city.tiles.fetch(key, encoding, make if where is EVERYTHING else make_of_some)


async def answer(
    city: CityContext, request: Request, chosen: Sequence[Permit], z: int, x: int, y: int,
    grid: Grid = WEB_MERCATOR, where: FeatureCondition = EVERYTHING,
) -> Response:  # fmt: skip
    """Answer a request for a tile; one that the client has already is a 304."""
    headers = headers_of(chosen, z, x, y, grid, where)
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    encoding = encodings.chosen(request.headers.get("accept-encoding", ""))
    found, body = await fetch(city, chosen, z, x, y, encoding, grid, where)
    return Response(body, media_type=MEDIA_TYPE, headers=headers | about(found, encoding))


Layers = Annotated[
    str, Path(description="`agency.layer` or `agency.layer@version`; several with commas.", max_length=2000)
]
Zoom = Annotated[int, Path(description="Zoom, 0 to 22.", json_schema_extra={"minimum": 0, "maximum": MAX_ZOOM})]
Index = Annotated[
    int,
    Path(
        description="Column or row in the XYZ grid of WebMercatorQuad, less than 2^z.",
        json_schema_extra={"minimum": 0, "maximum": 2**MAX_ZOOM - 1},
    ),
]


@router.get(
    "/tiles/{layers}/{z}/{x}/{y}.mvt",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "A Mapbox Vector Tile"},
        304: {"description": "The tile that you have is the right one"},
    },
    openapi_extra={"parameters": [p.openapi() for p in FILTER]},
    summary="One vector tile",
)
async def tile(
    city: City, principal: CurrentPrincipal, request: Request, layers: Layers, z: Zoom, x: Index, y: Index
) -> Response:
    """Give a tile with one MVT layer per city layer, named by its id; labels of polygons come as `<id>:label`.

    A layer of which the tile leaves something out is followed by `<id>:cut`, and named by the header `X-Tile-Cut`.
    With a filter, which every layer must have the names for, it shows the features that meet it.
    """
    check_tile(z, x, y)
    chosen = permits_of(principal, city.layers, layers)
    return await answer(city, request, chosen, z, x, y, where=await read_where(request, city, chosen))


@router.get("/tiles/{layers}/tilejson.json", summary="TileJSON 3.0 of one layer or several")
async def tilejson(
    city: City, principal: CurrentPrincipal, lang: Lang, request: Request, response: Response, layers: Layers
) -> dict[str, Any]:
    """Describe tiles; their address names the versions, so they may be kept for ever."""
    chosen = permits_of(principal, city.layers, layers)
    response.headers["Cache-Control"] = caching(chosen)
    response.headers["Vary"] = "Authorization, X-API-Key, Accept-Language"
    base = str(request.base_url).rstrip("/")
    return describe(chosen, base, lang)


def describe(chosen: Sequence[Permit], base: str, language: Language) -> dict[str, Any]:
    """Build the TileJSON document."""
    names = ",".join(c.name for c in chosen)
    titles = [c.layer.title.in_language(language) for c in chosen]
    sample = any(c.layer.sample for c in chosen)
    mark = Text(en="Sample data. ", vi="Dữ liệu mẫu. ").in_language(language) if sample else ""
    document = {
        "tilejson": "3.0.0",
        "name": "; ".join(titles),
        "description": mark + "; ".join(c.layer.description.in_language(language) for c in chosen),
        "attribution": "; ".join(dict.fromkeys(c.layer.attribution for c in chosen if c.layer.attribution)),
        "version": "1.0.0",
        "scheme": "xyz",
        "tiles": [f"{base}/tiles/{names}/{{z}}/{{x}}/{{y}}.mvt"],
        "minzoom": min(first_zoom(c) for c in chosen),
        "maxzoom": MAX_DATA_ZOOM,
        "vector_layers": [described for c in chosen for described in _vector_layers(c, language)],
    }
    if bounds := _union([bounds for c in chosen if (bounds := c.bounds)]):
        document["bounds"] = list(bounds)
        document["center"] = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 12]
    return document


def first_zoom(c: Permit) -> int:
    """The first zoom at which a tile shows anything of a layer: its features or the cells that stand for them."""
    minzoom = theme_of(c.layer).minzoom
    return min(minzoom, ROLLUP_MIN_ZOOM) if c.rollup else minzoom


def _vector_layers(c: Permit, language: Language) -> list[dict[str, Any]]:
    of = theme_of(c.layer)
    titles = {name: str(of.by_name[name].title.in_language(language)) for name in of.by_name}
    title, shown = c.layer.title.in_language(language), {column.name for column in c.columns}
    described = [
        {
            "id": c.layer.id, "description": title, "minzoom": of.minzoom, "maxzoom": MAX_DATA_ZOOM,
            "fields": {name: titles[name] for name in of.tile_fields if name in shown},
        }
    ]  # fmt: skip
    if (rollup := c.rollup) and of.minzoom > ROLLUP_MIN_ZOOM:
        counted = {name: f"{titles.get(name, name)} ({rule})" for name, rule in rollup["columns"].items()}
        fields = {"cell": "H3", "features": FEATURES.in_language(language), "per_km2": PER_KM2.in_language(language)}
        described.append(
            {
                "id": f"{c.layer.id}:cells", "description": title, "minzoom": ROLLUP_MIN_ZOOM,
                "maxzoom": of.minzoom - 1, "fields": fields | counted,
            }
        )  # fmt: skip
    return described


FEATURES = Text(en="features", vi="số đối tượng")
PER_KM2 = Text(en="features per km²", vi="số đối tượng trên km²")


def _union(boxes: Sequence[Bounds]) -> Bounds | None:
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)

"""Vector tiles (MVT 2.1) of one layer or several, from versions that never change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.reader import City, Lang, Reader
from twin import __version__
from twin.access import Principal, find_readable
from twin.catalogue import Bounds, Layer, Version
from twin.db.tables import DATA_SCHEMA, Sharing
from twin.errors import BadInput, NotFound
from twin.text import Language, Text

EXTENT = 4096
# Wide enough that a wide line or a label's symbol at the edge is drawn whole.
BUFFER = 64
MAX_ZOOM = 22
# Beyond this zoom a client enlarges the tiles it has: they hold every vertex already.
MAX_DATA_ZOOM = 16
MAX_LAYERS = 40

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
FOR_EVER = 31_536_000
FOR_NOW = 60

router = APIRouter(tags=["tiles"])


@dataclass(frozen=True, slots=True)
class Chosen:
    """A layer of a tile request with the version that is meant."""

    layer: Layer
    version: Version
    pinned: bool

    @property
    def name(self) -> str:
        """The layer with its version, as an unchanging address names it."""
        return f"{self.layer.id}@{self.version.number}"


def choose(names: str, layers: dict[str, Layer], principal: Principal) -> tuple[Chosen, ...]:
    """Read `layer`, `layer@version` or several with commas; every one is asked of the sharing policy."""
    parts = names.split(",")
    if len(parts) > MAX_LAYERS or len(set(parts)) != len(parts):
        raise BadInput(
            Text(
                en="Name each layer once, at most {limit} of them.",
                vi="Mỗi lớp chỉ nêu một lần, tối đa {limit} lớp.",
            ).format(limit=MAX_LAYERS)
        )
    return tuple(_choose_one(part, layers, principal) for part in parts)


def _choose_one(name: str, layers: dict[str, Layer], principal: Principal) -> Chosen:
    layer_id, at, number = name.partition("@")
    layer = find_readable(principal, layers, layer_id)
    assert layer.current is not None  # noqa: S101  # find_readable saw to it
    if not at:
        return Chosen(layer, layer.current, pinned=False)
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise BadInput(
            Text(
                en="“{number}” is not a version's number. Example: {id}@3",
                vi="“{number}” không phải số phiên bản. Ví dụ: {id}@3",
            ).format(number=number[:20], id=layer_id)
        )
    version = layer.versions.get(int(number))
    if version is None:
        raise NotFound(
            Text(
                en="“{id}” has no version {number} any more. Kept versions: {kept}.",
                vi="Lớp “{id}” không còn phiên bản {number}. Các phiên bản còn giữ: {kept}.",
            ).format(id=layer_id, number=int(number), kept=", ".join(map(str, sorted(layer.versions))))
        )
    return Chosen(layer, version, pinned=True)


@lru_cache(maxsize=4096)
def _tile_sql(layer_id: str, table: str, of: Theme, columns: tuple[str, ...], zoom: int) -> str | None:
    """The SELECT that gives one layer's part of a tile ($1, $2, $3 = z, x, y), or None where it draws nothing.

    Every name in it comes from the catalogue, whose names are checked identifiers.
    """
    detail = of.detail(zoom)
    if detail is None:
        return None
    fields = [f'"{name}"' for name in of.tile_fields if name in columns]
    properties = "".join(f", {field}" for field in fields)
    important = f"AND importance >= {detail.importance:.17g}" if detail.importance else ""
    # Margin first, then the reprojection: the box is grown in the tile's own plane.
    box = "ST_Transform(ST_TileEnvelope($1, $2, $3, margin => {margin:.17g}), 4326)"
    part = (
        f"SELECT ST_AsMVT(tile, '{layer_id}', {EXTENT}, 'geom', 'fid') FROM ("
        f"SELECT fid{properties}, ST_AsMVTGeom(ST_Transform({_simplified(of, zoom)}, 3857), "
        f"ST_TileEnvelope($1, $2, $3), {EXTENT}, {BUFFER}) AS geom FROM ("
        f"SELECT fid{properties}, geom FROM {DATA_SCHEMA}.{table} "
        f"WHERE geom && {box.format(margin=BUFFER / EXTENT)} {important} "
        f"ORDER BY importance DESC, fid LIMIT {detail.limit}) AS chosen) AS tile WHERE geom IS NOT NULL"
    )
    if not (of.label and of.geometry == "polygon"):
        return f"({part})"
    # The label stands in the one tile that holds its point; no buffer, or neighbours would repeat it.
    label = (
        f"SELECT ST_AsMVT(tile, '{layer_id}:label', {EXTENT}, 'geom', 'fid') FROM ("
        f"SELECT fid{properties}, importance AS rank, "
        f"ST_AsMVTGeom(ST_Transform(label_point, 3857), ST_TileEnvelope($1, $2, $3), {EXTENT}, 0) AS geom "
        f"FROM {DATA_SCHEMA}.{table} WHERE label_point && {box.format(margin=0)} "
        f'AND "{of.label}" IS NOT NULL {important} '
        f"ORDER BY importance DESC, fid LIMIT {detail.limit}) AS tile WHERE geom IS NOT NULL"
    )
    return f"({part}) || ({label})"


def _simplified(of: Theme, zoom: int) -> str:
    """The geometry without vertices that fall within half a screen pixel of each other at this zoom."""
    if of.geometry == "point" or zoom >= MAX_DATA_ZOOM:
        return "geom"
    tolerance = 360.0 / 2**zoom / 1024
    return f"ST_Simplify(geom, {tolerance:.12g}, true)"


def tile_sql(chosen: Sequence[Chosen], zoom: int) -> str | None:
    """One statement for all layers of a tile: MVT layers are joined by putting their bytes one after another."""
    parts = [
        _tile_sql(c.layer.id, c.version.table, theme_of(c.layer), tuple(col.name for col in c.version.columns), zoom)
        for c in chosen
    ]
    present = [part for part in parts if part]
    return "SELECT " + " || ".join(present) if present else None


def check_tile(z: int, x: int, y: int) -> None:
    """Refuse a tile that the grid does not have."""
    if not (0 <= z <= MAX_ZOOM and 0 <= x < 2**z and 0 <= y < 2**z):
        raise BadInput(
            Text(
                en="There is no tile {z}/{x}/{y}: z goes from 0 to {max}, x and y from 0 to 2^z − 1.",
                vi="Không có ô {z}/{x}/{y}: z từ 0 đến {max}, x và y từ 0 đến 2^z − 1.",
            ).format(z=z, x=x, y=y, max=MAX_ZOOM)
        )


def _caching(chosen: Sequence[Chosen]) -> str:
    """How long an answer may be kept, and by whom: what is not open must not stay in a shared cache."""
    scope = "public" if all(c.layer.sharing is Sharing.OPEN for c in chosen) else "private"
    if all(c.pinned for c in chosen):
        return f"{scope}, max-age={FOR_EVER}, immutable"
    return f"{scope}, max-age={FOR_NOW}"


def _etag(chosen: Sequence[Chosen], *rest: object) -> str:
    """An answer is a pure function of the versions, the place and this program."""
    said = "/".join([__version__, *(f"{c.name}:{c.version.key}" for c in chosen), *map(str, rest)])
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:24]}"'


Layers = Annotated[
    str, Path(description="`agency.layer` or `agency.layer@version`; several with commas.", max_length=2000)
]
Zoom = Annotated[int, Path(description="Zoom, 0 to 22.")]
Index = Annotated[int, Path(description="Column or row in the XYZ grid of WebMercatorQuad.")]


@router.get(
    "/tiles/{layers}/{z}/{x}/{y}.mvt",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}, "description": "A Mapbox Vector Tile"}},
    summary="One vector tile",
)
async def tile(city: City, reader: Reader, request: Request, layers: Layers, z: Zoom, x: Index, y: Index) -> Response:
    """Give a tile with one MVT layer per city layer, named by its id; labels of polygons come as `<id>:label`."""
    check_tile(z, x, y)
    chosen = choose(layers, city.layers, reader)
    headers = {
        "Cache-Control": _caching(chosen),
        "ETag": _etag(chosen, z, x, y),
        "Vary": "Authorization, X-API-Key",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    sql = tile_sql(chosen, z)
    body = b""
    if sql is not None:
        async with city.connection() as connection:
            body = await connection.fetchval(sql, z, x, y)
    return Response(body, media_type=MEDIA_TYPE, headers=headers)


@router.get("/tiles/{layers}/tilejson.json", summary="TileJSON 3.0 of one layer or several")
async def tilejson(
    city: City, reader: Reader, lang: Lang, request: Request, response: Response, layers: Layers
) -> dict[str, Any]:
    """Describe tiles; their address names the versions, so they may be kept for ever."""
    chosen = choose(layers, city.layers, reader)
    response.headers["Cache-Control"] = _caching(chosen)
    response.headers["Vary"] = "Authorization, X-API-Key, Accept-Language"
    base = str(request.base_url).rstrip("/")
    return describe(chosen, base, lang)


def describe(chosen: Sequence[Chosen], base: str, language: Language) -> dict[str, Any]:
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
        "minzoom": min(theme_of(c.layer).minzoom for c in chosen),
        "maxzoom": MAX_DATA_ZOOM,
        "vector_layers": [_vector_layer(c, language) for c in chosen],
    }
    if bounds := _union([c.version.bounds for c in chosen if c.version.bounds]):
        document["bounds"] = list(bounds)
        document["center"] = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 12]
    return document


def _vector_layer(c: Chosen, language: Language) -> dict[str, Any]:
    of = theme_of(c.layer)
    fields = {name: str(of.by_name[name].title.in_language(language)) for name in of.tile_fields}
    return {
        "id": c.layer.id,
        "description": c.layer.title.in_language(language),
        "minzoom": of.minzoom,
        "maxzoom": MAX_DATA_ZOOM,
        "fields": fields,
    }


def _union(boxes: Sequence[Bounds]) -> Bounds | None:
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)

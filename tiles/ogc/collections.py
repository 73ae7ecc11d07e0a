"""The list of layers that a reader may see, with all that a map needs to draw them."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from layers.contracts import theme_of
from tiles.features.items import LayerId
from tiles.features.selection import VARY
from tiles.http.principal import City, Lang, Reader, city_state
from tiles.ogc import pages
from tiles.ogc.display import legend
from tiles.ogc.documents import collection_links
from tiles.ogc.formats import DOCUMENT, HTML, JSON, Format, negotiate
from tiles.ogc.links import base_of, self_and_alternates
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import LAYERS, ONE_LAYER, content
from tiles.raster.tilesets import raster_links
from tiles.vector.mvt import ROLLUP_MIN_ZOOM
from twin.access.policy import find_readable, readable
from twin.catalogue.catalogue import Layer, Version
from twin.query.queryables import moment_of
from twin.query.reference import CRS84, offered
from twin.text import Language

CONFORMS = ("http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",)
GREGORIAN = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"

router = APIRouter(tags=["collections"])


@router.get(
    "/collections", summary="All layers that the reader may see", responses=content(LAYERS, DOCUMENT),
    openapi_extra={"parameters": [format_parameter(DOCUMENT).openapi()]},
)  # fmt: skip
async def collections(request: Request, city: City, reader: Reader, lang: Lang) -> Response:
    """List the layers, each with its agency, theme, version, extent, licence, style, legend and links."""
    own = negotiate(request, DOCUMENT)
    address = f"{base_of(request)}/collections"
    document = {
        "links": self_and_alternates(address, {}, own, DOCUMENT, lang),
        "collections": [_linked(request, layer, lang) for layer in readable(reader, city.layers.values())],
    }
    if own is HTML:
        return pages.layers(request, document, lang, _headers(lang))
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(lang))


@router.get(
    "/collections/{layer}", summary="One layer", responses=content(ONE_LAYER, DOCUMENT),
    openapi_extra={"parameters": [format_parameter(DOCUMENT).openapi()]},
)  # fmt: skip
async def collection(request: Request, city: City, reader: Reader, lang: Lang, layer: LayerId) -> Response:
    """Describe one layer."""
    found = find_readable(reader, city.layers, layer)
    own = negotiate(request, DOCUMENT)
    document = _linked(request, found, lang, own)
    if own is HTML:
        return pages.layer(request, document, lang, _headers(lang))
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(lang))


def _headers(language: Language) -> dict[str, str]:
    return {"Cache-Control": "private, no-cache", "Vary": VARY, "Content-Language": language}


def _linked(request: Request, layer: Layer, language: Language, own: Format = JSON) -> dict[str, Any]:
    """A layer's description with what OGC API — Features says of it."""
    current = layer.current
    assert current is not None  # noqa: S101
    extent: dict[str, Any] = {}
    if current.bounds:
        extent["spatial"] = {"bbox": [list(current.bounds)], "crs": CRS84}
    if moment_of(current) is not None:
        # Open at both ends: the features say when they were, and nothing is scanned to tell the first and the last.
        extent["temporal"] = {"interval": [[None, None]], "trs": GREGORIAN}
    return {
        **describe(layer, language),
        "itemType": "feature",
        "extent": extent,
        "crs": list(offered(city_state(request).settings.profile)),
        "storageCrs": CRS84,
        "links": collection_links(request, layer.id, language, own) + raster_links(request, layer, language),
    }


def describe(layer: Layer, language: Language) -> dict[str, Any]:
    """What a client needs to know of a layer."""
    of, current = theme_of(layer), layer.current
    assert current is not None  # noqa: S101
    return {
        "id": layer.id,
        "title": layer.title.in_language(language),
        "titles": layer.title.as_dict(),
        "description": layer.description.in_language(language),
        "agency": {"name": layer.agency.name, "title": layer.agency.title.in_language(language)},
        "theme": of.name,
        "themeTitle": of.title.in_language(language),
        "geometry": of.geometry,
        "version": current.number,
        "versions": sorted(layer.versions),
        "published": current.published.isoformat().replace("+00:00", "Z"),
        "featureCount": current.features,
        "cellResolution": current.resolution,
        "bounds": list(current.bounds) if current.bounds else None,
        "raster": _raster(current),
        "licence": layer.licence,
        "attribution": layer.attribution,
        "sharing": layer.sharing.value,
        "updateFrequency": layer.update_frequency,
        "sample": layer.sample,
        "minzoom": of.minzoom,
        "rollup": _rollup(layer),
        "baseMap": of.base_map,
        "visible": of.visible if layer.visible is None else layer.visible,
        "style": dict(of.style),
        "legend": legend(of, language),
        "tiles": f"/tiles/{layer.id}@{current.number}/{{z}}/{{x}}/{{y}}.mvt",
        # Of a raster: pictures of 512 pixels, as deck.gl's tiles are.
        "pixels": f"/tiles/{layer.id}@{current.number}/{{z}}/{{x}}/{{y}}@2x.webp" if current.raster else None,
    }


def _raster(version: Version) -> dict[str, Any] | None:
    """What a raster's version says of its file, apart from where it lies."""
    return {k: v for k, v in version.raster.items() if k != "path"} if version.raster else None


def _rollup(layer: Layer) -> dict[str, Any] | None:
    """The coarser cells that stand for the features at the zooms before they are drawn."""
    current = layer.current
    if current is None or current.rollup is None:
        return None
    return {"minzoom": ROLLUP_MIN_ZOOM, "layer": f"{layer.id}:cells", **current.rollup}

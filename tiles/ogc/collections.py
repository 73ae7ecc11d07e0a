"""The list of layers that a reader may see, with all that a map needs to draw them."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from layers.contracts import theme_of
from tiles.features.items import LayerId
from tiles.features.selection import VARY
from tiles.http.principal import City, CurrentPrincipal, Lang, city_context
from tiles.ogc import pages
from tiles.ogc.display import legend, shown_style
from tiles.ogc.documents import collection_links
from tiles.ogc.formats import DOCUMENT, HTML, JSON, Format, negotiate
from tiles.ogc.links import base_of, self_and_alternates
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import LAYERS, ONE_LAYER, content
from tiles.raster.routes import shows_pixels
from tiles.raster.tilesets import raster_links
from tiles.vector.mvt import ROLLUP_MIN_ZOOM
from twin.access.permit import Permit, every_permit, permit_of
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
async def collections(request: Request, city: City, principal: CurrentPrincipal, lang: Lang) -> Response:
    """List the layers, each with its agency, theme, version, extent, licence, style, legend and links."""
    own = negotiate(request, DOCUMENT)
    address = f"{base_of(request)}/collections"
    document = {
        "links": self_and_alternates(address, {}, own, DOCUMENT, lang),
        "collections": [_linked(request, permit, lang) for permit in every_permit(principal, city.layers)],
    }
    if own is HTML:
        return pages.layers(request, document, lang, _headers(lang))
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(lang))


@router.get(
    "/collections/{layer}", summary="One layer", responses=content(ONE_LAYER, DOCUMENT),
    openapi_extra={"parameters": [format_parameter(DOCUMENT).openapi()]},
)  # fmt: skip
async def collection(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, layer: LayerId) -> Response:
    """Describe one layer."""
    found = permit_of(principal, city.layers, layer)
    own = negotiate(request, DOCUMENT)
    document = _linked(request, found, lang, own)
    if own is HTML:
        return pages.layer(request, document, lang, _headers(lang))
    return Response(orjson.dumps(document), media_type=JSON.media_type, headers=_headers(lang))


def _headers(language: Language) -> dict[str, str]:
    return {"Cache-Control": "private, no-cache", "Vary": VARY, "Content-Language": language}


def _linked(request: Request, permit: Permit, language: Language, own: Format = JSON) -> dict[str, Any]:
    """Return a layer's description with what OGC API — Features says of it."""
    extent: dict[str, Any] = {}
    if bounds := permit.bounds:
        extent["spatial"] = {"bbox": [list(bounds)], "crs": CRS84}
    if moment_of(permit.columns) is not None:
        # Open at both ends: the features say when they were, and nothing is scanned to tell the first and the last.
        extent["temporal"] = {"interval": [[None, None]], "trs": GREGORIAN}
    return {
        **describe(permit, language),
        "itemType": "feature",
        "extent": extent,
        "crs": list(offered(city_context(request).settings.profile)),
        "storageCrs": CRS84,
        "links": collection_links(request, permit.layer.id, language, own) + raster_links(request, permit, language),
    }


def describe(permit: Permit, language: Language) -> dict[str, Any]:
    """Return what a client needs to know of a layer's current version."""
    layer, current, bounds = permit.layer, permit.version, permit.bounds
    of, style = theme_of(layer), shown_style(permit)
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
        "featureCount": permit.features,
        "cellResolution": permit.resolution,
        "bounds": list(bounds) if bounds else None,
        "raster": _raster(permit),
        "licence": layer.licence,
        "attribution": layer.attribution,
        "sharing": layer.sharing.value,
        "updateFrequency": layer.update_frequency,
        "sample": layer.sample,
        "minzoom": of.minzoom,
        "rollup": _rollup(permit),
        "baseMap": of.base_map,
        "visible": of.visible if layer.visible is None else layer.visible,
        "style": style,
        "legend": legend(of, style, language),
        "tiles": f"/tiles/{layer.id}@{current.number}/{{z}}/{{x}}/{{y}}.mvt",
        # Of a raster: pictures of 512 pixels, as deck.gl's tiles are.
        "pixels": f"/tiles/{layer.id}@{current.number}/{{z}}/{{x}}/{{y}}@2x.webp" if shows_pixels(permit) else None,
    }


def _raster(permit: Permit) -> dict[str, Any] | None:
    """Return what a raster's version says of its file, apart from where it lies."""
    raster = permit.version.raster
    return {k: v for k, v in raster.items() if k != "path"} if raster and shows_pixels(permit) else None


def _rollup(permit: Permit) -> dict[str, Any] | None:
    """Return the coarser cells that stand for the features at the zooms before they are drawn."""
    rollup = permit.rollup
    return {"minzoom": ROLLUP_MIN_ZOOM, "layer": f"{permit.layer.id}:cells", **rollup} if rollup else None

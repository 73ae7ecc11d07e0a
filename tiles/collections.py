"""The list of layers that a reader may see, with all that a map needs to draw them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from layers.contracts import theme_of
from tiles.display import legend
from tiles.mvt import ROLLUP_MIN_ZOOM
from tiles.reader import City, Lang, Reader
from twin.access import find_readable, readable
from twin.catalogue import Layer, Version
from twin.text import Language

router = APIRouter(tags=["collections"])


@router.get("/collections", summary="All layers that the reader may see")
async def collections(city: City, reader: Reader, lang: Lang, response: Response) -> dict[str, Any]:
    """List the layers, each with its agency, theme, version, extent, licence, style and legend."""
    _headers(response)
    return {"collections": [describe(layer, lang) for layer in readable(reader, city.layers.values())]}


@router.get("/collections/{layer}", summary="One layer")
async def collection(city: City, reader: Reader, lang: Lang, response: Response, layer: str) -> dict[str, Any]:
    """Describe one layer."""
    _headers(response)
    return describe(find_readable(reader, city.layers, layer), lang)


def _headers(response: Response) -> None:
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization, X-API-Key, Accept-Language"


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
        "extent": list(current.bounds) if current.bounds else None,
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

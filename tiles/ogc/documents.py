"""The documents around the features: landing page, conformance, and what a layer's features are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from layers.contracts import theme_of
from tiles.features.items import LayerId
from tiles.features.paging import SORTABLE
from tiles.features.selection import VARY, keeping, permit_of_request
from tiles.http.openapi import MEDIA_TYPE as OPENAPI
from tiles.http.openapi import MEDIA_TYPE_30 as OPENAPI_30
from tiles.http.openapi import reads_parameters
from tiles.http.principal import Lang, city_context, language_of
from tiles.http.selection import is_known
from tiles.ogc import formats, pages
from tiles.ogc import parameters as request_parameters
from tiles.ogc.formats import Format, negotiate
from tiles.ogc.links import RELATION, Link, base_of, link, path, self_and_alternates
from tiles.ogc.property_schemas import geometry_schema, id_schema, properties_schema
from tiles.ogc.schemas import CONFORMANCE, LANDING, PROPERTY_SCHEMA, content
from twin.access.permit import Permit
from twin.query.queryables import queryables
from twin.text import Language, Text

CONFORMS = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/landing-page",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/html",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/schemas",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/core-roles-features",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/returnables-and-receivables",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/sortables",
)
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
DOCUMENT = (request_parameters.format_parameter(formats.DOCUMENT).openapi(),)
SCHEMA = (
    request_parameters.format_parameter(formats.SCHEMAS),
    request_parameters.LANG,
    request_parameters.VERSION,
    request_parameters.AS_OF,
    request_parameters.AT,
)
SCHEMA_NAMES = frozenset(p.name for p in SCHEMA)

router = APIRouter(tags=["features"])


def _headers(language: Language) -> dict[str, str]:
    return {"Cache-Control": "private, no-cache", "Vary": VARY, "Content-Language": language}


# Landing page and conformance ----------------------------------------------------------------------


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The map for browsers, where there is one; the landing page for programs, and where there is no map."""
    home: Callable[[Request], Any] | None = getattr(request.app.state, "home", None)
    if home is not None and _is_browser(request):
        page: Response = await home(request)
        return page
    return _landing(request, language_of(request))


def _is_browser(request: Request) -> bool:
    """Browsers name HTML among what they take; programs name JSON, or take anything."""
    return "f" not in request.query_params and "text/html" in request.headers.get("accept", "")


@router.get(
    "/landing", summary="Landing page", responses=content(LANDING, formats.DOCUMENT),
    openapi_extra={"parameters": list(DOCUMENT)},
)  # fmt: skip
async def landing(request: Request, lang: Lang) -> Response:
    """Lead to everything else. The same document stands at / for programs."""
    return _landing(request, lang)


def _landing(request: Request, language: Language) -> Response:
    own = negotiate(request, formats.DOCUMENT)
    city, base = city_context(request), base_of(request)
    profile = city.settings.profile
    links = [
        *self_and_alternates(path(base, "landing"), {}, own, formats.DOCUMENT, language),
        link(f"{base}/api/3.0", "service-desc", OPENAPI_30, "OpenAPI 3.0", language),
        link(f"{base}/api", "service-desc", OPENAPI, "OpenAPI 3.1", language),
        link(f"{base}/conformance", "conformance", "application/json",
             Text(en="Standards that are kept", vi="Các tiêu chuẩn được tuân theo"), language),
        link(f"{base}/collections", "data", "application/json", Text(en="Layers", vi="Các lớp dữ liệu"), language),
        link(f"{base}/catalogue", "http://www.w3.org/ns/dcat#catalog", "application/ld+json",
             Text(en="Data catalogue (DCAT-AP)", vi="Danh mục dữ liệu (DCAT-AP)"), language),
        link(f"{base}/tileMatrixSets", f"{RELATION}tiling-schemes", "application/json",
             Text(en="Tile matrix sets", vi="Các lưới ô bản đồ"), language),
        link(f"{base}/landing?f=html", "service-doc", "text/html", Text(en="For people", vi="Cho người đọc"), language),
    ]  # fmt: skip
    document = {
        "title": profile.title.in_language(language),
        "description": Text(
            en="Layers of the city's agencies, as features and tiles.",
            vi="Dữ liệu của các đơn vị trong thành phố, dạng đối tượng và ô bản đồ.",
        ).in_language(language),
        "links": links,
    }
    if own is formats.HTML:
        return pages.landing(request, document, language, _headers(language))
    return _json(document, formats.JSON, _headers(language))


@router.get(
    "/conformance", summary="Standards that are kept", responses=content(CONFORMANCE, formats.DOCUMENT),
    openapi_extra={"parameters": list(DOCUMENT)},
)  # fmt: skip
async def conformance(request: Request, lang: Lang) -> Response:
    """Name the conformance classes of this server."""
    own = negotiate(request, formats.DOCUMENT)
    document = {"conformsTo": list(request.app.state.conforms)}
    if own is formats.HTML:
        return pages.conformance(request, document, lang, _headers(lang))
    return _json(document, formats.JSON, _headers(lang))


def _json(document: Any, own: Format, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(document), media_type=own.media_type, headers=headers)


# Schemas -------------------------------------------------------------------------------------------

Build = Callable[[Permit, Language], dict[str, Any]]


def _everything(chosen: Permit, language: Language) -> dict[str, Any]:
    of = theme_of(chosen.layer)
    columns = {c.name for c in chosen.columns}
    return {
        "properties": {
            "id": id_schema(language),
            "geometry": geometry_schema(chosen.layer, language),
            **properties_schema(chosen, language),
        },
        "required": ["id", "geometry", *(f.name for f in of.fields if f.required and f.name in columns)],
        "additionalProperties": False,
    }


def _queryable(chosen: Permit, language: Language) -> dict[str, Any]:
    return {
        "properties": {
            "id": id_schema(language),
            "geometry": geometry_schema(chosen.layer, language),
            **properties_schema(chosen, language),
        },
        "additionalProperties": False,
    }


def _sortable(chosen: Permit, language: Language) -> dict[str, Any]:
    known = queryables(chosen.columns)
    found = {"id": id_schema(language), **properties_schema(chosen, language)}
    return {
        "properties": {name: schema for name, schema in found.items() if known[name].kind in SORTABLE},
        "additionalProperties": False,
    }


async def _schema(request: Request, layer: str, name: str, build: Build) -> Response:
    chosen = await permit_of_request(request, layer, SCHEMA_NAMES)
    found = chosen.layer
    own, language = negotiate(request, formats.SCHEMAS), language_of(request)
    headers = keeping(request, chosen, own.name, language) | {"Content-Language": language}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    address = path(base_of(request), "collections", found.id, name)
    document = {
        "$schema": JSON_SCHEMA,
        "$id": address,
        "type": "object",
        "title": found.title.in_language(language),
        "description": found.description.in_language(language),
        **build(chosen, language),
    }
    if own is formats.HTML:
        return pages.schema(request, chosen, document, language, headers)
    return _json(document, formats.SCHEMA, headers)


def _add(name: str, summary: str, description: str, build: Build) -> None:
    async def endpoint(request: Request, layer: LayerId) -> Response:
        return await _schema(request, layer, name, build)

    endpoint.__doc__ = description
    endpoint.__name__ = name
    router.add_api_route(
        f"/collections/{{layer}}/{name}", reads_parameters(endpoint), methods=["GET"], summary=summary,
        responses=content(PROPERTY_SCHEMA, formats.SCHEMAS),
        openapi_extra={"parameters": [p.openapi() for p in SCHEMA]}, response_class=Response,
    )  # fmt: skip


_add("schema", "What features of a layer are made of",
     "Give the JSON Schema of the features: titles, units, terms, roles.", _everything)  # fmt: skip
_add("queryables", "The queryables of a layer",
     "Give the names that `filter` and parameters `name=value` may use.", _queryable)  # fmt: skip
_add("sortables", "What a layer's features can be sorted by",
     "Give the names that `sortby` may use.", _sortable)  # fmt: skip


def collection_links(request: Request, layer_id: str, language: Language, own: Format = formats.JSON) -> list[Link]:
    """Return the links of a layer's description."""
    base = base_of(request)
    address = path(base, "collections", layer_id)
    links = self_and_alternates(address, {}, own, formats.DOCUMENT, language)
    for o in formats.ITEMS:
        title = Text(en="Features, as {form}", vi="Đối tượng, dạng {form}").format(form=o.title)
        href = f"{address}/items" if o is formats.GEOJSON else f"{address}/items?f={o.name}"
        links.append(link(href, "items", o.media_type, title, language))
    for name, rel, title in (
        ("schema", "describedby", Text(en="Schema", vi="Lược đồ")),
        ("schema", "http://www.opengis.net/def/rel/ogc/1.0/schema", Text(en="Schema", vi="Lược đồ")),
        ("queryables", "http://www.opengis.net/def/rel/ogc/1.0/queryables",
         Text(en="Queryables", vi="Thuộc tính hỏi được")),
        ("sortables", "http://www.opengis.net/def/rel/ogc/1.0/sortables",
         Text(en="What can be sorted by", vi="Thuộc tính sắp xếp được")),
    ):  # fmt: skip
        links.append(link(f"{address}/{name}", rel, "application/schema+json", title, language))
    counted = Text(en="Counted in H3 cells", vi="Thống kê theo ô H3")
    links.append(link(f"{address}/cells", "cells", "application/json", counted, language))
    tiles = path(base, "tiles", layer_id, "tilejson.json")
    links.append(link(tiles, "tiles", "application/json", "TileJSON", language))
    about = Text(en="Catalogue entry", vi="Mục trong danh mục dữ liệu")
    links.append(link(path(base, "catalogue", layer_id), "describedby", "application/ld+json", about, language))
    title = Text(en="Vector tiles (OGC API — Tiles)", vi="Ô bản đồ vectơ (OGC API — Tiles)")
    links.append(link(f"{address}/tiles", f"{RELATION}tilesets-vector", "application/json", title, language))
    return links

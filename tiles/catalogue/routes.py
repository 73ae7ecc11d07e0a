"""The catalogue over HTTP: `/catalogue`, and `/catalogue/{layer}` for one dataset; DCAT-AP or a page, as requested."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from tiles.catalogue import dcat, pages, preview
from tiles.catalogue.freshness import FreshnessLevel
from tiles.catalogue.history import Changes, history
from tiles.catalogue.search import CatalogueQuery, search
from tiles.downloads.routes import downloads_of
from tiles.features.selection import VARY
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.selection import caching, etag, is_known
from tiles.http.server import CityContext
from tiles.ogc.formats import HTML, Format, negotiate
from tiles.ogc.links import as_header, base_of, link, self_and_alternates, with_query
from tiles.ogc.pages import CSS, send_file
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import TEXT
from twin.access.permit import Permit, every_permit, permit_of
from twin.db.tables import Sharing

JSONLD = Format("jsonld", "application/ld+json", "JSON-LD (DCAT-AP)", "jsonld", ("application/json",))
FORMATS = (JSONLD, HTML)
SVG = "image/svg+xml"
MOST = 1000
FOR_PROGRAMS, FOR_PEOPLE = 100, 20
# Pictures are small and requested together with their pages.
PICTURES = 200

router = APIRouter(tags=["catalogue"])

NODE = {
    "type": "object",
    "required": ["@context", "@id", "@type"],
    "properties": {
        "@context": {"type": "object"}, "@id": {"type": "string", "format": "uri"}, "@type": {"type": "string"},
    },
}  # fmt: skip
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document",
        "content": {JSONLD.media_type: {"schema": NODE}, HTML.media_type: {"schema": TEXT}},
    },
    304: {"description": "The reader has it already"},
    406: {"description": "Offered, but not in this form", "content": PROBLEM},
}
FORM = {"parameters": [format_parameter(FORMATS).openapi()]}

Words = Annotated[str | None, Query(description="Words to look for, with or without tone marks.", max_length=100)]
Name = Annotated[str | None, Query(max_length=60)]
# A form sends what is not chosen as nothing.
Level = Annotated[Literal["", "open", "shared", "restricted"] | None, Query(description="The sharing level.")]
Due = Annotated[
    Literal["", "fresh", "late", "irregular"] | None, Query(description="On time, late, or without a due date.")
]
Limit = Annotated[int | None, Query(ge=1, le=MOST, description="Datasets in an answer; else 100, on a page 20.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many datasets to pass over.")]
Dataset = Annotated[
    str,
    Path(description="`agency.layer`, or `agency.layer@3` for a version.", max_length=80, examples=["planning.wards"]),
]


@router.get("/catalogue", summary="The catalogue (DCAT-AP)", responses=RESPONSES, openapi_extra=FORM)
async def catalogue(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, q: Words = None, agency: Name = None,
    theme: Name = None, sharing: Level = None, freshness: Due = None,
    limit: Limit = None, offset: Offset = 0,
) -> Response:  # fmt: skip
    """List the layers that the reader may see, as datasets; all filters can be used together."""
    own, now = negotiate(request, FORMATS), datetime.now(UTC)
    wanted = CatalogueQuery(
        q or None, agency or None, theme or None,
        Sharing(sharing) if sharing else None, FreshnessLevel(freshness) if freshness else None,
    )  # fmt: skip
    visible = every_permit(principal, city.layers)
    found = search(visible, wanted, now)
    most = limit or (FOR_PEOPLE if own is HTML else FOR_PROGRAMS)
    shown = found[offset : offset + most]
    address, given = f"{base_of(request)}/catalogue", dict(request.query_params)
    around = _around(address, given, offset, most, len(found))
    links = self_and_alternates(address, given, own, FORMATS, lang)
    links += [link(href, name, own.media_type, "", lang) for name, href in around.items() if name in ("next", "prev")]
    headers = {"Cache-Control": "private, no-cache", "Vary": VARY} | as_header(links)
    if own is HTML:
        headers["Content-Language"] = lang
        answer = pages.listing(request, shown, visible, len(found), wanted, _only(around), links, now, lang, headers)
        return _tagged(request, bytes(answer.body), str(answer.media_type), dict(answer.headers))
    base, downloads = base_of(request), downloads_of(request)
    datasets = [dcat.dataset(base, permit, downloads.known(permit)) for permit in shown]
    document = dcat.catalogue(
        base,
        city.settings.profile,
        datasets,
        shown,
        with_query(address, given),
        around,
        len(found),
    )
    return _tagged(request, orjson.dumps(document), JSONLD.media_type, headers)


@router.get("/catalogue/catalogue.css", include_in_schema=False)
async def style(request: Request) -> Response:
    """Give the pages' own style sheet."""
    return send_file(request, "tiles.catalogue", pages.STYLE, CSS)


@router.get("/catalogue/{layer}", summary="One dataset (DCAT-AP)", responses=RESPONSES, openapi_extra=FORM)
async def dataset(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, layer: Dataset) -> Response:
    """Describe a layer, or one version of it: terms, freshness, fields, versions, files and services."""
    chosen, own = permit_of(principal, city.layers, layer), negotiate(request, FORMATS)
    prepared = downloads_of(request).known(chosen)
    steps = await history(city, _changes(request), principal, chosen, counted=own is HTML)
    base = base_of(request)
    links = self_and_alternates(f"{base}/catalogue/{layer}", dict(request.query_params), own, FORMATS, lang)
    scope = "public" if chosen.is_public and principal.key is None else "private"
    headers = {"Cache-Control": f"{scope}, no-cache", "Vary": VARY} | as_header(links)
    if own is HTML:
        headers["Content-Language"] = lang
        answer = pages.dataset(request, chosen, steps, prepared, links, datetime.now(UTC), lang, headers)
        return _tagged(request, bytes(answer.body), str(answer.media_type), dict(answer.headers))
    document = dcat.dataset(base, chosen, prepared, steps, whole=True)
    return _tagged(request, orjson.dumps(document), JSONLD.media_type, headers)


@router.get(
    "/catalogue/{layer}/preview.svg", summary="A picture of a layer", response_class=Response,
    responses={200: {"content": {SVG: {}}}, 304: {"description": "The reader has it already"}},
)  # fmt: skip
async def picture(request: Request, city: City, principal: CurrentPrincipal, layer: Dataset) -> Response:
    """Draw a layer, or one version of it, small and whole."""
    chosen = permit_of(principal, city.layers, layer)
    headers = {
        "Cache-Control": caching((chosen,)), "Vary": "Authorization, X-API-Key",
        "ETag": etag((chosen,), "preview", chosen.layer.title),
        # Opened by itself, an SVG is a document: it may do nothing at all.
        "Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(await _drawn(request, city, chosen), media_type=SVG, headers=headers)


async def _drawn(request: Request, city: CityContext, chosen: Permit) -> bytes:
    state = request.app.state
    if not hasattr(state, "pictures"):
        state.pictures = OrderedDict()
    kept: OrderedDict[tuple[object, ...], bytes] = state.pictures
    # The wards lie underneath, if everybody may see them; the title stands in the picture.
    wards = preview.wards_for_all(city)
    key = (
        chosen.version.key,
        chosen.key,
        wards and wards.version.key,
        chosen.layer.title,
        chosen.layer.theme,
        chosen.layer.contract,
    )
    if key not in kept:
        kept[key] = await preview.draw(city, chosen, wards)
        if len(kept) > PICTURES:
            kept.popitem(last=False)
    return kept[key]


def _changes(request: Request) -> Changes:
    if not hasattr(request.app.state, "changes"):
        request.app.state.changes = Changes()
    found: Changes = request.app.state.changes
    return found


def _around(address: str, given: Mapping[str, str], offset: int, most: int, total: int) -> dict[str, str]:
    """Return the addresses of the first page, the last one, and the neighbours of this one."""

    def at(position: int) -> str:
        return with_query(address, {**given, "offset": str(position)})

    last = max(0, (total - 1) // most * most)
    around = {"first": at(0), "last": at(last)}
    if offset > 0:
        around["prev"] = at(max(0, min(offset - most, last)))
    if offset + most < total:
        around["next"] = at(offset + most)
    return around


def _only(around: Mapping[str, str]) -> dict[str, str]:
    return {name: href for name, href in around.items() if name in ("next", "prev")}


def _tagged(request: Request, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return a document with its tag; nothing but the tag for a reader who has it already."""
    own = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "content-type")}
    own["ETag"] = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    if is_known(request, own):
        return Response(status_code=304, headers=own)
    return Response(body, media_type=media_type, headers=own)

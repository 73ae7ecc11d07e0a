"""The features of a layer: a page of them, all of them in one go, or one by its id."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from layers.contracts import theme_of
from tiles.features import statement, tables
from tiles.features.paging import (
    BAD_TOKEN,
    PageStart,
    SortKey,
    read_sortby,
    read_token,
    version_of_token,
    write_token,
)
from tiles.features.rendering import closing, feature_texts, opening, place_of, with_members
from tiles.features.selection import keeping, permit_for, permit_of_request
from tiles.features.statement import FeatureText, RowQuery
from tiles.features.streaming import Chunks, StreamedResponse, batches, primed, streaming
from tiles.http.openapi import reads_parameters
from tiles.http.principal import city_context, language_of, principal_of
from tiles.http.selection import is_known
from tiles.http.server import CityContext
from tiles.ogc import formats, pages
from tiles.ogc import parameters as request_parameters
from tiles.ogc.formats import Format, negotiate
from tiles.ogc.links import Link, as_header, base_of, link, path, self_and_alternates, with_query
from tiles.ogc.schemas import COLLECTION, FEATURE, content
from twin.access.permit import Permit, permit_of
from twin.catalogue.catalogue import Column
from twin.errors import BadInput, NotFound
from twin.query.expressions import Parameters
from twin.query.queryables import moment_of, queryables
from twin.query.reference import Reference, offered
from twin.text import Language, Text

CONFORMS = (
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/html",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables-query-parameters",
    *(
        f"http://www.opengis.net/spec/cql2/1.0/conf/{part}"
        for part in (
            "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison",
            "accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus",
            "spatial-functions", "temporal-functions", "property-property", "arithmetic",
        )
    ),
    "http://www.opengis.net/spec/json-fg-1/1.0/conf/core",
)  # fmt: skip
JSONFG_CONFORMS = ["http://www.opengis.net/spec/json-fg-1/1.0/conf/core"]

# A page up to here is read at once; a longer one is sent while it is read.
AT_ONCE = 1000
# What a page for people shows at most.
ON_A_PAGE = 500

router = APIRouter(tags=["features"])

LayerId = Annotated[str, Path(description="`agency.layer`, as /collections lists it.", max_length=60)]


@dataclass(frozen=True, slots=True)
class ItemsRequest:
    """A request for items, understood: which rows, how many, in which form."""

    chosen: Permit
    format: Format
    language: Language
    reference: Reference
    columns: tuple[Column, ...]
    rows: RowQuery
    limit: int
    count: bool
    address: str
    given: dict[str, str]

    @property
    def keys(self) -> Sequence[SortKey]:
        """What the rows are sorted by."""
        return self.rows.keys

    @property
    def pinned(self) -> dict[str, str]:
        """The parameters of other pages of the same answer: all that were given, with the version."""
        kept = {k: v for k, v in self.given.items() if k not in ("token", "asOf", "at")}
        return kept | {"version": str(self.chosen.version.number)}

    @property
    def matched(self) -> int | None:
        """How many features there are in all, where that is known without counting."""
        return self.chosen.features if not self.rows.conditions else None


@router.get(
    "/collections/{layer}/items",
    summary="Features of a layer",
    responses=content(COLLECTION, formats.ITEMS),
    openapi_extra={"parameters": [p.openapi() for p in request_parameters.ITEMS]},
)
@reads_parameters
async def items(request: Request, layer: LayerId) -> Response:
    """Give the features of a layer, page by page, or all of them in a format that is written in one go.

    Every queryable may be used as a parameter as well: `name=value`.
    """
    wanted = await _understand(request, layer)
    headers = keeping(request, wanted.chosen, wanted.format.name, wanted.language) | {
        "Content-Crs": f"<{wanted.reference.uri}>"
    }
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    city = city_context(request)
    if wanted.format is formats.HTML:
        return await _page_for_people(request, city, wanted, headers)
    if wanted.format.whole:
        return await _whole(city, wanted, headers)
    if wanted.limit > AT_ONCE:
        chunks = await primed(_long_page(city, wanted), city.settings.stream_seconds)
        return StreamedResponse(
            chunks, city.settings.stream_seconds, media_type=wanted.format.media_type, headers=headers
        )
    return Response(await _page(city, wanted), media_type=wanted.format.media_type, headers=headers)


async def _understand(request: Request, layer_id: str) -> ItemsRequest:
    city, given = city_context(request), request.query_params
    current = permit_of(principal_of(request), city.layers, layer_id)
    chosen_format = negotiate(request, formats.ITEMS)
    request_parameters.check_language(given)
    number, at = request_parameters.read_version(given), request_parameters.read_as_of(given)
    newest = await permit_for(city, current, number, at)
    # The names that may be used are those of the version; a token says which one that is, if nothing else does.
    if "token" in given and number is None and at is None:
        newest = await permit_for(city, current, version_of_token(given["token"]), None)
    known = queryables(newest.columns)
    request_parameters.check_names(
        given, request_parameters.ITEMS_NAMES, {n: q for n, q in known.items() if q.kind != "geometry"}
    )
    keys = read_sortby(given["sortby"], known) if "sortby" in given else ()
    place = _place(given.get("token"), keys, newest)
    settings, references = city.settings, offered(city.settings.profile)
    everything = chosen_format.whole
    limit = request_parameters.read_limit(
        given,
        settings.stream_limit if everything else min(request_parameters.DEFAULT_LIMIT, settings.items_limit),
        settings.stream_limit if everything else settings.items_limit,
    )
    parameters = Parameters()
    conditions = await request_parameters.read_conditions(city.parser, given, newest, references, parameters)
    return ItemsRequest(
        chosen=newest,
        format=chosen_format,
        language=language_of(request),
        reference=request_parameters.read_crs(given, "crs", references),
        columns=request_parameters.read_columns(given, newest.columns),
        rows=RowQuery(newest.version, conditions, parameters, keys, place),
        limit=min(limit, ON_A_PAGE) if chosen_format is formats.HTML else limit,
        count=request_parameters.read_flag(given, "count"),
        address=path(base_of(request), "collections", newest.layer.id, "items"),
        given=dict(given),
    )


def _place(token: str | None, keys: Sequence[SortKey], chosen: Permit) -> PageStart | None:
    if token is None:
        return None
    place = read_token(token, keys)
    if place.version != chosen.version.number:
        raise BadInput(BAD_TOKEN)
    return place


def _text_of(wanted: ItemsRequest) -> FeatureText:
    if wanted.format is formats.JSONFG:
        of = theme_of(wanted.chosen.layer)
        return statement.jsonfg(moment_of(wanted.chosen.columns), wanted.columns, wanted.reference, of.name)
    return statement.geojson(wanted.columns, wanted.reference)


def _members(wanted: ItemsRequest) -> dict[str, Any]:
    """Return what a collection says before its features."""
    if wanted.format is not formats.JSONFG:
        return {}
    of = theme_of(wanted.chosen.layer)
    system = {} if wanted.reference.in_sql and not wanted.reference.swapped and wanted.reference.is_wgs84 else {
        "coordRefSys": wanted.reference.uri
    }  # fmt: skip
    dimension = {"point": 0, "line": 1, "polygon": 2}[of.geometry]
    return {"conformsTo": JSONFG_CONFORMS, "featureType": of.name, "geometryDimension": dimension, **system}


async def _page(city: CityContext, wanted: ItemsRequest) -> bytes:
    """Return a page that is read at once."""
    rows, matched = await _read(city, wanted, _text_of(wanted).columns())
    before, after = _neighbours(wanted, rows)
    kept = _in_order(wanted, rows)
    features = ",".join(feature_texts(kept, len(wanted.keys), wanted.reference))
    end = _ending(wanted, len(kept), matched, before, after)
    return opening(_members(wanted)) + features.encode() + closing(end)


async def _read(city: CityContext, wanted: ItemsRequest, columns: Sequence[str]) -> tuple[list[Any], int | None]:
    """The rows of a page, with one more that tells whether there is another page; and how many there are in all."""
    sql, values = wanted.rows.select(columns, wanted.limit + 1)
    # Without a condition any plan is the right one, and need not be made again; an order may cost a sort of the layer.
    async with city.connection(asking=bool(wanted.rows.conditions or wanted.keys)) as connection:
        rows = await connection.fetch(sql, *values)
        return rows, await _matched(connection, wanted)


async def _matched(connection: Any, wanted: ItemsRequest) -> int | None:
    if not wanted.rows.conditions or not wanted.count:
        return wanted.matched
    sql, values = wanted.rows.count()
    return wanted.chosen.count(await connection.fetchval(sql, *values))


def _in_order(wanted: ItemsRequest, rows: Sequence[Any]) -> Sequence[Any]:
    rows = rows[: wanted.limit]
    return rows if wanted.rows.forward else rows[::-1]


def _neighbours(wanted: ItemsRequest, rows: Sequence[Any]) -> tuple[PageStart | None, PageStart | None]:
    """Where the page before ends and where the next one begins, if there are such pages.

    `rows` are as they were read: towards the end of the page, or backwards from it, with one more if there is one.
    """
    more, place = len(rows) > wanted.limit, wanted.rows.place
    kept = _in_order(wanted, rows)
    if not kept:
        # Beyond the end: what lies on the other side of the place can still be had.
        turned = PageStart(place.version, not place.forward, place.keys, place.fid) if place else None
        return (turned, None) if wanted.rows.forward else (None, turned)
    number = wanted.chosen.version.number
    before = place_of(kept[0], wanted.keys, number, forward=False)
    after = place_of(kept[-1], wanted.keys, number, forward=True)
    if wanted.rows.forward:
        return (before if place else None), (after if more else None)
    return (before if more else None), after


def _ending(
    wanted: ItemsRequest, returned: int, matched: int | None, before: PageStart | None, after: PageStart | None
) -> dict[str, Any]:
    counted = {} if matched is None else {"numberMatched": matched}
    return {**counted, "numberReturned": returned, "links": _links(wanted, before, after)}


def _links(wanted: ItemsRequest, before: PageStart | None, after: PageStart | None) -> list[Link]:
    links = self_and_alternates(wanted.address, wanted.given, wanted.format, formats.ITEMS, wanted.language)
    for rel, place, title in (
        ("next", after, Text(en="Next page", vi="Trang sau")),
        ("prev", before, Text(en="Previous page", vi="Trang trước")),
    ):
        if place is not None:
            href = with_query(wanted.address, {**wanted.pinned, "token": write_token(place, wanted.keys)})
            links.append(link(href, rel, wanted.format.media_type, title, wanted.language))
    layer = wanted.chosen.layer.title
    links.append(link(wanted.address.removesuffix("/items"), "collection", "application/json", layer, wanted.language))
    return links


async def _long_page(city: CityContext, wanted: ItemsRequest) -> Chunks:
    """Yield a page that is sent while it is read; its links come at its end, when they are known."""
    if not wanted.rows.forward:
        # Read from its end: it has to be turned round first.
        yield await _page(city, wanted)
        return
    select = wanted.rows.select(_text_of(wanted).columns(), wanted.limit + 1)
    returned, last, more = 0, None, False
    first = None
    async with streaming(city) as connection:
        matched = await _matched(connection, wanted)
        # Sent with the first rows: an error before they are there can still become a problem document.
        start = opening(_members(wanted))
        async with aclosing(batches(connection, select)) as read:
            async for rows in read:
                more = returned + len(rows) > wanted.limit
                kept = rows[: wanted.limit - returned]
                if kept:
                    features = ",".join(feature_texts(kept, len(wanted.keys), wanted.reference))
                    yield (b"," if returned else start) + features.encode()
                    first, last = first or kept[0], kept[-1]
                returned += len(kept)
    number = wanted.chosen.version.number
    place = wanted.rows.place
    before = place_of(first, wanted.keys, number, forward=False) if first and place else None
    after = place_of(last, wanted.keys, number, forward=True) if last and more else None
    yield (b"" if returned else start) + closing(_ending(wanted, returned, matched, before, after))


# All in one go -------------------------------------------------------------------------------------


async def _whole(city: CityContext, wanted: ItemsRequest, headers: dict[str, str]) -> Response:
    own = wanted.format
    chunks: Chunks
    if own in (formats.NDJSON, formats.SEQUENCE):
        mark = "\x1e" if own is formats.SEQUENCE else ""
        chunks = _lines(_all_rows(city, wanted, _text_of(wanted).columns()), wanted, mark)
    else:
        rows = _all_rows(city, wanted, statement.table(wanted.columns))
        count, kind = len(wanted.keys), theme_of(wanted.chosen.layer).geometry
        if own is formats.CSV:
            chunks = tables.as_csv(rows, count, wanted.columns, kind, wanted.reference)
        elif own is formats.FLATGEOBUF:
            chunks = tables.as_flatgeobuf(rows, count, wanted.columns, wanted.reference)
        else:
            chunks = tables.as_geoparquet(rows, count, wanted.columns, wanted.reference)
    links = self_and_alternates(wanted.address, wanted.given, own, formats.ITEMS, wanted.language)
    name = f"{wanted.chosen.layer.id}_v{wanted.chosen.version.number}.{own.suffix}"
    headers = headers | as_header(links) | {"Content-Disposition": f'attachment; filename="{name}"'}
    if own is formats.GEOPARQUET:
        # It is compressed already, column by column.
        headers["Content-Encoding"] = "identity"
    seconds = city.settings.stream_seconds
    return StreamedResponse(await primed(chunks, seconds), seconds, media_type=own.media_type, headers=headers)


async def _all_rows(
    city: CityContext, wanted: ItemsRequest, columns: Sequence[str]
) -> AsyncGenerator[Sequence[Any], None]:
    select = wanted.rows.select(columns, wanted.limit)
    async with streaming(city) as connection, aclosing(batches(connection, select)) as read:
        async for rows in read:
            yield rows


async def _lines(rows: AsyncGenerator[Sequence[Any], None], wanted: ItemsRequest, mark: str) -> Chunks:
    async with aclosing(rows):
        async for batch in rows:
            texts = feature_texts(batch, len(wanted.keys), wanted.reference)
            yield "".join(f"{mark}{text}\n" for text in texts).encode()


# For people ----------------------------------------------------------------------------------------


async def _page_for_people(
    request: Request, city: CityContext, wanted: ItemsRequest, headers: dict[str, str]
) -> Response:
    rows, matched = await _read(city, wanted, statement.table(wanted.columns, geometry=False))
    before, after = _neighbours(wanted, rows)
    start = statement.AFTER_FID + len(wanted.keys)
    found = [tuple(row)[start:] for row in _in_order(wanted, rows)]
    links = _links(wanted, before, after)
    return pages.items(request, wanted.chosen, wanted.columns, found, matched, links, wanted.language, headers)


# One feature ---------------------------------------------------------------------------------------


@router.get(
    # An id may hold a slash.
    "/collections/{layer}/items/{feature:path}",
    summary="One feature",
    responses=content(FEATURE, formats.ITEM),
    openapi_extra={"parameters": [p.openapi() for p in request_parameters.ITEM]},
)
@reads_parameters
async def item(
    request: Request, layer: LayerId, feature: Annotated[str, Path(description="The feature's `id`.")]
) -> Response:
    """Give one feature by its id."""
    city, given = city_context(request), request.query_params
    chosen = await permit_of_request(request, layer, request_parameters.ITEM_NAMES)
    own, found = negotiate(request, formats.ITEM), chosen.layer
    reference = request_parameters.read_crs(given, "crs", offered(city.settings.profile))
    columns, language = request_parameters.read_columns(given, chosen.columns), language_of(request)
    headers = keeping(request, chosen, own.name, language) | {"Content-Crs": f"<{reference.uri}>"}
    rows = RowQuery(chosen.version, ["f.id = $1::text"], Parameters([feature]))
    if own is formats.HTML:
        select = rows.select(statement.table(columns, geometry=False), None)
    elif own is formats.JSONFG:
        text = statement.jsonfg(moment_of(chosen.columns), columns, reference, theme_of(found).name)
        select = rows.select(text.columns(), None)
    else:
        select = rows.select(statement.geojson(columns, reference).columns(), None)
    row = None
    if "\x00" not in feature:
        async with city.connection() as connection:
            row = await connection.fetchrow(select[0], *select[1])
    if row is None:
        raise NotFound(
            Text(en="“{layer}” has no feature “{id}”.", vi="Lớp “{layer}” không có đối tượng “{id}”.").format(
                layer=found.id, id=feature[:80]
            )
        )
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    base = base_of(request)
    address = path(base, "collections", found.id, "items", feature)
    links = self_and_alternates(address, dict(given), own, formats.ITEM, language)
    title = found.title.in_language(language)
    links.append(link(path(base, "collections", found.id), "collection", "application/json", title, language))
    if own is formats.HTML:
        return pages.item(request, chosen, columns, tuple(row)[statement.AFTER_FID :], links, language, headers)
    (written,) = feature_texts([row], 0, reference)
    members: dict[str, Any] = {"links": links}
    if own is formats.JSONFG:
        members["conformsTo"] = JSONFG_CONFORMS
    return Response(with_members(written, members), media_type=own.media_type, headers=headers)

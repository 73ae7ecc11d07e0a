"""The addresses of SensorThings: the service root, and everything behind it by its path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from tiles.http.openapi import reads_parameters
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.server import CityContext
from tiles.ogc.links import base_of
from tiles.sensorthings.answers import entity_json, page_json, references_json, self_link, value_json
from tiles.sensorthings.errors import missing, refuse
from tiles.sensorthings.model import SETS
from tiles.sensorthings.options import MOST_SKIP, Options, read_options, read_query
from tiles.sensorthings.paths import Place, resolve
from tiles.sensorthings.select import Key, Reader, Selection, id_of
from twin.access.permit import readable_streams
from twin.access.principals import Principal

router = APIRouter(prefix="/sta/v1.1", tags=["sensorthings"])

SPECIFICATION = "http://www.opengis.net/spec/iot_sensing/1.1/req/"
KEPT = (
    "datamodel/entity-control-information/common-control-information",
    *(
        f"datamodel/{entity}/{part}"
        for entity in (
            "thing", "location", "historical-location", "datastream", "sensor", "observed-property", "observation",
            "feature-of-interest",
        )
        for part in ("properties", "relations")
    ),
    "resource-path/resource-path-to-entities",
    *(
        f"request-data/{name}"
        for name in (
            "order", "expand", "select", "status-code", "query-status-code", "orderby", "top", "skip", "count",
            "filter", "built-in-filter-operations", "built-in-query-functions", "pagination",
        )
    ),
    *(
        f"create-update-delete/{name}"
        for name in (
            "create-entity", "link-to-existing-entities", "deep-insert", "deep-insert-status-code", "update-entity",
            "delete-entity", "historical-location-auto-creation",
        )
    ),
    "data-array/data-array",
)  # fmt: skip
CONFORMANCE = tuple(SPECIFICATION + name for name in KEPT)
LAYERS_SQL = """
SELECT coalesce((SELECT array_agg(l.id) FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id
    WHERE a.name || '.' || l.name = ANY($1::text[])), '{}') AS layers,
    (SELECT id FROM twin.agency WHERE name = $2) AS agency
"""
FURTHER = frozenset({"lang"})
HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key"}
EntityPath = Annotated[
    str,
    PathParameter(
        description="Sets, ids, navigations and properties: Datastreams(1)/Observations",
        json_schema_extra={"format": "sensorthings-path"},
    ),
]
OPTIONS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
    for name, schema, description in (
        ("$filter", {"type": "string", "format": "sensorthings-filter"},
         "Which entities: result gt 5 and Datastream/name eq 'PM2.5'"),
        ("$expand", {"type": "string", "format": "sensorthings-expand"},
         "What comes inside: Observations($top=1;$orderby=phenomenonTime desc)"),
        ("$select", {"type": "string", "format": "sensorthings-select"}, "Which properties, with commas."),
        ("$orderby", {"type": "string", "format": "sensorthings-order"}, "phenomenonTime desc,result"),
        ("$top", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
         "Entities of a page; without it 100, and never more than 1,000."),
        ("$skip", {"type": "integer", "minimum": 0, "maximum": MOST_SKIP},
         "Entities that are left out first. Follow @iot.nextLink for further pages."),
        ("$count", {"type": "boolean"}, "With the number of all."),
        ("$resultFormat", {"type": "string", "enum": ["dataArray"]}, "Observations as arrays."),
        ("$skiptoken", {"type": "string", "format": "sensorthings-token"}, "Part of a nextLink."),
    )
]  # fmt: skip
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "A set, an entity or a property", "content": {"application/json": {}, "text/plain": {}}},
    204: {"description": "The property has no value"},
}


def root_of(request: Request) -> str:
    """Return the address of the service root, as it was asked."""
    return base_of(request) + "/sta/v1.1"


@router.get("", summary="SensorThings: the sets of entities, and what is kept of the standard")
async def service_root(request: Request, lang: Lang) -> Response:
    """List the sets, and the requirements of OGC SensorThings API 1.1 that this server keeps."""
    root = root_of(request)
    value = [{"name": name, "url": f"{root}/{name}"} for name in SETS]
    return _json({"value": value, "serverSettings": {"conformance": list(CONFORMANCE)}}, "public, max-age=300")


@router.get(
    "/{entity_path:path}", responses=RESPONSES, openapi_extra={"parameters": OPTIONS},
    summary="SensorThings: entities by their path",
)  # fmt: skip
@reads_parameters
async def entities(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, entity_path: EntityPath
) -> Response:
    """Read a set, an entity, a property, or what an entity leads to."""
    root = root_of(request)
    if not entity_path:
        return await service_root(request, lang)
    async with reading(city, principal) as selection:
        place = await resolve(entity_path, selection)
        options = read_query(request.scope["query_string"], place.entity, FURTHER)
        address = f"{root}/{entity_path.strip('/')}"
        return await _answer(root, address, place, options, selection)


@asynccontextmanager
async def reading(city: CityContext, principal: Principal) -> AsyncIterator[Selection]:
    """Give what reads entities for a principal, at one moment of the database."""
    names = list(readable_streams(principal, city.layers))
    async with (
        city.connection(asking=True) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield Selection(connection, await reader_of(connection, names, principal), datetime.now(UTC))


async def reader_of(connection: asyncpg.Connection, names: list[str], principal: Principal) -> Reader:
    """Return who reads, by the names of the layers whose streams may be read."""
    row = await connection.fetchrow(LAYERS_SQL, names, principal.agency)
    return Reader(row["layers"], row["agency"])


async def _answer(root: str, address: str, place: Place, options: Options, selection: Selection) -> Response:
    if place.key is None:
        if place.ending == "$count":
            return _text(str(await selection.counts(place.entity, options, place.parent)))
        if place.ending == "$ref":
            options.select, options.expand = ("id",), {}
        page = await selection.page(place.entity, options, place.parent)
        written = references_json if place.ending == "$ref" else page_json
        return _json(written(root, address, page))
    if place.ending == "$ref":
        if not await selection.exists(place.entity, place.key):
            raise missing()
        return _json({"@iot.selfLink": self_link(root, place.entity, place.key)})
    if place.property is not None:
        return await _property(place, place.key, place.property, selection)
    if options.filter or options.order or options.skip or "$top" in options.raw or options.after is not None:
        raise refuse(
            "One entity takes $select and $expand only.", "Một thực thể chỉ nhận $select và $expand."
        )  # fmt: skip
    found = await selection.one(place.entity, place.key, options)
    if found is None:
        raise missing()
    return _json(entity_json(root, found))


async def _property(place: Place, key: Key, written: str, selection: Selection) -> Response:
    name = written.removeprefix("@iot.")
    options = read_options({"$select": name}, place.entity)
    found = await selection.one(place.entity, key, options)
    if found is None:
        raise missing()
    if name == "id":
        value: Any = id_of(place.entity, key)
    else:
        stored = found.values[name]
        value = None if stored is None else value_json(place.entity.properties[name], stored)
    if value is None:
        return Response(status_code=204, headers=HEADERS)
    if place.ending != "$value":
        return _json({written: value})
    raw = orjson.loads(orjson.dumps(value))
    return _text(raw if isinstance(raw, str) else orjson.dumps(raw).decode())


def _text(text: str) -> Response:
    return Response(text, media_type="text/plain", headers=HEADERS)


def _json(content: Any, cache: str | None = None) -> Response:
    headers = HEADERS if cache is None else {"Cache-Control": cache, "Vary": "Host"}
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)

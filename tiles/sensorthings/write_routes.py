"""The addresses of SensorThings that take something: entities, changes to them, arrays of observations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import orjson
from fastapi import APIRouter, Request, Response

from tiles.http.openapi import WRITING
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.problems import TRY_LATER
from tiles.http.server import CityContext
from tiles.sensorthings.answers import self_link
from tiles.sensorthings.bodies import object_of, read_json
from tiles.sensorthings.change import Change, clear_results
from tiles.sensorthings.changing import change_entity
from tiles.sensorthings.creating import NeedsLayer, create
from tiles.sensorthings.deleting import delete_entity, delete_observations
from tiles.sensorthings.errors import missing, refuse
from tiles.sensorthings.model import TYPES, EntityType
from tiles.sensorthings.observing import change_observation, read_arrays
from tiles.sensorthings.paths import Place, resolve
from tiles.sensorthings.routes import EntityPath, reading, root_of
from tiles.sensorthings.select import Key, id_of
from tiles.streams.writing import StreamWriting
from twin.access.policy import NEEDS_KEY
from twin.access.principals import Action, Principal
from twin.catalogue.catalogue import LayerEntry, ensure_layer
from twin.db.tables import Sharing
from twin.errors import Conflict, Forbidden, Unauthenticated, Unavailable
from twin.streams.declare import notify_streams
from twin.streams.writer import Observation
from twin.text import Text

log = logging.getLogger("twin.http")


BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    403: {"description": "The key may not write this"},
    408: {"description": "The request stopped arriving"},
    409: {"description": "A code is taken, or somebody changed this at the same moment"},
    413: {"description": "The request is too large"},
}
router = APIRouter(prefix="/sta/v1.1", tags=["sensorthings", WRITING], responses=REFUSALS)
ATTEMPTS = 3
AGENCY_SQL = "SELECT id FROM twin.agency WHERE name = $1"
OWN_LAYER_SQL = """
SELECT l.id FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id WHERE a.id = $1 AND l.name = 'things'
"""
THINGS = Text(en="Things that observe", vi="Thiết bị quan trắc")
T = TypeVar("T")


def observing_agency(principal: Principal) -> str:
    """Return the agency whose streams a principal may write.

    Raises
    ------
    Unauthenticated, Forbidden
        Without a key; with one whose role does not write.
    """
    if principal.agency is None:
        raise Unauthenticated(NEEDS_KEY)
    if not principal.may(Action.OBSERVE):
        raise Forbidden(
            Text(
                en="A key of the role “{role}” does not write values. Ask for one that does: twin key new --role "
                "device",
                vi="Khóa có vai trò “{role}” không được ghi số liệu. Hãy xin khóa được ghi: twin key new --role device",
            ).format(role=principal.role.value)
        )
    return principal.agency


@router.post("/CreateObservations", status_code=201, openapi_extra=BODY, summary="SensorThings: observations in arrays")
async def create_observations(request: Request, city: City, principal: CurrentPrincipal, lang: Lang) -> Response:
    """Write observations of several Datastreams; the answer has an address or “error …” for each row."""
    agency = observing_agency(principal)
    body = read_json(await request.body())
    writing = _writing(request)

    async def prepare(change: Change) -> Any:
        found = await read_arrays(change, body)
        await change.finish()
        return found

    answers, good = await _in_transaction(city, writing, agency, principal, prepare)
    if good:
        await _guarded(lambda: _write(writing, good, principal.actor))
    root, observation = root_of(request), TYPES["Observation"]
    listed = [
        self_link(root, observation, (one.stream, one.time)) if isinstance(one, Observation)
        else f"error {one.message.in_language(lang)}"
        for one in answers
    ]  # fmt: skip
    return Response(orjson.dumps(listed), 201, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post("/{entity_path:path}", status_code=201, openapi_extra=BODY, summary="SensorThings: make an entity")
async def make(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, entity_path: EntityPath
) -> Response:
    """Make an entity with all that is described inside of it, all or nothing; the header Location has its address."""
    agency = observing_agency(principal)
    body = read_json(await request.body())
    place = await _place(city, principal, entity_path)
    if place.key is not None or place.property is not None:
        raise refuse("Entities are made in a set: POST …/Things", "Thực thể được tạo trong một tập: POST …/Things")

    async def work(change: Change) -> int | Key:
        links = await _parent_links(change, place)
        made = await create(change, place.entity.name, object_of(body, ""), "", links)
        await change.finish()
        return made

    made = await _in_transaction(city, _writing(request), agency, principal, work)
    key = made if isinstance(made, tuple) else (made,)
    return _done(request, place.entity, key, 201)


@router.patch("/{entity_path:path}", openapi_extra=BODY, summary="SensorThings: change an entity")
async def change_some(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, entity_path: EntityPath
) -> Response:
    """Change the fields that the body names."""
    return await _changed(request, city, principal, entity_path, whole=False)


@router.put("/{entity_path:path}", openapi_extra=BODY, summary="SensorThings: replace an entity")
async def replace(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, entity_path: EntityPath
) -> Response:
    """Replace all fields of an entity; what is not named gets its default."""
    return await _changed(request, city, principal, entity_path, whole=True)


@router.delete("/{entity_path:path}", summary="SensorThings: remove an entity")
async def remove(
    request: Request, city: City, principal: CurrentPrincipal, lang: Lang, entity_path: EntityPath
) -> Response:
    """Remove an entity with what cannot be without it: a Thing with its Datastreams, those with their Observations."""
    agency = observing_agency(principal)
    place, key = await _one(city, principal, entity_path)

    async def work(change: Change) -> None:
        await _require_own(change, place.entity, key)
        if place.entity.name == "Observation":
            await delete_observations(change.connection, [(key[0], key[1])])
        else:
            await delete_entity(change.connection, place.entity.name, key[0])
        await notify_streams(change.connection)

    await _in_transaction(city, _writing(request), agency, principal, work)
    return Response(status_code=200, headers={"Cache-Control": "no-store"})


async def _changed(request: Request, city: CityContext, principal: Principal, path: str, *, whole: bool) -> Response:
    agency = observing_agency(principal)
    body = object_of(read_json(await request.body()), "")
    place, key = await _one(city, principal, path)

    async def work(change: Change) -> Key:
        await _require_own(change, place.entity, key)
        changed = key
        if place.entity.name == "Observation":
            changed = await change_observation(change, key, body, whole=whole)
        else:
            await change_entity(change, place.entity.name, key[0], body, whole=whole)
        await change.finish()
        return changed

    now = await _in_transaction(city, _writing(request), agency, principal, work)
    return _done(request, place.entity, now, 200)


async def _place(city: CityContext, principal: Principal, path: str) -> Place:
    async with reading(city, principal) as selection:
        place = await resolve(path, selection)
    if place.ending is not None:
        raise missing()
    return place


async def _one(city: CityContext, principal: Principal, path: str) -> tuple[Place, Key]:
    """Return the place of one entity that the principal may see, and its key."""
    async with reading(city, principal) as selection:
        place = await resolve(path, selection)
        if place.ending is not None or place.property is not None or place.key is None:
            raise refuse("One entity is changed at a time: …/Things(1)", "Mỗi lần thay đổi một thực thể: …/Things(1)")
        if not await selection.exists(place.entity, place.key):
            raise missing()
    return place, place.key


async def _require_own(change: Change, entity: EntityType, key: Key) -> None:
    """Refuse an entity that is not the agency's own."""
    if not await change.is_own("Datastream" if entity.name == "Observation" else entity.name, key[0]):
        raise Forbidden(
            Text(
                en="This entity is of another agency than your key.",
                vi="Thực thể này thuộc đơn vị khác với khóa của bạn.",
            )
        )


async def _parent_links(change: Change, place: Place) -> dict[str, int]:
    """Return the entity that a set is behind, as what is made in it belongs to it."""
    if place.parent is None:
        return {}
    entity, key, _ = place.parent
    await _require_own(change, entity, key)
    back = [n.target for n in place.entity.navigations.values() if n.target == entity.name]
    return {back[0]: key[0]} if back else {}


async def _in_transaction(
    city: CityContext, writing: StreamWriting, agency: str, principal: Principal,
    work: Callable[[Change], Awaitable[T]],
) -> T:  # fmt: skip
    """Do a change in one transaction; make the agency's own layer if the change needs it."""

    async def attempt() -> T:
        async with writing.connection() as connection, connection.transaction():
            number = await connection.fetchval(AGENCY_SQL, agency)
            own = await connection.fetchval(OWN_LAYER_SQL, number)
            return await work(Change(connection, number, agency, principal.actor, datetime.now(UTC), own))

    try:
        return await _guarded(attempt)
    except NeedsLayer:
        await asyncio.to_thread(_make_layer, city, f"{agency}.things")
        await city.refresh()
        return await _guarded(attempt)


def _make_layer(city: CityContext, name: str) -> None:
    with city.database.session() as session:
        ensure_layer(session, LayerEntry(name, "sensors", THINGS, sharing=Sharing.RESTRICTED))


async def _guarded(attempt: Callable[[], Awaitable[T]]) -> T:
    """Do something in the database; what crossed something else is tried again."""
    for number in range(ATTEMPTS):
        try:
            return await attempt()
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            await asyncio.sleep(0.05 * (number + 1))
        except (asyncpg.ForeignKeyViolationError, asyncpg.UniqueViolationError) as error:
            log.info("a change is in conflict: %s", error)
            raise Conflict(
                Text(
                    en="Somebody changed or removed what this belongs to at this moment. Look, and try again.",
                    vi="Có người vừa thay đổi hoặc xóa phần liên quan. Hãy xem lại rồi thử lại.",
                )
            ) from None
    raise Unavailable(TRY_LATER)


async def _write(writing: StreamWriting, observations: list[Observation], source: str) -> None:
    async with writing.connection() as connection:
        writer = await writing.writer(connection)
        await writer.write(connection, observations, source)
        await clear_results(connection, observations)


def _writing(request: Request) -> StreamWriting:
    writing: StreamWriting = request.app.state.stream_writing
    return writing


def _done(request: Request, entity: EntityType, key: Key, status: int) -> Response:
    link = self_link(root_of(request), entity, key)
    content = orjson.dumps({"@iot.id": id_of(entity, key), "@iot.selfLink": link})
    return Response(
        content, status, media_type="application/json", headers={"Location": link, "Cache-Control": "no-store"}
    )

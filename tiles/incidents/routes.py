"""The addresses of incidents: lists, one with its history, acknowledging and closing."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Query, Request, Response
from fastapi import Path as PathParameter

from tiles.http.principal import City, CurrentPrincipal
from tiles.incidents.access import is_owner, require_responder, writing
from tiles.streams.selection import read_filter, text_of
from twin.access.permit import readable_streams
from twin.access.principals import Principal
from twin.errors import BadInput
from twin.incidents import store
from twin.incidents.incident import Incident, stamp
from twin.incidents.rules import SEVERITIES
from twin.incidents.store import IncidentFilter
from twin.streams.reading import read_time
from twin.text import Text, read_stored

NO_STORE = {"Cache-Control": "no-store"}
NOTE_LENGTH = 2_000

IncidentId = Annotated[int, PathParameter(ge=1, lt=2**63, description="The incident's id.")]
Note = Annotated[str, Body(embed=True, max_length=NOTE_LENGTH, description="What there is to say, for the history.")]

router = APIRouter(tags=["alerts"])


@router.get("/incidents", summary="What the rules found")
async def incidents(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    kind: Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="Kind of incident: alert.")] = None,
    status: Annotated[
        Literal["open", "acknowledged", "closed", "active"] | None,
        Query(description="Status; “active” is open or acknowledged."),
    ] = None,
    severity: Annotated[str | None, Query(description="Severities, with commas."), text_of("severities")] = None,
    layers: Annotated[str | None, Query(description="Layers, with commas.")] = None,
    bbox: Annotated[
        str | None, Query(description="West, south, east, north in degrees."), text_of("box-in-degrees")
    ] = None,
    start: Annotated[
        str | None, Query(alias="from", description="Not over before this moment."), text_of("first-moment")
    ] = None,
    end: Annotated[str | None, Query(alias="to", description="Opened by this moment."), text_of("last-moment")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Incidents in an answer.")] = 100,
    after: Annotated[
        str | None, Query(max_length=200, description="Go on from here; see `next`."), text_of("incident-token")
    ] = None,
) -> Response:
    """List the incidents that may be read, the newest first."""
    wanted = IncidentFilter(
        kind=kind,
        status=_statuses(status),
        severity=None if severity is None else _severities(severity),
        layers=None if layers is None else layers.split(",")[:100],
        box=None if bbox is None else read_filter(bbox=bbox).box,
        start=None if start is None else read_time(start),
        end=None if end is None else read_time(end),
        before=None if after is None else _read_token(after),
    )
    readable = readable_streams(principal, city.layers)
    async with city.connection(asking=True) as connection:
        found = await store.list_incidents(connection, readable, wanted, limit + 1)
    answer: dict[str, Any] = {"incidents": [incident.as_dict() for incident in found[:limit]]}
    if len(found) > limit:
        answer["next"] = str(request.url.include_query_params(after=_token(found[limit - 1])))
    return _json(answer)


@router.get("/incidents/{incident}", summary="One incident, with its history")
async def one(request: Request, city: City, principal: CurrentPrincipal, incident: IncidentId) -> Response:
    """Describe an incident and what became of it. Names and notes are for its own agency and operators."""
    async with city.connection() as connection:
        found = await store.find_incident(connection, readable_streams(principal, city.layers), incident)
        return _json(await _with_history(connection, principal, found))


@router.post("/incidents/{incident}/acknowledge", summary="Say that somebody looks after it")
async def acknowledge(
    request: Request, city: City, principal: CurrentPrincipal, incident: IncidentId, note: Note = ""
) -> Response:
    """Acknowledge an incident of the key's agency."""
    return await _act(request, city, principal, incident, note, "acknowledge")


@router.post("/incidents/{incident}/close", summary="Close it")
async def close(
    request: Request, city: City, principal: CurrentPrincipal, incident: IncidentId, note: Note = ""
) -> Response:
    """Close an incident of the key's agency; its rule stays quiet about it until the condition was over."""
    return await _act(request, city, principal, incident, note, "close")


async def _act(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    key: int,
    note: str,
    action: Literal["acknowledge", "close"],
) -> Response:
    async with writing(request) as connection:
        readable = readable_streams(principal, city.layers)
        found = await store.find_incident(connection, readable, key)
        require_responder(principal, found)
        work = store.acknowledge if action == "acknowledge" else store.close
        await work(connection, found, principal.actor, note.replace("\0", "·"))
        found = await store.find_incident(connection, readable, key)
        return _json(await _with_history(connection, principal, found))


async def _with_history(connection: Any, principal: Principal, incident: Incident) -> dict[str, Any]:
    events = await store.history(connection, incident.id)
    whole = is_owner(principal, incident.agency)
    # Deliveries name no receiver, but how many there are is the owner's business too.
    shown = [event for event in events if whole or event["what"] not in ("delivered", "given_up")]
    return incident.as_dict() | {"history": [_event_json(event, whole) for event in shown]}


def _event_json(event: Any, whole: bool) -> dict[str, Any]:
    by = event["by"] if whole else event["by"].partition("/")[0]
    note = read_stored(event["note"]).as_dict() if whole and event["note"] else None
    return {"at": stamp(event["at"]), "what": event["what"], "by": by, "note": note, **event["data"]}


def _statuses(status: str | None) -> list[str] | None:
    match status:
        case None:
            return None
        case "active":
            return ["open", "acknowledged"]
        case _:
            return [status]


def _severities(text: str) -> list[str]:
    found = text.split(",")
    if not set(found) <= SEVERITIES.keys():
        raise BadInput(
            Text(en="“severity” takes {known}, with commas.", vi="“severity” nhận {known}, cách nhau bằng dấu phẩy.")
            .format(known=", ".join(SEVERITIES))
        )  # fmt: skip
    return found


def _token(incident: Incident) -> str:
    return base64.urlsafe_b64encode(f"{incident.opened.isoformat()} {incident.id}".encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[datetime, int]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
        moment, _, number = text.partition(" ")
        opened, key = datetime.fromisoformat(moment), int(number)
        fits = opened.tzinfo is not None and 0 < key < 2**63
    except (ValueError, binascii.Error):
        fits = False
    if not fits:
        raise BadInput(
            Text(en="“after” is taken from `next` as it stands.", vi="“after” lấy nguyên từ `next` của trang trước.")
        )
    return opened, key


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers=NO_STORE)

"""The address `/live`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from tiles.http.clients import address_of
from tiles.http.head import HEADERS_ONLY
from tiles.http.principal import City, CurrentPrincipal
from tiles.http.server import CityContext
from tiles.incidents.live_incidents import FollowedIncidents
from tiles.live import events
from tiles.live.answer import HEADERS, MEDIA_TYPE, FollowedState, LiveResponse, event_id
from tiles.live.followers import Followers
from tiles.live.schemas import DESCRIPTION, EVENT
from tiles.streams.selection import Filter, Selections, read_filter
from twin.access.permit import permit_of, readable_streams
from twin.access.principals import Principal

router = APIRouter(tags=["live"])


@router.get(
    "/live", summary="What changes, while it happens", response_class=Response,
    responses={200: {"description": DESCRIPTION, "content": {MEDIA_TYPE: {"schema": EVENT}}}},
)  # fmt: skip
async def live(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    wanted: Annotated[Filter, Depends(read_filter)],
    layers: Annotated[
        str | None, Query(description="Layers to follow, with commas; else all that the reader may see.")
    ] = None,
    state: Annotated[
        bool, Query(description="Values of streams too. They come as well if streams, kinds, bbox or cell is given.")
    ] = False,
    incidents: Annotated[bool, Query(description="Incidents too. They come as well if state is true.")] = False,
    once: Annotated[bool, Query(description="Only the first event: what is current. The answer then ends.")] = False,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The last `id` that was read. `current` is left out if it still is."),
    ] = None,
) -> Response:
    """Follow the layers, the values of their streams, and incidents."""
    followers: Followers = request.app.state.followers
    names = None if layers is None else tuple(dict.fromkeys(layers.split(",")))
    for name in names or ():
        if name not in readable_streams(principal, city.layers):
            permit_of(principal, city.layers, name)
    # Before anything is sent: as long as the city is not open, this can still become a problem document.
    view = followers.views.of(principal, names)
    followed = None
    if state or wanted != Filter():
        followed = _followed(request, city, principal, replace(wanted, of_layers=frozenset(names) if names else None))
    followed_incidents = _incidents(request, city, principal) if state or incidents else None
    if once or request.scope.get(HEADERS_ONLY):
        known = event_id(
            view, followed.horizon if followed else None, followed_incidents.horizon if followed_incidents else None
        )
        content = events.current(view, known)
        if followed and (values := followed.first(None)) is not None:
            content += events.state([values], known)
        if followed_incidents and (data := followed_incidents.first(None)) is not None:
            content += events.incidents(data, known)
        return Response(content, media_type=MEDIA_TYPE, headers=HEADERS)
    who = principal.key or address_of(request.scope)
    return LiveResponse(followers, principal, who, names, last_event_id, followed, followed_incidents)


def _incidents(request: Request, city: CityContext, principal: Principal) -> FollowedIncidents:
    return FollowedIncidents(request.app.state.incidents, lambda: readable_streams(principal, city.layers))


def _followed(request: Request, city: CityContext, principal: Principal, wanted: Filter) -> FollowedState:
    selections: Selections = request.app.state.selections
    followed = FollowedState(
        request.app.state.live, lambda: selections.of(readable_streams(principal, city.layers), wanted)
    )
    # Here too it is said at once that the streams are not known yet.
    _ = request.app.state.live.entries
    return followed

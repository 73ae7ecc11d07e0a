"""The address `/live`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from tiles.http.clients import address_of
from tiles.http.head import HEADERS_ONLY
from tiles.http.principal import City, CurrentPrincipal
from tiles.live import events
from tiles.live.answer import HEADERS, MEDIA_TYPE, LiveResponse
from tiles.live.followers import Followers
from tiles.live.schemas import DESCRIPTION, EVENT
from twin.access.permit import permit_of

router = APIRouter(tags=["live"])


@router.get(
    "/live", summary="What changes, while it happens", response_class=Response,
    responses={200: {"description": DESCRIPTION, "content": {MEDIA_TYPE: {"schema": EVENT}}}},
)  # fmt: skip
async def live(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    layers: Annotated[
        str | None, Query(description="Layers to follow, with commas; else all that the reader may see.")
    ] = None,
    once: Annotated[bool, Query(description="Only the first event: what is current. The answer then ends.")] = False,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The last `id` that was read. `current` is left out if it still is."),
    ] = None,
) -> Response:
    """Follow the layers."""
    followers: Followers = request.app.state.followers
    names = None if layers is None else tuple(dict.fromkeys(layers.split(",")))
    for name in names or ():
        permit_of(principal, city.layers, name)
    # Before anything is sent: as long as the city is not open, this can still become a problem document.
    view = followers.views.of(principal, names)
    if once or request.scope.get(HEADERS_ONLY):
        return Response(events.current(view), media_type=MEDIA_TYPE, headers=HEADERS)
    return LiveResponse(followers, principal, principal.key or address_of(request.scope), names, last_event_id)

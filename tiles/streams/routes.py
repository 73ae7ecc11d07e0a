"""The addresses of streams and of a layer's state."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter

from layers.observed.registry import KINDS
from tiles.features.items import LayerId
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.streams.answers import (
    Value,
    kind_json,
    series_json,
    stamp,
    state_bytes,
    stream_json,
    value_json,
)
from tiles.streams.live_state import LiveState
from tiles.streams.selection import Filter, Selections, read_filter, text_of, visible_entry
from tiles.streams.states import States, state_of_cells
from twin.access.permit import permit_of, readable_streams
from twin.errors import BadInput
from twin.streams.reading import read_time
from twin.streams.series import Stat, midnight_before, series
from twin.text import Text

router = APIRouter(tags=["streams"])

NO_STORE = {"Cache-Control": "no-store"}
DURATION = re.compile(r"(\d{1,6})\s?(s|m|min|h|d)")
UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
MOST_STREAMS = 10_000

StreamId = Annotated[int, PathParameter(ge=1, lt=2**31, description="The stream's id.")]
At = Annotated[
    str | None,
    Query(description="The state as of this moment, with its zone; else now."),
    text_of("past"),
]


def live_of(request: Request) -> LiveState:
    """Return what the server knows of the streams."""
    live: LiveState = request.app.state.live
    return live


def read_duration(text: str) -> timedelta:
    """Read a length of time such as 30s, 15m, 1h or 1d."""
    match = DURATION.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise BadInput(
            Text(
                en="“every” is a length of time such as 30s, 15m, 1h or 1d.",
                vi="“every” là một khoảng thời gian như 30s, 15m, 1h hoặc 1d.",
            )
        )
    return timedelta(seconds=int(match[1]) * UNIT_SECONDS[match[2]])


def read_at(at: str | None) -> datetime | None:
    """Read the moment of a state; None is now."""
    return None if at is None or at == "now" else read_time(at)


@router.get("/streams", summary="Which streams there are")
async def streams(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    lang: Lang,
    wanted: Annotated[Filter, Depends(read_filter)],
    layers: Annotated[str | None, Query(description="Layers, with commas.")] = None,
    placed: Annotated[bool | None, Query(description="Only those that are on the map, or only the others.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_STREAMS, description="Streams in an answer.")] = 1_000,
    after: Annotated[int, Query(ge=0, lt=2**31, description="Go on after this id.")] = 0,
) -> Response:
    """List the streams that may be read, by id, each with its latest value."""
    live, selections = live_of(request), _selections(request)
    wanted = replace(wanted, of_layers=None if layers is None else frozenset(layers.split(",")))
    found = selections.of(readable_streams(principal, city.layers), wanted)
    entries = live.entries
    if placed is not None:
        found = frozenset(s for s in found if entries[s].is_placed is placed)
    shown = [s for s in sorted(found) if s > after][: limit + 1]
    more = len(shown) > limit
    now = datetime.now(UTC)
    listed = []
    for stream in shown[:limit]:
        latest = live.values.get(stream)
        value = Value(entries[stream], latest.time, latest.value, latest.flag) if latest else None
        listed.append(stream_json(entries[stream], lang) | {"latest": value_json(value, now) if value else None})
    answer: dict[str, Any] = {"numberMatched": len(found), "streams": listed}
    if more:
        answer["next"] = str(request.url.include_query_params(after=shown[limit - 1]))
    return _json(answer)


@router.get("/streams/kinds", summary="What the values of streams mean")
async def kinds(lang: Lang) -> Response:
    """List the kinds of values: unit, believable range, freshness, and the scales by which they are coloured."""
    return _json({"kinds": [kind_json(kind, lang) for kind in KINDS.values()]}, "public, max-age=300")


@router.get("/streams/{stream}", summary="One stream")
async def stream(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, stream: StreamId) -> Response:
    """Describe a stream, with its latest value."""
    live = live_of(request)
    entry = visible_entry(live.entries, readable_streams(principal, city.layers), stream)
    latest = live.values.get(stream)
    value = Value(entry, latest.time, latest.value, latest.flag) if latest else None
    kind = KINDS.get(entry.kind)
    return _json(
        stream_json(entry, lang)
        | {
            "properties": dict(entry.properties),
            "latest": value_json(value, datetime.now(UTC)) if value else None,
            "meaning": kind_json(kind, lang) if kind else None,
        }
    )


@router.get("/streams/{stream}/series", summary="A stream's past, in buckets")
async def stream_series(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    lang: Lang,
    stream: StreamId,
    start: Annotated[
        str | None,
        Query(alias="from", description="First moment; else a day before the end."),
        text_of("first-moment"),
    ] = None,
    end: Annotated[str | None, Query(alias="to", description="Last moment; else now."), text_of("last-moment")] = None,
    every: Annotated[
        str,
        Query(description="Length of a bucket: 30s, 5m, 15m, 1h, 1d."),
        text_of("duration-of-bucket"),
    ] = "15m",
    stat: Annotated[Stat | None, Query(description="What a bucket tells; else as the stream's kind rolls up.")] = None,
) -> Response:
    """Give a stream's values in buckets that stand on the city's midnight.

    Each bucket says on how many values it rests (`n`), how many were flagged and left out, and how many the stream's
    usual interval gives (`expected`). A bucket without good values has the value null: gaps stay gaps. `open` says that
    the bucket is not over yet.
    """
    live = live_of(request)
    entry = visible_entry(live.entries, readable_streams(principal, city.layers), stream)
    last = read_time(end) if end else datetime.now(UTC)
    first = read_time(start) if start else last - timedelta(days=1)
    if first >= last:
        raise BadInput(Text(en="“from” must lie before “to”.", vi="“from” phải trước “to”."))
    length, chosen = read_duration(every), stat or _usual_stat(entry.rolls_up)
    origin = midnight_before(first, city.settings.profile.time_zone).astimezone(UTC)
    async with city.connection(asking=True) as connection:
        buckets = await series(connection, stream, first, last, length, chosen, origin, entry.every_seconds)
    return _json(series_json(entry, buckets, length.total_seconds(), chosen))


@router.get(
    "/collections/{layer}/state", summary="The state of a layer, now or at a moment",
    responses={200: {"content": {"application/json": {}, "application/octet-stream": {}}}},
)  # fmt: skip
async def state(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    lang: Lang,
    layer: LayerId,
    wanted: Annotated[Filter, Depends(read_filter)],
    at: At = None,
    f: Annotated[Literal["json", "bin"], Query(description="Format of the answer.")] = "json",
) -> Response:
    """Give the values of the layer's streams.

    `bin` is little-endian, in columns: the number n of values as Uint32, then n each of Uint32 stream, Float32 value,
    Uint32 seconds since 1970, Uint8 grade (255 for none) and Uint8 flag.
    """
    values, moment = await _values(request, city, principal, layer, wanted, at)
    if f == "bin":
        return Response(state_bytes(values), media_type="application/octet-stream", headers=NO_STORE)
    shown = sorted({value.entry.kind for value in values if value.entry.kind in KINDS})
    return _json(
        {
            "collection": layer,
            "at": stamp(moment),
            "kinds": [kind_json(KINDS[name], lang) for name in shown],
            "values": [value_json(value, moment) for value in values],
        }
    )


@router.get("/collections/{layer}/state/cells", summary="The state of a layer as values of H3 cells")
async def state_cells(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    lang: Lang,
    layer: LayerId,
    wanted: Annotated[Filter, Depends(read_filter)],
    resolution: Annotated[int, Query(ge=0, le=15, description="H3 resolution of the cells.")] = 9,
    at: At = None,
) -> Response:
    """Give the fresh, normal values of the layer's streams rolled up to cells, each kind by its own rule."""
    values, moment = await _values(request, city, principal, layer, wanted, at)
    cells = state_of_cells(values, resolution, moment)
    names = sorted({cell["kind"] for cell in cells})
    for cell in cells:
        cell["oldest"] = stamp(cell["oldest"])
    return _json(
        {
            "collection": layer, "at": stamp(moment), "resolution": resolution,
            "kinds": [kind_json(KINDS[name], lang) for name in names], "cells": cells,
        }
    )  # fmt: skip


async def _values(
    request: Request, city: City, principal: CurrentPrincipal, layer: str, wanted: Filter, at: str | None
) -> tuple[list[Value], datetime]:
    selected = selected_streams(request, city, principal, layer, wanted)
    moment = read_at(at)
    states: States = request.app.state.states
    values = await states.of(selected, moment)
    return values, moment or datetime.now(UTC)


def selected_streams(
    request: Request, city: City, principal: CurrentPrincipal, layer: str, wanted: Filter
) -> frozenset[int]:
    """Return the streams of a layer that a request asks for; a layer that is hidden answers like a missing one."""
    readable = readable_streams(principal, city.layers)
    if layer not in readable:
        # The same refusal as for every other answer about the layer.
        permit_of(principal, city.layers, layer)
    # Streams belong to the layer, whichever of its versions is named.
    name = layer.partition("@")[0]
    return _selections(request).of(readable, replace(wanted, of_layers=frozenset((name,))))


def _selections(request: Request) -> Selections:
    selections: Selections = request.app.state.selections
    return selections


def _usual_stat(rolls_up: str) -> Stat:
    match rolls_up:
        case "sum" | "min" | "max" | "last":
            return rolls_up
        case _:
            return "mean"


def _json(content: Any, cache: str = "no-store") -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": cache})

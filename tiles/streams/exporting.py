"""Downloads of observations: those of one stream or of a layer's streams, as CSV or Parquet, sent as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter

from tiles.features.items import LayerId
from tiles.features.streaming import Chunks, StreamedResponse, batches, primed, streaming
from tiles.features.tables import write_parquet
from tiles.http.principal import City, CurrentPrincipal
from tiles.http.server import CityContext
from tiles.streams.routes import StreamId, live_of, selected_streams
from tiles.streams.selection import Filter, read_filter, text_of, visible_entry
from twin.access.permit import readable_streams
from twin.errors import BadInput, NotFound
from twin.streams.entry import StreamEntry
from twin.streams.export import SCHEMA, csv_header, csv_rows, export_statement, record_batch
from twin.streams.reading import read_time
from twin.text import Text

router = APIRouter(tags=["streams"])

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}, "application/vnd.apache.parquet": {}}}}

Form = Annotated[
    str, PathParameter(description="csv or parquet.", json_schema_extra={"enum": list(MEDIA_TYPES)})
]  # fmt: skip
Start = Annotated[
    str | None, Query(alias="from", description="First moment; else a day before the end."), text_of("first-moment")
]
End = Annotated[
    str | None, Query(alias="to", description="The moment before which it ends; else now."), text_of("last-moment")
]

Rows = AsyncGenerator[Sequence[Mapping[str, Any]], None]


@router.get(
    "/streams/{stream}/observations.{form}", summary="A stream's values as a file", responses=RESPONSES,
    response_class=Response,
)  # fmt: skip
async def stream_observations(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    stream: StreamId,
    form: Form,
    start: Start = None,
    end: End = None,
) -> Response:
    """Give the values of a stream as they were received, flagged ones too, by time.

    An answer that takes too long is broken off: ask for less time, or use `twin ingest stream export`.
    """
    entry = visible_entry(live_of(request).entries, readable_streams(principal, city.layers), stream)
    _require_form(form)
    return await _answer(city, {stream: entry}, form, *read_span(start, end), f"stream_{stream}")


@router.get(
    "/collections/{layer}/observations.{form}", summary="The values of a layer's streams as a file",
    responses=RESPONSES, response_class=Response,
)  # fmt: skip
async def layer_observations(
    request: Request,
    city: City,
    principal: CurrentPrincipal,
    layer: LayerId,
    form: Form,
    wanted: Annotated[Filter, Depends(read_filter)],
    start: Start = None,
    end: End = None,
) -> Response:
    """Give the values of the layer's streams as they were received, flagged ones too, by stream and time.

    An answer that takes too long is broken off: ask for less time, or use `twin ingest stream export`.
    """
    selected = selected_streams(request, city, principal, layer, wanted)
    _require_form(form)
    entries = live_of(request).entries
    chosen = {key: entries[key] for key in selected if key in entries}
    return await _answer(city, chosen, form, *read_span(start, end), layer.partition("@")[0])


def read_span(start: str | None, end: str | None) -> tuple[datetime, datetime]:
    """Read the ends of a time; without them it is the day until now.

    Raises
    ------
    BadInput
        If it ends before it begins.
    """
    last = read_time(end) if end else datetime.now(UTC)
    try:
        first = read_time(start) if start else last - timedelta(days=1)
    except OverflowError:
        first = last
    if first >= last:
        raise BadInput(Text(en="“from” must lie before “to”.", vi="“from” phải trước “to”."))
    return first, last


def _require_form(form: str) -> None:
    if form not in MEDIA_TYPES:
        raise NotFound(
            Text(
                en="Observations are given as observations.csv and observations.parquet.",
                vi="Giá trị đo có ở dạng observations.csv và observations.parquet.",
            )
        )


async def _answer(
    city: CityContext, entries: Mapping[int, StreamEntry], form: str, start: datetime, end: datetime, name: str
) -> Response:
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}_observations.{form}"',
    }
    rows = _rows(city, entries, start, end)
    if form == "csv":
        chunks = _csv(rows, entries)
    else:
        # It is compressed already, column by column.
        headers["Content-Encoding"] = "identity"
        chunks = write_parquet(_record_batches(rows, entries), SCHEMA)
    seconds = city.settings.stream_seconds
    return StreamedResponse(await primed(chunks, seconds), seconds, media_type=MEDIA_TYPES[form], headers=headers)


async def _rows(city: CityContext, entries: Mapping[int, StreamEntry], start: datetime, end: datetime) -> Rows:
    statement = export_statement(list(entries), start, end)
    async with streaming(city) as connection, aclosing(batches(connection, statement)) as read:
        async for rows in read:
            yield rows


async def _csv(rows: Rows, entries: Mapping[int, StreamEntry]) -> Chunks:
    header = csv_header()
    async with aclosing(rows):
        async for some in rows:
            yield header + csv_rows(some, entries)
            header = b""
    if header:
        yield header


async def _record_batches(
    rows: Rows, entries: Mapping[int, StreamEntry]
) -> AsyncGenerator[pa.RecordBatch, None]:  # fmt: skip
    async with aclosing(rows):
        async for some in rows:
            yield await asyncio.to_thread(record_batch, some, entries)

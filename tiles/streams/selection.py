"""Which streams a request is about: those that its principal may read, by layer, kind, box or cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import h3
from fastapi import Query
from pydantic import WithJsonSchema

from tiles.streams.live_state import LiveState
from twin.errors import BadInput, NotFound
from twin.streams.entry import StreamEntry
from twin.text import Text

MOST_NAMED = 1_000
# Selections that are kept: many readers follow the same streams.
KEPT = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """What a request asks for; None is everything. `box` is west, south, east, north in degrees."""

    of_layers: frozenset[str] | None = None
    streams: frozenset[int] | None = None
    kinds: frozenset[str] | None = None
    box: tuple[float, float, float, float] | None = None
    cell: str | None = None

    def takes(self, entry: StreamEntry) -> bool:
        """Tell whether a stream is asked for."""
        if self.of_layers is not None and entry.layer not in self.of_layers:
            return False
        if self.streams is not None and entry.key not in self.streams:
            return False
        if self.kinds is not None and entry.kind not in self.kinds:
            return False
        if self.box is None and self.cell is None:
            return True
        if entry.longitude is None or entry.latitude is None:
            return False
        if self.box is not None:
            west, south, east, north = self.box
            if not (west <= entry.longitude <= east and south <= entry.latitude <= north):
                return False
        if self.cell is None:
            return True
        resolution = h3.get_resolution(self.cell)
        return bool(h3.latlng_to_cell(entry.latitude, entry.longitude, resolution) == self.cell)


def text_of(form: str, pattern: str | None = None) -> WithJsonSchema:
    """Return what the OpenAPI document says of an optional text: its format, and a pattern where there is one."""
    return WithJsonSchema({"type": "string", "format": form} | ({"pattern": pattern} if pattern else {}))


class Selections:
    """The streams of filters, for the layers that may be read; made again when the streams are others."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._generation = -1
        self._kept: dict[tuple[frozenset[str], Filter], frozenset[int]] = {}

    def of(self, readable: frozenset[str], wanted: Filter) -> frozenset[int]:
        """Return the ids of the streams that are asked for and may be read; the same object for equal questions."""
        entries = self._state.entries
        if self._generation != self._state.generation or len(self._kept) > KEPT:
            self._kept, self._generation = {}, self._state.generation
        key = (readable, wanted)
        if key not in self._kept:
            self._kept[key] = frozenset(
                number for number, entry in entries.items() if entry.layer in readable and wanted.takes(entry)
            )
        return self._kept[key]


def visible_entry(entries: Mapping[int, StreamEntry], readable: frozenset[str], key: int) -> StreamEntry:
    """Return a stream if it may be read; one that is hidden answers like one that does not exist."""
    entry = entries.get(key)
    if entry is None or entry.layer not in readable:
        raise NotFound(Text(en="There is no such stream.", vi="Không có luồng dữ liệu này."))
    return entry


def read_filter(
    streams: Annotated[
        str | None,
        Query(description="Ids of streams, with commas."),
        text_of("stream-ids", r"^([0-9]{1,9}(,[0-9]{1,9})*)?$"),
    ] = None,
    kinds: Annotated[str | None, Query(description="Kinds of values, with commas: traffic_speed, pm2_5.")] = None,
    bbox: Annotated[
        str | None,
        Query(description="West, south, east, north in degrees."),
        text_of("box-in-degrees"),
    ] = None,
    cell: Annotated[str | None, Query(description="An H3 cell; streams inside it."), text_of("h3")] = None,
) -> Filter:
    """Read the filter of a request; an empty parameter is none.

    Raises
    ------
    BadInput
        If a part of it cannot be read.
    """
    return Filter(
        streams=_keys(streams) if streams else None,
        kinds=frozenset(kinds.split(",")) if kinds else None,
        box=_box(bbox) if bbox else None,
        cell=_cell(cell) if cell else None,
    )


def _keys(text: str) -> frozenset[int]:
    parts = text.split(",")
    if len(parts) > MOST_NAMED or not all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts):
        raise BadInput(
            Text(
                en="“streams” takes at most {most:,} ids of streams, with commas: streams=12,13",
                vi="“streams” nhận tối đa {most:,} mã luồng, cách nhau bằng dấu phẩy: streams=12,13",
            ).format(most=MOST_NAMED)
        )
    return frozenset(map(int, parts))


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
        fits = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
    except ValueError:
        fits = False
    if not fits:
        raise BadInput(
            Text(
                en="“bbox” is west,south,east,north in degrees: bbox=106.6,10.7,106.8,10.9",
                vi="“bbox” gồm tây,nam,đông,bắc theo độ: bbox=106.6,10.7,106.8,10.9",
            )
        )
    return west, south, east, north


def _cell(text: str) -> str:
    if not h3.is_valid_cell(text):
        raise BadInput(Text(en="“{cell}” is no H3 cell.", vi="“{cell}” không phải ô H3.").format(cell=text[:40]))
    return text

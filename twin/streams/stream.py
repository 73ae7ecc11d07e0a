"""What a stream is to the programs that write and read it, and the directory of all streams in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson


@dataclass(frozen=True, slots=True)
class Stream:
    """A Datastream as far as its values are concerned.

    Parameters
    ----------
    key : int
        The Datastream's id.
    code : str
        How its agency calls it.
    agency, layer : str
        Who owns it, and the layer whose sharing level it has.
    unit : str or None
        UCUM code of its values.
    units : mapping
        Other units that a value may come in, as (factor, offset): value * factor + offset.
    factor, offset : float
        From what the device sends, where no unit is named, to `unit`.
    lowest, highest : float or None
        The believable range, in `unit`.
    stuck_seconds : float or None
        The same value for longer than this is flagged, unless it is in `stuck_except`.
    """

    key: int
    code: str
    agency: str
    layer: str
    unit: str | None = None
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    factor: float = 1.0
    offset: float = 0.0
    lowest: float | None = None
    highest: float | None = None
    stuck_seconds: float | None = None
    stuck_except: frozenset[float] = frozenset()


STREAMS_SQL = """
SELECT d.id, d.code, a.name AS agency, a.name || '.' || l.name AS layer, d.unit_symbol, d.units::text, d.factor,
    d."offset", d.lowest, d.highest, d.stuck_seconds, d.stuck_except
FROM live.datastream d JOIN twin.layer l ON l.id = d.layer_id JOIN twin.agency a ON a.id = l.agency_id
"""


class StreamDirectory:
    """All streams by id and by agency and code. One that is not known is looked up, so new streams need no restart."""

    def __init__(self) -> None:
        self.by_key: dict[int, Stream] = {}
        self.by_code: dict[tuple[str, str], Stream] = {}

    async def read(self, connection: asyncpg.Connection) -> None:
        """Read all streams anew."""
        streams = [_stream(row) for row in await connection.fetch(STREAMS_SQL)]
        self.by_key = {stream.key: stream for stream in streams}
        self.by_code = {(stream.agency, stream.code): stream for stream in streams}

    async def look_up(self, connection: asyncpg.Connection, keys: set[int]) -> None:
        """Read those of some ids that are not known yet."""
        if missing := keys - self.by_key.keys():
            for row in await connection.fetch(STREAMS_SQL + " WHERE d.id = ANY($1::int4[])", list(missing)):
                self._add(_stream(row))

    async def look_up_code(self, connection: asyncpg.Connection, agency: str, code: str) -> Stream | None:
        """Return the stream of an agency's code, also one that was declared a moment ago; None if there is none."""
        if (agency, code) not in self.by_code:
            for row in await connection.fetch(STREAMS_SQL + " WHERE a.name = $1 AND d.code = $2", agency, code):
                self._add(_stream(row))
        return self.by_code.get((agency, code))

    def _add(self, stream: Stream) -> None:
        self.by_key[stream.key] = self.by_code[stream.agency, stream.code] = stream


def _stream(row: Mapping[str, Any]) -> Stream:
    units = {name: (float(pair[0]), float(pair[1])) for name, pair in orjson.loads(row["units"]).items()}
    return Stream(
        row["id"], row["code"], row["agency"], row["layer"], row["unit_symbol"], units, row["factor"], row["offset"],
        row["lowest"], row["highest"], row["stuck_seconds"], frozenset(row["stuck_except"]),
    )  # fmt: skip

"""A small city with streams, and a connection to write to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.streams.declare import Place, StreamDeclaration, declare_streams
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, StreamWriter
from twin.text import Text

ZONE = "Asia/Ho_Chi_Minh"
# A whole hour of yesterday, so that nothing depends on when the test runs.
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)


def describe(database: Database, *sharing: Sharing) -> None:
    """Make the agency `env`, another one, and a layer of `env` for each sharing level."""
    with database.session() as session:
        for name in ("env", "health"):
            ensure_agency(session, name, Text(en=name, vi=name))
        for level in sharing or (Sharing.OPEN,):
            ensure_layer(
                session, LayerEntry(f"env.{level.value}", "sensors", Text(en="Gauges", vi="Trạm đo"), sharing=level)
            )


def declared(code: str, **more: object) -> StreamDeclaration:
    """A stream of particles, between 0 and 500, on a thing of its own."""
    place = more.pop("place", Place(point=(106.7, 10.77)))
    settings: dict[str, object] = {
        "unit": "ug/m3", "lowest": 0, "highest": 500, "every_seconds": 60, "fresh_seconds": 3600, "kind": "pm2_5",
    } | more  # fmt: skip
    return StreamDeclaration(f"thing-{code}", f"Thing {code}", code, name=f"PM {code}", place=place, **settings)  # type: ignore[arg-type]


@dataclass
class World:
    """What a test of the writer works with."""

    connection: asyncpg.Connection
    directory: StreamDirectory
    writer: StreamWriter
    ids: dict[str, int]

    def value(self, code: str, minutes: float, value: float | None, **more: object) -> Observation:
        """An observation so many minutes after START."""
        return Observation(self.ids[code], START + timedelta(minutes=minutes), value, **more)  # type: ignore[arg-type]

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a statement."""
        return list(await self.connection.fetch(statement, *arguments))


@asynccontextmanager
async def world(database: Database, *streams: StreamDeclaration, layer: str = "env.open") -> AsyncIterator[World]:
    """Declare streams and open a writer."""
    connection = await asyncpg.connect(**database.asyncpg_options("writer"))
    try:
        ids = await declare_streams(connection, layer, streams or (declared("a"), declared("b")))
        directory = StreamDirectory()
        await directory.read(connection)
        yield World(connection, directory, StreamWriter(directory), ids)
    finally:
        await connection.close()

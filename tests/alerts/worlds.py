"""A small city with streams and rules, whose values are of this moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from layers.observed.stream_grades import StreamGrades
from tests.streams.worlds import ZONE, World, declared, world
from twin.db.database import Database
from twin.incidents.engine import AlertEngine
from twin.incidents.rule_store import add_rule
from twin.incidents.rules import AlertRule, read_rule
from twin.incidents.ticker import Ticker
from twin.streams.declare import StreamDeclaration
from twin.streams.writer import Observation, StreamWriter

HIGH = {"type": "threshold", "raise_at": 100, "clear_at": 80, "clear_seconds": 0}


def rule(name: str = "high", when: Mapping[str, Any] = HIGH, **more: Any) -> AlertRule:
    """A rule of `env` on all its particles."""
    given = {
        "name": name, "agency": "env", "severity": "warning",
        "title": {"en": "{stream}: {value} {unit}", "vi": "{stream}: {value} {unit}"},
        "streams": {"kinds": ["pm2_5"]}, "when": dict(when),
    }  # fmt: skip
    return read_rule(given | more)


@dataclass
class Alerting:
    """What a test of the rules works with."""

    world: World
    engine: AlertEngine
    writer: StreamWriter
    start: datetime

    @property
    def connection(self) -> asyncpg.Connection:
        return self.world.connection

    async def write(self, code: str, *points: tuple[float, float | None], flag: int = 0) -> None:
        """Write values at minutes after the start, in one batch."""
        batch = [
            Observation(self.world.ids[code], self.start + timedelta(minutes=m), v, flag=flag) for m, v in points
        ]  # fmt: skip
        await self.writer.write(self.connection, batch, "test")

    async def one_by_one(self, code: str, *points: tuple[float, float | None]) -> None:
        """Write each in a batch of its own."""
        for point in points:
            await self.write(code, point)

    async def add(self, *rules: AlertRule) -> list[int]:
        """Add rules, known to the next batch; return their ids."""
        found = [(await add_rule(self.connection, one, "test"))[0] for one in rules]
        self.engine.forget()
        return found

    async def incidents(self, **of: object) -> list[asyncpg.Record]:
        """All incidents, in the order in which they were opened."""
        rows = await self.connection.fetch("SELECT * FROM live.incident ORDER BY id")
        return [row for row in rows if all(row[name] == value for name, value in of.items())]

    async def statuses(self) -> list[str]:
        """Their statuses."""
        return [row["status"] for row in await self.incidents()]

    async def tick(self, ticker: Ticker | None = None) -> None:
        """Look at silence and aggregates once."""
        await (ticker or Ticker(self.engine)).tick(self.connection)


@asynccontextmanager
async def alerting(
    database: Database, *rules: AlertRule, streams: tuple[StreamDeclaration, ...] = (), layer: str = "env.open"
) -> AsyncIterator[Alerting]:
    """Declare streams and rules, and open a writer that applies them."""
    async with world(database, *(streams or (declared("a"), declared("b"))), layer=layer) as w:
        engine = AlertEngine(StreamGrades(), ZoneInfo(ZONE))
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=50)
        found = Alerting(w, engine, StreamWriter(w.directory, engine), start)
        await found.add(*rules)
        yield found

"""The alerts' part of the programs that write streams: the rules for a writer, the tick, and the sending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import tzinfo
from typing import Any

import asyncpg

from ingest.streams.consumer import PASSING
from layers.observed.stream_grades import StreamGrades
from twin.incidents.delivery import Deliverer
from twin.incidents.engine import AlertEngine
from twin.incidents.ticker import Ticker

log = logging.getLogger("twin.alerts")

DELIVERY_SECONDS = 0.5


def alert_engine(zone: tzinfo) -> AlertEngine:
    """Return the rules for a writer; times are told by the clock of a zone."""
    return AlertEngine(StreamGrades(), zone)


def tick(ticker: Ticker) -> Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]:
    """Return one look at the rules on silence and aggregates; what is wrong with one of them stops nothing else."""

    async def look(connection: asyncpg.Connection) -> None:
        try:
            await ticker.tick(connection)
        except PASSING:
            raise
        except Exception:
            log.exception("the rules on silence and aggregates could not be applied")

    return look


async def deliver(pool: asyncpg.Pool, deliverer: Deliverer) -> None:
    """Send what stands in the outbox, for ever; while the database is away, wait for it."""
    while True:
        try:
            if await deliverer.run_once(pool):
                continue
        except PASSING as error:
            log.warning("the outbox cannot be read: %s", type(error).__name__)
        except Exception:
            log.exception("the outbox could not be sent")
        await asyncio.sleep(DELIVERY_SECONDS)

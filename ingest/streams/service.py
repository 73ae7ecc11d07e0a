"""`twin ingest stream run`: everything that keeps the streams alive, in one process.

It reads the broker, asks the addresses of pollers, applies the rules of alerts and sends what they raise, rolls up
what was marked, publishes the values of open streams, keeps the broker's accounts equal to the keys, puts things where
a new version has their features, and drops months that are too old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from ingest.streams.alerting import alert_engine, deliver, tick
from ingest.streams.consumer import PASSING, RETRY_SECONDS, StreamConsumer, connect, persist
from ingest.streams.poller import Poller, run_poller
from ingest.streams.poller_spec import PollerSpec
from twin.access.broker_accounts import read_accounts
from twin.broker import PrivateBroker
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.events import listen
from twin.incidents.delivery import Deliverer
from twin.incidents.ticker import TICK_SECONDS, Ticker
from twin.streams.declare import place_things
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.flags import BAD, flag_names
from twin.streams.latest import LatestValues
from twin.streams.rollups import BATCH, roll_up
from twin.streams.stream import StreamDirectory
from twin.streams.writer import STATE_CHANNEL, StreamWriter

log = logging.getLogger("twin.streams")

CLIENT_ID = "city-twin-ingest"
ROLL_UP_SECONDS = 1.0
# How often buckets that are not over yet are rolled up.
OPEN_SECONDS = 15.0
PUBLISH_SECONDS = 0.2
ACCOUNT_SECONDS = 1.0
MAINTENANCE_SECONDS = 3600.0

SHARING_SQL = "SELECT a.name || '.' || l.name, l.sharing FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id"


class StreamService:
    """One process that serves the streams of one database."""

    def __init__(
        self, settings: Settings, database: Database, broker: PrivateBroker | None, url: str | None,
        pollers: Sequence[PollerSpec] = (),
    ) -> None:  # fmt: skip
        self.settings = settings
        self.database = database
        self.broker = broker
        self.url = url
        self.directory = StreamDirectory()
        self.rules = alert_engine(settings.profile.time_zone)
        self.writer = StreamWriter(self.directory, self.rules)
        self.pollers = [Poller(spec, self.writer) for spec in pollers]
        self._entries: dict[int, StreamEntry] = {}
        self._sharing: dict[str, str] = {}
        self._latest = LatestValues()
        self._open_due = datetime.min.replace(tzinfo=UTC)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run until it is cancelled."""
        async with stream_pool(self.database) as pool:
            await persist(pool, self._refresh)
            consumer = StreamConsumer(pool, self.writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(pool))
                tasks.create_task(self._again(pool, ROLL_UP_SECONDS, self._roll_up))
                tasks.create_task(self._again(pool, MAINTENANCE_SECONDS, self._maintain))
                tasks.create_task(self._again(pool, TICK_SECONDS, tick(Ticker(self.rules))))
                tasks.create_task(deliver(pool, Deliverer(self.settings)))
                for poller in self.pollers:
                    tasks.create_task(run_poller(pool, poller))
                if self.url:
                    tasks.create_task(consumer.run())
                    client = await connect(self.url, CLIENT_ID, consumer)
                    tasks.create_task(self._again(pool, PUBLISH_SECONDS, self._publisher(client)))
                ready()

    async def _again(
        self, pool: asyncpg.Pool, seconds: float, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]
    ) -> None:
        """Do something every so often; while the database is away, wait for it.

        A fault of one task must not end the others: what devices send is taken in whatever happens here.
        """
        while True:
            try:
                await persist(pool, work)
            except Exception:
                log.exception("a task of the streams failed; it is tried again")
                await asyncio.sleep(RETRY_SECONDS[-1])
            await asyncio.sleep(seconds)

    async def _follow(self, pool: asyncpg.Pool) -> None:
        """Do what keys, streams and published layers ask for."""
        async for event in listen(self.database.asyncpg_options("writer")):
            try:
                async with pool.acquire() as connection:
                    if event.kind == "layer" and event.layer and event.version:
                        await place_things(connection, event.layer)
                    await self._refresh(connection)
            except PASSING as error:
                log.warning("the streams could not be read: %s", type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS[0])

    async def _refresh(self, connection: asyncpg.Connection) -> None:
        await self.directory.read(connection)
        self.rules.forget()
        self._entries = await read_entries(connection)
        self._sharing = dict(await connection.fetch(SHARING_SQL))
        if self.broker is not None:
            self.broker.set_accounts(await read_accounts(connection))

    async def _roll_up(self, connection: asyncpg.Connection) -> None:
        """Roll up what is over at once, and what is still open now and then: each time costs all of its values."""
        zone, now = str(self.settings.profile.time_zone), datetime.now(UTC)
        before = None
        if now < self._open_due:
            before = now - timedelta(minutes=5)
        else:
            self._open_due = now + timedelta(seconds=OPEN_SECONDS)
        # As many as there were: values that come meanwhile would never let it end.
        while await roll_up(connection, zone, BATCH, before) == BATCH:
            pass

    async def _maintain(self, connection: asyncpg.Connection) -> None:
        oldest = datetime.now(UTC) - timedelta(days=self.settings.stream_days)
        dropped = await connection.fetchval("SELECT live.drop_months_before($1)", oldest)
        if dropped:
            log.info("months of values that were older than %g days are gone: %d", self.settings.stream_days, dropped)

    def _publisher(self, client: Any) -> Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]:
        async def publish(connection: asyncpg.Connection) -> None:
            first = not self._latest.horizon
            changed = await self._latest.follow(connection)
            if first or not client.is_connected:
                return
            for stream in changed:
                entry = self._entries.get(stream)
                if entry is not None:
                    client.publish(self._topic(entry), self._payload(stream), qos=0, retain=False)

        return publish

    def _topic(self, entry: StreamEntry) -> str:
        """Return the topic for a stream: open ones are for everybody, others below a name that few may read."""
        topic = f"v1.1/Datastreams({entry.key})/Observations"
        match self._sharing.get(entry.layer):
            case Sharing.OPEN.value:
                return topic
            case Sharing.SHARED.value:
                return f"shared/{topic}"
            case _:
                return f"agency/{entry.layer.partition('.')[0]}/{topic}"

    def _payload(self, stream: int) -> bytes:
        value = self._latest.values[stream]
        quality = flag_names(value.flag) if value.flag & BAD else None
        return orjson.dumps(
            {
                "@iot.id": f"{stream}@{int(value.time.timestamp() * 1_000_000)}",
                "phenomenonTime": value.time, "result": value.value, "resultTime": None,
                **({"resultQuality": quality} if quality else {}),
            },
            option=orjson.OPT_UTC_Z,
        )  # fmt: skip


@asynccontextmanager
async def stream_pool(database: Database, size: int = 4) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool of the writer for streams; it does not need the database at once."""
    pool = asyncpg.create_pool(
        **database.asyncpg_options("writer"), min_size=0, max_size=size, command_timeout=60,
        max_inactive_connection_lifetime=300,
    )  # fmt: skip
    try:
        await pool
        yield pool
    finally:
        pool.terminate()


async def announce_state(connection: asyncpg.Connection) -> None:
    """Wake whoever follows the latest values."""
    await connection.execute("SELECT pg_notify($1, '')", STATE_CHANNEL)

"""The consumer of a broker: collects messages into batches, and acknowledges each after its batch is committed."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50

from ingest.streams.messages import read_message
from twin.errors import SetupProblem, TwinError
from twin.streams.writer import Observation, StreamWriter, Written
from twin.text import Text, speaking

log = logging.getLogger("twin.streams")

# A batch is written as soon as it is this full or this old.
BATCH_ROWS = 2_000
BATCH_SECONDS = 0.05
# Messages that the broker may have on their way to us; more wait there.
IN_FLIGHT = 20_000
SESSION_SECONDS = 30 * 86_400
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
PUBACK_SUCCESS = 0

UNREAD_SQL = """
INSERT INTO live.unread_message AS u (source, reason, agency, count, example) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (source, reason, agency) DO UPDATE SET count = u.count + excluded.count, last_at = now(),
    example = excluded.example
"""

# What stops a write without being the fault of the batch: it is tried again until it succeeds.
PASSING = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
           asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError, asyncpg.TransactionRollbackError,
           asyncpg.LockNotAvailableError)  # fmt: skip

# Topic, payload, time of receipt, and what is awaited before the acknowledgement.
Message = tuple[str, bytes, datetime, "asyncio.Future[None]"]


class StreamConsumer:
    """Reads what devices publish and writes it. At most two batches are on their way to the database."""

    def __init__(self, pool: asyncpg.Pool, writer: StreamWriter) -> None:
        self._pool = pool
        self._writer = writer
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._writing = asyncio.Semaphore(2)
        self._unread: dict[tuple[str, str], tuple[int, str]] = {}
        self.total = Written()
        self.messages = 0
        self.unread = 0

    async def on_message(self, _client: Client, topic: str, payload: bytes, _qos: int, _properties: object) -> int:
        """Take a message; the broker gets its acknowledgement when this returns, after the commit."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._messages.append((topic, payload, datetime.now(UTC), done))
        self._arrived.set()
        if len(self._messages) >= BATCH_ROWS:
            self._full.set()
        await done
        return PUBACK_SUCCESS

    async def run(self) -> None:
        """Write batches for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._arrived.wait()
                try:
                    async with asyncio.timeout(BATCH_SECONDS):
                        await self._full.wait()
                except TimeoutError:
                    pass
                await self._writing.acquire()
                batch, self._messages = self._messages, []
                self._arrived.clear()
                self._full.clear()
                tasks.create_task(self._write(batch))

    async def _write(self, batch: list[Message]) -> None:
        try:
            try:
                await persist(self._pool, lambda connection: self._store(connection, batch))
            except Exception:
                # One message must not keep the others out, nor come back for ever.
                log.exception("a batch of %d messages cannot be stored; trying them one by one", len(batch))
                for message in batch:
                    await self._write_alone(message)
        finally:
            self._writing.release()
            for _, _, _, done in batch:
                if not done.done():
                    done.set_result(None)

    async def _write_alone(self, message: Message) -> None:
        try:
            await persist(self._pool, lambda connection: self._store(connection, [message]))
        except Exception as error:
            log.exception("a message to %s cannot be stored", message[0][:120])
            example = f"{message[0][:120]}: {type(error).__name__}"
            await persist(
                self._pool, lambda connection: connection.execute(UNREAD_SQL, "mqtt", "Fault", "", 1, example)
            )

    async def _store(self, connection: asyncpg.Connection, batch: list[Message]) -> None:
        observations: list[Observation] = []
        unread: dict[tuple[str, str], tuple[int, str]] = {}
        for topic, payload, received, _ in batch:
            try:
                observations += await read_message(connection, self._writer.directory, topic, payload, received)
            except TwinError as error:
                with speaking("en"):
                    key = (type(error).__name__, topic.split("/")[1] if topic.count("/") else "")
                    count, _ = unread.get(key, (0, ""))
                    unread[key] = (count + 1, f"{topic[:120]}: {error}"[:400])
        async with connection.transaction():
            for (reason, agency), (count, example) in unread.items():
                await connection.execute(UNREAD_SQL, "mqtt", reason, agency[:20], count, example.replace("\0", "·"))
            written = await self._writer.write(connection, observations, "mqtt")
        self.total.add(written)
        self.messages += len(batch)
        self.unread += sum(count for count, _ in unread.values())


async def persist(pool: asyncpg.Pool, write: Any) -> None:
    """Do a write, again and again while the database is away. What is wrong with the write itself is raised."""
    attempt = 0
    while True:
        try:
            async with pool.acquire() as connection:
                try:
                    await write(connection)
                except PASSING:
                    # What a lost server leaves behind is in no state to be used again.
                    connection.terminate()
                    raise
                return
        except PASSING as error:
            if attempt == 0:
                log.warning("values wait for the database: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1


def broker_address(url: str) -> tuple[str, int, str | None, str | None]:
    """Split `mqtt://user:password@host:port`; raise SetupProblem if it is no such address."""
    parts = urlsplit(url)
    try:
        port = parts.port or 1883
    except ValueError:
        port = 0
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not port:
        raise SetupProblem(
            Text(
                en="TWIN_MQTT_URL is not a broker's address. Example: mqtt://user:password@host:1883",
                vi="TWIN_MQTT_URL không phải địa chỉ bộ môi giới. Ví dụ: mqtt://user:password@host:1883",
            )
        )
    name = unquote(parts.username) if parts.username else None
    return parts.hostname, port, name, unquote(parts.password) if parts.password else None


async def connect(url: str, client_id: str, consumer: StreamConsumer) -> Client:
    """Connect to a broker and subscribe; the broker keeps what arrives while we are away.

    Goes on trying until the broker answers. Later losses of the connection are mended by the client itself.
    """
    host, port, name, password = broker_address(url)
    client = Client(
        client_id, clean_session=False, optimistic_acknowledgement=False, session_expiry_interval=SESSION_SECONDS,
        receive_maximum=IN_FLIGHT,
    )  # fmt: skip
    client.set_config({"reconnect_retries": -1, "reconnect_delay": 1})
    client.on_message = consumer.on_message

    def subscribe(connected: Client, *_: object) -> None:
        connected.subscribe("in/#", qos=1)

    client.on_connect = subscribe
    if name is not None:
        client.set_auth_credentials(name, password)
    attempt = 0
    while True:
        try:
            await client.connect(host, port, ssl=url.startswith("mqtts"), version=MQTTv50)
        except Exception as error:  # the client's own errors have no common class
            if attempt == 0:
                log.warning("the broker at %s:%s does not answer yet: %s", host, port, type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
        else:
            return client

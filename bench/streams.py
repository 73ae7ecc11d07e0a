"""Streams: what is acknowledged is stored, what a value costs, how soon a reader has it, how long the past takes.

    python -m bench.streams [--seconds 60] [--rate 5000] [--streams 1000] [--readers 200] [--days 42]

A private cluster, a private Mosquitto (Debian), `twin ingest stream run` and `twin serve`, as a demo runs them; lists
are asked for meanwhile. Devices publish with QoS 1 at a steady rate. In the first third nothing is disturbed: there the
cost of a value and the way to the readers are measured. Then the program that takes values in and the server are killed
(-9), and the database is restarted; at the end all acknowledged values are counted in the database.
The other parts: a back-fill against plain COPY into the same keyed table; a day of a stream in a large table; the city
as of a moment. The large table is generated in part; its growth to a year is said, not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import psutil
from gmqtt import Client

from bench.tiles import free_port
from twin.access.keys import new_key
from twin.broker import PrivateBroker
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.streams.bulk import ROWS_AT_ONCE, BulkWriter, ObservationColumns
from twin.streams.declare import Place, StreamDeclaration, declare_streams
from twin.streams.rollups import roll_up
from twin.streams.series import as_of, series
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, StreamWriter
from twin.text import Text

LAYER = "env.bench"
# One reader in so many never reads.
IDLE_EVERY = 10
BEGAN = time.time()


def line(what: str, value: str, target: str = "") -> None:
    """Print one figure beside its target."""
    print(f"{what:52}{value:>14}   {f'(target {target})' if target else ''}", flush=True)


def cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU that processes and their children have taken so far, ended children too."""
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
        for child in process.children(recursive=True):
            with_child = child.cpu_times()
            total += with_child.user + with_child.system
    return total


async def prepare(database: Database, count: int) -> dict[str, int]:
    """Declare the streams."""
    with database.session() as session:
        ensure_agency(session, "env", Text(en="Environment", vi="Môi trường"))
        ensure_layer(session, LayerEntry(LAYER, "sensors", Text(en="Bench", vi="Đo"), sharing=Sharing.OPEN))
    connection = await asyncpg.connect(**database.asyncpg_options("writer"))
    ids = await declare_streams(
        connection, LAYER,
        [
            StreamDeclaration(
                f"t{i}", f"T{i}", f"s{i}", "pm2_5", f"S{i}", Place(point=(106.6 + i % 40 / 200, 10.7 + i // 40 / 200)),
                unit="ug/m3", lowest=0, highest=500, stuck_seconds=3600, fresh_seconds=3600, every_seconds=1,
            )
            for i in range(count)
        ],
    )  # fmt: skip
    await connection.close()
    return ids


class Sender:
    """Devices that publish at a steady rate, and count what the broker acknowledged."""

    def __init__(self, broker: PrivateBroker, key: str, codes: Sequence[str], rate: int) -> None:
        self._broker, self._key, self._codes, self._rate = broker, key, codes, rate
        self.sent = 0
        self.client = Client("bench-device")
        self.client.set_auth_credentials(key.split("_")[1], key)
        self.first = time.time() - 0.001

    async def connect(self) -> None:
        """Connect to the broker."""
        while True:
            try:
                await self.client.connect("127.0.0.1", self._broker.port)
                return
            except Exception:
                await asyncio.sleep(0.2)

    async def run(self, seconds: float) -> None:
        """Publish for a while; each message has the time at which it is sent, so none equals another."""
        start = time.monotonic()
        begun = self.sent
        while (passed := time.monotonic() - start) < seconds:
            due = begun + int(passed * self._rate)
            while self.sent < due:
                code = self._codes[self.sent % len(self._codes)]
                now = time.time()
                # The first stream's values say when they were sent: from them the delay to the readers follows.
                value = now - BEGAN if self.sent % len(self._codes) == 0 else self.sent % 400
                self.client.publish(f"in/env/{code}", json.dumps({"value": value, "time": now}), qos=1)
                self.sent += 1
            await asyncio.sleep(0.005)

    async def drain(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while not self.client._persistent_storage.is_empty:
            await asyncio.sleep(0.1)


class Readers:
    """Readers of /live, some of which never read; the delay is from a value's own time to its event."""

    def __init__(self, base: str, count: int) -> None:
        self._base, self._count = base, count
        self.delays: list[float] = []
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Read until told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._count):
                tasks.create_task(self._read(idle=number % IDLE_EVERY == 0))

    async def _read(self, idle: bool) -> None:
        host, port = self._base.removeprefix("http://").split(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
            # One stream of 1,000, so that the readers themselves are not what is measured.
            writer.write(b"GET /live?streams=1 HTTP/1.1\r\nHost: bench\r\n\r\n")
            if idle:
                await self.stop.wait()
            first = True
            while not self.stop.is_set():
                text = await asyncio.wait_for(reader.readline(), 30)
                if not text:
                    break
                if text.startswith(b'data: {"values":'):
                    if not first:
                        self.delays.append(time.time() - BEGAN - json.loads(text[6:])["values"][0][1])
                    first = False
            writer.close()
        except (OSError, TimeoutError):
            return


async def ask_tiles(base: str, stop: asyncio.Event) -> int:
    """Ask for pages of the server while the rest runs."""
    count = 0
    async with httpx.AsyncClient(base_url=base, timeout=10) as http:
        while not stop.is_set():
            try:
                await http.get(f"/streams?limit={random.randint(1, 50)}")
                count += 1
            except httpx.HTTPError:
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.05)
    return count


async def deliver(settings: Settings, database: Database, folder: Path, arguments: argparse.Namespace) -> None:
    """The first part: from devices to the database and to the readers, undisturbed and disturbed."""
    ids = await prepare(database, arguments.streams)
    with database.session() as session:
        key = new_key(session, "env", "bench", PrincipalRole.DEVICE, "bench")
    cluster, broker = PrivateCluster(settings.home), PrivateBroker(settings)
    environment = {
        "TWIN_HOME": str(settings.home), "TWIN_DATABASE": str(database.url.database),
        "TWIN_MQTT_PORT": str(settings.mqtt_port), "TWIN_RATE_LIMIT": "0", "TWIN_LIVE_STREAMS_EACH": "1000",
    }  # fmt: skip
    broker.start()
    base = f"http://127.0.0.1:{settings.port}"
    take_in = [sys.executable, "-m", "twin", "--lang", "en", "ingest", "stream", "run"]
    serve = [sys.executable, "-m", "twin", "serve", "--port", str(settings.port)]
    try:
        async with _served(serve, base, environment, folder) as server:
            ingest_log = folder / "ingest.log"
            process = await _start(take_in, environment, ingest_log)
            sender = Sender(broker, key, list(ids), arguments.rate)
            await sender.connect()
            readers, stop = Readers(base, arguments.readers), asyncio.Event()
            reading, asking = asyncio.create_task(readers.run()), asyncio.create_task(ask_tiles(base, stop))
            await sender.run(3)
            postmaster = psutil.Process(int((cluster.data / "postmaster.pid").read_text().split("\n")[0]))
            watched = [psutil.Process(process.pid), postmaster]
            third = arguments.seconds / 3
            readers.delays.clear()
            before, sent = cpu(watched), sender.sent
            memory = held(server)
            await sender.run(third)
            cost = (cpu(watched) - before) / (sender.sent - sent) * 1e6
            grown = held(server) / memory
            delays = sorted(readers.delays)
            line("CPU of ingest and database a value", f"{cost:.1f} us", "60")
            line(f"to {arguments.readers} readers, p50", f"{statistics.median(delays) * 1e3:.0f} ms")
            line(f"to {arguments.readers} readers, p95", f"{delays[int(len(delays) * 0.95)] * 1e3:.0f} ms", "500")
            line("memory of the server after the undisturbed third", f"{grown:.2f} times")
            readers.stop.set()
            # Disturbed: the program is killed and comes back, then the database is restarted.
            sending = asyncio.create_task(sender.run(third))
            await asyncio.sleep(third / 4)
            process.send_signal(signal.SIGKILL)
            server.kill()
            await process.wait()
            await asyncio.sleep(third / 4)
            process = await _start(take_in, environment, ingest_log)
            await sending
            sending = asyncio.create_task(sender.run(third))
            await asyncio.sleep(third / 4)
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)
            await sending
            await sender.drain()
            stop.set()
            reading.cancel()
            await asking
            connection = await _again(database)
            deadline, stored = time.monotonic() + 120, 0
            while stored < sender.sent and time.monotonic() < deadline:
                stored = await connection.fetchval("SELECT count(*) FROM live.observation")
                await asyncio.sleep(0.5)
            line("acknowledged by the broker", f"{sender.sent:,}")
            line("stored", f"{stored:,}")
            line("lost", f"{sender.sent - stored:,}", "0")
            started = time.monotonic()
            while await connection.fetchval("SELECT EXISTS (SELECT FROM live.dirty)"):
                await asyncio.sleep(0.1)
            total = await connection.fetchval("SELECT sum(n) FROM live.roll_1d")
            line("in the roll-ups of days", f"{total:,}")
            line("they were right after", f"{time.monotonic() - started:.1f} s")
            late = await _late(connection, ids, database)
            line("a late value is right in all roll-ups after", f"{late:.1f} s", "3")
            await connection.close()
            process.terminate()
            await process.wait()
    finally:
        broker.stop()


def held(server: asyncio.subprocess.Process) -> int:
    """Bytes that the server's processes hold."""
    main = psutil.Process(server.pid)
    return sum(process.memory_info().rss for process in (main, *main.children(recursive=True)))


@asynccontextmanager
async def _served(
    command: list[str], base: str, environment: dict[str, str], folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / "server.log").open("ab") as output:
        server = await asyncio.create_subprocess_exec(
            *command, env=os.environ | environment, stdout=output, stderr=output
        )
    async with httpx.AsyncClient() as http:
        while True:
            with suppress(httpx.HTTPError):
                if (await http.get(f"{base}/health")).status_code == 200:
                    break
            await asyncio.sleep(0.1)
    try:
        yield server
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def _start(command: list[str], environment: dict[str, str], log: Path) -> asyncio.subprocess.Process:
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | environment, stdout=output, stderr=output
        )
    while b"taken in" not in log.read_bytes()[before:]:
        await asyncio.sleep(0.1)
    return process


async def _again(database: Database) -> asyncpg.Connection:
    while True:
        try:
            return await asyncpg.connect(**database.asyncpg_options("owner"))
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.2)


async def _late(connection: asyncpg.Connection, ids: dict[str, int], database: Database) -> float:
    """Write a value of yesterday, and wait until the service has it in its day."""
    directory = StreamDirectory()
    await directory.read(connection)
    stream, moment = next(iter(ids.values())), datetime.now(UTC) - timedelta(days=1)
    question = "SELECT sum(n) FROM live.roll_1d WHERE stream = $1 AND bucket <= $2"
    before = await connection.fetchval(question, stream, moment) or 0
    await StreamWriter(directory).write(connection, [Observation(stream, moment, 1.0)], "bench")
    started = time.monotonic()
    while (await connection.fetchval(question, stream, moment) or 0) == before:
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def back_fill(database: Database, rows: int) -> None:
    """The second part: the writer against plain COPY into a table with the same key, both in one run."""
    connection = await asyncpg.connect(**database.asyncpg_options("owner"))
    directory = StreamDirectory()
    await directory.read(connection)
    keys = sorted(directory.by_key)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=200)
    values = [(keys[i % len(keys)], start + timedelta(seconds=i // len(keys) * 60), i % 400 / 1.0) for i in range(rows)]
    text = io.BytesIO(b"".join(b"%d\t%s\t%f\t0\n" % (s, t.isoformat().encode(), v) for s, t, v in values))
    await connection.execute(
        "DROP TABLE IF EXISTS plain; CREATE TABLE plain (stream int4, time timestamptz, value float8, flag int2, "
        "PRIMARY KEY (stream, time))"
    )
    began = time.monotonic()
    await connection.copy_to_table("plain", source=text, format="text")
    copied = rows / (time.monotonic() - began)
    writer = BulkWriter(directory)
    columns = ObservationColumns.of([Observation(s, t, v) for s, t, v in values])
    speeds = []
    # The second time all of it is there already.
    for _ in range(2):
        began = time.monotonic()
        for first in range(0, rows, ROWS_AT_ONCE):
            await writer.write_columns(connection, columns.at(slice(first, first + ROWS_AT_ONCE)), "bench")
        speeds.append(rows / (time.monotonic() - began))
    written, repeated = speeds
    line("back-fill, values a second", f"{written:,.0f}")
    line("plain COPY into the same key", f"{copied:,.0f}")
    line("ratio", f"{written / copied:.2f}", "0.4")
    line("the same values again, ratio", f"{repeated / copied:.2f}")
    began = time.monotonic()
    while await roll_up(connection, "Asia/Ho_Chi_Minh"):
        pass
    line("its roll-ups", f"{time.monotonic() - began:.1f} s")
    await connection.execute("DROP TABLE plain")
    await connection.close()


async def past(database: Database, days: int) -> None:
    """The third part: a day of a stream and the city as of a moment, in a table of many days."""
    connection = await asyncpg.connect(**database.asyncpg_options("owner"))
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    keys = [row["id"] for row in await connection.fetch("SELECT id FROM live.datastream ORDER BY id")]
    for day in range(days):
        begin = end - timedelta(days=days - day)
        await connection.execute("SELECT live.ensure_month($1::timestamptz::date)", begin)
        await connection.execute("SELECT live.ensure_month($1::timestamptz::date)", begin + timedelta(days=1))
        await connection.execute(
            "INSERT INTO live.observation (stream, time, value) SELECT s, t, random() * 100 "
            "FROM generate_series($1::timestamptz, $1 + interval '23 hours 55 minutes', interval '5 minutes') t, "
            "unnest($2::int4[]) s ON CONFLICT DO NOTHING",
            begin, keys,
        )  # fmt: skip
    rows = await connection.fetchval("SELECT sum(reltuples)::int8 FROM pg_class WHERE relname LIKE 'observation\\_2%'")
    await connection.execute("ANALYZE live.observation")
    times = []
    for _ in range(200):
        stream, day = random.choice(keys), end - timedelta(days=random.randint(1, days - 1))
        began = time.perf_counter()
        found = await series(connection, stream, day, day + timedelta(days=1), timedelta(minutes=7), "mean", day)
        times.append(time.perf_counter() - began)
        assert sum(bucket.n for bucket in found) >= 200
    line("rows in the table, about", f"{rows or 0:,}")
    line("a day of a stream, from its values, median", f"{statistics.median(times) * 1e3:.1f} ms", "5")
    times = []
    for _ in range(20):
        moment = end - timedelta(minutes=random.randint(1, days * 1400))
        began = time.perf_counter()
        found_then = await as_of(connection, keys, moment)
        times.append(time.perf_counter() - began)
        assert len(found_then) == len(keys)
    line(f"the city as of a moment, {len(keys)} streams, median", f"{statistics.median(times) * 1e3:.1f} ms", "150")
    await connection.close()


def main() -> None:
    """Run all parts and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500_000, help="values of the back-fill")
    parser.add_argument("--days", type=int, default=42, help="days in the large table, a value each five minutes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        settings = Settings(home=folder / "home", port=free_port(), mqtt_port=free_port())
        cluster = PrivateCluster(settings.home)
        cluster.start()
        try:
            database = Database(cluster.url("bench_streams"), private=True)
            migrate(database)
            asyncio.run(deliver(settings, database, folder, arguments))
            asyncio.run(back_fill(database, arguments.rows))
            asyncio.run(past(database, arguments.days))
        except BaseException:
            for log in folder.glob("*.log"):
                print(log.name, log.read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            database.writer.dispose()
            cluster.stop()


if __name__ == "__main__":
    main()

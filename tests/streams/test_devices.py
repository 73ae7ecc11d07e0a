"""Devices at the broker: accounts are keys, what is acknowledged is stored, and each hears what it may read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gmqtt import Client

from tests.conftest import HOME, ROOT, free_port, run_async
from tests.streams.worlds import declared, describe, world
from twin.access.keys import new_key, revoke_key
from twin.broker import PrivateBroker, find_broker
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.tables import PrincipalRole, Sharing

LEVELS = (Sharing.OPEN, Sharing.SHARED, Sharing.RESTRICTED)

pytestmark = pytest.mark.skipif(find_broker() is None, reason="Mosquitto is not on this machine")


@dataclass
class Devices:
    """A city whose streams are taken in by the built program, with a private broker."""

    database: Database
    settings: Settings
    broker: PrivateBroker
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes]
    ids: dict[str, int]

    def start(self) -> None:
        """Start the program that takes values in, and wait until it does."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twin", "--lang", "en", "ingest", "stream", "run"],
                env=self.environment, stdout=output, stderr=output, cwd=ROOT,
            )  # fmt: skip
        before = self.log.stat().st_size
        deadline = time.monotonic() + 40
        while "Streams are taken in" not in self.log.read_text()[before:] and time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def key(self, agency: str, role: PrincipalRole = PrincipalRole.DEVICE) -> str:
        """A key of an agency."""
        with self.database.session() as session:
            return new_key(session, agency, f"{agency} {role.value}", role, "a test")


@pytest.fixture(scope="module")
def devices(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    describe(module_database, *LEVELS)
    ids: dict[str, int] = {}
    for level in LEVELS:

        async def declare(level: Sharing = level) -> dict[str, int]:
            async with world(module_database, declared(f"{level.value}-air"), layer=f"env.{level.value}") as w:
                return w.ids

        ids |= run_async(declare())
    # A home of its own: the broker's files belong to it. The cluster is the suite's.
    home = tmp_path_factory.mktemp("home")
    port = free_port()
    settings = Settings(home=HOME, database=module_database.url.database, mqtt_port=port)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")} | {
        "TWIN_HOME": str(HOME), "TWIN_DATABASE": str(module_database.url.database), "TWIN_MQTT_PORT": str(port),
    }  # fmt: skip
    broker = PrivateBroker(settings)
    running = Devices(module_database, settings, broker, environment, home / "streams.log", None, ids)  # type: ignore[arg-type]
    broker.start()
    running.start()
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(20)
        broker.stop()
    assert running.process.returncode == 0
    assert "Traceback" not in running.log.read_text(), running.log.read_text()[-3000:]


@asynccontextmanager
async def connected(devices: Devices, key: str | None, **more: Any) -> AsyncIterator[Client]:
    """A client of the broker, as a device is; its messages are in `received`."""
    client = Client(f"test-{time.monotonic_ns()}", **more)
    client.received = []
    client.on_message = lambda _c, topic, payload, _q, _p: client.received.append((topic, json.loads(payload)))
    if key:
        client.set_auth_credentials(key.split("_")[1], key)
    deadline = time.monotonic() + 5
    while True:
        try:
            await client.connect("127.0.0.1", devices.settings.mqtt_port)
            break
        except Exception:
            # The broker learns of a new key within two seconds.
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    try:
        yield client
    finally:
        await client.disconnect()


async def stored(devices: Devices, statement: str, *arguments: Any) -> list[Any]:
    """The first column of a statement's rows."""
    connection = await asyncpg.connect(**devices.database.asyncpg_options("reader"))
    try:
        return [row[0] for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


async def eventually(devices: Devices, expected: Any, statement: str, *arguments: Any, seconds: float = 15) -> None:
    """Wait until a statement gives what is expected."""
    deadline = time.monotonic() + seconds
    while (found := await stored(devices, statement, *arguments)) != expected:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


VALUES = "SELECT value FROM live.observation WHERE stream = $1 AND time >= $2 ORDER BY time"


def test_a_device_writes_its_agency_s_streams_in_every_form_and_no_other_s(devices: Devices) -> None:
    own, other = devices.key("env"), devices.key("health")
    stream = devices.ids["open-air"]
    start = datetime.now(UTC) - timedelta(seconds=60)

    async def work() -> None:
        async with connected(devices, own) as device:
            device.publish("in/env/open-air", "11.5", qos=1)
            await eventually(devices, [11.5], VALUES, stream, datetime.now(UTC) - timedelta(seconds=30))
            now = start.timestamp() + 1
            device.publish(
                "in/env/open-air", json.dumps([{"value": 12, "time": now}, {"value": 13, "time": now + 1}]), qos=1
            )
            device.publish(
                f"in/env/v1.1/Datastreams({stream})/Observations",
                json.dumps({"result": 14, "phenomenonTime": datetime.fromtimestamp(now + 2, UTC).isoformat()}), qos=1,
            )  # fmt: skip
            device.publish(
                "in/env/v1.1/Observations",
                json.dumps({"result": 0.015, "unit": "mg/m3", "Datastream": {"@iot.id": stream}, "time": now + 3}), qos=1,
            )  # fmt: skip
            await eventually(devices, [12.0, 13.0, 14.0, 0.015, 11.5], VALUES, stream, start)
            # This stream declares no other unit: kept as it came, with a flag.
            await eventually(devices, [16], "SELECT flag FROM live.observation WHERE stream = $1 AND value < 1", stream)
        async with connected(devices, other) as stranger:
            stranger.publish("in/health/open-air", "99", qos=1)
            stranger.publish(f"in/health/v1.1/Datastreams({stream})/Observations", '{"result": 98}', qos=1)
            await eventually(
                devices, [2], "SELECT count FROM live.unread_message WHERE agency = 'health' AND reason = 'NotFound'"
            )
        assert not {98.0, 99.0} & set(await stored(devices, VALUES, stream, start))

    run_async(work())


def test_a_stranger_cannot_write_and_a_wrong_password_is_refused(devices: Devices) -> None:
    key = devices.key("env")

    async def work() -> None:
        async with connected(devices, key):
            pass
        wrong = Client("wrong")
        wrong.set_auth_credentials(key.split("_")[1], key[:-1] + "x")
        with pytest.raises(Exception, match="135|not|NOT|auth|5"):
            await wrong.connect("127.0.0.1", devices.settings.mqtt_port)
        count = len(await stored(devices, "SELECT value FROM live.observation"))
        async with connected(devices, None) as nobody:
            nobody.publish("in/env/open-air", "77", qos=0)
            await asyncio.sleep(0.5)
        assert len(await stored(devices, "SELECT value FROM live.observation")) == count

    run_async(work())


def test_everybody_hears_open_streams_and_others_only_what_they_may_read(devices: Devices) -> None:
    own, other = devices.key("env", PrincipalRole.PUBLISHER), devices.key("health")

    async def work() -> None:
        async with (
            connected(devices, own) as device, connected(devices, other) as stranger, connected(devices, None) as nobody,
        ):  # fmt: skip
            for client in (device, stranger, nobody):
                client.subscribe("#", qos=0)
                client.subscribe("v1.1/#", qos=0)
                client.subscribe("shared/v1.1/#", qos=0)
                client.subscribe("agency/env/v1.1/#", qos=0)
            await asyncio.sleep(0.3)
            for level in LEVELS:
                device.publish(f"in/env/{level.value}-air", "21.5", qos=1)
            await asyncio.sleep(1.5)
            heard = {
                name: {topic for topic, _ in client.received}
                for name, client in (("own", device), ("other", stranger), ("nobody", nobody))
            }  # fmt: skip
            topics = [f"v1.1/Datastreams({devices.ids[f'{level.value}-air']})/Observations" for level in LEVELS]
            assert heard["nobody"] == {topics[0]}
            assert heard["other"] == {topics[0], f"shared/{topics[1]}"}
            assert heard["own"] == {topics[0], f"shared/{topics[1]}", f"agency/env/{topics[2]}"}
            assert [payload["result"] for topic, payload in nobody.received if topic == topics[0]][-1] == 21.5

    run_async(work())


def test_a_revoked_key_is_out_of_the_broker_within_two_seconds(devices: Devices) -> None:
    key = devices.key("env")

    async def work() -> None:
        closed = asyncio.Event()
        async with connected(devices, key) as device:
            device.set_config({"reconnect_retries": 0})
            device.on_disconnect = lambda *_: closed.set()
            with devices.database.session() as session:
                revoke_key(session, key, "a test")
            async with asyncio.timeout(2):
                await closed.wait()

    run_async(work())


@contextmanager
def stopped_for_a_while(devices: Devices) -> Iterator[None]:
    """The program that takes values in is killed, and started again afterwards."""
    devices.process.send_signal(signal.SIGKILL)
    devices.process.wait(10)
    yield
    devices.start()


def test_what_the_broker_acknowledged_while_the_program_was_killed_is_stored_afterwards(devices: Devices) -> None:
    key = devices.key("env")
    stream = devices.ids["open-air"]

    async def work() -> None:
        first = time.time() - 3000
        sent = 0
        async with connected(devices, key) as device:
            for round_ in range(3):
                for _ in range(200):
                    message = {"value": sent % 400, "time": first + sent}
                    device.publish("in/env/open-air", json.dumps(message), qos=1)
                    sent += 1
                if round_ == 0:
                    with stopped_for_a_while(devices):
                        for _ in range(200):
                            message = {"value": sent % 400, "time": first + sent}
                            device.publish("in/env/open-air", json.dumps(message), qos=1)
                            sent += 1
                        await asyncio.sleep(0.3)
            await eventually(
                devices, [sent], "SELECT count(*) FROM live.observation WHERE stream = $1 AND time >= $2 AND time < $3",
                stream, datetime.fromtimestamp(first - 0.5, UTC), datetime.fromtimestamp(first + sent - 0.5, UTC),
                seconds=30,
            )  # fmt: skip

    run_async(work())


def test_values_wait_for_a_database_that_is_restarted_and_none_is_lost(
    devices: Devices, cluster: PrivateCluster
) -> None:
    key = devices.key("env")
    stream = devices.ids["shared-air"]

    async def work() -> None:
        first = time.time() - 3000
        async with connected(devices, key) as device:
            for number in range(300):
                message = {"value": number % 400, "time": first + number}
                device.publish("in/env/shared-air", json.dumps(message), qos=1)
                if number == 100:
                    # All sessions are ended, as a restart of the server does; the cluster is shared with other tests.
                    connection = await asyncpg.connect(**devices.database.asyncpg_options("owner"))
                    await connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    await connection.close()
                if number % 50 == 0:
                    await asyncio.sleep(0.05)
            await eventually(
                devices, [300], "SELECT count(*) FROM live.observation WHERE stream = $1 AND time >= $2 AND time < $3",
                stream, datetime.fromtimestamp(first - 0.5, UTC), datetime.fromtimestamp(first + 299.5, UTC), seconds=30,
            )  # fmt: skip

    run_async(work())

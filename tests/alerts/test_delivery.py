"""Delivery: stored before it is sent, tried again, never to where it may not go, and provably ours."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from ingest.streams.service import stream_pool
from tests.alerts.worlds import Alerting, alerting, rule
from tests.conftest import HOME, free_port, run_async
from tests.streams.worlds import describe
from twin.config import Settings
from twin.db.database import Database
from twin.errors import Forbidden, SetupProblem, TwinError, Unavailable
from twin.incidents.delivery import Deliverer, letter
from twin.incidents.webhook import AllowedHosts, post, signed_headers


@dataclass
class Receiver:
    """A small HTTP server that notes what it gets."""

    port: int
    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        self.requests.append((head[0], headers, await reader.readexactly(int(headers["Content-Length"]))))
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=1"


@asynccontextmanager
async def receiving(port: int | None = None, answer: bytes | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(port or free_port())
    receiver.answer = answer or receiver.answer
    async with await asyncio.start_server(receiver.take, "127.0.0.1", receiver.port):
        yield receiver


def settings(hosts: str, **more: Any) -> Settings:
    return Settings(home=HOME, webhook_hosts=hosts, **more)  # type: ignore[call-arg]


async def due(a: Alerting) -> None:
    """Let everything that waits be due now."""
    await a.connection.execute("UPDATE live.delivery SET due_at = now() WHERE status = 'waiting'")


async def outbox(a: Alerting) -> list[tuple[str, int]]:
    rows = await a.connection.fetch("SELECT status, attempts FROM live.delivery ORDER BY id")
    return [(row["status"], row["attempts"]) for row in rows]


def test_a_webhook_gets_each_event_once_signed_and_with_a_key(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with receiving() as receiver, stream_pool(database) as pool:  # noqa: SIM117
            async with alerting(database, rule(webhook=receiver.url)) as a:
                await a.one_by_one("a", (0, 150.0), (1, 160.0), (2, 10.0))
                deliverer = Deliverer(settings(f"http://127.0.0.1:{receiver.port}"))
                while await deliverer.run_once(pool):
                    pass
                assert await outbox(a) == [("sent", 1), ("sent", 1)]
                events = []
                secret = await a.connection.fetchval("SELECT secret FROM live.alert_rule")
                for line, headers, body in receiver.requests:
                    assert line == "POST /hook?a=1 HTTP/1.1"
                    signed = headers["X-Twin-Timestamp"].encode() + b"." + body
                    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
                    assert headers["X-Twin-Signature"] == f"sha256={digest}"
                    told = json.loads(body)
                    assert headers["Idempotency-Key"] == f"twin-event-{told['id']}"
                    assert secret not in body.decode() and receiver.url not in body.decode()
                    events.append((told["event"], told["incident"]["value"], told["incident"]["status"]))
                assert sorted(events) == [("incident.closed", 150.0, "closed"), ("incident.opened", 150.0, "open")]
                told = await a.connection.fetch("SELECT what FROM live.incident_event ORDER BY id")
                assert [row["what"] for row in told].count("delivered") == 2

    run_async(work())


def test_nothing_is_lost_while_the_notifier_is_down_and_the_service_restarts(database: Database) -> None:
    describe(database)
    port = free_port()

    async def work() -> None:
        async with (
            stream_pool(database) as pool,
            alerting(database, rule(webhook=f"http://127.0.0.1:{port}/", send_closed=False)) as a,
        ):
            hosts = settings(f"http://127.0.0.1:{port}")
            await a.write("a", (0, 150.0))
            await Deliverer(hosts).run_once(pool)
            assert await outbox(a) == [("waiting", 1)]
            # Not due yet: it is left alone for a while, longer with each attempt.
            assert await Deliverer(hosts).run_once(pool) == 0
            await a.write("b", (0, 150.0))
            await due(a)
            await Deliverer(hosts).run_once(pool)
            assert await outbox(a) == [("waiting", 2), ("waiting", 1)]
            waits = await a.connection.fetch("SELECT due_at - now() AS wait FROM live.delivery ORDER BY id")
            assert waits[0]["wait"] > waits[1]["wait"]
            async with receiving(port, b"HTTP/1.1 500 Oops\r\n\r\n"):
                await due(a)
                await Deliverer(hosts).run_once(pool)
            async with receiving(port) as receiver:
                await due(a)
                # Two programs at once: each takes what the other has not.
                await asyncio.gather(*(Deliverer(hosts).run_once(pool) for _ in range(2)))
                assert await outbox(a) == [("sent", 4), ("sent", 3)]
                await due(a)
                await Deliverer(hosts).run_once(pool)
                assert len(receiver.requests) == 2

    run_async(work())


def test_a_program_that_dies_while_sending_leaves_the_delivery_to_the_next_one(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with stream_pool(database) as pool, alerting(database, rule(webhook="https://example.vn/")) as a:
            await a.write("a", (0, 150.0))

            async def die(_: Mapping[str, Any]) -> None:
                raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await Deliverer(settings(""), die).run_once(pool)
            assert await outbox(a) == [("waiting", 1)]
            sent = []

            async def send(row: Mapping[str, Any]) -> None:
                sent.append(row["event_id"])

            await due(a)
            await Deliverer(settings(""), send).run_once(pool)
            assert (await outbox(a), len(sent)) == ([("sent", 2)], 1)

    run_async(work())


def test_after_a_day_it_is_given_up_and_said(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with stream_pool(database) as pool, alerting(database, rule(webhook="https://example.vn/")) as a:
            await a.write("a", (0, 150.0))
            await a.connection.execute("UPDATE live.delivery SET created_at = now() - interval '25 hours'")
            await Deliverer(settings("")).run_once(pool)
            assert await outbox(a) == [("given_up", 1)]
            event = await a.connection.fetchrow("SELECT * FROM live.incident_event WHERE what = 'given_up'")
            assert "not among the hosts" in event["note"]

    run_async(work())


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://127.0.0.1:{port}/", ""),
        ("http://127.0.0.1:{port}/", "http://127.0.0.2:{port}"),
        ("http://localhost:{port}/", "http://localhost:{port}"),
        ("http://[::1]:{port}/", "http://localhost:{port}"),
        ("http://[::ffff:127.0.0.1]:{port}/", "http://localhost:{port}"),
        ("http://169.254.169.254/latest/meta-data", "http://169.254.169.254"),
        ("http://0.0.0.0:{port}/", "http://0.0.0.0:{port}"),
        ("http://example.vn:{port}/", "example.vn"),
        ("http://allowed.vn@127.0.0.1:{port}/", "http://allowed.vn"),
    ],
)
def test_addresses_of_this_machine_and_its_network_are_refused_and_never_connected_to(url: str, hosts: str) -> None:
    async def work() -> None:
        async with receiving() as receiver:
            allowed = AllowedHosts.parse(hosts.format(port=receiver.port))
            with pytest.raises(TwinError) as refused:
                await post(url.format(port=receiver.port), b"{}", {}, allowed)
            assert not isinstance(refused.value, Unavailable)
            assert receiver.connections == 0

    run_async(work())


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["10.0.0.5"], ["::ffff:10.0.0.5"], ["64:ff9b::7f00:1"],
     ["2002:7f00:1::"], ["169.254.169.254"], ["fe80::1%eth0"], ["fd00::1"], ["100.64.0.1"], ["224.0.0.1"], []],
)  # fmt: skip
def test_a_listed_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return addresses

    with pytest.raises(Forbidden, match="not public"):
        run_async(post("https://hooks.example.vn/", b"{}", {}, AllowedHosts.parse("hooks.example.vn"), resolver))


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []
    asked: list[str] = []

    async def connect(address: str, *_: object, **__: object) -> None:
        connected.append(address)
        raise OSError

    async def resolver(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        # A second look would lead to this machine.
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    monkeypatch.setattr("twin.incidents.webhook.asyncio.open_connection", connect)
    with pytest.raises(Unavailable):
        run_async(post("https://hooks.example.vn/", b"{}", {}, AllowedHosts.parse("hooks.example.vn"), resolver))
    assert (connected, len(asked)) == (["93.184.216.34"], 1)


def test_a_redirect_is_not_followed() -> None:
    async def work() -> None:
        async with receiving() as inner:
            answer = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{inner.port}/\r\n\r\n".encode()
            async with receiving(answer=answer) as outer:
                allowed = AllowedHosts.parse(f"http://127.0.0.1:{outer.port},http://127.0.0.1:{inner.port}")
                with pytest.raises(Unavailable, match="redirects"):
                    await post(outer.url, b"{}", {}, allowed)
                assert (outer.connections, inner.connections) == (1, 0)

    run_async(work())


def test_a_receiver_that_says_nothing_or_nonsense_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twin.incidents.webhook.SECONDS", 0.3)

    async def work() -> None:
        for answer in (b"\r\n" * 5, b"x" * 100_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 3, b" "):
            async with receiving(answer=answer) as receiver:
                allowed = AllowedHosts.parse(f"http://127.0.0.1:{receiver.port}")
                with pytest.raises(Unavailable):
                    await post(receiver.url, b"{}", signed_headers("s", b"{}", "e", "k"), allowed)

    run_async(work())


def test_a_network_is_allowed_only_where_it_is_listed() -> None:
    hosts = AllowedHosts.parse("http://hooks.local:8080, 10.1.0.0/16, http://10.2.0.1:9000")
    assert [hosts.allows(a) for a in ("10.1.2.3", "10.2.0.1", "10.2.0.2", "8.8.8.8")] == [True, True, False, True]
    with pytest.raises(SetupProblem, match="TWIN_WEBHOOK_HOSTS"):
        AllowedHosts.parse("ftp://x")


def test_mail_is_one_message_in_both_languages_whatever_the_names_are(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(
            database, rule(emails=["duty@example.vn"], title={"en": "High at {thing}", "vi": "Cao tại {thing}"})
        ) as a:
            await a.connection.execute("UPDATE live.thing SET name = E'X\\r\\nBcc: victim@example.vn'")
            a.engine.forget()
            await a.write("a", (0, 150.0))
            row = await a.connection.fetchrow("SELECT * FROM live.delivery")
            message = letter(row, "twin@example.vn")
            assert message["Bcc"] is None
            assert message["Subject"] == "[cảnh báo / warning] Cao tại X Bcc: victim@example.vn"
            assert message["Message-ID"] == f"<twin-event-{row['event_id']}@example.vn>"
            assert "High at X" in message.get_content()

    run_async(work())


def test_mail_is_handed_to_the_mail_server(database: Database) -> None:
    describe(database)
    received: list[str] = []

    async def mail_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        in_data = False
        while line := await reader.readline():
            if in_data:
                received.append(line.decode())
                if line == b".\r\n":
                    in_data = False
                    writer.write(b"250 taken\r\n")
                continue
            in_data = line.upper().startswith(b"DATA")
            writer.write(b"354 go on\r\n" if in_data else b"250 fine\r\n")
            if line.upper().startswith(b"QUIT"):
                break
        writer.close()

    async def work() -> None:
        port = free_port()
        server = await asyncio.start_server(mail_server, "127.0.0.1", port)
        async with server, stream_pool(database) as pool:  # noqa: SIM117
            async with alerting(database, rule(emails=["duty@example.vn"])) as a:
                await a.write("a", (0, 150.0))
                mail = settings("", smtp_url=f"smtp://127.0.0.1:{port}", smtp_from="twin@example.vn")
                await Deliverer(mail).run_once(pool)
                assert await outbox(a) == [("sent", 1)]
                assert "To: duty@example.vn\r\n" in received

    run_async(work())


def test_readers_of_the_database_see_neither_secrets_nor_receivers(database: Database) -> None:
    describe(database)

    async def work() -> None:
        async with alerting(database, rule(webhook="https://example.vn/")):
            reader = await asyncpg.connect(**database.asyncpg_options("reader"))
            for table in ("alert_rule", "delivery"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await reader.fetch(f"SELECT * FROM live.{table}")
            await reader.close()

    run_async(work())

"""Sending what stands in the outbox: again and again for a day, and by several programs without doing it twice.

What was sent is marked after the receiver took it. A program that dies in between sends it again, with the same key: so
a receiver may get an event twice, and never two different ones of one key.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import orjson

from twin.config import Settings
from twin.errors import SetupProblem, TwinError, Unavailable
from twin.incidents.rules import SEVERITIES
from twin.incidents.webhook import SECONDS, AllowedHosts, post, signed_headers
from twin.text import Text

log = logging.getLogger("twin.alerts")

# Seconds before each further attempt; the last one counts for all that follow.
RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
GIVE_UP = timedelta(days=1)
# A delivery that somebody has begun is left to him for so long.
LEASE = timedelta(minutes=2)
AT_ONCE = 16

CLAIM_SQL = """
UPDATE live.delivery d SET attempts = attempts + 1, due_at = now() + $2::interval
FROM live.alert_rule r
WHERE r.id = d.rule_id AND d.id IN (
    SELECT id FROM live.delivery WHERE status = 'waiting' AND due_at <= now()
    ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING d.id, d.event_id, d.incident_id, d.channel, d.target, d.body, d.attempts, d.created_at, r.secret,
    now() - d.created_at > $3::interval AS is_last
"""

SENT_SQL = "UPDATE live.delivery SET status = 'sent', done_at = now(), last_error = '' WHERE id = $1"
LATER_SQL = "UPDATE live.delivery SET due_at = now() + make_interval(secs => $2), last_error = $3 WHERE id = $1"
GIVEN_UP_SQL = "UPDATE live.delivery SET status = 'given_up', done_at = now(), last_error = $2 WHERE id = $1"
SAID_SQL = "INSERT INTO live.incident_event (incident_id, what, by, note, data) VALUES ($1, $2, '', $3, $4::jsonb)"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over."""

    host: str
    port: int
    user: str | None
    password: str | None
    encrypted: bool
    sender: str

    @classmethod
    def of(cls, settings: Settings) -> MailServer | None:
        """Return the one of TWIN_SMTP_URL; None if there is none."""
        if not settings.smtp_url:
            return None
        parts = urlsplit(settings.smtp_url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
            raise SetupProblem(
                Text(
                    en="TWIN_SMTP_URL is not a mail server's address. Example: smtp://user:password@host:587",
                    vi="TWIN_SMTP_URL không phải địa chỉ máy chủ thư. Ví dụ: smtp://user:password@host:587",
                )
            )
        encrypted = parts.scheme == "smtps"
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        default = 465 if encrypted else 25
        return cls(parts.hostname, port or default, user, password, encrypted, settings.smtp_from)


Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Deliverer:
    """Sends what is due. `send` sends one delivery, and raises if it was not taken."""

    def __init__(self, settings: Settings, send: Send | None = None) -> None:
        self._hosts = AllowedHosts.parse(settings.webhook_hosts)
        self._mail = MailServer.of(settings)
        self._send = send or self.send

    async def run_once(self, pool: asyncpg.Pool) -> int:
        """Send what is due now; return how many deliveries were tried."""
        async with pool.acquire() as connection:
            claimed = await connection.fetch(CLAIM_SQL, AT_ONCE, LEASE, GIVE_UP)
        await asyncio.gather(*(self._try(pool, row) for row in claimed))
        return len(claimed)

    async def _try(self, pool: asyncpg.Pool, row: Mapping[str, Any]) -> None:
        try:
            await self._send(row)
            error = ""
        except TwinError as failure:
            error = failure.message.en
        except Exception as failure:
            log.exception("delivery %d failed", row["id"])
            error = type(failure).__name__
        async with pool.acquire() as connection, connection.transaction():
            if not error:
                await connection.execute(SENT_SQL, row["id"])
                await connection.execute(SAID_SQL, row["incident_id"], "delivered", "", _channel(row))
            elif row["is_last"]:
                await connection.execute(GIVEN_UP_SQL, row["id"], error[:400])
                await connection.execute(SAID_SQL, row["incident_id"], "given_up", error[:400], _channel(row))
                log.error("delivery %d was given up after %d attempts: %s", row["id"], row["attempts"], error)
            else:
                wait = RETRY_SECONDS[min(row["attempts"], len(RETRY_SECONDS)) - 1]
                await connection.execute(LATER_SQL, row["id"], wait, error[:400])
                if row["attempts"] == 1:
                    log.warning("delivery %d was not taken and is tried again: %s", row["id"], error)

    async def send(self, row: Mapping[str, Any]) -> None:
        """Send one delivery by its channel."""
        if row["channel"] == "email":
            await self._send_mail(row)
            return
        body = row["body"].encode()
        event = orjson.loads(body)["event"]
        await post(row["target"], body, signed_headers(row["secret"], body, event, _key(row)), self._hosts)

    async def _send_mail(self, row: Mapping[str, Any]) -> None:
        if self._mail is None:
            raise Unavailable(
                Text(
                    en="No mail server is set. Set TWIN_SMTP_URL and TWIN_SMTP_FROM.",
                    vi="Chưa đặt máy chủ thư. Hãy đặt TWIN_SMTP_URL và TWIN_SMTP_FROM.",
                )
            )
        try:
            await asyncio.to_thread(hand_over, self._mail, letter(row, self._mail.sender))
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(
                Text(en="The mail server did not take it: {reason}.", vi="Máy chủ thư chưa nhận: {reason}.").format(
                    reason=type(error).__name__
                )
            ) from None


def letter(row: Mapping[str, Any], sender: str) -> EmailMessage:
    """Return the message for a delivery, in Vietnamese and English."""
    body = orjson.loads(row["body"])
    incident = body["incident"]
    severity, over = SEVERITIES[incident["severity"]], body["event"] == "incident.closed"
    message = EmailMessage()
    # A header is one line, whatever the names of streams are.
    title = {language: " ".join(text.split()) for language, text in incident["title"].items()}
    mark = "Đã kết thúc / over" if over else f"{severity.vi} / {severity.en}"
    message["Subject"] = f"[{mark}] {title['vi']}"[:200]
    message["From"], message["To"] = sender, row["target"]
    message["Message-ID"] = f"<{_key(row)}@{sender.rpartition('@')[2] or 'city-twin'}>"
    parts = [f"{title[language]}\n\n{incident['text'][language]}\n" for language in ("vi", "en")]
    message.set_content("\n".join([*parts, f"{incident['agency']} · {incident['id']} · {incident['opened']}\n"]))
    return message


def hand_over(server: MailServer, message: EmailMessage) -> None:
    """Hand a message to the mail server; blocks."""
    context = ssl.create_default_context()
    connected = (
        smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=context)
        if server.encrypted else smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    )  # fmt: skip
    try:
        connected.ehlo()
        if not server.encrypted and connected.has_extn("starttls"):
            connected.starttls(context=context)
        if server.user is not None:
            connected.login(server.user, server.password or "")
        connected.send_message(message)
        # It was taken: whatever the goodbye brings, it must not be sent again.
        with suppress(OSError, smtplib.SMTPException):
            connected.quit()
    finally:
        connected.close()


def _key(row: Mapping[str, Any]) -> str:
    return f"twin-event-{row['event_id']}"


def _channel(row: Mapping[str, Any]) -> str:
    return orjson.dumps({"channel": row["channel"]}).decode()

"""Sending to webhooks: only to listed hosts, to the address that was checked, signed, and never redirected."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from twin.errors import BadInput, Forbidden, SetupProblem, Unavailable
from twin.text import Text

SECONDS = 10.0
ANSWER_BYTES = 16_384
SIGNATURE, TIMESTAMP, EVENT, KEY = "X-Twin-Signature", "X-Twin-Timestamp", "X-Twin-Event", "Idempotency-Key"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

# Written in full letters, since an address with blanks or control characters would be a request of its own.
_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*)?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")


def check_url(url: str) -> SplitResult:
    """Return the parts of a webhook's address; BadInput if it is none that could be sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if not _URL.fullmatch(url) or not parts.hostname or port == 0 or parts.username is not None:
        raise BadInput(
            Text(
                en="a webhook is an address such as https://example.vn/alerts, without a user or a fragment",
                vi="webhook là một địa chỉ như https://example.vn/alerts, không kèm tên người dùng hay phần #",
            )
        )
    return parts


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts of TWIN_WEBHOOK_HOSTS: what may be sent to, and which addresses that are not public."""

    origins: frozenset[tuple[str, str, int]]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def parse(cls, text: str) -> AllowedHosts:
        """Read the setting: `example.vn` for https, `http://10.1.2.3:8080`, networks `10.1.0.0/16`, with commas."""
        origins, networks = set(), []
        for part in filter(None, (p.strip().lower() for p in text.split(","))):
            with suppress(ValueError):
                if "/" in part and "://" not in part:
                    networks.append(ipaddress.ip_network(part))
                    continue
            try:
                parts = check_url(part if "://" in part else f"https://{part}")
            except BadInput as error:
                raise SetupProblem(
                    Text(
                        en="TWIN_WEBHOOK_HOSTS holds “{part}”: {reason}", vi="TWIN_WEBHOOK_HOSTS có “{part}”: {reason}"
                    ).format(part=part, reason=error.message)
                ) from None
            origins.add(_origin(parts))
            with suppress(ValueError):
                networks.append(ipaddress.ip_network(str(parts.hostname)))
        return cls(frozenset(origins), tuple(networks))

    def check(self, url: str) -> SplitResult:
        """Return the parts of an address whose host is listed; Forbidden otherwise."""
        parts = check_url(url)
        if _origin(parts) not in self.origins:
            raise Forbidden(
                Text(
                    en="“{host}” is not among the hosts that alerts are sent to. Ask the platform's operator to list "
                    "it (TWIN_WEBHOOK_HOSTS).",
                    vi="“{host}” không thuộc các máy được phép nhận cảnh báo. Hãy nhờ người vận hành thêm vào "
                    "(TWIN_WEBHOOK_HOSTS).",
                ).format(host=parts.netloc[:80])
            )
        return parts

    def allows(self, address: str) -> bool:
        """Tell whether an address may be connected to: a public one, or one that is listed itself."""
        found: IPAddress = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                found = found.ipv4_mapped
            elif found in _NAT64 or found in _SIX_TO_FOUR or found.teredo is not None:
                # They hide an address of the other kind.
                return False
        if found.is_link_local or found.is_multicast or found.is_unspecified:
            return False
        return found.is_global or any(found in network for network in self.networks)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def post(
    url: str, body: bytes, headers: dict[str, str], allowed: AllowedHosts, resolver: Resolver = resolve
) -> None:
    """Send a body, and return if the receiver took it.

    Raises
    ------
    Forbidden
        If the host is not listed, or its name leads to an address that is not allowed.
    Unavailable
        If it cannot be reached, answers too late, redirects, or answers anything but 2xx.
    """
    parts = allowed.check(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(SECONDS):
            addresses = await resolver(host, port)
            if not addresses or not all(map(allowed.allows, addresses)):
                raise Forbidden(
                    Text(
                        en="“{host}” leads to an address that is not public.",
                        vi="“{host}” dẫn tới một địa chỉ không công khai.",
                    ).format(host=host)
                )
            status = await _exchange(parts, host, addresses[0], port, body, headers)
    except TimeoutError:
        raise _failed(f"no answer within {SECONDS:g} s", f"không trả lời trong {SECONDS:g} giây") from None
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, ValueError) as error:
        raise _failed(type(error).__name__, type(error).__name__) from None
    if 300 <= status < 400:
        raise _failed(f"it redirects ({status}), which is not followed", f"chuyển hướng ({status}), không được đi theo")
    if not 200 <= status < 300:
        raise _failed(f"it answered {status}", f"trả lời {status}")


async def _exchange(
    parts: SplitResult, host: str, address: str, port: int, body: bytes, headers: dict[str, str]
) -> int:
    # To the address that was checked, and not to the name again, which may lead elsewhere by now.
    context = ssl.create_default_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=host if context else None, limit=ANSWER_BYTES
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {
            "Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body)),
            "User-Agent": "city-twin-alerts", "Connection": "close", **headers,
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body)
        await writer.drain()
        while True:
            status = int((await reader.readuntil(b"\r\n")).split(b" ", 2)[1])
            if status >= 200:
                return status
            # 100 Continue and its like, before the answer itself.
            await reader.readuntil(b"\r\n\r\n")
    except (asyncio.LimitOverrunError, IndexError) as error:
        raise ValueError("no HTTP") from error
    finally:
        writer.close()


def signed_headers(secret: str, body: bytes, event: str, key: str, moment: float | None = None) -> dict[str, str]:
    """Return the headers that prove who sent a body: HMAC-SHA256 over the timestamp, a dot and the body.

    Examples
    --------
    >>> signed_headers("s", b"{}", "incident.opened", "7", 0.0)["X-Twin-Timestamp"]
    '0'
    """
    stamp = str(int(time.time() if moment is None else moment))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: stamp, SIGNATURE: f"sha256={digest}", EVENT: event, KEY: key}


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    host = str(parts.hostname).rstrip(".").lower()
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80)


def _failed(en: str, vi: str) -> Unavailable:
    return Unavailable(
        Text(en="The receiver did not take it: {reason}.", vi="Bên nhận chưa nhận được: {reason}.").format(
            reason=Text(en=en, vi=vi)
        )
    )

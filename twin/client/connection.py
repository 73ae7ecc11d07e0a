"""The connection to a city's server: one key, the server's error messages, retries."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from twin import __version__
from twin.access.keys import NOT_VALID, TOKEN
from twin.client.transfer import NO_TWIN
from twin.errors import (
    STATUS,
    BadInput,
    NotFound,
    TwinError,
    Unauthenticated,
    Unavailable,
)
from twin.text import Text, current_language

# A server that does not have an address, or not with this method, is none that this client knows.
KINDS: Mapping[int, type[TwinError]] = {status: kind for kind, status in STATUS.items()} | {405: NotFound}
# Reads are retried for so many seconds at most; the last pause repeats.
READING_PATIENCE = 20.0
# Locked, too many requests, or a gateway or backend that is away for a moment.
PASSING = frozenset({423, 429, 502, 503, 504})
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
# A server may write this long before the next bytes come: it may have to sort a layer first.
SILENCE = 60.0


class Connection:
    """A server and one key. Its error messages are raised as exceptions of `twin.errors`."""

    def __init__(self, url: str, key: str | None, *, insecure_http: bool, patience: float) -> None:
        self.url = _address(url, bool(key), insecure_http)
        self.patience = patience
        headers = {"User-Agent": f"city-twin/{__version__}", "Accept-Language": current_language()}
        if key:
            # Checked here: the library would quote a key that cannot stand in a header.
            if not TOKEN.fullmatch(key):
                raise Unauthenticated(NOT_VALID)
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(SILENCE, connect=10.0), follow_redirects=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request once; raise the server's error message."""
        answer = self._http.request(method, path, **options)
        if not answer.is_success:
            raise self.complaint(answer)
        return answer

    def read(self, path: str, given: Mapping[str, Any] | None = None) -> httpx.Response:
        """Read a document; retry while the server is away or busy. Parameters that are None are not sent."""
        parameters = {name: value for name, value in (given or {}).items() if value is not None}
        until, tries = time.monotonic() + min(self.patience, READING_PATIENCE), 0
        while True:
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            try:
                answer = self._http.get(path, params=parameters)
            except httpx.TransportError as lost:
                error: TwinError = self.silent(lost)
            else:
                if answer.is_success:
                    return answer
                error = self.complaint(answer)
                if answer.status_code not in PASSING:
                    raise error
                pause = max(pause, seconds_of(answer.headers.get("retry-after", "")))
            if time.monotonic() + pause > until:
                raise error
            time.sleep(pause)
            tries += 1

    @contextmanager
    def listen(
        self, path: str, given: Mapping[str, str], headers: Mapping[str, str], silence: float
    ) -> Iterator[httpx.Response]:
        """Open a stream of events, read as they come; the body of an error has been read already."""
        every = {"Accept": "text/event-stream", "Cache-Control": "no-store", **headers}
        timeout = httpx.Timeout(silence, connect=10.0)
        with self._http.stream("GET", path, params=given, headers=every, timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
            yield answer

    def document(self, path: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read a JSON document."""
        try:
            document = self.read(path, given).json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise BadInput(NO_TWIN)
        return document

    def complaint(self, answer: httpx.Response) -> TwinError:
        """Return the exception for an error answer, with the server's message."""
        if answer.is_redirect:
            return BadInput(
                Text(
                    en="{url} sends on to another address. Give that address with --server.",
                    vi="{url} chuyển sang địa chỉ khác. Hãy dùng địa chỉ đó với --server.",
                ).format(url=self.url)
            )
        return KINDS.get(answer.status_code, Unavailable)(_detail(answer))

    def silent(self, error: httpx.TransportError) -> TwinError:
        """Return the exception for a server that does not answer."""
        return Unavailable(
            Text(
                en="{url} does not answer ({reason}). Is the address right, and does the server run?",
                vi="{url} không trả lời ({reason}). Địa chỉ có đúng không, và máy chủ có đang chạy không?",
            ).format(url=self.url, reason=type(error).__name__)
        )


def seconds_of(header: str) -> float:
    """Return the seconds of the header Retry-After; 0 where it holds no number."""
    return float(header) if header.isascii() and header.isdigit() else 0.0


def _detail(answer: httpx.Response) -> Text:
    try:
        text = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        text = f"HTTP {answer.status_code}"
    # It goes to a terminal: nothing that could steer one.
    text = "".join(c if c.isprintable() else " " for c in text)[:2000]
    return Text(en=text, vi=text)


def _address(url: str, with_key: bool, insecure_http: bool) -> str:
    """Return the address with a slash at its end; refuse to send a key in clear, except on this machine."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise BadInput(
            Text(
                en="“{url}” is not a server's address. Example: https://city.example",
                vi="“{url}” không phải địa chỉ máy chủ. Ví dụ: https://city.example",
            ).format(url=parsed.copy_with(userinfo=b"") if parsed.userinfo else url[:200])
        )
    if parsed.scheme == "http" and with_key and not insecure_http and not _is_loopback(parsed.host):
        raise BadInput(
            Text(
                en="{url} would send the key in clear over the network. Use https://, or say --insecure-http if the "
                "network is trusted.",
                vi="{url} sẽ gửi khóa không mã hóa qua mạng. Hãy dùng https://, hoặc thêm --insecure-http nếu mạng "
                "đáng tin cậy.",
            ).format(url=parsed)
        )
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/") + "/"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

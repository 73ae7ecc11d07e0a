"""Send a file in pieces (tus 1.0.0); an interrupted upload resumes, in this run or another."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx

from twin.errors import BadInput, Busy, Conflict, TwinError, Unavailable
from twin.text import Text

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
# Small enough for the proxies that stand between, which often take a few megabytes in one request.
PIECE_BYTES = 8 << 20
READ_BYTES = 256 << 10
PAUSES = (0.3, 1.0, 2.0, 4.0, 8.0, 15.0)

# Errors that may pass: no answer, or one that says to try later.
PASSING = (httpx.TransportError, Busy, Unavailable)

# Called as a file goes out: bytes sent, bytes in all.
Sent = Callable[[int, int], None]


@dataclass
class Patience:
    """How long to retry: so many seconds without any progress."""

    seconds: float
    _since: float = field(default_factory=time.monotonic)
    _tries: int = 0

    def progressed(self) -> None:
        """Restart the clock."""
        self._since, self._tries = time.monotonic(), 0

    def pause(self, error: Exception) -> None:
        """Wait before another try, or raise the error."""
        if time.monotonic() - self._since > self.seconds:
            if isinstance(error, TwinError):
                raise error
            raise Unavailable(
                Text(
                    en="The server does not answer ({reason}). Run the same command again later: what has arrived "
                    "there is kept.",
                    vi="Máy chủ không trả lời ({reason}). Hãy chạy lại lệnh này sau: phần đã nhận vẫn được giữ.",
                ).format(reason=type(error).__name__)
            ) from None
        time.sleep(PAUSES[min(self._tries, len(PAUSES) - 1)])
        self._tries += 1


@dataclass(frozen=True, slots=True)
class Notes:
    """Unfinished uploads, kept as files so that another run of the program can resume them."""

    folder: Path

    @classmethod
    def of_user(cls) -> Notes:
        """Return the notes in the user's state folder."""
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(state) / "city-twin" / "uploads")

    def _file(self, server: str, layer: str, sha256: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{server} {layer} {sha256}'.encode()).hexdigest()[:32]}.json"

    def read(self, server: str, layer: str, sha256: str) -> UUID | None:
        """Return the unfinished upload of this file, if there is one."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return UUID(json.loads(self._file(server, layer, sha256).read_text())["upload"])
        return None

    def write(self, server: str, layer: str, sha256: str, upload: UUID) -> None:
        """Write down an upload. Without a place to write it cannot be resumed; that is no reason to stop it."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._file(server, layer, sha256)
            new = file.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps({"upload": str(upload), "server": server, "layer": layer}))
            new.replace(file)

    def forget(self, server: str, layer: str, sha256: str) -> None:
        """Remove a note."""
        with suppress(OSError):
            self._file(server, layer, sha256).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Uploads over one connection; `ask` sends a request and raises the server's error."""

    ask: Callable[..., httpx.Response]
    patience: float

    def begin(self, name: str, length: int, layer: str, sha256: str) -> UUID:
        """Begin an upload."""
        fields = {"layer": layer, "filename": name, "sha256": sha256}
        metadata = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items())
        headers = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
        answer = self._persist(lambda: self.ask("POST", "uploads", headers=headers))
        return last_part(answer)

    def offset(self, upload: UUID) -> int:
        """Return how many bytes have arrived."""
        answer = self._persist(lambda: self.ask("HEAD", f"uploads/{upload}", headers=TUS))
        return _offset(answer)

    def send(self, upload: UUID, path: Path, offset: int, sent: Sent) -> None:
        """Send the missing bytes. After a cut connection the server's offset is read again."""
        length, patience = path.stat().st_size, Patience(self.patience)
        sent(offset, length)
        with path.open("rb") as file:
            while offset < length:
                try:
                    there = self._send_piece(upload, file, offset, min(PIECE_BYTES, length - offset), length, sent)
                except (*PASSING, Conflict) as error:
                    patience.pause(error)
                    there = self.offset(upload)
                if there > offset:
                    patience.progressed()
                offset = there
                sent(offset, length)

    def _send_piece(self, upload: UUID, file: object, offset: int, size: int, length: int, sent: Sent) -> int:
        def pieces() -> Iterator[bytes]:
            file.seek(offset)  # type: ignore[attr-defined]
            done = 0
            while done < size:
                piece = file.read(min(READ_BYTES, size - done))  # type: ignore[attr-defined]
                if not piece:
                    raise BadInput(Text(en="The file became shorter.", vi="Tệp đã bị rút ngắn."))
                yield piece
                done += len(piece)
                sent(offset + done, length)

        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": PIECE, "Content-Length": str(size)}
        answer = self.ask("PATCH", f"uploads/{upload}", headers=headers, content=pieces())
        return _offset(answer)

    def _persist(self, step: Callable[[], httpx.Response]) -> httpx.Response:
        patience = Patience(self.patience)
        while True:
            try:
                return step()
            except PASSING as error:
                patience.pause(error)


NO_TWIN = Text(
    en="The answer is not one of a city's server. Is the address right, and does no other page stand between?",
    vi="Trả lời không phải của máy chủ bản sao số. Địa chỉ có đúng không, có trang nào chắn giữa không?",
)


def last_part(answer: httpx.Response) -> UUID:
    """Return the id at the end of the header Location. Nothing else of that address is followed."""
    try:
        return UUID(answer.headers.get("Location", "").rstrip("/").rpartition("/")[2])
    except ValueError:
        raise BadInput(NO_TWIN) from None


def _offset(answer: httpx.Response) -> int:
    try:
        return int(answer.headers["Upload-Offset"])
    except (KeyError, ValueError):
        raise BadInput(NO_TWIN) from None

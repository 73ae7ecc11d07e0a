"""The built program in pieces that a test can kill: server, workers, and a proxy that cuts connections."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import HOME, ROOT, free_port
from twin.access.keys import new_key
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import PrincipalRole


@dataclass
class Programs:
    """A server and workers of one database and one folder of uploads."""

    database: Database
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    home: Path = HOME
    asked: httpx.Client | None = None
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"

    @property
    def log(self) -> Path:
        return self.folder / "programs.log"

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LC_", "LANG"))}
        return clean | {
            "TWIN_HOME": str(self.home), "TWIN_DATABASE": str(self.database.url.database), "TWIN_PORT": str(self.port),
            "TWIN_UPLOADS": str(self.uploads), "XDG_STATE_HOME": str(self.folder / "state"), **self.settings,
        }  # fmt: skip

    def in_process(self) -> Settings:
        """The same settings, for code that runs in the test itself."""
        more = {k.removeprefix("TWIN_").lower(): v for k, v in self.settings.items()}
        return Settings(home=self.home, database=self.database.url.database, uploads=self.uploads, **more)  # type: ignore[arg-type]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "twin", *arguments], env=self.environment, stdout=output, stderr=output, cwd=ROOT
            )
        self.running.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        process = self.start("serve")
        eventually(lambda: httpx.get(f"{self.url}/health", timeout=2).status_code == 200, 60)
        self.asked = httpx.Client(base_url=self.url)
        return process

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self.start("ingest", "worker", "--poll", "0.3", *options)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process as a power cut would; Granian's own worker process goes with its parent."""
        children = _children(process.pid)
        for pid in (process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def key(self, agency: str = "construction", role: PrincipalRole = PrincipalRole.PUBLISHER, name: str = "") -> str:
        """A new key, once the server knows it."""
        with self.database.session() as session:
            key = new_key(session, agency, name or f"{role.value} of {agency}", role, "a test")
        if self.asked is not None:
            asked = self.asked
            eventually(lambda: asked.get("/jobs", headers={"X-API-Key": key}).status_code == 200)
        return key

    def publish(self, *arguments: str, key: str | None = None, server: str | None = None) -> subprocess.Popen[str]:
        """Start `twin ingest publish --server`, as on an officer's desk: without the database."""
        environment = {k: v for k, v in self.environment.items() if not k.startswith("TWIN_")}
        environment |= {"TWIN_SERVER": server or self.url, "TWIN_KEY": key or self.key()}
        process = subprocess.Popen(
            [sys.executable, "-m", "twin", "ingest", "publish", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self.running.append(process)  # type: ignore[arg-type]
        return process

    def stop(self) -> None:
        """Stop all; what they wrote meanwhile must hold no error."""
        if self.asked is not None:
            self.asked.close()
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        said = self.log.read_text() if self.log.exists() else ""
        assert not re.search(r"ERROR|CRITICAL|Traceback|twin_[0-9a-f]{12}_", said), said[-4000:]


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def eventually(tell: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; a server that is away counts as not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if tell():
                return
        time.sleep(0.05)
    raise AssertionError("it did not come to that in time")


class Proxy:
    """A TCP relay that cuts the connection after so many bytes from the client, as often as it is told to."""

    def __init__(self, port: int, cut_after: list[int]) -> None:
        self.cut_after = cut_after
        self.target = port
        self.passed = 0
        self.stall_after: int | None = None
        self.flowing = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()
        self._pump(client, server, True)

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        budget = self.cut_after[0] if counted and self.cut_after else None
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
                if counted and self.stall_after and self.passed > self.stall_after:
                    self.flowing.wait(60)
                if counted:
                    self.passed += len(data)
                    if budget is not None and (budget := budget - len(data)) <= 0:
                        self.cut_after.pop(0)
                        break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self.flowing.set()
        self._listening.close()


@contextmanager
def cutting(port: int, *after: int) -> Iterator[Proxy]:
    proxy = Proxy(port, list(after))
    try:
        yield proxy
    finally:
        proxy.close()

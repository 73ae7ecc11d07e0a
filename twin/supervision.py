"""The parts of a demo, watched: one that ends by itself is started again, with a word, and not without bound."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol

from twin.broker import PrivateBroker
from twin.cli import console, say
from twin.db.cluster import PrivateCluster
from twin.errors import SetupProblem, TwinError
from twin.text import Text, current_language

LOOK_SECONDS = 0.5
STOP_SECONDS = 15
# A part that ends again is started later each time, and that many times within an hour at most.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0)
WINDOW_SECONDS = 3600.0
# prctl(2)
_PARENT_DEATH_SIGNAL = 1


class Part(Protocol):
    """Something that runs until it is stopped."""

    name: Text

    def start(self) -> None:
        """Start it, or raise a TwinError that says why it does not start."""

    def runs(self) -> bool:
        """Tell whether it runs."""

    def stop(self) -> None:
        """Stop it if it runs."""


class Program:
    """A command of this program as a process of its own."""

    def __init__(self, name: Text, arguments: Sequence[str]) -> None:
        self.name = name
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        # A signal between the start and the assignment would leave a process that nobody stops.
        with signals_later():
            self.process = start_program(*self.arguments)

    def runs(self) -> bool:
        """Tell whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ask the process to end, and end it by force when it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PrivateDatabase:
    """The private cluster, which runs already. Whoever started it stops it, after all who use it."""

    name = Text(en="The database", vi="Cơ sở dữ liệu")

    def __init__(self, cluster: PrivateCluster) -> None:
        self.cluster = cluster

    def start(self) -> None:
        """Start the cluster."""
        self.cluster.start()

    def runs(self) -> bool:
        """Tell whether the cluster runs, by the process that it says it is."""
        return self.cluster.runs()

    def stop(self) -> None:
        """Leave it to whoever started it."""


class Broker:
    """The private broker. It is stopped after those who use it, with the parts."""

    name = Text(en="The MQTT broker", vi="Bộ môi giới MQTT")

    def __init__(self, broker: PrivateBroker) -> None:
        self.broker = broker

    def start(self) -> None:
        """Start the broker."""
        self.broker.start()

    def runs(self) -> bool:
        """Tell whether the broker runs."""
        return self.broker.runs()

    def stop(self) -> None:
        """Stop the broker."""
        self.broker.stop()


class Watch:
    """Looks after parts; starts again what ended."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._restarts: dict[int, list[float]] = {}
        self._due: dict[int, float] = {}

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The processes of the programs, in the order in which they were added."""
        return [part.process for part in self._parts if isinstance(part, Program) and part.process is not None]

    def add(self, part: Part) -> None:
        """Start a part unless it runs, and look after it from now on."""
        self._parts.append(part)
        if not part.runs():
            part.start()

    def for_ever(self) -> NoReturn:
        """Look after all parts until an exception ends it."""
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Start what has ended, when its pause is over."""
        for number, part in enumerate(self._parts):
            if part.runs():
                self._due.pop(number, None)
                continue
            now = time.monotonic()
            if number not in self._due:
                self._due[number] = now + self._pause(number, part, now)
            if now < self._due[number]:
                continue
            self._restarts[number].append(now)
            try:
                part.start()
            except TwinError as error:
                console().print(f"  {error}", style="red")
            # Looked at anew: what ends at once gets a longer pause.
            del self._due[number]

    def _pause(self, number: int, part: Part, now: float) -> float:
        recent = [moment for moment in self._restarts.get(number, []) if now - moment < WINDOW_SECONDS]
        self._restarts[number] = recent
        if len(recent) == len(PAUSES):
            raise SetupProblem(
                Text(
                    en="{part} ended by itself {n} times, so everything is stopped; see the lines above.",
                    vi="{part} đã tự dừng {n} lần nên tất cả được dừng lại; xem các dòng phía trên.",
                ).format(part=part.name, n=len(recent) + 1)
            )
        console().print(
            say(
                f"  {part.name} ended by itself and is started again.",
                f"  {part.name} đã tự dừng và đang được bật lại.",
            ),
            style="yellow",
        )
        return PAUSES[len(recent)]

    def stop(self) -> None:
        """Stop the parts, the last one first."""
        for part in reversed(self._parts):
            part.stop()


@contextmanager
def running(parts: Sequence[Part]) -> Iterator[Watch]:
    """Start parts in order; all are stopped at the end."""
    watch = Watch()
    try:
        for part in parts:
            watch.add(part)
        yield watch
    finally:
        watch.stop()


def end_with_parent() -> None:
    """Let a process of `multiprocessing` be asked to end when its parent is gone, however that ended (Linux only)."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    # It may have ended before that.
    if not parent.is_alive():
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def signals_later() -> Iterator[None]:
    """Hold back the signals that end a program until the block is over; then they are handled as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    caught = {number: handler for number, handler in before.items() if callable(handler)}
    for number in caught:
        signal.signal(number, lambda received, _frame: held.append(received))
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
        for received in held:
            signal.raise_signal(received)


def start_program(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command of this program."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "twin", "--lang", current_language(), *arguments]
    # A session of its own: Ctrl-C reaches this program alone, which then stops the others in order.
    return subprocess.Popen(command, env=environment, start_new_session=True)

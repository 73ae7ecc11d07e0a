"""The process that reads a file, as the one that asks it sees it.

Loads little, so that the process can be started before its caller loads what it needs itself.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twin import errors
from twin.errors import BadInput, TwinError
from twin.logs import environment_fields
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import RasterReader
    from ingest.readers.source import Reader, ReadOptions

log = logging.getLogger("twin.worker")

# What the reading process needs of the environment: no address, no password, no key is among it.
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
MOST_BYTES = 2**32
# Options that travel otherwise than as they are.
_OWN = frozenset({"limits", "workspace", "osm"})


class ReadingEnded(Exception):
    """The process that read the file has ended abruptly."""


class ReadingFault(Exception):
    """The process that read the file met a fault of the program, which it has written to the log."""


class ReadingProcess:
    """A process that has given up its rights and waits for a file to be opened.

    It may read the `readable` folders, and use `folder` as its own: what it unpacks and writes lies there.
    """

    def __init__(self, folder: Path, *readable: Path) -> None:
        self.folder = folder
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment |= {"TMPDIR": str(folder), "PROJ_NETWORK": "OFF", "HOME": str(folder)} | environment_fields()
        command = [sys.executable, "-m", "ingest.apart.process", str(theirs_in), str(theirs_out), str(folder)]
        command += [str(path) for path in readable]
        self._process = subprocess.Popen(
            command, env=environment, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._requests, self._answers = Connection(ours_out), Connection(ours_in)
        self._is_ready = False

    def open(self, path: Path, options: ReadOptions) -> Reader:
        """Open a file of features with the reader for its format."""
        from ingest.apart.reader import ApartReader

        self._ask("open", path, options)
        return cast("Reader", ApartReader(self, path, self.receive()[1]))

    def open_raster(self, path: Path, options: ReadOptions) -> RasterReader:
        """Open a raster."""
        from ingest.apart.raster import ApartRaster

        self._ask("raster", path, options)
        return ApartRaster(self, path, options, *self.receive()[1:])

    def is_raster(self, path: Path, options: ReadOptions) -> bool:
        """Return whether this is a file for `open_raster`; refused files are refused here already."""
        self._ask("is_raster", path, options)
        return bool(self.receive()[1])

    def items(self, *request: Any, pick: Callable[[int], Any] | None = None) -> Generator[Any, None, Any]:
        """Yield the answers to a request, one by one; return the last one."""
        self.send(*request)
        waits = True
        try:
            while (answer := self.receive())[0] != "end":
                if answer[0] == "pick" and pick is not None:
                    self.send("picked", pick(int(answer[1])))
                    continue
                waits = False
                if pick is None:
                    # The next one is read while this one is worked on.
                    self.send("next")
                    waits = True
                yield answer[1]
                if pick is not None:
                    self.send("next")
                    waits = True
            return answer[1]
        except GeneratorExit:
            # Read no further: take the answer that is on its way, and say so.
            if not waits or self.receive()[0] != "end":
                self.send("stop")
                self.receive()
            raise

    def _ask(self, what: str, path: Path, options: ReadOptions) -> None:
        if not self._is_ready:
            _, lacking = self.receive()
            if lacking:
                log.warning("files are read with more rights than they need: this system lacks %s", ", ".join(lacking))
            self._is_ready = True
        given = {field.name: getattr(options, field.name) for field in fields(options) if field.name not in _OWN}
        given["workspace"] = str(self.folder)
        given["osm"] = options.osm and options.osm.model_dump()
        self.send(what, str(path), given, options.limits.model_dump())

    def send(self, *request: Any) -> None:
        """Send a request."""
        try:
            from ingest.apart.wire import pack

            self._requests.send_bytes(pack(request))
        except OSError:
            raise ReadingEnded from None

    def receive(self) -> tuple[Any, ...]:
        """Wait for an answer; one that tells an error raises it."""
        try:
            from ingest.apart.wire import unpack

            answer: tuple[Any, ...] = unpack(self._answers.recv_bytes(MOST_BYTES))
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ReadingEnded from error
        if answer[0] == "error":
            _, name, message = answer
            kind = vars(errors).get(str(name), BadInput)
            known = isinstance(kind, type) and issubclass(kind, TwinError) and isinstance(message, Text)
            raise kind(message) if known else BadInput(Text(en=str(message), vi=str(message)))
        if answer[0] == "memory":
            raise MemoryError
        if answer[0] == "fault":
            raise ReadingFault
        return answer

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        self._answers.close()
        self._process.kill()
        self._process.wait()

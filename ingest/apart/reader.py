"""A reader whose file is read by another process; to those who use it, a reader like any other."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from ingest.apart.wire import pack, unpack
from ingest.limits import LimitExceeded
from ingest.readers.source import Pick, ReadOptions
from twin import errors
from twin.errors import BadInput, TwinError
from twin.text import Text

log = logging.getLogger("twin.worker")

# What the reading process needs of the environment: no address, no password, no key is among it.
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
MOST_BYTES = 2**32
_ERRORS: Mapping[str, type[TwinError]] = {
    "LimitExceeded": LimitExceeded,
    **{
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, TwinError)
    },
}  # fmt: skip


class ReadingEnded(Exception):
    """The process that read the file has ended abruptly."""


class ReadingFault(Exception):
    """The process that read the file met a fault of the program, which it has written to the log."""


class ReadingProcess:
    """A process that has given up its rights and waits for a file of one folder to be opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment |= {"TMPDIR": str(folder), "PROJ_NETWORK": "OFF", "HOME": str(folder)}
        command = [sys.executable, "-m", "ingest.apart.process", str(theirs_in), str(theirs_out), str(folder)]
        # A folder that is in nobody's way: what stands beside the program is not loaded from here.
        self._process = subprocess.Popen(
            command, env=environment, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._requests, self._answers = Connection(ours_out), Connection(ours_in)
        self._is_ready = False

    def open(self, path: Path, options: ReadOptions) -> ApartReader:
        """Open a file of the folder with the reader for its format."""
        if not self._is_ready:
            _, lacking = self.receive()
            if lacking:
                log.warning("files are read with more rights than they need: this system lacks %s", ", ".join(lacking))
            self._is_ready = True
        given = {name: getattr(options, name) for name in ReadOptions.__dataclass_fields__ if name not in _OWN}
        given["workspace"] = str(options.workspace or self._folder)
        self.send("open", str(path), given, options.limits.model_dump())
        _, attributes = self.receive()
        return ApartReader(self, path, attributes)

    def send(self, *request: Any) -> None:
        """Send a request."""
        try:
            self._requests.send_bytes(pack(request))
        except OSError:
            raise ReadingEnded from None

    def receive(self) -> tuple[Any, ...]:
        """Wait for an answer; one that tells an error raises it."""
        try:
            answer: tuple[Any, ...] = unpack(self._answers.recv_bytes(MOST_BYTES))
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ReadingEnded from error
        if answer[0] == "error":
            _, name, message = answer
            raise _ERRORS.get(str(name), BadInput)(message if isinstance(message, Text) else Text(en="?", vi="?"))
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


# Options that travel otherwise.
_OWN = frozenset({"limits", "workspace", "osm"})


class ApartReader:
    """A file that another process has opened; see `ingest.readers.source.Reader`."""

    def __init__(self, process: ReadingProcess, path: Path, attributes: Mapping[str, Any]) -> None:
        self.path = path
        self._process = process
        self._take_over(attributes)

    def _take_over(self, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            if not str(name).startswith("_") and str(name) not in ("path", "batches", "sampled", "close"):
                setattr(self, str(name), value)

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features from the beginning, at most `rows` at a time."""
        self._process.send("batches", rows)
        yield from self._items(None)

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length."""
        self._process.send("sampled", rows)
        yield from self._items(pick)

    def _items(self, pick: Pick | None) -> Iterator[Any]:
        waits = True
        try:
            while (answer := self._process.receive())[0] != "end":
                if answer[0] == "pick" and pick is not None:
                    self._process.send("picked", np.asarray(pick(int(answer[1]))))
                    continue
                waits = False
                if pick is None:
                    # The next batch is read while this one is worked on.
                    self._process.send("next")
                    waits = True
                yield answer[1]
                if pick is not None:
                    self._process.send("next")
                    waits = True
            self._take_over(answer[1])
            waits = False
        except GeneratorExit:
            self._give_up(waits)
            raise

    def _give_up(self, waits: bool) -> None:
        """Read no further: take the answer that is on its way, and say so."""
        if waits and self._process.receive()[0] == "end":
            return
        self._process.send("stop")
        self._process.receive()

    def close(self) -> None:
        """Remove what was unpacked to read the file, and end the process."""
        self._process.close()


def reading_apart(folder: Path | None = None) -> ReadingProcess:
    """Start a process for a file of this folder (else the temporary one); it gets ready while its caller goes on."""
    return ReadingProcess(folder or Path(tempfile.gettempdir()))


__all__ = ["ApartReader", "ReadingEnded", "ReadingFault", "ReadingProcess", "reading_apart"]

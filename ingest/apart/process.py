"""The process that reads one file and nothing else: gives up its rights, then answers questions about the file.

Started by ingest.apart.reader as `python -m ingest.apart.process`, with two pipes and hardly any environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What Python and the libraries read of the system while they are loaded and while they work.
SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/mime.types",
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/sys/kernel/random", "/sys/devices/system/cpu",
    "/sys/fs/cgroup", "/dev/null", "/dev/urandom", "/dev/zero",
)  # fmt: skip


def main() -> None:
    """Answer until the other side closes its pipe."""
    requests, answers = (Connection(int(handle)) for handle in sys.argv[1:3])
    paths = [Path(path) for path in sys.argv[3:]]
    from twin.logs import set_up_logging

    set_up_logging()
    # Before the libraries are loaded: they start threads.
    from twin.sandbox import confine

    here = Path(__file__).resolve().parents[2]
    packages = [here / name for name in ("twin", "layers", "ingest")]
    program = [Path(path) for path in (sys.prefix, sys.base_prefix, sys.exec_prefix, *SYSTEM)]
    lacking = confine([*program, *packages, *paths[1:]], paths[:1])
    from ingest.apart.wire import pack

    answers.send_bytes(pack(("ready", lacking)))
    _Answering(requests, answers, paths[0]).serve()


class _Answering:
    def __init__(self, requests: Connection, answers: Connection, folder: Path) -> None:
        self._requests, self._answers, self._folder = requests, answers, folder
        self._reader: Any = None

    def serve(self) -> None:
        import logging

        from twin.errors import TwinError

        while True:
            try:
                request = self._receive()
            except EOFError:
                return
            try:
                self._answer(*request)
            except EOFError:
                return
            except TwinError as error:
                self._send("error", type(error).__name__, error.message)
            except MemoryError:
                self._send("memory")
            except Exception:
                logging.getLogger("ingest.apart").exception("the file could not be read")
                self._send("fault")

    def _answer(self, what: str, *arguments: Any) -> None:
        if what == "open":
            self._open(*arguments)
        elif what == "is_raster":
            from ingest.readers.opening import is_raster

            self._send("answer", is_raster(*_options(*arguments)))
        elif what == "raster":
            self._open_raster(*arguments)
        elif what == "overview":
            self._send("pixels", *self._reader.overview(*arguments))
        elif what == "blocks":
            blocks = self._reader.blocks(*arguments)
            self._give((tuple(b.window.flatten()), b.values, b.known, b.finite) for b in blocks)
        elif what == "cog":
            self._reader.crs, name = arguments
            self._reader.to_cog(self._folder / name)
            self._send("made")
        elif what == "batches":
            self._give(self._reader.batches(*arguments))
        elif what == "sampled":
            self._give(self._reader.sampled(*arguments, self._pick))
        elif what == "close" and self._reader is not None:
            self._reader.close()

    def _open(self, path: str, options: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
        from ingest.readers.opening import open_file

        self._reader = open_file(*_options(path, options, limits))
        self._send("opened", self._attributes())

    def _open_raster(self, path: str, options: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
        from ingest.apart.raster import facts_of
        from ingest.readers.opening import open_raster

        self._reader = open_raster(*_options(path, options, limits))
        self._send("opened", self._attributes(), facts_of(self._reader))

    def _attributes(self) -> dict[str, Any]:
        """Return what the reader says of its file."""
        from ingest.readers.source import Reader

        names = [name for name in Reader.__annotations__ if name != "path" and hasattr(self._reader, name)]
        found = {name: getattr(self._reader, name) for name in names}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}

    def _give(self, items: Iterator[Any]) -> None:
        """Give one item for each request, until there is no more or no more is wanted."""
        try:
            for item in items:
                self._send("item", item)
                if self._receive()[0] == "stop":
                    break
        finally:
            if hasattr(items, "close"):
                items.close()
        self._send("end", self._attributes())

    def _pick(self, rows: int) -> Any:
        self._send("pick", rows)
        return self._receive()[1]

    def _send(self, *message: Any) -> None:
        from ingest.apart.wire import pack

        self._answers.send_bytes(pack(message))

    def _receive(self) -> tuple[Any, ...]:
        from ingest.apart.wire import unpack

        request: tuple[Any, ...] = unpack(self._requests.recv_bytes())
        return request


def _options(path: str, options: Mapping[str, Any], limits: Mapping[str, Any]) -> tuple[Path, Any]:
    """Return a file's path and the options to read it with."""
    from ingest.mapping.description import OsmFilter
    from ingest.readers.limits import Limits
    from ingest.readers.source import ReadOptions

    osm = options["osm"] and OsmFilter.model_validate(options["osm"])
    given = {**options, "workspace": Path(options["workspace"]), "osm": osm, "limits": Limits(**limits)}
    return Path(path), ReadOptions(**given)


if __name__ == "__main__":
    os.umask(0o077)
    main()

"""Commands of the viewer: `twin serve`."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import deque
from contextlib import suppress
from typing import Any

import click

from twin.cli import console, say
from twin.config import load_settings
from twin.db.database import cluster_of, open_database
from twin.errors import SetupProblem
from twin.logs import server_logging
from twin.text import Text

log = logging.getLogger("twin.serve")

# So many deaths of server processes within so many seconds are a crash loop.
DEATHS, DEATH_SECONDS = 6, 60
GIVEN_UP = Text(
    en="The server's processes ended {deaths} times within {seconds} seconds, so it gave up; see the lines above.",
    vi="Các tiến trình của máy chủ đã dừng {deaths} lần trong {seconds} giây nên máy chủ ngừng chạy; xem các dòng "
    "phía trên.",
)
# Requests that all server processes together take at once.
CONNECTIONS = 1024
# Files that a server process has open beside its connections to readers: rasters, archives, the database.
FILES = 1024


@click.command(
    help=say(
        "Serve the map, the tiles and the APIs until stopped.\n\n"
        "Example: twin serve --host 0.0.0.0 --port 8080 --workers 2",
        "Chạy máy chủ bản đồ, ô bản đồ và API cho đến khi dừng.\n\n"
        "Ví dụ: twin serve --host 0.0.0.0 --port 8080 --workers 2",
    )
)
@click.option("--host", help=say("Address to listen on.", "Địa chỉ lắng nghe."))
@click.option("--port", type=click.IntRange(1, 65535), help=say("Port to listen on.", "Cổng lắng nghe."))
@click.option("--workers", type=click.IntRange(1, 64), help=say("Server processes.", "Số tiến trình máy chủ."))
@click.option("--database", help=say("Database of the private cluster.", "Cơ sở dữ liệu trong cụm riêng."))
def serve(host: str | None, port: int | None, workers: int | None, database: str | None) -> None:
    """Run the server."""
    from granian.constants import Interfaces
    from granian.log import LogLevels

    from twin.demo import require_free_port

    # The worker processes read their settings from the environment.
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers), ("DATABASE", database)):
        if value is not None:
            os.environ[f"TWIN_{name}"] = str(value)
    settings = load_settings()
    _allow_files(FILES + CONNECTIONS + settings.live_streams)
    require_free_port(settings.host, settings.port)
    if settings.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        # The processes write their counts there, so that /metrics of any of them tells of all.
        counts = tempfile.TemporaryDirectory(prefix="twin-counts-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts.name
    # Before the server starts, so that a missing database is one sentence and not a worker's traceback.
    started = not settings.database_url and cluster_of(settings).start()
    open_database(settings)
    try:
        _server_class()(
            "viewer.app:create",
            factory=True,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            log_level=LogLevels.warning,
            log_dictconfig=server_logging(),
            backlog=CONNECTIONS,
            # Who follows /live keeps a connection; the others shall find one all the same.
            backpressure=CONNECTIONS // settings.workers + settings.live_streams,
            workers_kill_timeout=10,
            respawn_failed_workers=True,
        ).serve()
    except SystemExit as ended:
        if not ended.code:
            raise
        raise SetupProblem(GIVEN_UP.format(deaths=DEATHS, seconds=DEATH_SECONDS)) from None
    finally:
        if started:
            console().print(say("Stopping the database …", "Đang tắt cơ sở dữ liệu …"))
            cluster_of(settings).stop()


def _server_class() -> type:
    """Return Granian's server, which starts a process that died again, with this program's idea of a crash loop.

    Granian itself gives up when one process dies twice within six seconds, and takes the others along.
    """
    from granian import Granian
    from prometheus_client.multiprocess import mark_process_dead

    class Deaths(dict[int, float]):
        """When processes were started again. Granian asks it for the last time, to compare that with now."""

        def __init__(self) -> None:
            super().__init__()
            self._times: deque[float] = deque(maxlen=DEATHS)

        def __setitem__(self, process: int, moment: float) -> None:
            self._times.append(moment)

        def get(self, process: int, default: float = 0.0) -> float:  # type: ignore[override]
            now = time.monotonic()
            return now if len(self._times) == DEATHS and now - self._times[0] < DEATH_SECONDS else default

        def clear(self) -> None:
            """Forget nothing: Granian clears it at each death."""

    class Server(Granian):  # type: ignore[misc, valid-type]
        """The server; says on the terminal when a process is started again."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.respawned_wrks = Deaths()

        def _respawn_workers(self, workers: list[int], *arguments: Any, **options: Any) -> None:
            for index in workers:
                log.warning("server process %d ended by itself; starting it again", index + 1)
                if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
                    # What it held, such as tiles in memory, is gone; its counts stay.
                    mark_process_dead(self.wrks[index].inner.pid)
            super()._respawn_workers(workers, *arguments, **options)

    return Server


def _allow_files(wanted: int) -> None:
    """Let this process and its children have so many files open, if the system allows it: often 1,024 are set."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

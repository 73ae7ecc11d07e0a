"""The worker: takes uploaded files from the queue and publishes them, each in a process of its own.

A file that makes a reader crash ends that process, not the worker. The worker holds the job by its connection: when the
worker dies, so does the process, and another worker takes the job again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

import click
import psycopg

from ingest.job_run import Ended, Message, run
from twin.cli import console, say
from twin.config import Settings, load_settings
from twin.db.database import Database, libpq, open_database
from twin.db.tables import JobState
from twin.jobs import (
    CHANNEL,
    Task,
    drop_old,
    finish,
    give_back,
    release,
    take,
    tell_stage,
    unfinished,
)
from twin.text import Text
from twin.uploads import UploadFolder, folder_of

log = logging.getLogger("twin.worker")

LOOK_SECONDS = 0.5
STAGE_SECONDS = 0.4
ALIVE_SECONDS = 2.0
SWEEP_SECONDS = 60.0
STRAY_SECONDS = 600.0
# After something that may pass: a full disk, the layer in use. Longer with each attempt.
PAUSE_SECONDS = 10.0
# A machine that lost its power says nothing: the database notices within about half a minute.
KEEPALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"

CRASHED = Text(
    en="The program ended abruptly while it read this file, {attempts} times. The file may be damaged, or too large "
    "for the worker's memory: save it anew with another program, or divide it.",
    vi="Chương trình dừng đột ngột khi đọc tệp này, {attempts} lần. Tệp có thể bị hỏng hoặc quá lớn so với bộ nhớ: "
    "hãy lưu lại bằng phần mềm khác, hoặc chia nhỏ tệp.",
)


class Worker:
    """One worker: waits for jobs, runs them one at a time, keeps the folder of uploads clean."""

    def __init__(self, database: Database, settings: Settings, poll: float) -> None:
        # A copy, because the original's engine cannot go to another process.
        self.database = replace(database)
        self.settings = settings
        self.poll = poll
        self.folder: UploadFolder = folder_of(settings)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.stopping = False
        self._swept = -SWEEP_SECONDS

    def stop(self, *_: object) -> None:
        """End soon: what is being worked on goes back into the queue."""
        self.stopping = True

    def work(self, *, once: bool) -> None:
        """Take jobs until told to stop, or with `once` until the queue is empty. A lost database is waited for."""
        while not self.stopping:
            try:
                with self._connect() as connection:
                    self._serve(connection, once)
                if once:
                    return
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if once:
                    raise
                log.warning("the database is not reachable (%s); trying again", type(error).__name__)
                self._sleep(2.0)

    def _connect(self) -> psycopg.Connection:
        url, said = self.database.login("writer")
        options = " ".join([f"-c {k}={v}" for k, v in said.items() if k == "role"] + [KEEPALIVE])
        connection = psycopg.connect(
            libpq(url), autocommit=True, options=options, application_name="twin worker", connect_timeout=10
        )
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _serve(self, connection: psycopg.Connection, once: bool) -> None:
        while not self.stopping:
            if time.monotonic() - self._swept >= SWEEP_SECONDS:
                self._sweep(connection)
            if task := take(connection, self.name):
                self._do(connection, task)
            elif once:
                return
            else:
                self._wait(connection)

    def _wait(self, connection: psycopg.Connection) -> None:
        """Wait until a job is queued; now and then look all the same, for jobs whose worker has died."""
        until = time.monotonic() + self.poll
        while not self.stopping and time.monotonic() < until:
            if any(True for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1)):
                return

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(0.1)

    # One job -----------------------------------------------------------------------------------------

    def _do(self, connection: psycopg.Connection, task: Task) -> None:
        log.info("job %s: %s, attempt %d", task.id, task.layer, task.attempt)
        if task.attempt > self.settings.job_attempts:
            # The worker itself went down with it each time, or was stopped by force.
            self._finish(connection, task, JobState.FAILED, error=CRASHED.format(attempts=task.attempt - 1))
            return
        ended = self._supervise(connection, task)
        again = task.attempt < self.settings.job_attempts
        if ended is None and self.stopping:
            self.folder.clear(None, task.number)
            give_back(connection, task.number, 0, counts=False)
            release(connection, task.number)
            log.info("job %s: given back", task.id)
        elif ended is None and again:
            self._again(connection, task, 0)
        elif ended is None:
            self._finish(connection, task, JobState.FAILED, error=CRASHED.format(attempts=task.attempt))
        elif ended.passing and again:
            self._again(connection, task, PAUSE_SECONDS * task.attempt)
        else:
            self._finish(
                connection, task, ended.state,
                version=ended.version, result=ended.result, error=ended.error, pages=ended.pages,
            )  # fmt: skip

    def _again(self, connection: psycopg.Connection, task: Task, seconds: float) -> None:
        self.folder.clear(None, task.number)
        give_back(connection, task.number, seconds, counts=True)
        release(connection, task.number)
        log.warning("job %s: will be tried again", task.id)

    def _finish(self, connection: psycopg.Connection, task: Task, state: JobState, **said: object) -> None:
        finish(connection, task.number, state, **said)  # type: ignore[arg-type]
        self.folder.clear(task.upload_id, task.number)
        release(connection, task.number)
        log.info("job %s: %s", task.id, state.value)

    def _supervise(self, connection: psycopg.Connection, task: Task) -> Ended | None:
        """Run a job in a process and write down its stages; None if the process ended without a word."""
        hearing, telling = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(
            target=run, args=(telling, self.database, self.settings, task), name=f"job {task.number}"
        )
        process.start()
        telling.close()
        try:
            return self._listen(connection, task, hearing)
        finally:
            _end(process)
            hearing.close()

    def _listen(self, connection: psycopg.Connection, task: Task, hearing: Connection) -> Ended | None:
        written, stage = -STAGE_SECONDS, None
        while not self.stopping:
            if hearing.poll(STAGE_SECONDS):
                try:
                    message: Message = hearing.recv()
                except EOFError:
                    log.warning("job %s: its process ended abruptly", task.id)
                    return None
                if isinstance(message, Ended):
                    return message
                stage = message
            passed = time.monotonic() - written
            if stage is not None and passed >= STAGE_SECONDS:
                tell_stage(connection, task.number, *stage)
                written, stage = time.monotonic(), None
            elif passed >= ALIVE_SECONDS:
                # Without its connection this worker no longer holds the job, and has to let go of it.
                connection.execute("SELECT 1")
                written = time.monotonic()
        return None

    # Order in the folder -----------------------------------------------------------------------------

    def _sweep(self, connection: psycopg.Connection) -> None:
        """Remove what nobody will ask for: uploads that ran out of time, files without a row, old jobs."""
        # Loads what reads files, which those who only look at the commands do not need.
        from ingest.readers.source import sweep

        self._swept = time.monotonic()
        for upload in drop_old(connection, self.settings.job_days):
            self.folder.remove(upload)
        sweep(STRAY_SECONDS, self.settings.workspace)
        strays = list(self.folder.strays(time.time() - STRAY_SECONDS))
        uploads, jobs = unfinished(connection)
        for path, owner in strays:
            if isinstance(owner, int) and owner not in jobs:
                self.folder.clear(None, owner)
            elif not isinstance(owner, int) and owner not in uploads:
                path.unlink(missing_ok=True)


def _end(process: BaseProcess) -> None:
    """End a job's process with all that it started. What it left in the database, the next publish gives up."""
    # Before it is waited for: until then its number cannot be another's.
    with suppress(ProcessLookupError, PermissionError):
        if process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()


@click.command(
    help=say(
        "Work on uploaded files: take each from the queue, check it, publish it. Several workers may run, on machines "
        "that share the database and the folder of uploads.\n\nExample: twin ingest worker",
        "Xử lý các tệp được tải lên: lấy từng tệp trong hàng đợi, kiểm tra và công bố. Có thể chạy nhiều tiến trình, "
        "trên các máy dùng chung cơ sở dữ liệu và thư mục tải lên.\n\nVí dụ: twin ingest worker",
    )
)
@click.option("--once", is_flag=True, help=say("Empty the queue, then stop.", "Xử lý hết hàng đợi rồi dừng."))
@click.option(
    "--poll", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True,
    help=say("Seconds between looks for abandoned jobs.", "Số giây giữa các lần tìm tác vụ bị bỏ dở."),
)  # fmt: skip
@click.option("--database", help=say("Database of the private cluster.", "Cơ sở dữ liệu trong cụm riêng."))
def worker(once: bool, poll: float, database: str | None) -> None:
    """Run a worker."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    settings = load_settings()
    working = Worker(open_database(settings, database), settings, poll)
    with _until_signal(working.stop):
        console().print(say("Waiting for uploaded files.", "Đang chờ tệp được tải lên."))
        working.work(once=once)


class _until_signal:  # noqa: N801  # read as a sentence
    """Call `stop` when the program is asked to end."""

    def __init__(self, stop: Callable[[int, FrameType | None], None]) -> None:
        self.stop = stop

    def __enter__(self) -> None:
        # Only the main thread may; a worker in a thread is stopped by whoever started it.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, self.stop)

    def __exit__(self, *_: object) -> None:
        return None

"""The worker: takes jobs from the queue and runs each in a process of its own, some at once.

A file that makes a reader crash ends that process, not the worker. The worker holds its jobs by its connection: when
the worker dies, so do the processes, and another worker takes the jobs again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from types import FrameType

import click
import psycopg

from ingest.worker.job import KINDS, Ended
from ingest.worker.process import JobProcess
from twin.catalogue.versions import abandon, lock
from twin.cli import console, say
from twin.config import Settings, load_settings
from twin.db.database import Database, libpq, open_database
from twin.db.tables import JobState
from twin.errors import TwinError
from twin.jobs.queue import (
    CHANNEL,
    Task,
    drop_old,
    end_sessions,
    finish,
    give_back,
    release,
    take,
    to_cancel,
    unfinished,
    version_made,
    write_stage,
)
from twin.jobs.uploads import UploadFolder, folder_of
from twin.logs import log_context, set_up_logging
from twin.text import Text

log = logging.getLogger("twin.worker")

LOOK_SECONDS = 0.4
STAGE_SECONDS = 0.4
CHECK_SECONDS = 1.0
# A database that builds an index for a job whose process is gone notices at its end, or when it is signalled.
SESSION_SECONDS = 10.0
SWEEP_SECONDS = 60.0
NEVER = float("-inf")
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
MADE_BEFORE = Text(
    en="Version {number} was published before the job was ended; only its report is missing.",
    vi="Phiên bản {number} đã được công bố trước khi tác vụ bị dừng; chỉ thiếu báo cáo.",
)


class Worker:
    """One worker: takes jobs, runs some of them at once, keeps the folder of uploads clean."""

    def __init__(self, database: Database, settings: Settings, poll: float, jobs: int = 1) -> None:
        # A copy, because the original's engine cannot go to another process.
        self.database = replace(database)
        self.settings = settings
        self.poll = poll
        self.jobs = jobs
        self.folder: UploadFolder = folder_of(settings)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.stopping = False
        self._running: dict[int, JobProcess] = {}
        self._swept = self._looked = self._checked = NEVER

    def stop(self, *_: object) -> None:
        """End soon: what is being worked on goes back into the queue."""
        self.stopping = True

    def work(self, *, once: bool) -> None:
        """Take jobs until stopped, or with `once` until the queue is empty. A lost database is waited for."""
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
        url, session = self.database.login("writer")
        options = " ".join([f"-c {k}={v}" for k, v in session.items() if k == "role"] + [KEEPALIVE])
        connection = psycopg.connect(
            libpq(url), autocommit=True, options=options, application_name="twin worker", connect_timeout=10
        )
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _serve(self, connection: psycopg.Connection, once: bool) -> None:
        try:
            while not self.stopping:
                if time.monotonic() - self._swept >= SWEEP_SECONDS:
                    self._sweep(connection)
                self._take_all(connection)
                if once and not self._running:
                    return
                self._wait(connection)
                self._attend(connection)
            for job in list(self._running.values()):
                with log_context(job=str(job.task.id)):
                    self._hand_back(connection, job)
        finally:
            # Without the connection the jobs are no longer this worker's.
            for job in self._running.values():
                job.close()
            self._running.clear()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(0.1)

    # Which jobs --------------------------------------------------------------------------------------

    def _take_all(self, connection: psycopg.Connection) -> None:
        """Take jobs while there is room. Nothing is looked for before the time, unless something has changed."""
        if len(self._running) >= self.jobs or time.monotonic() - self._looked < self.poll:
            return
        while len(self._running) < self.jobs:
            task = take(connection, self.name, KINDS, self._running, self._full())
            if task is None:
                self._looked = time.monotonic()
                return
            with log_context(job=str(task.id)):
                self._begin(connection, task)

    def _full(self) -> set[str]:
        """Return the agencies that may not have one more job here: the last place is kept for another one."""
        most = max(1, self.jobs - 1)
        under_way = Counter(job.task.agency for job in self._running.values())
        return {agency for agency, jobs in under_way.items() if jobs >= most}

    def _begin(self, connection: psycopg.Connection, task: Task) -> None:
        log.info("attempt %d begins", task.attempt, extra={"layer": task.layer})
        if task.cancelled:
            self._interrupted(connection, task, Ended(JobState.CANCELLED))
        elif task.attempt > self.settings.job_attempts:
            # The worker itself went down with it each time, or was stopped by force.
            self._finish(connection, task, Ended(JobState.FAILED, error=CRASHED.format(attempts=task.attempt - 1)))
        else:
            self._running[task.number] = JobProcess(self.database, self.settings, task)

    def _wait(self, connection: psycopg.Connection) -> None:
        """Wait for a word from a job's process or from the database, but not for long."""
        pipes = [job.pipe for job in self._running.values()]
        database = connection.fileno()
        if database in wait([database, *pipes], LOOK_SECONDS) and any(True for _ in connection.notifies(timeout=0)):
            self._looked = self._checked = NEVER

    # What is being worked on -------------------------------------------------------------------------

    def _attend(self, connection: psycopg.Connection) -> None:
        for job in list(self._running.values()):
            with log_context(job=str(job.task.id)):
                self._attend_to(connection, job)
        if time.monotonic() - self._checked >= CHECK_SECONDS:
            # This also tells whether the connection is there, without which the jobs are no longer this worker's.
            for number in to_cancel(connection, list(self._running)):
                job = self._running[number]
                with log_context(job=str(job.task.id)):
                    self._interrupt(connection, job, Ended(JobState.CANCELLED))
            self._checked = time.monotonic()

    def _attend_to(self, connection: psycopg.Connection, job: JobProcess) -> None:
        """Take in what one job's process has sent, and end it when it has reached a limit."""
        try:
            ended = job.read()
        except EOFError:
            log.warning("the job's process ended abruptly")
            self._abrupt(connection, job)
            return
        if ended is not None:
            self._concluded(connection, job, ended)
        elif (over := job.over_limit()) is not None:
            log.warning("the job reached a limit: %s", over.error)
            self._interrupt(connection, job, over)
        elif job.stage is not None and time.monotonic() - job.stage_written >= STAGE_SECONDS:
            write_stage(connection, job.task.number, *job.stage)
            job.stage, job.stage_written = None, time.monotonic()

    def _interrupt(self, connection: psycopg.Connection, job: JobProcess, ended: Ended) -> None:
        """End a job's process; the job gets this end, unless its process had just done it."""
        job.end()
        if (word := job.last_word()) is not None:
            self._concluded(connection, job, word)
            return
        self._let_go(job)
        self._interrupted(connection, job.task, ended)

    def _interrupted(self, connection: psycopg.Connection, task: Task, ended: Ended) -> None:
        """Finish a job whose process was ended: as done if its version is there, since that cannot be undone."""
        at_rest = end_sessions(connection, f"twin job {task.number}", SESSION_SECONDS)
        if not at_rest:
            log.warning("the database is still busy with what the job began")
        if (number := version_made(connection, task.number)) is not None:
            ended = Ended(JobState.DONE, version=number, error=MADE_BEFORE.format(number=number))
        elif at_rest:
            self._give_up_version(task)
        self._finish(connection, task, ended)

    def _give_up_version(self, task: Task) -> None:
        """Remove what the job had filled so far; where that cannot be done now, the layer's next publish does it."""
        with suppress(TwinError), lock(self.database, task.layer) as key:
            abandon(self.database, key, self.settings.raster_folder)

    def _abrupt(self, connection: psycopg.Connection, job: JobProcess) -> None:
        """Go on after a job's process that ended without a word."""
        self._let_go(job)
        if (ended := job.abrupt()) is not None:
            self._interrupted(connection, job.task, ended)
        elif job.task.attempt < self.settings.job_attempts:
            self._again(connection, job.task, 0)
        else:
            error = CRASHED.format(attempts=job.task.attempt)
            self._finish(connection, job.task, Ended(JobState.FAILED, error=error))

    def _concluded(self, connection: psycopg.Connection, job: JobProcess, ended: Ended) -> None:
        """Finish a job as its process says, or try it again where what stood in the way may pass."""
        self._let_go(job)
        if ended.passing and job.task.attempt < self.settings.job_attempts:
            self._again(connection, job.task, PAUSE_SECONDS * job.task.attempt)
        else:
            self._finish(connection, job.task, ended)

    def _let_go(self, job: JobProcess) -> None:
        job.close()
        self._running.pop(job.task.number, None)
        # There is room for another one.
        self._looked = NEVER

    def _hand_back(self, connection: psycopg.Connection, job: JobProcess) -> None:
        """Put a job back into the queue, because this worker stops; it does not count as an attempt."""
        job.end()
        if (word := job.last_word()) is not None:
            self._concluded(connection, job, word)
            return
        self._let_go(job)
        self.folder.clear(None, job.task.number)
        give_back(connection, job.task.number, 0, counts=False)
        release(connection, job.task.number)
        log.info("the job goes back into the queue")

    def _again(self, connection: psycopg.Connection, task: Task, seconds: float) -> None:
        self.folder.clear(None, task.number)
        give_back(connection, task.number, seconds, counts=True)
        release(connection, task.number)
        log.warning("the job will be tried again")

    def _finish(self, connection: psycopg.Connection, task: Task, ended: Ended) -> None:
        finish(
            connection, task.number, ended.state,
            version=ended.version, result=ended.result, error=ended.error, pages=ended.pages,
        )  # fmt: skip
        self.folder.clear(task.upload_id, task.number)
        release(connection, task.number)
        log.info("the job ended: %s", ended.state.value)

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
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=2, show_default=True,
    help=say(
        "Jobs at once. One agency's never take the last place.",
        "Số tác vụ chạy cùng lúc. Một đơn vị không chiếm chỗ cuối cùng.",
    ),
)  # fmt: skip
@click.option("--database", help=say("Database of the private cluster.", "Cơ sở dữ liệu trong cụm riêng."))
def worker(once: bool, poll: float, jobs: int, database: str | None) -> None:
    """Run a worker."""
    set_up_logging(detailed=log.name)
    settings = load_settings()
    working = Worker(open_database(settings, database), settings, poll, jobs)
    with _until_signal(working.stop):
        console().print(say("Waiting for uploaded files.", "Đang chờ tệp được tải lên."))
        working.work(once=once)


class _until_signal:  # noqa: N801  # read as a sentence
    """Call `stop` when the program receives a signal to end."""

    def __init__(self, stop: Callable[[int, FrameType | None], None]) -> None:
        self.stop = stop

    def __enter__(self) -> None:
        # Only the main thread may; a worker in a thread is stopped by whoever started it.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, self.stop)

    def __exit__(self, *_: object) -> None:
        return None

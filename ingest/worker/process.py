"""One job's process as the worker sees it: its messages, its limits, its end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from ingest.worker.job import MEMORY_LIMIT, Ended, Message, Stage, run
from twin.config import Settings
from twin.db.database import Database
from twin.db.tables import JobState
from twin.jobs.queue import Task
from twin.text import Text

# How often memory is looked at.
LOOK_SECONDS = 0.3

TIME_LIMIT = Text(
    en="The job ran for {seconds:,.0f} seconds, which is the limit of a job (TWIN_JOB_SECONDS). Divide the file, or "
    "export a view or query in it to a table; if the file is good, ask the operator to raise the limit.",
    vi="Tác vụ đã chạy {seconds:,.0f} giây, đúng giới hạn của một tác vụ (TWIN_JOB_SECONDS). Hãy chia nhỏ tệp, hoặc "
    "xuất khung nhìn, truy vấn trong tệp thành bảng; nếu tệp đúng, hãy đề nghị người vận hành tăng giới hạn.",
)


class JobProcess:
    """A job that is being worked on, in a process of its own."""

    def __init__(self, database: Database, settings: Settings, task: Task) -> None:
        self.task = task
        self.application = f"twin job {task.number}"
        self.stage: Stage | None = None
        self.stage_written = 0.0
        self.memory = 0
        self._seconds, self._bytes = settings.job_seconds, settings.job_memory_mb * 2**20
        self._limits = settings
        self._looked = 0.0
        self.pipe, other = get_context("spawn").Pipe(duplex=False)
        self._process = get_context("spawn").Process(
            target=run, args=(other, replace(database, application=self.application), settings, task),
            name=f"job {task.number}",
        )  # fmt: skip
        self._process.start()
        self._started = time.monotonic()
        other.close()

    def read(self) -> Ended | None:
        """Take in what the process has sent; return how the job ended, if it did.

        Raises EOFError where the process has ended without a word.
        """
        while self.pipe.poll():
            message: Message = self.pipe.recv()
            if isinstance(message, Ended):
                return message
            self.stage = message
        return None

    def over_limit(self) -> Ended | None:
        """Return how the job ends if it has reached one of its limits."""
        now = time.monotonic()
        if now - self._started > self._seconds:
            return Ended(JobState.FAILED, error=TIME_LIMIT.format(seconds=self._seconds))
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.memory = memory_of_session(self._process.pid or 0)
            if self.memory > self._bytes:
                return Ended(JobState.FAILED, error=MEMORY_LIMIT.format(mb=self._limits.job_memory_mb))
        return None

    def abrupt(self) -> Ended | None:
        """Return how the job ends if its process ended abruptly for want of memory; None: it may be tried again."""
        if self.memory > self._bytes / 2:
            return Ended(JobState.FAILED, error=MEMORY_LIMIT.format(mb=self._limits.job_memory_mb))
        return None

    def end(self) -> None:
        """End the process with all that it started. What it left in the database, the next publish gives up."""
        # Before it is waited for: until then its number cannot be another's.
        with suppress(ProcessLookupError, PermissionError):
            if self._process.pid:
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def last_word(self) -> Ended | None:
        """Return how the job ended, if its process reported an end before it was stopped."""
        with suppress(EOFError, OSError):
            return self.read()
        return None

    def close(self) -> None:
        """End the process and let go of the pipe."""
        self.end()
        self.pipe.close()


def memory_of_session(session: int) -> int:
    """Return the bytes of memory that the processes of a session hold; shared pages are divided among those who share.

    0 where the system does not tell (no /proc).
    """
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            about = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(about[3]) != session:
                continue
            with suppress(OSError):
                lines = (entry / "smaps_rollup").read_text().splitlines()
                total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                continue
            total += int(about[21]) * os.sysconf("SC_PAGE_SIZE")
    return total

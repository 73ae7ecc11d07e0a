"""The process of one job: check the right again, compare the digest, publish, and report the end."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.apart.started import ReadingEnded, ReadingFault, ReadingProcess
from twin.config import Settings
from twin.db.database import Database, explain
from twin.db.tables import JobState
from twin.errors import BadInput, Conflict, Forbidden, TwinError, Unauthenticated, Unavailable
from twin.jobs.queue import PublishOrder, Task
from twin.jobs.uploads import UploadFolder, folder_of
from twin.logs import log_context, set_up_logging
from twin.memory import limit_memory
from twin.text import LANGUAGES, Text, set_language, speaking

if TYPE_CHECKING:
    from ingest.publish.engine import PublishRequest, PublishResult
    from ingest.readers.source import Reader, ReadOptions
    from twin.access.principals import Principal

log = logging.getLogger("twin.worker")

PIECE_BYTES = 8 << 20
STAGE_SECONDS = 0.2

LATER = Text(
    en="The platform could not do this now: its database or its disk was not available. Upload the file again later.",
    vi="Hệ thống chưa thực hiện được: cơ sở dữ liệu hoặc đĩa không sẵn sàng. Hãy tải tệp lên lại sau.",
)
OUR_FAULT = Text(
    en="A fault of the program; it was written to the worker's log. Tell the operator the job's number.",
    vi="Lỗi của chương trình, đã ghi vào nhật ký. Hãy báo người vận hành mã tác vụ.",
)
LOST = Text(
    en="The worker does not find the uploaded file: servers and workers must share the folder TWIN_UPLOADS.",
    vi="Không tìm thấy tệp đã tải lên: máy chủ và tiến trình xử lý phải dùng chung thư mục TWIN_UPLOADS.",
)
MEMORY_LIMIT = Text(
    en="Reading this file took more memory than a job may have, {mb:,} MB (TWIN_JOB_MEMORY_MB). Divide the file; if it "
    "is good, ask the operator to raise the limit.",
    vi="Việc đọc tệp này cần nhiều bộ nhớ hơn mức một tác vụ được dùng là {mb:,} MB (TWIN_JOB_MEMORY_MB). Hãy chia nhỏ "
    "tệp; nếu tệp đúng, hãy đề nghị người vận hành tăng giới hạn.",
)


class Stage(NamedTuple):
    """Progress of a job."""

    name: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of a job. `passing`: what stood in the way may be gone at another attempt."""

    state: JobState
    version: int | None = None
    result: Mapping[str, Any] | None = None
    error: Text | None = None
    pages: Mapping[str, str] | None = None
    passing: bool = False


Message = Stage | Ended


class StageWriter:
    """Sends stages to the worker, a few times a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._name = ""
        self._sent = 0.0

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Send a stage, unless the last one was sent a moment ago."""
        now = time.monotonic()
        if name != self._name or done == total or now - self._sent >= STAGE_SECONDS:
            self._pipe.send(Stage(name, done, total))
            self._name, self._sent = name, now


def run(pipe: Connection, database: Database, settings: Settings, task: Task) -> None:
    """Do a job in this process, and tell its stages and its end through the pipe."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    set_up_logging()
    set_language(task.language)
    limit_memory(settings.job_memory_mb * 2**20)
    with log_context(job=str(task.id)):
        pipe.send(do(database, settings, task, StageWriter(pipe)))


def _die_with_parent() -> None:
    """End this process and all that it started when the worker is gone: nobody holds the job any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def do(database: Database, settings: Settings, task: Task, stage: StageWriter) -> Ended:
    """Do a job; whatever happens becomes its end."""
    try:
        return KINDS[task.kind](database, settings, task, stage)
    except MemoryError:
        return Ended(JobState.FAILED, error=MEMORY_LIMIT.format(mb=settings.job_memory_mb))
    except ReadingFault:
        return Ended(JobState.FAILED, error=OUR_FAULT)
    except (BrokenExecutor, ReadingEnded):
        # A helper of this process was ended: the same as if this one had been.
        os.killpg(0, signal.SIGKILL)
        raise
    except (Conflict, Unavailable) as error:
        return Ended(JobState.FAILED, error=_for_strangers(error), passing=True)
    except TwinError as error:
        return Ended(JobState.REFUSED, error=_for_strangers(error))
    except Exception as error:
        if (reason := explain(error)) or isinstance(error, OSError):
            log.warning("the job cannot be done now: %s", reason or error)
            return Ended(JobState.FAILED, error=LATER, passing=True)
        log.exception("the job failed")
        return Ended(JobState.FAILED, error=OUR_FAULT)


def _for_strangers(error: TwinError) -> Text:
    """Return the sentence of an error, without what a database says of itself."""
    return LATER if error.__cause__ is not None and explain(error.__cause__) else error.message


def _publish(database: Database, settings: Settings, task: Task, stage: StageWriter) -> Ended:
    principal = _require_right(database, task)
    folder = folder_of(settings)
    try:
        path = folder.lay_out(task.upload_id, task.number, task.name)
    except FileNotFoundError:
        return Ended(JobState.FAILED, error=LOST, passing=True)
    with _reading(settings, folder.workshop(task.number)) as reading:
        return _publish_file(database, settings, task, stage, path, folder, reading, principal)


@contextmanager
def _reading(settings: Settings, workshop: Path) -> Iterator[ReadingProcess]:
    """Return the process that reads the file, with a folder of its own to unpack it in."""
    if settings.workspace is not None:
        settings.workspace.mkdir(parents=True, exist_ok=True)
    # In a workspace the name says whose it is, so that the worker clears it away if this process is ended.
    own = Path(tempfile.mkdtemp(prefix=f"twin-read-{os.getpid()}-", dir=settings.workspace or workshop))
    try:
        with closing(ReadingProcess(own, workshop / "file")) as reading:
            yield reading
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _publish_file(
    database: Database, settings: Settings, task: Task, stage: StageWriter, path: Path, folder: UploadFolder,
    reading: ReadingProcess, principal: Principal,
) -> Ended:  # fmt: skip
    # What the readers unpack goes with the job's folder, however this process ends.
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder.workshop(task.number))

    sha256 = _digest(path, stage)
    if task.sha256 and sha256 != task.sha256:
        raise BadInput(
            Text(
                en="The file did not arrive as it was sent: its SHA-256 is {got}, not {sent}. Upload it again.",
                vi="Tệp nhận được không đúng như tệp gửi: SHA-256 là {got}, không phải {sent}. Hãy tải lên lại.",
            ).format(got=sha256, sent=task.sha256)
        )

    # The readers load slowly, and a job may be refused before they are needed.
    from ingest.publish.engine import Openers, PublishResult, publish_file
    from twin.cli import all_loaded

    all_loaded()
    openers = Openers(reading.open, reading.open_raster, reading.is_raster, _open_table)
    request = _request(task, folder.workshop(task.number), principal)
    before = None if request.dry_run else _published_before(database, task, sha256)
    if before is not None:
        report = publish_file(
            database, settings, path, replace(request, dry_run=True), task.actor, task.name, sha256, stage, openers
        ).report
        return _ended(PublishResult((report,), before), request)
    result = publish_file(database, settings, path, request, task.actor, task.name, sha256, stage, openers)
    return _ended(result, request)


def _open_table(path: Path, options: ReadOptions) -> Reader:
    """Open a table that a mapping joins, in a process of its own, which ends when the reader is closed."""
    return ReadingProcess(Path(tempfile.mkdtemp(prefix="joined-")), path.parent).open(path, options)


def _require_right(database: Database, task: Task) -> Principal:
    """Return whose key it is, if it may still publish: it may have been revoked since the job was queued."""
    from twin.access.audit import note_denied
    from twin.access.keys import principal_of_key
    from twin.access.policy import require_publisher
    from twin.catalogue.catalogue import read_catalogue

    try:
        with database.session() as session:
            principal = principal_of_key(session, task.key_id)
            require_publisher(principal, read_catalogue(session), task.layer)
            return principal
    except (Forbidden, Unauthenticated) as error:
        with database.session() as session:
            note_denied(session, task.actor, task.key_id, task.layer, error)
        raise


def _digest(path: Path, stage: StageWriter) -> str:
    import hashlib

    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            stage("verify", done, total)
    return digest.hexdigest()


def _request(task: Task, workshop: Path, principal: Principal) -> PublishRequest:
    from ingest.publish.engine import PublishRequest

    options = PublishOrder(**task.order).model_dump()
    if (text := options.pop("mapping")) is not None:
        options["mapping"] = workshop / "mapping.toml"
        options["mapping"].write_text(text, "utf-8")
    return PublishRequest(layer=task.layer, uploaded=True, principal=principal, **options)


def _published_before(database: Database, task: Task, sha256: str) -> Any:
    """Return the version that an earlier attempt made, if its worker died after that and before it could say so.

    The layer's jobs run one after another, so a version from this file, by this account, made since the job was first
    taken, is this job's.
    """
    import sqlalchemy as sa

    from twin.catalogue.catalogue import split_layer_id
    from twin.catalogue.staging import Outcome
    from twin.db.tables import Agency, Job, Layer, LayerVersion, State

    agency, name = split_layer_id(task.layer)
    with database.session() as session:
        found = session.scalar(
            sa.select(LayerVersion)
            .join(Layer, Layer.id == LayerVersion.layer_id)
            .join(Agency, Agency.id == Layer.agency_id)
            .join(Job, Job.number == task.number)
            .where(
                Agency.name == agency, Layer.name == name, LayerVersion.state == State.PUBLISHED.value,
                LayerVersion.created_by == task.actor, LayerVersion.source_sha256 == sha256,
                LayerVersion.created_at >= Job.started_at,
            )
            .order_by(LayerVersion.number.desc())
        )  # fmt: skip
    return found and Outcome(task.layer, found.number, found.features, found.cells, found.quarantined)


def _ended(result: PublishResult, request: PublishRequest) -> Ended:
    from ingest.checks.html import to_html

    pages: dict[str, str] = {}
    for language in LANGUAGES:
        with speaking(language):
            pages[language] = to_html(result.report)
    outcome = result.outcome
    done = outcome is not None or (request.dry_run and result.exit_code < 2)
    return Ended(
        JobState.DONE if done else JobState.REFUSED,
        version=outcome.number if outcome else None, result=result.to_dict(), pages=pages,
    )  # fmt: skip


# What the worker can do. A kind stands in the job's row; a worker leaves kinds that it does not know to others.
KINDS: Mapping[str, Callable[[Database, Settings, Task, StageWriter], Ended]] = {"publish": _publish}

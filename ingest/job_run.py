"""What the process of one job does: ask for the right again, compare the digest, publish, and tell how it went."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.config import Settings
from twin.db.database import Database, explain
from twin.db.tables import JobState
from twin.errors import BadInput, Conflict, Forbidden, TwinError, Unauthenticated, Unavailable
from twin.jobs import PublishOrder, Task
from twin.text import LANGUAGES, Text, set_language, speaking
from twin.uploads import folder_of

if TYPE_CHECKING:
    from ingest.publishing import PublishRequest, PublishResult

log = logging.getLogger("twin.worker")

PIECE_BYTES = 8 << 20
TELL_SECONDS = 0.2

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


class Stage(NamedTuple):
    """How far a job is."""

    name: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a job. `passing`: what stood in the way may be gone at another attempt."""

    state: JobState
    version: int | None = None
    result: Mapping[str, Any] | None = None
    error: Text | None = None
    pages: Mapping[str, str] | None = None
    passing: bool = False


Message = Stage | Ended


class _Teller:
    """Tells stages, a few times a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._name = ""
        self._told = 0.0

    def __call__(self, name: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if name != self._name or done == total or now - self._told >= TELL_SECONDS:
            self._pipe.send(Stage(name, done, total))
            self._name, self._told = name, now


def run(pipe: Connection, database: Database, settings: Settings, task: Task) -> None:
    """Do a job in this process, and tell its stages and its end through the pipe."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    set_language(task.language)
    pipe.send(do(database, settings, task, _Teller(pipe)))


def _die_with_parent() -> None:
    """End this process and all that it started when the worker is gone: nobody holds the job any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def do(database: Database, settings: Settings, task: Task, stage: _Teller) -> Ended:
    """Do a job; whatever happens is told as its end."""
    try:
        return _publish(database, settings, task, stage)
    except (Conflict, Unavailable) as error:
        return Ended(JobState.FAILED, error=_for_strangers(error), passing=True)
    except TwinError as error:
        return Ended(JobState.REFUSED, error=_for_strangers(error))
    except Exception as error:
        if (said := explain(error)) or isinstance(error, OSError):
            log.warning("job %s: %s", task.id, said or error)
            return Ended(JobState.FAILED, error=LATER, passing=True)
        log.exception("job %s failed", task.id)
        return Ended(JobState.FAILED, error=OUR_FAULT)


def _for_strangers(error: TwinError) -> Text:
    """The sentence of an error, without what a database says of itself."""
    return LATER if error.__cause__ is not None and explain(error.__cause__) else error.message


def _publish(database: Database, settings: Settings, task: Task, stage: _Teller) -> Ended:
    _require_right(database, task)
    folder = folder_of(settings)
    try:
        path = folder.lay_out(task.upload_id, task.number, task.name)
    except FileNotFoundError:
        return Ended(JobState.FAILED, error=LOST, passing=True)
    # What the readers unpack goes with the job's folder, however this process ends.
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder.workshop(task.number))

    sha256 = _digest(path, stage)
    if task.sha256 and sha256 != task.sha256:
        raise BadInput(
            Text(
                en="The file did not arrive as it was sent: its SHA-256 is {got}, not {said}. Upload it again.",
                vi="Tệp nhận được không đúng như tệp gửi: SHA-256 là {got}, không phải {said}. Hãy tải lên lại.",
            ).format(got=sha256, said=task.sha256)
        )

    # The readers load slowly, and a job may be refused before they are needed.
    from ingest.publishing import PublishResult, publish_file
    from twin.cli import all_loaded

    all_loaded()
    request = _request(task, folder.workshop(task.number))
    before = None if request.dry_run else _published_before(database, task, sha256)
    if before is not None:
        from dataclasses import replace

        report = publish_file(
            database, settings, path, replace(request, dry_run=True), task.actor, task.name, sha256, stage
        ).report
        return _ended(PublishResult(report, before), request)
    return _ended(publish_file(database, settings, path, request, task.actor, task.name, sha256, stage), request)


def _require_right(database: Database, task: Task) -> None:
    """Ask once more whether the key may publish: it may have been revoked since the job was queued."""
    from twin.access import note_denied, principal_of_key, require_publisher
    from twin.catalogue import read_catalogue

    try:
        with database.session() as session:
            require_publisher(principal_of_key(session, task.key_id), read_catalogue(session), task.layer)
    except (Forbidden, Unauthenticated) as error:
        with database.session() as session:
            note_denied(session, task.actor, task.key_id, task.layer, error)
        raise


def _digest(path: Path, stage: _Teller) -> str:
    import hashlib

    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            stage("verify", done, total)
    return digest.hexdigest()


def _request(task: Task, workshop: Path) -> PublishRequest:
    from ingest.publishing import PublishRequest

    said = PublishOrder(**task.order).model_dump()
    if (text := said.pop("mapping")) is not None:
        said["mapping"] = workshop / "mapping.toml"
        said["mapping"].write_text(text, "utf-8")
    return PublishRequest(layer=task.layer, **said)


def _published_before(database: Database, task: Task, sha256: str) -> Any:
    """The version that an earlier attempt made, if its worker died after that and before it could say so.

    The layer's jobs run one after another, so a version from this file, by this account, made since the job was first
    taken, is this job's.
    """
    import sqlalchemy as sa

    from twin.catalogue import split_layer_id
    from twin.db.tables import Agency, Job, Layer, LayerVersion, State
    from twin.staging import Outcome

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

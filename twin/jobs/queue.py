"""Jobs: an uploaded file waits for a worker, is published by one, and its report is kept.

A worker holds a job by an advisory lock of its connection. When the worker dies the database frees the lock, and the
next worker that looks takes the job again: no clock decides who is alive.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa
from psycopg.rows import dict_row
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy.orm import Session

from twin.access.principals import Action, Principal
from twin.bounded_toml import LENGTH, check_toml
from twin.db.sql import storable
from twin.db.tables import Agency, ApiKey, Audit, Job, JobState
from twin.db.tables import Principal as PrincipalRow
from twin.errors import BadInput, Conflict, NotFound
from twin.jobs.uploads import UploadFolder, find_upload
from twin.text import Language, Text
from twin.text_encodings import text_encoding

CHANNEL = "twin_job"
# The first half of the lock that a worker holds on a job; the second is the job's number.
JOB_LOCK = 731_055


def _plain(text: str) -> str:
    if storable(text) != text:
        raise ValueError("the text holds a character that cannot be stored")
    return text


Plain = Annotated[str, AfterValidator(_plain)]


class PublishOrder(BaseModel):
    """The options of a publish: those of `twin ingest publish`, with the mapping file's text."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    mode: Literal["replace", "upsert", "append"] = Field("replace", description="Replace all, by id, or only add.")
    strict: bool = Field(False, description="Refuse all if one feature fails.")
    dry_run: bool = Field(False, description="Only check.")
    reason: Plain = Field("", max_length=2000, description="Kept in the record.")
    mapping: Plain | None = Field(None, max_length=LENGTH, description="How columns become fields: a mapping's TOML.")
    crs: Plain | None = Field(None, max_length=20_000, description="What the file fails to say: EPSG:9210.")
    encoding: Plain | None = Field(None, max_length=100, description="Encoding of the file's text.")
    source_layer: Plain | None = Field(None, max_length=500, description="Which layer of the file.")
    longitude: Plain | None = Field(None, max_length=500, description="Column of a table.")
    latitude: Plain | None = Field(None, max_length=500, description="Column of a table.")
    wkt: Plain | None = Field(None, max_length=500, description="Column of a table that holds WKT.")


NO_JOB = Text(en="There is no such job.", vi="Không có tác vụ này.")


def queue_job(
    session: Session, folder: UploadFolder, principal: Principal, upload_id: UUID, layer: str, order: PublishOrder,
    language: Language,
) -> tuple[Job, bool]:  # fmt: skip
    """Queue a whole upload; return the job, and whether it is new. Queuing the same upload again gives the same job."""
    check_order(order)
    try:
        upload = find_upload(session, upload_id, principal.agency, hold=True)
    except NotFound:
        queued: Job | None = session.scalar(_visible_jobs(principal).where(Job.upload_id == upload_id))
        if queued is None:
            raise
        if (queued.layer, queued.order) != (layer, order.model_dump()):
            raise Conflict(
                Text(
                    en="This upload is queued already, as job {id}, for something else. Upload the file again.",
                    vi="Tệp này đã được xếp hàng với yêu cầu khác (tác vụ {id}). Hãy tải tệp lên lần nữa.",
                ).format(id=queued.id)
            ) from None
        return queued, False
    if upload.layer != layer:
        raise BadInput(
            Text(
                en="The upload was begun for the layer “{begun}”, not for “{layer}”.",
                vi="Tệp được tải lên cho lớp “{begun}”, không phải “{layer}”.",
            ).format(begun=upload.layer, layer=layer[:80])
        )
    arrived = folder.offset(upload.id)
    if arrived != upload.length:
        raise Conflict(
            Text(
                en="Only {arrived:,} of {length:,} bytes have arrived. Send the rest first.",
                vi="Mới nhận {arrived:,}/{length:,} byte. Hãy gửi nốt phần còn lại.",
            ).format(arrived=arrived, length=upload.length)
        )
    job = Job(
        id=uuid4(), upload_id=upload.id, key_id=principal.key, actor=principal.actor, layer=layer, name=upload.name,
        length=upload.length, sha256=upload.sha256, language=language, order=order.model_dump(),
        state=JobState.QUEUED.value,
    )  # fmt: skip
    session.add(job)
    session.delete(upload)
    session.flush()
    session.execute(sa.select(sa.func.pg_notify(CHANNEL, str(job.id))))
    return job, True


def check_order(order: PublishOrder) -> None:
    """Refuse options that no file could be read with, before a worker takes them."""
    if order.encoding is not None:
        text_encoding(order.encoding)
    if order.mapping is not None:
        check_toml(order.mapping, "mapping")


def find_job(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Return a job of the principal's agency, or of any for an operator; others do not exist."""
    job: Job | None = session.scalar(_visible_jobs(principal).where(Job.id == job_id))
    if job is None:
        raise NotFound(NO_JOB)
    return job


def list_jobs(session: Session, principal: Principal, layer: str | None, most: int) -> list[Job]:
    """Return the newest jobs of the principal's agency, or of all for an operator."""
    query = _visible_jobs(principal).order_by(Job.number.desc()).limit(most)
    return list(session.scalars(query.where(Job.layer == layer) if layer else query))


def cancel_job(session: Session, folder: UploadFolder, job_id: UUID, principal: Principal) -> Job:
    """Cancel a job: one that waits ends here, with its file; for one that runs its worker is notified to end it.

    Only the worker knows whether a running job's version was made already: it decides how the job ends.
    """
    job: Job | None = session.scalar(_visible_jobs(principal).where(Job.id == job_id).with_for_update(of=Job))
    if job is None:
        raise NotFound(NO_JOB)
    if job.state == JobState.QUEUED:
        job.state = JobState.CANCELLED.value
        job.finished_at = datetime.now(UTC)
        session.add(Audit(actor=principal.actor, action="job.cancel", layer=job.layer, detail={"job": str(job.id)}))
        folder.remove(job.upload_id)
    elif job.state == JobState.RUNNING:
        if job.cancel_requested_at is None:
            job.cancel_requested_at = datetime.now(UTC)
            session.add(Audit(actor=principal.actor, action="job.cancel", layer=job.layer, detail={"job": str(job.id)}))
        session.execute(sa.select(sa.func.pg_notify(CHANNEL, str(job.id))))
    elif job.state != JobState.CANCELLED:
        raise Conflict(
            Text(
                en="The job has ended as “{state}”; only one that waits or runs can be cancelled.",
                vi="Tác vụ đã kết thúc ở trạng thái “{state}”; chỉ hủy được tác vụ đang chờ hoặc đang chạy.",
            ).format(state=job.state)
        )
    return job


def _visible_jobs(principal: Principal) -> sa.Select[Any]:
    if not principal.may(Action.AGENCY_JOBS):
        raise NotFound(NO_JOB)
    if principal.may(Action.ALL_JOBS):
        return sa.select(Job)
    return sa.select(Job).join(ApiKey).join(PrincipalRow).join(Agency).where(Agency.name == principal.agency)


# The worker's side ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """A job as the worker that holds it knows it. `attempt` counts from 1."""

    number: int
    id: UUID
    upload_id: UUID
    key_id: str
    actor: str
    layer: str
    name: str
    sha256: str | None
    language: Language
    order: dict[str, Any]
    attempt: int
    kind: str
    cancelled: bool

    @property
    def agency(self) -> str:
        """The agency whose layer it is about."""
        return self.layer.partition(".")[0]


# An agency that has less under way comes first, then the one whose last job ended longer ago.
_TAKE = """
WITH first AS MATERIALIZED (
    SELECT DISTINCT ON (layer) number, due_at, kind, split_part(layer, '.', 1) AS agency FROM twin.job
    WHERE state IN ('queued', 'running') ORDER BY layer, number
), under_way AS MATERIALIZED (
    SELECT split_part(layer, '.', 1) AS agency, count(*) AS jobs FROM twin.job WHERE state = 'running' GROUP BY 1
), ended AS MATERIALIZED (
    SELECT split_part(layer, '.', 1) AS agency, max(finished_at) AS moment FROM twin.job
    WHERE finished_at > now() - interval '1 hour' GROUP BY 1
), due AS MATERIALIZED (
    SELECT number FROM first LEFT JOIN under_way USING (agency) LEFT JOIN ended USING (agency)
    WHERE due_at <= now() AND kind = ANY(%(kinds)s) AND number <> ALL(%(held)s) AND agency <> ALL(%(full)s)
    ORDER BY coalesce(jobs, 0), moment NULLS FIRST, number
)
SELECT number FROM due WHERE pg_try_advisory_lock(%(lock)s, number) LIMIT 1
"""

_START = """
UPDATE twin.job SET state = 'running', attempts = attempts + 1, worker = %s, stage = NULL, done = 0, total = NULL,
    started_at = coalesce(started_at, now())
WHERE number = %s AND state IN ('queued', 'running')
RETURNING number, id, upload_id, key_id, actor, layer, name, sha256, language, "order", attempts AS attempt, kind,
    cancel_requested_at IS NOT NULL AS cancelled
"""


def take(
    connection: psycopg.Connection[Any], worker: str, kinds: Collection[str], held: Collection[int] = (),
    full: Collection[str] = (),
) -> Task | None:  # fmt: skip
    """Take the next job of these kinds and hold it by this connection, or None where nothing is to be done.

    A layer's jobs are done in the order in which they were queued, one at a time; agencies take turns. `held` are the
    jobs that this connection holds already, `full` the agencies that have to wait. A running job can be taken only when
    the connection of the worker that had it is gone.
    """
    parameters = {"kinds": list(kinds), "held": list(held), "full": list(full), "lock": JOB_LOCK}
    while row := connection.execute(_TAKE, parameters).fetchone():
        number = row[0]
        with connection.cursor(row_factory=dict_row) as cursor:
            # Another worker may have finished it between the look and the lock.
            if started := cursor.execute(_START, [worker, number]).fetchone():
                return Task(**started)
        release(connection, number)
    return None


def to_cancel(connection: psycopg.Connection[Any], numbers: Collection[int]) -> set[int]:
    """Return which of these running jobs are to be cancelled."""
    query = "SELECT number FROM twin.job WHERE number = ANY(%s) AND cancel_requested_at IS NOT NULL"
    return {row[0] for row in connection.execute(query, [list(numbers)])}


def version_made(connection: psycopg.Connection[Any], number: int) -> int | None:
    """Return the version that a job has published since it was first taken, or None.

    The layer's jobs run one after another, so a version by this account since then is this job's.
    """
    row = connection.execute(
        "SELECT max(v.number) FROM twin.job j JOIN twin.agency a ON a.name = split_part(j.layer, '.', 1) "
        "JOIN twin.layer l ON l.agency_id = a.id AND l.name = split_part(j.layer, '.', 2) "
        "JOIN twin.layer_version v ON v.layer_id = l.id AND v.state = 'published' AND v.created_by = j.actor "
        "AND v.created_at >= j.started_at WHERE j.number = %s",
        [number],
    ).fetchone()
    return row[0] if row else None


def end_sessions(connection: psycopg.Connection[Any], application: str, seconds: float) -> bool:
    """End the database's sessions of a program that is gone; tell whether they have ended within so many seconds.

    Only then is it known whether the last thing that they did was committed.
    """
    # Sessions of another login can be seen but not ended; they notice by themselves that nobody is there.
    query = (
        "SELECT count(*), bool_and(CASE WHEN pg_has_role(usesysid, 'usage') THEN pg_terminate_backend(pid) END) "
        "FROM pg_stat_activity WHERE application_name LIKE %s AND datname = current_database()"
    )
    # The login may do so, also where it has taken the writer's role on.
    connection.execute("SET ROLE NONE")
    until = time.monotonic() + seconds
    try:
        return _ended(connection, query, f"{application} %", until)
    finally:
        connection.execute("RESET ROLE")


def _ended(connection: psycopg.Connection[Any], query: str, name: str, until: float) -> bool:
    while (row := connection.execute(query, [name]).fetchone()) and row[0]:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def release(connection: psycopg.Connection[Any], number: int) -> None:
    """Let go of a job."""
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", [JOB_LOCK, number])


def write_stage(connection: psycopg.Connection[Any], number: int, stage: str, done: int, total: int | None) -> None:
    """Write down how far a job is."""
    connection.execute(
        "UPDATE twin.job SET stage = %s, done = %s, total = %s WHERE number = %s", [stage, done, total, number]
    )


def finish(
    connection: psycopg.Connection[Any], number: int, state: JobState, *, version: int | None = None,
    result: Mapping[str, Any] | None = None, error: Text | None = None, pages: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """End a job."""
    pages = pages or {}
    connection.execute(
        "UPDATE twin.job SET state = %s, finished_at = now(), stage = NULL, version = %s, result = %s::jsonb, "
        "error = %s::jsonb, page_vi = %s, page_en = %s WHERE number = %s",
        [
            state.value, version, _json(result), _json(error.as_dict() if error else None), storable(pages.get("vi")),
            storable(pages.get("en")), number,
        ],
    )  # fmt: skip


def give_back(connection: psycopg.Connection[Any], number: int, seconds: float, *, counts: bool) -> None:
    """Put a job back into the queue, to be taken again after so many seconds; `counts` says if it was an attempt."""
    connection.execute(
        "UPDATE twin.job SET state = 'queued', stage = NULL, due_at = now() + make_interval(secs => %s), "
        "attempts = attempts - %s WHERE number = %s",
        [seconds, 0 if counts else 1, number],
    )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(storable(value), ensure_ascii=False, default=str)


def unfinished(connection: psycopg.Connection[Any]) -> tuple[set[UUID], set[int]]:
    """Return the uploads that are still needed, and the numbers of the jobs that are open."""
    uploads = {row[0] for row in connection.execute("SELECT id FROM twin.upload")}
    jobs = connection.execute("SELECT upload_id, number FROM twin.job WHERE state IN ('queued', 'running')").fetchall()
    return uploads | {row[0] for row in jobs}, {row[1] for row in jobs}


def drop_old(connection: psycopg.Connection[Any], days: float) -> list[UUID]:
    """Forget jobs that ended so long ago and uploads that ran out of time; give the uploads whose files may go."""
    connection.execute("DELETE FROM twin.job WHERE finished_at < now() - make_interval(secs => %s)", [days * 86_400])
    gone = connection.execute("DELETE FROM twin.upload WHERE expires_at < now() RETURNING id").fetchall()
    return [row[0] for row in gone]

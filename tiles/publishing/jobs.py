"""Jobs over HTTP: queue an upload to be published, follow the stages, read the report."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from tiles.http.principal import City, Lang
from tiles.publishing.requests import Known, require_publisher_now, writing
from twin.access.principals import Action
from twin.catalogue.catalogue import LAYER_ID, split_layer_id
from twin.db.tables import Job, JobState
from twin.errors import NotFound
from twin.jobs.queue import Plain, PublishOrder, cancel_job, find_job, list_jobs, queue_job
from twin.jobs.uploads import folder_of
from twin.text import Text

router = APIRouter(
    tags=["publishing"],
    responses={
        400: {"description": "The request cannot be understood"},
        401: {"description": "No key, or one that is not valid"},
        404: {"description": "There is no such job or upload for this key's agency"},
        503: {"description": "The database is not reachable"},
    },
)
# The page holds no scripts and asks for nothing; this says so to the browser as well.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Vary": "Authorization, X-API-Key, Accept-Language",
}


class JobOrder(PublishOrder):
    """An upload that is whole, the layer it was begun for, and how it is to be published."""

    upload: UUID = Field(description="The last part of the upload's address.")
    layer: Plain = Field(max_length=80, description="agency.name, as given when the upload was begun.")


@router.post(
    "/jobs",
    status_code=201,
    summary="Queue an upload to be published",
    responses={
        200: {"description": "It was queued before; this is that job"},
        403: {"description": "The key may not publish into this layer"},
        409: {"description": "The upload is not whole, or was queued for something else"},
        413: {"description": "The request is too large"},
    },
)
def queue(
    request: Request, city: City, principal: Known, lang: Lang, response: Response, order: JobOrder
) -> dict[str, Any]:
    """Queue a job; its address is in `Location`. Asked again for the same upload, the same job is given."""
    layer = require_publisher_now(request, principal, order.layer)
    publish_order = PublishOrder(**order.model_dump(exclude={"upload", "layer"}))
    with writing(city) as session:
        job, new = queue_job(session, folder_of(city.settings), principal, order.upload, layer.id, publish_order, lang)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/jobs/{job.id}"
    return _described(job, response)


@router.get("/jobs", summary="The newest jobs of the key's agency")
def jobs(
    city: City, principal: Known, response: Response,
    layer: Annotated[
        str | None,
        Query(max_length=80, json_schema_extra={"pattern": LAYER_ID}, description="Only those of this layer."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:  # fmt: skip
    """List jobs, the newest first, without their reports."""
    if layer is not None:
        split_layer_id(layer)
    response.headers["Cache-Control"] = "private, no-store"
    with writing(city) as session:
        found = list_jobs(session, principal, layer, limit)
    return {"jobs": [_described(job, response, brief=True) for job in found]}


@router.get("/jobs/{job}", summary="A job: state, stage and report")
def job(city: City, principal: Known, response: Response, job: UUID) -> dict[str, Any]:
    """Tell where a job stands; once it is done or refused, with the whole report."""
    with writing(city) as session:
        found = find_job(session, job, principal)
    return _described(found, response)


@router.get("/jobs/{job}/report", response_class=HTMLResponse, summary="The report as a page with a map")
def report(city: City, principal: Known, lang: Lang, job: UUID) -> HTMLResponse:
    """Give the report of a finished job as one page by itself."""
    with writing(city) as session:
        found = find_job(session, job, principal)
        page = found.page_vi if lang == "vi" else found.page_en
    if page is None:
        raise NotFound(Text(en="This job has no report.", vi="Tác vụ này không có báo cáo."))
    return HTMLResponse(page, headers=PAGE_HEADERS | {"Content-Language": lang})


@router.delete(
    "/jobs/{job}",
    summary="Cancel a job that waits or runs",
    responses={
        202: {"description": "A worker has it and was notified to end it; follow the job to see how it ends"},
        409: {"description": "The job has ended"},
    },
)
def cancel(request: Request, city: City, principal: Known, response: Response, job: UUID) -> dict[str, Any]:
    """Take a job out of the queue and remove its file, or ask the worker that runs it to end it."""
    with writing(city) as session:
        layer = find_job(session, job, principal).layer
    if not principal.may(Action.ALL_JOBS):
        require_publisher_now(request, principal, layer)
    with writing(city) as session:
        found = cancel_job(session, folder_of(city.settings), job, principal)
    if found.state == JobState.RUNNING:
        response.status_code = 202
    return _described(found, response)


def _described(job: Job, response: Response, *, brief: bool = False) -> dict[str, Any]:
    response.headers["Cache-Control"] = "private, no-store"
    document = {
        "id": str(job.id), "kind": job.kind, "layer": job.layer, "name": job.name, "length": job.length,
        "sha256": job.sha256, "state": job.state, "stage": job.stage, "done": job.done, "total": job.total,
        "attempts": job.attempts,
        "created": _time(job.created_at), "started": _time(job.started_at), "finished": _time(job.finished_at),
        "cancelRequested": _time(job.cancel_requested_at), "version": job.version, "error": job.error,
    }  # fmt: skip
    if not brief:
        document |= {"order": PublishOrder(**job.order).model_dump(by_alias=True), "result": job.result}
    return document


def _time(moment: Any) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None

"""Publish a file on a server: upload it, queue a job, wait for the result."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from twin.client.bundles import bundled
from twin.client.connection import Connection
from twin.client.transfer import NO_TWIN, PASSING, Notes, Patience, Transfer, last_part
from twin.errors import BadInput, Conflict, NotFound
from twin.jobs.queue import PublishOrder
from twin.text import Text

FINAL = frozenset({"done", "refused", "failed", "cancelled"})
PIECE_BYTES = 8 << 20
SLOWEST_LOOK = 2.0

# Called as a publish goes on: the stage, how much is done, and how much there is (None where unknown). "digest" and
# "upload" count bytes and happen here; the others are the server's.
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class JobResult:
    """The state of a job. `result` is what `twin ingest publish --json` prints, where there is a report."""

    id: UUID
    state: str
    version: int | None
    result: Mapping[str, Any] | None
    error: Text | None

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with warnings or failed, 2 refused: the same as a local publish."""
        if self.result is not None:
            return int(self.result["exitCode"])
        return {"done": 0, "refused": 2}.get(self.state, 1)


class Publisher:
    """Publishes files over a connection."""

    def __init__(self, connection: Connection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes

    def publish(self, path: Path, layer: str, order: PublishOrder, progress: Progress) -> JobResult:
        """Upload a file, queue its publish into a layer, and wait for the result."""
        with bundled(path) as file:
            sha256 = _digest(file, progress)
            try:
                job = self._queue(file, layer, sha256, order, progress)
            except _Elsewhere:
                self._notes.forget(self._connection.url, layer, sha256)
                job = self._queue(file, layer, sha256, order, progress)
        result = self.follow(job, progress)
        self._notes.forget(self._connection.url, layer, sha256)
        return result

    def follow(self, job: UUID, progress: Progress) -> JobResult:
        """Wait until a job is finished; report its stages meanwhile."""
        patience, pause = Patience(self._connection.patience), 0.2
        last: tuple[Any, ...] = ()
        while True:
            try:
                document = _document(self._connection.ask("GET", f"jobs/{job}"))
            except PASSING as error:
                patience.pause(error)
                continue
            patience.progressed()
            if document["state"] in FINAL:
                return JobResult(
                    job, document["state"], document["version"], document["result"],
                    _text(document["error"]),
                )  # fmt: skip
            stage = (document["stage"] or document["state"], document["done"], document["total"])
            if stage != last:
                progress(*stage)
                last, pause = stage, 0.2
            time.sleep(pause)
            pause = min(pause * 1.3, SLOWEST_LOOK)

    def _queue(self, file: Path, layer: str, sha256: str, order: PublishOrder, progress: Progress) -> UUID:
        """Upload what is missing and queue the job, or find the one that an earlier run has queued."""
        transfer = Transfer(self._connection.ask, self._connection.patience)
        upload = self._notes.read(self._connection.url, layer, sha256)
        begun = upload is not None
        if upload is None:
            upload = transfer.begin(file.name, file.stat().st_size, layer, sha256)
            self._notes.write(self._connection.url, layer, sha256, upload)
        try:
            offset: int | None = transfer.offset(upload) if begun else 0
        except NotFound:
            offset = None  # perhaps it is a job by now
        if offset is not None:
            try:
                transfer.send(upload, file, offset, lambda done, total: progress("upload", done, total))
            except NotFound:
                raise _Elsewhere from None
        request = order.model_dump(by_alias=True) | {"upload": str(upload), "layer": layer}
        patience = Patience(self._connection.patience)
        while True:
            try:
                return last_part(self._connection.ask("POST", "jobs", json=request))
            except PASSING as error:
                patience.pause(error)
            except (NotFound, Conflict):
                if begun:
                    raise _Elsewhere from None
                raise


class _Elsewhere(Exception):  # not an error
    """The noted upload is no longer there: it expired, or was queued for something else."""


def _text(document: Mapping[str, str] | None) -> Text | None:
    return Text(en=document["en"], vi=document["vi"]) if document else None


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "state" not in document:
        raise BadInput(NO_TWIN)
    return document


def _digest(path: Path, progress: Progress) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            progress("digest", done, total)
    return digest.hexdigest()

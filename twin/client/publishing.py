"""Publishing a file on a server: upload, queue, and wait for what comes of it."""

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

# Told as a publish goes on: the stage, how far it is, and how far it goes (None where that is not known). "read" and
# "upload" count bytes and are done here; the others are the server's.
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job stands or ended. `result` is what `twin ingest publish --json` prints, where there is a report."""

    id: UUID
    state: str
    version: int | None
    result: Mapping[str, Any] | None
    error: Text | None

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with warnings or failed, 2 refused: as a publish on the spot."""
        if self.result is not None:
            return int(self.result["exitCode"])
        return {"done": 0, "refused": 2}.get(self.state, 1)


class Publisher:
    """Publishes files over a connection."""

    def __init__(self, connection: Connection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes

    def publish(self, path: Path, layer: str, order: PublishOrder, told: Progress) -> JobResult:
        """Upload a file, let it be published into a layer, and wait for what comes of it."""
        with bundled(path) as file:
            sha256 = _digest(file, told)
            try:
                job = self._queue(file, layer, sha256, order, told)
            except _Elsewhere:
                self._notes.forget(self._connection.url, layer, sha256)
                job = self._queue(file, layer, sha256, order, told)
        result = self.follow(job, told)
        self._notes.forget(self._connection.url, layer, sha256)
        return result

    def follow(self, job: UUID, progress: Progress) -> JobResult:
        """Wait until a job is finished, and tell its stages meanwhile."""
        patience, pause = Patience(self._connection.patience), 0.2
        last: tuple[Any, ...] = ()
        while True:
            try:
                said = _document(self._connection.ask("GET", f"jobs/{job}"))
            except PASSING as error:
                patience.pause(error)
                continue
            patience.progressed()
            if said["state"] in FINAL:
                return JobResult(
                    job, said["state"], said["version"], said["result"],
                    _text(said["error"]),
                )  # fmt: skip
            stage = (said["stage"] or said["state"], said["done"], said["total"])
            if stage != last:
                progress(*stage)
                last, pause = stage, 0.2
            time.sleep(pause)
            pause = min(pause * 1.3, SLOWEST_LOOK)

    def _queue(self, file: Path, layer: str, sha256: str, order: PublishOrder, told: Progress) -> UUID:
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
                transfer.send(upload, file, offset, lambda done, total: told("upload", done, total))
            except NotFound:
                raise _Elsewhere from None
        asked = order.model_dump(by_alias=True) | {"upload": str(upload), "layer": layer}
        patience = Patience(self._connection.patience)
        while True:
            try:
                return last_part(self._connection.ask("POST", "jobs", json=asked))
            except PASSING as error:
                patience.pause(error)
            except (NotFound, Conflict):
                if begun:
                    raise _Elsewhere from None
                raise


class _Elsewhere(Exception):  # not an error
    """What was noted is no longer there: the upload ran out of time, or was queued for something else."""


def _text(said: Mapping[str, str] | None) -> Text | None:
    return Text(en=said["en"], vi=said["vi"]) if said else None


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict) or "state" not in said:
        raise BadInput(NO_TWIN)
    return said


def _digest(path: Path, told: Progress) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            told("digest", done, total)
    return digest.hexdigest()

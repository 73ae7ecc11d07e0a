"""Files that agencies send in pieces: the folder they lie in until a worker has published them, and their rows."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.config import Settings
from twin.db.tables import Agency, ApiKey, Principal, Upload
from twin.errors import BadInput, Busy, NoRoom, NotFound, TooLarge, TooMany
from twin.private_files import open_private, private_folder
from twin.text import Text

# What stays free on the disk, so that a full folder of uploads does not stop the database beside it.
RESERVE_BYTES = 256 * 2**20
NAME_BYTES = 200
DEFAULT_NAME = "upload"

NO_ROOM = Text(
    en="The server's disk is full. What has arrived is kept: try again later, or tell the operator.",
    vi="Đĩa của máy chủ đã đầy. Phần đã nhận vẫn được giữ: hãy thử lại sau, hoặc báo người vận hành.",
)
NO_UPLOAD = Text(
    en="There is no such upload. It may have been queued already, removed, or have run out of time: begin anew.",
    vi="Không có lần tải lên này. Có thể tệp đã vào hàng đợi, đã bị xóa hoặc hết hạn: hãy tải lại từ đầu.",
)


@dataclass(frozen=True, slots=True)
class UploadFolder:
    """The folder of uploads. Every name in it is made here; none comes from a client."""

    path: Path

    def make(self) -> None:
        """Make the folder; only this user may look into it."""
        private_folder(self.path)

    def file(self, upload: UUID) -> Path:
        """Return the file of an upload."""
        return self.path / f"{upload}.part"

    def workshop(self, job: int) -> Path:
        """Return the folder where a job is worked on; it goes with the job."""
        return self.path / f"job-{job}"

    def offset(self, upload: UUID) -> int:
        """Return how many bytes have arrived, as the file itself tells."""
        try:
            return self.file(upload).stat().st_size
        except FileNotFoundError:
            raise NotFound(NO_UPLOAD) from None

    def begin(self, upload: UUID, length: int) -> None:
        """Make an empty file, if there is room for the whole of it."""
        self.make()
        if shutil.disk_usage(self.path).free < length + RESERVE_BYTES:
            raise NoRoom(NO_ROOM)
        with open_private(self.file(upload), "xb"):
            pass

    @contextmanager
    def appending(self, upload: UUID) -> Iterator[BinaryIO]:
        """The file, open at its end, held by one writer at a time on all machines that share the folder."""
        try:
            # Opened for reading and writing, since "a" would make a file that somebody has just removed.
            file = self.file(upload).open("r+b", buffering=0)
        except FileNotFoundError:
            raise NotFound(NO_UPLOAD) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(
                    Text(
                        en="Another connection is sending this file at this moment. Ask again in a few seconds.",
                        vi="Một kết nối khác đang gửi tệp này. Hãy hỏi lại sau vài giây.",
                    )
                ) from None
            file.seek(0, os.SEEK_END)
            yield file

    def remove(self, upload: UUID) -> None:
        """Remove what has arrived."""
        self.file(upload).unlink(missing_ok=True)

    def lay_out(self, upload: UUID, job: int, name: str) -> Path:
        """Make a fresh folder for a job, with the file in it under the name its sender gave it."""
        workshop = self.workshop(job)
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        (workshop / "file").mkdir()
        path = workshop / "file" / name
        # A second name for the same bytes: a job that is tried again finds the file where it was.
        try:
            os.link(self.file(upload), path)
        except FileNotFoundError:
            raise
        except OSError:  # not every file system can
            shutil.copyfile(self.file(upload), path)
        return path

    def clear(self, upload: UUID | None, job: int) -> None:
        """Remove a job's folder, and its file if it is not needed again."""
        shutil.rmtree(self.workshop(job), ignore_errors=True)
        if upload is not None:
            self.remove(upload)

    def strays(self, older_than: float) -> Iterator[tuple[Path, UUID | int]]:
        """The files of uploads and folders of jobs that nobody has touched since that time (seconds since 1970)."""
        for path in self.path.iterdir() if self.path.is_dir() else ():
            with suppress(OSError, ValueError):
                if path.stat().st_mtime >= older_than:
                    continue
                if path.name.endswith(".part"):
                    yield path, UUID(path.name.removesuffix(".part"))
                elif path.name.startswith("job-"):
                    yield path, int(path.name.removeprefix("job-"))


def folder_of(settings: Settings) -> UploadFolder:
    """Return the folder that the settings name."""
    return UploadFolder(settings.upload_folder.absolute())


def plain_name(given: str) -> str:
    """A client's file name as a text that names a file here and nothing else: its last part, in harmless characters.

    The ending stays, because readers look at it.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", given))[-1]
    kept = re.sub(r"[^\w .()+-]|[\x00-\x1f]", "_", last).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,12}", ending):
        stem, ending = kept, ""
    stem = stem.encode()[:NAME_BYTES].decode("utf-8", "ignore").strip(" .-") or DEFAULT_NAME
    return f"{stem}.{ending}" if ending else stem


def open_upload(
    session: Session, settings: Settings, key_id: str, layer: str, name: str, length: int, sha256: str | None
) -> Upload:
    """Make the row of a new upload, within the limits."""
    if length < 1:
        raise BadInput(Text(en="The file is empty.", vi="Tệp rỗng."))
    if length > settings.upload_bytes:
        raise TooLarge(
            Text(
                en="The file has {length:,} bytes; {limit:,} are allowed (TWIN_UPLOAD_BYTES). Divide it, compress it "
                "as ZIP, or ask the operator to raise the limit.",
                vi="Tệp có {length:,} byte; mức cho phép là {limit:,} (TWIN_UPLOAD_BYTES). Hãy chia nhỏ, nén ZIP, "
                "hoặc đề nghị người vận hành tăng giới hạn.",
            ).format(length=length, limit=settings.upload_bytes)
        )
    # Two requests of one key wait for each other here: otherwise both would count the same uploads.
    session.execute(sa.select(ApiKey.id).where(ApiKey.id == key_id).with_for_update(key_share=True))
    mine = sa.select(sa.func.count()).where(Upload.key_id == key_id, Upload.expires_at > sa.func.now())
    if (session.scalar(mine) or 0) >= settings.uploads_open:
        raise TooMany(
            Text(
                en="This key has {limit} unfinished uploads, which is all it may have (TWIN_UPLOADS_OPEN). Finish "
                "or delete one, or wait until they end by themselves.",
                vi="Khóa này đã có {limit} lần tải lên chưa xong, đúng mức tối đa (TWIN_UPLOADS_OPEN). Hãy tải nốt "
                "hoặc xóa bớt, hoặc chờ đến khi chúng hết hạn.",
            ).format(limit=settings.uploads_open)
        )
    upload = Upload(
        id=uuid4(), key_id=key_id, layer=layer, name=plain_name(name), length=length, sha256=sha256,
        expires_at=_end(settings),
    )  # fmt: skip
    session.add(upload)
    session.flush()
    return upload


def find_upload(session: Session, upload_id: UUID, agency: str | None, *, hold: bool = False) -> Upload:
    """An upload of an agency that has not run out of time; another agency's does not exist. `hold` locks its row."""
    query = (
        sa.select(Upload)
        .join(ApiKey)
        .join(Principal)
        .join(Agency)
        .where(Upload.id == upload_id, Upload.expires_at > sa.func.now(), Agency.name == agency)
    )
    found = session.scalar(query.with_for_update(of=Upload) if hold else query)
    if found is None:
        raise NotFound(NO_UPLOAD)
    return found


def go_on(session: Session, settings: Settings, upload: Upload) -> None:
    """Give an upload its full time again, because more of it has arrived."""
    session.execute(sa.update(Upload).where(Upload.id == upload.id).values(expires_at=_end(settings)))


def _end(settings: Settings) -> datetime:
    return datetime.now(UTC) + timedelta(hours=settings.upload_hours)

"""Publishing from an agency's own desk: the file goes to a server, and its report comes back to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from ingest.cli.stages import STAGES as PUBLISH_STAGES
from twin.cli import console, print_json
from twin.client import JobResult, Twin
from twin.client import Progress as Told
from twin.errors import BadInput, TwinError
from twin.jobs.queue import PublishOrder
from twin.text import Text

BYTES = {
    "digest": Text(en="reading the file", vi="đang đọc tệp"),
    "upload": Text(en="uploading", vi="đang tải lên"),
    "verify": Text(en="comparing what arrived", vi="đang đối chiếu tệp đã nhận"),
}
STAGES = {
    "queued": Text(en="waiting for a worker", vi="đang chờ xử lý"),
    "running": Text(en="a worker begins", vi="bắt đầu xử lý"),
}


class _Refused(TwinError):
    """The file was refused as it is."""

    exit_code = 2


def publish_remotely(
    file: Path, layer: str, server: str, key: str | None, insecure_http: bool, html: Path | None, as_json: bool,
    mapping: Path | None, **options: Any,
) -> JobResult:  # fmt: skip
    """Upload, wait and show the report; a job that ended without a report raises its error."""
    if not key:
        raise BadInput(
            Text(
                en="A key is needed to publish on a server: --key, or better the variable TWIN_KEY.",
                vi="Cần có khóa để công bố lên máy chủ: --key, hoặc tốt hơn là biến TWIN_KEY.",
            )
        )
    try:
        order = PublishOrder(mapping=mapping.read_bytes().decode("utf-8", "replace") if mapping else None, **options)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            Text(en="{name}: {reason}", vi="{name}: {reason}").format(name=first["loc"][0], reason=first["msg"])
        ) from None
    with Twin(server, key, insecure_http=insecure_http) as city:
        with _progress() as show:
            result = city.publish(file, layer, order=order, progress=show)
        if html and result.result:
            html.write_text(city.report_page(result.id), "utf-8")
    if result.result is None:
        raise (_Refused if result.state == "refused" else TwinError)(
            result.error or Text(en="The job was cancelled.", vi="Tác vụ đã bị hủy.")
        )
    if as_json:
        print_json(result.result)
    else:
        from rich.console import Console

        from ingest.checks.remote_report import print_remote_report

        print_remote_report(result.result["report"], Console())
    return result


@contextmanager
def _progress() -> Iterator[Told]:
    """Return a bar with bytes and speed for the upload, then one for the server's stages; nothing without a
    terminal.
    """

    quiet = not sys.stderr.isatty()
    names: dict[str, Text] = PUBLISH_STAGES | STAGES
    sending = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console(), transient=True, disable=quiet,
    )  # fmt: skip
    working = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"),
        TimeElapsedColumn(), console=console(), transient=True, disable=quiet,
    )  # fmt: skip
    shown: tuple[Progress, str] | None = None

    def show(name: str, done: int, total: int | None) -> None:
        nonlocal shown
        bar = sending if name in BYTES else working
        description = str(BYTES.get(name) or names.get(name) or name)
        if shown is None or shown[0] is not bar or (bar is sending and shown[1] != name):
            if shown is not None:
                shown[0].stop()
            for task in bar.task_ids:
                bar.remove_task(task)
            # Bytes that were there before are not counted into the speed.
            bar.add_task(description, total=total, completed=done)
            bar.start()
        shown = (bar, name)
        bar.update(bar.task_ids[0], description=description, completed=done, total=total)

    try:
        yield show
    finally:
        if shown is not None:
            shown[0].stop()

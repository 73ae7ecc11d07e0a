"""Commands of the agencies' door: `twin ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ingest import agency, history, worker
from twin.cli import console, say
from twin.config import load_settings
from twin.db.database import open_database
from twin.text import Text

if TYPE_CHECKING:
    from ingest.pipeline import Progress as Count
    from ingest.pipeline import Published


@click.group(
    short_help=say("Publish data to the shared map.", "Công bố dữ liệu lên bản đồ chung."),
    help=say(
        "Publish data to the shared map. The usual way:\n\n"
        "1. What can it be?  twin layer themes\n\n"
        "2. What is wrong with the file?  twin ingest check FILE --theme THEME\n\n"
        "3. Put it on the map:  twin ingest publish FILE --layer AGENCY.NAME --theme THEME\n\n"
        "4. Mend what was set aside:  twin ingest quarantine AGENCY.NAME --out bad.gpkg\n\n"
        "A wrong version is taken back with: twin ingest rollback AGENCY.NAME",
        "Công bố dữ liệu lên bản đồ chung. Các bước thường làm:\n\n"
        "1. Dữ liệu thuộc chuyên đề nào?  twin layer themes\n\n"
        "2. Tệp có vấn đề gì không?  twin ingest check TỆP --theme CHUYÊN_ĐỀ\n\n"
        "3. Đưa lên bản đồ:  twin ingest publish TỆP --layer ĐƠN_VỊ.TÊN --theme CHUYÊN_ĐỀ\n\n"
        "4. Sửa những gì bị cách ly:  twin ingest quarantine ĐƠN_VỊ.TÊN --out loi.gpkg\n\n"
        "Nếu công bố nhầm, quay lại bằng: twin ingest rollback ĐƠN_VỊ.TÊN",
    ),
)
def ingest() -> None:
    """Group of ingest commands."""


for _command in (
    agency.check,
    agency.publish,
    history.versions,
    history.show,
    history.diff,
    history.rollback,
    history.quarantine,
    worker.worker,
):
    ingest.add_command(_command)


class _Terminal:
    """Shows a load: a line a layer, and on a terminal a running count for the present one."""

    def __init__(self) -> None:
        self.console = console()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,}"), TimeElapsedColumn(),
            console=self.console, transient=True,
        )  # fmt: skip
        self.kept_count = 0

    def __enter__(self) -> _Terminal:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, layer: str, title: Text) -> Count:
        task = self._bar.add_task(f"{layer}  {title}", total=None)
        self._task = task
        return lambda rows: self._bar.advance(task, rows)

    def kept(self, _layer: str) -> None:
        self.kept_count += 1

    def done(self, layer: str, published: Published) -> None:
        self._bar.remove_task(self._task)
        outcome, findings = published.outcome, published.findings
        notes = []
        if findings.mended:
            notes.append(say(f"{findings.mended:,} mended", f"sửa {findings.mended:,}"))
        if outcome.quarantined:
            notes.append(say(f"{outcome.quarantined:,} set aside", f"cách ly {outcome.quarantined:,}"))
        count = say("features", "đối tượng")
        extra = f"  [dim]({', '.join(notes)})[/dim]" if notes else ""
        self.console.print(f"  {layer:32} {outcome.features:>9,} {count}, v{outcome.number}{extra}")


@ingest.command(
    short_help=say("Load a whole city from a folder.", "Nạp cả một thành phố từ một thư mục."),
    help=say(
        "Load a whole city: the data folder's, as its city.toml describes it, or the sample city. "
        "What is already there as it should be is left alone.\n\nExample: twin ingest city --data ../data/hcmc",
        "Nạp cả một thành phố: từ thư mục dữ liệu theo mô tả trong city.toml, hoặc thành phố mẫu. "
        "Phần đã có và không đổi thì giữ nguyên.\n\nVí dụ: twin ingest city --data ../data/hcmc",
    ),
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=say("Folder with the city's files; else the sample city.", "Thư mục dữ liệu; không có thì nạp thành phố mẫu."),
)  # fmt: skip
@click.option(
    "--buildings", type=click.IntRange(100, 2_000_000), default=40_000, show_default=True,
    help=say("Size of the sample city.", "Số công trình của thành phố mẫu."),
)  # fmt: skip
@click.option(
    "--seed", type=int, default=2025, show_default=True, help=say("Of the sample city.", "Của thành phố mẫu.")
)
@click.option("--database", help=say("Database of the private cluster.", "Cơ sở dữ liệu trong cụm riêng."))
def city(data: Path | None, buildings: int, seed: int, database: str | None) -> None:
    """Load a city."""
    from ingest.city import described_city, load_city, sample_city

    settings = load_settings()
    load = described_city(data) if data else sample_city(buildings, seed)
    with _Terminal() as terminal:
        published = load_city(open_database(settings, database), load, settings, terminal)
    kept = terminal.kept_count
    console().print(
        say(
            f"{load.title}: {published} layers published, {kept} unchanged.",
            f"{load.title}: công bố {published} lớp, {kept} lớp không đổi.",
        )
    )

"""Commands of the agencies' door: `twin ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text as Styled

from ingest.cli import alerts, history, stream_export, streams
from ingest.cli import publish as agency
from ingest.counts import feature_count
from ingest.worker import worker
from twin.cli import console, say
from twin.config import Settings, load_settings
from twin.db.database import Database, open_database
from twin.errors import STAYED
from twin.text import Text, format_number, printable

if TYPE_CHECKING:
    from ingest.publish.city import CityLoad
    from ingest.publish.engine import PublishResult, Stage


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


streams.stream.add_command(stream_export.export)
for _command in (
    agency.check,
    agency.publish,
    history.versions,
    history.show,
    history.diff,
    history.rollback,
    history.quarantine,
    worker.worker,
    streams.stream,
    alerts.alerts,
):
    ingest.add_command(_command)


class _Terminal:
    """Shows a load: a line a layer, and on a terminal a running count for the present one."""

    def __init__(self) -> None:
        self.console = console()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[shown]}"), TimeElapsedColumn(),
            console=self.console, transient=True,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> _Terminal:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, layer: str, title: Text) -> Stage:
        task = self._task = self._bar.add_task(f"{layer}  {title}", total=None, shown="")

        def stage(_name: str, done: int, _total: int | None) -> None:
            self._bar.update(task, shown=format_number(done))

        return stage

    def unchanged(self, _layer: str) -> None:
        self._end()

    def published(self, layer: str, result: PublishResult) -> None:
        self._end()
        outcome = result.outcome
        if outcome is None:
            return
        notes = []
        if mended := sum(getattr(report, "mended", 0) for report in result.reports):
            notes.append(say(f"{format_number(mended)} mended", f"sửa {format_number(mended)}"))
        if outcome.quarantined:
            notes.append(
                say(f"{format_number(outcome.quarantined)} set aside", f"cách ly {format_number(outcome.quarantined)}")
            )
        extra = f"  [dim]({', '.join(notes)})[/dim]" if notes else ""
        self.console.print(f"  {layer:32} {feature_count(outcome.features)!s:>20}, v{outcome.number}{extra}")

    def refused(self, layer: str, reason: Text) -> None:
        self._end()
        self.console.print(Styled(f"✗ {layer:32} {printable(reason)}", "red"))

    def _end(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


@ingest.command(
    short_help=say("Load a whole city from a folder.", "Nạp cả một thành phố từ một thư mục."),
    help=say(
        "Load a whole city: the data folder's, as its city.toml describes it, or the sample city. What is already "
        "there as it should be is left alone. A layer whose files cannot be published keeps its last good version; the "
        "others are loaded.\n\n"
        "Exit code: 0 all layers are as their files say, 2 wrong input, 3 the database or the disk does not serve, "
        "4 some layers stayed as they were.\n\n"
        "Examples:\n\n  twin ingest city --data ../data/hcmc\n\n"
        "  twin ingest city --data ../data/hcmc --check --layer transport.bus_stops",
        "Nạp cả một thành phố: từ thư mục dữ liệu theo mô tả trong city.toml, hoặc thành phố mẫu. Phần đã có và không "
        "đổi thì giữ nguyên. Lớp có tệp không công bố được thì giữ phiên bản tốt gần nhất; các lớp khác vẫn được "
        "nạp.\n\n"
        "Mã thoát: 0 mọi lớp đúng như tệp, 2 dữ liệu vào sai, 3 cơ sở dữ liệu hoặc đĩa không phục vụ được, "
        "4 có lớp giữ nguyên như cũ.\n\n"
        "Ví dụ:\n\n  twin ingest city --data ../data/hcmc\n\n"
        "  twin ingest city --data ../data/hcmc --check --layer transport.bus_stops",
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
@click.option(
    "--check", "check_only", is_flag=True,
    help=say("Check the files and write nothing.", "Chỉ kiểm tra các tệp, không ghi gì."),
)  # fmt: skip
@click.option(
    "--layer", "layers", multiple=True,
    help=say("With --check: only this layer (may be repeated).", "Cùng --check: chỉ lớp này (có thể lặp lại)."),
)  # fmt: skip
def city(
    data: Path | None, buildings: int, seed: int, database: str | None, check_only: bool, layers: tuple[str, ...]
) -> int:
    """Load a city."""
    from ingest.publish.city import described_city, load_city, sample_city

    settings = load_settings()
    load = described_city(data) if data else sample_city(buildings, seed)
    if check_only:
        return _check_city(load, settings, open_database(settings, database), layers)
    with _Terminal() as terminal:
        loaded = load_city(open_database(settings, database), load, settings, terminal)
    published, unchanged = len(loaded.published), len(loaded.unchanged)
    console().print(
        say(
            f"{load.title}: {published} layers published, {unchanged} unchanged.",
            f"{load.title}: công bố {published} lớp, {unchanged} lớp không đổi.",
        )
    )
    if loaded.refused:
        names = " ".join(f"--layer {name}" for name in loaded.refused)
        source = f" --data {data}" if data else ""
        console().print(
            say(
                f"{len(loaded.refused)} stayed as they were: {', '.join(loaded.refused)}. "
                f"See why: twin ingest city{source} --check {names}",
                f"{len(loaded.refused)} lớp giữ nguyên như cũ: {', '.join(loaded.refused)}. "
                f"Xem lý do: twin ingest city{source} --check {names}",
            ),
            style="red", soft_wrap=True,
        )  # fmt: skip
        return STAYED
    return 0


def _check_city(load: CityLoad, settings: Settings, database: Database, only: tuple[str, ...]) -> int:
    from ingest.checks.terminal import print_report
    from ingest.publish.city import check_city

    with _Terminal() as terminal:
        reports, refused = check_city(load, settings, terminal, database, only)
    out = Console()
    worst = STAYED if refused else 0
    for layer, found in reports.items():
        for report in found:
            out.rule(f"[bold]{layer}")
            print_report(report, out)
            worst = max(worst, report.exit_code)
    return worst

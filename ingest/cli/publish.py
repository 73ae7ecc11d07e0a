"""The commands of an agency's GIS officer: `twin ingest check` and `twin ingest publish`."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ingest.cli.stages import STAGES
from ingest.counts import feature_count
from layers.contracts import theme_of
from layers.registry import theme as find_theme
from layers.theme import Theme
from twin.catalogue.catalogue import LayerEntry, ensure_layer, read_catalogue, split_layer_id
from twin.cli import all_loaded, console, print_json, say
from twin.commands import as_json
from twin.config import Settings, load_settings
from twin.db.database import Database, open_database
from twin.db.tables import Agency, Sharing
from twin.errors import BadInput, NotFound
from twin.text import Text, format_number

if TYPE_CHECKING:
    from ingest.checks.raster_report import RasterReport
    from ingest.checks.report import Report
    from ingest.publish.engine import PublishResult, Stage

FILE = click.argument("file", type=click.Path(path_type=Path, exists=True), metavar=say("FILE", "TỆP"))


def _about_the_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say of a file what it does not say itself."""
    options = [
        click.option(
            "--mapping", type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help=say("TOML file: which column is which field.", "Tệp TOML: cột nào ứng với trường nào."),
        ),
        click.option(
            "--crs", help=say("Coordinates, if the file is wrong: EPSG:9210.", "Hệ tọa độ, nếu tệp ghi sai: EPSG:9210.")
        ),
        click.option("--encoding", help=say("Encoding of the file's text.", "Bảng mã chữ của tệp.")),
        click.option(
            "--source-layer", help=say("Layer of the file, or band of a raster.", "Lớp trong tệp, hoặc kênh ảnh.")
        ),
        click.option("--longitude", help=say("A table's column of longitude or x.", "Cột kinh độ hoặc x của bảng.")),
        click.option("--latitude", help=say("A table's column of latitude or y.", "Cột vĩ độ hoặc y của bảng.")),
        click.option("--wkt", help=say("A table's column of geometry as WKT.", "Cột hình học dạng WKT của bảng.")),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    short_help=say("Check a file; write nothing.", "Kiểm tra một tệp, không ghi gì."),
    help=say(
        "Check a file against a theme and write nothing: what it is, how its columns fit, "
        "every problem and what to do.\n\n"
        "Exit code: 0 clean, 1 with warnings or features to set aside, 2 refused, 3 not possible now, 70 a fault of "
        "this program.\n\n"
        "Examples:\n\n  twin ingest check nha.shp --theme buildings\n\n"
        "  twin ingest check nha.shp --layer construction.buildings --html report.html",
        "Kiểm tra một tệp theo chuyên đề, không ghi gì: tệp là gì, cột ứng với trường nào, "
        "mọi vấn đề và cách xử lý.\n\n"
        "Mã thoát: 0 sạch, 1 có cảnh báo hoặc có đối tượng bị cách ly, 2 bị từ chối, 3 hiện chưa làm được, 70 lỗi của "
        "chương trình.\n\n"
        "Ví dụ:\n\n  twin ingest check nha.shp --theme buildings\n\n"
        "  twin ingest check nha.shp --layer construction.buildings --html baocao.html",
    ),
)
@FILE
@click.option("--theme", help=say("Theme to check against.", "Chuyên đề để kiểm tra."))
@click.option("--layer", help=say("Or the layer it is meant for.", "Hoặc lớp sẽ công bố vào."))
@_about_the_file
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False),
    help=say("Write the report there, with a map.", "Ghi báo cáo kèm bản đồ vào tệp này."),
)  # fmt: skip
@click.option(
    "--write-mapping", type=click.Path(path_type=Path, dir_okay=False),
    help=say("Write the proposed mapping there, to edit.", "Ghi cách ghép cột được đề xuất để chỉnh sửa."),
)  # fmt: skip
@as_json
def check(
    file: Path, theme: str | None, layer: str | None, html: Path | None, write_mapping: Path | None, as_json: bool,
    **about: Any,
) -> int:  # fmt: skip
    """Check a file."""
    from ingest.publish.engine import PublishRequest, check_file

    settings = load_settings()
    request = PublishRequest(layer=layer or "", **about)
    with _progress() as stage:
        of = _theme_of(theme, layer, settings)
        report = check_file(file, of, request, settings, stage, lambda: open_database(settings))
    if write_mapping:
        write_mapping.write_text(report.plan.to_toml(), "utf-8")
    _show(report, html, as_json)
    return report.exit_code


@click.command(
    short_help=say("Publish a file as a new version.", "Công bố một tệp thành phiên bản mới."),
    help=say(
        "Publish a file into a layer, checked, as one new version. What fails the checks is set aside with its reason "
        "(see: twin ingest quarantine). An unchanged file makes no version.\n\n"
        "Exit code: 0 clean, 1 with warnings or features set aside, 2 refused and the layer is as it was, 3 not "
        "possible now, 70 a fault of this program.\n\n"
        "Examples:\n\n  twin ingest publish tram.csv --layer transport.bus_stops --theme transit_stops\n\n"
        '  twin ingest publish nha.gpkg --layer construction.buildings --mode upsert --reason "survey of May"\n\n'
        "  TWIN_KEY=… twin ingest publish nha.gpkg --layer construction.buildings --server https://city.example",
        "Công bố một tệp vào một lớp, có kiểm tra, thành một phiên bản mới. Đối tượng không đạt được cách ly kèm lý do "
        "(xem: twin ingest quarantine). Tệp không đổi thì không tạo phiên bản.\n\n"
        "Mã thoát: 0 sạch, 1 có cảnh báo hoặc có đối tượng bị cách ly, 2 bị từ chối và lớp vẫn như cũ, 3 hiện chưa "
        "làm được, 70 lỗi của chương trình.\n\n"
        "Ví dụ:\n\n  twin ingest publish tram.csv --layer transport.bus_stops --theme transit_stops\n\n"
        '  twin ingest publish nha.gpkg --layer construction.buildings --mode upsert --reason "khảo sát tháng 5"\n\n'
        "  TWIN_KEY=… twin ingest publish nha.gpkg --layer construction.buildings --server https://city.example",
    ),
)
@FILE
@click.option("--layer", required=True, help=say("AGENCY.NAME to publish into.", "ĐƠN_VỊ.TÊN của lớp."))
@click.option(
    "--mode", type=click.Choice(["replace", "upsert", "append"]), default="replace", show_default=True,
    help=say("Replace all, update by id, or only add.", "Thay toàn bộ, cập nhật theo mã, hoặc chỉ thêm."),
)  # fmt: skip
@click.option("--strict", is_flag=True, help=say("Refuse all if anything fails.", "Từ chối tất cả nếu có lỗi."))
@click.option("--dry-run", is_flag=True, help=say("Only check; write nothing.", "Chỉ kiểm tra, không ghi gì."))
@click.option("--reason", default="", help=say("Why; kept in the record.", "Lý do, được ghi vào nhật ký."))
@click.option("--theme", help=say("Theme of a new layer.", "Chuyên đề của lớp mới."))
@click.option("--title", help=say("Title of a new layer.", "Tên của lớp mới."))
@click.option("--licence", default="", help=say("Licence of a new layer.", "Giấy phép của lớp mới."))
@click.option(
    "--sharing", type=click.Choice([s.value for s in Sharing]), default=Sharing.RESTRICTED.value, show_default=True,
    help=say("Who may read a new layer.", "Ai được xem lớp mới."),
)  # fmt: skip
@_about_the_file
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False),
    help=say("Write the report there, with a map.", "Ghi báo cáo kèm bản đồ vào tệp này."),
)  # fmt: skip
@click.option(
    "--server", envvar="TWIN_SERVER", metavar="URL",
    help=say("Upload to this server instead (or TWIN_SERVER).", "Tải lên máy chủ này (hoặc TWIN_SERVER)."),
)  # fmt: skip
@click.option(
    "--key", envvar="TWIN_KEY", metavar=say("KEY", "KHÓA"),
    help=say(
        "Your agency's key there. Better in TWIN_KEY: others on this machine see a command line.",
        "Khóa của đơn vị. Nên đặt trong TWIN_KEY: người khác trên máy có thể thấy dòng lệnh.",
    ),
)  # fmt: skip
@click.option(
    "--insecure-http", is_flag=True,
    help=say("Let the key travel over plain http.", "Cho phép gửi khóa qua http không mã hóa."),
)  # fmt: skip
@as_json
def publish(
    file: Path, layer: str, mode: str, strict: bool, dry_run: bool, reason: str, theme: str | None,
    title: str | None, licence: str, sharing: str, html: Path | None, server: str | None, key: str | None,
    insecure_http: bool, as_json: bool, **about: Any,
) -> int:  # fmt: skip
    """Publish a file."""
    if server:
        if theme or title:
            raise BadInput(
                Text(
                    en="A new layer is made on the server itself (twin layer new), not by uploads: leave out --theme.",
                    vi="Lớp mới được tạo trên máy chủ (twin layer new), không qua tải lên: hãy bỏ --theme.",
                )
            )
        from ingest.cli.remote import publish_remotely

        sent = publish_remotely(
            file, layer, server, key, insecure_http, html, as_json,
            mode=mode, strict=strict, dry_run=dry_run, reason=reason, **about,
        )  # fmt: skip
        if sent.result:
            _conclude(sent.result, layer, dry_run)
        return sent.exit_code
    from ingest.publish.engine import PublishRequest, publish_file

    all_loaded()
    settings = load_settings()
    database = open_database(settings)
    if theme:
        _make_layer(database, layer, find_theme(theme), title, licence, Sharing(sharing))
    request = PublishRequest(layer=layer, mode=mode, strict=strict, dry_run=dry_run, reason=reason, **about)  # type: ignore[arg-type]
    with _progress() as stage:
        result = publish_file(database, settings, file, request, getpass.getuser(), file.name, None, stage)
    _show(result.report, html, as_json, result)
    _conclude(result.to_dict(), layer, dry_run)
    if result.outcome is not None and not as_json:
        _tell_sharing(database, layer)
    return result.exit_code


def _tell_sharing(database: Database, layer: str) -> None:
    """Say who can see the layer, or its officer would look for it on the map in vain."""
    with database.session() as session:
        sharing = read_catalogue(session)[layer].sharing
    if sharing is Sharing.RESTRICTED:
        hint = Text(
            en="Only your own agency can read it. To open it: twin layer set {layer} --sharing open",
            vi="Hiện chỉ đơn vị của bạn đọc được. Để mở cho mọi người: twin layer set {layer} --sharing open",
        )
        console().print(str(hint.format(layer=layer)))


def _theme_of(theme: str | None, layer: str | None, settings: Settings) -> Theme:
    if theme:
        return find_theme(theme)
    if layer:
        from ingest.publish.engine import layer_of

        return theme_of(layer_of(open_database(settings), layer))
    raise BadInput(
        Text(
            en="Say what the file is about: --theme buildings, or --layer construction.buildings. "
            "The themes are listed by: twin layer themes",
            vi="Hãy cho biết tệp về chuyên đề gì: --theme buildings, hoặc --layer construction.buildings. "
            "Xem các chuyên đề: twin layer themes",
        )
    )


def _make_layer(
    database: Database, layer: str, theme: Theme, title: str | None, licence: str, sharing: Sharing
) -> None:
    """Make a layer of an agency that is known, unless it is there; one of another theme is a mistake."""
    agency, name = split_layer_id(layer)
    with database.session() as session:
        present = read_catalogue(session).get(layer)
        if present is not None:
            if present.theme != theme.name:
                raise BadInput(
                    Text(
                        en="“{layer}” exists and follows the theme “{theme}”.",
                        vi="Lớp “{layer}” đã có và theo chuyên đề “{theme}”.",
                    ).format(layer=layer, theme=present.theme)
                )
            return
        known = {row.name: row for row in session.query(Agency)}
        if agency not in known:
            raise NotFound(
                Text(
                    en="There is no agency “{agency}”. Agencies: {known}. A new one is made with: twin layer agency",
                    vi="Không có đơn vị “{agency}”. Các đơn vị: {known}. Tạo đơn vị mới bằng: twin layer agency",
                ).format(agency=agency, known=", ".join(sorted(known)) or "—")
            )
        words = title or name.replace("_", " ")
        ensure_layer(
            session,
            LayerEntry(
                layer,
                theme.name,
                Text(en=words, vi=words),
                theme.description,
                licence,
                attribution=known[agency].title_vi,
                sharing=sharing,
            ),
        )


@contextmanager
def _progress() -> Iterator[Stage]:
    """Show the stages as a bar on a terminal; say nothing otherwise."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"),
        TimeElapsedColumn(), console=console(), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    task = bar.add_task(str(STAGES["read"]), total=None)

    def stage(name: str, done: int, total: int | None) -> None:
        bar.update(task, description=str(STAGES.get(name, name)), completed=done, total=total)

    with bar:
        yield stage


def _show(report: Report | RasterReport, html: Path | None, as_json: bool, result: PublishResult | None = None) -> None:
    if html:
        from ingest.checks.html import to_html

        html.write_text(to_html(report), "utf-8")
    if as_json:
        print_json(result.to_dict() if result else report.to_dict())
    else:
        from rich.console import Console

        from ingest.checks.terminal import print_report

        print_report(report, Console())


def _conclude(result: Mapping[str, Any], layer: str, dry_run: bool) -> None:
    """Say in one line what came of it, be it here or on a server."""
    out, number = console(), result["version"]
    if not result["published"]:
        if dry_run:
            out.print(say("Nothing was written (--dry-run).", "Chưa ghi gì (--dry-run)."))
        else:
            out.print(say("Refused: the layer is as it was.", "Bị từ chối: lớp vẫn như cũ."), style="red")
    elif result["unchanged"]:
        out.print(
            say(
                f"Nothing changed: version {number} of {layer} stays the current one.",
                f"Không có thay đổi: phiên bản {number} của {layer} vẫn là bản hiện hành.",
            )
        )
    else:
        aside = ""
        if result["quarantined"]:
            aside = say(
                f" {format_number(result['quarantined'])} set aside: twin ingest quarantine {layer}",
                f" Cách ly {format_number(result['quarantined'])}: twin ingest quarantine {layer}",
            )
        count = feature_count(result["features"])
        out.print(
            say(
                f"Published version {number} of {layer}: {count}.{aside}",
                f"Đã công bố phiên bản {number} của {layer}: {count}.{aside}",
            ),
            style="green",
        )

"""Commands of streams: `twin ingest stream declare | list | run | backfill | replay | simulate`."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from twin.cli import console, plain, print_json, say
from twin.commands import as_json
from twin.config import Settings, load_settings
from twin.db.database import Database, explain, open_database
from twin.errors import BadInput, NotFound, Unavailable
from twin.logs import set_up_logging
from twin.text import Text, format_number

if TYPE_CHECKING:
    from ingest.streams.backfill import BackfillReport
    from ingest.streams.description import SourceSpec
    from twin.streams.entry import StreamEntry

log = logging.getLogger("twin.streams")

DATABASE = click.option("--database", help=say("Database of the private cluster.", "Cơ sở dữ liệu trong cụm riêng."))
DESCRIPTION = click.option(
    "--description", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=say("Description of the file's streams.", "Tệp mô tả các luồng của tệp."),
)  # fmt: skip


@click.group(
    short_help=say("Live values: devices, recorded files, simulation.", "Số liệu trực tiếp: thiết bị, tệp, mô phỏng."),
    help=say(
        "Live values of sensors, roads and cells. The usual way:\n\n"
        "1. Say what is observed where:  twin ingest stream declare FILE.toml\n\n"
        "2. Take in what devices send:  twin ingest stream run\n\n"
        "3. Add recorded files:  twin ingest stream backfill --data FOLDER\n\n"
        "To see a city move without devices: twin ingest stream simulate",
        "Số liệu trực tiếp của cảm biến, đường và ô. Các bước thường làm:\n\n"
        "1. Khai báo đo gì ở đâu:  twin ingest stream declare TỆP.toml\n\n"
        "2. Nhận số liệu thiết bị gửi về:  twin ingest stream run\n\n"
        "3. Nạp các tệp đã ghi:  twin ingest stream backfill --data THƯ_MỤC\n\n"
        "Để xem thành phố hoạt động khi chưa có thiết bị: twin ingest stream simulate",
    ),
)
def stream() -> None:
    """Group of stream commands."""


@stream.command(
    short_help=say("Declare streams from a description.", "Khai báo các luồng theo tệp mô tả."),
    help=say(
        "Declare the streams of a description, or bring them up to date: what is observed where, in which unit.\n\n"
        "Example: twin ingest stream declare environment.streams.toml",
        "Khai báo các luồng theo tệp mô tả, hoặc cập nhật: đo gì, ở đâu, theo đơn vị nào.\n\n"
        "Ví dụ: twin ingest stream declare moi_truong.streams.toml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar=say("FILE", "TỆP"))
@DATABASE
@as_json
def declare(file: Path, database: str | None, as_json: bool) -> None:
    """Declare streams."""
    from ingest.streams import declaring
    from ingest.streams.description import read_description

    wanted = read_description(file)
    opened = open_database(load_settings(), database)
    declaring.ensure_layers(opened, wanted)
    report = run_async(with_connection(opened, lambda connection: declaring.declare(connection, wanted)))
    if as_json:
        print_json(report.to_dict())
        return
    for layer, count in report.streams.items():
        console().print(say(f"{layer}: {count} streams", f"{layer}: {count} luồng"))
    placed = report.things - report.unplaced
    console().print(
        say(
            f"{placed} of {report.things} things have a place. See: twin ingest stream list --unplaced",
            f"{placed} trên {report.things} đối tượng có vị trí. Xem: twin ingest stream list --unplaced",
        )
    )
    if wanted.source:
        console().print(
            say(
                f"The streams of {len(wanted.source)} recorded files are declared when they are back-filled.",
                f"Luồng của {len(wanted.source)} tệp đã ghi được khai báo khi nạp tệp (backfill).",
            )
        )


@stream.command(
    "list",
    short_help=say("List streams, with their places.", "Liệt kê các luồng và vị trí."),
    help=say(
        "List streams: what they observe, and where. With --unplaced: those without a place, and why.\n\n"
        "Example: twin ingest stream list --layer environment.tide",
        "Liệt kê các luồng: đo gì, ở đâu. Với --unplaced: các luồng chưa có vị trí và lý do.\n\n"
        "Ví dụ: twin ingest stream list --layer environment.tide",
    ),
)
@click.option("--layer", help=say("Only of this layer (AGENCY.NAME).", "Chỉ của lớp này (ĐƠN_VỊ.TÊN)."))
@click.option("--unplaced", is_flag=True, help=say("Only those without a place.", "Chỉ các luồng chưa có vị trí."))
@DATABASE
@as_json
def list_streams(layer: str | None, unplaced: bool, database: str | None, as_json: bool) -> None:
    """List streams."""
    from twin.streams.entry import read_entries

    found = run_async(with_connection(open_database(load_settings(), database), read_entries))
    entries = [
        e for e in found.values() if (layer is None or e.layer == layer) and not (unplaced and e.is_placed)
    ]  # fmt: skip
    if as_json:
        print_json([_facts(entry) for entry in entries])
    elif unplaced:
        _print_unplaced(entries)
    else:
        _print_streams(entries)


def _facts(e: StreamEntry) -> dict[str, Any]:
    return {
        "id": e.key, "code": e.code, "layer": e.layer, "thing": e.thing_name, "kind": e.kind, "unit": e.unit,
        "basis": e.basis, "feature": e.feature, "cell": f"{e.cell:x}" if e.cell else None,
        "longitude": e.longitude, "latitude": e.latitude, "placed": e.is_placed, "note": e.note.as_dict(),
    }  # fmt: skip


def _print_streams(entries: list[StreamEntry]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (say("Code", "Mã"), say("Layer", "Lớp"), say("Observes", "Đại lượng"), say("Unit", "Đơn vị"),
                    say("Place", "Vị trí")):  # fmt: skip
        table.add_column(heading, no_wrap=True)
    for e in entries:
        place = f"{e.latitude:.5f}, {e.longitude:.5f}" if e.latitude is not None and e.longitude is not None else "—"
        table.add_row(plain(e.code), plain(e.layer), plain(e.kind), plain(e.unit or ""), place)
    print_table(table)
    console().print(say(f"{format_number(len(entries))} streams", f"{format_number(len(entries))} luồng"))


def _print_unplaced(entries: list[StreamEntry]) -> None:
    """Print a line for each layer and reason: thousands of streams may share one."""
    no_reason = Text(en="no reason was declared", vi="chưa khai báo lý do")
    groups = Counter((e.layer, e.note if e.note.en else no_reason) for e in entries)
    examples: dict[tuple[str, Text], str] = {}
    for e in entries:
        examples.setdefault((e.layer, e.note if e.note.en else no_reason), e.code)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(say("Layer", "Lớp"), no_wrap=True)
    table.add_column(say("Streams", "Luồng"), justify="right", no_wrap=True)
    table.add_column(say("Such as", "Ví dụ"), no_wrap=True)
    table.add_column(say("Why they have no place", "Vì sao chưa có vị trí"))
    for (layer, note), count in groups.most_common():
        table.add_row(plain(layer), format_number(count), plain(examples[layer, note]), plain(note))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table; into a file or a pipe it is wide enough for whole codes, so that they can be searched for."""
    out = Console()
    (out if out.is_terminal else Console(width=240)).print(table)


@stream.command(
    short_help=say("Take in what devices send.", "Nhận số liệu thiết bị gửi về."),
    help=say(
        "Take in what devices send, until it is stopped: reads the broker, rolls values up, publishes those of open "
        "streams, drops months that are too old. The private Mosquitto is started where it is installed; TWIN_MQTT_URL "
        "names another broker; without any, values come in over HTTP alone. --pollers names descriptions whose "
        "[[poller]] parts are asked for values meanwhile.\n\n"
        "Example: twin ingest stream run --pollers rain.streams.toml",
        "Nhận số liệu thiết bị gửi về cho đến khi dừng: đọc bộ môi giới, tổng hợp, phát số liệu của các luồng mở, xóa "
        "các tháng quá cũ. Mosquitto riêng được bật nếu đã cài; TWIN_MQTT_URL chỉ bộ môi giới khác; nếu không có, số "
        "liệu chỉ vào qua HTTP. --pollers nêu các tệp mô tả có [[poller]], các địa chỉ trong đó được hỏi định kỳ.\n\n"
        "Ví dụ: twin ingest stream run --pollers mua.streams.toml",
    ),
)
@click.option(
    "--pollers", "files", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=say("Description with [[poller]] (may be repeated).", "Tệp mô tả có [[poller]] (có thể lặp lại)."),
)  # fmt: skip
@DATABASE
def run(files: tuple[Path, ...], database: str | None) -> None:
    """Run the service."""
    from ingest.streams.description import read_description
    from ingest.streams.service import StreamService
    from twin.broker import MISSING, PrivateBroker, find_broker

    set_up_logging(detailed=log.name)
    settings = load_settings()
    pollers = [poller for file in files for poller in read_description(file).poller]
    broker, url, started = None, settings.mqtt_url, False
    if url is None and find_broker() is not None:
        broker = PrivateBroker(settings)
        started = broker.start()
        url = broker.url
    if url is None:
        log.warning("%s", MISSING.en)
    service = StreamService(settings, open_database(settings, database), broker, url, pollers)

    def ready() -> None:
        console().print(say("Streams are taken in. Ctrl-C ends it.", "Đang nhận số liệu. Nhấn Ctrl-C để dừng."))

    try:
        run_async(_until_signal(service.run(ready)))
    finally:
        if broker is not None and started:
            broker.stop()


@stream.command(
    short_help=say("Write recorded files into their streams.", "Nạp các tệp đã ghi vào luồng."),
    help=say(
        "Write the values of recorded files (CSV, Parquet) into their streams, as a description says. Doing it again "
        "changes nothing. --data takes all files of a folder's streams.toml, else of the city's own description.\n\n"
        "Exit code: 0 all is well, 1 something was flagged, set aside or not read, 2 wrong input, 3 not "
        "possible now.\n\n"
        "Examples:\n\n  twin ingest stream backfill --data ../data/hcmc --source healthyair\n\n"
        "  twin ingest stream backfill rain.parquet --description rain.toml",
        "Nạp số liệu của các tệp đã ghi (CSV, Parquet) vào luồng theo tệp mô tả. Chạy lại không làm thay đổi gì. "
        "--data lấy mọi tệp theo streams.toml của thư mục, nếu không có thì theo mô tả sẵn của thành phố.\n\n"
        "Mã thoát: 0 tốt, 1 có số liệu bị gắn cờ, để riêng hoặc không đọc được, 2 dữ liệu vào sai, 3 chưa thực hiện "
        "được.\n\nVí dụ:\n\n  twin ingest stream backfill --data ../data/hcmc --source healthyair\n\n"
        "  twin ingest stream backfill mua.parquet --description mua.toml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False,
                metavar=say("[FILE]", "[TỆP]"))  # fmt: skip
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=say("Folder with the recorded files.", "Thư mục chứa các tệp đã ghi."),
)  # fmt: skip
@DESCRIPTION
@click.option("--source", "names", multiple=True, help=say("Only this source (may be repeated).", "Chỉ nguồn này."))
@DATABASE
@as_json
def backfill(
    file: Path | None, data: Path | None, description: Path | None, names: tuple[str, ...], database: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Back-fill."""
    from ingest.streams import backfill as filling
    from ingest.streams.declaring import ensure_layers
    from ingest.streams.description import read_description

    folder = data or (file.parent if file else None)
    if folder is None:
        raise BadInput(Text(en="Give a file, or a folder with --data.", vi="Hãy cho tệp, hoặc thư mục bằng --data."))
    wanted = read_description(description) if description else filling.description_of(folder)
    if names:
        sources = [wanted.find(name) for name in names]
    elif file is not None:
        sources = [filling.source_of(wanted, file)]
    else:
        sources = list(wanted.source)
    filling.require_any(sources)
    if file is not None:
        folder = file.parent
        sources = [source.model_copy(update={"file": Path(file.name)}) for source in sources]
    settings = load_settings()
    opened = open_database(settings, database)
    ensure_layers(opened, wanted, sources)
    code, results = 0, []
    for source in sources:
        try:
            report = _backfill_one(opened, source, folder, settings, as_json)
        except (BadInput, NotFound) as error:
            # One file that cannot be used does not keep the others out.
            if len(sources) == 1:
                raise
            console().print(plain(f"{source.name}: {error}", "red"))
            results.append({"source": source.name, "error": error.message.as_dict(), "exitCode": error.exit_code})
            code = max(code, error.exit_code)
        else:
            results.append(report.to_dict())
            code = max(code, report.exit_code)
    if as_json:
        print_json(results)
    return code


def _backfill_one(
    database: Database, source: SourceSpec, folder: Path, settings: Settings, quiet: bool
) -> BackfillReport:
    from ingest.streams.backfill import backfill

    with _bar(str(source.title.text)) as bar:
        task = bar.add_task("", total=None)
        report: BackfillReport = run_async(
            with_connection(
                database,
                lambda connection: backfill(
                    connection, source, folder, str(settings.profile.time_zone),
                    lambda done, total: bar.update(task, completed=done, total=total),
                ),
            )
        )  # fmt: skip
    if not quiet:
        out = Console(soft_wrap=True, highlight=False)
        out.print(plain(f"{source.name}: {source.title.text}", "bold"))
        for line in report.lines():
            out.print(plain(f"  {line}"))
    return report


@stream.command(
    short_help=say("Play a recorded day again.", "Phát lại một ngày đã ghi."),
    help=say(
        "Play a recorded day again, at a speed: 1 as recorded, 600 ten minutes in a second, 0 at once. With --now the "
        "day is shifted so that it ends now, into a layer of its own whose title says so; recorded streams stay as "
        "they are. Ctrl-C ends it.\n\n"
        "Example: twin ingest stream replay --data ../data/hcmc --source phu_an --day 2024-10-17 --speed 600 --now",
        "Phát lại một ngày đã ghi theo tốc độ: 1 như thật, 600 là mười phút mỗi giây, 0 là tất cả một lần. Với --now, "
        "ngày đó được dời để kết thúc tại hiện tại, vào một lớp riêng có tên nói rõ; các luồng đã ghi giữ nguyên. "
        "Nhấn Ctrl-C để dừng.\n\n"
        "Ví dụ: twin ingest stream replay --data ../data/hcmc --source phu_an --day 2024-10-17 --speed 600 --now",
    ),
)
@click.option(
    "--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=say("Folder with the recorded files.", "Thư mục chứa các tệp đã ghi."),
)  # fmt: skip
@DESCRIPTION
@click.option("--source", "name", required=True, help=say("Which recording.", "Nguồn nào."))
@click.option(
    "--day", required=True, type=click.DateTime(["%Y-%m-%d"]),
    help=say("Day of the city's clock, such as 2024-10-17.", "Ngày theo giờ thành phố, ví dụ 2024-10-17."),
)  # fmt: skip
@click.option(
    "--speed", type=float, default=1.0, show_default=True, help=say("How fast; 0 at once.", "Tốc độ; 0 là ngay.")
)
@click.option("--now", "to_now", is_flag=True, help=say("Shift the day to the present.", "Dời ngày đó về hiện tại."))
@DATABASE
@as_json
def replay(
    data: Path, description: Path | None, name: str, day: datetime, speed: float, to_now: bool, database: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Replay a day."""
    from ingest.streams.backfill import description_of
    from ingest.streams.declaring import ensure_layers
    from ingest.streams.description import read_description
    from ingest.streams.replay import replay as play
    from ingest.streams.service import stream_pool

    wanted = read_description(description) if description else description_of(data)
    source = wanted.find(name)
    settings = load_settings()
    opened = open_database(settings, database)
    ensure_layers(opened, wanted, [source])
    zone = settings.profile.time_zone
    with _bar(str(source.title.text)) as bar:
        task = bar.add_task("", total=None)

        def progress(moment: datetime, done: int) -> None:
            bar.update(task, completed=done, description=moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"))

        async def go() -> Any:
            async with stream_pool(opened) as pool:
                return await play(opened, pool, source, data, day.date(), speed, zone, to_now, progress)

        written = run_async(_until_signal(go()))
    if written is None:
        console().print(say("Stopped.", "Đã dừng."))
        return
    if as_json:
        print_json({"new": written.new, "repeated": written.repeated, "corrected": written.corrected,
                    "setAside": written.set_aside, "flagged": written.flagged})  # fmt: skip
        return
    console().print(
        say(
            f"{format_number(written.new)} new, {format_number(written.repeated)} repeated.",
            f"{format_number(written.new)} mới, {format_number(written.repeated)} lặp lại.",
        )
    )


@stream.command(
    short_help=say("Let a city move: simulated values.", "Cho thành phố hoạt động: số liệu mô phỏng."),
    help=say(
        "Write simulated values for the city of the database, until it is stopped: traffic on its main roads, rain, "
        "water levels and air at its sensors, flooding. They are in layers of their own (agency simulation), marked as "
        "simulated, and never mixed with measured ones.\n\n"
        "Examples:\n\n  twin ingest stream simulate\n\n  twin ingest stream simulate --once",
        "Ghi số liệu mô phỏng cho thành phố trong cơ sở dữ liệu cho đến khi dừng: giao thông trên các đường chính, "
        "mưa, mực nước và không khí tại các trạm, ngập. Số liệu nằm trong các lớp riêng (đơn vị simulation), ghi rõ là "
        "mô phỏng, không lẫn với số liệu đo.\n\n"
        "Ví dụ:\n\n  twin ingest stream simulate\n\n  twin ingest stream simulate --once",
    ),
)
@click.option(
    "--seconds", type=click.FloatRange(min=0), help=say("Stop after so many seconds.", "Dừng sau số giây này.")
)
@click.option(
    "--once", is_flag=True, help=say("One value of each stream, then stop.", "Mỗi luồng một giá trị rồi dừng.")
)
@click.option(
    "--seed", type=int, default=2025, show_default=True, help=say("Another seed, other weather.", "Số khởi tạo.")
)
@DATABASE
def simulate(seconds: float | None, once: bool, seed: int, database: str | None) -> None:
    """Simulate."""
    from ingest.streams.service import stream_pool
    from ingest.streams.simulation.simulator import Simulator, prepare_city

    set_up_logging(detailed=log.name)
    settings = load_settings()
    opened = open_database(settings, database)
    city = prepare_city(opened, settings, seed)
    simulator = Simulator(city, seed, settings.profile.time_zone)

    async def go() -> None:
        async with stream_pool(opened) as pool:
            await simulator.declare(pool)
            streams = format_number(len(simulator.streams))
            console().print(say(f"{streams} simulated streams.", f"{streams} luồng mô phỏng."))
            await simulator.fill_past(pool, datetime.now(UTC))
            await simulator.run(pool, seconds=seconds, once=once)

    run_async(_until_signal(go()))


# Running --------------------------------------------------------------------------------------------


def run_async(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; what commonly goes wrong with a database is one sentence."""
    try:
        return asyncio.run(coroutine)
    except (asyncpg.PostgresConnectionError, OSError) as error:
        raise Unavailable(
            Text(en="The database cannot be reached: {reason}", vi="Không kết nối được cơ sở dữ liệu: {reason}").format(
                reason=str(error).split("\n")[0][:200]
            )
        ) from error
    except asyncpg.PostgresError as error:
        if sentence := explain(error):
            raise sentence from error
        raise


async def with_connection(database: Database, work: Any) -> Any:
    """Do something with a connection of the writer."""
    connection = await asyncpg.connect(**database.asyncpg_options("writer"))
    try:
        return await work(connection)
    finally:
        await connection.close()


async def _until_signal(work: Coroutine[Any, Any, Any]) -> Any:
    """Run until it ends or the program is asked to end; then None."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        return None


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal."""
    with Progress(
        TextColumn(title.replace("{", "(").replace("}", ")")), BarColumn(), TextColumn("{task.completed:,.0f}"),
        TextColumn("{task.description}"), TimeElapsedColumn(), console=console(), transient=True,
    ) as bar:  # fmt: skip
        yield bar

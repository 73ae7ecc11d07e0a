"""`twin demo`: the whole city on this machine, from nothing to a map; Ctrl-C stops all of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from twin.broker import MISSING, PrivateBroker, find_broker
from twin.cli import console, say
from twin.config import Settings, load_settings
from twin.db.database import DATABASE_NAME, cluster_of, open_database, remember_opened
from twin.db.migrate import migrate
from twin.errors import STAYED, SetupProblem
from twin.supervision import STOP_SECONDS, Broker, Part, PrivateDatabase, Program, Watch, running, start_program
from twin.text import Text

SERVER_START_SECONDS = 60


@click.command(
    short_help=say("Show a city on this machine.", "Dựng một thành phố trên máy này."),
    help=say(
        "Show a city on this machine: starts the private database, loads the sample city (or the files in --data), "
        "starts the server, prints the address and stays. Ctrl-C stops all of it; a second start reloads nothing.\n\n"
        "Exit code: 0, or 4 if some layers stayed as they were because their files cannot be published.\n\n"
        "Examples:\n\n  twin demo\n\n  twin demo --data ../data/hcmc --port 8080",
        "Dựng một thành phố trên máy này: bật cơ sở dữ liệu riêng, nạp thành phố mẫu (hoặc các tệp trong --data), "
        "bật máy chủ, in địa chỉ và chờ. Ctrl-C dừng tất cả; lần chạy sau không nạp lại.\n\n"
        "Mã thoát: 0, hoặc 4 nếu có lớp giữ nguyên như cũ vì tệp không công bố được.\n\n"
        "Ví dụ:\n\n  twin demo\n\n  twin demo --data ../data/hcmc --port 8080",
    ),
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help=say("Folder with the city's files; else the sample city.", "Thư mục dữ liệu; không có thì là thành phố mẫu."),
)  # fmt: skip
@click.option(
    "--buildings", type=click.IntRange(100, 2_000_000), default=40_000, show_default=True,
    help=say("Size of the sample city.", "Số công trình của thành phố mẫu."),
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help=say("Port to listen on.", "Cổng của máy chủ."))
@click.option(
    "--simulate/--no-simulate", default=True, show_default=True,
    help=say("Let simulated traffic, rain and tide move.", "Cho giao thông, mưa, triều mô phỏng chạy."),
)  # fmt: skip
def demo(data: Path | None, buildings: int, port: int | None, simulate: bool) -> int:
    """Run the demo until it is stopped; the exit code says whether all layers could be loaded."""
    settings = load_settings()
    if port:
        settings = settings.model_copy(update={"port": port})
    require_free_port(settings.host, settings.port)
    loading = _Loading()
    try:
        with _stopping_on_signals():
            _run(settings, data, buildings, loading, simulate)
    except _Stop:
        # To be stopped is how a demo ends: nothing went wrong.
        console().print(say("Stopped.", "Đã dừng."))
    return loading.code


@dataclass
class _Loading:
    """How the city was loaded: the exit code of the program that did it."""

    code: int = 0


class _Stop(Exception):  # not an error
    """The program was signalled to end."""


def _run(settings: Settings, data: Path | None, buildings: int, loading: _Loading, simulate: bool) -> NoReturn:
    with _database(settings, _database_name(data, buildings)) as name:
        _step(2, say("Loading the city", "Nạp dữ liệu thành phố"))
        source = ["--data", str(data)] if data else ["--buildings", str(buildings)]
        # The city is shown as far as it could be loaded; the program has named the layers that stayed as they were.
        loading.code = _run_to_end("ingest", "city", *source, "--database", name)
        _step(3, say("Starting the server", "Bật máy chủ"))
        server = ("serve", "--database", name, "--port", str(settings.port), "--host", settings.host)
        parts: list[Part] = [] if settings.database_url else [PrivateDatabase(cluster_of(settings))]
        parts.append(Program(Text(en="The server", vi="Máy chủ"), server))
        with running(parts) as watch:
            _wait_until_healthy(watch.processes[0], settings)
            worker = ("ingest", "worker", "--database", name)
            watch.add(Program(Text(en="The worker", vi="Tiến trình xử lý"), worker))
            broker = _start_broker(watch, settings)
            streams = ("ingest", "stream", "run", "--database", name)
            watch.add(Program(Text(en="The service of the streams", vi="Dịch vụ luồng dữ liệu"), streams))
            if simulate:
                simulator = ("ingest", "stream", "simulate", "--database", name)
                watch.add(Program(Text(en="The simulator", vi="Bộ mô phỏng"), simulator))
            _announce(settings, broker)
            watch.for_ever()


def _database_name(data: Path | None, buildings: int) -> str:
    """Each city has a database of its own: opening another does not disturb the first."""
    if data is None:
        return "sample" if buildings == 40_000 else f"sample_{buildings}"
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in data.name.lower()).strip("_")
    return name if DATABASE_NAME.fullmatch(name) and name not in ("postgres", "template0") else f"city_{name}"[:50]


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that somebody else holds, before anything is started."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            reason = Text(en="is reserved for root", vi="chỉ dành cho root")
        except OSError:
            reason = Text(en="is in use", vi="đang được dùng")
        else:
            return
    raise SetupProblem(
        Text(
            en="The port {port} on {host} {reason}. "
            "Choose another: make demo PORT={other} (or twin demo --port {other}).",
            vi="Cổng {port} trên {host} {reason}. "
            "Hãy chọn cổng khác: make demo PORT={other} (hoặc twin demo --port {other}).",
        ).format(port=port, host=host, reason=reason, other=port + 1 if port >= 1024 else 8000)
    )


@contextmanager
def _database(settings: Settings, name: str) -> Iterator[str]:
    """The database, up to date; a private cluster that was started here is stopped at the end."""
    _step(1, say("Starting the database", "Bật cơ sở dữ liệu"))
    if settings.database_url:
        migrate(open_database(settings))
        yield name
        return
    cluster = cluster_of(settings)
    started = cluster.start()
    try:
        migrate(open_database(settings, name))
        remember_opened(settings, name)
        yield name
    finally:
        if started:
            console().print(say("Stopping the database …", "Đang tắt cơ sở dữ liệu …"))
            cluster.stop()


def _run_to_end(*arguments: str) -> int:
    process = start_program(*arguments)
    try:
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
    if code not in (0, STAYED):
        sys.exit(code)  # the program has named the reason
    return code


def _wait_until_healthy(process: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + SERVER_START_SECONDS
    url = f"{address(settings)}/health"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SetupProblem(
        Text(
            en="The server did not become ready; see the lines above.",
            vi="Máy chủ không sẵn sàng; xem các dòng phía trên.",
        )
    )


def address(settings: Settings) -> str:
    """Return the address that a browser on this machine opens."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{host}:{settings.port}"


def _start_broker(watch: Watch, settings: Settings) -> PrivateBroker | None:
    """Start a private broker on a free port; where there is no Mosquitto the demo lives without one, and says so."""
    if settings.mqtt_url:
        return None
    if find_broker() is None:
        console().print(f"  {MISSING}", style="yellow")
        return None
    port = next((p for p in range(settings.mqtt_port, settings.mqtt_port + 20) if _is_free(p)), settings.mqtt_port)
    broker = PrivateBroker(settings.model_copy(update={"mqtt_port": port}))
    # The programs that are started here find it by the same setting.
    os.environ["TWIN_MQTT_PORT"] = str(port)
    try:
        broker.start()
    except SetupProblem as problem:
        console().print(f"  {problem}", style="yellow")
        return None
    watch.add(Broker(broker))
    return broker


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _announce(settings: Settings, broker: PrivateBroker | None) -> None:
    out = console()
    out.print()
    out.print(say("  The city is at", "  Thành phố ở địa chỉ"), f"[bold cyan]{address(settings)}/[/bold cyan]")
    if broker is not None:
        out.print(say("  Devices connect to", "  Thiết bị kết nối tới"), f"mqtt://127.0.0.1:{broker.port}")
    out.print(say("  Ctrl-C stops everything.", "  Nhấn Ctrl-C để dừng tất cả."))
    out.print()


def _step(number: int, what: str) -> None:
    console().print(f"[bold]\\[{number}/3][/bold] {what} …")


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Treat a hang-up or a request to end like Ctrl-C, so that everything is stopped in order."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

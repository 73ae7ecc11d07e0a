"""One private cluster for the whole run, shared by all test processes; databases are cloned from templates."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import psycopg
import pytest
from psycopg import sql as compose

from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, libpq
from twin.db.migrate import migrate

if TYPE_CHECKING:
    from ingest.publish.city import CityLoad

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".twin" / "test"
CITY_DATA = ROOT.parent / "shared" / "data"
RUN = "TWIN_TEST_RUN"

SAMPLE_BUILDINGS = 600
# Folders and files of tests that start programs, kill them, or wait for them.
LONG = frozenset({
    "uploads", "browser", "live", "test_city_load.py", "test_contributing.py", "test_database.py", "test_demo.py",
    "test_fuzz.py", "test_logs.py", "test_odd_shapes.py", "test_publish.py", "test_raster_publish.py",
    "test_real_publish.py", "test_serving.py", "test_shares.py",
})  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Start the cluster once, in the process that controls the run."""
    if hasattr(config, "workerinput"):
        return
    # Tests say what they want themselves.
    for name in [n for n in os.environ if n.startswith("TWIN_")]:
        del os.environ[name]
    os.environ[RUN] = f"t{os.getpid()}"
    cluster = PrivateCluster(HOME)
    config.stash[_STARTED] = cluster.start()
    if config.stash[_STARTED]:
        # Databases of earlier runs are dropped, and so are the files that belonged to them.
        for folder in ("rasters", "downloads"):
            shutil.rmtree(HOME / folder, ignore_errors=True)
    _drop_databases(cluster, f"^(t{os.getpid()}_|t[0-9]+_)" if config.stash[_STARTED] else "^never$")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started here."""
    if _STARTED in config.stash:
        cluster = PrivateCluster(HOME)
        _drop_databases(cluster, f"^t{os.getpid()}_")
        if config.stash[_STARTED]:
            cluster.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules first whose few tests take long: else one process is left alone with them at the end."""
    items.sort(key=lambda item: not LONG & {*item.path.relative_to(ROOT / "tests").parts})


_STARTED = pytest.StashKey[bool]()


def _drop_databases(cluster: PrivateCluster, pattern: str) -> None:
    with _maintenance(cluster) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname ~ %s", [pattern]).fetchall()
        for (name,) in names:
            connection.execute(compose.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(compose.Identifier(name)))


@contextmanager
def _maintenance(cluster: PrivateCluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq(cluster.url("postgres")), autocommit=True) as connection:
        yield connection


@contextmanager
def _one_process_at_a_time(what: str) -> Iterator[None]:
    with (HOME / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cluster() -> PrivateCluster:
    """The running private cluster of this test run."""
    return PrivateCluster(HOME)


def _exists(cluster: PrivateCluster, name: str) -> bool:
    with _maintenance(cluster) as connection:
        return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone())


@pytest.fixture(scope="session")
def migrated_template(cluster: PrivateCluster) -> str:
    """An empty, migrated database that others are cloned from."""
    name = f"{os.environ[RUN]}_template"
    with _one_process_at_a_time("template"):
        if not _exists(cluster, name):
            migrate(Database(cluster.url(name), private=True))
    return name


@contextmanager
def empty_database(cluster: PrivateCluster, template: str) -> Iterator[Database]:
    """Make an empty, migrated database, and drop it at the end."""
    name = f"{os.environ[RUN]}_{secrets.token_hex(4)}"
    with _one_process_at_a_time("template"), _maintenance(cluster) as connection:
        connection.execute(
            compose.SQL("CREATE DATABASE {} TEMPLATE {}").format(compose.Identifier(name), compose.Identifier(template))
        )
    database = Database(cluster.url(name), private=True)
    yield database
    database.writer.dispose()
    with _maintenance(cluster) as connection:
        connection.execute(compose.SQL("DROP DATABASE {} WITH (FORCE)").format(compose.Identifier(name)))


@pytest.fixture
def database(cluster: PrivateCluster, migrated_template: str) -> Iterator[Database]:
    """An empty, migrated database of this test's own."""
    with empty_database(cluster, migrated_template) as database:
        yield database


@pytest.fixture(scope="module")
def module_database(cluster: PrivateCluster, migrated_template: str) -> Iterator[Database]:
    """An empty, migrated database that the tests of a module share."""
    with empty_database(cluster, migrated_template) as database:
        yield database


@pytest.fixture
def settings(database: Database) -> Settings:
    """Settings that name this test's database."""
    return Settings(home=HOME, database=database.url.database)


def _loaded_once(cluster: PrivateCluster, what: str, city: Callable[[], CityLoad]) -> Database:
    """A database with a city in it, loaded by whichever test process comes first. Tests only read it."""
    from ingest.publish.city import load_city

    name = f"{os.environ[RUN]}_{what}"
    with _one_process_at_a_time(what):
        if not _exists(cluster, name):
            making = Database(cluster.url(f"{name}_making"), private=True)
            migrate(making)
            loaded = load_city(making, city(), Settings(home=HOME, database=making.url.database), Quiet())
            assert not loaded.refused, {name: reason.en for name, reason in loaded.refused.items()}
            making.writer.dispose()
            with _maintenance(cluster) as connection:
                connection.execute(
                    compose.SQL("ALTER DATABASE {} RENAME TO {}").format(
                        *map(compose.Identifier, (f"{name}_making", name))
                    )
                )
    return Database(cluster.url(name), private=True)


@pytest.fixture(scope="session")
def sample_database(cluster: PrivateCluster) -> Database:
    """A small sample city."""
    from ingest.publish.city import sample_city

    return _loaded_once(cluster, "sample", lambda: sample_city(SAMPLE_BUILDINGS))


@pytest.fixture(scope="session")
def real_city(cluster: PrivateCluster, city_data: Path) -> Database:
    """The city of the real files."""
    from ingest.publish.city import described_city

    return _loaded_once(cluster, "real", lambda: described_city(city_data / "hcmc"))


T = TypeVar("T")


def run_async(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine in a thread of its own: the browser's driver keeps a loop running in the tests' thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """A file system of a few megabytes, for as long as needed; skips where this user may not mount one."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k,mode=0755", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        if made:
            folder.rmdir()
        pytest.skip("mounting a small disk needs more rights than this user has")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Quiet:
    """A watcher that shows nothing."""

    def begin(self, _layer: str, _title: object) -> Callable[[str, int, int | None], None]:
        return lambda _stage, _done, _total: None

    def unchanged(self, _layer: str) -> None: ...

    def published(self, _layer: str, _result: object) -> None: ...

    def refused(self, _layer: str, _reason: object) -> None: ...


@dataclass(frozen=True)
class LiveServer:
    """A running `twin serve` and its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    database: Database


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    database: Database, log: Path, home: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[LiveServer]:
    """Run the built program against a database; at its end the log must be clean."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")}
    environment |= {
        "TWIN_HOME": str(home or HOME),
        "TWIN_DATABASE": str(database.url.database),
        "TWIN_PORT": str(port),
        # A suite asks more often than any reader; the limits have tests of their own.
        "TWIN_RATE_LIMIT": "0",
        "TWIN_RATE_LIMIT_KEY": "0",
        **(settings or {}),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "twin", "serve"], env=environment, stdout=output, stderr=output, cwd=ROOT
        )
    server = LiveServer(f"http://127.0.0.1:{port}", process, log, database)
    try:
        _wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(20)
    assert not re.search(r"ERROR|CRITICAL|Traceback", log.read_text()), log.read_text()[-3000:]


def _wait_for(server: LiveServer) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not become ready:\n{server.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def live_server(sample_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The program serving the small sample city."""
    with serving(sample_database, tmp_path_factory.mktemp("server") / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def http(live_server: LiveServer) -> Iterator[httpx.Client]:
    """A reader of the sample city's server, without a key."""
    with httpx.Client(base_url=live_server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def collections(http: httpx.Client) -> dict[str, dict[str, Any]]:
    """The layers that it lists, by id."""
    return {c["id"]: c for c in http.get("/collections").json()["collections"]}


@pytest.fixture(scope="module")
def sql(live_server: LiveServer) -> Iterator[psycopg.Connection]:
    """The sample city's database itself, to compare with."""
    with psycopg.connect(libpq(live_server.database.url), autocommit=True) as connection:
        yield connection


def text_of(answer: httpx.Response) -> str:
    """An answer's text without its request id, which no other answer has."""
    return answer.text.replace(answer.headers["x-request-id"], "")


@pytest.fixture(scope="session")
def city_data() -> Path:
    """The folder with the city's real data, which stays outside the project."""
    if not (CITY_DATA / "hcmc").is_dir():
        pytest.skip("the city's real data is not on this machine")
    return CITY_DATA

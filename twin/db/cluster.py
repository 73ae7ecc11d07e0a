"""A private PostgreSQL + PostGIS cluster: made from the system's binaries, reached by a Unix socket only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import URL

from twin.errors import SetupProblem
from twin.private_files import open_private, private_folder
from twin.text import Text

Status = Literal["absent", "stopped", "running"]

OWNER = "twin_owner"
FREE_BYTES_NEEDED = 400_000_000
UNPRIVILEGED_USERS = ("postgres", "nobody")

# One machine and no replica: WAL only for crash safety, so that a COPY into a new table skips it.
CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 256MB
effective_cache_size = 1GB
random_page_cost = 1.1
wal_level = minimal
max_wal_senders = 0
max_wal_size = 2GB
checkpoint_timeout = 15min
# Retiring a version drops tables; a question over all layers touches hundreds of them.
max_locks_per_transaction = 512
# Tile queries are short: compiling them costs more than running them.
jit = off
timezone = 'UTC'
lc_messages = 'C'
log_timezone = 'UTC'
"""


def server_binaries() -> Path:
    """Return the folder of the newest installed PostgreSQL server that has PostGIS."""
    candidates = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    candidates.sort(key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0, reverse=True)
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    if not candidates:
        raise SetupProblem(
            Text(
                en="PostgreSQL is not installed. Install it (Debian: apt-get install postgresql postgresql-postgis) "
                "or set TWIN_DATABASE_URL to a server of yours.",
                vi="Chưa cài PostgreSQL. Hãy cài (Debian: apt-get install postgresql postgresql-postgis) "
                "hoặc đặt TWIN_DATABASE_URL trỏ tới máy chủ của bạn.",
            )
        )
    for folder in candidates:
        if any((share / "extension" / "postgis.control").is_file() for share in _share_folders(folder)):
            return folder
    raise SetupProblem(
        Text(
            en="PostgreSQL is installed, but PostGIS is missing (Debian: apt-get install postgresql-postgis).",
            vi="Đã có PostgreSQL nhưng thiếu PostGIS (Debian: apt-get install postgresql-postgis).",
        )
    )


def _share_folders(binaries: Path) -> Iterator[Path]:
    version = binaries.parent.name
    yield Path("/usr/share/postgresql") / version
    pg_config = binaries / "pg_config"
    if pg_config.is_file():
        found = subprocess.run([pg_config, "--sharedir"], capture_output=True, text=True, check=False)
        yield Path(found.stdout.strip() or "/nonexistent")


class PrivateCluster:
    """The cluster that belongs to one home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.server_user = self._server_user()
        self.data = self._data_folder()
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        # A Unix socket's path may have 107 bytes at most, and a project's folder may be deep: so not under home.
        self.socket = Path("/tmp") / f"twin-{os.getuid()}-{digest}"  # noqa: S108  # made 0700 and its owner checked

    @staticmethod
    def _server_user() -> pwd.struct_passwd | None:
        """PostgreSQL refuses to run as root: root hands it to an unprivileged user."""
        if os.getuid() != 0:
            return None
        for name in UNPRIVILEGED_USERS:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise SetupProblem(
            Text(
                en="Started as root, and there is no user “postgres” or “nobody” to run the database as.",
                vi="Đang chạy bằng root mà không có người dùng “postgres” hay “nobody” để chạy cơ sở dữ liệu.",
            )
        )

    def _data_folder(self) -> Path:
        if self.server_user is None or self._can_be_reached(self.home):
            return self.home / "pg"
        # A project under /root is closed to the database's user.
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path("/var/lib/city-twin") / digest / "pg"

    def _can_be_reached(self, folder: Path) -> bool:
        assert self.server_user is not None  # noqa: S101
        groups = set(os.getgrouplist(self.server_user.pw_name, self.server_user.pw_gid))
        for step in (*reversed(folder.parents), folder):
            try:
                info = step.stat()
            except FileNotFoundError:
                continue
            if info.st_uid == self.server_user.pw_uid:
                mode = stat.S_IXUSR
            elif info.st_gid in groups:
                mode = stat.S_IXGRP
            else:
                mode = stat.S_IXOTH
            if not info.st_mode & mode:
                return False
        return True

    def url(self, database: str, user: str = OWNER) -> URL:
        """Return the SQLAlchemy address of one of its databases, as one of its users."""
        return URL.create("postgresql+psycopg", username=user, database=database, query={"host": str(self.socket)})

    def status(self) -> Status:
        """Tell whether the cluster exists and runs."""
        if not (self.data / "PG_VERSION").is_file():
            return "absent"
        return "running" if self._pg_ctl("status").returncode == 0 else "stopped"

    def runs(self) -> bool:
        """Tell whether the server process lives that the cluster's own file names; quicker than `status`."""
        try:
            process = Path("/proc") / (self.data / "postmaster.pid").read_text().split("\n", 1)[0].strip()
            name, _, rest = (process / "stat").read_text().rpartition(")")
        except OSError:
            return not Path("/proc/self").exists() and self.status() == "running"
        # One that ended may still wait for its parent to look, and its number may be another program's by now.
        return name.endswith("(postgres") and not rest.startswith(" Z")

    def start(self) -> bool:
        """Make the cluster if there is none, and start it; tell whether this call started it."""
        with self._changing():
            if self.status() == "running":
                return False
            if not (self.data / "PG_VERSION").is_file():
                self._create()
            self._own_folder(self.socket)
            configuration = CONFIGURATION.format(socket=self.socket)
            self._write(self.data / "twin.conf", configuration)
            log = self.data / "server.log"
            result = self._pg_ctl("start", "--wait", "--timeout=60", f"--log={log}")
            if result.returncode:
                raise self._failure("start", log)
            return True

    def stop(self) -> None:
        """Stop the cluster if it runs; open sessions are ended, nothing committed is lost."""
        with self._changing():
            if self.status() == "running":
                self._pg_ctl("stop", "--mode=fast", "--wait", "--timeout=60")

    def _create(self) -> None:
        self._check_space()
        # What a first start left half-made cannot be used, and holds nothing yet.
        if self.data.exists():
            shutil.rmtree(self.data)
        self._own_folder(self.data)
        result = self._run(
            "initdb", f"--pgdata={self.data}", f"--username={OWNER}", "--auth=trust", "--encoding=UTF8",
            "--locale=C", "--no-instructions",
        )  # fmt: skip
        if result.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise SetupProblem(
                Text(
                    en="The private database could not be made in {folder}: {reason}",
                    vi="Không tạo được cơ sở dữ liệu riêng trong {folder}: {reason}",
                ).format(folder=self.data, reason=_last_line(result.stderr))
            )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'twin.conf'\n")

    def _check_space(self) -> None:
        folder = next(p for p in (self.data, *self.data.parents) if p.exists())
        free = shutil.disk_usage(folder).free
        if free < FREE_BYTES_NEEDED:
            raise SetupProblem(
                Text(
                    en="The disk that holds {folder} is full: {free} MB are free, {needed} MB are needed. "
                    "Free some space, or set TWIN_HOME to a folder on another disk.",
                    vi="Đĩa chứa {folder} đã đầy: còn {free} MB, cần {needed} MB. "
                    "Hãy giải phóng dung lượng, hoặc đặt TWIN_HOME sang đĩa khác.",
                ).format(folder=folder, free=free // 10**6, needed=FREE_BYTES_NEEDED // 10**6)
            )

    def _own_folder(self, folder: Path) -> None:
        """Make a folder that only the database's user can enter; refuse one that somebody else made."""
        try:
            private_folder(folder.parent, 0o711 if self.server_user else 0o700)
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.server_user:
                if folder.is_relative_to("/var/lib/city-twin"):
                    for parent in (Path("/var/lib/city-twin"), folder.parent):
                        parent.chmod(0o755)
                os.chown(folder, self.server_user.pw_uid, self.server_user.pw_gid)
        except PermissionError:
            raise _no_permission(folder.parent) from None
        info = folder.lstat()
        owner = self.server_user.pw_uid if self.server_user else os.getuid()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != owner or info.st_mode & 0o077:
            raise SetupProblem(
                Text(
                    en="The folder {folder} exists but is not a private folder of the database's user. "
                    "Remove it and try again.",
                    vi="Thư mục {folder} đã có nhưng không phải thư mục riêng của người dùng cơ sở dữ liệu. "
                    "Hãy xóa nó rồi thử lại.",
                ).format(folder=folder)
            )

    def _make_home(self) -> None:
        """Make the home; the database's user can pass through it to its own folder."""
        private_folder(self.home, 0o711 if self.server_user else 0o700)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        if self.server_user:
            os.chown(path, self.server_user.pw_uid, self.server_user.pw_gid)

    def _failure(self, what: str, log: Path) -> SetupProblem:
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        reason = (fatal or lines or ["?"])[-1]
        return SetupProblem(
            Text(
                en="The private database did not {what}: {reason} (log: {log})",
                vi="Cơ sở dữ liệu riêng không khởi động được: {reason} (nhật ký: {log})",
            ).format(what=what, reason=reason, log=log)
        )

    def _pg_ctl(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", action, f"--pgdata={self.data}", *options)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs, as the database's user when started as root.

        Its output goes to a file, not a pipe: the server would inherit the pipe and keep it open for ever.
        """
        user = self.server_user
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))} | {"LC_ALL": "C"}
        command = [str(server_binaries() / program), *arguments]
        log = self.home / f"{program}.log"
        try:
            self._make_home()
            with open_private(log, "w+") as output:
                done = subprocess.run(  # type: ignore[call-overload]
                    command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=environment, check=False, **as_user,
                )  # fmt: skip
                output.seek(0)
                return subprocess.CompletedProcess(command, done.returncode, "", output.read())
        except PermissionError:
            raise _no_permission(self.home) from None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time make, start or stop the cluster."""
        try:
            self._make_home()
            lock = open_private(self.home / "lock", "w")
        except PermissionError:
            raise _no_permission(self.home) from None
        except OSError as error:
            raise SetupProblem(
                Text(
                    en="The folder {folder} cannot be used: {reason}.",
                    vi="Không dùng được thư mục {folder}: {reason}.",
                ).format(folder=self.home, reason=error.strerror)
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "?"


def _no_permission(folder: Path) -> SetupProblem:
    return SetupProblem(
        Text(
            en="No permission to write in {folder}. Use a folder of your own: set TWIN_HOME, or change its owner.",
            vi="Không có quyền ghi vào {folder}. Hãy dùng thư mục của bạn: đặt TWIN_HOME, hoặc đổi chủ sở hữu.",
        ).format(folder=folder)
    )

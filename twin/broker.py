"""A private MQTT broker: Debian's Mosquitto, run like the database, with files that are written here.

An account of the broker is an API key: its public id is the user name, the whole key the password. An agency's account
writes below `in/AGENCY/`; everybody, without an account too, reads below `v1.1/`, where the program publishes the
values of open streams; accounts read those that are shared between agencies below `shared/v1.1/` and their own
agency's below `agency/AGENCY/v1.1/`. Nobody but the program reads what was sent, so no subscriber hears a value twice.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from twin.access.broker_accounts import Account, broker_hash
from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.errors import SetupProblem
from twin.private_files import open_private, private_folder
from twin.text import Text

PROGRAM = "mosquitto"
# The program's own account: it reads what was sent and publishes what was stored.
OWN_ACCOUNT = "city-twin"
START_SECONDS = 10.0
QUEUE_BYTES = 512 * 2**20
# The first two numbers are what was measured: by default 20 messages are on their way at once, which is 111 a second
# for a consumer that acknowledges batches, and of 5,000 messages that waited for a consumer 4,000 were dropped.
CONFIGURATION = """\
# Written at every start.
per_listener_settings false
listener {port} {host}
allow_anonymous true
password_file {folder}/passwords
acl_file {folder}/access
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes {queue}
max_packet_size 1000000
persistence true
persistence_location {folder}/
autosave_interval 60
persistent_client_expiration 30d
pid_file {folder}/pid
log_dest file {folder}/mosquitto.log
log_type error
log_type warning
log_type notice
connection_messages false
{user}"""

MISSING = Text(
    en="Mosquitto is not installed, so devices cannot connect by MQTT (Debian: apt-get install mosquitto). "
    "HTTP works all the same.",
    vi="Chưa cài Mosquitto nên thiết bị chưa kết nối được bằng MQTT (Debian: apt-get install mosquitto). "
    "HTTP vẫn hoạt động.",
)


def find_broker() -> Path | None:
    """Return Mosquitto's program; Debian puts it where an ordinary user's path does not look."""
    found = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


class PrivateBroker:
    """The broker that belongs to one home folder."""

    def __init__(self, settings: Settings) -> None:
        self._cluster = PrivateCluster(settings.home)
        self.folder = self._cluster.data.parent / "mqtt"
        self.host = settings.mqtt_host
        self.port = settings.mqtt_port

    @property
    def url(self) -> str:
        """Where the program itself connects; with its own password, so it is not for logs."""
        return f"mqtt://{OWN_ACCOUNT}:{self._own_password()}@127.0.0.1:{self.port}"

    def start(self) -> bool:
        """Start the broker unless it runs; tell whether this call started it."""
        if self.runs():
            return False
        program = find_broker()
        if program is None:
            raise SetupProblem(MISSING)
        self._make_folder()
        if not (self.folder / "access").is_file():
            self._write_accounts(())
        user = self._cluster.server_user
        configuration = CONFIGURATION.format(
            port=self.port,
            host=self.host,
            folder=self.folder,
            queue=QUEUE_BYTES,
            user=f"user {user.pw_name}\n" if user else "",
        )
        self._write("mosquitto.conf", configuration)
        with open_private(self.folder.parent / "mosquitto.log", "w") as output:
            process = subprocess.Popen(
                [program, "-c", str(self.folder / "mosquitto.conf")], cwd="/", stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._wait_until_open(process)
        return True

    def runs(self) -> bool:
        """Tell whether the process lives that the broker's own file names."""
        number = self._process()
        if number is None:
            return False
        try:
            name, _, rest = (Path("/proc") / str(number) / "stat").read_text().rpartition(")")
        except OSError:
            return False
        # One that ended may still wait for its parent to look, and its number may be another program's by now.
        return name.endswith(f"({PROGRAM}") and not rest.startswith(" Z")

    def stop(self) -> None:
        """Stop the broker if it runs; it writes down the messages that it holds."""
        number = self._process()
        if number is None or not self.runs():
            return
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while self.runs() and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)
            time.sleep(0.02)

    def set_accounts(self, accounts: Iterable[Account]) -> None:
        """Let exactly these keys in; the connections of others are closed."""
        if self._write_accounts(accounts) and (number := self._process()) is not None and self.runs():
            os.kill(number, signal.SIGHUP)

    def _write_accounts(self, accounts: Iterable[Account]) -> bool:
        self._make_folder()
        known = sorted(accounts, key=lambda account: account.key)
        passwords = [f"{OWN_ACCOUNT}:{self._own_hash()}"]
        access = ["topic read v1.1/#", "", f"user {OWN_ACCOUNT}", "topic readwrite #"]
        for account in known:
            passwords.append(f"{account.key}:{account.password_hash}")
            access += ["", f"user {account.key}", "topic read v1.1/#", "topic read shared/v1.1/#"]
            access.append(f"topic read agency/{account.agency}/v1.1/#")
            if account.may_write:
                access.append(f"topic write in/{account.agency}/#")
        # Both files, whatever the first says.
        return any([self._write("passwords", _lines(passwords)), self._write("access", _lines(access))])

    def _own_password(self) -> str:
        file = self.folder / "own-password"
        if not file.is_file():
            self._make_folder()
            self._write("own-password", secrets.token_urlsafe(32))
        return file.read_text().strip()

    def _own_hash(self) -> str:
        """Return the hash of the program's own password, the same one as long as the password is."""
        file = self.folder / "passwords"
        with suppress(OSError):
            for line in file.read_text().splitlines():
                name, _, known = line.partition(":")
                if name == OWN_ACCOUNT and known:
                    return known
        return broker_hash(self._own_password())

    def _make_folder(self) -> None:
        private_folder(self.folder.parent, 0o711 if self._cluster.server_user else 0o700)
        private_folder(self.folder)
        if user := self._cluster.server_user:
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def _write(self, name: str, text: str) -> bool:
        """Write a file whole, beside its place and renamed, so that the broker never reads half of it."""
        path = self.folder / name
        if path.is_file() and path.read_text() == text:
            return False
        aside = path.with_name(f"{name}.{os.getpid()}")
        with open_private(aside, "w") as file:
            file.write(text)
        if user := self._cluster.server_user:
            os.chown(aside, user.pw_uid, user.pw_gid)
        aside.replace(path)
        return True

    def _process(self) -> int | None:
        with suppress(OSError, ValueError):
            return int((self.folder / "pid").read_text())
        return None

    def _wait_until_open(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                if self.runs():
                    return
            time.sleep(0.05)
        if process.poll() is None:
            process.terminate()
            process.wait()
        lines = (self.folder.parent / "mosquitto.log").read_text(errors="replace").splitlines()
        with suppress(OSError):
            lines += (self.folder / "mosquitto.log").read_text(errors="replace").splitlines()[-3:]
        raise SetupProblem(
            Text(
                en="The private broker did not start on port {port}: {reason}. "
                "Choose another port with TWIN_MQTT_PORT.",
                vi="Bộ môi giới MQTT riêng không khởi động được ở cổng {port}: {reason}. "
                "Hãy chọn cổng khác bằng TWIN_MQTT_PORT.",
            ).format(port=self.port, reason=lines[-1] if lines else "?")
        )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"

"""Where the database is, and connections to it by role: owner migrates, writer publishes, reader serves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import psycopg
import sqlalchemy as sa
from sqlalchemy import URL, make_url
from sqlalchemy.orm import Session

from twin.config import Settings
from twin.db.cluster import PrivateCluster
from twin.errors import SetupProblem, TwinError, Unavailable
from twin.private_files import close_home, open_private
from twin.text import Text

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as BulkConnection

Role = Literal["owner", "writer", "reader"]
ROLE_NAMES: dict[Role, str] = {"owner": "twin_owner", "writer": "twin_writer", "reader": "twin_reader"}
DEFAULT_DATABASE = "twin"
DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]{0,50}")


@dataclass(frozen=True)
class Database:
    """One PostgreSQL database that holds a city."""

    url: URL
    private: bool
    reader_url: URL | None = None
    # What its sessions are called in the database's own lists; behind it stands the role.
    application: str = "twin"

    def login(self, role: Role) -> tuple[URL, dict[str, str]]:
        """Give the address for a role, and the session settings it starts with.

        In the private cluster each role logs in as itself; on another server the given user takes the role on,
        if it may, and otherwise keeps its own rights.
        """
        settings = {"application_name": f"{self.application} {role}", "timezone": "UTC"}
        if role == "reader":
            settings["default_transaction_read_only"] = "on"
            if self.reader_url is not None:
                return self.reader_url, settings
        if role == "owner":
            return self.url, settings
        if self.private:
            return self.url.set(username=ROLE_NAMES[role]), settings
        if ROLE_NAMES[role] in self._roles_to_take_on:
            settings["role"] = ROLE_NAMES[role]
        return self.url, settings

    @cached_property
    def _roles_to_take_on(self) -> frozenset[str]:
        query = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND pg_has_role(oid, 'member')"
        with psycopg.connect(libpq(self.url)) as connection:
            return frozenset(name for (name,) in connection.execute(query, [list(ROLE_NAMES.values())]))

    def engine(self, role: Role = "writer", **options: Any) -> sa.Engine:
        """Make an SQLAlchemy engine for a role."""
        url, settings = self.login(role)
        return sa.create_engine(url, connect_args={"options": _as_options(settings)}, **options)

    @cached_property
    def writer(self) -> sa.Engine:
        """The engine of the writer, one for the life of the program."""
        return self.engine("writer", pool_size=2)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction of the writer: committed at the end, rolled back on an error."""
        with speaking_of_database(), Session(self.writer, expire_on_commit=False) as session, session.begin():
            yield session

    def bulk(self) -> BulkConnection:
        """Open a connection that copies Arrow batches into tables, as the writer."""
        # Loads pandas and pyarrow, which only publishing needs.
        from adbc_driver_postgresql import dbapi as adbc

        url, settings = self.login("writer")
        with speaking_of_database():
            return adbc.connect(libpq(url.update_query_dict({"options": _as_options(settings)})))

    def asyncpg_options(self, role: Role = "reader") -> dict[str, Any]:
        """Keyword arguments for asyncpg.connect or create_pool."""
        url, settings = self.login(role)
        return {"dsn": libpq(url), "server_settings": settings}

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)


def libpq(url: URL) -> str:
    """Return the address as libpq, asyncpg and ADBC take it."""
    address, mark, query = url.set(drivername="postgresql").render_as_string(hide_password=False).partition("?")
    # SQLAlchemy writes a blank in the query as "+", which libpq takes literally.
    return address + mark + query.replace("+", "%20")


def _as_options(settings: dict[str, str]) -> str:
    """Session settings as libpq's `options`, where a space ends a value unless escaped."""
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items())


def cluster_of(settings: Settings) -> PrivateCluster:
    """Return the private cluster of these settings."""
    return PrivateCluster(settings.home)


def open_database(settings: Settings, name: str | None = None) -> Database:
    """Find the database: TWIN_DATABASE_URL, else one of the private cluster, which is started if need be.

    `name` is a database of the private cluster; without it the one opened last is meant.
    """
    close_home(settings.home)
    if settings.database_url:
        return Database(
            _external(settings.database_url, "TWIN_DATABASE_URL"),
            private=False,
            reader_url=_external(settings.reader_url, "TWIN_READER_URL") if settings.reader_url else None,
        )
    name = name or settings.database or last_opened(settings) or DEFAULT_DATABASE
    if not DATABASE_NAME.fullmatch(name):
        raise SetupProblem(
            Text(
                en="“{name}” cannot name a database: use small letters, digits and _, starting with a letter.",
                vi="“{name}” không thể là tên cơ sở dữ liệu: chỉ dùng chữ thường, chữ số và _, bắt đầu bằng chữ.",
            ).format(name=name)
        )
    cluster = cluster_of(settings)
    cluster.start()
    return Database(cluster.url(name), private=True)


def last_opened(settings: Settings) -> str | None:
    """Name the database that a demo opened last in this home."""
    note = settings.home / "database"
    return note.read_text().strip() if note.is_file() else None


def remember_opened(settings: Settings, name: str) -> None:
    """Make `name` the default database of commands."""
    with open_private(settings.home / "database", "w") as file:
        file.write(name + "\n")


def _external(url: str, setting: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise ValueError(parsed.drivername)
    except (sa.exc.ArgumentError, ValueError):
        raise SetupProblem(
            Text(
                en="{setting} is not a PostgreSQL address. Example: postgresql://user:password@host:5432/city",
                vi="{setting} không phải địa chỉ PostgreSQL. Ví dụ: postgresql://user:password@host:5432/city",
            ).format(setting=setting)
        ) from None
    return parsed.set(drivername="postgresql+psycopg")


DISK_FULL = Text(
    en="The database's disk is full. Free some space and run the same command again: nothing was changed.",
    vi="Đĩa của cơ sở dữ liệu đã đầy. Hãy giải phóng dung lượng rồi chạy lại lệnh này: chưa có gì bị thay đổi.",
)
NOT_REACHED = Text(
    en="The database cannot be reached: {reason}",
    vi="Không kết nối được cơ sở dữ liệu: {reason}",
)
NOT_SET_UP = Text(
    en="This database holds no city yet. Make its tables with: twin db migrate   (or see a sample city: twin demo)",
    vi="Cơ sở dữ liệu này chưa có gì. Hãy tạo bảng bằng: twin db migrate   (hoặc xem thành phố mẫu: twin demo)",
)
# What PostgreSQL says to a login before the roles, or the database, were made.
_NOT_SET_UP = re.compile(r'FATAL:  (role "twin_\w+"|database "[^"]+") does not exist')
NO_RIGHT = Text(
    en="The database refuses this for lack of rights: {reason}",
    vi="Cơ sở dữ liệu từ chối vì thiếu quyền: {reason}",
)


@contextmanager
def speaking_of_database() -> Iterator[None]:
    """Turn what commonly goes wrong with a database into one clear sentence."""
    try:
        yield
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        if sentence := explain(error):
            raise sentence from error
        raise


def explain(error: BaseException) -> TwinError | None:
    """Return the sentence for a database error, or None where it is a fault of the program."""
    cause: object = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or ""
    reason = str(cause).strip().split("\n")[0]
    if state == "53100":
        return Unavailable(DISK_FULL)
    if state in ("42P01", "3F000") or _NOT_SET_UP.search(reason):
        return SetupProblem(NOT_SET_UP)
    if state == "42501":
        return SetupProblem(NO_RIGHT.format(reason=reason))
    lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) and not state
    if lost or state.startswith(("08", "57P")):
        return Unavailable(NOT_REACHED.format(reason=reason))
    return None

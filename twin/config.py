"""Settings, from the environment (`TWIN_…`): few, typed, with defaults that work."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin.catalogue.raster_files import RasterFolder
from twin.city import City, read_city
from twin.errors import SetupProblem
from twin.text import Text

HOME_NAME = ".twin"


def find_home() -> Path:
    """Return the nearest `.twin` folder, here or above, as git finds its own; else one to be made here."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return here / HOME_NAME


class Settings(BaseSettings):
    """What an operator may set. Each field is the environment variable `TWIN_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TWIN_", extra="ignore")

    home: Path = Field(default_factory=find_home, description="Folder of the private PostGIS cluster.")
    database_url: str | None = Field(
        None, description="Use this PostgreSQL instead of the private one; its user owns the tables."
    )
    reader_url: str | None = Field(None, description="The same database for serving: a user that only reads.")
    database: str | None = Field(
        None, description="Name of the database in the private cluster; else the one opened last."
    )
    city: str = Field("hcmc", description="City profile: the name of one that comes along, or a path.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Server processes.")
    pool_size: int = Field(8, ge=1, le=200, description="Database connections a server process may hold.")
    pool_wait: float = Field(5.0, gt=0, description="Seconds a request waits for a free connection.")
    statement_timeout: float = Field(
        10.0,
        gt=0,
        description="Seconds one query of the server may take; half of it for a reader's filter without a key.",
    )
    items_limit: int = Field(10_000, ge=1, le=100_000, description="Features a page of items may have.")
    stream_limit: int = Field(
        2_000_000, ge=1, description="Features an answer may have in a format that is written in one go."
    )
    stream_seconds: float = Field(900.0, gt=0, description="Seconds that writing one long answer may take.")
    rate_limit: int = Field(
        12_000, ge=0, description="Requests a minute from one address to one server process; 0 for any number."
    )
    rate_limit_key: int = Field(
        60_000, ge=0, description="Requests a minute with one key to one server process; 0 for any number."
    )
    trusted_proxies: str = Field(
        "", description="Addresses or networks, with commas, whose X-Forwarded-For and -Proto are believed."
    )
    cors_origins: str = Field(
        "*", description="Sites, with commas, whose pages may read from here; * for all, nothing for none."
    )
    slow_seconds: float = Field(2.0, gt=0, description="Seconds from which on a request is written into the log.")
    log: Literal["json", "text"] | None = Field(
        None, description="How lines of the log are written; else text on a terminal and JSON elsewhere."
    )
    tile_cache_mb: int = Field(256, ge=0, le=100_000, description="Megabytes of tiles a server process keeps.")
    answer_cache_mb: int = Field(
        32, ge=0, le=100_000, description="Megabytes of other open answers a server process keeps."
    )
    live_streams: int = Field(1_000, ge=0, description="Live streams that a server process keeps open.")
    live_streams_each: int = Field(
        100, ge=1, description="Live streams of one key, or of one address without a key, to one server process."
    )
    live_heartbeat: float = Field(15.0, gt=0, description="Seconds after which a live stream gives a sign of life.")
    keep_versions: int = Field(5, ge=1, description="Versions of a layer that stay available.")
    rasters: Path | None = Field(None, description="Folder of the published rasters; else `rasters` in the home.")
    workspace: Path | None = Field(None, description="Folder to unpack archives in; else the system's temporary one.")
    batch_rows: int = Field(50_000, ge=1, description="Features handled at once while publishing.")

    @property
    def raster_folder(self) -> RasterFolder:
        """Where published rasters lie."""
        return RasterFolder((self.rasters or self.home / "rasters").absolute())

    uploads: Path | None = Field(
        None, description="Folder of uploaded files, shared by servers and workers; else “uploads” in TWIN_HOME."
    )
    upload_bytes: int = Field(20 * 2**30, ge=1, description="Bytes that one upload may have.")
    uploads_open: int = Field(20, ge=1, description="Unfinished uploads that one key may have.")
    upload_hours: float = Field(24.0, gt=0, description="Hours after which an upload that does not go on is removed.")
    job_attempts: int = Field(3, ge=1, description="Times a job is tried when its worker or the database fails.")
    job_seconds: float = Field(3600.0, gt=0, description="Seconds that a job may run.")
    job_memory_mb: int = Field(8192, ge=512, description="Megabytes of memory that a job may take.")
    job_days: float = Field(90.0, gt=0, description="Days that finished jobs and their reports are kept.")

    mqtt_url: str | None = Field(
        None, description="Broker that streams are read from, mqtt://user:password@host:port; else the private one."
    )
    mqtt_host: str = Field("127.0.0.1", description="Address that the private broker listens on.")
    mqtt_port: int = Field(1883, ge=1, le=65535, description="Port of the private broker.")
    stream_days: float = Field(
        1826.0, gt=0, description="Days that the values of streams are kept; their hours and days stay."
    )

    webhook_hosts: str = Field(
        "",
        description="Hosts, with commas, that alerts may be sent to: example.vn for https, http://10.1.2.3:8080, and "
        "networks such as 10.1.0.0/16 that names may lead into; nothing for none.",
    )
    smtp_url: str | None = Field(
        None, description="Mail server for alerts, smtp://user:password@host:port or smtps://…; else no mail is sent."
    )
    smtp_from: str = Field("city-twin@localhost", description="Sender of the mail of alerts.")

    archives: Path | None = Field(None, description="Folder of baked tile archives; else “archives” in TWIN_HOME.")

    @property
    def archive_folder(self) -> Path:
        """Where baked tile archives lie."""
        return self.archives or self.home / "archives"

    downloads: Path | None = Field(None, description="Folder of prepared downloads; else “downloads” in TWIN_HOME.")
    downloads_mb: int = Field(
        20_000, ge=1, description="Megabytes of prepared downloads that are kept, the most recently used ones."
    )

    @property
    def download_folder(self) -> Path:
        """Where prepared downloads lie, in a folder for each database."""
        return self.downloads or self.home / "downloads"

    @property
    def upload_folder(self) -> Path:
        """Where uploaded files lie until they are published."""
        return self.uploads or self.home / "uploads"

    @cached_property
    def profile(self) -> City:
        """The city that these settings name."""
        return read_city(self.city)


def load_settings() -> Settings:
    """Read the settings; a value that does not fit is named in one sentence."""
    try:
        return Settings()
    except ValidationError as error:
        raise unusable("TWIN_", error) from None


def unusable(prefix: str, error: ValidationError) -> SetupProblem:
    """Return the sentence for settings that do not fit: the first of them, with its value."""
    first = error.errors()[0]
    name = f"{prefix}{'_'.join(str(part) for part in first['loc']).upper()}"
    return SetupProblem(
        Text(
            en="The setting {name} is not usable: {reason} (it is {value!r}).",
            vi="Giá trị của {name} không dùng được: {reason} (hiện là {value!r}).",
        ).format(name=name, reason=first["msg"], value=os.environ.get(name, first.get("input")))
    )

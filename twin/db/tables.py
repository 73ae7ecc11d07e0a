"""The catalogue's tables (schema `twin`): agencies, principals and keys, layers, versions, quarantine, audit."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA = "twin"
DATA_SCHEMA = "layer_data"
# Streams and their values; twin.streams holds the SQL.
LIVE_SCHEMA = "live"


class Sharing(StrEnum):
    """Who may read a layer: everybody; every agency; its own agency."""

    OPEN = "open"
    SHARED = "shared"
    RESTRICTED = "restricted"


class State(StrEnum):
    """Where a version stands: being filled, readable, dropped by age, or given up."""

    STAGING = "staging"
    PUBLISHED = "published"
    RETIRED = "retired"
    FAILED = "failed"


class PrincipalRole(StrEnum):
    """What a principal may do; twin.access.principals has the table."""

    READER = "reader"
    DEVICE = "device"
    PUBLISHER = "publisher"
    STEWARD = "steward"
    OPERATOR = "operator"
    ADMIN = "admin"


class JobState(StrEnum):
    """Where a job stands. The last four are for ever."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Base(DeclarativeBase):
    """All tables of the catalogue, in one schema, with constraints named by rule."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it from the class
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
        bytes: LargeBinary(),
    }


def _one_of(column: str, kinds: type[StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{kind.value}'" for kind in kinds)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class Info(Base):
    """Facts about this database, such as which dataset it holds."""

    __tablename__ = "info"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Agency(Base):
    """A body that owns layers."""

    __tablename__ = "agency"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    title_vi: Mapped[str]
    title_en: Mapped[str]


class Principal(Base):
    """Who may ask with a key: a person's or a program's account of one agency."""

    __tablename__ = "principal"
    __table_args__ = (UniqueConstraint("agency_id", "name"), _one_of("role", PrincipalRole))
    id: Mapped[int] = mapped_column(primary_key=True)
    agency_id: Mapped[int] = mapped_column(ForeignKey(Agency.id))
    name: Mapped[str]
    role: Mapped[str]
    agency: Mapped[Agency] = relationship()


class ApiKey(Base):
    """A key of a principal. Only a hash of its secret is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    principal_id: Mapped[int] = mapped_column(ForeignKey(Principal.id), index=True)
    secret_hash: Mapped[bytes]
    # What a broker checks the secret with; keys that were made before brokers have none.
    broker_hash: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]
    principal: Mapped[Principal] = relationship()


class Layer(Base):
    """A series of versions of one thing, owned by an agency, following one theme."""

    __tablename__ = "layer"
    __table_args__ = (UniqueConstraint("agency_id", "name"), _one_of("sharing", Sharing))
    id: Mapped[int] = mapped_column(primary_key=True)
    agency_id: Mapped[int] = mapped_column(ForeignKey(Agency.id))
    name: Mapped[str]
    theme: Mapped[str]
    title_vi: Mapped[str]
    title_en: Mapped[str]
    description_vi: Mapped[str] = mapped_column(server_default="")
    description_en: Mapped[str] = mapped_column(server_default="")
    licence: Mapped[str] = mapped_column(server_default="")
    attribution: Mapped[str] = mapped_column(server_default="")
    sharing: Mapped[str] = mapped_column(server_default=Sharing.RESTRICTED.value)
    sample: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    # The layer's own contract as JSON, where no theme of the platform describes it.
    contract: Mapped[str | None]
    update_frequency: Mapped[str] = mapped_column(server_default="irregular")
    # Whether a map shows it at first; null: as its theme says.
    visible: Mapped[bool | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    current_version_id: Mapped[int | None] = mapped_column(
        ForeignKey("twin.layer_version.id", use_alter=True), unique=True
    )
    agency: Mapped[Agency] = relationship()


class LayerVersion(Base):
    """One published state of a layer. What is written here at publish is never computed again."""

    __tablename__ = "layer_version"
    __table_args__ = (UniqueConstraint("layer_id", "number"), _one_of("state", State))
    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey(Layer.id))
    number: Mapped[int]
    state: Mapped[str]
    table_name: Mapped[str] = mapped_column(unique=True)
    columns: Mapped[list[dict[str, Any]]]
    resolution: Mapped[int] = mapped_column(SmallInteger)
    features: Mapped[int] = mapped_column(BigInteger, server_default="0")
    quarantined: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cells: Mapped[int] = mapped_column(BigInteger, server_default="0")
    bounds: Mapped[WKBElement | None] = mapped_column(Geometry("POLYGON", srid=4326, spatial_index=False))
    # Of the features' ids, geometries and values, whatever their order: equal digests mean equal content.
    content: Mapped[str | None]
    # Of a raster's version: the file's name and what was measured (see twin.catalogue.raster_files).
    raster: Mapped[dict[str, Any] | None]
    # The coarser cells that the features were rolled up to, and how each column was; nothing where they were not.
    rollup: Mapped[dict[str, Any] | None]
    source: Mapped[str] = mapped_column(server_default="")
    source_sha256: Mapped[str | None]
    fingerprint: Mapped[str | None]
    tool_version: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    layer: Mapped[Layer] = relationship(foreign_keys=layer_id)


class Quarantine(Base):
    """A feature that a version left out, with the reason, whole enough to be mended and published again."""

    __tablename__ = "quarantine"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey(LayerVersion.id, ondelete="CASCADE"), index=True)
    feature_id: Mapped[str | None]
    # A kind of problem (see ingest.checks.kinds), and what was found: in both languages (`Text.stored`) or as it is.
    reason: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="")
    properties: Mapped[dict[str, Any]]
    geometry: Mapped[bytes | None]


class Audit(Base):
    """Who did what, when, to which layer. Rows are only ever added."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "layer", "at"),)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    layer: Mapped[str | None]
    version: Mapped[int | None] = mapped_column(Integer)
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class Upload(Base):
    """A file that arrives in pieces. How much of it is there, only the file itself tells."""

    __tablename__ = "upload"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    layer: Mapped[str]
    name: Mapped[str]
    length: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Job(Base):
    """An uploaded file to be published by a worker; kept for a while after it is done, with its report.

    The advisory lock on `number`, held by the worker's connection, shows whether a running job's worker lives.
    """

    __tablename__ = "job"
    __table_args__ = (
        _one_of("state", JobState),
        Index("ix_job_open", "layer", "number", postgresql_where=text("state IN ('queued', 'running')")),
        Index(None, "layer", "created_at"),
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    upload_id: Mapped[UUID] = mapped_column(unique=True)
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    actor: Mapped[str]
    layer: Mapped[str]
    name: Mapped[str]
    length: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    language: Mapped[str]
    # Which function of the worker does it; see KINDS in ingest.worker.job.
    kind: Mapped[str] = mapped_column(server_default="publish")
    order: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default=JobState.QUEUED.value)
    stage: Mapped[str | None]
    done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    total: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    worker: Mapped[str | None]
    # Not before this moment: after something that may pass, such as a full disk, a job waits a little.
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    # Set while a worker is at it; the worker then ends the job's process.
    cancel_requested_at: Mapped[datetime | None]
    version: Mapped[int | None] = mapped_column(Integer)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    # The report as a page, in both languages.
    page_vi: Mapped[str | None] = mapped_column(deferred=True)
    page_en: Mapped[str | None] = mapped_column(deferred=True)

"""Brings a database to the program's schema: the PostGIS extension, the roles, the migrations."""

from __future__ import annotations

from importlib.resources import files

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from twin.db.database import ROLE_NAMES, Database, libpq, speaking_of_database
from twin.db.tables import DATA_SCHEMA, LIVE_SCHEMA, SCHEMA
from twin.errors import SetupProblem
from twin.text import Text

# Any number will do, as long as every program that migrates uses the same.
MIGRATION_LOCK = 7_310_545_001


def migrate(database: Database) -> bool:
    """Make the database if it is one of the private cluster, and bring it up to date; tell whether it changed."""
    if database.private:
        _create_database(database)
    engine = database.engine("owner", poolclass=sa.NullPool)
    with speaking_of_database(), engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        try:
            if is_current(connection):
                return False
            connection.rollback()
            _require_postgis(connection)
            _ensure_roles(connection)
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {DATA_SCHEMA}"))
            connection.commit()
            command.upgrade(alembic_config(connection), "head")
            _grant(connection)
            connection.commit()
            return True
        finally:
            connection.rollback()
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's configuration for one connection, without a file."""
    config = Config()
    config.set_main_option("script_location", str(files("twin.db") / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def is_current(connection: sa.Connection) -> bool:
    """Tell whether every migration has been run."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    scripts = ScriptDirectory.from_config(alembic_config(connection))
    present = set(context.get_current_heads())
    known = {script.revision for script in scripts.walk_revisions()}
    if unknown := present - known:
        raise SetupProblem(
            Text(
                en="This database was made by a newer program (migration {revision}). Update this program.",
                vi="Cơ sở dữ liệu này đã được phiên bản mới hơn cập nhật (bước {revision}). Hãy cập nhật chương trình.",
            ).format(revision=", ".join(sorted(unknown)))
        )
    return present == set(scripts.get_heads())


def _create_database(database: Database) -> None:
    name = str(database.url.database)
    maintenance = libpq(database.url.set(database="postgres"))
    with speaking_of_database(), psycopg.connect(maintenance, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        try:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        except psycopg.errors.DuplicateDatabase:
            return  # another program made it at the same moment


def _require_postgis(connection: sa.Connection) -> None:
    if connection.scalar(sa.text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")):
        return
    try:
        connection.execute(sa.text("CREATE EXTENSION postgis"))
    except sa.exc.DBAPIError as error:
        connection.rollback()
        raise SetupProblem(
            Text(
                en="PostGIS is missing in this database ({reason}). "
                "Install it on the server and ask its administrator to run: CREATE EXTENSION postgis",
                vi="Cơ sở dữ liệu này chưa có PostGIS ({reason}). "
                "Hãy cài trên máy chủ và nhờ người quản trị chạy: CREATE EXTENSION postgis",
            ).format(reason=str(error.orig).strip().split("\n")[0])
        ) from error


def _ensure_roles(connection: sa.Connection) -> None:
    """Make the writer's and the reader's role where the user may; without them its own rights serve."""
    if not connection.scalar(sa.text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")):
        return
    for role in (ROLE_NAMES["writer"], ROLE_NAMES["reader"]):
        # Roles belong to the whole server: two databases may be migrated at once.
        connection.execute(
            sa.text(
                f"DO $$ BEGIN CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; "
                "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            )
        )
        connection.execute(sa.text(f"GRANT {role} TO CURRENT_USER"))


def _grant(connection: sa.Connection) -> None:
    writer, reader = ROLE_NAMES["writer"], ROLE_NAMES["reader"]
    members = connection.scalar(
        sa.text(
            "SELECT count(*) FROM pg_roles WHERE rolname IN (:writer, :reader) "
            "AND pg_has_role(current_user, oid, 'member')"
        ),
        {"writer": writer, "reader": reader},
    )
    if members != 2:
        return  # this user keeps its own rights; see Database.login
    for statement in (
        f"GRANT USAGE ON SCHEMA {SCHEMA}, {DATA_SCHEMA}, {LIVE_SCHEMA} TO {writer}, {reader}",
        f"GRANT CREATE ON SCHEMA {DATA_SCHEMA} TO {writer}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {writer}",
        f"REVOKE UPDATE, DELETE ON {SCHEMA}.audit FROM {writer}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {SCHEMA}, {LIVE_SCHEMA} TO {writer}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {reader}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {LIVE_SCHEMA} TO {writer}",
        f"REVOKE UPDATE, DELETE ON {LIVE_SCHEMA}.correction FROM {writer}",
        f"REVOKE UPDATE, DELETE ON {LIVE_SCHEMA}.incident_event FROM {writer}",
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {LIVE_SCHEMA} TO {writer}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {LIVE_SCHEMA} TO {reader}",
        # Secrets and receivers of alerts.
        f"REVOKE SELECT ON {LIVE_SCHEMA}.alert_rule, {LIVE_SCHEMA}.delivery FROM {reader}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {writer} IN SCHEMA {DATA_SCHEMA} GRANT SELECT ON TABLES TO {reader}",
    ):
        connection.execute(sa.text(statement))

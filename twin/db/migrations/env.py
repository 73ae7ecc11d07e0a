"""Runs the migrations on the connection that twin.db.migrate hands over."""

from alembic import context
from sqlalchemy import text

from twin.db.tables import SCHEMA, Base

# A user called like a schema of ours would have it searched first, and its tables taken for tables without a schema.
context.config.attributes["connection"].execute(
    text("SELECT set_config('search_path', replace(current_setting('search_path'), '\"$user\", ', ''), false)")
)
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, kind, _parents: name == SCHEMA if kind == "schema" else True,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()

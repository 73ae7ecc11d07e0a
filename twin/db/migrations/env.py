"""Runs the migrations on the connection that twin.db.migrate hands over."""

from alembic import context

from twin.db.tables import SCHEMA, Base

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

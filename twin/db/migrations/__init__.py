"""Alembic's migrations of the `twin` schema."""

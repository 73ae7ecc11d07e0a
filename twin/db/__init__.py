"""The database: the private cluster, connections by role, tables and migrations."""

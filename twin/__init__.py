"""The core of the city twin: city profile, database, catalogue, versions, cells, access, events."""

__version__ = "0.1.0"

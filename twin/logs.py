"""Logging for every program of the project: one format, and the request or job that each line belongs to.

A line is text on a terminal and a JSON object elsewhere; `TWIN_LOG` chooses otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from twin.text import printable

FORMAT = "TWIN_LOG"
# Fields of the lines that a process writes from its start, as `name=value`: how a program passes them to another.
FIELDS = "TWIN_LOG_FIELDS"
# Attributes that every record has; the others were given as `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039  # never written to


@contextmanager
def log_context(**fields: str) -> Iterator[None]:
    """Add fields to every line that is logged meanwhile, in this thread or task and in those that it starts."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def log_fields() -> Mapping[str, str]:
    """Return the fields that `log_context` has set, such as `request_id`."""
    return _context.get()


def environment_fields() -> dict[str, str]:
    """Return the environment that makes another program log as this one does, with the same fields."""
    fields = {name: os.environ[name] for name in (FORMAT,) if name in os.environ}
    return fields | {FIELDS: " ".join(f"{name}={value}" for name, value in log_fields().items())}


def set_up_logging(detailed: str | None = None) -> None:
    """Log warnings and worse of all loggers to standard error, and of the logger `detailed` information too."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    if detailed is not None:
        logging.getLogger(detailed).setLevel(logging.INFO)
    # Its warnings are about drivers that are switched off on purpose, and come again with every file.
    logging.getLogger("rasterio").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    inherited = os.environ.get(FIELDS, "").split()
    if inherited:
        _context.set(dict(field.partition("=")[::2] for field in inherited))


def formatter() -> logging.Formatter:
    """Return the formatter for standard error: text or JSON."""
    chosen = os.environ.get(FORMAT) or ("text" if sys.stderr.isatty() else "json")
    return TextFormatter() if chosen == "text" else JsonFormatter()


def server_logging() -> dict[str, Any]:
    """Return the logging of the HTTP server library: through the same handler as everything else."""
    # Its handlers write to standard output, where programs read answers.
    plain: dict[str, Any] = {"handlers": [], "propagate": True}
    return {"formatters": {}, "handlers": {}, "loggers": {"_granian": dict(plain), "granian.access": dict(plain)}}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, fields of the context, extra fields, the error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **log_fields(),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        # Anything but ASCII is escaped: nothing that a client sent can steer a terminal or make a second line.
        return json.dumps(line, ensure_ascii=True, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: time (local), level, logger, message, then the fields as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the error."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in {**log_fields(), **_extra(record)}.items())
        line = printable(f"{time} {record.levelname} {record.name}: {record.getMessage()}{fields}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

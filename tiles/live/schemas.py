"""The events of `/live` in the OpenAPI document: the schema of a stream is that of each of its events."""

from __future__ import annotations

from typing import Any, get_args

from tiles.live.visible import Kind

DESCRIPTION = """Server-Sent Events. `current` comes first: `{"layers": {"agency.layer": version}}`. Then, whenever
something changes that the reader may see, `layer`: `{"layer", "kind", "version", "published"}`; `kind` is `published`
(a later version is current), `rolled-back` (an earlier one), `shown` (visible now and not before), `changed` (the
layer's description), or `hidden` (no longer visible; version and time are null). Several changes in a row may come as
one. With `state` also `state`: `{"values": [[stream, value, grade, flag, seconds], …]}`, all of them first, then
those that changed. With `state` or `incidents` also `incident`: `{"whole": true, "incidents": […]}` has all that are
not over, and `{"whole": false, …}` those that changed, each as `/incidents` has it. Lines that begin with a colon are
heartbeats. Names of events that are not known should be passed over."""

VERSION = {"type": "integer", "minimum": 1}
CURRENT = {
    "type": "object",
    "title": "What is current now",
    "required": ["layers"],
    "properties": {"layers": {"type": "object", "additionalProperties": VERSION}},
}
CHANGE = {
    "type": "object",
    "title": "A layer changed",
    "required": ["layer", "kind", "version", "published"],
    "properties": {
        "layer": {"type": "string"},
        "kind": {"enum": list(get_args(Kind))},
        "version": {"type": ["integer", "null"], "minimum": 1},
        "published": {"type": ["string", "null"], "format": "date-time"},
    },
}


INCIDENTS = {
    "type": "object",
    "title": "Incidents that may be read",
    "required": ["whole", "incidents"],
    "properties": {
        "whole": {"type": "boolean", "description": "Whether these are all that are not over."},
        "incidents": {"type": "array", "items": {"type": "object"}},
    },
}
STATE = {
    "type": "object",
    "title": "Values of streams",
    "required": ["values"],
    "properties": {
        "values": {
            "type": "array",
            "description": "Each is [stream, value or null, grade or -1, flag, seconds since 1970].",
            "items": {
                "type": "array",
                "minItems": 5,
                "maxItems": 5,
                "items": {"type": ["number", "null"]},
            },
        }
    },
}  # fmt: skip


def _event(name: str, data: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["event", "data", *required],
        "properties": {
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
            "id": {"type": "string", "description": "To be sent as Last-Event-ID after a break."},
            "retry": {"type": "integer", "minimum": 0, "description": "Milliseconds to wait before coming again."},
        },
    }


EVENT: dict[str, Any] = {
    "description": "One event of the stream.",
    "anyOf": [
        _event("current", CURRENT, "id"),
        _event("layer", CHANGE),
        _event("state", STATE),
        _event("incident", INCIDENTS),
    ],
}

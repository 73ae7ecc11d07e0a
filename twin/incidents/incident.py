"""An incident as the API, `/live` and webhooks tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import h3
import orjson

from twin.text import Text


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `layers` are those whose streams one must be able to read to know of it."""

    id: int
    kind: str
    severity: str
    status: str
    agency: str
    layers: frozenset[str]
    title: Text
    text: Text
    longitude: float | None
    latitude: float | None
    cell: int | None
    feature_layer: str | None
    feature_id: str | None
    rule: str | None
    stream: int | None
    value: float | None
    unit: str | None
    count: int
    properties: Mapping[str, Any]
    began: datetime
    opened: datetime
    acknowledged: datetime | None
    closed: datetime | None
    changed: int

    def is_told_to(self, readable: frozenset[str]) -> bool:
        """Tell whether it exists for somebody who may read the streams of these layers."""
        return self.layers <= readable

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, in both languages, without names of people."""
        return {
            "id": self.id, "kind": self.kind, "severity": self.severity, "status": self.status, "agency": self.agency,
            "layers": sorted(self.layers), "title": self.title.as_dict(), "text": self.text.as_dict(),
            "position": [self.longitude, self.latitude] if self.longitude is not None else None,
            "cell": h3.int_to_str(self.cell) if self.cell is not None else None,
            "collection": self.feature_layer, "feature": self.feature_id, "rule": self.rule, "stream": self.stream,
            "value": self.value, "unit": self.unit, "count": self.count, "properties": dict(self.properties),
            "began": stamp(self.began), "opened": stamp(self.opened), "acknowledged": stamp(self.acknowledged),
            "closed": stamp(self.closed),
        }  # fmt: skip


INCIDENT_SQL = """
SELECT i.id, i.kind, i.severity, i.status, a.name AS agency, i.layers, i.title_vi, i.title_en, i.text_vi, i.text_en,
    ST_X(i.geom) AS longitude, ST_Y(i.geom) AS latitude, i.cell, i.feature_layer, i.feature_id,
    i.properties->>'rule' AS rule, nullif(greatest(i.subject, 0), 0) AS stream, i.value, i.unit, i.count,
    (i.properties - 'rule')::text AS properties, i.began_at AS began, i.opened_at AS opened,
    i.acknowledged_at AS acknowledged, i.closed_at AS closed, i.changed::text AS changed
FROM live.incident i JOIN twin.agency a ON a.id = i.agency_id
"""


def incident_of(row: Mapping[str, Any]) -> Incident:
    """Return the incident of a row of INCIDENT_SQL."""
    values = dict(row)
    title = Text(en=values.pop("title_en"), vi=values.pop("title_vi"))
    text = Text(en=values.pop("text_en"), vi=values.pop("text_vi"))
    values |= {
        "layers": frozenset(values["layers"]), "properties": orjson.loads(values["properties"]),
        "changed": int(values["changed"]),
    }  # fmt: skip
    return Incident(title=title, text=text, **values)


def stamp(moment: datetime | None) -> str | None:
    """Write a moment in UTC, as RFC 3339 has it."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""Reading incidents with their history, and what people do with them: acknowledge and close, with a note."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
import orjson

from twin.errors import Conflict, NotFound
from twin.incidents.incident import INCIDENT_SQL, Incident, incident_of
from twin.incidents.raising import close_incidents
from twin.incidents.rule_store import find_rule
from twin.text import Text

Status = Literal["open", "acknowledged", "closed"]


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents; None is all. `status` "open" takes acknowledged ones too, which are not over."""

    kind: str | None = None
    status: Collection[str] | None = None
    severity: Collection[str] | None = None
    layers: Collection[str] | None = None
    box: tuple[float, float, float, float] | None = None
    start: datetime | None = None
    end: datetime | None = None
    # Those before this one, in the order of the list.
    before: tuple[datetime, int] | None = None


LIST_SQL = f"""
{INCIDENT_SQL}
WHERE i.layers <@ $1::text[]
    AND ($2::text IS NULL OR i.kind = $2)
    AND ($3::text[] IS NULL OR i.status = ANY($3))
    AND ($4::text[] IS NULL OR i.severity = ANY($4))
    AND ($5::text[] IS NULL OR i.layers && $5)
    AND ($6::float8 IS NULL OR i.geom && ST_MakeEnvelope($6, $7, $8, $9, 4326))
    AND ($10::timestamptz IS NULL OR coalesce(i.closed_at, 'infinity') >= $10)
    AND ($11::timestamptz IS NULL OR i.opened_at <= $11)
    AND ($12::timestamptz IS NULL OR (i.opened_at, i.id) < ($12, $13::int8))
ORDER BY i.opened_at DESC, i.id DESC LIMIT $14
"""  # a statement of ours

LAYERS_SQL = "SELECT a.name || '.' || l.name AS id FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id"

HISTORY_SQL = """
SELECT id, at, what, by, note, data::text AS data FROM live.incident_event WHERE incident_id = $1 ORDER BY id LIMIT 1000
"""

ACKNOWLEDGE_SQL = """
UPDATE live.incident SET status = 'acknowledged', acknowledged_at = $2, acknowledged_by = $3,
    changed = pg_current_xact_id()
WHERE id = $1 AND status = 'open'
"""

CLOSE_SQL = """
UPDATE live.incident SET status = 'closed', closed_at = $2, closed_by = $3, changed = pg_current_xact_id()
WHERE id = $1 AND status <> 'closed'
"""

NOTE_SQL = "INSERT INTO live.incident_event (incident_id, at, what, by, note) VALUES ($1, $2, $3, $4, $5)"


async def list_incidents(
    connection: asyncpg.Connection, readable: Collection[str], wanted: IncidentFilter, limit: int
) -> list[Incident]:
    """Return incidents of layers that may be read, the newest first."""
    box: Sequence[float | None] = wanted.box or (None, None, None, None)
    time, number = wanted.before or (None, None)
    rows = await connection.fetch(
        LIST_SQL, list(readable), wanted.kind, _listed(wanted.status), _listed(wanted.severity),
        _listed(wanted.layers), *box, wanted.start, wanted.end, time, number, limit,
    )  # fmt: skip
    return [incident_of(row) for row in rows]


async def every_layer(connection: asyncpg.Connection) -> list[str]:
    """Return the ids of all layers, for an operator at the database itself."""
    return [row["id"] for row in await connection.fetch(LAYERS_SQL)]


async def find_incident(connection: asyncpg.Connection, readable: Collection[str] | None, key: int) -> Incident:
    """Return an incident; NotFound if there is none, or if one of its layers may not be read. None reads all."""
    row = await connection.fetchrow(INCIDENT_SQL + " WHERE i.id = $1", key)
    if row is None or (readable is not None and not set(row["layers"]) <= set(readable)):
        raise NotFound(Text(en="There is no incident {id}.", vi="Không có sự việc {id}.").format(id=key))
    return incident_of(row)


async def history(connection: asyncpg.Connection, key: int) -> list[Mapping[str, Any]]:
    """Return what became of an incident, in order: `id`, `at`, `what`, `by`, `note`, `data`."""
    rows = await connection.fetch(HISTORY_SQL, key)
    return [{**dict(row), "data": orjson.loads(row["data"])} for row in rows]


async def acknowledge(connection: asyncpg.Connection, incident: Incident, by: str, note: str) -> None:
    """Say that somebody looks after an incident; Conflict if it is not open any more."""
    now = datetime.now(UTC)
    async with connection.transaction():
        done = await connection.execute(ACKNOWLEDGE_SQL, incident.id, now, by)
        if done.endswith(" 0"):
            raise Conflict(
                Text(en="The incident {id} is {status} already.", vi="Sự việc {id} đã ở trạng thái {status}.").format(
                    id=incident.id, status="closed" if incident.status == "closed" else "acknowledged"
                )
            )
        await connection.execute(NOTE_SQL, incident.id, now, "acknowledged", by, note)


async def close(connection: asyncpg.Connection, incident: Incident, by: str, note: str) -> None:
    """Close an incident; Conflict if it is closed. Its rule stays quiet about it until its condition is over."""
    now = datetime.now(UTC)
    async with connection.transaction():
        row = await connection.fetchrow(
            "SELECT status, rule_id FROM live.incident WHERE id = $1 FOR UPDATE", incident.id
        )
        if row["status"] == "closed":
            raise Conflict(
                Text(en="The incident {id} is closed already.", vi="Sự việc {id} đã đóng.").format(id=incident.id)
            )
        if row["rule_id"] is not None:
            kept = await find_rule(connection, row["rule_id"], removed=True)
            rules = {kept.key: kept.stored}
            await close_incidents(connection, [incident.id], now, rules, by, note, storms=True)
        else:
            await connection.execute(CLOSE_SQL, incident.id, now, by)
            await connection.execute(NOTE_SQL, incident.id, now, "closed", by, note)


def _listed(given: Collection[str] | None) -> list[str] | None:
    return None if given is None else list(given)

"""Opening and closing the incidents of rules, in the caller's transaction: at most one open for a rule and subject.

What is to be sent is stored beside them. A rule that would open too many in a minute opens one that counts the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson

from twin.incidents.conditions import PairState, Phase
from twin.incidents.incident import INCIDENT_SQL, incident_of
from twin.incidents.rule_book import StoredRule
from twin.text import Text

PLACE_SUBJECT, STORM_SUBJECT = 0, -1
STORM = Text(
    en="{count:,} more alerts of the rule “{rule}” within a minute",
    vi="Thêm {count:,} cảnh báo của quy tắc “{rule}” trong một phút",
)
BY_RULE = "rule"

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Raised:
    """A rule that is raised for a stream, or (subject 0) for its place, with all that its incident tells."""

    rule: StoredRule
    subject: int
    layers: Sequence[str]
    title: Text
    text: Text
    began: datetime
    value: float | None = None
    unit: str | None = None
    longitude: float | None = None
    latitude: float | None = None
    cell: int | None = None
    feature_layer: str | None = None
    feature_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


# In the order of their ids, so that two writers cannot wait for each other.
LOCK_SQL = """
SELECT id, version FROM live.alert_rule
WHERE id = ANY($1::int4[]) AND removed_at IS NULL AND enabled ORDER BY id FOR UPDATE
"""

# After the lock, in a statement of its own: so it sees what the last one who held it opened.
RECENT_SQL = """
SELECT rule_id, count(*) AS recent FROM live.incident
WHERE rule_id = ANY($1::int4[]) AND opened_at > $2 AND subject >= 0 GROUP BY rule_id
"""

OPEN_SQL = """
INSERT INTO live.incident AS i (severity, agency_id, layers, title_vi, title_en, text_vi, text_en, geom, cell,
    feature_layer, feature_id, rule_id, rule_version, subject, value, unit, count, properties, began_at, opened_at,
    opened_by)
VALUES ($1, $2, $3, $4, $5, $6, $7,
    CASE WHEN $8::float8 IS NOT NULL THEN ST_SetSRID(ST_MakePoint($8, $9), 4326) END, $10, $11, $12, $13, $14, $15,
    $16, $17, $18, $19::jsonb, $20, $21, 'rule')
ON CONFLICT (rule_id, subject) WHERE status <> 'closed' DO UPDATE
    SET count = i.count + CASE WHEN i.subject = -1 THEN excluded.count ELSE 0 END
RETURNING id, count, (xmax = 0) AS is_new
"""

EVENT_SQL = """
INSERT INTO live.incident_event (incident_id, at, what, by, data, note) VALUES ($1, $2, $3, $4, $5::jsonb, $6)
RETURNING id
"""

MORE_SQL = """
UPDATE live.incident SET title_vi = $2, title_en = $3, layers = ARRAY(SELECT DISTINCT unnest(layers || $4::text[])),
    changed = pg_current_xact_id()
WHERE id = $1
"""

CLOSE_SQL = """
UPDATE live.incident SET status = 'closed', closed_at = $2, closed_by = $3, changed = pg_current_xact_id()
WHERE id = ANY($1::int8[]) AND status <> 'closed' AND (subject >= 0 OR $4) RETURNING id, rule_id
"""

# An incident that stands for many is over when none of them is left.
EMPTY_STORM_SQL = """
SELECT i.id FROM live.incident i WHERE i.id = ANY($1::int8[]) AND i.status <> 'closed'
AND NOT EXISTS (SELECT FROM live.rule_state s WHERE s.incident_id = i.id) ORDER BY i.id
"""

DELIVERY_SQL = """
INSERT INTO live.delivery (event_id, incident_id, rule_id, channel, target, body, created_at, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING
"""

STATES_SQL = """
SELECT rule_id, stream, phase, since, clear_since, time, base, incident_id FROM live.rule_state
WHERE stream = ANY($1::int4[]) AND rule_id = ANY($2::int4[]) ORDER BY rule_id, stream FOR UPDATE
"""

KEEP_SQL = """
INSERT INTO live.rule_state (rule_id, stream, phase, since, clear_since, time, base, incident_id)
SELECT * FROM unnest($1::int4[], $2::int4[], $3::int2[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::float8[], $8::int8[])
ON CONFLICT (rule_id, stream) DO UPDATE SET phase = excluded.phase, since = excluded.since,
    clear_since = excluded.clear_since, time = excluded.time, base = excluded.base, incident_id = excluded.incident_id
"""

FORGET_SQL = """
DELETE FROM live.rule_state s USING unnest($1::int4[], $2::int4[]) AS d (rule_id, stream)
WHERE s.rule_id = d.rule_id AND s.stream = d.stream
"""


async def read_states(
    connection: asyncpg.Connection, streams: Sequence[int], rules: Sequence[int]
) -> dict[Key, PairState]:
    """Read and lock the states of rules with streams, as far as they are not idle."""
    return {
        (row["rule_id"], row["stream"]): PairState(
            row["time"], Phase(row["phase"]), row["since"], row["clear_since"], row["base"], row["incident_id"]
        )
        for row in await connection.fetch(STATES_SQL, streams, rules)
    }


async def keep_states(connection: asyncpg.Connection, states: Mapping[Key, PairState]) -> None:
    """Store states; those that are idle and remember nothing are removed."""
    idle = [key for key, s in states.items() if s.phase is Phase.IDLE and s.base is None]
    if idle:
        await connection.execute(FORGET_SQL, [rule for rule, _ in idle], [stream for _, stream in idle])
    kept = sorted((key, s) for key, s in states.items() if s.phase is not Phase.IDLE or s.base is not None)
    if kept:
        await connection.execute(
            KEEP_SQL, [key[0] for key, _ in kept], [key[1] for key, _ in kept], [int(s.phase) for _, s in kept],
            [s.since for _, s in kept], [s.clear_since for _, s in kept], [s.time for _, s in kept],
            [s.base for _, s in kept], [s.incident for _, s in kept],
        )  # fmt: skip


async def open_incidents(
    connection: asyncpg.Connection, raised: Sequence[Raised], received: datetime
) -> dict[Key, int] | None:
    """Open the incidents of what was raised, or find the one that is open; return their ids by rule and subject.

    None if one of the rules is another one by now, or gone: then its pairs must be looked at anew.
    """
    rules = {r.rule.key: r.rule for r in raised}
    versions = dict(await connection.fetch(LOCK_SQL, list(rules)))
    if any(versions.get(key) != rule.version for key, rule in rules.items()):
        return None
    recent = dict(await connection.fetch(RECENT_SQL, list(rules), received - timedelta(minutes=1)))
    room = {key: rule.definition.most_per_minute - recent.get(key, 0) for key, rule in rules.items()}
    opened: dict[Key, int] = {}
    rest: dict[int, list[Raised]] = {}
    for one in raised:
        if room[one.rule.key] <= 0:
            rest.setdefault(one.rule.key, []).append(one)
            continue
        incident, is_new, _ = await _insert(connection, one, 1, received)
        opened[one.rule.key, one.subject] = incident
        if is_new:
            room[one.rule.key] -= 1
            await _tell(connection, one.rule, incident, "opened", received, {})
    for many in rest.values():
        incident = await _count_in_one(connection, many, received)
        opened |= {(one.rule.key, one.subject): incident for one in many}
    return opened


async def close_incidents(
    connection: asyncpg.Connection, incidents: Sequence[int], moment: datetime, rules: Mapping[int, StoredRule],
    by: str = BY_RULE, note: str = "", storms: bool = False,
) -> None:  # fmt: skip
    """Close those of some incidents that are not closed yet, and store what is to be sent of it.

    One that stands for many is left open unless `storms` says that it is over too.
    """
    for row in await connection.fetch(CLOSE_SQL, sorted(incidents), moment, by, storms):
        rule = rules.get(row["rule_id"])
        if rule is not None:
            await _tell(connection, rule, row["id"], "closed", moment, {}, by, note)


async def close_empty_storms(
    connection: asyncpg.Connection, incidents: Sequence[int], moment: datetime, rules: Mapping[int, StoredRule]
) -> None:
    """Close those of some incidents that no raised pair belongs to any more; call it after `keep_states`."""
    if incidents:
        over = [row["id"] for row in await connection.fetch(EMPTY_STORM_SQL, sorted(incidents))]
        await close_incidents(connection, over, moment, rules, storms=True)


async def _count_in_one(connection: asyncpg.Connection, many: Sequence[Raised], received: datetime) -> int:
    """Count what is above a rule's limit a minute in one incident of its own; return its id."""
    rule = many[0].rule
    layers = sorted({layer for one in many for layer in one.layers})
    storm = Raised(rule, STORM_SUBJECT, layers, _storm_title(rule, len(many)), Text(en="", vi=""), many[0].began)
    incident, is_new, count = await _insert(connection, storm, len(many), received)
    if is_new:
        await _tell(connection, rule, incident, "opened", received, {"count": count})
    else:
        title = _storm_title(rule, count)
        await connection.execute(MORE_SQL, incident, title.vi, title.en, layers)
        data = orjson.dumps({"count": len(many)}).decode()
        await connection.fetchval(EVENT_SQL, incident, received, "more", BY_RULE, data, "")
    return incident


def _storm_title(rule: StoredRule, count: int) -> Text:
    return STORM.format(count=count, rule=rule.definition.name)


async def _insert(connection: asyncpg.Connection, one: Raised, count: int, received: datetime) -> tuple[int, bool, int]:
    definition = one.rule.definition
    row = await connection.fetchrow(
        OPEN_SQL, definition.severity, one.rule.agency_id, list(one.layers), one.title.vi, one.title.en, one.text.vi,
        one.text.en, one.longitude, one.latitude, one.cell, one.feature_layer, one.feature_id, one.rule.key,
        one.rule.version, one.subject, one.value, one.unit, count,
        orjson.dumps({"rule": definition.name, **one.properties}).decode(), one.began, received,
    )  # fmt: skip
    return row["id"], row["is_new"], row["count"]


async def _tell(
    connection: asyncpg.Connection, rule: StoredRule, incident: int, what: str, moment: datetime,
    data: Mapping[str, Any], by: str = BY_RULE, note: str = "",
) -> None:  # fmt: skip
    """Write what happened into the history, and what is to be sent into the outbox."""
    event: int = await connection.fetchval(EVENT_SQL, incident, moment, what, by, orjson.dumps(data).decode(), note)
    definition = rule.definition
    targets = [("email", address) for address in definition.emails]
    if definition.webhook:
        targets.append(("webhook", definition.webhook))
    if not targets or (what == "closed" and not definition.send_closed):
        return
    found = incident_of(await connection.fetchrow(INCIDENT_SQL + " WHERE i.id = $1", incident))
    body = orjson.dumps({"event": f"incident.{what}", "id": event, "incident": found.as_dict()}).decode()
    for channel, target in targets:
        await connection.execute(DELIVERY_SQL, event, incident, rule.key, channel, target, body, moment)

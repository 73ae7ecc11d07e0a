"""The rules in the database: kept by agency and name, changed by replacing them, removed without losing their past."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from twin.errors import Conflict, NotFound
from twin.incidents.raising import close_incidents
from twin.incidents.rule_book import StoredRule
from twin.incidents.rules import AlertRule
from twin.text import Text

MOST_RULES = 2_000
CHANGED = Text(en="the rule was changed", vi="quy tắc đã thay đổi")
REMOVED = Text(en="the rule was removed", vi="quy tắc đã bị xóa")


@dataclass(frozen=True, slots=True)
class KeptRule:
    """A rule with what the database knows beside its definition."""

    stored: StoredRule
    changed: datetime
    changed_by: str

    @property
    def key(self) -> int:
        """The id in the API."""
        return self.stored.key


ONE_SQL = """
SELECT r.id, r.version, r.agency_id, r.every_agency, r.definition::text AS definition, r.changed_at, r.changed_by,
    a.name AS agency
FROM live.alert_rule r JOIN twin.agency a ON a.id = r.agency_id
WHERE ($1 OR r.removed_at IS NULL)
"""

INSERT_SQL = """
INSERT INTO live.alert_rule (agency_id, name, definition, enabled, every_agency, secret, changed_by)
SELECT a.id, $2, $3::jsonb, $4, $5, $6, $7 FROM twin.agency a WHERE a.name = $1
RETURNING id
"""

# The one that is given takes the place of the old one; the secret stays.
UPDATE_SQL = """
UPDATE live.alert_rule SET name = $2, definition = $3::jsonb, enabled = $4, every_agency = $5, changed_by = $6,
    changed_at = now(), version = version + 1
WHERE id = $1
"""

REMOVE_SQL = """
UPDATE live.alert_rule SET removed_at = now(), changed_at = now(), changed_by = $2, version = version + 1 WHERE id = $1
"""


async def list_rules(connection: asyncpg.Connection, agency: str | None = None) -> list[KeptRule]:
    """Return the rules of an agency, or of all, by their ids."""
    condition = " AND ($2::text IS NULL OR a.name = $2) ORDER BY r.id"
    return [_kept(row) for row in await connection.fetch(ONE_SQL + condition, False, agency)]


async def find_rule(connection: asyncpg.Connection, key: int, *, removed: bool = False) -> KeptRule:
    """Return a rule, one that was removed only if that is asked for; NotFound if there is none."""
    row = await connection.fetchrow(ONE_SQL + " AND r.id = $2", removed, key)
    if row is None:
        raise no_rule(key)
    return _kept(row)


def no_rule(key: int) -> NotFound:
    """Return what is said of a rule that does not exist, or not for this reader."""
    return NotFound(Text(en="There is no alert rule {id}.", vi="Không có quy tắc cảnh báo {id}.").format(id=key))


async def add_rule(
    connection: asyncpg.Connection, rule: AlertRule, by: str, *, every_agency: bool = False
) -> tuple[int, str]:
    """Store a new rule; return its id and its secret, which is not shown again."""
    secret = secrets.token_urlsafe(32)
    async with connection.transaction():
        count = await connection.fetchval(
            "SELECT count(*) FROM live.alert_rule r JOIN twin.agency a ON a.id = r.agency_id "
            "WHERE a.name = $1 AND r.removed_at IS NULL", rule.agency,
        )  # fmt: skip
        if count >= MOST_RULES:
            raise Conflict(
                Text(en="The agency has {n:,} rules, which is the limit.", vi="Đơn vị đã có {n:,} quy tắc, là tối đa.")
                .format(n=count)
            )  # fmt: skip
        try:
            async with connection.transaction():
                key = await connection.fetchval(
                    INSERT_SQL, rule.agency, rule.name, rule.definition(), rule.enabled, every_agency, secret, by
                )
        except asyncpg.UniqueViolationError:
            raise _taken(rule) from None
        if key is None:
            raise NotFound(
                Text(en="There is no agency “{name}”.", vi="Không có đơn vị “{name}”.").format(name=rule.agency)
            )
    return key, secret


async def replace_rule(
    connection: asyncpg.Connection, kept: KeptRule, rule: AlertRule, by: str, *, every_agency: bool = False
) -> bool:
    """Put another definition in the place of a rule's; its open incidents end. False if it is the same."""
    if rule == kept.stored.definition and every_agency == kept.stored.every_agency:
        return False
    async with connection.transaction():
        await _end(connection, kept, by, CHANGED)
        try:
            async with connection.transaction():
                await connection.execute(
                    UPDATE_SQL, kept.key, rule.name, rule.definition(), rule.enabled, every_agency, by
                )
        except asyncpg.UniqueViolationError:
            raise _taken(rule) from None
    return True


async def remove_rule(connection: asyncpg.Connection, kept: KeptRule, by: str) -> None:
    """Remove a rule; its open incidents end, and the past ones stay."""
    async with connection.transaction():
        await _end(connection, kept, by, REMOVED)
        await connection.execute(REMOVE_SQL, kept.key, by)


async def put_rule(
    connection: asyncpg.Connection, rule: AlertRule, by: str, *, every_agency: bool = False
) -> tuple[str, str | None]:
    """Store a rule of a file by its agency and name; return "new", "changed" or "same", and a new one's secret."""
    row = await connection.fetchrow(ONE_SQL + " AND a.name = $2 AND r.name = $3", False, rule.agency, rule.name)
    if row is None:
        _, secret = await add_rule(connection, rule, by, every_agency=every_agency)
        return "new", secret
    changed = await replace_rule(connection, _kept(row), rule, by, every_agency=every_agency)
    return ("changed" if changed else "same"), None


async def _end(connection: asyncpg.Connection, kept: KeptRule, by: str, note: Text) -> None:
    # States before the rule, as the writers of values lock them.
    await connection.execute("DELETE FROM live.rule_state WHERE rule_id = $1", kept.key)
    await connection.execute("SELECT FROM live.alert_rule WHERE id = $1 FOR UPDATE", kept.key)
    rows = await connection.fetch("SELECT id FROM live.incident WHERE rule_id = $1 AND status <> 'closed'", kept.key)
    await close_incidents(
        connection, [row["id"] for row in rows], datetime.now(UTC), {kept.key: kept.stored}, by, note.stored(),
        storms=True,
    )  # fmt: skip
    # One that was written between the two statements above.
    await connection.execute("DELETE FROM live.rule_state WHERE rule_id = $1", kept.key)


def _taken(rule: AlertRule) -> Conflict:
    return Conflict(
        Text(
            en="“{agency}” has a rule “{name}” already. Change that one, or choose another name.",
            vi="“{agency}” đã có quy tắc “{name}”. Hãy sửa quy tắc đó hoặc chọn tên khác.",
        ).format(agency=rule.agency, name=rule.name)
    )


def _kept(row: Mapping[str, Any]) -> KeptRule:
    stored = StoredRule(
        row["id"], row["version"], row["agency_id"], row["every_agency"],
        AlertRule.model_validate_json(row["definition"]),
    )  # fmt: skip
    return KeptRule(stored, row["changed_at"], row["changed_by"])

"""The versions of a layer: when, why, how many features changed; from which file, for those who may know."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from tiles.http.server import CityContext
from twin.access.permit import Permit, same_key
from twin.access.policy import may_see_history
from twin.access.principals import Principal
from twin.catalogue.catalogue import Version
from twin.catalogue.differences import counts_sql

log = logging.getLogger("twin.catalogue.catalogue")

RECORD_SQL = """
SELECT id, reason, source, source_sha256, created_by, tool_version FROM twin.layer_version WHERE id = ANY($1::int[])
"""
# What a page waits for at most, until it goes without.
COUNT_SECONDS = 2.0
CACHED_CHANGES = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """Where a version's data came from."""

    source: str
    sha256: str | None
    by: str
    tool: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many features differ from the version before."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class Step:
    """One kept version. `record` is there for those who may see it, `counts` where there is a version before it."""

    permit: Permit
    reason: str
    record: Record | None
    counts: Counts | None

    @property
    def version(self) -> Version:
        """The version itself."""
        return self.permit.version


class Changes:
    """The counts of what changed between versions: they never change, so they are counted once."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[int, int, str], Counts | None] = OrderedDict()

    async def between(self, city: CityContext, before: Permit, after: Permit) -> Counts | None:
        """Count what changed of what may be shown; None if that takes too long or a number is too small to be shown."""
        pair = (before.version.key, after.version.key, same_key((before, after)))
        if pair in self._found:
            return self._found[pair]
        shown = {column.name for column in before.columns} & {column.name for column in after.columns}
        statement = counts_sql(before.version, after.version, sorted(shown) if pair[2] else None)
        async with city.connection(asking=True) as connection:
            try:
                async with asyncio.timeout(COUNT_SECONDS):
                    row = dict(await connection.fetchrow(statement))
            except (TimeoutError, asyncpg.QueryCanceledError):
                log.info("what changed to %s takes too long to count", after.version.table)
                row = None
            except asyncpg.UndefinedTableError:
                # Retired a moment ago.
                return None
        complete = row is not None and all(after.count(number) is not None for number in row.values())
        found = Counts(**row) if row is not None and complete else None
        self._found[pair] = found
        if len(self._found) > CACHED_CHANGES:
            self._found.popitem(last=False)
        return found


async def history(
    city: CityContext, changes: Changes, reader: Principal, permit: Permit, *, counted: bool
) -> Sequence[Step]:
    """Return the kept versions, the newest first."""
    versions = permit.of_every_version()
    async with city.connection() as connection:
        rows = {row["id"]: row for row in await connection.fetch(RECORD_SQL, [v.version.key for v in versions])}
    known = may_see_history(reader, permit.layer)
    steps = []
    for version, before in zip(versions, [*versions[1:], None], strict=True):
        row = rows.get(version.version.key)
        counts = await changes.between(city, before, version) if counted and before is not None else None
        steps.append(Step(version, row["reason"] if row else "", _record(row) if known and row else None, counts))
    return steps


def _record(row: Any) -> Record:
    return Record(row["source"], row["source_sha256"], row["created_by"], row["tool_version"])

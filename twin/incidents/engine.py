"""The evaluation of rules on single streams, inside the transaction of the observations."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import asyncpg

from twin.incidents.conditions import Change, PairState
from twin.incidents.evaluation import Key, Outcome, Rates, Turn, evaluate
from twin.incidents.raising import (
    Raised,
    close_empty_storms,
    close_incidents,
    keep_states,
    open_incidents,
    read_states,
)
from twin.incidents.rule_book import STAMP_SQL, Grades, RuleBook, StoredRule, Test, read_book
from twin.incidents.rules import SEVERITIES
from twin.incidents.words import words_of
from twin.streams.entry import StreamEntry
from twin.streams.writer import Observation

log = logging.getLogger("twin.alerts")

# How often it is asked whether the rules are others, and when they are read again anyway: scales change with the date.
STAMP_SECONDS = 1.0
BOOK_SECONDS = 3600.0

# The oldest good value inside the window before each observation.
RATES_SQL = """
SELECT i.stream, i.time, i.seconds, (i.value - o.value) / extract(epoch FROM i.time - o.time) * 3600 AS rate
FROM unnest($1::int4[], $2::timestamptz[], $3::float8[], $4::float8[]) AS i (stream, time, value, seconds), LATERAL (
    SELECT p.time, p.value FROM live.observation p
    WHERE p.stream = i.stream AND p.time >= i.time - make_interval(secs => i.seconds) AND p.time < i.time
        AND p.flag = 0 AND p.value IS NOT NULL
    ORDER BY p.time LIMIT 1
) o
WHERE extract(epoch FROM i.time - o.time) * 2 >= i.seconds
"""

# What is wrong with the database and not with the rules: the whole batch is tried again.
DATABASE_FAULTS = (
    OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.TransactionRollbackError,
    asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError, asyncpg.LockNotAvailableError,
)  # fmt: skip


class AlertEngine:
    """Knows the rules, and applies those on single streams to batches; handed to a StreamWriter."""

    def __init__(self, grades: Grades, zone: tzinfo) -> None:
        self.grades = grades
        self.zone = zone
        self.book = RuleBook()
        self._unknown: frozenset[int] = frozenset()
        self._looked = self._read = float("-inf")

    def forget(self) -> None:
        """Read the rules and streams again before the next batch: streams were declared or changed."""
        self._read = self._looked = float("-inf")

    async def refresh(self, connection: asyncpg.Connection, moment: datetime, streams: frozenset[int]) -> None:
        """Read the rules again if they are others, or if there are streams that the book does not know."""
        now = time.monotonic()
        book = self.book
        strange = bool(book.entries) and not (streams - self._unknown) <= book.entries.keys()
        if now - self._looked < STAMP_SECONDS and not strange:
            return
        self._looked = now
        if not strange and now - self._read < BOOK_SECONDS and await connection.fetchval(STAMP_SQL) == book.stamp:
            return
        self.book = await read_book(connection, self.grades, moment)
        self._read = now
        self._unknown = streams - self.book.entries.keys()

    async def apply(
        self,
        connection: asyncpg.Connection,
        batch: Sequence[Observation],
        before: Mapping[int, Mapping[str, Any]],
        received: datetime,
    ) -> None:
        """Apply the rules to a batch that was just stored; `before` has the latest values that were there before it."""
        await self.refresh(connection, received, frozenset(o.stream for o in batch))
        # Another batch may read the rules again meanwhile: this one keeps to these.
        book = self.book
        pairs_of = book.by_stream
        if not pairs_of:
            return
        concerned = [o for o in batch if o.stream in pairs_of and not _is_late(o, before)]
        if not concerned:
            return
        rates = await self._rates(connection, book, concerned)
        try:
            outcome, states = await self._evaluate(connection, book, concerned, rates, received)
            if outcome.changed and (overtaken := await _overtaken(connection, concerned)):
                # Another writer was faster with newer values of some streams.
                concerned = [o for o in concerned if o.stream not in overtaken]
                outcome, states = await self._evaluate(connection, book, concerned, rates, received)
            if outcome.changed:
                # A fault of a rule must not cost the values.
                async with connection.transaction():
                    await self._store(connection, book, outcome, states, received)
        except DATABASE_FAULTS:
            raise
        except Exception:
            log.exception("rules could not be applied to %d values", len(concerned))

    async def _evaluate(
        self, connection: asyncpg.Connection, book: RuleBook, concerned: Sequence[Observation], rates: Rates,
        received: datetime,
    ) -> tuple[Outcome, dict[Key, PairState]]:  # fmt: skip
        states = await read_states(connection, list({o.stream for o in concerned}), book.on_streams)
        return evaluate(book.by_stream, concerned, states, rates, self.grades, received), states

    async def _rates(
        self, connection: asyncpg.Connection, book: RuleBook, concerned: Sequence[Observation]
    ) -> dict[tuple[int, datetime, float], float]:
        asked = {
            (o.stream, o.time, pair.window): o.value
            for o in concerned if o.value is not None and not o.flag
            for pair in book.by_stream[o.stream].others if pair.test is Test.RATE
        }  # fmt: skip
        if not asked:
            return {}
        rows = await connection.fetch(
            RATES_SQL, [key[0] for key in asked], [key[1] for key in asked], list(asked.values()),
            [key[2] for key in asked],
        )  # fmt: skip
        return {(row["stream"], row["time"], row["seconds"]): float(row["rate"]) for row in rows}

    async def _store(
        self, connection: asyncpg.Connection, book: RuleBook, outcome: Outcome, states: dict[Key, PairState],
        received: datetime,
    ) -> None:  # fmt: skip
        changed = {key: states[key] for key in outcome.changed}
        left: set[int] = set()
        # The turns of a pair alternate; those of all pairs are taken in rounds, so that most need one.
        for turns in _rounds(outcome.turns):
            raised = [self.raised(turn) for turn in turns if turn.change is Change.OPEN]
            if raised and not await self._open(connection, raised, states, changed, received):
                return
            over = [states[_key(turn)] for turn in turns if turn.change is Change.CLOSE]
            closing = {state.incident for state in over if state.incident is not None}
            for state in over:
                state.incident = None
            await close_incidents(connection, list(closing), received, book.rules)
            left |= closing
        await keep_states(connection, changed)
        await close_empty_storms(connection, list(left), received, book.rules)

    async def _open(
        self, connection: asyncpg.Connection, raised: Sequence[Raised], states: dict[Key, PairState],
        changed: dict[Key, PairState], received: datetime,
    ) -> bool:  # fmt: skip
        opened = await open_incidents(connection, raised, received)
        if opened is None:
            # The rules are others by now. Their next values open what has to be opened.
            self.forget()
            return False
        for key, incident in opened.items():
            states[key].incident = incident
            changed[key] = states[key]
        return True

    def raised(self, turn: Turn) -> Raised:
        """Return all that is told of a rule that an observation raised."""
        pair = turn.pair
        return raise_stream(pair.rule, pair.entry, turn.time, turn.value, pair.limit, self.grades, self.zone)


def raise_stream(
    rule: StoredRule, entry: StreamEntry, moment: datetime, value: float | None, limit: float | None, grades: Grades,
    zone: tzinfo,
) -> Raised:  # fmt: skip
    """Return all that is told of a rule that is raised for one stream."""
    words = words_of(entry, value, limit, moment, grades, zone)
    definition = rule.definition
    text = definition.text.fill(words) if definition.text else SEVERITIES[definition.severity]
    return Raised(
        rule, entry.key, (entry.layer,), definition.title.fill(words), text, moment, value, entry.unit,
        entry.longitude, entry.latitude, entry.cell, entry.layer if entry.feature else None, entry.feature,
        {"stream": entry.code, "basis": entry.basis},
    )  # fmt: skip


def _is_late(o: Observation, before: Mapping[int, Mapping[str, Any]]) -> bool:
    """Tell whether a value is older than the latest one was, or is that one again."""
    last = before.get(o.stream)
    return last is not None and (o.time < last["time"] or (o.time == last["time"] and o.value == last["value"]))


async def _overtaken(connection: asyncpg.Connection, batch: Sequence[Observation]) -> set[int]:
    """Return the streams that have a newer value than those of a batch. Their rows are locked by our own write."""
    newest: dict[int, datetime] = {}
    for o in batch:
        newest[o.stream] = max(o.time, newest.get(o.stream, o.time))
    rows = await connection.fetch("SELECT stream, time FROM live.latest WHERE stream = ANY($1::int4[])", list(newest))
    return {row["stream"] for row in rows if row["time"] > newest[row["stream"]]}


def _key(turn: Turn) -> Key:
    return turn.pair.rule.key, turn.pair.entry.key


def _rounds(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Part turns so that each part has one of a pair at most, in their order."""
    rounds: list[list[Turn]] = []
    seen: dict[Key, int] = {}
    for turn in turns:
        number = seen.get(_key(turn), 0)
        seen[_key(turn)] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(turn)
    return rounds

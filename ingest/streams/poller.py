"""Pollers: ask addresses for values every so often, and write what they answer.

What goes wrong is counted in live.unread_message and told in the log; it stops neither the poller nor the others.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import asyncpg
import httpx

from ingest.streams.consumer import PASSING, UNREAD_SQL, persist
from ingest.streams.json_records import records_of, values_of
from ingest.streams.poller_spec import PollerSpec
from ingest.streams.vehicles import VehicleFeed
from twin import __version__
from twin.errors import BadInput, NotFound, SetupProblem, TwinError, Unavailable
from twin.streams.reading import read_observation
from twin.streams.writer import Observation, StreamWriter, Written
from twin.text import Text, speaking

log = logging.getLogger("twin.streams")

# An address that fails is polled less often, up to this.
LONGEST_PAUSE = 600.0


@dataclass(slots=True)
class PollCounts:
    """What became of a poller's requests and of the records in their answers."""

    polls: int = 0
    unchanged: int = 0
    failed: int = 0
    unread: int = 0
    alerts: int = 0
    positions: int = 0
    written: Written = field(default_factory=Written)


@dataclass(slots=True)
class Unread:
    """Records of one answer that could not be read: how many for each reason, with an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, error: TwinError) -> None:
        """Count one."""
        with speaking("en"):
            reason = type(error).__name__
            self.counts[reason] += 1
            self.examples.setdefault(reason, str(error)[:400].replace("\0", "·"))


class Feed(Protocol):
    """Writes the content of answers of one form."""

    async def store(
        self, connection: asyncpg.Connection, content: bytes, received: datetime, counts: PollCounts, unread: Unread
    ) -> None:
        """Write the values of an answer; raise BadInput for one that cannot be read at all."""

    def forget(self) -> None:
        """Forget what was written last: the transaction was undone."""


class JsonFeed:
    """Reads records by the mapping of a poller."""

    def __init__(self, spec: PollerSpec, writer: StreamWriter) -> None:
        self._spec = spec
        self._writer = writer

    async def store(
        self, connection: asyncpg.Connection, content: bytes, received: datetime, counts: PollCounts, unread: Unread
    ) -> None:
        """Write the values of a document."""
        observations: list[Observation] = []
        for record in records_of(content, self._spec):
            try:
                for code, given in values_of(record, self._spec):
                    stream = await self._writer.directory.look_up_code(connection, self._spec.agency, code)
                    # A poller writes the streams of its layer alone.
                    if stream is None or stream.layer != self._spec.layer:
                        raise NotFound(
                            Text(
                                en="The layer {layer} has no stream “{code}”.",
                                vi="Lớp {layer} không có luồng “{code}”.",
                            ).format(layer=self._spec.layer, code=code[:100])
                        )
                    observations.append(read_observation(stream.key, given, received))
            except TwinError as error:
                unread.add(error)
        counts.written.add(await self._writer.write(connection, observations, f"poller {self._spec.name}"))

    def forget(self) -> None:
        """Forget nothing: each document stands for itself."""


class Poller:
    """Asks one address.

    Raises
    ------
    SetupProblem
        If an environment variable of its headers is not set.
    """

    def __init__(self, spec: PollerSpec, writer: StreamWriter, environment: Mapping[str, str] = os.environ) -> None:
        self.spec = spec
        self.counts = PollCounts()
        self._feed: Feed = VehicleFeed(spec, writer) if spec.type == "gtfs-rt" else JsonFeed(spec, writer)
        self._headers = {"User-Agent": f"city-twin/{__version__}"}
        self._known: dict[str, str] = {}
        for name, variable in spec.headers.items():
            if variable not in environment:
                raise SetupProblem(
                    Text(
                        en="The poller {poller} needs the environment variable {variable}.",
                        vi="Poller {poller} cần biến môi trường {variable}.",
                    ).format(poller=spec.name, variable=variable)
                )
            self._headers[name] = environment[variable]

    async def run(self, pool: asyncpg.Pool) -> None:
        """Ask for ever."""
        failures = 0
        async with httpx.AsyncClient(timeout=self.spec.timeout_seconds, follow_redirects=False) as http:
            while True:
                failures = 0 if await self.poll(pool, http) else failures + 1
                pause = self.spec.every_seconds * 2 ** min(failures, 10)
                await asyncio.sleep(max(self.spec.every_seconds, min(pause, LONGEST_PAUSE)))

    async def poll(self, pool: asyncpg.Pool, http: httpx.AsyncClient) -> bool:
        """Ask once and write the answer; tell whether that went well."""
        self.counts.polls += 1
        unread, problem = Unread(), ""
        try:
            async with asyncio.timeout(self.spec.timeout_seconds):
                content = await self._fetch(http)
            if content is not None:
                received = datetime.now(UTC)
                await persist(pool, lambda connection: self._store(connection, content, received, unread))
        except TwinError as error:
            unread.add(error)
            problem = unread.examples[type(error).__name__]
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # The text of such an error may hold the address with a key in it.
            problem = type(error).__name__
            unread.counts["Unavailable"] += 1
            unread.examples["Unavailable"] = problem
        except Exception as error:
            log.exception("the answer to the poller %s cannot be stored", self.spec.name)
            problem = type(error).__name__
            unread.counts["Fault"] += 1
            unread.examples["Fault"] = problem
        if problem:
            self.counts.failed += 1
            self._known.clear()
            log.warning("poller %s: %s", self.spec.name, problem)
        if unread.counts:
            await persist(pool, lambda connection: self._tell(connection, unread))
        return not problem

    async def _fetch(self, http: httpx.AsyncClient) -> bytes | None:
        """Return the answer; None if it is the one that was there before."""
        parts: list[bytes] = []
        size = 0
        async with http.stream("GET", self.spec.address, headers=self._headers | self._known) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                self.counts.unchanged += 1
                return None
            if answer.status_code != httpx.codes.OK:
                raise Unavailable(
                    Text(en="The address answers {status}.", vi="Địa chỉ trả lời {status}.").format(
                        status=answer.status_code
                    )
                )
            async for part in answer.aiter_bytes():
                size += len(part)
                if size > self.spec.most_bytes:
                    raise BadInput(
                        Text(
                            en="The answer is longer than {most:,} bytes (most_bytes).",
                            vi="Trả lời dài hơn {most:,} byte (most_bytes).",
                        ).format(most=self.spec.most_bytes)
                    )
                parts.append(part)
            given = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
            self._known = {name: answer.headers[of] for name, of in given.items() if of in answer.headers}
        return b"".join(parts)

    async def _store(
        self, connection: asyncpg.Connection, content: bytes, received: datetime, unread: Unread
    ) -> None:  # fmt: skip
        # It may be the second try: what the first one counted did not happen.
        unread.counts.clear()
        unread.examples.clear()
        try:
            async with connection.transaction():
                await self._feed.store(connection, content, received, self.counts, unread)
        except BaseException:
            self._feed.forget()
            raise
        self.counts.unread += unread.counts.total()

    async def _tell(self, connection: asyncpg.Connection, unread: Unread) -> None:
        source = f"poller {self.spec.name}"
        for reason, count in unread.counts.items():
            await connection.execute(UNREAD_SQL, source, reason, self.spec.agency, count, unread.examples[reason])


async def run_poller(pool: asyncpg.Pool, poller: Poller) -> None:
    """Run a poller for ever, whatever happens to it."""
    while True:
        try:
            await poller.run(pool)
        except PASSING as error:
            log.warning("poller %s: %s", poller.spec.name, type(error).__name__)
        except Exception:
            log.exception("poller %s failed; it is tried again", poller.spec.name)
        await asyncio.sleep(poller.spec.every_seconds)

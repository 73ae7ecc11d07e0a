"""Filters are parsed off the event loop: what may take long in a process of its own, with a time limit.

The library's parser holds Python's lock, so that a thread would not do: the whole server would wait for each filter.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import orjson
from cachetools import LRUCache

from tiles.http.clients import Shares
from twin.errors import BadInput, Unavailable
from twin.query.cql2 import Tree, check_text, read_json, read_text, refuse
from twin.text import Text

# A text of so little work for the parser takes it at most about two milliseconds.
LITTLE_WORK = 8_000
# The longest text that is read at all takes about a fifth of a second.
SECONDS = 2.0
# An answer of the parser's process is one line.
LONGEST_LINE = 64 * 2**20
KEPT = 256
# Characters from which on SQL is made of a filter in a thread: it takes up to a tenth of a second.
LONG_TEXT = 2_000

T = TypeVar("T")

TOO_SLOW = Text(
    en="it takes too long to be read. Write it with fewer brackets and shorter lists.",
    vi="mất quá nhiều thời gian để đọc. Hãy bớt dấu ngoặc và rút ngắn danh sách.",
)
BUSY = Text(
    en="Too many long filters are being read. Try again in a few seconds.",
    vi="Máy chủ đang đọc quá nhiều bộ lọc dài. Hãy thử lại sau vài giây.",
)


class FilterParser:
    """Parses filters, one long one at a time; a client has at most one in turn, so that clients take turns."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._shares = Shares(1, patience)
        self._thread = asyncio.Lock()
        self._trees: LRUCache[str, Tree] = LRUCache(KEPT)

    async def parse(self, text: str, language: str) -> Tree:
        """Return the tree of a filter in `cql2-text` or `cql2-json`."""
        if language == "cql2-json":
            return read_json(text)
        if check_text(text) <= LITTLE_WORK:
            return read_text(text)
        tree = self._trees.get(text)
        if tree is None:
            async with self._shares.place():
                tree = self._trees[text] = await self._in_turn(text)
        return tree

    async def translate(self, text: str, function: Callable[[], T]) -> T:
        """Return what the function makes of a filter's tree; of a long text in a thread, one at a time."""
        if len(text) <= LONG_TEXT:
            return function()
        async with self._thread:
            return await asyncio.to_thread(function)

    async def _in_turn(self, text: str) -> Tree:
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable(BUSY) from None
        try:
            return await self._in_process(text)
        finally:
            self._turn.release()

    async def _in_process(self, text: str) -> Tree:
        process = await self._running()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  # both are pipes
        try:
            async with asyncio.timeout(SECONDS):
                process.stdin.write(orjson.dumps(text.encode("utf-8", "replace").decode()) + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            await self.close()
            raise refuse(TOO_SLOW) from None
        except BaseException:
            # The answer to this question must not be taken for that to the next one.
            await self.close()
            raise
        if not line:
            # It ended: there are texts that the parser does not survive.
            await self.close()
            raise refuse(TOO_SLOW)
        answer = orjson.loads(line)
        if "refused" in answer:
            raise BadInput(Text(**answer["refused"]))
        return answer["tree"]

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "from tiles.ogc.filter_parsing import main; main()",
                stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE,
            )  # fmt: skip
        return self._process

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def main() -> None:
    """Parse texts line by line until the server goes away."""
    for line in sys.stdin.buffer:
        try:
            answer = {"tree": read_text(orjson.loads(line))}
        except BadInput as error:
            answer = {"refused": {"en": error.message.en, "vi": error.message.vi}}
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()

"""What goes on beside a publisher's checks: covering with cells in another process, copying in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from twin.cells.cover import Cover, Measured, corners_of, cover, cover_wkb_fully, settle
from twin.memory import keep_freed_memory

# Batches that may wait to be copied, and the number of features that are worth a process of their own to cover.
AHEAD = 2
WORTH_A_PROCESS = 20_000


class Loading:
    """Covers and copies batches while the caller goes on. At most `AHEAD` batches wait: memory stays bounded.

    H3's library holds Python's lock while it covers, so that a thread would not help it. `expected` is the number of
    features that will come, where it is known: the process takes a moment to start, so it starts at once.
    """

    def __init__(self, expected: int | None = None) -> None:
        keep_freed_memory()
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="copy")
        self._coverer: ProcessPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()
        if expected is not None and expected >= WORTH_A_PROCESS:
            self._start()

    def cover(
        self, geometries: npt.NDArray[np.object_], wkb: npt.NDArray[np.object_], resolution: int,
        measured: Measured | None = None,
    ) -> Callable[[], list[Cover]]:  # fmt: skip
        """Cover geometries, which are also given as WKB; call the result, in a thread, for the cells."""
        if self._coverer is None and len(geometries) < WORTH_A_PROCESS:
            here = [cover(geometries, resolution, measured)]
            return lambda: here
        coverer = self._coverer or self._start()
        # Most shapes are settled by their corners, which travel to the other process much faster than geometries.
        by_corners = coverer.submit(settle, corners_of(geometries, measured), resolution)

        def result() -> list[Cover]:
            settled, rest = by_corners.result()
            if not len(rest):
                return [settled]
            return [settled, coverer.submit(cover_wkb_fully, wkb[rest], rest, resolution).result()]

        return result

    def copy(self, task: Callable[[], None]) -> None:
        """Do a task after those before it; an error of an earlier one is raised here."""
        self._waiting.append(self._copier.submit(task))
        while len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait until all is copied."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Give up what still waits, and end the helpers."""
        for task in self._waiting:
            task.cancel()
        self._copier.shutdown(wait=True, cancel_futures=True)
        if self._coverer is not None:
            self._coverer.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        self._coverer = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=keep_freed_memory)
        # Starts the process and loads the library.
        self._coverer.submit(settle, corners_of(np.empty(0, dtype=object)), 0)
        return self._coverer

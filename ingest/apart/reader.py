"""A reader whose file is read by another process; to those who use it, a reader like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from ingest.apart.started import ReadingProcess
from ingest.readers.source import Pick


class ApartReader:
    """A file that another process has opened; see `ingest.readers.source.Reader`."""

    def __init__(self, process: ReadingProcess, path: Path, attributes: Mapping[str, Any]) -> None:
        self.path = path
        # What else a reader says of its file comes with its attributes.
        self._process = process
        self._take_over(attributes)

    def _take_over(self, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            if not str(name).startswith("_") and str(name) not in ("path", "batches", "sampled", "close"):
                setattr(self, str(name), value)

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features from the beginning, at most `rows` at a time."""
        self._process.send("batches", rows)
        yield from self._items(None)

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length."""
        self._process.send("sampled", rows)
        yield from self._items(pick)

    def _items(self, pick: Pick | None) -> Iterator[Any]:
        waits = True
        try:
            while (answer := self._process.receive())[0] != "end":
                if answer[0] == "pick" and pick is not None:
                    self._process.send("picked", np.asarray(pick(int(answer[1]))))
                    continue
                waits = False
                if pick is None:
                    # The next batch is read while this one is worked on.
                    self._process.send("next")
                    waits = True
                yield answer[1]
                if pick is not None:
                    self._process.send("next")
                    waits = True
            self._take_over(answer[1])
            waits = False
        except GeneratorExit:
            self._give_up(waits)
            raise

    def _give_up(self, waits: bool) -> None:
        """Read no further: take the answer that is on its way, and say so."""
        if waits and self._process.receive()[0] == "end":
            return
        self._process.send("stop")
        self._process.receive()

    def close(self) -> None:
        """Remove what was unpacked to read the file, and end the process."""
        self._process.close()

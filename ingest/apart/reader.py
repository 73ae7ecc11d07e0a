"""A reader whose file is read by another process; to those who use it, a reader like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd

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
        self._take_over((yield from self._process.items("batches", rows)))

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length."""
        self._take_over((yield from self._process.items("sampled", rows, pick=pick)))

    def close(self) -> None:
        """Remove what was unpacked to read the file, and end the process."""
        self._process.close()

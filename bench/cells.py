"""A layer counted in H3 cells: how long the questions of maps and notebooks take.

    python -m bench.cells [--size 500000] [--keep FOLDER]

Publishes building polygons (as bench.publish writes them) into a private cluster and asks one server with one worker,
over HTTP, each question several times with another box; prints the median, the longest, the rows and the bytes. Before
that it checks that each resolution counts every feature once.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

import httpx
import pyarrow as pa

from bench.publish import EAST, LAYER, NORTH, SOUTH, WEST, workplace
from bench.tiles import parse_arguments, prepare, running
from tests.conftest import free_port

TIMES = 7
ADDRESS = f"/collections/{LAYER}/cells"
QUESTIONS: dict[str, dict[str, str]] = {
    "resolution 8, all, from the roll-up, JSON": {"resolution": "8"},
    "resolution 9, all, Arrow": {"resolution": "9", "f": "arrow"},
    "resolution 11, all, Arrow": {"resolution": "11", "f": "arrow"},
    "resolution 9, all, height > 20, Arrow": {"resolution": "9", "f": "arrow", "filter": "height > 20"},
    "resolution 11, box of 0.02°, JSON": {"resolution": "11", "limit": "10000"},
    "resolution 9, box of 0.1°, JSON": {"resolution": "9"},
}
# How wide the boxes are, in degrees.
BOXES = {"resolution 11, box of 0.02°, JSON": 0.02, "resolution 9, box of 0.1°, JSON": 0.1}


def _box(width: float) -> str:
    west, south = random.uniform(WEST, EAST - width), random.uniform(SOUTH, NORTH - width)
    return f"{west},{south},{west + width},{south + width}"


def _rows(answer: httpx.Response) -> list[int]:
    answer.raise_for_status()
    if "arrow" in answer.headers["content-type"]:
        counts: list[int] = pa.ipc.open_stream(answer.content).read_all().column("features").to_pylist()
        return counts
    return [row["features"] for row in answer.json()["cells"]]


def main() -> None:
    """Run the benchmark."""
    arguments, folder = parse_arguments(__doc__ or "")
    random.seed(5)
    with workplace(folder, keep=arguments.keep is not None) as cluster:
        database = prepare(arguments.size, folder, cluster)
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        settings = {
            "TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database), "TWIN_PORT": str(port),
        }  # fmt: skip
        with (
            running([sys.executable, "-m", "twin", "serve"], f"{base}/health", settings, folder),
            httpx.Client(base_url=base, timeout=60) as http,
        ):
            total = http.get(f"/collections/{LAYER}").json()["featureCount"]
            for resolution in (5, 8, 9, 11):
                found = _rows(http.get(ADDRESS, params={"f": "arrow", "resolution": resolution}))
                print(f"resolution {resolution}: {len(found):,} cells, {sum(found):,} of {total:,} features")
            for name, question in QUESTIONS.items():
                spent, rows, size = [], 0, 0
                for _ in range(TIMES):
                    box = {"bbox": _box(BOXES[name])} if name in BOXES else {}
                    start = time.perf_counter()
                    answer = http.get(ADDRESS, params=question | box)
                    spent.append((time.perf_counter() - start) * 1000)
                    rows, size = len(_rows(answer)), len(answer.content)
                print(
                    f"{name:<44}{statistics.median(spent):>7.0f} ms (longest {max(spent):.0f})"
                    f"{rows:>9,} rows{size / 1000:>9,.0f} kB"
                )
        database.writer.dispose()


if __name__ == "__main__":
    main()

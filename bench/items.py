"""OGC API Features: pages of items of this server against TiPg's, at the beginning and at row 400,000.

    python -m bench.items [--size 500000] [--seconds 5] [--tipg PYTHON] [--keep FOLDER]

The buildings and the database are those of bench.tiles; needs `wrk` (Debian). `--tipg` names a Python that has `tipg`
and `uvicorn`. Both servers give the same ten features with the same attributes, which is compared before timing.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

from bench.publish import LAYER, workplace
from bench.tiles import chosen_of, load, parse_arguments, prepare, running, tipg
from tests.conftest import free_port

DEEP = 400_000
FIELDS = "height,levels,use,address"


def read(url: str) -> dict[str, Any]:
    """A JSON answer."""
    answer: dict[str, Any] = json.loads(urllib.request.urlopen(url).read())
    return answer


def deep_page(base: str, first: str) -> str:
    """The address of the page that begins behind row 400,000, found by going there page by page."""
    page = read(f"{base}{first}&limit=10000")
    for _ in range(DEEP // 10_000 - 1):
        page = read(next(link["href"] for link in page["links"] if link["rel"] == "next"))
    onward = next(link["href"] for link in page["links"] if link["rel"] == "next")
    return onward.removeprefix(base).replace("limit=10000", "limit=10")


def values(page: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What the features of a page say."""
    return [tuple(f["properties"][name] for name in FIELDS.split(",")) for f in page["features"]]


def main() -> None:
    """Run the benchmark."""
    arguments, folder = parse_arguments(__doc__ or "")
    with workplace(folder, keep=arguments.keep is not None) as cluster:
        database = prepare(arguments.size, folder, cluster)
        table = chosen_of(database)[0].version.table
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        settings = {
            "TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database), "TWIN_PORT": str(port),
            # Counted as ever, never refused.
            "TWIN_RATE_LIMIT": "1000000000",
        }  # fmt: skip
        first = f"/collections/{LAYER}/items?f=json&properties={FIELDS}"
        results: dict[str, float] = {}
        # As it is, and without the memory for answers, where each request asks the database.
        for memory, how in (("32", "as it is"), ("0", "not cached")):
            server = settings | {"TWIN_ANSWER_CACHE_MB": memory}
            with running([sys.executable, "-m", "twin", "serve"], f"{base}/health", server, folder):
                deep = deep_page(base, first)
                ours = {"first page": values(read(f"{base}{first}&limit=10")), "deep page": values(read(base + deep))}
                results[f"twin, first page, {how}"] = load(base, [f"{first}&limit=10"], arguments.seconds, folder)
                results[f"twin, page at row 400,000, {how}"] = load(base, [deep], arguments.seconds, folder)
        if arguments.tipg:
            address = f"/collections/layer_data.{table}/items?limit=10&sortby=fid&properties={FIELDS}&geom-column=geom"
            with tipg(arguments.tipg, cluster, database, folder) as base:
                theirs = values(read(base + address))
                print("the first ten features are the same:", theirs == ours["first page"])
                results["TiPg, first page"] = load(base, [address], arguments.seconds, folder)
                results["TiPg, page at row 400,000"] = load(
                    base, [f"{address}&offset={DEEP}"], max(10, arguments.seconds), folder
                )
        for name, rate in results.items():
            print(f"{name:<40}{rate:>10,.1f} req/s")
        for page, target in (("first page", 40), ("page at row 400,000", 500)):
            for how in ("as it is", "not cached") if f"TiPg, {page}" in results else ():
                ratio = results[f"twin, {page}, {how}"] / results[f"TiPg, {page}"]
                print(f"twin / TiPg, {page + ', ' + how:<34}{ratio:>8,.0f} ×   (target {target})")
        database.writer.dispose()


if __name__ == "__main__":
    main()

"""An hour of mixed reading while layers are published: does a server's memory stay where it is?

    python -m bench.soak [--minutes 60] [--rate 80] [--every 60]

Loads the sample city into a private cluster, serves it with one worker and small caches (full within minutes: so
they do not look like a leak), and asks for tiles, items, cells, pages, downloads, filters and nonsense at a steady
rate; every two minutes a layer gets a new version. Prints the memory of the server and of its database connections, and
compares the second quarter of the time with the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import mercantile

from bench.tiles import free_port, running
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate

ROOT = Path(__file__).parent.parent
CENTER = (106.7335, 10.7765)
PUBLISHED = "construction.buildings"
READERS = 6


class Town:
    """What there is to ask for, as the server lists it."""

    def __init__(self, base: str) -> None:
        self.layers = [c["id"] for c in httpx.get(f"{base}/collections").json()["collections"]]

    def question(self) -> str:
        """An address at random, in about the proportion in which a map and its programs ask."""
        layer = random.choice(self.layers)
        lng, lat = random.gauss(CENTER[0], 0.03), random.gauss(CENTER[1], 0.03)
        box = f"{lng - 0.01},{lat - 0.01},{lng + 0.01},{lat + 0.01}"
        zoom = random.randint(8, 17)
        tile = mercantile.tile(lng, lat, zoom)
        place = f"{tile.z}/{tile.x}/{tile.y}"
        several = ",".join(random.sample(self.layers, 4))
        kinds = {
            f"/tiles/{several}/{place}.mvt": 40,
            f"/tiles/{layer}/{place}.mvt": 20,
            f"/collections/{layer}/tiles/WebMercatorQuad/{tile.z}/{tile.y}/{tile.x}": 3,
            f"/tiles/{PUBLISHED}/{place}.mvt?filter=height>{random.randint(3, 60)}": 4,
            f"/collections/{layer}/items?limit={random.choice((1, 10, 100, 1000))}&bbox={box}": 8,
            f"/collections/{PUBLISHED}/items?filter=height>{random.randint(3, 60)}&limit=20": 3,
            f"/collections/{layer}/items?f={random.choice(('csv', 'flatgeobuf', 'geoparquet', 'html'))}&bbox={box}": 3,
            f"/cells/at?lng={lng}&lat={lat}": 8,
            f"/collections/{layer}/cells?bbox={box}": 3,
            f"/catalogue/{layer}": 1,
            f"/downloads/{layer}.geojson": 0.2,
            "/collections": 1,
            "/": 1,
            f"/collections/{layer}/items?bbox=nonsense": 1,
            f"/tiles/none.such/{place}.mvt": 1,
        }
        return random.choices(list(kinds), list(kinds.values()))[0]


def memory(pid: int) -> float:
    """What a process holds of its own, in MiB: pages that it shares with others do not count."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kinds = dict(line.split(":", 1) for line in text.splitlines() if ":" in line and "kB" in line)
    return sum(int(kinds[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1024


def children(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [n for child in map(int, found) for n in (child, *children(child))]


def backends(cluster: PrivateCluster) -> float:
    """The memory of the database's connections, in MiB."""
    main = int((cluster.home / "pg" / "postmaster.pid").read_text().split()[0])
    total = 0.0
    for pid in children(main):
        try:
            if b"twin_reader" in Path(f"/proc/{pid}/cmdline").read_bytes():
                total += memory(pid)
        except OSError:
            continue
    return total


async def read(base: str, town: Town, rate: float, until: float, answers: Counter[str]) -> None:
    """Ask at a steady rate until the time is over."""
    async with httpx.AsyncClient(base_url=base, timeout=60) as http:
        while time.monotonic() < until:
            due = time.monotonic() + READERS / rate
            try:
                answer = await http.get(town.question(), headers={"Accept-Encoding": random.choice(("gzip", "br"))})
                answers[f"{answer.status_code // 100}xx"] += 1
                if answer.status_code >= 500:
                    print(answer.status_code, answer.url, answer.text[:200], flush=True)
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def publish(settings: dict[str, str], until: float) -> None:
    """Give a layer a new version every two minutes."""
    number = 0
    while time.monotonic() < until - 120:
        await asyncio.sleep(120)
        number += 1
        command = [sys.executable, "-m", "twin", "ingest", "rollback" if number % 2 == 0 else "city"]
        command += [PUBLISHED] if number % 2 == 0 else ["--seed", str(2025 + number)]
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | settings, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await process.wait()


async def watch(server: int, cluster: PrivateCluster, every: float, until: float, answers: Counter[str]) -> list[float]:
    """Look at the memory now and then."""
    start, found = time.monotonic(), []
    print(f"{'minute':>6} {'server MiB':>11} {'connections MiB':>16} {'answers':>9}")
    while time.monotonic() < until:
        await asyncio.sleep(every)
        own = sum(map(memory, [server, *children(server)]))
        found.append(own)
        minute = (time.monotonic() - start) / 60
        print(f"{minute:>6.1f} {own:>11.1f} {backends(cluster):>16.1f} {sum(answers.values()):>9,}", flush=True)
    return found


async def soak(arguments: argparse.Namespace, base: str, server: int, settings: dict[str, str]) -> list[float]:
    """Read, publish and watch, all at once."""
    cluster, answers = PrivateCluster(ROOT / ".twin" / "soak"), Counter[str]()
    until = time.monotonic() + arguments.minutes * 60
    town = Town(base)
    readers = [read(base, town, arguments.rate, until, answers) for _ in range(READERS)]
    found, *_ = await asyncio.gather(
        watch(server, cluster, arguments.every, until, answers), publish(settings, until), *readers
    )
    print(dict(answers))
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=80, help="requests a second")
    parser.add_argument("--every", type=float, default=60, help="seconds between looks")
    arguments = parser.parse_args()
    cluster = PrivateCluster(ROOT / ".twin" / "soak")
    cluster.start()
    try:
        database = Database(cluster.url("soak"), private=True)
        migrate(database)
        port = free_port()
        settings = {
            "TWIN_HOME": str(cluster.home), "TWIN_DATABASE": "soak", "TWIN_PORT": str(port),
            "TWIN_TILE_CACHE_MB": "32", "TWIN_ANSWER_CACHE_MB": "8", "TWIN_RATE_LIMIT": "1000000",
        }  # fmt: skip
        load = [sys.executable, "-m", "twin", "ingest", "city"]
        subprocess.run(load, env=os.environ | settings, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        base = f"http://127.0.0.1:{port}"
        with running([sys.executable, "-m", "twin", "serve"], f"{base}/health", settings, cluster.home) as process:
            found = asyncio.run(soak(arguments, base, process.pid, settings))
        quarter = len(found) // 4
        if quarter:
            early, late = statistics.mean(found[quarter : 2 * quarter]), statistics.mean(found[-quarter:])
            print(f"second quarter {early:.1f} MiB, last quarter {late:.1f} MiB: ratio {late / early:.3f}")
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()

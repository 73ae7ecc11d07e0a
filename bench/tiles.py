"""Vector tiles: this server against TiPg, a bare asyncpg loop with the same SQL, and constant bytes.

    python -m bench.tiles [--size 500000] [--seconds 5] [--tipg PYTHON] [--keep FOLDER]

Publishes building polygons (as bench.publish writes them) into a private cluster and asks the same random tiles, where
buildings stand, of each server in turn, with one worker each. Needs `wrk` (Debian). TiPg is a peer, not a dependency:
`--tipg` names a Python that has `tipg` and `uvicorn`; without it, its lines are left out.
The answers are compared too: the ids of the features in a sample of tiles must be the same as TiPg's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg
import mapbox_vector_tile
import mercantile

from bench.publish import EAST, LAYER, NORTH, SOUTH, WEST, workplace, write_buildings
from tests.conftest import free_port
from tiles.vector.mvt import make_tile, tile_sql
from twin.access.permit import Permit, whole_permit
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text

ROOT = Path(__file__).parent.parent
CONNECTIONS = 32
GZIP = {"Accept-Encoding": "gzip"}
CONSTANT = """
BODY = bytes({size})
HEADERS = {headers}
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": HEADERS}})
        await send({{"type": "http.response.body", "body": BODY}})
"""
# The least that a server can do: no layers, no versions, no policy, no cache, no compression, no errors.
LEAN = """
import asyncpg
STATEMENT = {statement!r}
OPTIONS = {options!r}
POOL = None
async def app(scope, receive, send):
    global POOL
    if scope["type"] != "http":
        return
    if POOL is None:
        POOL = await asyncpg.create_pool(**OPTIONS, min_size=8, max_size=8, reset=nothing)
    parts = scope["path"].split("/")
    body = b""
    if len(parts) == 6:
        z, x, y = int(parts[3]), int(parts[4]), int(parts[5].removesuffix(".mvt"))
        async with POOL.acquire() as connection:
            body = b"".join(row["tile"] or b"" for row in await connection.fetch(STATEMENT, [z], [x], [y], None))
    length = str(len(body)).encode()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}})
    await send({{"type": "http.response.body", "body": body}})
async def nothing(connection):
    pass
"""


def prepare(size: int, folder: Path, cluster: PrivateCluster) -> Database:
    """Publish the buildings, unless a run before this one did."""
    database = Database(cluster.url(f"bench_tiles_{size}"), private=True)
    migrate(database)
    with database.session() as session:
        ensure_agency(session, "construction", Text(en="Construction", vi="Xây dựng"))
        ensure_layer(session, LayerEntry(LAYER, "buildings", Text(en="Bench", vi="Đo"), sharing=Sharing.OPEN))
    path = folder / f"buildings_{size}.gpkg"
    if not path.exists():
        write_buildings(path, size)
    environment = os.environ | {"TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database)}
    command = [sys.executable, "-m", "twin", "ingest", "publish", str(path), "--layer", LAYER, "--mode", "replace"]
    subprocess.run(
        command, env=environment, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return database


@contextmanager
def running(
    command: list[str], ready: str, environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(ready, timeout=5).read()
                break
            except urllib.error.HTTPError as error:
                # Any answer will do, unless it says that the server is not ready yet.
                if error.code != 503:
                    break
                time.sleep(0.1)
            except OSError:
                time.sleep(0.2)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def load(base: str, paths: list[str], seconds: int, folder: Path) -> float:
    """Requests a second that a server answers, over paths taken in turn; any other answer than 200 ends the run."""
    script = folder / "paths.lua"
    listed = ",".join(f'"{path}"' for path in paths)
    script.write_text(
        f"local paths = {{{listed}}}\nlocal n = 0\n"
        'request = function() n = n + 1; return wrk.format("GET", paths[n % #paths + 1], '
        '{["Accept-Encoding"] = "gzip"}) end\n'
    )
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", str(script), base]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"{base} did not answer with 200:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


async def bare(database: Database, tiles: list[mercantile.Tile], seconds: int) -> float:
    """The same SQL in a loop without a server: what the database and the driver allow."""
    chosen = chosen_of(database)
    statement = tile_sql(chosen, 17)
    done, until = 0, time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal done
        options = database.asyncpg_options("reader")
        options["server_settings"] |= {"plan_cache_mode": "force_generic_plan", "jit": "off"}
        connection = await asyncpg.connect(**options)
        while time.perf_counter() < until:
            tile = random.choice(tiles)
            await connection.fetch(statement, [tile.z], [tile.x], [tile.y], None)
            done += 1
        await connection.close()

    await asyncio.gather(*(ask() for _ in range(8)))
    return done / seconds


def lean(database: Database, paths: list[str], seconds: int, folder: Path) -> float:
    """The same SQL behind the barest of servers, under the same load: what is left is what HTTP itself costs."""
    options = database.asyncpg_options("reader")
    options["server_settings"] |= {"plan_cache_mode": "force_generic_plan", "jit": "off"}
    statement = tile_sql(chosen_of(database), 17)
    (folder / "lean_app.py").write_text(LEAN.format(statement=statement, options=options))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "lean_app:app"]
    with running(command, base, {"PYTHONPATH": str(folder)}, folder):
        load(base, paths, 2, folder)
        return load(base, paths, seconds, folder)


def chosen_of(database: Database) -> list[Permit]:
    """The layer as a tile request names it."""
    with database.session() as session:
        layer = read_catalogue(session)[LAYER]
    assert layer.current
    return [whole_permit(layer, layer.current)]


async def worst(database: Database) -> list[tuple[int, int, float]]:
    """By zoom the largest of the city's tiles, in gzipped bytes, and the longest that one took, in milliseconds."""
    found = []
    connection = await asyncpg.connect(**database.asyncpg_options("reader"))
    for zoom in range(6, 18):
        tiles = list(mercantile.tiles(WEST, SOUTH, EAST, NORTH, [zoom]))
        largest, longest = 0, 0.0
        for tile in random.sample(tiles, min(len(tiles), 40)):
            start = time.perf_counter()
            made = await make_tile(connection, chosen_of(database), tile.z, tile.x, tile.y)
            longest = max(longest, time.perf_counter() - start)
            largest = max(largest, *map(len, made.encoded.values()))
        found.append((zoom, largest, longest * 1000))
    await connection.close()
    return found


def parse_arguments(about: str) -> tuple[argparse.Namespace, Path]:
    """What the command line asks for, and the folder for files."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=500_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--tipg", help="a Python with tipg and uvicorn")
    parser.add_argument("--keep", type=Path, help="folder for the test file, to use it again")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing (Debian: apt-get install wrk)")
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    return arguments, folder


@contextmanager
def tipg(python: str, cluster: PrivateCluster, database: Database, folder: Path) -> Iterator[str]:
    """TiPg over the same tables; gives its address."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    # A socket as the host, which is how its settings take one.
    host = quote(str(cluster.socket), safe="")
    environment = {
        "DATABASE_URL": f"postgresql://twin_owner@{host}/{database.url.database}",
        "TIPG_DB_SCHEMAS": '["layer_data"]', "TIPG_MAX_FEATURES_PER_TILE": "20000",
    }  # fmt: skip
    command = [python, "-m", "uvicorn", "tipg.main:app", "--port", str(port), "--log-level", "error"]
    with running(command, f"{base}/healthz", environment, folder):
        yield base


def ids(body: bytes, key: str | None) -> set[str]:
    """The buildings in a tile, by their code."""
    layers = mapbox_vector_tile.decode(body)
    return {
        str(f["properties"][key] if key else f["id"]) for name, part in layers.items() if ":" not in name
        for f in part["features"]
    }  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    arguments, folder = parse_arguments(__doc__ or "")
    random.seed(7)
    with workplace(folder, keep=arguments.keep is not None) as cluster:
        database = prepare(arguments.size, folder, cluster)
        table = chosen_of(database)[0].version.table
        tiles = [mercantile.tile(random.uniform(WEST, EAST), random.uniform(SOUTH, NORTH), 17) for _ in range(3000)]
        results: dict[str, float] = {"bare asyncpg, z17": asyncio.run(bare(database, tiles, arguments.seconds))}
        ours = {
            "TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database),
            # Counted as ever, never refused.
            "TWIN_RATE_LIMIT": "1000000000",
        }  # fmt: skip
        paths = [f"/tiles/{LAYER}/{t.z}/{t.x}/{t.y}.mvt" for t in tiles]
        for name, cache in (("twin, z17, not cached", "0"), ("twin, z17, cached", "256")):
            port = free_port()
            base = f"http://127.0.0.1:{port}"
            environment = ours | {"TWIN_PORT": str(port), "TWIN_TILE_CACHE_MB": cache}
            with running([sys.executable, "-m", "twin", "serve"], f"{base}/health", environment, folder):
                load(base, paths, 2 if cache == "0" else 6, folder)
                results[name] = load(base, paths, arguments.seconds, folder)
                sample = {p: urllib.request.urlopen(base + p).read() for p in random.sample(paths, 30)}
                packed = [urllib.request.urlopen(urllib.request.Request(base + p, headers=GZIP)) for p in sample]
        # The same headers and as many bytes as a tile has on average.
        size = sum(int(answer.headers["content-length"]) for answer in packed) // len(packed)
        kept = {
            name.lower(): value for name, value in packed[0].headers.items() if name.lower() not in ("date", "server")
        }
        headers = [(name.encode(), value.encode()) for name, value in (kept | {"content-length": str(size)}).items()]
        (folder / "constant_app.py").write_text(CONSTANT.format(size=size, headers=headers))
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "constant_app:app"]
        with running(command, base, {"PYTHONPATH": str(folder)}, folder):
            results["constant bytes"] = load(base, paths, arguments.seconds, folder)
        results["lean server, z17"] = lean(database, paths, arguments.seconds, folder)
        if arguments.tipg:
            fields = "fid,id,name,height,levels,use"
            name = f"layer_data.{table}"
            addresses = [
                f"/collections/{name}/tiles/WebMercatorQuad/{t.z}/{t.x}/{t.y}?properties={fields}&geom-column=geom"
                for t in tiles
            ]
            with tipg(arguments.tipg, cluster, database, folder) as base:
                load(base, addresses, 2, folder)
                results["TiPg, z17"] = load(base, addresses, arguments.seconds, folder)
                same = 0
                for path, body in sample.items():
                    theirs = urllib.request.urlopen(base + addresses[paths.index(path)]).read()
                    same += ids(theirs, "fid") <= ids(body, None)
                print(f"tiles that hold all that TiPg's hold: {same} of {len(sample)}")
        for name, rate in results.items():
            print(f"{name:<28}{rate:>10,.0f} req/s")
        cached, fresh = results["twin, z17, cached"], results["twin, z17, not cached"]
        print(f"cached / constant bytes      {cached / results['constant bytes']:>10.2f}   (target 0.7)")
        print(f"not cached / bare asyncpg    {fresh / results['bare asyncpg, z17']:>10.2f}   (target 0.8)")
        print(f"not cached / lean server     {fresh / results['lean server, z17']:>10.2f}")
        if "TiPg, z17" in results:
            print(f"not cached / TiPg            {fresh / results['TiPg, z17']:>10.2f}   (target 4)")
        print(json.dumps({"zoom: largest tile kB, longest ms": [
            f"{z}: {b / 1000:.0f}, {ms:.0f}" for z, b, ms in asyncio.run(worst(database))
        ]}, indent=0))  # fmt: skip
        database.writer.dispose()


if __name__ == "__main__":
    main()

"""Publishing building polygons, checked, covered with cells and indexed, against ogr2ogr loading the same file.

    python -m bench.publish [--sizes 500000 2000000] [--keep FOLDER]

Both load the same GeoPackage into the same private cluster, ogr2ogr with COPY and a spatial index (Debian: gdal-bin).
Prints times, their ratio, and the peak memory of each program.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import numpy as np
import psycopg
import pyogrio
import shapely

from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, libpq
from twin.db.migrate import migrate
from twin.text import Text

ROOT = Path(__file__).parent.parent
LAYER = "construction.bench"
USES = np.array(["house", "apartments", "office", "commercial", "industrial", "other"], dtype=object)
# Outlines of houses, one wide and one deep.
RECTANGLE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
ANGLED = np.array(
    [[-0.7, -0.7], [0.7, -0.7], [0.7, -0.1], [0.1, -0.1], [0.1, 0.3], [0.5, 0.3], [0.5, 0.7], [-0.7, 0.7]]
)
# Old Ho Chi Minh City, roughly.
WEST, SOUTH, EAST, NORTH = 106.55, 10.65, 106.90, 10.95


def write_buildings(path: Path, count: int) -> None:
    """Write turned rectangles and, among every five, an angled house, with five attributes.

    They have the size of tube houses and blocks. In District 7, 79 of 100 footprints are convex, half of all have four
    corners, and one in ten has more than ten.
    """
    rng = np.random.default_rng(7)
    metre = 1 / 111_195
    x, y = rng.uniform(WEST, EAST, count), rng.uniform(SOUTH, NORTH, count)
    w, d, angle = rng.gamma(4, 1.5, count) + 3, rng.gamma(4, 3, count) + 6, rng.uniform(0, np.pi, count)
    cos, sin = np.cos(angle) * metre, np.sin(angle) * metre
    shapes = np.empty(count, dtype=object)
    angled = rng.random(count) < 0.21
    for outline, chosen in ((RECTANGLE, ~angled), (ANGLED, angled)):
        dx, dy = (outline[:, [axis]] * size[chosen] for axis, size in enumerate((w, d)))
        ring = np.stack(
            [x[chosen] + dx * cos[chosen] - dy * sin[chosen], y[chosen] + dx * sin[chosen] + dy * cos[chosen]]
        )
        shapes[chosen] = shapely.polygons(ring.transpose(2, 1, 0))
    frame = gpd.GeoDataFrame(
        {
            "code": np.char.add("b", np.arange(count).astype(str)),
            "height": np.round(rng.gamma(2, 5, count) + 3, 1),
            "levels": rng.integers(1, 20, count),
            "use": USES[rng.integers(0, len(USES), count)],
            "address": np.char.add(rng.integers(1, 400, count).astype(str), " Nguyễn Trãi"),
        },
        geometry=shapes,
        crs=4326,
    )
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer="buildings")


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a program; give seconds and its peak memory in MiB."""
    script = (
        "import json,resource,subprocess,sys,time;t=time.perf_counter();"
        "c=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL);"
        "print(json.dumps([time.perf_counter()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024,c.returncode]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, memory, code = json.loads(done.stdout)
    if code not in (0, 1):
        raise SystemExit(f"{command[0]} ended with {code}")
    return seconds, memory


def written_out(cluster: PrivateCluster) -> None:
    """Let the database write what it still holds, so that nobody's time includes what the one before left behind."""
    with psycopg.connect(libpq(cluster.url("postgres")), autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@contextmanager
def workplace(folder: Path, *, keep: bool) -> Iterator[PrivateCluster]:
    """The benchmarks' own cluster while one runs; the folder of its files goes at its end, unless it is kept."""
    cluster = PrivateCluster(ROOT / ".twin" / "bench")
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        if not keep:
            shutil.rmtree(folder)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500_000, 2_000_000])
    parser.add_argument("--keep", type=Path, help="folder for the test files, to use them again")
    arguments = parser.parse_args()
    if shutil.which("ogr2ogr") is None:
        raise SystemExit("ogr2ogr is missing (Debian: apt-get install gdal-bin)")

    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    with workplace(folder, keep=arguments.keep is not None) as cluster:
        print(f"{'polygons':>10} {'ogr2ogr':>10} {'twin':>10} {'ratio':>6} {'ogr2ogr MiB':>12} {'twin MiB':>9}")
        for count in arguments.sizes:
            path = folder / f"buildings_{count}.gpkg"
            if not path.exists():
                write_buildings(path, count)
            database = Database(cluster.url(f"bench_{count}_{os.getpid()}"), private=True)
            migrate(database)
            with database.session() as session:
                ensure_agency(session, "construction", Text(en="Construction", vi="Xây dựng"))
                ensure_layer(session, LayerEntry(LAYER, "buildings", Text(en="Bench", vi="Đo")))
            environment = os.environ | {
                "TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database), "PG_USE_COPY": "YES",
            }  # fmt: skip
            address = f"PG:host={cluster.socket} user=twin_owner dbname={database.url.database}"
            written_out(cluster)
            peer = timed(
                ["ogr2ogr", "-f", "PostgreSQL", address, str(path), "-nln", "peer", "-lco", "SPATIAL_INDEX=GIST"],
                environment,
            )
            written_out(cluster)
            ours = timed([sys.executable, "-m", "twin", "ingest", "publish", str(path), "--layer", LAYER], environment)
            print(
                f"{count:>10,} {peer[0]:>9.1f}s {ours[0]:>9.1f}s {ours[0] / peer[0]:>6.2f} "
                f"{peer[1]:>12.0f} {ours[1]:>9.0f}",
                flush=True,
            )
            database.writer.dispose()


if __name__ == "__main__":
    main()

"""Raster tiles: this server, fresh and from memory, against rio-tiler alone in a loop.

    python -m bench.raster [--size 4096] [--seconds 5] [--keep FOLDER]

Publishes made-up heights (a Cloud-Optimised GeoTIFF of `size` times `size` pixels of ten metres) into a private cluster
and asks the same random tiles of zooms 10 to 14 of the server over HTTP, with one worker, and of rio-tiler alone,
without HTTP, with as many threads, like resampling and a palette of 256 colours. Needs `wrk` (Debian).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mercantile
import numpy as np
import rasterio
from rasterio.transform import from_origin

from bench.publish import workplace
from bench.tiles import ROOT, load, running
from tests.conftest import free_port
from tiles.raster.files import SETTINGS, THREADS
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.crs import transform
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text

LAYER = "environment.bench_heights"
WEST, NORTH, PIXEL = 665_000.0, 1_215_000.0, 10.0
TILES = 600


def write_heights(path: Path, size: int) -> None:
    """Hills and plains, with some noise, so that they compress about as a real terrain does."""
    rows = np.linspace(0, 30, size, dtype=np.float32)
    values = 12 + 10 * np.sin(rows)[:, None] * np.cos(rows * 1.3)[None]
    values += np.random.default_rng(7).normal(0, 0.3, (size, size)).astype(np.float32)
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="float32", crs="EPSG:32648", nodata=-9999,
        transform=from_origin(WEST, NORTH, PIXEL, PIXEL), tiled=True, compress="deflate",
    ) as file:  # fmt: skip
        file.write(values, 1)


def prepare(size: int, folder: Path, cluster: PrivateCluster) -> tuple[Database, Path]:
    """Publish the heights; gives the database and the file that the server reads."""
    database = Database(cluster.url(f"bench_raster_{size}"), private=True)
    migrate(database)
    with database.session() as session:
        ensure_agency(session, "environment", Text(en="Environment", vi="Môi trường"))
        ensure_layer(session, LayerEntry(LAYER, "elevation", Text(en="Bench", vi="Đo"), sharing=Sharing.OPEN))
    path = folder / f"heights_{size}.tif"
    if not path.exists():
        write_heights(path, size)
    command = [sys.executable, "-m", "twin", "ingest", "publish", str(path), "--layer", LAYER]
    environment = os.environ | {"TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database)}
    subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True)
    with database.session() as session:
        current = read_catalogue(session)[LAYER].current
    assert current is not None and current.raster is not None
    return database, cluster.home / "rasters" / current.raster["path"]


def random_tiles(size: int) -> list[mercantile.Tile]:
    """Tiles of five zooms inside the raster."""
    width = size * PIXEL
    places = np.column_stack(
        [WEST + np.random.uniform(0.1, 0.9, TILES) * width, NORTH - np.random.uniform(0.1, 0.9, TILES) * width]
    )
    return [mercantile.tile(*place, random.randint(10, 14)) for place in transform(places, 32648)]


def alone(path: Path, tiles: list[mercantile.Tile], seconds: float) -> float:
    """Tiles a second that rio-tiler makes by itself: read, coloured, encoded as PNG."""
    from rio_tiler.colormap import cmap
    from rio_tiler.io import Reader

    colors = cmap.get("viridis")

    def work(_: int) -> int:
        chance, done, until = random.Random(_), 0, time.perf_counter() + seconds
        with rasterio.Env(**SETTINGS), Reader(str(path)) as reader:
            while time.perf_counter() < until:
                tile = chance.choice(tiles)
                image = reader.tile(
                    tile.x, tile.y, tile.z, tilesize=256, reproject_method="bilinear", resampling_method="average"
                )
                image.rescale(in_range=((-10, 40),))
                assert image.render(img_format="PNG", colormap=colors)
                done += 1
        return done

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(work, range(THREADS))) / seconds


def served(cluster: PrivateCluster, database: Database, folder: Path, ask: dict[str, str],
           measure: Callable[[str], float]) -> float:  # fmt: skip
    """What a measure says of the program serving the raster."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    environment = {"TWIN_HOME": str(cluster.home), "TWIN_DATABASE": str(database.url.database), "TWIN_PORT": str(port)}
    with running([sys.executable, "-m", "twin", "serve"], f"{base}/health", environment | ask, folder):
        return measure(base)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the test file, to use it again")
    # The program takes GDAL's virtual formats out, which rio-tiler's own tiles need: it is measured in its own process.
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    random.seed(7)
    np.random.seed(7)
    tiles = random_tiles(arguments.size)
    if arguments.alone:
        print(alone(arguments.alone, tiles, arguments.seconds))
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing (Debian: apt-get install wrk)")
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    with workplace(folder, keep=arguments.keep is not None) as cluster:
        database, path = prepare(arguments.size, folder, cluster)
        paths = [f"/tiles/{LAYER}/{t.z}/{t.x}/{t.y}.png" for t in tiles]
        results, sizes = {}, []

        def fresh(base: str) -> float:
            load(base, paths, 2, folder)
            sizes.extend(len(urllib.request.urlopen(base + p).read()) for p in random.sample(paths, 30))
            return load(base, paths, arguments.seconds, folder)

        def warm(base: str) -> float:
            for p in paths:
                urllib.request.urlopen(base + p).read()
            return load(base, paths, arguments.seconds, folder)

        command = [sys.executable, "-m", "bench.raster", "--alone", str(path), "--size", str(arguments.size),
                   "--seconds", str(arguments.seconds)]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if k not in ("GDAL_SKIP", "OGR_SKIP")}
        output = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        results["rio-tiler alone"] = float(output.split()[-1])
        results["twin, not cached"] = served(cluster, database, folder, {"TWIN_TILE_CACHE_MB": "0"}, fresh)
        results["twin, cached"] = served(cluster, database, folder, {"TWIN_TILE_CACHE_MB": "256"}, warm)
        for name, rate in results.items():
            print(f"{name:<28}{rate:>10,.0f} tiles/s")
        for name in ("twin, not cached", "twin, cached"):
            print(f"{name + ' / rio-tiler':<28}{results[name] / results['rio-tiler alone']:>10.2f}")
        print(f"{'a tile on average':<28}{sum(sizes) / len(sizes) / 1000:>10.1f} kB")
        database.writer.dispose()


if __name__ == "__main__":
    main()

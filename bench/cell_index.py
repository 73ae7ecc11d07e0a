"""Asks one cell of many layers at once, with the cells of each version laid out in different ways.

Run: python -m bench.cell_index [--versions 1000 --current 100 --rows 5000]
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import click
from asyncpg import Connection

from twin.config import load_settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, open_database

SCHEMA = "bench_cell_index"
FIRST_CELL = 600_000_000_000_000_000
REPEATS = 30


class Question(NamedTuple):
    """One way to ask: the layout it needs, its SQL ($1 = the cell), and its further parameters."""

    name: str
    sql: str
    more: tuple[Any, ...] = ()


@contextmanager
def server() -> Iterator[Database]:
    """The server of TWIN_DATABASE_URL, else a private cluster that lives as long as the benchmark."""
    if load_settings().database_url:
        yield open_database(load_settings())
        return
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as folder:
        # Started as root, the cluster runs as another user, who has to get into the folder.
        Path(folder).chmod(0o755)
        cluster = PrivateCluster(Path(folder))
        try:
            cluster.start()
            yield Database(cluster.url("postgres"), private=True)
        finally:
            cluster.stop()
            shutil.rmtree(cluster.data, ignore_errors=True)
            shutil.rmtree(cluster.socket, ignore_errors=True)


@asynccontextmanager
async def connected(database: Database, **settings: str) -> AsyncIterator[Connection]:
    """A connection with server settings of its own, closed at the end."""
    options = database.asyncpg_options("owner")
    connection = await asyncpg.connect(**options | {"server_settings": options["server_settings"] | settings})
    try:
        yield connection
    finally:
        await connection.close()


async def fill(connection: Connection, versions: int, rows: int) -> None:
    """Make both layouts with the same rows: a table for each version, and a list partition for each."""
    columns = "version int, cell bigint, fid bigint, whole boolean"
    await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    await connection.execute(f"CREATE TABLE {SCHEMA}.p ({columns}) PARTITION BY LIST (version)")
    with click.progressbar(range(versions), label="Filling", file=sys.stderr) as numbers:
        for n in numbers:
            table, part = f"{SCHEMA}.t{n}", f"{SCHEMA}.p{n}"
            await connection.execute(
                f"CREATE TABLE {table} AS SELECT ({FIRST_CELL} + g)::bigint AS cell, g::bigint AS fid, "
                f"g % 2 = 0 AS whole FROM generate_series(1, {rows}) AS g; "
                f"CREATE TABLE {part} PARTITION OF {SCHEMA}.p FOR VALUES IN ({n}); "
                f"INSERT INTO {part} SELECT {n}, cell, fid, whole FROM {table}; "
                f"CREATE INDEX ON {table} (cell) INCLUDE (fid, whole); ANALYZE {table}; "
                f"CREATE INDEX ON {part} (cell) INCLUDE (fid, whole); ANALYZE {part}"
            )


def questions(current: list[int]) -> list[Question]:
    """The ways to ask the current versions for one cell; the first is the one that the project uses."""
    where = "cell BETWEEN $1 AND $1"
    parts = (f"SELECT {n} AS version, fid, whole FROM {SCHEMA}.t{n} WHERE {where}" for n in current)
    partitions = f"SELECT version, fid, whole FROM {SCHEMA}.p WHERE {where} AND version"
    return [
        Question("a table per version, UNION ALL", " UNION ALL ".join(parts)),
        Question("list partitions, version IN (…)", f"{partitions} IN ({','.join(map(str, current))})"),
        Question("list partitions, version = ANY($2)", f"{partitions} = ANY($2::int[])", (current,)),
    ]


async def measure(connection: Connection, question: Question, rows: int, expected: int) -> list[float]:
    """Ask for one cell after another; give milliseconds: the first with its preparation, median, p95."""
    taken = []
    start = time.perf_counter()
    statement = await connection.prepare(question.sql)
    for n in range(REPEATS):
        found = await statement.fetch(FIRST_CELL + 1 + 37 * n % rows, *question.more)
        taken.append((time.perf_counter() - start) * 1e3)
        assert len(found) == expected, f"{question.name}: {len(found)} rows instead of {expected}"
        start = time.perf_counter()
    return [taken[0], statistics.median(taken[1:]), statistics.quantiles(taken[1:], n=20)[-1]]


async def compare(database: Database, versions: int, current: int, rows: int) -> None:
    """Fill, measure every question under every plan mode, print the table, drop everything."""
    async with connected(database) as owner:
        try:
            await fill(owner, versions, rows)
            queried = questions(list(range(0, versions, versions // current))[:current])
            click.echo(f"{'plan':20}{'layout':37}{'first':>9}{'median':>9}{'p95':>9}{'ratio':>8}   (ms)")
            for plan in ("auto", "force_custom_plan", "force_generic_plan"):
                base = 0.0
                for question in queried:
                    # A session of its own: no layout profits from catalogue entries that another loaded.
                    async with connected(database, plan_cache_mode=plan, jit="off") as connection:
                        first, median, p95 = await measure(connection, question, rows, current)
                    base = base or median
                    times = f"{first:9.1f}{median:9.2f}{p95:9.2f}{median / base:7.1f}×"
                    click.echo(f"{plan:20}{question.name:37}{times}")
        finally:
            # A drop takes a lock for each table: all at once could be more than a server allows.
            for n in range(versions):
                await owner.execute(f"DROP TABLE IF EXISTS {SCHEMA}.t{n}, {SCHEMA}.p{n}")
            await owner.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


@click.command(help=__doc__)
@click.option("--versions", type=click.IntRange(1), default=1000, show_default=True, help="Versions kept.")
@click.option("--current", type=click.IntRange(1), default=100, show_default=True, help="Of these, queried.")
@click.option("--rows", type=click.IntRange(1), default=5000, show_default=True, help="Cells a version.")
def main(versions: int, current: int, rows: int) -> None:
    """Run the benchmark."""
    if current > versions:
        raise click.BadParameter("cannot be more than --versions", param_hint="--current")
    with server() as database:
        asyncio.run(compare(database, versions, current, rows))


if __name__ == "__main__":
    main()

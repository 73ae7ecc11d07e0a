"""`twin ingest stream export`: the values of a layer's streams as a file."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from ingest.cli.streams import DATABASE, run_async, with_connection
from twin.cli import console, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.errors import BadInput, NotFound
from twin.text import Text, format_number

if TYPE_CHECKING:
    import asyncpg

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# Rows that are read and written at once.
ROWS = 20_000
MOMENT = say("MOMENT", "THỜI_ĐIỂM")


@click.command(
    short_help=say("Write values into a CSV or Parquet file.", "Ghi số liệu ra tệp CSV hoặc Parquet."),
    help=say(
        "Write the values of a layer's streams into a file, CSV or Parquet by its ending: as they were received, "
        "flagged ones too, times in UTC. A moment is 2024-10-17T08:00:00+07:00, or a day of the city's clock.\n\n"
        "Example: twin ingest stream export --layer environment.tide --from 2024-10-17 --to 2024-10-18 --out tide.csv",
        "Ghi giá trị các luồng của một lớp ra tệp, CSV hoặc Parquet theo đuôi tệp: đúng như đã nhận, kể cả giá trị bị "
        "gắn cờ, giờ UTC. Thời điểm ghi là 2024-10-17T08:00:00+07:00, hoặc một ngày theo giờ thành phố.\n\n"
        "Ví dụ: twin ingest stream export --layer environment.tide --from 2024-10-17 --to 2024-10-18 --out trieu.csv",
    ),
)
@click.option("--layer", required=True, help=say("Layer (AGENCY.NAME).", "Lớp (ĐƠN_VỊ.TÊN)."))
@click.option("--from", "start", metavar=MOMENT, help=say("First moment; else all.", "Từ lúc; mặc định là tất cả."))
@click.option(
    "--to", "end", metavar=MOMENT, help=say("Before this moment; else now.", "Đến trước lúc; mặc định là nay.")
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help=say("File that is written (.csv, .parquet).", "Tệp kết quả (.csv, .parquet)."),
)  # fmt: skip
@DATABASE
@as_json
def export(layer: str, start: str | None, end: str | None, out: Path, database: str | None, as_json: bool) -> None:
    """Export observations."""
    settings = load_settings()
    zone = settings.profile.time_zone
    first = read_moment(start, zone) if start else EARLIEST
    last = read_moment(end, zone) if end else datetime.now(UTC)
    if first >= last:
        raise BadInput(Text(en="--from must lie before --to.", vi="--from phải trước --to."))
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise BadInput(
            Text(en="The file's name ends in .csv or .parquet.", vi="Tên tệp phải có đuôi .csv hoặc .parquet.")
        )
    opened = open_database(settings, database)
    values = run_async(with_connection(opened, lambda connection: write_export(connection, layer, first, last, out)))
    if as_json:
        print_json({"layer": layer, "file": str(out), "values": values})
        return
    count = format_number(values)
    console().print(say(f"{count} values are in {out}.", f"Đã ghi {count} giá trị vào {out}."), markup=False)


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """Read a moment with its zone, or the beginning of a day of the city's clock."""
    from twin.streams.reading import read_time

    try:
        return datetime.combine(date.fromisoformat(text), time(), zone)
    except ValueError:
        return read_time(text)


async def write_export(
    connection: asyncpg.Connection, layer: str, start: datetime, end: datetime, out: Path
) -> int:  # fmt: skip
    """Write the observations of a layer's streams into a file; it has its name only when it is whole.

    Returns
    -------
    int
        How many there are.
    """
    import pyarrow.parquet as pq

    from twin.streams import export as exporting
    from twin.streams.entry import read_entries

    entries = {key: e for key, e in (await read_entries(connection)).items() if e.layer == layer}
    if not entries:
        raise NotFound(
            Text(
                en="The layer “{layer}” has no streams. See: twin ingest stream list",
                vi="Lớp “{layer}” không có luồng nào. Xem: twin ingest stream list",
            ).format(layer=layer[:80])
        )
    count, part = 0, out.with_name(f"{out.name}.part")
    sql, values = exporting.export_statement(list(entries), start, end)
    try:
        async with connection.transaction(readonly=True):
            cursor = await connection.cursor(sql, *values)
            with part.open("wb") as file:
                if out.suffix.lower() == ".csv":
                    file.write(exporting.csv_header())
                    while rows := await cursor.fetch(ROWS):
                        file.write(exporting.csv_rows(rows, entries))
                        count += len(rows)
                else:
                    with pq.ParquetWriter(file, exporting.SCHEMA, compression="zstd") as writer:
                        while rows := await cursor.fetch(ROWS):
                            writer.write_batch(exporting.record_batch(rows, entries))
                            count += len(rows)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return count

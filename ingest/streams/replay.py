"""Replay: a recorded day, written again at any speed; at its own time, or shifted to now into a layer of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg

from ingest.streams.alerting import alert_engine
from ingest.streams.backfill import BATCH, Prepared, prepare
from ingest.streams.consumer import persist
from ingest.streams.declaring import DeclarationReport, declare_into
from ingest.streams.description import SourceSpec, declaration
from ingest.streams.recordings import Tally
from twin.catalogue.catalogue import LayerEntry, ensure_layer, read_catalogue
from twin.db.database import Database
from twin.errors import BadInput, NotFound
from twin.streams.declare import Place, StreamDeclaration
from twin.streams.entry import StreamEntry, read_entries
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, StreamWriter, Written
from twin.text import Text

STEP_SECONDS = 0.25
DAY = timedelta(days=1)

# A replay to now begins anew: values of an earlier one of the same day stand at other times.
FORGET_SQL = """
WITH streams AS (SELECT unnest($1::int4[]) AS id),
    a AS (DELETE FROM live.observation USING streams WHERE stream = id),
    b AS (DELETE FROM live.observation_detail USING streams WHERE stream = id),
    c AS (DELETE FROM live.latest USING streams WHERE stream = id),
    d AS (DELETE FROM live.dirty USING streams WHERE stream = id),
    e AS (DELETE FROM live.roll_5m USING streams WHERE stream = id),
    f AS (DELETE FROM live.roll_1h USING streams WHERE stream = id)
DELETE FROM live.roll_1d USING streams WHERE stream = id
"""

# Told of the moment that was reached (as it stands in the database), and of the values so far.
Progress = Callable[[datetime, int], None]


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a recorded day is played: from the recorded moments to those that are written, and to the clock.

    `speed` is recorded seconds per second; 0 means all at once. `shift` is added to the recorded times.
    """

    start: datetime
    speed: float
    shift: timedelta = timedelta(0)

    def seconds_until(self, recorded: datetime) -> float:
        """Return after how many seconds a recorded moment is written."""
        return (recorded - self.start).total_seconds() / self.speed if self.speed else 0.0

    def reached(self, seconds: float) -> datetime:
        """Return the recorded moment that is reached so many seconds after the beginning."""
        return self.start + timedelta(seconds=seconds * self.speed) if self.speed else datetime.max.replace(tzinfo=UTC)


def timetable(first: datetime, last: datetime, speed: float, now: datetime | None = None) -> Timetable:
    """Return the timetable of values from `first` to `last`.

    Parameters
    ----------
    first, last : datetime
        The times of the first and the last recorded value.
    speed : float
        At least 1, or 0, where `now` is given: at a slower pace values would come from the future.
    now : datetime, optional
        Shift the values so that the last one is written at its own time; at speed 1 each of them is.

    Examples
    --------
    >>> t = timetable(datetime(2022, 1, 4, tzinfo=UTC), datetime(2022, 1, 4, 10, tzinfo=UTC), 600,
    ...               datetime(2026, 1, 1, tzinfo=UTC))
    >>> (datetime(2022, 1, 4, 10, tzinfo=UTC) + t.shift).isoformat()
    '2026-01-01T00:01:00+00:00'
    """
    if not math.isfinite(speed) or speed < 0 or (now is not None and 0 < speed < 1):
        raise BadInput(
            Text(
                en="The speed is 0 (all at once) or a number above it; with --now it is 0, or 1 and more.",
                vi="Tốc độ là 0 (tất cả một lần) hoặc số dương; với --now là 0, hoặc từ 1 trở lên.",
            )
        )
    if now is None:
        return Timetable(first, speed)
    length = (last - first).total_seconds()
    end = now + timedelta(seconds=length / speed if speed else 0.0)
    return Timetable(first, speed, end - last)


async def replay(
    database: Database, pool: asyncpg.Pool, source: SourceSpec, folder: Path, day: date, speed: float, zone: ZoneInfo,
    to_now: bool = False, progress: Progress = lambda _moment, _done: None,
) -> Written:  # fmt: skip
    """Write the values that a source recorded on a day, at a speed; return what became of them.

    Parameters
    ----------
    database : Database
    pool : asyncpg.Pool
        Of the writer.
    source, folder
        The recording.
    day : date
        A day of the city's clock.
    speed : float
        1 as recorded, 600 ten minutes in a second, 0 at once.
    zone : ZoneInfo
        The city's.
    to_now : bool
        Shift the day so that it ends now, into a layer of its own that says so.
    progress : callable

    Raises
    ------
    NotFound
        If nothing was recorded on that day.
    BadInput
        As for `timetable` and `backfill`.
    """
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    async with pool.acquire() as connection:
        prepared = await prepare(connection, source, folder)
    recorded = [
        o for some in prepared.recording.observations(prepared.streams, Tally(), start, start + DAY) for o in some
    ]
    if not recorded:
        raise NotFound(
            Text(en="“{source}” recorded nothing on {day}.", vi="“{source}” không có số liệu ngày {day}.").format(
                source=source.name, day=day.isoformat()
            )
        )
    recorded.sort(key=lambda o: o.time)
    plan = timetable(recorded[0].time, recorded[-1].time, speed, datetime.now(UTC) if to_now else None)
    if to_now:
        recorded = await _shifted(database, pool, source, day, prepared, recorded)
        # Making the layer took a moment: the day ends at its end all the same.
        plan = timetable(recorded[0].time, recorded[-1].time, speed, datetime.now(UTC))
    directory = StreamDirectory()
    writer = StreamWriter(directory, alert_engine(zone))
    label = f"replay {source.name} {day.isoformat()}"
    total = Written()

    async def write(some: Sequence[Observation]) -> None:
        moved = [Observation(o.stream, o.time + plan.shift, o.value, o.unit, o.flag, o.detail) for o in some]

        async def store(connection: asyncpg.Connection) -> None:
            total.add(await writer.write(connection, moved, label))

        await persist(pool, store)

    clock = asyncio.get_running_loop().time
    begun, done = clock(), 0
    while done < len(recorded):
        reached = plan.reached(clock() - begun)
        until = done
        while until < len(recorded) and until - done < BATCH and recorded[until].time <= reached:
            until += 1
        if until == done:
            wait = plan.seconds_until(recorded[done].time) - (clock() - begun)
            await asyncio.sleep(max(0.01, min(wait, STEP_SECONDS)))
            continue
        await write(recorded[done:until])
        done = until
        progress(recorded[done - 1].time + plan.shift, done)
    return total


async def _shifted(
    database: Database, pool: asyncpg.Pool, source: SourceSpec, day: date, prepared: Prepared,
    recorded: Sequence[Observation],
) -> list[Observation]:  # fmt: skip
    """Make the layer and streams of a shifted replay; return the observations as of those streams."""
    layer = _make_layer(database, source, day)
    ids = {o.stream for o in recorded}
    async with pool.acquire() as connection:
        entries = await read_entries(connection)
        names = {
            stream: (
                number,
                code_of_replay(source.code_of(prepared.recording.cells_of(key), source.value[number]), day),
            )
            for key, of_key in prepared.streams.items()
            for number, stream in of_key.items()
            if stream in ids
        }
        made = [_declaration(source, day, entries[stream], *name) for stream, name in names.items()]
        report = DeclarationReport()
        await declare_into(connection, layer, made, report)
        async with connection.transaction():
            await connection.execute(FORGET_SQL, list(report.ids.values()))
    moved = {stream: report.ids[layer, code] for stream, (_, code) in names.items()}
    return [Observation(moved[o.stream], o.time, o.value, o.unit, o.flag, o.detail) for o in recorded]


def code_of_replay(code: str, day: date) -> str:
    """Return the code of the stream that a day of another one is replayed into.

    Examples
    --------
    >>> code_of_replay("healthyair-4.pm2_5", date(2022, 1, 4))
    'replay-20220104:healthyair-4.pm2_5'
    """
    return f"replay-{day:%Y%m%d}:{code}"[:100]


def layer_of_replay(layer: str, day: date) -> str:
    """Return the name of the layer that a day of another one is replayed into.

    Examples
    --------
    >>> layer_of_replay("environment.healthyair", date(2022, 1, 4))
    'environment.healthyair_replay_20220104'
    """
    agency, _, name = layer.partition(".")
    return f"{agency}.{name[:14].rstrip('_')}_replay_{day:%Y%m%d}"


def _make_layer(database: Database, source: SourceSpec, day: date) -> str:
    name = layer_of_replay(source.layer, day)
    with database.session() as session:
        recorded = read_catalogue(session)[source.layer]
        title = Text(en="{of} (replayed, shifted from {day})", vi="{of} (phát lại, dời từ {day})")
        shifted = Text(
            en="Not of today: values recorded on {day}, shifted to the present for a demonstration.",
            vi="Không phải số liệu hôm nay: ghi nhận ngày {day}, được dời về hiện tại để trình diễn.",
        )
        entry = LayerEntry(
            name, "sensors", title.format(of=source.title.text, day=day.isoformat()),
            shifted.format(day=day.isoformat()), recorded.licence, recorded.attribution, recorded.sharing, sample=True,
        )  # fmt: skip
        ensure_layer(session, entry)
    return name


def _declaration(source: SourceSpec, day: date, of: StreamEntry, number: int, code: str) -> StreamDeclaration:
    thing_code = code.rpartition(".")[0][:100] or code
    if of.longitude is not None and of.latitude is not None:
        note = Text(en="Where the recorded stream is.", vi="Tại vị trí của luồng đã ghi.")
        place = Place(point=(of.longitude, of.latitude), note=note)
    else:
        note = (
            of.note if of.note.en else Text(en="The recorded stream has no place.", vi="Luồng đã ghi chưa có vị trí.")
        )
        place = Place(note=note)
    shifted = f"replayed, shifted from {day.isoformat()}"
    made = declaration(
        source.value[number], thing=thing_code, thing_name=f"{of.thing_name} ({shifted})"[:300], code=code,
        basis=source.basis, sensor=source.sensor, description=f"{shifted}. {source.description}".strip(), place=place,
        properties={"source": source.name, **source.properties, "replayed": True, "shifted_from": day.isoformat()},
    )  # fmt: skip
    return replace(made, sensor_name=source.sensor)

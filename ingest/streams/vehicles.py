"""Vehicles of a GTFS-Realtime feed: their positions become Locations of Things with history, their speeds streams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
from google.protobuf.message import DecodeError
from google.transit import gtfs_realtime_pb2

from ingest.streams.description import ValueSpec, as_code, declaration
from ingest.streams.poller_spec import PollerSpec
from layers.observed.vehicles import distance, is_jump
from twin.errors import BadInput
from twin.streams.declare import Place, declare_streams, notify_streams
from twin.streams.writer import EARLIEST, FUTURE_SECONDS, Observation, StreamWriter
from twin.text import Text

if TYPE_CHECKING:
    from ingest.streams.poller import PollCounts, Unread

MOVES = Text(en="A vehicle: its place is its newest position.", vi="Phương tiện: vị trí là tọa độ mới nhất.")
MOST_VEHICLES = 20_000
# GTFS-Realtime has speeds in metres a second.
SPEED = ValueSpec(kind="vehicle_speed", unit="m/s")

THINGS_SQL = """
SELECT d.code, d.thing_id, d.agency_id, t.name, (
    SELECT max(h.time) FROM live.historical_location h WHERE h.thing_id = d.thing_id
) AS located
FROM live.datastream d JOIN live.thing t ON t.id = d.thing_id WHERE d.id = ANY($1::int4[])
"""

MOVE_SQL = """
WITH place AS (
    INSERT INTO live.location (agency_id, name, location, geom)
    VALUES ($1, $3, $4::jsonb, ST_SetSRID(ST_GeomFromGeoJSON($4), 4326)) RETURNING id
), past AS (
    INSERT INTO live.historical_location (thing_id, time) VALUES ($2, $5) RETURNING id
), kept AS (
    INSERT INTO live.historical_location_location SELECT past.id, place.id FROM past, place
)
INSERT INTO live.thing_location SELECT $2, id FROM place
"""


@dataclass(slots=True)
class _Vehicle:
    """A vehicle that is declared, and where it was last."""

    stream: int
    thing: int
    agency: int
    name: str
    located: datetime | None
    point: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Report:
    """What a feed says of a vehicle; speed in metres a second."""

    name: str
    time: datetime
    point: tuple[float, float]
    speed: float | None


class VehicleFeed:
    """Reads vehicle positions; alerts of the service are counted. A vehicle is declared when it is first seen."""

    def __init__(self, spec: PollerSpec, writer: StreamWriter) -> None:
        self._spec = spec
        self._writer = writer
        self._vehicles: dict[str, _Vehicle] = {}

    async def store(
        self, connection: asyncpg.Connection, content: bytes, received: datetime, counts: PollCounts, unread: Unread
    ) -> None:
        """Write the positions and speeds of a feed."""
        reports, alerts = self._read(content, received, unread)
        await self._declare(connection, reports)
        moves: list[tuple[Any, ...]] = []
        points: list[tuple[_Vehicle, _Report]] = []
        speeds = []
        for code, report in reports.items():
            vehicle = self._vehicles[code]
            if vehicle.located is not None and report.time <= vehicle.located:
                continue
            if vehicle.located is not None and vehicle.point is not None:
                seconds = (report.time - vehicle.located).total_seconds()
                if is_jump(distance(*vehicle.point, *report.point), seconds):
                    unread.add(
                        BadInput(
                            Text(
                                en="The vehicle “{name}” cannot have moved so far.",
                                vi="Phương tiện “{name}” không thể đi xa như vậy.",
                            ).format(name=report.name)
                        )
                    )
                    continue
            geojson = orjson.dumps({"type": "Point", "coordinates": [round(x, 7) for x in report.point]}).decode()
            moves.append((vehicle.agency, vehicle.thing, vehicle.name, geojson, report.time))
            points.append((vehicle, report))
            if report.speed is not None:
                speeds.append(Observation(vehicle.stream, report.time, report.speed))
        if moves:
            await connection.execute(
                "DELETE FROM live.thing_location WHERE thing_id = ANY($1::int4[])", [move[1] for move in moves]
            )
            await connection.executemany(MOVE_SQL, moves)
            await notify_streams(connection)
        counts.written.add(await self._writer.write(connection, speeds, f"poller {self._spec.name}"))
        counts.alerts += alerts
        counts.positions += len(moves)
        for vehicle, report in points:
            vehicle.located, vehicle.point = report.time, report.point

    def forget(self) -> None:
        """Forget the vehicles: they are read from the database again."""
        self._vehicles.clear()

    def _read(self, content: bytes, received: datetime, unread: Unread) -> tuple[dict[str, _Report], int]:
        """Return the vehicles of a feed by code, and the number of its alerts."""
        feed = gtfs_realtime_pb2.FeedMessage()
        try:
            feed.ParseFromString(content)
        except DecodeError:
            raise BadInput(Text(en="The answer is no GTFS-Realtime.", vi="Trả lời không phải GTFS-Realtime.")) from None
        if len(feed.entity) > MOST_VEHICLES:
            raise BadInput(
                Text(en="The feed has more than {most:,} entities.", vi="Nguồn có hơn {most:,} đối tượng.").format(
                    most=MOST_VEHICLES
                )
            )
        reports: dict[str, _Report] = {}
        alerts = 0
        for entity in feed.entity:
            alerts += entity.HasField("alert")
            if not entity.HasField("vehicle") or not entity.vehicle.HasField("position"):
                continue
            try:
                report = _report(entity, feed.header.timestamp, received)
            except BadInput as error:
                unread.add(error)
            else:
                reports[as_code(f"{self._spec.name}-{report.name}")] = report
        return reports, alerts

    async def _declare(self, connection: asyncpg.Connection, reports: dict[str, _Report]) -> None:
        """Declare the vehicles that are seen for the first time since the program was started."""
        new = {code: report for code, report in reports.items() if code not in self._vehicles}
        if not new:
            return
        declarations = [
            declaration(
                SPEED, thing=code, thing_name=report.name, code=f"{code}.{SPEED.kind}"[:100], place=Place(note=MOVES),
                properties={"source": self._spec.name},
            )
            for code, report in new.items()
        ]  # fmt: skip
        ids = await declare_streams(connection, self._spec.layer, declarations)
        rows = {row["code"]: row for row in await connection.fetch(THINGS_SQL, list(ids.values()))}
        for declared in declarations:
            row = rows[declared.code]
            self._vehicles[declared.thing] = _Vehicle(
                ids[declared.code], row["thing_id"], row["agency_id"], row["name"], row["located"]
            )


def _report(entity: Any, of_feed: int, received: datetime) -> _Report:
    position, stated = entity.vehicle.position, entity.vehicle.timestamp or of_feed
    name = (entity.vehicle.vehicle.id or entity.vehicle.vehicle.label or entity.id).strip()[:60].replace("\0", "·")
    try:
        time = datetime.fromtimestamp(stated, UTC) if stated else received
    except (ValueError, OverflowError, OSError):
        time = EARLIEST
    point = position.longitude, position.latitude
    fits = -180 <= point[0] <= 180 and -90 <= point[1] <= 90 and point != (0.0, 0.0)
    if not name or not fits or not EARLIEST < time <= received + timedelta(seconds=FUTURE_SECONDS):
        raise BadInput(
            Text(
                en="The vehicle “{name}” has no believable place or time.",
                vi="Phương tiện “{name}” không có vị trí hoặc thời điểm tin được.",
            ).format(name=name)
        )
    return _Report(name, time, point, position.speed if position.HasField("speed") else None)

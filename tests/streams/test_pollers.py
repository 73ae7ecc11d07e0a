"""Pollers: values of addresses that are asked every so often, from a server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.transit import gtfs_realtime_pb2

from ingest.streams.description import read_description
from ingest.streams.poller import Poller
from ingest.streams.poller_spec import PollerSpec
from ingest.streams.service import stream_pool
from tests.conftest import ROOT, run_async
from tests.streams.test_stream_commands import environment
from tests.streams.worlds import START, declared, describe, world
from twin.db.database import Database
from twin.errors import BadInput, SetupProblem
from twin.streams.flags import Flag
from twin.streams.writer import StreamWriter

NOW = datetime.now(UTC).replace(microsecond=0)


class Source:
    """A server whose answer a test sets; it remembers the headers of requests."""

    def __init__(self) -> None:
        self.status, self.body, self.etag = 200, b"", ""
        self.requests: list[dict[str, str]] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.requests.append({name.lower(): value for name, value in self.headers.items()})
                known = source.etag and self.headers.get("If-None-Match") == source.etag
                self.send_response(304 if known else source.status)
                if source.status == 302:
                    self.send_header("Location", "/elsewhere")
                if source.etag:
                    self.send_header("ETag", source.etag)
                body = b"" if known else source.body
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/values"


@contextmanager
def source() -> Iterator[Source]:
    made = Source()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def spec(address: str, **more: Any) -> PollerSpec:
    settings: dict[str, Any] = {
        "name": "rain_service", "layer": "env.open", "address": address, "every_seconds": 60,
        "records": "data.stations", "time": "at",
        "value": [{"code": "{id}", "value": "now.dust", "unit_field": "unit"}],
    } | more  # fmt: skip
    return PollerSpec.model_validate({name: value for name, value in settings.items() if value is not None})


def document(*stations: dict[str, Any]) -> bytes:
    return json.dumps({"data": {"stations": stations}}).encode()


def station(code: str, value: object, minutes: int = 0, unit: str = "ug/m3") -> dict[str, Any]:
    moment = (START + timedelta(minutes=minutes)).isoformat()
    return {"id": code, "at": moment, "now": {"dust": value}, "unit": unit}


def test_records_are_mapped_to_streams_and_those_that_cannot_be_read_are_counted(database: Database) -> None:
    describe(database)

    async def work(served: Source) -> None:
        async with world(database, declared("a", units={"mg/m3": (1000.0, 0.0)}), declared("b")) as w:
            poller = Poller(spec(served.address), StreamWriter(w.directory))
            served.body = document(
                station("a", 0.012, unit="mg/m3"), station("b", 900), station("nobody", 1), {"id": "a"},
                station("a", 3, unit="ppb", minutes=1), {"id": "b", "at": "yesterday", "now": {"dust": 1}, "unit": "x"},
            )  # fmt: skip
            async with stream_pool(database) as pool, httpx.AsyncClient() as http:
                assert await poller.poll(pool, http)
                assert await poller.poll(pool, http)
            rows = await w.rows("SELECT stream, value, flag FROM live.observation ORDER BY stream, time")
            a, b = w.ids["a"], w.ids["b"]
            assert [tuple(row) for row in rows] == [(a, 12.0, 0), (a, 3.0, Flag.UNIT), (b, 900.0, Flag.OUT_OF_RANGE)]
            assert (poller.counts.written.new, poller.counts.written.repeated, poller.counts.unread) == (3, 3, 6)
            unread = await w.rows("SELECT source, reason, agency, count FROM live.unread_message ORDER BY reason")
            assert [tuple(row) for row in unread] == [
                ("poller rain_service", "BadInput", "env", 4), ("poller rain_service", "NotFound", "env", 2),
            ]  # fmt: skip

    with source() as served:
        run_async(work(served))


def test_requests_are_conditional_and_headers_come_from_the_environment(database: Database) -> None:
    describe(database)

    async def work(served: Source) -> None:
        async with world(database) as w:
            wanted = spec(served.address, headers={"X-Key": "RAIN_KEY"})
            with pytest.raises(SetupProblem, match="RAIN_KEY"):
                Poller(wanted, w.writer, {})
            poller = Poller(wanted, w.writer, {"RAIN_KEY": "secret"})
            served.body, served.etag = document(station("a", 1)), '"one"'
            async with stream_pool(database) as pool, httpx.AsyncClient() as http:
                for _ in range(3):
                    assert await poller.poll(pool, http)
            assert (poller.counts.polls, poller.counts.unchanged, poller.counts.written.new) == (3, 2, 1)
            assert {request["x-key"] for request in served.requests} == {"secret"}

    with source() as served:
        run_async(work(served))


def test_what_goes_wrong_is_counted_and_the_next_answer_is_taken(database: Database) -> None:
    describe(database)

    async def work(served: Source) -> None:
        async with world(database) as w:
            poller = Poller(spec(served.address, most_bytes=1000), w.writer)
            good = document(station("a", 1))
            async with stream_pool(database) as pool, httpx.AsyncClient() as http:
                for status, body in ((500, good), (302, good), (200, b"<html>"), (200, b"{}"), (200, b" " * 2000)):
                    served.status, served.body = status, body
                    assert not await poller.poll(pool, http)
                served.status, served.body = 200, good
                assert await poller.poll(pool, http)
                served.server.shutdown()
                served.server.server_close()
                assert not await poller.poll(pool, http)
            assert (poller.counts.failed, poller.counts.written.new) == (6, 1)
            counted = dict(await w.rows("SELECT reason, count FROM live.unread_message"))  # type: ignore[arg-type]
            assert counted == {"BadInput": 3, "Unavailable": 3}

    with source() as served:
        run_async(work(served))


@pytest.mark.parametrize(
    ("more", "about"),
    [
        ({"address": "file:///etc/passwd"}, "http"),
        ({"address": "http://me:word@host/"}, "password"),
        ({"value": []}, "poller.value"),
        ({"type": "gtfs-rt"}, "leave out"),
        ({"every_seconds": 0}, "every_seconds"),
    ],
)
def test_a_poller_that_cannot_work_is_refused_where_it_is_described(
    tmp_path: Path, more: dict[str, Any], about: str
) -> None:
    settings = {"address": "http://host/x", "every_seconds": 60, "value": [{"code": "a", "value": "v"}]} | more
    lines = ["[[poller]]", 'name = "rain"', 'layer = "env.open"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items() if name != "value"]
    for value in settings["value"]:  # type: ignore[union-attr]
        lines += ["[[poller.value]]", *(f"{name} = {json.dumps(text)}" for name, text in value.items())]
    file = tmp_path / "streams.toml"
    file.write_text("\n".join(lines))
    with pytest.raises(BadInput, match=about):
        read_description(file)


def feed(*vehicles: tuple[str, float, float, float | None, datetime], alerts: int = 0) -> bytes:
    message = gtfs_realtime_pb2.FeedMessage()
    message.header.gtfs_realtime_version = "2.0"
    for number, (name, longitude, latitude, speed, moment) in enumerate(vehicles):
        entity = message.entity.add()
        entity.id = str(number)
        entity.vehicle.vehicle.id = name
        entity.vehicle.timestamp = int(moment.timestamp())
        entity.vehicle.position.longitude, entity.vehicle.position.latitude = longitude, latitude
        if speed is not None:
            entity.vehicle.position.speed = speed
    for number in range(alerts):
        entity = message.entity.add()
        entity.id = f"alert-{number}"
        entity.alert.header_text.translation.add().text = "Diverted"
    return bytes(message.SerializeToString())


def test_vehicles_become_things_with_a_history_of_locations_and_a_stream_of_speed(database: Database) -> None:
    describe(database)
    before = NOW - timedelta(seconds=60)

    async def work(served: Source) -> None:
        async with world(database) as w:
            wanted = spec(served.address, name="buses", type="gtfs-rt", records=None, time=None, value=None)
            async with stream_pool(database) as pool, httpx.AsyncClient() as http:
                poller = Poller(wanted, w.writer)
                served.body = feed(
                    ("51B 1", 106.70, 10.77, 10.0, before), ("51B-2", 106.8, 10.8, None, before), alerts=2
                )
                assert await poller.poll(pool, http)
                assert await poller.poll(pool, http)
                served.body = feed(
                    ("51B 1", 106.701, 10.77, 5.0, NOW), ("51B-2", 107.9, 10.8, 4.0, NOW),
                    ("51B-3", 0.0, 0.0, 4.0, NOW), ("51B-4", 106.7, 10.7, 4.0, NOW + timedelta(hours=1)),
                )  # fmt: skip
                assert await poller.poll(pool, http)
                # Another program goes on where this one was.
                assert await Poller(wanted, w.writer).poll(pool, http)
                assert (poller.counts.positions, poller.counts.alerts, poller.counts.unread) == (3, 4, 3)
                served.body = b"\xff\xff no feed"
                assert not await poller.poll(pool, http)
            things = await w.rows(
                "SELECT t.code, round(ST_X(l.geom)::numeric, 3)::float8 AS x FROM live.thing t "
                "JOIN live.thing_location tl ON tl.thing_id = t.id JOIN live.location l ON l.id = tl.location_id "
                "WHERE t.code LIKE 'buses%' ORDER BY 1"
            )
            # The new program knows no earlier place of the second bus, and so believes the jump.
            assert [tuple(row) for row in things] == [("buses-51B-1", 106.701), ("buses-51B-2", 107.9)]
            history = await w.rows(
                "SELECT t.code, h.time FROM live.historical_location h JOIN live.thing t ON t.id = h.thing_id "
                "WHERE t.code = 'buses-51B-1' ORDER BY 2"
            )
            assert [row["time"] for row in history] == [before, NOW]
            speeds = await w.rows(
                "SELECT o.value FROM live.observation o JOIN live.datastream d ON d.id = o.stream "
                "WHERE d.code = 'buses-51B-1.vehicle_speed' ORDER BY time"
            )
            assert [row["value"] for row in speeds] == [36.0, 18.0]

    with source() as served:
        run_async(work(served))


def test_the_service_asks_the_addresses_of_the_file_that_it_is_given(database: Database, tmp_path: Path) -> None:
    describe(database)

    async def stored() -> list[float]:
        async with world(database) as w:
            return [row["value"] for row in await w.rows("SELECT value FROM live.observation")]

    run_async(stored())
    with source() as served:
        served.body = document(station("a", 4.5))
        file = tmp_path / "streams.toml"
        file.write_text(
            f"""
            [[poller]]
            name = "dust"
            layer = "env.open"
            address = "{served.address}"
            every_seconds = 1
            records = "data.stations"
            time = "at"
            [[poller.value]]
            code = "{{id}}"
            value = "now.dust"
            """
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "twin", "ingest", "stream", "run", "--pollers", file],
            env=environment(database) | {"TWIN_MQTT_URL": "mqtt://127.0.0.1:9"}, cwd=ROOT, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while not (found := run_async(stored())) and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            process.terminate()
            _, told = process.communicate(timeout=20)
        assert found == [4.5], told.decode()
        assert process.returncode == 0

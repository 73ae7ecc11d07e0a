"""Streams over HTTP: lists, series, states now and then, and values on `/live`; hidden ones do not exist anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import h3
import httpx
import numpy as np
import pytest

from tests.conftest import LiveServer, run_async, serving
from tests.live.readers import following
from tests.streams.worlds import START, ZONE, declared, describe, world
from twin.access.keys import new_key
from twin.db.database import Database
from twin.db.tables import PrincipalRole, Sharing
from twin.streams.declare import Place, StreamDeclaration
from twin.streams.flags import Flag
from twin.streams.rollups import roll_up
from twin.streams.writer import Observation

LEVELS = (Sharing.OPEN, Sharing.SHARED, Sharing.RESTRICTED)
# Two streams a layer: one of particles, one of speed with its free-flow speed.
POINT = (106.7, 10.77)


def streams_of(level: Sharing) -> list[StreamDeclaration]:
    """A gauge of particles and a road, of one layer."""
    road = declared(
        f"{level.value}-road", kind="traffic_speed", unit="km/h", lowest=0, highest=130,
        properties={"free_flow_kmh": 50}, place=Place(cell="8a65b5694d07fff"), basis="simulated",
    )  # fmt: skip
    return [declared(f"{level.value}-air"), road]


def write(database: Database, level: Sharing, values: dict[str, list[tuple[datetime, float | None]]]) -> dict[str, int]:
    """Write values of a level's streams by the end of their codes."""

    async def work() -> dict[str, int]:
        async with world(database, *streams_of(level), layer=f"env.{level.value}") as w:
            batch = [
                Observation(w.ids[f"{level.value}-{code}"], moment, value)
                for code, points in values.items() for moment, value in points
            ]  # fmt: skip
            await w.writer.write(w.connection, batch, "test")
            await roll_up(w.connection, ZONE)
            return w.ids

    return run_async(work())


@pytest.fixture(scope="module")
def city(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of a city with streams at every sharing level; a day old, and at this moment."""
    describe(module_database, *LEVELS)
    now = datetime.now(UTC)
    for level in LEVELS:
        past = [(START + timedelta(minutes=m), float(m)) for m in range(60)]
        write(module_database, level, {"air": [*past, (now, 42.0)], "road": [(now, 20.0)]})
    with serving(module_database, tmp_path_factory.mktemp("streams") / "server.log") as server:
        deadline = time.monotonic() + 20
        while httpx.get(f"{server.url}/streams").json().get("numberMatched") != 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield server


def reader_key(database: Database, agency: str) -> str:
    """A key of an agency that may only read."""
    with database.session() as session:
        return new_key(session, agency, f"tester of {agency}", PrincipalRole.READER, "a test")


@pytest.fixture(scope="module")
def keys(module_database: Database) -> dict[str, dict[str, str]]:
    """Headers by who sends them."""
    return {
        "nobody": {},
        "other": {"Authorization": f"Bearer {reader_key(module_database, 'health')}"},
        "own": {"Authorization": f"Bearer {reader_key(module_database, 'env')}"},
    }


SEES = {"nobody": {"env.open"}, "other": {"env.open", "env.shared"},
        "own": {"env.open", "env.shared", "env.restricted"}}  # fmt: skip


@pytest.mark.parametrize("who", SEES)
def test_a_reader_finds_exactly_the_streams_that_its_sharing_level_gives(
    city: LiveServer, keys: dict[str, dict[str, str]], who: str
) -> None:
    with httpx.Client(base_url=city.url, headers=keys[who]) as http:
        found = http.get("/streams").json()
        assert {s["collection"] for s in found["streams"]} == SEES[who]
        assert found["numberMatched"] == 2 * len(SEES[who])
        everything = httpx.get(f"{city.url}/streams", headers=keys["own"]).json()["streams"]
        for stream in everything:
            allowed = stream["collection"] in SEES[who]
            for address in (f"/streams/{stream['id']}", f"/streams/{stream['id']}/series"):
                assert http.get(address).status_code == (200 if allowed else 404), (who, address)
            for address in ("state", "state/cells"):
                answer = http.get(f"/collections/{stream['collection']}/{address}")
                assert answer.status_code == (200 if allowed else 404), (who, address)
            if not allowed:
                missing = http.get("/streams/999999").json()
                hidden = http.get(f"/streams/{stream['id']}").json()
                assert hidden["detail"] == missing["detail"]
        with following(f"{city.url}/live?state=true&once=true", headers=keys[who]) as live:
            assert live.event()[0] == "current"  # type: ignore[index]
            name, data = live.event()  # type: ignore[misc]
            ids = {s["id"] for s in everything if s["collection"] in SEES[who]}
            assert (name, {row[0] for row in data["values"]}) == ("state", ids)


def test_a_stream_tells_what_its_value_means(city: LiveServer) -> None:
    found = {s["code"]: s for s in httpx.get(f"{city.url}/streams", params={"lang": "en"}).json()["streams"]}
    air, road = found["open-air"], found["open-road"]
    assert (air["unit"], air["position"], air["basis"]) == ("ug/m3", [106.7, 10.77], "measured")
    assert (air["latest"]["value"], air["latest"]["flags"], air["latest"]["fresh"]) == (42.0, [], True)
    assert air["latest"]["grade"] and air["latest"]["color"].startswith("#")
    # 20 of 50 km/h is 40 %: level E begins there.
    assert (road["latest"]["grade"], road["basis"], road["cell"]) == ("E", "simulated", "8a65b5694d07fff")
    one = httpx.get(f"{city.url}/streams/{air['id']}", params={"lang": "vi"}).json()
    assert one["meaning"]["scales"][0]["grades"][0]["title"] == "Tốt"


def test_a_series_over_http_has_its_buckets_and_gaps(city: LiveServer) -> None:
    stream = next(s for s in httpx.get(f"{city.url}/streams").json()["streams"] if s["code"] == "open-air")
    query = {"from": START.isoformat(), "to": (START + timedelta(hours=2)).isoformat(), "every": "30m"}
    answer = httpx.get(f"{city.url}/streams/{stream['id']}/series", params=query).json()
    assert [b["value"] for b in answer["buckets"]] == [14.5, 44.5, None, None]
    assert [(b["n"], b["expected"], b["open"]) for b in answer["buckets"]] == [
        (30, 30, False), (30, 30, False), (0, 30, False), (0, 30, False),
    ]  # fmt: skip
    # As a browser sends a plus that was not escaped.
    text = f"/streams/{stream['id']}/series?from=2026-01-01T00:00:00+07:00&to=2026-01-01T01:00:00+07:00&every=1h"
    assert httpx.get(city.url + text).status_code == 200


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/streams/{id}/series?every=0m", "every"),
        ("/streams/{id}/series?every=soon", "every"),
        ("/streams/{id}/series?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "before"),
        ("/streams/{id}/series?from=yesterday", "no time"),
        ("/streams/{id}/series?from=2026-01-01T00:00:00", "zone"),
        ("/streams/{id}/series?from=2020-01-01T00:00:00Z&every=30s", "buckets"),
        ("/streams/{id}/series?stat=median", ""),
        ("/streams?bbox=1,2,3", "bbox"),
        ("/streams?bbox=nan,0,1,1", "bbox"),
        ("/streams?cell=zz", "H3"),
        ("/streams?streams=a", "streams"),
        ("/collections/env.open/state?at=2999-01-01T00:00:00Z", "future"),
        ("/collections/env.open/state/cells?resolution=16", ""),
        ("/live?bbox=9,9,1,1", "bbox"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(city: LiveServer, address: str, words: str) -> None:
    stream = httpx.get(f"{city.url}/streams").json()["streams"][0]["id"]
    answer = httpx.get(city.url + address.format(id=stream), headers={"Accept-Language": "en"})
    assert answer.status_code in (400, 422), answer.text
    assert words in answer.json()["detail"]


def test_streams_are_found_by_box_cell_kind_and_page(city: LiveServer) -> None:
    def codes(**query: object) -> set[str]:
        return {s["code"] for s in httpx.get(f"{city.url}/streams", params=query).json()["streams"]}  # type: ignore[arg-type]

    assert codes(bbox="106.69,10.76,106.71,10.78") == {"open-air"}
    assert codes(cell=h3.latlng_to_cell(POINT[1], POINT[0], 8)) == {"open-air"}
    assert codes(cell=h3.cell_to_parent("8a65b5694d07fff", 6)) >= {"open-road"}
    assert codes(kinds="traffic_speed") == {"open-road"}
    assert codes(layers="env.restricted") == set()
    first = httpx.get(f"{city.url}/streams", params={"limit": 1}).json()
    second = httpx.get(first["next"]).json()
    assert [s["code"] for s in first["streams"] + second["streams"]] == ["open-air", "open-road"]
    assert "next" not in second


def test_the_state_of_the_past_is_the_one_of_then(city: LiveServer) -> None:
    def state(**query: str) -> dict[str, float]:
        answer = httpx.get(f"{city.url}/collections/env.open/state", params=query).json()
        return {v["kind"]: v["value"] for v in answer["values"]}

    assert state() == {"pm2_5": 42.0, "traffic_speed": 20.0}
    at = START + timedelta(minutes=30, seconds=5)
    assert state(at=at.isoformat()) == {"pm2_5": 30.0}
    assert state(at=(START - timedelta(minutes=1)).isoformat()) == {}


def test_the_compact_state_says_the_same_as_the_json(city: LiveServer) -> None:
    address = f"{city.url}/collections/env.open/state"
    rows = httpx.get(address).json()["values"]
    content = httpx.get(address, params={"f": "bin"}).content
    count = int(np.frombuffer(content, "<u4", 1)[0])
    assert count == len(rows) and len(content) == 4 + 14 * count
    streams, numbers = np.frombuffer(content, "<u4", count, 4), np.frombuffer(content, "<f4", count, 4 + 4 * count)
    assert streams.tolist() == [row["stream"] for row in rows]
    assert numbers.tolist() == [pytest.approx(row["value"]) for row in rows]


def test_the_state_of_cells_rolls_up_by_the_rule_of_its_kind(city: LiveServer) -> None:
    answer = httpx.get(f"{city.url}/collections/env.open/state/cells", params={"resolution": 7}).json()
    cells = {cell["kind"]: cell for cell in answer["cells"]}
    assert cells["pm2_5"]["cell"] == h3.latlng_to_cell(POINT[1], POINT[0], 7)
    assert (cells["pm2_5"]["value"], cells["pm2_5"]["streams"]) == (42.0, 1)
    assert cells["traffic_speed"]["cell"] == h3.cell_to_parent("8a65b5694d07fff", 7)


def test_live_sends_a_new_value_to_those_who_may_see_it_and_wakes_nobody_else(
    city: LiveServer, keys: dict[str, dict[str, str]]
) -> None:
    with (
        following(f"{city.url}/live?state=true") as nobody,
        following(f"{city.url}/live?state=true", headers=keys["own"]) as own,
        following(f"{city.url}/live?kinds=traffic_speed") as roads,
        following(f"{city.url}/live") as layers,
    ):
        for reader in (nobody, own, roads):
            assert [reader.event()[0] for _ in range(2)] == ["current", "state"]  # type: ignore[index]
        assert layers.event()[0] == "current"  # type: ignore[index]
        now = datetime.now(UTC)
        ids = write(city.database, Sharing.RESTRICTED, {"air": [(now, 99.0)]})
        name, data = own.event()  # type: ignore[misc]
        assert (name, [row[:2] for row in data["values"]]) == ("state", [[ids["restricted-air"], 99.0]])
        assert nobody.nothing_more(0.8) and roads.nothing_more(0.1) and layers.nothing_more(0.1)
        ids = write(city.database, Sharing.OPEN, {"road": [(datetime.now(UTC), 48.0)]})
        for reader in (nobody, own, roads):
            name, data = reader.event()  # type: ignore[misc]
            assert [row[:2] for row in data["values"]] == [[ids["open-road"], 48.0]]
        assert layers.nothing_more(0.5)


def test_a_reader_that_comes_again_gets_what_it_missed_and_nothing_twice(city: LiveServer) -> None:
    with following(f"{city.url}/live?state=true") as live:
        assert [live.event()[0] for _ in range(2)] == ["current", "state"]  # type: ignore[index]
        known = live.last_id
    ids = write(city.database, Sharing.OPEN, {"air": [(datetime.now(UTC), 17.0)]})
    time.sleep(0.6)
    with following(f"{city.url}/live?state=true", headers={"Last-Event-ID": str(known)}) as live:
        name, data = live.event()  # type: ignore[misc]
        assert (name, [row[:2] for row in data["values"]]) == ("state", [[ids["open-air"], 17.0]])
        again = live.last_id
    with following(f"{city.url}/live?state=true", headers={"Last-Event-ID": str(again)}) as live:
        assert live.nothing_more(0.8)
    for other in ("x.y", "x.99999999999999999999", "..", ""):
        with following(f"{city.url}/live?state=true", headers={"Last-Event-ID": other}) as live:
            assert [live.event()[0] for _ in range(2)] == ["current", "state"]  # type: ignore[index]


def test_a_flagged_value_has_no_grade_and_says_why(city: LiveServer) -> None:
    ids = write(city.database, Sharing.OPEN, {"air": [(datetime.now(UTC), 900.0)]})
    time.sleep(0.6)
    value = httpx.get(f"{city.url}/streams/{ids['open-air']}").json()["latest"]
    assert (value["flags"], value["grade"], value["value"]) == (["out_of_range"], None, 900.0)
    with following(f"{city.url}/live?streams={ids['open-air']}&once=true") as live:
        live.event()
        (row,) = live.event()[1]["values"]  # type: ignore[index]
        assert row[1:4] == [900.0, -1, int(Flag.OUT_OF_RANGE)]

"""The Python client reads streams: what there is, the past, a layer's state, and values as they come."""

from __future__ import annotations

import doctest
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pandas as pd
import pytest

import twin.client.streams
from tests.conftest import LiveServer, run_async, serving
from tests.streams.worlds import ZONE, declared, describe, world
from twin.client import Current, StateChange, Twin
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.errors import BadInput, NotFound
from twin.streams.declare import Place
from twin.streams.rollups import roll_up
from twin.streams.writer import Observation
from twin.text import Text

# The hour that the examples of the documentation name.
HOUR = datetime(2026, 5, 31, 1, tzinfo=UTC)
NOW = datetime.now(UTC).replace(microsecond=0)
NOWHERE = Place(note=Text(en="It moves.", vi="Di động."))


async def write(database: Database, values: list[tuple[str, datetime, float]]) -> dict[str, int]:
    """Write values of two streams, of which one has no place."""
    async with world(database, declared("a"), declared("b", place=NOWHERE)) as w:
        batch = [Observation(w.ids[code], moment, value) for code, moment, value in values]
        await w.writer.write(w.connection, batch, "test")
        await roll_up(w.connection, ZONE)
        return w.ids


@pytest.fixture(scope="module")
def ids(module_database: Database) -> dict[str, int]:
    describe(module_database, Sharing.OPEN, Sharing.RESTRICTED)
    past = [("a", HOUR + timedelta(minutes=n), float(n)) for n in range(50)]
    return run_async(write(module_database, [*past, ("a", NOW, 42.0), ("b", NOW, 900.0)]))


@pytest.fixture(scope="module")
def served(
    module_database: Database, ids: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    with serving(module_database, tmp_path_factory.mktemp("client") / "server.log") as server:
        deadline = time.monotonic() + 20
        while httpx.get(f"{server.url}/streams").json().get("numberMatched") != len(ids):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield server


@pytest.fixture
def city(served: LiveServer) -> Iterator[Twin]:
    with Twin(served.url) as city:
        yield city


def test_the_examples_of_the_documentation_give_what_they_say(city: Twin) -> None:
    found = doctest.testmod(twin.client.streams, extraglobs={"city": city})
    assert found.failed == 0 and found.attempted > 2


def test_streams_are_a_table_with_their_latest_values(
    city: Twin, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = city.streams()
    assert frame.index.tolist() == sorted(ids.values())
    a, b = frame.loc[ids["a"]], frame.loc[ids["b"]]
    assert (a["code"], a["layer"], a["kind"], a["unit"], a["value"]) == ("a", "env.open", "pm2_5", "ug/m3", 42.0)
    assert (a["longitude"], a["latitude"], a["time"]) == (106.7, 10.77, pd.Timestamp(NOW))
    assert pd.isna(b["longitude"]) and b["flags"] == ["out_of_range"] and frame["fresh"].tolist() == [True, True]
    assert city.streams(kinds="rain").empty and city.streams(layers=["env.restricted"]).empty
    # Page by page.
    monkeypatch.setattr("twin.client.streams.PAGE", 1)
    pd.testing.assert_frame_equal(city.streams("env.open", ["pm2_5", "rain"]), frame)


def test_a_series_has_gaps_as_gaps_and_says_on_how_many_values_it_rests(city: Twin, ids: dict[str, int]) -> None:
    frame = city.stream(ids["a"]).series("15m", start=HOUR, end=pd.Timestamp(HOUR) + pd.Timedelta("75min"))
    assert frame.index.tolist() == [pd.Timestamp(HOUR) + n * pd.Timedelta("15min") for n in range(5)]
    assert frame["n"].tolist() == [15, 15, 15, 5, 0] and frame["expected"].tolist() == [15] * 5
    assert frame["value"].tolist()[:4] == [7.0, 22.0, 37.0, 47.0] and pd.isna(frame["value"].iloc[4])
    assert frame.attrs == {"stream": ids["a"], "unit": "ug/m3", "stat": "mean", "basis": "measured"}
    assert city.stream(ids["b"]).series(every="1d")["flagged"].sum() == 1
    assert city.stream(ids["a"]).describe()["code"] == "a"
    with pytest.raises(NotFound):
        city.stream(999).series()
    with pytest.raises(BadInput, match="10,000"):
        city.stream(ids["a"]).series("1m", start="2020-01-01")


def test_a_layers_state_now_and_then(city: Twin, ids: dict[str, int]) -> None:
    now = city.layer("env.open").state()
    assert now["value"].tolist() == [42.0, 900.0] and now.crs.to_epsg() == 4326
    assert (now.geometry.iloc[0].x, now.geometry.iloc[0].y) == (106.7, 10.77) and now.geometry.iloc[1] is None
    then = city.layer("env.open").state(HOUR + timedelta(minutes=10))
    assert then["value"].to_dict() == {ids["a"]: 10.0} and then.attrs["at"] == HOUR + timedelta(minutes=10)
    assert city.layer("env.open").state("2001-01-01T00:00:00Z").empty
    with pytest.raises(NotFound):
        city.layer("env.restricted").state()


def test_values_come_as_events_where_they_are_asked_for(
    city: Twin, module_database: Database, ids: dict[str, int]
) -> None:
    events = city.live(state=True)
    assert isinstance(next(events), Current)
    first = next(events)
    assert isinstance(first, StateChange)
    known = {value.stream: value for value in first.values}
    assert known.keys() == set(ids.values())
    assert known[ids["b"]].flags == ("out_of_range",) and known[ids["b"]].grade is None
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    run_async(write(module_database, [("b", moment, 12.5)]))
    while True:
        event = next(events)
        if isinstance(event, StateChange):
            assert [(v.stream, v.value, v.flags, v.time) for v in event.values] == [(ids["b"], 12.5, (), moment)]
            break
    events.close()

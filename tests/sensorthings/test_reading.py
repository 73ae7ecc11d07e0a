"""Reading SensorThings: paths, options, pages and expansions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.sensorthings.conftest import VALUES, City
from tests.streams.worlds import START

ENTITY_SETS = {
    "Things", "Locations", "HistoricalLocations", "Datastreams", "Sensors", "ObservedProperties", "Observations",
    "FeaturesOfInterest",
}  # fmt: skip


def names(found: Any) -> list[str]:
    return [one["name"] for one in found["value"]]


def test_the_service_root_names_every_set_at_the_address_that_was_asked(city: City) -> None:
    found = city.get(city.root)
    assert {one["name"] for one in found["value"]} == ENTITY_SETS
    assert all(one["url"] == f"{city.root}/{one['name']}" for one in found["value"])
    assert found["serverSettings"]["conformance"]
    for name in ENTITY_SETS:
        assert "value" in city.get(name)


def test_an_entity_has_its_id_its_address_and_its_ways_on(city: City) -> None:
    stream = city.ids["open-air"]
    found = city.get(f"Datastreams({stream})")
    assert found["@iot.id"] == stream and found["@iot.selfLink"] == f"{city.root}/Datastreams({stream})"
    assert found["unitOfMeasurement"]["symbol"] == "ug/m3"
    assert found["properties"] == {"layer": "env.open", "code": "open-air", "kind": "pm2_5", "basis": "measured"}
    for way in ("Thing", "Sensor", "ObservedProperty", "Observations"):
        link = found[f"{way}@iot.navigationLink"]
        assert link == f"{city.root}/Datastreams({stream})/{way}"
        assert city.get(link)
    start, _, end = found["phenomenonTime"].partition("/")
    assert start == START.isoformat().replace("+00:00", "Z") and end > start
    assert found["observedArea"]["type"] == "Point"


def test_a_path_may_have_any_depth(city: City) -> None:
    stream = city.ids["open-air"]
    location = city.get(f"Datastreams({stream})/Thing/Locations")["value"][0]
    assert location["location"] == {"type": "Point", "coordinates": [106.7, 10.77]}
    deep = f"Datastreams({stream})/Thing/Locations({location['@iot.id']})/Things"
    assert names(city.get(deep)) == ["Thing open-air"]
    observation = city.get(f"Datastreams({stream})/Observations", top="1")["value"][0]
    assert observation["@iot.selfLink"] == f"{city.root}/Observations('{observation['@iot.id']}')"
    assert city.get(observation["@iot.selfLink"] + "/Datastream")["@iot.id"] == stream
    assert city.get(observation["@iot.selfLink"])["result"] == observation["result"]
    assert city.get(f"Datastreams({stream})/name") == {"name": "PM open-air"}
    assert city.ask(f"Datastreams({stream})/name/$value").text == "PM open-air"
    assert city.ask(observation["@iot.selfLink"] + "/resultTime").status_code == 204
    assert city.ask(observation["@iot.selfLink"] + "/result/$value").text == "0"
    assert city.get("Things/$ref")["value"][0].keys() == {"@iot.selfLink"}
    assert city.get(f"Datastreams({stream})/Thing/$ref")["@iot.selfLink"].startswith(f"{city.root}/Things(")
    assert city.ask(f"Datastreams({stream})/Observations/$count").text == str(VALUES)


@pytest.mark.parametrize(
    "path",
    [
        "Nothing", "Things(999999)", "Things('a')", "Things(0)", "Things(99999999999999)", "Things(1)/nothing", "$value",
        "Things(1)/name/more", "Things/name", "Observations(5)", "Observations('x@y')", "Observations('1@99')",
        "Observations('1@99999999999999999')", "Datastreams(1)/Thing(7)", "Things/$value", "Things(1)/$value",
        "Things(", "MultiDatastreams", "Datastreams(999)/Observations", "Things(1)/$count",
    ],
)  # fmt: skip
def test_what_is_not_there_answers_404(city: City, path: str) -> None:
    assert city.ask(path).status_code == 404


def test_pages_follow_each_other_by_key_and_lose_nothing(city: City) -> None:
    stream = city.ids["open-air"]
    for order in (None, "phenomenonTime desc", "result", "result desc,phenomenonTime", "phenomenonTime asc", "id desc"):
        options = {"top": "60", "filter": "result ge 0", "count": "true"} | ({"orderby": order} if order else {})
        found = city.get(f"Datastreams({stream})/Observations", **options)
        assert found["@iot.count"] == VALUES
        results, pages = [], 0
        while True:
            results += [one["result"] for one in found["value"]]
            pages += 1
            if "@iot.nextLink" not in found:
                break
            found = city.get(found["@iot.nextLink"])
            assert found["@iot.count"] == VALUES
        expected = [float(m) for m in range(VALUES)]
        assert results == (expected[::-1] if order and "desc" in order else expected), order
        assert pages == 5


def test_options_are_applied_in_the_order_of_the_standard(city: City) -> None:
    stream = city.ids["open-air"]
    found = city.get(
        f"Datastreams({stream})/Observations", filter="result lt 100", orderby="result desc", skip="3", top="2",
        select="result", count="true",
    )  # fmt: skip
    assert found["value"] == [{"result": 96.0}, {"result": 95.0}]
    assert found["@iot.count"] == 100


def test_expansions_are_nested_with_options_of_their_own_and_pages_inside(city: City) -> None:
    stream = city.ids["open-air"]
    found = city.get(
        "Things",
        filter="name eq 'Thing open-air'",
        expand="Locations($select=name),Datastreams($select=name,id;$expand=Observations($orderby=phenomenonTime desc;"
        "$top=2;$select=result;$count=true),Sensor,ObservedProperty/Datastreams)",
    )
    (thing,) = found["value"]
    (datastream,) = thing["Datastreams"]
    assert thing["Locations"] == [{"name": "Thing open-air"}]
    assert [one["result"] for one in datastream["Observations"]] == [VALUES - 1, VALUES - 2]
    assert datastream["Observations@iot.count"] == VALUES
    assert datastream["Sensor"]["name"] == "unknown"
    assert [one["@iot.id"] for one in datastream["ObservedProperty"]["Datastreams"]] == [stream]
    link = datastream["Observations@iot.nextLink"]
    assert link.startswith(f"{city.root}/Datastreams({stream})/Observations?")
    assert [one["result"] for one in city.get(link)["value"]] == [VALUES - 3, VALUES - 4]
    merged = city.get(f"Datastreams({stream})", expand="Thing/Locations,Thing/HistoricalLocations,Observations")
    assert merged["Thing"]["Locations"] and merged["Thing"]["HistoricalLocations"]
    assert len(merged["Observations"]) == 100 and "Observations@iot.nextLink" in merged
    one = city.get("Observations", top="1", expand="Datastream,FeatureOfInterest", orderby="phenomenonTime desc")
    assert one["value"][0]["Datastream"]["@iot.id"] == city.ids["open-road"]


def test_observations_come_as_arrays(city: City) -> None:
    found = city.get("Observations", resultFormat="dataArray", top="3", select="phenomenonTime,result", count="true")
    (group,) = found["value"]
    assert group["components"] == ["phenomenonTime", "result"] and group["dataArray@iot.count"] == 3
    assert group["dataArray"][1] == [(START + timedelta(minutes=1)).isoformat().replace("+00:00", "Z"), 1.0]
    assert "@iot.nextLink" in found


@pytest.mark.parametrize(
    "options",
    [
        {"top": "-1"}, {"top": "a"}, {"skip": "1.5"}, {"count": "yes"}, {"select": "nothing"}, {"expand": "nothing"},
        {"expand": "Datastreams("}, {"expand": "Datastreams($top=a)"}, {"expand": "Datastreams($foo=1)"},
        {"orderby": "nothing"}, {"orderby": "Datastreams/name"}, {"filter": "name eq"}, {"filter": "name eq 5"},
        {"filter": "(" * 50 + "true" + ")" * 50}, {"skiptoken": "zzz"}, {"skiptoken": "WyJhIl0"}, {"format": "xml"},
        {"filter": "nosuch(name)"}, {"resultFormat": "dataArray"}, {"filter": "name eq 'a"}, {"orderby": ""},
        {"expand": "Datastreams($expand=" * 12 + "Thing" + ")" * 12}, {"filter": "Datastreams"}, {"filter": "name"},
        {"filter": "st_within(name, name)"},
    ],
)  # fmt: skip
def test_options_that_cannot_be_read_are_refused_with_a_sentence(city: City, options: dict[str, str]) -> None:
    answer = city.ask("Things", **options)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]

"""Writing SensorThings: who may, deep inserts, changes, removals, arrays; and nothing that is sent is a fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.sensorthings.conftest import City
from tests.streams.worlds import START

UNIT = {"name": "degree Celsius", "symbol": "Cel", "definition": "ucum:Cel"}
POINT = {"type": "Point", "coordinates": [106.71, 10.78]}


def moment(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def location(name: str = "Roof") -> dict[str, Any]:
    return {"name": name, "description": "x", "encodingType": "application/geo+json", "location": POINT}


def datastream(name: str = "Air temperature", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "description": "Temperature in the shade", "unitOfMeasurement": UNIT,
        "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
        "Sensor": {"name": "DHT22", "description": "x", "encodingType": "text/html", "metadata": "https://example.org"},
        "ObservedProperty": {"name": "Temperature", "definition": "http://example.org/t", "description": "x"},
    } | more  # fmt: skip


def thing(name: str = "Weather station", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "On a roof", "properties": {"layer": "env.open", "owner": "school"},
            "Locations": [location()], "Datastreams": [datastream()]} | more  # fmt: skip


def counts(city: City) -> dict[str, str]:
    sets = ("Things", "Locations", "HistoricalLocations", "Datastreams", "Sensors", "ObservedProperties", "Observations",
            "FeaturesOfInterest")  # fmt: skip
    return {name: city.ask(f"{name}/$count", "own").text for name in sets}


def test_a_deep_insert_makes_everything_at_once(city: City) -> None:
    observations = [{"result": 30 + n, "phenomenonTime": moment(n)} for n in range(3)]
    address = city.post("Things", thing(Datastreams=[datastream(Observations=observations)]))
    found = city.get(
        address, expand="Locations,HistoricalLocations/Locations,Datastreams($expand=Sensor,ObservedProperty,Observations/FeatureOfInterest)"
    )  # fmt: skip
    assert found["properties"] == {"layer": "env.open", "code": "weather-station", "owner": "school"}
    assert found["Locations"][0]["location"] == POINT
    assert found["HistoricalLocations"][0]["Locations"][0]["name"] == "Roof"
    (stream,) = found["Datastreams"]
    assert (stream["unitOfMeasurement"], stream["Sensor"]["name"]) == (UNIT, "DHT22")
    assert [one["result"] for one in stream["Observations"]] == [30, 31, 32]
    features = {one["FeatureOfInterest"]["@iot.id"] for one in stream["Observations"]}
    assert len(features) == 1 and stream["Observations"][0]["FeatureOfInterest"]["feature"] == POINT
    assert stream["phenomenonTime"] == f"{moment(0)}/{moment(2)}"
    # A second one of the same name has another code.
    again = city.get(city.post("Things", thing()))
    assert again["properties"]["code"].startswith("weather-station-")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (thing(Datastreams=[datastream(), {"name": "x"}]), "/Datastreams/1/description"),
        (thing(Datastreams=[datastream(Observations=[{"result": 1}, {"phenomenonTime": moment(1)}])]),
         "/Datastreams/0/Observations/1/result"),
        (thing(Datastreams=[datastream(Sensor={"@iot.id": 999_999})]), "/Datastreams/0/Sensor"),
        (thing(Datastreams=[datastream(Sensor={"@iot.id": True})]), "/Datastreams/0/Sensor"),
        (thing(Locations=[location(), {**location(), "location": {"type": "Point", "coordinates": ["a"]}}]),
         "/Locations/1/location"),
        (thing(Locations=[{**location(), "location": {"type": "Point", "coordinates": [500, 10]}}]), "/Locations/0"),
        (thing(name=5), "/name"), (thing(properties=[]), "/properties"), (thing(properties={"layer": "env.nothing"}), "layer"),
        (thing(properties={"layer": "no layer"}), "layer"), (thing(properties={"cell": "zz"}), "/properties/cell"),
        (thing(properties={"code": "ß ß"}), "/properties/code"), (thing(colour="red"), "/colour"),
        (thing(Datastreams={}), "/Datastreams"), ([], "object"), ({}, "/name"),
        (thing(Datastreams=[datastream(Observations=[{"result": 1, "phenomenonTime": "2999-01-01T00:00:00Z"}])]), "future"),
        (thing(Datastreams=[datastream(Observations=[{"result": 1, "phenomenonTime": "soon"}])]), "Observations/0"),
        (thing(Datastreams=[datastream(properties={"basis": "guessed"})]), "/properties/basis"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_whole_leaves_nothing(city: City, body: Any, pointer: str) -> None:
    before = counts(city)
    answer = city.send("POST", "Things", body)
    assert answer.status_code == 400, answer.text
    assert pointer in answer.json()["detail"]
    assert counts(city) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1", b"NaN", b'{"name": NaN}', b'{"name": "a", "name": "b"}', b"\xff\xfe", b'{"name": "\\ud800"}',
     b'{"name": "a\\u0000b", "description": ""}', b'{"name": 1e999}', b'{"name": ' + b"9" * 5000 + b"}",
     b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60, b'{"properties": {"x": ' + b"9" * 40 + b"}}", b"null", b'"x"'],
    ids=range(16),
)  # fmt: skip
def test_a_body_that_is_no_json_is_refused(city: City, content: bytes) -> None:
    for method, path in (
        ("POST", "Things"),
        ("PATCH", "Things(1)"),
        ("PUT", "Things(1)"),
        ("POST", "CreateObservations"),
    ):
        answer = httpx.request(method, f"{city.root}/{path}", content=content, headers=city.keys["device"])
        assert answer.status_code == 400, (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_refused(city: City) -> None:
    answer = city.send("POST", "Things", thing(description="x" * 1_100_000))
    assert answer.status_code == 413


def test_only_keys_that_observe_write_and_only_what_is_their_agency_s(city: City) -> None:
    address = city.post("Things", thing("Mine"))
    stream = city.get(address + "/Datastreams")["value"][0]
    one = city.post(f"Datastreams({stream['@iot.id']})/Observations", {"result": 1, "phenomenonTime": moment(0)})
    bodies = {"POST": thing(), "PATCH": {"name": "x"}, "PUT": thing(), "DELETE": None}
    for who, status in (("nobody", 401), ("own", 403), ("operator", 403), ("other", 403)):
        for method, body in bodies.items():
            path = "Things" if method == "POST" else address
            assert city.send(method, path, body, who).status_code == status, (who, method)
        assert city.send("POST", "CreateObservations", [], who).status_code == status
    for path in (address, stream["@iot.selfLink"], one):
        for method in ("PATCH", "DELETE"):
            assert city.send(method, path, {"description": "x"}, "other device").status_code == 403
        assert city.send("DELETE", path, None, "other").status_code == 403
    assert city.send("POST", "Things", thing(), "other device").status_code == 403
    for parent, body in (
        (f"{address}/Datastreams", datastream()),
        (f"{stream['@iot.selfLink']}/Observations", {"result": 1}),
    ):
        assert city.send("POST", parent, body, "other device").status_code == 403
    linked = {"result": 1, "Datastream": {"@iot.id": stream["@iot.id"]}}
    refused = city.send("POST", "Observations", linked, "other device")
    missing = city.send("POST", "Observations", {"result": 1, "Datastream": {"@iot.id": 999_999}}, "other device")
    assert refused.status_code == missing.status_code == 400
    assert refused.text.replace(str(stream["@iot.id"]), "999999") == missing.text
    # What is hidden is not there, also for who would change it.
    hidden = city.post("Things", thing("Hidden", properties={"layer": "env.restricted"}))
    for method in ("PATCH", "PUT", "DELETE"):
        answer = city.send(method, hidden, {"name": "x"}, "other device")
        assert (answer.status_code, answer.content) == (
            404,
            city.send(method, "Things(999999)", {"name": "x"}, "other device").content,
        )
    assert city.ask(hidden, "other").status_code == 404 and city.ask(hidden, "own").status_code == 200


def test_a_thing_that_names_no_layer_is_in_the_agency_s_own_restricted_layer(city: City) -> None:
    body = thing("Loose")
    body.pop("properties")
    address = city.post("Things", body, "other device")
    assert city.get(address, "other")["properties"] == {"layer": "health.things", "code": "loose"}
    assert city.ask(address).status_code == 404 and city.ask(address, "own").status_code == 404
    assert city.get(city.post("Things", body, "other device"), "other")["properties"]["layer"] == "health.things"


def test_the_same_value_again_is_the_same_observation_and_another_is_a_correction(city: City) -> None:
    path = f"Datastreams({city.ids['open-road']})/Observations"
    body = {"result": 30, "phenomenonTime": "2024-05-01T00:00:00Z", "resultTime": "2024-05-01T00:00:05Z",
            "parameters": {"lane": 2}, "resultQuality": "good"}  # fmt: skip
    first = city.post(path, body)
    assert city.post(path, body) == first
    found = city.get(first)
    assert (found["result"], found["resultTime"], found["parameters"]) == (30, "2024-05-01T00:00:05Z", {"lane": 2})
    assert found["resultQuality"] == "good"
    assert city.post(path, body | {"result": 31}) == first
    found = city.get(first)
    assert (found["result"], found["resultQuality"]) == (31, {"corrected": True, "given": "good"})
    assert city.ask(path + "/$count", filter="phenomenonTime eq 2024-05-01T00:00:00Z").text == "1"


def test_results_may_be_texts_truths_objects_or_nothing_and_times_may_be_intervals(city: City) -> None:
    path = f"Datastreams({city.ids['open-road']})/Observations"
    for number, result in enumerate(("open", True, {"a": [1]}, None, 2.5)):
        body = {"result": result, "phenomenonTime": f"2024-06-0{number + 1}T00:00:00Z/2024-06-0{number + 1}T01:00:00+00:00",
                "validTime": "2024-01-01T00:00:00Z/2025-01-01T00:00:00Z"}  # fmt: skip
        found = city.get(city.post(path, body))
        assert found["result"] == result
        assert found["phenomenonTime"].endswith("T01:00:00Z") and found["validTime"].startswith("2024-01-01")
    assert len(city.get(path, filter="result eq 'open'")["value"]) == 1
    assert len(city.get(path, filter="result eq true")["value"]) == 1
    assert len(city.get(path, filter="result/a/0 eq 1")["value"]) == 1
    corrected = city.post(path, {"result": 7, "phenomenonTime": "2024-06-01T00:00:00Z"})
    assert city.get(corrected)["result"] == 7
    again = [{"Datastream": {"@iot.id": city.ids["open-road"]}, "components": ["result", "phenomenonTime"],
              "dataArray": [[8, "2024-06-03T00:00:00Z"]]}]  # fmt: skip
    assert city.get(city.send("POST", "CreateObservations", again).json()[0])["result"] == 8


def test_a_value_that_is_not_believable_is_marked(city: City) -> None:
    found = city.get(city.post(f"Datastreams({city.ids['open-road']})/Observations", {"result": 999}))
    assert found["resultQuality"]["flags"] == ["out_of_range"]
    assert city.send("DELETE", found["@iot.selfLink"]).status_code == 200


def test_without_a_place_an_observation_needs_its_feature(city: City) -> None:
    address = city.post("Things", thing("Nowhere", Locations=[]))
    path = f"{address}/Datastreams"
    stream = city.get(path)["value"][0]["@iot.selfLink"]
    answer = city.send("POST", f"{stream}/Observations", {"result": 1})
    assert answer.status_code == 400 and "/FeatureOfInterest" in answer.json()["detail"]
    feature = {"name": "Roof", "description": "", "encodingType": "application/geo+json", "feature": POINT}
    one = city.post(f"{stream}/Observations", {"result": 1, "FeatureOfInterest": feature})
    key = city.get(one + "/FeatureOfInterest")["@iot.id"]
    other = city.post(f"{stream}/Observations", {"result": 2, "FeatureOfInterest": {"@iot.id": key}})
    assert city.get(other + "/FeatureOfInterest")["@iot.id"] == key
    assert city.ask(f"FeaturesOfInterest({key})/Observations/$count").text == "2"


def test_a_thing_that_moves_keeps_where_it_was(city: City) -> None:
    address = city.post("Things", thing("Bus"))
    city.post(f"{address}/Locations", location("Stop 2"))
    found = city.get(address, expand="Locations,HistoricalLocations($expand=Locations;$orderby=time)")
    assert [one["name"] for one in found["Locations"]] == ["Stop 2"]
    assert [one["Locations"][0]["name"] for one in found["HistoricalLocations"]] == ["Roof", "Stop 2"]
    past = {"time": "2020-01-01T00:00:00Z", "Locations": [location("Depot")]}
    city.post(f"{address}/HistoricalLocations", past)
    assert [one["name"] for one in city.get(f"{address}/Locations")["value"]] == ["Stop 2"]
    assert city.ask(f"{address}/HistoricalLocations/$count").text == "3"
    roof = found["HistoricalLocations"][0]["Locations"][0]["@iot.id"]
    assert city.send("PATCH", address, {"Locations": [{"@iot.id": roof}]}).status_code == 200
    assert [one["name"] for one in city.get(f"{address}/Locations")["value"]] == ["Roof"]


def test_patch_changes_what_it_names_and_put_everything(city: City) -> None:
    address = city.post("Things", thing("Before"))
    assert city.send("PATCH", address, {"name": "After"}).status_code == 200
    found = city.get(address)
    assert (found["name"], found["description"], found["properties"]["owner"]) == ("After", "On a roof", "school")
    assert city.send("PUT", address, {"name": "Whole", "description": "d"}).status_code == 200
    found = city.get(address)
    assert (found["name"], found["properties"].keys()) == ("Whole", {"layer", "code"})
    assert city.send("PUT", address, {"name": "x"}).status_code == 400
    assert city.send("PATCH", address, {"properties": {"layer": "env.restricted"}}).status_code == 200
    assert city.ask(address).status_code == 404
    stream = city.get(f"{address}/Datastreams", "own")["value"][0]
    assert stream["properties"]["layer"] == "env.restricted"
    sensor = city.get(stream["@iot.selfLink"] + "/Sensor", "own")["@iot.id"]
    other = city.post("Sensors", datastream()["Sensor"])
    assert city.send("PATCH", stream["@iot.selfLink"], {"Sensor": {"@iot.id": int(other.split("(")[1][:-1])},
                                                        "unitOfMeasurement": UNIT | {"symbol": "K"}}).status_code == 200  # fmt: skip
    changed = city.get(stream["@iot.selfLink"], "own", expand="Sensor")
    assert changed["Sensor"]["@iot.id"] != sensor and changed["unitOfMeasurement"]["symbol"] == "K"
    one = city.post(
        stream["@iot.selfLink"] + "/Observations", {"result": 5, "phenomenonTime": moment(7), "parameters": {"a": 1}}
    )
    assert city.send("PATCH", one, {"result": 6}).status_code == 200
    found = city.get(one, "own")
    assert (found["result"], found["parameters"], found["resultQuality"]) == (6, {"a": 1}, {"corrected": True})
    moved = city.send("PATCH", one, {"phenomenonTime": moment(8)})
    assert moved.status_code == 200
    assert city.get(moved.headers["location"], "own")["result"] == 6
    assert city.ask(one, "own").status_code == 404


def test_a_whole_entity_as_it_was_read_can_be_sent_back(city: City) -> None:
    for path in (city.post("Things", thing("Round")), f"Datastreams({city.ids['open-air']})"):
        found = city.get(path)
        assert city.send("PUT", path, found).status_code == 200, path
        assert city.get(path) == found


def test_what_is_removed_takes_what_belongs_to_it_along(city: City) -> None:
    before = counts(city)
    observations = [{"result": n, "phenomenonTime": moment(n)} for n in range(3)]
    address = city.post("Things", thing("Short", Datastreams=[datastream(Observations=observations)]))
    stream = city.get(f"{address}/Datastreams")["value"][0]
    newest = city.get(stream["@iot.selfLink"] + "/Observations", orderby="phenomenonTime desc", top="1")["value"][0]
    assert city.send("DELETE", newest["@iot.selfLink"]).status_code == 200
    assert city.ask(newest["@iot.selfLink"]).status_code == 404
    assert city.get(stream["@iot.selfLink"])["phenomenonTime"] == f"{moment(0)}/{moment(1)}"
    feature = city.get(stream["@iot.selfLink"] + "/Observations", expand="FeatureOfInterest")["value"][0][
        "FeatureOfInterest"
    ]
    assert city.send("DELETE", feature["@iot.selfLink"]).status_code == 200
    emptied = city.get(stream["@iot.selfLink"])
    assert not {"phenomenonTime", "resultTime", "observedArea"} & emptied.keys()
    links = [city.get(f"{address}/Locations")["value"][0]["@iot.selfLink"]]
    links += [city.get(f"{stream['@iot.selfLink']}/{name}")["@iot.selfLink"] for name in ("Sensor", "ObservedProperty")]
    assert city.send("DELETE", address).status_code == 200
    assert city.ask(stream["@iot.selfLink"]).status_code == 404
    for link in links:
        assert city.send("DELETE", link).status_code == 200
    assert counts(city) == before


def test_arrays_answer_for_each_row_and_keep_the_good_ones(city: City) -> None:
    stream = city.ids["open-road"]
    body = [
        {"Datastream": {"@iot.id": stream}, "components": ["phenomenonTime", "result"], "dataArray@iot.count": 4,
         "dataArray": [["2024-07-01T00:00:00Z", 10], ["2024-07-01T00:01:00Z"], ["soon", 1], ["2999-01-01T00:00:00Z", 1]]},
        {"Datastream": {"@iot.id": 999_999}, "components": ["result"], "dataArray": [[1], [2]]},
        {"Datastream": {"@iot.id": stream}, "components": ["phenomenonTime", "result", "FeatureOfInterest/id"],
         "dataArray": [["2024-07-01T00:02:00Z", 12, 999_999]]},
    ]  # fmt: skip
    answer = city.send("POST", "CreateObservations", body)
    assert answer.status_code == 201, answer.text
    first, *rest = answer.json()
    assert city.get(first)["result"] == 10
    assert len(rest) == 6 and all(one.startswith("error ") for one in rest)
    many = [[(datetime(2024, 8, 1, tzinfo=UTC) + timedelta(seconds=n)).isoformat(), n % 100] for n in range(2_000)]
    group = {"Datastream": {"@iot.id": stream}, "components": ["phenomenonTime", "result"], "dataArray": many}
    links = city.send("POST", "CreateObservations", [group]).json()
    assert len(set(links)) == 2_000 and city.get(links[1_999])["result"] == 99
    for wrong in ({}, [5], [{"Datastream": {"@iot.id": stream}, "components": ["colour"], "dataArray": []}],
                  [{"Datastream": {"@iot.id": stream}, "components": ["result"], "dataArray": 5}]):  # fmt: skip
        assert city.send("POST", "CreateObservations", wrong).status_code == 400


def test_a_value_that_is_sent_is_the_state_of_its_stream(city: City) -> None:
    import time

    stream = city.ids["open-air"]
    city.post(f"Datastreams({stream})/Observations", {"result": 77})
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        latest = httpx.get(f"{city.server.url}/streams/{stream}").json()["latest"]
        if latest and latest["value"] == 77:
            return
        time.sleep(0.1)
    raise AssertionError("the state did not follow")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4) | st.sampled_from(["2024-01-01T00:00:00Z", "env.open", "env.shared", "8a65b5694d07fff"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["@iot.id", "name", "type", "coordinates", "layer", "code", "cell", "feature", "symbol"]), inner,
        max_size=3,
    ),
    max_leaves=5,
)  # fmt: skip
NAMES = ("name", "description", "properties", "encodingType", "location", "feature", "time", "result", "phenomenonTime",
         "resultTime", "validTime", "resultQuality", "parameters", "unitOfMeasurement", "observationType", "metadata",
         "definition", "Thing", "Things", "Locations", "Datastream", "Datastreams", "Sensor", "ObservedProperty",
         "Observations", "FeatureOfInterest", "HistoricalLocations", "components", "dataArray")  # fmt: skip
WHOLE = {
    "Things": thing(), "Locations": location(), "Sensors": datastream()["Sensor"],
    "ObservedProperties": datastream()["ObservedProperty"], "Datastreams": datastream() | {"Thing": {"@iot.id": 1}},
    "FeaturesOfInterest": {**location(), "feature": POINT}, "Observations": {"result": 1, "Datastream": {"@iot.id": 1}},
    "HistoricalLocations": {"time": "2024-01-01T00:00:00Z", "Thing": {"@iot.id": 1}, "Locations": [{"@iot.id": 1}]},
    "CreateObservations": {"Datastream": {"@iot.id": 1}, "components": ["result"], "dataArray": [[1]]},
}  # fmt: skip


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(WHOLE)), st.sampled_from(["POST", "PATCH", "PUT"]),
       st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))  # fmt: skip
def test_no_body_is_a_fault_of_the_server(city: City, set_name: str, method: str, changes: dict[str, Any]) -> None:
    body: Any = WHOLE[set_name] | changes
    if set_name == "CreateObservations":
        body, path, method = [body], set_name, "POST"
    elif method == "POST":
        path = set_name
    elif set_name == "Observations":
        path = city.get("Observations", top="1")["value"][0]["@iot.selfLink"]
    else:
        path = f"{set_name}(1)"
    try:
        answer = city.send(method, path, body)
    except (ValueError, UnicodeEncodeError):
        return
    assert answer.status_code in (200, 201, 400, 403, 404, 409), (answer.text, city.server.log.read_text()[-3000:])

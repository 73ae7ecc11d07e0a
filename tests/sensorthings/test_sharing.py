"""Who sees what: every set, every way, every principal; what is hidden answers like what does not exist."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sensorthings.conftest import City

SEES = {
    "nobody": {"open"}, "other": {"open", "shared"}, "other device": {"open", "shared"}, "operator": {"open", "shared", "restricted"},
    "own": {"open", "shared", "restricted"}, "device": {"open", "shared", "restricted"},
}  # fmt: skip
LEVELS = ("open", "shared", "restricted")
SETS = ("Things", "Locations", "HistoricalLocations", "Datastreams", "Observations", "FeaturesOfInterest", "Sensors",
        "ObservedProperties")  # fmt: skip
# From each set to the Things, by which an entity's level is known.
TO_THINGS = {
    "Locations": "Things", "HistoricalLocations": "Thing", "Datastreams": "Thing", "Observations": "Datastream/Thing",
    "Sensors": "Datastreams/Thing", "ObservedProperties": "Datastreams/Thing",
    "FeaturesOfInterest": "Observations/Datastream/Thing",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def seeded(city: City) -> None:
    """A feature of interest for the streams of every level, as an observation that is sent makes one."""
    for code in ("open-air", "shared-air", "restricted-air"):
        city.post(
            f"Datastreams({city.ids[code]})/Observations", {"result": 5, "phenomenonTime": "2024-01-01T00:00:00Z"}
        )


def levels_in(found: Any) -> set[str]:
    """The levels that are named anywhere in an answer."""
    return {level for level in LEVELS if f"env.{level}" in str(found) or f"{level}-" in str(found)}


@pytest.mark.parametrize("who", SEES)
@pytest.mark.parametrize("set_name", SETS)
def test_a_set_holds_what_its_reader_may_see(city: City, who: str, set_name: str) -> None:
    own = who in ("own", "device", "operator")
    deep = {
        "Things": "Datastreams($expand=Observations($top=2;$expand=FeatureOfInterest($expand=Observations/Datastream)),Sensor($expand=Datastreams/Thing),"
        "ObservedProperty/Datastreams/Thing),Locations/Things/Datastreams,HistoricalLocations/Locations/Things",
    }.get(set_name, f"{TO_THINGS.get(set_name)}")
    found = city.get(set_name, who, expand=deep, top="1000", count="true")
    # Properties of kinds are shared by streams of all levels; the rest tells its level.
    assert levels_in(_without_shared(found)) == SEES[who]
    everything = city.get(set_name, "own", top="1000", expand=deep)["value"]
    mine = {one["@iot.id"] for one in found["value"]}
    assert found["@iot.count"] == len(mine)
    assert mine <= {one["@iot.id"] for one in everything}
    assert own == (len(mine) == len(everything)) or set_name in ("Sensors", "ObservedProperties")
    assert city.ask(f"{set_name}/$count", who).text == str(len(mine))
    pages, at = [], f"{city.root}/{set_name}?$top=1"
    while at and len(pages) < 12:
        page = city.get(at, who)
        pages += [one["@iot.id"] for one in page["value"]]
        at = page.get("@iot.nextLink", "")
    assert set(pages) <= mine and len(set(pages)) == len(pages) == min(len(mine), 12)
    visible = [one for one in everything if one["@iot.id"] in mine]
    for one in visible[:2]:
        assert city.ask(one["@iot.selfLink"], who).status_code == 200
    for one in [one for one in everything if one["@iot.id"] not in mine][:2]:
        missing = city.ask(f"{set_name}('7@7')" if set_name == "Observations" else f"{set_name}(9999999)", who)
        for address in (
            "",
            "/name",
            "/Datastreams",
            "/Thing",
            "/Observations",
            "/$ref",
            "/Datastream",
        ):
            other = city.ask(one["@iot.selfLink"] + address, who)
            assert (other.status_code, other.content) == (404, missing.content), address


def _without_shared(found: Any) -> Any:
    """The answer without what streams of all levels have in common: the names of observed properties."""
    if isinstance(found, list):
        return [_without_shared(one) for one in found]
    if isinstance(found, dict):
        shared = {"definition"} & found.keys()
        return {k: _without_shared(v) for k, v in found.items() if not (shared and k in ("name", "description"))}
    return found


@pytest.mark.parametrize("who", SEES)
def test_a_filter_finds_nothing_through_what_is_hidden(city: City, who: str) -> None:
    for level in LEVELS:
        for set_name, text in (
            ("Things", f"name eq 'Thing {level}-air'"),
            ("Datastreams", f"Thing/properties/layer eq 'env.{level}'"),
            ("Sensors", f"Datastreams/name eq 'PM {level}-air'"),
            ("ObservedProperties", f"Datastreams/any(d: d/Thing/name eq 'Thing {level}-air')"),
            ("Locations", f"Things/name eq 'Thing {level}-air'"),
            ("HistoricalLocations", f"Thing/name eq 'Thing {level}-air'"),
            ("FeaturesOfInterest", f"Observations/Datastream/name eq 'PM {level}-air'"),
            ("Observations", f"Datastream/Thing/name eq 'Thing {level}-air'"),
            ("Sensors", f"Datastreams/Thing/Datastreams/ObservedProperty/Datastreams/name eq 'PM {level}-air'"),
        ):
            found = city.get(set_name, who, filter=text, count="true")
            assert bool(found["value"]) is (level in SEES[who]), (who, set_name, text)
            assert (found["@iot.count"] > 0) is (level in SEES[who])


def test_a_key_that_is_not_valid_is_refused(city: City) -> None:
    import httpx

    bad = {"Authorization": "Bearer twin_000000000000_" + "a" * 43}
    for path in ("Things", "Things(1)", "Things(999)"):
        assert httpx.get(f"{city.root}/{path}", headers=bad).status_code == 401

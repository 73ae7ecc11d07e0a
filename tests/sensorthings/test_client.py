"""A client library of the standard reads and writes here."""

from __future__ import annotations

import frost_sta_client as fsc
import requests
from geojson import Point

from tests.sensorthings.conftest import City


def test_the_client_of_frost_makes_reads_changes_and_removes(city: City) -> None:
    service = fsc.SensorThingsService(city.root)
    service.execute = _with_key(city)  # type: ignore[method-assign]
    place = fsc.Location(
        name="Pole", description="At a crossing", location=Point((106.7, 10.77)), encoding_type="application/geo+json"
    )
    thing = fsc.Thing(name="Box", description="With a sensor", properties={"layer": "env.open"}, locations=[place])
    service.create(thing)
    sensor = fsc.Sensor(
        name="SDS011", description="Particles", encoding_type="text/html", metadata="https://example.org"
    )
    observed = fsc.ObservedProperty(name="PM10", definition="https://example.org/pm10", description="Coarse particles")
    unit = fsc.UnitOfMeasurement(name="microgram", symbol="ug/m3", definition="ucum:ug/m3")
    stream = fsc.Datastream(name="PM10 at the pole", description="x", observation_type="x", unit_of_measurement=unit,
                            thing=thing, sensor=sensor, observed_property=observed)  # fmt: skip
    service.create(stream)
    for hour in range(3):
        service.create(
            fsc.Observation(phenomenon_time=f"2024-03-01T0{hour}:00:00Z", result=20 + hour, datastream=stream)
        )
    found = service.datastreams().find(stream.id)
    assert (found.name, found.unit_of_measurement.symbol) == ("PM10 at the pole", "ug/m3")
    observations = found.get_observations().query().filter("result gt 20").orderby("phenomenonTime", "desc").list()
    assert [one.result for one in observations] == [22, 21]
    pages = found.get_observations().query().top(1).list()
    assert [one.result for one in pages] == [20, 21, 22]
    things = service.things().query().filter("name eq 'Box'").expand("Datastreams,Locations").list()
    assert next(iter(things)).datastreams.entities[0].name == "PM10 at the pole"
    box = service.things().find(thing.id)
    box.description = "Moved"
    service.update(box)
    assert service.things().find(thing.id).description == "Moved"
    service.delete(thing)
    assert city.ask(f"Things({thing.id})", "own").status_code == 404


def _with_key(city: City):  # type: ignore[no-untyped-def]
    """The way the client sends requests, with a key beside."""

    def execute(method: str, url: object, **more: object) -> requests.Response:
        answer = requests.request(method, str(url), headers=city.keys["device"], timeout=30, **more)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer

    return execute

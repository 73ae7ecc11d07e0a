"""Filters: what the standard names, equal to Python's own evaluation, and never a fault of the server."""

from __future__ import annotations

import operator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.sensorthings.conftest import VALUES, City
from tests.streams.worlds import START

OPERATORS = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
             "ge": operator.ge}  # fmt: skip


def moment(minutes: float, sign: str = "Z") -> str:
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", sign)


@pytest.mark.parametrize(
    ("set_name", "text", "count"),
    [
        ("Things", "name eq 'Thing open-air'", 1),
        ("Things", "startswith(name,'Thing') and not endswith(name,'road')", 1),
        ("Things", "substringof('open-air',name)", 1),
        ("Things", "contains(name,'open-air') or false", 1),
        ("Things", "length(name) eq 14", 1),
        ("Things", "indexof(name,'open') eq 6 and substring(name,6,4) eq 'open' and substring(name,11) eq 'air'", 1),
        ("Things", "tolower(name) eq 'thing open-air' and toupper(trim(' a ')) eq 'A'", 1),
        ("Things", "concat(name,'x') eq 'Thing open-airx'", 1),
        ("Things", "properties/layer eq 'env.open'", 2),
        ("Things", "properties/cell eq '8a65b5694d07fff'", 1),
        ("Things", "properties/nothing eq null", 2),
        ("Things", "Datastreams/name eq 'PM open-air'", 1),
        ("Things", "startswith(Datastreams/ObservedProperty/name, 'pm2') and Datastreams/Sensor/name eq 'unknown'", 1),
        ("Things", "Datastreams/Observations/result gt 248", 1),
        ("Things", "Datastreams/any(d: d/Observations/any(o: o/result gt 248) and d/name eq 'PM open-air')", 1),
        ("Things", "Datastreams/all(d: d/properties/kind eq 'pm2_5')", 1),
        ("Things", "name in ('Thing open-air', 'x')", 1),
        ("Things", "@iot.id in (1,2,3,4,5,6) and id gt 0", 2),
        ("Locations", "st_within(location, geography'POLYGON ((106.8 10.7,106.9 10.7,106.9 10.9,106.8 10.7))')", 0),
        ("Locations", "st_within(location, geography'POLYGON ((106.6 10.7,106.8 10.7,106.8 10.9,106.6 10.9,106.6 10.7))')", 1),
        ("Locations", "geo.distance(location, geography'POINT (106.7 10.77)') lt 0.001", 1),
        ("Locations", "st_relate(location, geography'POINT (106.7 10.77)', 'T********')", 1),
        ("Locations", "location/coordinates/0 eq 106.7", 1),
        ("Locations", "Things/Datastreams/properties/kind eq 'pm2_5'", 1),
        ("Datastreams", "Thing/Locations/location/type eq 'Point'", 2),
        ("Datastreams", "unitOfMeasurement/symbol eq 'ug/m3'", 1),
        ("Datastreams", f"phenomenonTime lt {moment(VALUES)}", 1),
        ("Datastreams", "phenomenonTime gt now() sub duration'PT1H'", 1),
        ("Datastreams", f"phenomenonTime eq {moment(0)}/{moment(VALUES - 1)}", 1),
        ("Datastreams", f"during(phenomenonTime, {moment(0)}/{moment(VALUES)})", 1),
        ("Observations", f"phenomenonTime ge {moment(10)} and phenomenonTime lt {moment(20)}", 10),
        ("Observations", f"phenomenonTime ge {moment(10, ' 00:00')} and phenomenonTime lt {moment(20)}", 10),
        ("Observations", f"phenomenonTime lt {moment(10)}/{moment(20)}", 10),
        ("Observations", f"before(phenomenonTime, {moment(10)}/{moment(20)}) and phenomenonTime ne {moment(0)}", 9),
        ("Observations", "Datastream/id eq 1 and result mod 2 eq 0", 125),
        ("Observations", "Datastream/@iot.id eq 1 and result add 1 gt 249", 2 - 1),
        ("Observations", "Datastream/id eq 1 and (result mul 2 sub 1) div 1 eq -1", 1),
        ("Observations", "-result eq -5", 1),
        ("Observations", "floor(result) eq 7 or ceiling(result) eq 8 or round(result) eq 9", 3),
        ("Observations", f"date(phenomenonTime) eq {START.date()} and minute(phenomenonTime) eq 5 and result lt 60", 1),
        ("Observations", "Datastream/Thing/name eq 'Thing open-air' and result eq 3", 1),
        ("Observations", "resultTime eq null and Datastream/id eq 1", 250),
        ("Observations", "resultQuality eq null and Datastream/id eq 1", 250),
        ("Observations", "result eq 'text'", 0),
        ("Observations", "Datastream/id eq 1 and result gt '239'", sum(str(m) > "239" for m in range(VALUES))),
        ("Observations", "Datastream/id eq 1 and '240' eq result and result ne '241'", 1),
        ("Observations", "result div 0 eq 1", 0),
    ],
)  # fmt: skip
def test_a_filter_finds_what_it_describes(city: City, set_name: str, text: str, count: int) -> None:
    text = text.replace("id eq 1", f"id eq {city.ids['open-air']}")
    found = city.get(set_name, filter=text, count="true", top="0")
    assert found["@iot.count"] == count, text
    assert found["value"] == []


def test_an_observation_is_found_by_its_id(city: City) -> None:
    one = city.get("Observations", top="1")["value"][0]
    assert city.get("Observations", filter=f"id eq '{one['@iot.id']}'")["value"] == [one]
    assert city.get("Observations", filter="@iot.id eq '1@5'")["value"] == []


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(OPERATORS)), st.integers(-5, VALUES + 5), st.sampled_from(sorted(OPERATORS)),
       st.floats(-10, VALUES + 10, allow_nan=False), st.sampled_from(["and", "or"]), st.booleans())  # fmt: skip
def test_comparisons_find_what_python_finds(
    city: City, first: str, number: int, second: str, other: float, word: str, negated: bool
) -> None:
    inner = f"result {first} {number} {word} phenomenonTime {second} {moment(int(other))}"
    text = f"Datastream/id eq {city.ids['open-air']} and " + (f"not ({inner})" if negated else f"({inner})")
    both = all if word == "and" else any

    def holds(m: int) -> bool:
        return both((OPERATORS[first](m, number), OPERATORS[second](m, int(other)))) is not negated

    assert city.get("Observations", filter=text, count="true", top="0")["@iot.count"] == sum(map(holds, range(VALUES)))


PIECES = (
    "name", "result", "id", "@iot.id", "Thing", "Datastreams", "Datastream", "/", "(", ")", ",", " eq ", " ne ", " lt ",
    " and ", " or ", "not ", "'", "'a'", "5", "1e400", "-", " add ", " div ", " mod ", "null", "true", "now()", "2026-01-01",
    "2026-01-01T00:00:00Z", "2026-13-41T00:00:00Z", "duration'PT1H'", "geography'POINT(1 1)'", "geography'POLYGON'",
    "substringof", "st_within", "st_relate", "geo.distance", "location", "feature", "phenomenonTime", "properties/a/0",
    " in ", "any", "all", ":", "d", "\x00", "Ế", "99999999999999999999", "length(", "substring(", "year(", "time(",
    "observedArea", "validTime", "unitOfMeasurement", "metadata", "interval(", "before(", "round(", "resultQuality",
)  # fmt: skip
LEAVES = ("name", "result", "id", "phenomenonTime", "properties/a", "location", "'x'", "5", "2.5", "null", "true", "now()",
          "duration'PT1H'", "2026-01-01T00:00:00Z", "2026-01-01", "Thing/name", "Datastreams/id", "Datastream/name",
          "Observations/result", "geography'POINT(1 1)'", "resultTime", "description", "Locations/location", "time",
          "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z", "12:30:00", "unitOfMeasurement/name", "Things/id",
          "observedArea", "feature", "metadata", "HistoricalLocations/time")  # fmt: skip
FUNCTIONS = ("length({})", "tolower({})", "year({})", "date({})", "time({})", "round({})", "-{}", "not ({})",
             "geo.length({})", "indexof({},'a')", "substringof({},'a')", "{} add 5", "{} mod 2", "st_within({},location)",
             "before({},now())", "substring({},1)", "concat({},'x')", "fractionalseconds({})")  # fmt: skip
SETS = ("Things", "Observations", "Datastreams", "Locations", "HistoricalLocations", "FeaturesOfInterest", "Sensors")

expressions = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("eq", "ne", "lt", "ge", "and", "or", "add", "sub", "div")), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(st.sampled_from(FUNCTIONS), inner).map(lambda t: t[0].format(t[1])),
    ),
    max_leaves=6,
)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SETS), st.lists(st.sampled_from(PIECES), max_size=9).map("".join) | expressions)
def test_no_filter_and_no_order_is_a_fault_of_the_server(city: City, set_name: str, text: str) -> None:
    for option in ("filter", "orderby"):
        answer = city.ask(set_name, **{option: text, "top": "2"})
        assert answer.status_code in (200, 400), (set_name, option, text, city.server.log.read_text()[-3000:])

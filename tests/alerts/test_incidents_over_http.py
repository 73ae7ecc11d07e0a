"""Rules and incidents over HTTP: who may make, see, acknowledge and close what; hidden ones do not exist anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.alerts.worlds import HIGH, alerting, rule
from tests.conftest import LiveServer, run_async, serving
from tests.live.readers import following
from tests.streams.worlds import declared, describe
from twin.access.keys import new_key
from twin.db.database import Database
from twin.db.tables import PrincipalRole, Sharing
from twin.streams.declare import Place
from twin.streams.writer import Observation

LEVELS = (Sharing.OPEN, Sharing.SHARED, Sharing.RESTRICTED)
ACCOUNTS = {
    "own reader": ("env", PrincipalRole.READER), "own publisher": ("env", PrincipalRole.PUBLISHER),
    "other publisher": ("health", PrincipalRole.PUBLISHER), "operator": ("health", PrincipalRole.OPERATOR),
    "device": ("env", PrincipalRole.DEVICE),
}  # fmt: skip
Headers = dict[str, dict[str, str]]
SEES = {
    "nobody": {"env.open"}, "other publisher": {"env.open", "env.shared"}, "operator": {"env.open", "env.shared"},
    "own reader": {"env.open", "env.shared", "env.restricted"},
    "own publisher": {"env.open", "env.shared", "env.restricted"},
}  # fmt: skip


def write(database: Database, level: Sharing, value: float) -> None:
    """Write a value of this moment to a level's stream, where the rules look at it."""
    gauge = declared(f"gauge-{level.value}", place=Place(point=(106.7, 10.77)))

    async def work() -> None:
        async with alerting(database, streams=(gauge,), layer=f"env.{level.value}") as a:
            stream = a.world.ids[gauge.code]
            await a.writer.write(a.connection, [Observation(stream, datetime.now(UTC), value)], "test")

    run_async(work())


@pytest.fixture(scope="module")
def keys(module_database: Database) -> Headers:
    """Headers by who sends them."""
    describe(module_database, *LEVELS)
    found: Headers = {"nobody": {}}
    with module_database.session() as session:
        for who, (agency, role) in ACCOUNTS.items():
            found[who] = {"Authorization": f"Bearer {new_key(session, agency, who, role, 'a test')}"}
    return found


@pytest.fixture(scope="module")
def city(module_database: Database, keys: Headers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of a city with a rule and an open incident at every sharing level."""
    log = tmp_path_factory.mktemp("alerts") / "server.log"
    with serving(module_database, log, settings={"TWIN_WEBHOOK_HOSTS": "hooks.example.vn"}) as server:
        given = rule(webhook="https://hooks.example.vn/x", emails=["duty@example.vn"]).model_dump(mode="json")
        made = httpx.post(f"{server.url}/alert-rules", json=given, headers=keys["own publisher"])
        assert made.status_code == 201, made.text
        assert len(made.json()["secret"]) > 30
        for level in LEVELS:
            write(module_database, level, 150.0)
        time.sleep(1)
        yield server


def incidents(city: LiveServer, headers: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = httpx.get(f"{city.url}/incidents", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["incidents"])


@pytest.mark.parametrize("who", SEES)
def test_a_reader_finds_exactly_the_incidents_of_layers_that_it_may_read(
    city: LiveServer, keys: Headers, who: str
) -> None:
    everything = incidents(city, keys["own reader"])
    assert {i["layers"][0] for i in everything} == SEES["own reader"]
    assert {i["layers"][0] for i in incidents(city, keys[who])} == SEES[who]
    for incident in everything:
        address = f"{city.url}/incidents/{incident['id']}"
        answer = httpx.get(address, headers=keys[who])
        if incident["layers"][0] in SEES[who]:
            assert answer.status_code == 200
            assert answer.json()["history"][0]["what"] == "opened"
            assert "example.vn" not in answer.text and "secret" not in answer.text
            continue
        missing = httpx.get(f"{city.url}/incidents/999999", headers=keys[who])
        assert answer.status_code == missing.status_code == 404
        assert answer.json()["detail"].replace(str(incident["id"]), "999999") == missing.json()["detail"]
        for action in ("acknowledge", "close"):
            assert httpx.post(f"{address}/{action}", json={"note": ""}, headers=keys[who]).status_code == 404
    with following(f"{city.url}/live?incidents=true&once=true", headers=keys[who]) as live:
        assert live.event()[0] == "current"  # type: ignore[index]
        name, data = live.event()  # type: ignore[misc]
        assert (name, data["whole"]) == ("incident", True)
        assert {i["layers"][0] for i in data["incidents"]} == SEES[who]


def test_incidents_are_found_by_what_is_asked_for(city: LiveServer, keys: Headers) -> None:
    own = keys["own reader"]
    assert len(incidents(city, own, kind="alert", status="active", severity="warning,serious")) == 3
    assert len(incidents(city, own, status="open", layers="env.shared,env.none")) == 1
    assert len(incidents(city, own, bbox="106.6,10.7,106.8,10.8")) == 3
    for nothing in ({"kind": "report"}, {"severity": "emergency"}, {"bbox": "1,1,2,2"}, {"layers": "env.none"},
                    {"status": "closed"}, {"to": "2020-01-01T00:00:00Z"}):  # fmt: skip
        assert incidents(city, own, **nothing) == [], nothing
    pages: list[int] = []
    address: str | None = f"{city.url}/incidents?limit=2"
    while address:
        answer = httpx.get(address, headers=own).json()
        pages += [i["id"] for i in answer["incidents"]]
        address = answer.get("next")
    assert sorted(pages, reverse=True) == pages and len(pages) == 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("severity=bad", "severity"),
        ("after=x", "after"),
        ("bbox=1", "bbox"),
        ("from=now", "time"),
        ("limit=0", "limit"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(city: LiveServer, query: str, words: str) -> None:
    answer = httpx.get(f"{city.url}/incidents?{query}", headers={"Accept-Language": "en"})
    assert answer.status_code == 400 and words in answer.json()["detail"]


def test_only_the_incident_s_agency_and_operators_acknowledge_and_close(city: LiveServer, keys: Headers) -> None:
    (found,) = [i for i in incidents(city, keys["nobody"]) if i["layers"] == ["env.open"]]
    address = f"{city.url}/incidents/{found['id']}"
    for who, status in {"nobody": 401, "own reader": 403, "device": 403, "other publisher": 403}.items():
        answer = httpx.post(f"{address}/acknowledge", json={"note": "x"}, headers=keys[who])
        assert answer.status_code == status, (who, answer.text)
    note = {"note": "<script>pump</script>"}
    done = httpx.post(f"{address}/acknowledge", json=note, headers=keys["own publisher"])
    assert (done.status_code, done.json()["status"]) == (200, "acknowledged")
    assert httpx.post(f"{address}/acknowledge", json=note, headers=keys["operator"]).status_code == 409
    whole = httpx.get(address, headers=keys["operator"]).json()["history"][-1]
    assert (whole["by"], whole["note"]["en"]) == ("env/own publisher", note["note"])
    told = httpx.get(address).json()["history"][-1]
    assert (told["what"], told["by"], told["note"]) == ("acknowledged", "env", None)
    closed = httpx.post(f"{address}/close", headers=keys["operator"])
    assert (closed.status_code, closed.json()["status"]) == (200, "closed")
    assert httpx.post(f"{address}/close", headers=keys["operator"]).status_code == 409


def test_rules_are_told_to_their_agency_and_to_operators_alone(city: LiveServer, keys: Headers) -> None:
    (mine,) = httpx.get(f"{city.url}/alert-rules", headers=keys["own reader"]).json()["rules"]
    address = f"{city.url}/alert-rules/{mine['id']}"
    assert (mine["webhook"], "secret" in mine) == ("https://hooks.example.vn/x", False)
    assert httpx.get(f"{city.url}/alert-rules", headers=keys["other publisher"]).json() == {"rules": []}
    assert len(httpx.get(f"{city.url}/alert-rules", headers=keys["operator"]).json()["rules"]) == 1
    body = rule().model_dump(mode="json")
    for method in ("GET", "PUT", "DELETE"):
        given = {"json": body} if method == "PUT" else {}
        for who, status in {"nobody": 401, "other publisher": 404}.items():
            answer = httpx.request(method, address, headers=keys[who], **given)
            missing = httpx.request(method, f"{city.url}/alert-rules/999999", headers=keys[who], **given)
            assert answer.status_code == missing.status_code == status, (method, who)
            assert answer.json()["detail"].replace(str(mine["id"]), "999999") == missing.json()["detail"]
        if method != "GET":
            assert httpx.request(method, address, headers=keys["own reader"], **given).status_code == 403


@pytest.mark.parametrize(
    ("who", "changes", "status", "words"),
    [
        ("nobody", {}, 401, "key"),
        ("own reader", {}, 403, "reader"),
        ("device", {}, 403, "device"),
        ("own publisher", {"agency": "health"}, 403, "health"),
        ("other publisher", {"streams": {"layers": ["env.open"]}, "agency": "health"}, 403, "another agency"),
        ("other publisher", {"streams": {"layers": ["env.restricted"]}, "agency": "health"}, 404, "env.restricted"),
        ("own publisher", {"webhook": "https://127.0.0.1/"}, 403, "TWIN_WEBHOOK_HOSTS"),
        ("own publisher", {"webhook": "http://hooks.example.vn/"}, 403, "TWIN_WEBHOOK_HOSTS"),
        ("own publisher", {"webhook": "https://hooks.example.vn@127.0.0.1/"}, 400, "webhook"),
        ("own publisher", {"when": {"type": "threshold"}}, 400, "raise_at"),
        ("own publisher", {"streams": {"kinds": ["dust"]}}, 400, "dust"),
        ("own publisher", {}, 409, "already"),
    ],
)
def test_a_rule_is_refused_with_a_sentence(
    city: LiveServer, keys: Headers, who: str, changes: dict[str, Any], status: int, words: str
) -> None:
    given = rule().model_dump(mode="json", exclude_none=True) | changes
    answer = httpx.post(f"{city.url}/alert-rules", json=given, headers=keys[who] | {"Accept-Language": "en"})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_a_rule_is_made_changed_and_removed(city: LiveServer, keys: Headers) -> None:
    own = keys["own publisher"]
    given = rule("other", HIGH | {"raise_at": 400}).model_dump(mode="json")
    made = httpx.post(f"{city.url}/alert-rules", json=given, headers=own)
    address = city.url + made.headers["Location"]
    changed = httpx.put(address, json=given | {"severity": "serious"}, headers=own).json()
    assert (changed["severity"], changed["version"], changed["changedBy"]) == ("serious", 2, "env/own publisher")
    assert httpx.put(address, json=given | {"severity": "serious"}, headers=own).json()["version"] == 2
    assert httpx.put(address, json=given | {"name": "high"}, headers=own).status_code == 409
    assert httpx.delete(address, headers=own).status_code == 204
    assert httpx.get(address, headers=own).status_code == 404


def test_live_tells_of_incidents_and_wakes_nobody_else(city: LiveServer, keys: Headers) -> None:
    everything, layers = "/live?state=true", "/live"
    with (
        following(city.url + "/live?incidents=true") as nobody,
        following(city.url + everything, headers=keys["own reader"]) as own,
        following(city.url + layers) as other,
    ):
        assert other.event()[0] == nobody.event()[0] == "current"  # type: ignore[index]
        # What was open before: another test may have closed it.
        while next_event(nobody) is not None:
            pass
        assert [own.event()[0] for _ in range(3)] == ["current", "state", "incident"]  # type: ignore[index]
        write(city.database, Sharing.RESTRICTED, 10.0)
        # An incident of the test before may end in between.
        while (name := own.event()[0]) != "state":  # type: ignore[index]
            assert name == "incident"
        assert nobody.nothing_more(1.0) and other.nothing_more(0.1)
        known = own.last_id
        write(city.database, Sharing.OPEN, 10.0)
        write(city.database, Sharing.OPEN, 170.0)
        deadline = time.monotonic() + 5
        name = data = None
        while name != "incident" and time.monotonic() < deadline:
            name, data = nobody.event()  # type: ignore[misc]
        assert data is not None and {tuple(i["layers"]) for i in data["incidents"]} == {("env.open",)}
        assert other.nothing_more(0.2)
        latest = None
        while (event := next_event(own)) is not None:
            latest = own.last_id
    with following(city.url + everything, headers=keys["own reader"] | {"Last-Event-ID": str(known)}) as again:
        names = [again.event()[0] for _ in range(2)]  # type: ignore[index]
        assert "incident" in names
    with following(city.url + everything, headers=keys["own reader"] | {"Last-Event-ID": str(latest)}) as again:
        assert again.nothing_more(0.8)
    assert event is None


def next_event(live: Any) -> Any:
    """The next event, or None if none comes soon."""
    import queue

    try:
        return live.event(1.0)
    except queue.Empty:
        return None

"""`/live`: what changed, told to those who may know it, while it happens."""

from __future__ import annotations

import asyncio
import os
import queue
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from starlette.types import Message

from tests.conftest import HOME, LiveServer, run_async, serving, text_of
from tests.live.readers import Following, following
from tests.test_operations import numbers
from tests.test_sharing_over_http import LAYER, OPEN, eventually, key
from tests.test_versions import lamps, shape
from tiles.app import create_app
from tiles.http.server import CityContext
from tiles.incidents.live_incidents import LiveIncidents
from tiles.live import answer
from tiles.live.answer import LiveResponse
from tiles.live.followers import Followers
from tiles.streams.live_state import LiveState
from twin.access.keys import Key, revoke_key
from twin.access.principals import ANONYMOUS, Principal
from twin.catalogue.catalogue import LayerEntry, change_entry, ensure_agency, ensure_layer
from twin.catalogue.staging import Provenance, Staging
from twin.catalogue.versions import rollback
from twin.config import Settings, load_settings
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import Sharing
from twin.text import Text

HEARTBEAT = 0.4


def publish(database: Database, layer: str, count: int = 10) -> None:
    with Staging(database, layer, shape(), Provenance("a test", "made up")) as staging:
        staging.append(lamps(count, name=secrets.token_hex(4)))
        staging.publish()


def described(database: Database) -> None:
    """Two layers of one agency, an open one and one of its own."""
    with database.session() as session:
        for name in ("transport", "health"):
            ensure_agency(session, name, Text(en=name, vi=name))
        ensure_layer(session, LayerEntry(LAYER, "places", Text(en="Secret lamps", vi="Đèn bí mật")))
        ensure_layer(session, LayerEntry(OPEN, "places", Text(en="Lamps", vi="Đèn"), sharing=Sharing.OPEN))
    for layer in (LAYER, OPEN):
        publish(database, layer)


def change(database: Database, layer: str, **said: str) -> None:
    with database.session() as session:
        change_entry(session, layer, said, "a test")


@pytest.fixture(scope="module")
def made(cluster: PrivateCluster) -> Iterator[Database]:
    database = Database(cluster.url(f"{os.environ['TWIN_TEST_RUN']}_live_{os.getpid()}"), private=True)
    migrate(database)
    described(database)
    yield database
    database.writer.dispose()
    engine = sa.create_engine(cluster.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database.url.database} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="module")
def server(made: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings = {"TWIN_LIVE_HEARTBEAT": str(HEARTBEAT), "TWIN_SLOW_SECONDS": "0.9"}
    with serving(made, tmp_path_factory.mktemp("live") / "server.log", settings=settings) as running:
        eventually(lambda: OPEN in httpx.get(f"{running.url}/live?once=true").text, True)
        yield running


@pytest.fixture
def follow(server: LiveServer) -> Iterator[Callable[..., Following]]:
    """Open streams that close with the test; the first event is read already."""
    with ExitStack() as stack:

        def open_stream(query: str = "", token: str | None = None) -> Following:
            stream = stack.enter_context(following(f"{server.url}/live{query}", token))
            assert stream.event()[0] == "current"  # type: ignore[index]
            return stream

        yield open_stream


def current(server: LiveServer, token: str | None = None) -> dict[str, int]:
    headers = {"X-API-Key": token} if token else {}
    with following(f"{server.url}/live?once=true", headers=headers) as stream:
        name, said = stream.event()  # type: ignore[misc]
        assert name == "current"
        assert stream.event() is None
        return said["layers"]


def working_key(server: LiveServer, agency: str) -> str:
    token = key(server, agency)
    eventually(lambda: httpx.get(f"{server.url}/collections", headers={"X-API-Key": token}).status_code, 200)
    return token


# What is told --------------------------------------------------------------------------------------


def test_what_is_current_comes_first_and_then_each_change(server: LiveServer, follow: Callable[..., Following]) -> None:
    stream, before = follow(), current(server)[OPEN]
    publish(server.database, OPEN)
    (said,) = stream.changes(1)
    assert (said["layer"], said["kind"]) == (OPEN, "published") and said["version"] > before
    about = httpx.get(f"{server.url}/collections/{OPEN}").json()
    assert (said["version"], said["published"]) == (about["version"], about["published"])
    rollback(server.database, OPEN, before, "a test")
    (said,) = stream.changes(1)
    assert (said["kind"], said["version"]) == ("rolled-back", before)
    change(server.database, OPEN, title_vi="Đèn đường", title_en=secrets.token_hex(4))
    (said,) = stream.changes(1)
    assert (said["kind"], said["version"]) == ("changed", before)
    assert stream.nothing_more()


def test_the_answer_is_one_that_nothing_between_keeps_or_collects(server: LiveServer) -> None:
    for query in ("", "?once=true"):
        with following(f"{server.url}/live{query}", headers={"Accept-Encoding": "gzip"}) as stream:
            headers = stream.answer.headers
            assert headers["content-type"].startswith("text/event-stream")
            assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
            assert "content-encoding" not in headers
    with following(f"{server.url}/live") as stream:
        assert (stream.line() or "").startswith("retry: ")
    assert httpx.head(f"{server.url}/live").status_code == 200


def test_signs_of_life_come_while_nothing_happens(follow: Callable[..., Following]) -> None:
    stream = follow()
    begun = time.monotonic()
    assert [stream.line(5) for _ in range(6)] == [":", ""] * 3
    assert 2 * HEARTBEAT < time.monotonic() - begun < 12 * HEARTBEAT


def test_who_knows_the_present_state_is_not_told_it_again(server: LiveServer) -> None:
    with following(f"{server.url}/live") as stream:
        stream.event()
        known = {"Last-Event-ID": stream.last_id or ""}
    with following(f"{server.url}/live", headers=known) as again:
        assert again.nothing_more(2 * HEARTBEAT)
        publish(server.database, OPEN)
        assert again.changes(1)[0]["kind"] == "published"
        newer = {"Last-Event-ID": again.last_id or ""}
    with (
        following(f"{server.url}/live", headers=known) as late,
        following(f"{server.url}/live", headers=newer) as early,
    ):
        assert late.event()[0] == "current"  # type: ignore[index]
        assert early.nothing_more(2 * HEARTBEAT)


def test_only_the_layers_that_were_asked_for_are_told(server: LiveServer, follow: Callable[..., Following]) -> None:
    own = working_key(server, "transport")
    stream = follow(f"?layers={OPEN},{OPEN}", own)
    publish(server.database, LAYER)
    publish(server.database, OPEN)
    assert stream.changes(1)[0]["layer"] == OPEN
    assert stream.nothing_more()


def test_many_changes_at_once_are_one_look(server: LiveServer, follow: Callable[..., Following]) -> None:
    stream = follow()
    before = current(server)[OPEN]
    # One transaction: the reader never sees what is in between.
    with server.database.session() as session:
        for n in range(20):
            change_entry(session, OPEN, {"attribution": f"source {n} {secrets.token_hex(4)}"}, "a test")
    assert stream.changes(1)[0]["kind"] == "changed"
    assert stream.nothing_more()
    for _ in range(4):
        publish(server.database, OPEN)
    told = [stream.event()[1]["version"]]  # type: ignore[index]
    while told[-1] < before + 4:
        told.append(stream.event()[1]["version"])  # type: ignore[index]
    assert told == sorted(set(told)) and len(told) <= 4


# Who is told ---------------------------------------------------------------------------------------


def test_a_restricted_layer_is_told_to_its_own_agency_alone(
    server: LiveServer, follow: Callable[..., Following]
) -> None:
    own, other = (follow("", working_key(server, agency)) for agency in ("transport", "health"))
    stranger = follow()
    publish(server.database, LAYER)
    rollback(server.database, LAYER, None, "a test")
    assert [said["layer"] for said in own.changes(2)] == [LAYER, LAYER]
    publish(server.database, OPEN)
    for stream in (stranger, other):
        assert stream.changes(1)[0]["layer"] == OPEN
        assert not [line for line in stream.seen if LAYER in line]
    token = working_key(server, "transport")
    assert LAYER in current(server, token) and LAYER not in current(server)
    assert LAYER not in current(server, working_key(server, "health"))


def test_a_layer_comes_and_goes_with_its_sharing(server: LiveServer, follow: Callable[..., Following]) -> None:
    own, stranger = follow("", working_key(server, "transport")), follow()
    change(server.database, LAYER, sharing="open")
    assert (stranger.changes(1)[0]["kind"], own.changes(1)[0]["kind"]) == ("shown", "changed")
    asked = follow(f"?layers={LAYER}")
    change(server.database, LAYER, sharing="restricted")
    hidden = {"layer": LAYER, "kind": "hidden", "version": None, "published": None}
    assert stranger.changes(1) == asked.changes(1) == [hidden]
    assert own.changes(1)[0]["kind"] == "changed"
    publish(server.database, LAYER)
    assert own.changes(1)[0]["kind"] == "published"
    assert stranger.nothing_more() and asked.nothing_more()


def test_a_stranger_who_asks_for_a_hidden_layer_learns_what_one_learns_of_none(server: LiveServer) -> None:
    asked = [httpx.get(f"{server.url}/live?layers={OPEN},{name}") for name in (LAYER, "transport.lumps")]
    assert [a.status_code for a in asked] == [404, 404]
    assert text_of(asked[0]) == text_of(asked[1]).replace("lumps", "lamps")


def test_a_new_layer_is_told_when_its_first_version_is_there(
    server: LiveServer, follow: Callable[..., Following]
) -> None:
    stream, name = follow(), f"transport.n{secrets.token_hex(4)}"
    with server.database.session() as session:
        ensure_layer(session, LayerEntry(name, "places", Text(en="New", vi="Mới"), sharing=Sharing.OPEN))
    assert stream.nothing_more()
    publish(server.database, name)
    (said,) = stream.changes(1)
    assert (said["layer"], said["kind"], said["version"]) == (name, "shown", 1)


def test_a_revoked_key_ends_its_streams_and_no_others(server: LiveServer, follow: Callable[..., Following]) -> None:
    token = working_key(server, "transport")
    ending, other, stranger = follow("", token), follow("", working_key(server, "transport")), follow()
    with server.database.session() as session:
        revoke_key(session, token, "a test")
    assert ending.event(3) is None
    assert httpx.get(f"{server.url}/live", headers={"X-API-Key": token}).status_code == 401
    publish(server.database, OPEN)
    assert other.changes(1) == stranger.changes(1)


# How many ------------------------------------------------------------------------------------------


def test_many_readers_are_all_told_and_long_streams_are_no_slow_requests(server: LiveServer) -> None:
    async def follow_all(count: int) -> float:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=30) as http:
            ready = asyncio.Semaphore(0)

            async def one() -> float:
                async with http.stream("GET", f"{server.url}/live?layers={OPEN}") as answer:
                    lines = answer.aiter_lines()
                    async for line in lines:
                        if line.startswith("event: current"):
                            ready.release()
                        if line.startswith("event: layer"):
                            return time.monotonic()
                raise AssertionError("ended")

            readers = [asyncio.create_task(one()) for _ in range(count)]
            for _ in readers:
                await ready.acquire()
            said = numbers((await http.get(f"{server.url}/metrics")).text)
            assert said["twin_live_streams"] == count
            assert (await http.get(f"{server.url}/collections")).status_code == 200
            begun = time.monotonic()
            await asyncio.to_thread(publish, server.database, OPEN)
            return max(await asyncio.gather(*readers)) - begun

    count = 95
    assert run_async(follow_all(count)) < 5
    gauge = lambda: numbers(httpx.get(f"{server.url}/metrics").text)["twin_live_streams"]  # noqa: E731
    eventually(gauge, 0)
    with following(f"{server.url}/live"):
        time.sleep(1.2)
    said = numbers(httpx.get(f"{server.url}/metrics").text)
    assert said['twin_request_seconds_count{route="/live"}'] >= count
    assert said['twin_request_seconds_sum{route="/live"}'] / said['twin_request_seconds_count{route="/live"}'] < 0.5
    assert '"/live"' not in server.log.read_text()


def test_there_is_a_most_for_one_reader_and_a_most_for_all(made: Database, tmp_path: Path) -> None:
    settings = {"TWIN_LIVE_STREAMS": "3", "TWIN_LIVE_STREAMS_EACH": "2"}
    with serving(made, tmp_path / "few.log", settings=settings) as few, ExitStack() as stack:
        eventually(lambda: httpx.get(f"{few.url}/live?once=true").status_code, 200)
        tokens = [working_key(few, "transport") for _ in range(2)]
        for _ in range(2):
            stack.enter_context(following(f"{few.url}/live"))
        refused = httpx.get(f"{few.url}/live", headers={"Accept-Language": "vi"})
        assert refused.status_code == 429 and "2 luồng" in refused.json()["detail"]
        assert refused.headers["content-type"] == "application/problem+json"
        with following(f"{few.url}/live", tokens[0]):
            refused = httpx.get(f"{few.url}/live", headers={"X-API-Key": tokens[1]})
            assert refused.status_code == 503 and "once=true" in refused.json()["detail"]
            assert httpx.get(f"{few.url}/live?once=true").status_code == 200
        # A place is free as soon as a reader has left.
        eventually(lambda: _opens(few, tokens[1]), True)


def _opens(server: LiveServer, token: str) -> bool:
    with httpx.stream("GET", f"{server.url}/live", headers={"X-API-Key": token}) as answer:
        return answer.status_code == 200


def test_the_server_may_open_files_for_all_its_streams_where_few_are_set(made: Database, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serving(made, tmp_path / "files.log", settings={"TWIN_LIVE_STREAMS": "1500"}) as server:
            (worker,) = psutil.Process(server.process.pid).children()
            assert worker.rlimit(psutil.RLIMIT_NOFILE)[0] >= min(1500 + 1024, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# When things stop ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_does_not_wait_for_its_streams(
    made: Database, tmp_path: Path, number: signal.Signals
) -> None:
    settings = {"TWIN_WORKERS": "2"}
    with serving(made, tmp_path / "stopped.log", settings=settings) as stopped, ExitStack() as stack:
        eventually(lambda: httpx.get(f"{stopped.url}/live?once=true").status_code, 200)
        streams = []
        while len(streams) < 6:
            # The second process may have begun to listen a moment ago, and not know the city yet.
            with suppress(AssertionError):
                streams.append(stack.enter_context(following(f"{stopped.url}/live")))
            time.sleep(0.05)
        for stream in streams:
            assert stream.event() is not None
        assert numbers(httpx.get(f"{stopped.url}/metrics").text)["twin_live_streams"] == 6
        begun = time.monotonic()
        stopped.process.send_signal(number)
        assert stopped.process.wait(15) == 0
        assert time.monotonic() - begun < 4
        for stream in streams:
            assert stream.event(5) is None
    assert "refused to gracefully stop" not in stopped.log.read_text()


def test_as_long_as_the_city_is_not_known_a_stream_is_refused_and_not_broken_off(made: Database) -> None:
    # Without its beginning, the application has not read the catalogue.
    unread = TestClient(create_app(load_settings(), made))
    for path in ("/live", "/live?once=true", "/live?layers=construction.buildings"):
        answer = unread.get(path, headers={"Accept-Language": "en"})
        assert answer.status_code == 503 and "still being opened" in answer.json()["detail"]


@contextmanager
def own_cluster() -> Iterator[tuple[PrivateCluster, Database]]:
    cluster = PrivateCluster(HOME.parent / "live-away")
    cluster.start()
    try:
        database = Database(cluster.url(f"away_{os.getpid()}_{secrets.token_hex(3)}"), private=True)
        migrate(database)
        described(database)
        yield cluster, database
    finally:
        cluster.stop()


def test_a_stream_outlives_its_database_and_tells_what_changed_meanwhile(tmp_path: Path) -> None:
    with own_cluster() as (cluster, database):
        settings = {"TWIN_LIVE_HEARTBEAT": str(HEARTBEAT), "TWIN_POOL_SIZE": "2"}
        with serving(database, tmp_path / "away.log", cluster.home, settings) as away, ExitStack() as stack:
            eventually(lambda: httpx.get(f"{away.url}/live?once=true").status_code, 200)
            # More streams than there are connections to the database: none holds one.
            streams = [stack.enter_context(following(f"{away.url}/live")) for _ in range(8)]
            for stream in streams:
                assert stream.event()[0] == "current"  # type: ignore[index]
            assert httpx.get(f"{away.url}/health").status_code == 200
            database.writer.dispose()
            cluster.stop()
            assert [streams[0].line(5) for _ in range(4)] == [":", ""] * 2
            cluster.start()
            publish(database, OPEN)
            database.writer.dispose()
            for stream in streams:
                said = stream.event(30)
                assert said is not None and (said[1]["kind"], said[1]["version"]) == ("published", 2)


def test_a_reader_who_does_not_read_is_left_and_its_place_is_free(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "UNREAD_SECONDS", 0.2)

    async def drive() -> list[int]:
        city = CityContext(settings, database)
        await city.refresh()
        followers = Followers(city, LiveState(city), LiveIncidents(city))
        sent: list[Message] = []
        open_places: list[int] = []

        async def receive() -> Message:
            # The reader never leaves.
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)
            open_places.append(followers.open)
            if len(sent) > 1:
                await asyncio.Event().wait()

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "headers": []}
        await asyncio.wait_for(LiveResponse(followers, ANONYMOUS, "them", None, None)(scope, receive, send), 3)
        return [*open_places, followers.open]

    assert run_async(drive()) == [1, 1, 0]


def test_what_a_reader_may_not_see_changes_nothing_in_its_stream(
    made: Database, server: LiveServer, follow: Callable[..., Following]
) -> None:
    """Signs of life come at their own moments, however often a hidden layer, its entry or a key changes."""
    stream = follow()
    until, came = time.monotonic() + 8 * HEARTBEAT, []
    changed = 0
    while time.monotonic() < until:
        changed += 1
        if changed % 3:
            change(made, LAYER, description_en=secrets.token_hex(4)) if changed % 3 == 1 else key(server, "health")
        else:
            publish(made, LAYER)
        with suppress(queue.Empty):
            while True:
                line = stream.line(HEARTBEAT / 8)
                assert line in (":", "")
                if line == ":":
                    came.append(time.monotonic())
    assert changed > 5
    gaps = [later - earlier for earlier, later in pairwise(came)]
    assert len(came) >= 6 and sum(gaps) / len(gaps) < 1.3 * HEARTBEAT, gaps


def test_only_streams_with_news_of_their_own_wake(database: Database, settings: Settings) -> None:
    described(database)

    async def drive() -> None:
        city = CityContext(settings, database)
        await city.refresh()
        followers = Followers(city, LiveState(city), LiveIncidents(city))
        agency = Principal("desk", "transport", key="000000000000")
        city.keys = {"000000000000": Key(agency, b"")}
        streams = {
            "stranger": LiveResponse(followers, ANONYMOUS, "a", None, None),
            "agency": LiveResponse(followers, agency, "b", None, None),
            "follower of the open one": LiveResponse(followers, agency, "c", (OPEN,), None),
        }
        with ExitStack() as stack:
            woken = {}
            for name, stream in streams.items():
                woken[name] = stack.enter_context(followers.place(name, stream._has_news))
                # What it sends first is what its reader knows from now on.
                await anext(stream._chunks)

            async def changed(layer: str) -> set[str]:
                await asyncio.to_thread(publish, database, layer)
                keys = city.keys
                await city.refresh()
                city.keys = keys
                for event in woken.values():
                    event.clear()
                followers.wake()
                return {name for name, event in woken.items() if event.is_set()}

            assert await changed(LAYER) == {"agency"}
            assert await changed(OPEN) == set(streams)
            city.keys = {}
            followers.wake()
            assert woken["agency"].is_set()

    run_async(drive())

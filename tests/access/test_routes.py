"""Every route, as every principal, about layers of every sharing level: who gets what, and that nothing tells more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.access.walk import STREAMS, PlannedRequest, client, requests_for, running, send
from tests.conftest import RUN, run_async
from tests.streams.worlds import START, declared, world
from tests.test_raster_publish import classes, write
from tests.test_raster_publish import publish as publish_raster
from tests.test_versions import lamps, shape
from tiles.vector.archives import LAYERS
from tiles.vector.bake import bake
from twin.access.keys import new_key, revoke_key
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.staging import Provenance, Staging
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.private_files import private_folder
from twin.streams.writer import Observation
from twin.text import Text

# Names of one length, so that answers about them are as long as each other.
LEVELS = {"opened": Sharing.OPEN, "shared": Sharing.SHARED, "closed": Sharing.RESTRICTED, "absent": None}
KINDS = ("lamps", "cover")
OWN, OTHER = "transport", "health"
ACCOUNTS: dict[str, tuple[str, PrincipalRole]] = {
    "own reader": (OWN, PrincipalRole.READER), "other reader": (OTHER, PrincipalRole.READER),
    "publisher": (OWN, PrincipalRole.PUBLISHER), "steward": (OWN, PrincipalRole.STEWARD),
    "operator": (OTHER, PrincipalRole.OPERATOR), "admin": (OTHER, PrincipalRole.ADMIN),
    "revoked": (OWN, PrincipalRole.READER),
}  # fmt: skip
WHO = ("anonymous", *ACCOUNTS)


def layer_of(kind: str, level: str) -> str:
    return f"{OWN}.{kind}_{level}"


def is_visible(who: str, level: str) -> bool:
    match LEVELS[level]:
        case Sharing.OPEN:
            return True
        case Sharing.SHARED:
            return who != "anonymous"
        case Sharing.RESTRICTED:
            return who != "anonymous" and ACCOUNTS[who][0] == OWN
    return False


@dataclass(frozen=True)
class Street:
    """A city with layers of every level, and a key of every account."""

    database: Database
    folder: Path
    keys: dict[str, str | None]


@pytest.fixture(scope="module")
def street(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    database = Database(cluster.url(f"{os.environ[RUN]}_routes_{os.getpid()}"), private=True)
    migrate(database)
    keys: dict[str, str | None] = {"anonymous": None}
    with database.session() as session:
        for agency in (OWN, OTHER):
            ensure_agency(session, agency, Text(en=agency, vi=agency))
        for level, sharing in LEVELS.items():
            if sharing is not None:
                for kind, of in zip(KINDS, ("places", "land_cover"), strict=True):
                    name = layer_of(kind, level)
                    ensure_layer(session, LayerEntry(name, of, Text(en=name, vi=name), sharing=sharing))
        for who, (agency, role) in ACCOUNTS.items():
            keys[who] = new_key(session, agency, who, role, "a test")
        revoke_key(session, str(keys["revoked"]), "a test")
    for level in ("opened", "shared", "closed"):
        with Staging(database, layer_of("lamps", level), shape(), Provenance("a test", "made up")) as staging:
            staging.append(lamps(100))
            staging.publish()
        publish_raster(
            database, folder / "rasters", write(folder / f"{level}.tif", classes()), layer_of("cover", level)
        )
    for level in STREAMS:
        run_async(_declare(database, layer_of("lamps", level)))
    private_folder(folder / "archives")
    _bake(database, folder / "archives")
    yield Street(database, folder, keys)
    database.writer.dispose()
    engine = sa.create_engine(cluster.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database.url.database} WITH (FORCE)"))
    engine.dispose()


async def _declare(database: Database, layer: str) -> None:
    """Declare a stream of a layer, with a value."""
    async with world(database, declared(f"of-{layer[-6:]}"), layer=layer) as w:
        await w.writer.write(w.connection, [Observation(key, START, 7.0) for key in w.ids.values()], "test")


def _bake(database: Database, folder: Path) -> None:
    with database.session() as session:
        layers = read_catalogue(session)
    for name, layer in layers.items():
        assert layer.current is not None
        permit = whole_permit(layer, layer.current)
        assert permit.bounds is not None
        target = folder / f"{name.replace('.', '_')}.pmtiles"
        run_async(
            bake(database, [permit], {LAYERS: [permit.name]}, permit.bounds, range(12, 17), target, lambda *_: None)
        )


def summary(answer: httpx.Response, name: str) -> tuple[int, bytes, dict[str, str]]:
    """An answer but for the name of its layer and its date."""
    short = name.replace(".", "_")
    body = answer.content.replace(name.encode(), b"NAME").replace(short.encode(), b"NAME")
    # Every answer has its own number.
    own = ("date", "x-request-id")
    headers = {k: v.replace(name, "NAME") for k, v in answer.headers.items() if k not in own}
    return answer.status_code, body, headers


def test_every_route_answers_every_principal_as_the_sharing_level_says(street: Street) -> None:
    """A hidden layer answers like a missing one; a visible one like the open one; nothing fails."""
    problems: list[str] = []

    def check(request: PlannedRequest, holds: bool, what: str) -> None:
        if not holds:
            problems.append(f"{request}: {what}")

    async def walk() -> int:
        count = 0
        async with running(street.database, street.folder) as (app, served):
            for who in WHO:
                async with client(served, street.keys[who]) as http:
                    for kind in KINDS:
                        layers = {level: layer_of(kind, level) for level in LEVELS}
                        lists = [list(requests_for(app, layer)) for layer in layers.values()]
                        for four in zip(*lists, strict=True):
                            if not four[0].layered:
                                continue
                            answers = dict(zip(LEVELS, [await send(http, request) for request in four], strict=True))
                            count += len(answers)
                            _compare(who, four[0], layers, answers, check)
                    for request in requests_for(app, layer_of("lamps", "closed")):
                        if not request.layered:
                            answer = await send(http, request)
                            count += 1
                            _look_through(who, request, answer, check)
        return count

    assert run_async(walk()) > 2000
    assert not problems, "\n".join(problems[:20])


def _compare(
    who: str, request: PlannedRequest, layers: dict[str, str], answers: dict[str, httpx.Response], check
) -> None:  # type: ignore[no-untyped-def]
    missing = summary(answers["absent"], layers["absent"])
    for level, answer in answers.items():
        status = answer.status_code
        check(request, status < 500, f"{status} for {who}, {level}")
        if who == "revoked":
            check(request, status == 401, f"{status} for a revoked key, {level}")
        elif request.method == "POST":
            # Who may publish is decided by role and agency; uploads of nobody are not found.
            may = who in ("publisher", "steward")
            expected = (404,) if level == "absent" or request.path == "/jobs" else (201,)
            refused = 401 if who == "anonymous" else 403
            check(request, status in expected if may else status == refused, f"{status} for {who}, {level}")
            if not may:
                check(
                    request, summary(answer, layers[level]) == missing, f"{level} is not like a missing one for {who}"
                )
        elif is_visible(who, level):
            check(
                request, status == answers["opened"].status_code, f"{status} for {who}, {level}; not as an open layer"
            )
            if level != "opened" and status in (200, 304):
                check(
                    request, "public" not in answer.headers.get("cache-control", ""), f"{level} may be kept by others"
                )
        else:
            check(request, status == 404, f"{status} for {who}, {level}")
            check(
                request,
                summary(answer, layers[level]) == missing,
                f"{level} is not like a missing one for {who}: {summary(answer, layers[level])} {missing}",
            )


def _look_through(who: str, request: PlannedRequest, answer: httpx.Response, check) -> None:  # type: ignore[no-untyped-def]
    """What is about no layer names no layer that is hidden."""
    status = answer.status_code
    check(request, status < 500, f"{status} for {who}")
    for level in ("opened", "shared", "closed"):
        if who == "revoked" or not is_visible(who, level):
            for kind in KINDS:
                name = layer_of(kind, level).encode()
                there = name in answer.content or name.replace(b".", b"_") in answer.content
                # Some pages ask nobody for a key: what is open stands there for a revoked one too.
                check(request, not there or (who == "revoked" and level == "opened"), f"names {name!r} for {who}")


def test_the_lists_name_what_is_visible(street: Street) -> None:
    """The walk looks for names that must not be there: here they are, where they may be."""

    async def walk() -> None:
        async with running(street.database, street.folder) as (_, served):
            for who in WHO[:-1]:
                async with client(served, street.keys[who]) as http:
                    for path in ("/collections", "/catalogue", "/deck.json", "/live?once=true", "/archives"):
                        text = (await http.get(path)).text
                        for level in ("opened", "shared", "closed"):
                            assert (layer_of("lamps", level) in text) is is_visible(who, level), (who, path, level)

    run_async(walk())


def test_a_route_with_a_parameter_that_nobody_knows_fails_the_walk(street: Street) -> None:
    async def walk() -> None:
        async with running(street.database, street.folder) as (app, _):

            @app.get("/streets/{street_name}")
            async def new(street_name: str) -> str:
                return street_name

            with pytest.raises(AssertionError, match="street_name.*FILLED"):
                list(requests_for(app, layer_of("lamps", "opened")))

    run_async(walk())


def test_an_operator_sees_and_cancels_the_jobs_of_all_agencies_and_others_only_their_own(street: Street) -> None:
    from tests.access.walk import SENT

    async def walk() -> None:
        async with running(street.database, street.folder) as (_, served):
            layer = layer_of("lamps", "closed")
            async with client(served, street.keys["publisher"]) as http:
                begun = await http.post("/uploads", headers=SENT["POST", "/uploads"](layer)["headers"])
                address = begun.headers["location"]
                piece = {
                    "Tus-Resumable": "1.0.0",
                    "Upload-Offset": "0",
                    "Content-Type": "application/offset+octet-stream",
                }
                assert (await http.patch(address, content=b"hello", headers=piece)).status_code == 204
                upload = address.rpartition("/")[2]
                queued = await http.post("/jobs", json={"upload": upload, "layer": layer})
                assert queued.status_code == 201, queued.text
                job = queued.json()["id"]
            sees = {}
            for who in WHO[1:-1]:
                async with client(served, street.keys[who]) as http:
                    listed = {one["id"] for one in (await http.get("/jobs")).json()["jobs"]}
                    found = (await http.get(f"/jobs/{job}")).status_code
                    assert (job in listed) is (found == 200)
                    sees[who] = found == 200
            assert sees == {
                "own reader": True, "other reader": False, "publisher": True, "steward": True, "operator": True,
                "admin": False,
            }  # fmt: skip
            async with client(served, street.keys["own reader"]) as http:
                assert (await http.delete(f"/jobs/{job}")).status_code == 403
            async with client(served, street.keys["operator"]) as http:
                answer = await http.delete(f"/jobs/{job}")
                assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")

    run_async(walk())

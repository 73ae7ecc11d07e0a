"""Uploads over HTTP: the protocol's rules, the rights, the limits. Nothing that a client sends is a 500."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.conftest import run_async, small_disk
from tests.test_publish import LAYER
from tests.uploads.programs import Programs, eventually
from twin.access.keys import revoke_key
from twin.db.tables import PrincipalRole
from twin.jobs.uploads import plain_name

PIECE = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def begin(
    door: TestClient, key: str, length: int = 10, layer: str = LAYER, name: str = "a.gpkg", **more: str
) -> httpx.Response:
    said = {"layer": layer, "filename": name, **more}
    metadata = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in said.items())
    return door.post("/uploads", headers=bearer(key) | {"Upload-Length": str(length), "Upload-Metadata": metadata})


def send(door: TestClient, key: str, address: str, offset: object, body: bytes, **headers: str) -> httpx.Response:
    return door.patch(address, content=body, headers=bearer(key) | PIECE | {"Upload-Offset": str(offset)} | headers)


def files(programs: Programs) -> list[Path]:
    return sorted(p for p in programs.uploads.rglob("*") if p.is_file()) if programs.uploads.exists() else []


def denials(programs: Programs) -> list[tuple[str, str | None]]:
    with programs.database.session() as session:
        return [
            tuple(row)
            for row in session.execute(sa.text("SELECT actor, layer FROM twin.audit WHERE action = 'publish.denied'"))
        ]


def test_a_file_sent_in_any_pieces_arrives_as_it_was(door: TestClient, programs: Programs) -> None:
    key = programs.key()

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.binary(min_size=0, max_size=40_000), min_size=1, max_size=8).filter(any))
    def arrives(pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        address = begin(door, key, len(whole)).headers["Location"]
        offset = 0
        for piece in pieces:
            done = send(door, key, address, offset, piece)
            offset += len(piece)
            assert (done.status_code, done.headers["Upload-Offset"]) == (204, str(offset))
            told = door.head(address, headers=bearer(key))
            assert (told.headers["Upload-Offset"], told.headers["Upload-Length"]) == (str(offset), str(len(whole)))
            assert told.headers["Cache-Control"] == "no-store"
        (file,) = files(programs)
        assert file.read_bytes() == whole
        assert door.delete(address, headers=bearer(key)).status_code == 204
        assert files(programs) == []

    arrives()


def test_an_offset_that_is_not_the_file_s_end_is_a_conflict_that_names_the_end(
    door: TestClient, programs: Programs
) -> None:
    key = programs.key()
    address = begin(door, key).headers["Location"]
    send(door, key, address, 0, b"abcd")
    for wrong in (0, 3, 5, 10, 2**70):
        answer = send(door, key, address, wrong, b"xy")
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "4")
    assert files(programs)[0].read_bytes() == b"abcd"


def test_more_than_was_said_is_refused_and_not_kept(door: TestClient, programs: Programs) -> None:
    key = programs.key()
    address = begin(door, key, 10).headers["Location"]
    send(door, key, address, 0, b"abcd")
    assert send(door, key, address, 4, b"1234567").status_code == 400
    assert files(programs)[0].read_bytes() == b"abcd"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "x"}, 400),
        ({"Content-Type": "application/json"}, 415),
        ({"Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_a_piece_that_breaks_the_protocol_is_refused(
    door: TestClient, programs: Programs, headers: dict[str, str], status: int
) -> None:
    key = programs.key()
    address = begin(door, key).headers["Location"]
    answer = send(door, key, address, 0, b"abc", **headers)
    assert answer.status_code == status and answer.headers["Content-Type"] == "application/problem+json"
    assert files(programs)[0].stat().st_size == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "5"}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "layer !!!"}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "filename YQ=="}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "layer " + base64.b64encode(b"../x").decode()}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": f"layer {base64.b64encode(LAYER.encode()).decode()},sha256 YQ=="}, 400),
        ({"Upload-Length": "0", "Upload-Metadata": f"layer {base64.b64encode(LAYER.encode()).decode()}"}, 400),
        ({"Upload-Length": "-3", "Upload-Metadata": f"layer {base64.b64encode(LAYER.encode()).decode()}"}, 400),
        ({"Upload-Length": "9" * 30, "Upload-Metadata": f"layer {base64.b64encode(LAYER.encode()).decode()}"}, 413),
        ({"Upload-Length": "5000001", "Upload-Metadata": f"layer {base64.b64encode(LAYER.encode()).decode()}"}, 413),
    ],
)  # fmt: skip
def test_a_beginning_that_cannot_be_understood_leaves_nothing_behind(
    door: TestClient, programs: Programs, headers: dict[str, str], status: int
) -> None:
    answer = door.post("/uploads", headers=bearer(programs.key()) | headers)
    assert answer.status_code == status, answer.text
    if status == 413:
        assert "TWIN_UPLOAD_BYTES" in answer.json()["detail"]
    assert files(programs) == []


def test_who_has_no_right_sends_no_byte_and_an_attempt_is_written_down(door: TestClient, programs: Programs) -> None:
    health, reader = programs.key("health"), programs.key(role=PrincipalRole.READER)
    assert begin(door, health, layer="health.clinics").status_code == 201
    # Another agency's layer: the same answer, whether it is there or not.
    there, missing = begin(door, health), begin(door, health, layer="construction.nothing")
    assert there.status_code == missing.status_code == 403
    there_said, missing_said = (
        {k: v for k, v in answer.json().items() if k != "request_id"} for answer in (there, missing)
    )
    assert there_said == missing_said
    assert begin(door, reader).status_code == 403
    assert begin(door, programs.key(), layer="construction.nothing").status_code == 404
    assert door.post("/uploads", headers={"Upload-Length": "3", "Upload-Metadata": "layer YQ=="}).status_code == 401
    assert begin(door, "twin_000000000000_" + "x" * 43).status_code == 401
    assert len(files(programs)) == 1
    assert denials(programs) == [
        ("health/publisher of health", LAYER),
        ("health/publisher of health", "construction.nothing"),
        ("construction/reader of construction", LAYER),
    ]


def test_another_agency_meets_uploads_and_jobs_as_if_there_were_none(door: TestClient, programs: Programs) -> None:
    key, stranger = programs.key(), programs.key("health")
    address = begin(door, key, 3).headers["Location"]
    send(door, key, address, 0, b"abc")
    order = {"upload": address.rpartition("/")[2], "layer": LAYER}
    job = door.post("/jobs", json=order, headers=bearer(key)).headers["Location"]
    other = begin(door, key, 3).headers["Location"]
    for method, at in [("GET", other), ("HEAD", other), ("DELETE", other), ("GET", job), ("DELETE", job)]:
        assert door.request(method, at, headers=bearer(stranger)).status_code == 404
    assert send(door, stranger, other, 0, b"abc").status_code == 404
    assert door.get(f"{job}/report", headers=bearer(stranger)).status_code == 404
    assert door.get("/jobs", headers=bearer(stranger)).json() == {"jobs": []}
    assert [j["id"] for j in door.get("/jobs", headers=bearer(key)).json()["jobs"]] == [job.rpartition("/")[2]]
    assert door.get(job).status_code == door.get("/jobs").status_code == 401


def test_a_key_that_is_revoked_in_the_middle_ends_the_upload(door: TestClient, programs: Programs) -> None:
    key = programs.key()
    address = begin(door, key).headers["Location"]
    assert send(door, key, address, 0, b"abc").status_code == 204
    with programs.database.session() as session:
        revoke_key(session, key, "a test")
    eventually(lambda: send(door, key, address, 3, b"d").status_code == 401)
    order = {"upload": address.rpartition("/")[2], "layer": LAYER}
    assert door.post("/jobs", json=order, headers=bearer(key)).status_code == 401
    assert files(programs)[0].stat().st_size <= 4
    assert ("publisher of construction", None) in denials(programs)


def test_a_role_taken_away_in_the_middle_forbids_the_job(door: TestClient, programs: Programs) -> None:
    key = programs.key()
    address = begin(door, key, 3).headers["Location"]
    send(door, key, address, 0, b"abc")
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.principal SET role = 'reader'"))
    order = {"upload": address.rpartition("/")[2], "layer": LAYER}
    assert door.post("/jobs", json=order, headers=bearer(key)).status_code == 403
    assert denials(programs)[-1] == ("construction/publisher of construction", LAYER)


def test_a_key_may_have_so_many_unfinished_uploads_and_deleting_one_makes_room(
    door: TestClient, programs: Programs
) -> None:
    key = programs.key()
    addresses = [begin(door, key).headers["Location"] for _ in range(4)]
    refused = begin(door, key)
    assert refused.status_code == 429 and "TWIN_UPLOADS_OPEN" in refused.json()["detail"]
    door.delete(addresses[0], headers=bearer(key))
    assert begin(door, key).status_code == 201


def test_an_upload_that_ran_out_of_time_is_gone(door: TestClient, programs: Programs) -> None:
    key = programs.key()
    address = begin(door, key).headers["Location"]
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.upload SET expires_at = now() - interval '1 second'"))
    assert door.head(address, headers=bearer(key)).status_code == 404
    assert send(door, key, address, 0, b"abc").status_code == 404


def test_two_connections_do_not_write_into_one_file(door: TestClient, programs: Programs) -> None:
    import fcntl

    key = programs.key()
    address = begin(door, key).headers["Location"]
    with files(programs)[0].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert send(door, key, address, 0, b"abc").status_code == 423
    assert send(door, key, address, 0, b"abc").status_code == 204


def test_a_connection_that_falls_silent_is_let_go_and_what_came_is_kept(
    door: TestClient, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiles.publishing.uploads.SILENCE_SECONDS", 0.2)
    key = programs.key()
    address = begin(door, key).headers["Location"]

    async def silent() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.sleep(10)

    async def patch() -> httpx.Response:
        transport = httpx.ASGITransport(app=door.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = bearer(key) | PIECE | {"Upload-Offset": "0"}
            return await client.patch(address, content=silent(), headers=headers)

    assert run_async(patch()).status_code == 408
    assert door.head(address, headers=bearer(key)).headers["Upload-Offset"] == "3"


def test_a_job_is_queued_once_and_only_for_a_whole_file(door: TestClient, programs: Programs) -> None:
    key = programs.key()
    address = begin(door, key, 6).headers["Location"]
    order = {"upload": address.rpartition("/")[2], "layer": LAYER}
    send(door, key, address, 0, b"abc")
    assert door.post("/jobs", json=order, headers=bearer(key)).status_code == 409
    send(door, key, address, 3, b"def")
    assert door.post("/jobs", json=order | {"layer": "construction.sheds"}, headers=bearer(key)).status_code == 400
    first = door.post("/jobs", json=order | {"reason": "May"}, headers=bearer(key))
    again = door.post("/jobs", json=order | {"reason": "May"}, headers=bearer(key))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"] == again.headers["Location"]
    assert first.json()["state"] == "queued" and first.json()["order"]["reason"] == "May"
    assert door.post("/jobs", json=order, headers=bearer(key)).status_code == 409
    assert door.head(address, headers=bearer(key)).status_code == 404
    cancelled = door.delete(first.headers["Location"], headers=bearer(key))
    assert cancelled.json()["state"] == "cancelled" and files(programs) == []
    assert door.delete(first.headers["Location"], headers=bearer(key)).status_code == 200


U = '"upload": "00000000-0000-0000-0000-000000000000"'
WRONG = [
    b"", b"[]", b"{", b'{"upload": 3}', b'{"upload": "x", "layer": "a.b", "more": 1}', b"\xff", b'{"\\ud800": 1}',
    f'{{{U}, "layer": "\\ud800.x"}}'.encode(), f'{{{U}, "layer": "a.b", "reason": "\\u0000"}}'.encode(),
    f'{{{U}, "layer": "a.b", "crs": "\\udfff"}}'.encode(), f'{{{U}, "layer": "a.b", "mode": "drop"}}'.encode(),
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG)
def test_a_wrong_order_is_a_400(door: TestClient, programs: Programs, body: bytes) -> None:
    headers = bearer(programs.key()) | {"Content-Type": "application/json"}
    assert door.post("/jobs", content=body, headers=headers).status_code == 400
    assert door.get("/jobs?layer=%00", headers=headers).status_code == 400


def test_a_request_too_large_to_hold_is_refused_while_it_arrives(door: TestClient, programs: Programs) -> None:
    body = b'{"reason": "' + b"x" * 3_000_000 + b'"}'
    answer = door.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "..\\..\\x.gpkg", "a\0b.shp", "PG:dbname=x", "/vsicurl/http://x/y.tif", "", ".",
    "...", "-rf", "con\r\nX-Injected: 1.csv", "x" * 5000 + ".geojson", "漢" * 300 + ".zip", "nhà ở (1).gpkg", "<a>.kml",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_client_s_file_name_is_never_a_path(door: TestClient, programs: Programs, name: str) -> None:
    answer = begin(door, programs.key(), name=name)
    assert answer.status_code == 201
    kept = answer.json()["name"]
    assert kept == plain_name(name) and 0 < len(kept.encode()) <= 220
    assert "/" not in kept and "\\" not in kept and kept.isprintable() and ":" not in kept and kept.strip(". -") != ""
    assert [re.fullmatch(r"[0-9a-f-]{36}\.part", f.name) is not None for f in files(programs)] == [True]
    if name.endswith((".geojson", ".zip", ".kml", ").gpkg")):
        assert Path(kept).suffix == Path(name).suffix


def test_the_protocol_says_of_itself_what_it_can(door: TestClient) -> None:
    answer = door.options("/uploads")
    assert answer.status_code == 204 and answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "5000000" and "creation" in answer.headers["Tus-Extension"]
    paths = door.get("/api").json()["paths"]
    assert {"post", "options"} <= set(paths["/uploads"])
    assert {"get", "head", "patch", "delete"} <= set(paths["/uploads/{upload}"])
    assert {"get", "delete"} <= set(paths["/jobs/{job}"]) and {"get", "post"} <= set(paths["/jobs"])
    names = {p["name"].lower() for p in paths["/uploads"]["post"]["parameters"]}
    assert {"upload-length", "upload-metadata"} <= names
    assert "application/offset+octet-stream" in json.dumps(paths["/uploads/{upload}"]["patch"]["requestBody"])


def test_a_full_disk_is_said_and_what_arrived_is_kept(
    door: TestClient, programs: Programs, monkeypatch: object
) -> None:
    import twin.jobs.uploads

    with small_disk(programs.uploads, 1):
        key = programs.key()
        full = begin(door, key, 4_000_000)
        assert full.status_code == 507 and "đã đầy" in full.json()["detail"]
        assert files(programs) == []
        monkeypatch.setattr(twin.jobs.uploads, "RESERVE_BYTES", -(10**9))  # type: ignore[attr-defined]
        address = begin(door, key, 4_000_000).headers["Location"]
        answer = send(door, key, address, 0, b"x" * 4_000_000)
        assert answer.status_code == 507 and "đã đầy" in answer.json()["detail"]
        kept = int(door.head(address, headers=bearer(key)).headers["Upload-Offset"])
        assert 0 < kept <= 2**20
        assert door.delete(address, headers=bearer(key)).status_code == 204

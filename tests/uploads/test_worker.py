"""From an officer's desk to the shared map, with the built program: server, workers, command line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pytest
import shapely
import sqlalchemy as sa

from tests.conftest import HOME
from tests.test_publish import LAYER, houses, rows
from tests.test_raster_publish import ground
from tests.test_raster_publish import write as write_raster
from tests.uploads.programs import Programs, _children, cutting, eventually
from twin.access.keys import revoke_key
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.client import Twin
from twin.client.transfer import Notes
from twin.crs import transform
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.errors import BadInput, Forbidden, Unauthenticated
from twin.jobs.queue import PublishOrder, queue_job
from twin.jobs.uploads import folder_of, open_upload
from twin.text import Text


def versions(programs: Programs, layer: str = LAYER) -> list[tuple[int, str]]:
    with programs.database.session() as session:
        return [
            tuple(row)
            for row in session.execute(
                sa.text(
                    "SELECT v.number, v.state FROM twin.layer_version v JOIN twin.layer l ON l.id = v.layer_id "
                    "JOIN twin.agency a ON a.id = l.agency_id WHERE a.name || '.' || l.name = :id ORDER BY v.number"
                ),
                {"id": layer},
            )
        ]


def jobs(programs: Programs) -> list[Any]:
    with programs.database.session() as session:
        return list(session.execute(sa.text("SELECT * FROM twin.job ORDER BY number")))


def queue(programs: Programs, path: Path, key: str, layer: str = LAYER, sha256: str | None = None, **said: Any) -> None:
    """Put a file into the queue without a server."""
    from twin.access.keys import principal_of_key

    settings = programs.in_process()
    folder = folder_of(settings)
    with programs.database.session() as session:
        principal = principal_of_key(session, key.split("_")[1])
        upload = open_upload(session, settings, str(principal.key), layer, path.name, path.stat().st_size, sha256)
        folder.make()
        folder.file(upload.id).write_bytes(path.read_bytes())
        queue_job(session, folder, principal, upload.id, layer, PublishOrder(**said), "vi")


def left_over(programs: Programs) -> list[Path]:
    return list(programs.uploads.iterdir()) if programs.uploads.exists() else []


@pytest.fixture
def gpkg(tmp_path: Path) -> Path:
    path = tmp_path / "nhà ở Quận 1.gpkg"
    houses(200).to_file(path)
    return path


def test_an_officer_publishes_a_shapefile_in_vn2000_over_http(programs: Programs, tmp_path: Path) -> None:
    source = houses()
    moved = source.set_geometry(shapely.transform(source.geometry.values, lambda c: transform(c, 4326, 9210)), crs=9210)
    moved.loc[3, "ChieuCao"] = 9000
    path = tmp_path / "nha.shp"
    moved.to_file(path, encoding="UTF-8")
    path.with_suffix(".prj").unlink()
    programs.serve()
    programs.worker()
    key, html = programs.key(), tmp_path / "report.html"
    process = programs.publish(str(path), "--layer", LAYER, "--reason", "khảo sát", "--html", str(html), key=key)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert "nha.zip" in out and "EPSG:9210" in out and "N0003" in out
    assert f"Published version 1 of {LAYER}: 59 features" in err and "1 set aside" in err
    assert "<svg" in html.read_text() and "N0003" in html.read_text()
    assert key not in out + err
    found = rows(programs.database)
    assert len(found) == 59 and found["N0007"][2] == "8 Nguyễn Huệ, phường Bến Nghé"
    with programs.database.session() as session:
        (row,) = session.execute(sa.text("SELECT created_by, reason, source FROM twin.layer_version"))
    assert row == ("construction/publisher of construction", "khảo sát", "nha.zip")
    assert left_over(programs) == [] and not list((programs.folder / "state").rglob("*.json"))

    again = programs.publish(str(path), "--layer", LAYER, "--json", key=key)
    told = json.loads(again.communicate(timeout=60)[0])
    assert (told["unchanged"], told["version"]) == (True, 1)


def test_a_raster_goes_over_http_as_well_and_its_report_with_it(programs: Programs, tmp_path: Path) -> None:
    with programs.database.session() as session:
        ensure_layer(session, LayerEntry("construction.ground", "elevation", Text(en="Ground", vi="Cao độ")))
    path = write_raster(tmp_path / "cao do.tif", ground(), nodata=-9999.0)
    programs.settings["TWIN_RASTERS"] = str(tmp_path / "rasters")
    programs.serve()
    programs.worker()
    html = tmp_path / "report.html"
    process = programs.publish(str(path), "--layer", "construction.ground", "--html", str(html), key=programs.key())
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 1), out + err
    assert "Published version 1 of construction.ground" in err
    assert "EPSG:32648" in out and "EPSG:32648" in html.read_text()
    # The report that came over HTTP reads like one made here.
    check = [sys.executable, "-m", "twin", "ingest", "check", str(path), "--theme", "elevation"]
    local = subprocess.run(check, env=os.environ | {"LANG": "C.UTF-8"}, capture_output=True, text=True, timeout=60)
    assert [line for line in local.stdout.splitlines() if line] == [line for line in out.splitlines() if line]
    with programs.database.session() as session:
        current = read_catalogue(session)["construction.ground"].current
    assert current is not None and current.raster is not None and current.features > 100
    assert len(list((tmp_path / "rasters").rglob("*.tif"))) == 1


def test_what_is_refused_says_so_in_the_reader_s_language_with_the_exit_codes_of_a_local_publish(
    programs: Programs, tmp_path: Path
) -> None:
    programs.serve()
    programs.worker()
    key = programs.key()
    vrt = tmp_path / "nha.geojson"
    vrt.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>{vrt}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    )
    bad = houses()
    bad.loc[3, "ChieuCao"] = 9000
    bad.to_file(tmp_path / "nha.gpkg")
    programs.settings["LANG"] = "vi_VN.UTF-8"
    hostile = programs.publish(str(vrt), "--layer", LAYER, key=key)
    strict = programs.publish(str(tmp_path / "nha.gpkg"), "--layer", LAYER, "--strict", key=key)
    dry = programs.publish(str(tmp_path / "nha.gpkg"), "--layer", "construction.sheds", "--dry-run", key=key)
    stranger = programs.publish(str(tmp_path / "nha.gpkg"), "--layer", "health.clinics", key=key)
    outs = [p.communicate(timeout=60) for p in (hostile, strict, dry, stranger)]
    assert [p.returncode for p in (hostile, strict, dry, stranger)] == [2, 2, 1, 3], outs
    assert "nha.geojson" in outs[0][1] and "Không đọc được" in outs[0][1]
    assert "Bị từ chối: lớp vẫn như cũ" in outs[1][1] and "Chưa ghi gì" in outs[2][1]
    assert "không được công bố vào lớp của “health”" in outs[3][1]
    assert versions(programs) == versions(programs, "construction.sheds") == [] and left_over(programs) == []


def test_a_cut_connection_goes_on_where_it_was_and_nothing_is_sent_twice(programs: Programs, tmp_path: Path) -> None:
    programs.serve()
    path = tmp_path / "random.bin"
    path.write_bytes(os.urandom(20_000_000))
    with (
        cutting(programs.port, 3_000_000, 9_000_000) as proxy,
        Twin(f"http://127.0.0.1:{proxy.port}", programs.key(), notes=Notes(tmp_path / "notes"), patience=30) as city,
    ):
        seen: list[int] = []
        upload_of(city, path, seen)
        assert proxy.cut_after == []
        # What was under way when the line was cut may be lost; all else came once.
        assert proxy.passed < 20_000_000 + 2 * 1_500_000
    (file,) = programs.uploads.glob("*.part")
    assert file.read_bytes() == path.read_bytes()
    assert seen[-1] == 20_000_000


def upload_of(city: Twin, path: Path, seen: list[int]) -> None:
    """Upload only, and queue nothing."""
    from twin.client.transfer import Transfer

    transfer = Transfer(city._connection.ask, 30)
    upload = transfer.begin(path.name, path.stat().st_size, LAYER, hashlib.sha256(path.read_bytes()).hexdigest())
    transfer.send(upload, path, 0, lambda done, _: seen.append(done))


def test_a_client_that_died_goes_on_in_its_next_run(programs: Programs, tmp_path: Path) -> None:
    programs.serve()
    path = tmp_path / "nha.geojson"
    # A property that makes the file long enough to be left in the middle.
    frame = houses(600)
    frame["NOTE"] = "x" * 19_000
    frame.to_file(path, driver="GeoJSON")
    size, key, note = path.stat().st_size, programs.key(), programs.folder / "state"
    with cutting(programs.port) as proxy:
        proxy.stall_after = 3_000_000
        first = programs.publish(str(path), "--layer", LAYER, key=key, server=f"http://127.0.0.1:{proxy.port}")
        eventually(lambda: proxy.passed > 3_000_000)
        first.kill()
        first.communicate()
        proxy.stall_after = None
        proxy.flowing.set()
        eventually(lambda: any(p.stat().st_size > 2_000_000 for p in programs.uploads.glob("*.part")))
        assert len(list(note.rglob("*.json"))) == 1 and key not in next(note.rglob("*.json")).read_text()
        programs.worker()
        second = programs.publish(str(path), "--layer", LAYER, key=key, server=f"http://127.0.0.1:{proxy.port}")
        out, err = second.communicate(timeout=90)
        assert second.returncode in (0, 1), out + err
        assert proxy.passed < size + 1_500_000
    assert versions(programs) == [(1, "published")]


def test_a_server_killed_in_the_middle_and_started_again_goes_on(programs: Programs, tmp_path: Path) -> None:
    server = programs.serve()
    path = tmp_path / "random.bin"
    path.write_bytes(os.urandom(40_000_000))
    killed: list[int] = []

    def progress(done: int, _total: int) -> None:
        if done > 12_000_000 and not killed:
            killed.append(done)
            programs.kill(server)
            programs.start("serve")

    from twin.client.transfer import Transfer

    with Twin(programs.url, programs.key(), patience=60, notes=Notes(tmp_path / "notes")) as city:
        transfer = Transfer(city._connection.ask, 60)
        upload = transfer.begin("a.bin", 40_000_000, LAYER, hashlib.sha256(path.read_bytes()).hexdigest())
        transfer.send(upload, path, 0, progress)
    assert killed
    (file,) = programs.uploads.glob("*.part")
    assert file.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_worker_killed_while_it_works_is_replaced_and_exactly_one_version_is_made(
    programs: Programs, tmp_path: Path, mode: str
) -> None:
    programs.settings["TWIN_BATCH_ROWS"] = "500"
    path = tmp_path / "nha.gpkg"
    many = 12_000
    frame = gpd.GeoDataFrame(
        {"MaNha": [f"N{n}" for n in range(many)], "ChieuCao": np.full(many, 9.0)},
        geometry=shapely.box(*(lambda x, y: (x, y, x + 1e-5, y + 1e-5))(
            106.70 + (np.arange(many) % 100) * 2e-5, 10.77 + (np.arange(many) // 100) * 2e-5
        )),
        crs=4326,
    )  # fmt: skip
    frame.to_file(path)
    queue(programs, path, programs.key(), mode=mode)
    first = programs.worker()
    eventually(lambda: jobs(programs)[0].stage == "copy" and jobs(programs)[0].done > 1000)
    children = [int(c) for c in Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()]
    first.kill()
    first.wait()
    killed = time.monotonic()
    eventually(lambda: not any(alive(child) for child in children))
    programs.worker("--once").wait(90)
    (job,) = jobs(programs)
    assert (job.state, job.version, job.attempts) == ("done", 1, 2)
    assert job.started_at is not None and time.monotonic() - killed < 60
    assert versions(programs) == [(1, "published")] and len(rows(programs.database)) == many
    assert left_over(programs) == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_killed_after_the_swap_does_not_publish_again(programs: Programs, gpkg: Path) -> None:
    key = programs.key()
    queue(programs, gpkg, key, mode="append")
    programs.worker("--once").wait(60)
    # As if the worker had died between the version and the word that the job is done.
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.job SET state = 'running', finished_at = NULL, result = NULL"))
        upload = session.scalar(sa.text("SELECT upload_id FROM twin.job"))
    (programs.uploads / f"{upload}.part").write_bytes(gpkg.read_bytes())
    programs.worker("--once").wait(60)
    (job,) = jobs(programs)
    assert (job.state, job.version, job.attempts) == ("done", 1, 2)
    assert (job.result["features"], job.result["quarantined"], job.result["unchanged"]) == (200, 0, False)
    assert versions(programs) == [(1, "published")]


def test_two_workers_do_each_of_many_jobs_once_and_a_layer_s_in_order(programs: Programs, tmp_path: Path) -> None:
    key = programs.key()
    for n in range(3):
        for layer in (LAYER, "construction.sheds"):
            path = tmp_path / f"{n}.gpkg"
            houses(20, height=10 + n).to_file(path)
            queue(programs, path, key, layer)
    workers = [programs.worker("--once"), programs.worker("--once")]
    for worker in workers:
        worker.wait(90)
    # The one that found only busy layers may have left early.
    programs.worker("--once").wait(60)
    done = jobs(programs)
    assert [(j.state, j.attempts) for j in done] == [("done", 1)] * 6
    for layer in (LAYER, "construction.sheds"):
        assert [j.version for j in done if j.layer == layer] == [1, 2, 3]
        assert versions(programs, layer) == [(n, "published") for n in (1, 2, 3)]


def test_a_worker_that_is_asked_to_stop_gives_its_job_back(programs: Programs, gpkg: Path) -> None:
    queue(programs, gpkg, programs.key())
    worker = programs.worker()
    eventually(lambda: jobs(programs)[0].state == "running")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    (job,) = jobs(programs)
    assert (job.state, job.attempts) in {("queued", 0), ("done", 1)}
    programs.worker("--once").wait(60)
    (job,) = jobs(programs)
    assert (job.state, job.attempts) == ("done", 1) and versions(programs) == [(1, "published")]


def test_a_file_that_ends_its_process_each_time_fails_with_a_reason(programs: Programs, gpkg: Path) -> None:
    queue(programs, gpkg, programs.key())
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.job SET state = 'running', attempts = 3"))
    programs.worker("--once").wait(30)
    (job,) = jobs(programs)
    assert job.state == "failed" and "3 times" in job.error["en"] and "3 lần" in job.error["vi"]
    assert left_over(programs) == [] and versions(programs) == []


def test_a_reader_that_crashes_does_not_take_the_worker_along(programs: Programs, tmp_path: Path, gpkg: Path) -> None:
    key = programs.key()
    queue(programs, gpkg, key)
    worker = programs.worker()
    for attempt in (1, 2, 3):
        eventually(lambda n=attempt: (jobs(programs)[0].attempts, jobs(programs)[0].stage is None) == (n, False))
        for child in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
    eventually(lambda: jobs(programs)[0].state == "failed")
    assert "3 times" in jobs(programs)[0].error["en"] and left_over(programs) == []
    houses(7).to_file(tmp_path / "good.gpkg")
    queue(programs, tmp_path / "good.gpkg", key)
    eventually(lambda: jobs(programs)[1].state == "done")
    assert worker.poll() is None and len(rows(programs.database)) == 7


def test_a_key_revoked_in_the_queue_and_a_wrong_digest_are_refused(programs: Programs, gpkg: Path) -> None:
    revoked, good = programs.key(name="gone"), programs.key(name="here")
    queue(programs, gpkg, revoked)
    queue(programs, gpkg, good, sha256="0" * 64)
    with programs.database.session() as session:
        revoke_key(session, revoked, "a test")
    programs.worker("--once").wait(60)
    first, second = jobs(programs)
    assert (first.state, second.state) == ("refused", "refused")
    assert "not valid" in first.error["en"] and "SHA-256" in second.error["en"]
    with programs.database.session() as session:
        denied = session.execute(sa.text("SELECT actor, layer FROM twin.audit WHERE action = 'publish.denied'")).all()
    assert [tuple(d) for d in denied] == [("construction/gone", LAYER)]
    assert versions(programs) == [] and left_over(programs) == []


def test_the_folder_is_swept_of_what_nobody_will_ask_for(programs: Programs, tmp_path: Path) -> None:
    settings, key = programs.in_process(), programs.key()
    folder = folder_of(settings)
    folder.make()
    with programs.database.session() as session:
        kept, old = (open_upload(session, settings, key.split("_")[1], LAYER, "a.csv", 5, None) for _ in range(2))
        session.execute(sa.text("UPDATE twin.upload SET expires_at = now() WHERE id = :id"), {"id": old.id})
    stray = folder.path / "6a3f2c9e-1111-4222-8333-444455556666.part"
    for path in (folder.file(kept.id), folder.file(old.id), stray):
        path.write_text("abc")
        os.utime(path, (0, 0))
    (folder.workshop(77) / "twin-read-x").mkdir(parents=True)
    os.utime(folder.workshop(77), (0, 0))
    fresh = folder.path / "7a3f2c9e-1111-4222-8333-444455556666.part"
    fresh.write_text("abc")
    programs.worker("--once").wait(30)
    assert sorted(left_over(programs)) == sorted([folder.file(kept.id), fresh])


def test_a_database_that_goes_away_in_the_middle_delays_a_job_and_loses_nothing(tmp_path: Path, gpkg: Path) -> None:
    cluster = PrivateCluster(HOME.parent / "away_from_jobs")
    cluster.start()
    try:
        database = Database(cluster.url(f"jobs_{os.getpid()}_{time.monotonic_ns()}"), private=True)
        migrate(database)
        with database.session() as session:
            ensure_agency(session, "construction", Text(en="construction", vi="construction"))
            ensure_layer(session, LayerEntry(LAYER, "buildings", Text(en="Houses", vi="Nhà")))
        programs = Programs(database, tmp_path, home=cluster.home)
        try:
            programs.serve()
            key = programs.key()
            queue(programs, gpkg, key)
            programs.worker()
            eventually(lambda: jobs(programs)[0].stage is not None)
            database.writer.dispose()
            cluster.stop()
            ask = httpx.get(f"{programs.url}/jobs", headers={"X-API-Key": key}, timeout=30)
            assert ask.status_code == 503 and "socket" not in ask.text and str(cluster.socket) not in ask.text
            cluster.start()
            eventually(lambda: jobs(programs)[0].state == "done", 60)
            (job,) = jobs(programs)
            assert job.version == 1 and versions(programs) == [(1, "published")]
            told = {"X-API-Key": key}
            eventually(lambda: httpx.get(f"{programs.url}/jobs", headers=told).status_code == 200)
        finally:
            programs.stop()
        database.writer.dispose()
    finally:
        cluster.stop()


def test_a_key_does_not_travel_in_clear_and_never_stands_in_a_message(tmp_path: Path) -> None:
    key = "twin_0123456789ab_" + "s" * 43
    with pytest.raises(BadInput, match="https://") as refused:
        Twin("http://city.example", key)
    assert key not in str(refused.value)
    Twin("http://city.example", key, insecure_http=True).close()
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://city.example/twin"):
        Twin(url, key).close()
    for url in ("city.example", "ftp://x", "", "https://user:pw@city.example"):
        with pytest.raises(BadInput) as refused:
            Twin(url, key)
        assert "pw" not in str(refused.value)
    with pytest.raises(Unauthenticated) as bad:
        Twin("https://city.example", "secret\r\nX: y")
    assert "secret" not in str(bad.value)


def test_a_server_that_is_not_there_is_one_sentence(programs: Programs, gpkg: Path) -> None:
    with Twin(programs.url, patience=0.1, notes=Notes(programs.folder / "notes")) as city:
        with pytest.raises(Exception, match="does not answer") as away:
            city.publish(gpkg, LAYER)
        assert away.type.__name__ == "Unavailable"


def test_another_agency_s_layer_is_forbidden_before_a_byte_is_sent(programs: Programs, gpkg: Path) -> None:
    programs.serve()
    notes = Notes(programs.folder / "notes")
    with Twin(programs.url, programs.key("health"), notes=notes) as city, pytest.raises(Forbidden):
        city.publish(gpkg, LAYER)
    assert left_over(programs) == []
    assert httpx.get(f"{programs.url}/jobs").status_code == 401


def test_each_line_about_a_job_names_it_whichever_process_writes_it(programs: Programs, tmp_path: Path) -> None:
    houses(20_000).to_file(tmp_path / "houses.gpkg")
    programs.serve()
    worker = programs.worker()
    publishing = programs.publish(str(tmp_path / "houses.gpkg"), "--layer", LAYER)
    # The job's process is the one with a child, which reads the file.
    eventually(lambda: any(_children(pid) for pid in _children(worker.pid)), 60)
    (job,) = (pid for pid in _children(worker.pid) if _children(pid))
    os.kill(job, signal.SIGKILL)
    publishing.communicate(timeout=120)
    log = [json.loads(line) for line in programs.log.read_text().splitlines() if line.startswith("{")]
    about = [line for line in log if line["logger"] == "twin.worker"]
    messages = [line["message"] for line in about]
    assert "the job's process ended abruptly" in messages and "the job ended: done" in messages
    (job_id,) = {line.get("job") for line in about}
    assert job_id and job_id in json.dumps(programs.asked.get("/jobs", headers={"X-API-Key": programs.key()}).json())  # type: ignore[union-attr]

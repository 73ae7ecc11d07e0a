"""Jobs end within their limits, can be cancelled while they run, and leave room for other agencies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests.test_publish import LAYER, houses, rows
from tests.uploads.programs import Programs, eventually
from tests.uploads.test_worker import jobs, left_over, queue, versions

MANY = 15_000
# A machine that runs other tests as well takes its time.
PATIENCE = 120


@pytest.fixture
def long(programs: Programs, tmp_path: Path) -> Path:
    """A file whose publish takes some seconds."""
    programs.settings["TWIN_BATCH_ROWS"] = "40"
    path = tmp_path / "long.gpkg"
    east, north = 106.70 + (np.arange(MANY) % 100) * 2e-5, 10.77 + (np.arange(MANY) // 100) * 2e-5
    shapes = shapely.box(east, north, east + 1e-5, north + 1e-5)
    gpd.GeoDataFrame({"MaNha": [f"N{n}" for n in range(MANY)]}, geometry=shapes, crs=4326).to_file(path)
    return path


def copying(programs: Programs) -> bool:
    return bool(jobs(programs)[0].stage == "copy" and jobs(programs)[0].done > 200)


def unfinished_tables(programs: Programs) -> int:
    with programs.database.session() as session:
        return int(session.scalar(sa.text("SELECT count(*) FROM pg_tables WHERE schemaname = 'layer_data'")) or 0)


def test_jobs_that_reach_their_time_limit_fail_at_once_with_a_sentence_and_the_worker_goes_on(
    programs: Programs, long: Path
) -> None:
    programs.settings["TWIN_JOB_SECONDS"] = "1"
    queue(programs, long, programs.key())
    queue(programs, long, programs.key("health"), "health.clinics")
    worker = programs.worker("--jobs", "1")
    eventually(lambda: [job.state for job in jobs(programs)] == ["failed"] * 2, PATIENCE)
    job = jobs(programs)[0]
    assert job.attempts == 1 and "TWIN_JOB_SECONDS" in job.error["en"] and "chia nhỏ tệp" in job.error["vi"]
    assert worker.poll() is None
    assert versions(programs) == [] and left_over(programs) == []


def test_a_job_that_reaches_its_memory_limit_fails_at_once_with_a_sentence(programs: Programs, tmp_path: Path) -> None:
    programs.settings["TWIN_JOB_MEMORY_MB"] = "512"
    path = tmp_path / "wide.geojson"
    properties = ",".join(f'"c{n}":{n}' for n in range(200))
    place = '{"type":"Point","coordinates":[106.7,10.77]}'
    feature = f'{{"type":"Feature","properties":{{{properties}}},"geometry":{place}}}'
    with path.open("w") as file:
        file.write('{"type":"FeatureCollection","features":[' + ",".join([feature] * 15_000) + "]}")
    programs.settings["TWIN_UPLOAD_BYTES"] = "500000000"
    queue(programs, path, programs.key())
    programs.worker("--once").wait(200)
    (job,) = jobs(programs)
    assert (job.state, job.attempts) == ("failed", 1) and "TWIN_JOB_MEMORY_MB" in job.error["en"]
    assert "512 MB" in job.error["vi"] and left_over(programs) == []


def test_a_running_job_can_be_cancelled_and_leaves_nothing_behind(
    programs: Programs, door: TestClient, long: Path
) -> None:
    key = programs.key()
    told = {"X-API-Key": key}
    queue(programs, long, key)
    worker = programs.worker()
    eventually(lambda: copying(programs), PATIENCE)
    address = f"/jobs/{jobs(programs)[0].id}"
    answer = door.delete(address, headers=told)
    assert answer.status_code == 202 and answer.json()["cancelRequested"]
    assert door.delete(address, headers=told).status_code in (200, 202)
    eventually(lambda: jobs(programs)[0].state == "cancelled", PATIENCE)
    assert versions(programs) == [] and unfinished_tables(programs) == 0
    assert left_over(programs) == []
    assert door.delete(address, headers=told).status_code == 200
    # The worker has room for the next one, and for the same layer.
    queue(programs, long, key)
    eventually(lambda: jobs(programs)[1].state == "running", PATIENCE)
    assert worker.poll() is None


def test_a_job_whose_version_is_made_already_ends_as_done_though_it_is_cancelled(
    programs: Programs, tmp_path: Path
) -> None:
    houses(9).to_file(tmp_path / "a.gpkg")
    queue(programs, tmp_path / "a.gpkg", programs.key())
    programs.worker("--once").wait(200)
    # As if the worker had died between the swap and the word that the job is done, and somebody cancelled then.
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.job SET state = 'running', result = NULL, cancel_requested_at = now()"))
    programs.worker("--once").wait(200)
    (job,) = jobs(programs)
    assert (job.state, job.version) == ("done", 1) and "Version 1" in job.error["en"]
    assert versions(programs) == [(1, "published")] and len(rows(programs.database)) == 9


def test_cancelling_at_any_moment_ends_as_cancelled_without_a_version_or_as_done_with_one(
    programs: Programs, door: TestClient, tmp_path: Path
) -> None:
    key = programs.key()
    houses(3000).to_file(tmp_path / "a.gpkg")
    programs.worker()
    made = 0
    for pause in (0.0, 1.0, 2.0, 2.3, 2.6, 3.0):
        queue(programs, tmp_path / "a.gpkg", key, mode="append", reason=str(pause))
        eventually(lambda: jobs(programs)[-1].state != "queued", PATIENCE)
        time.sleep(pause)
        answer = door.delete(f"/jobs/{jobs(programs)[-1].id}", headers={"X-API-Key": key})
        assert answer.status_code in (202, 409)
        eventually(lambda: jobs(programs)[-1].state not in ("queued", "running"), PATIENCE)
        job = jobs(programs)[-1]
        made += job.state == "done" and job.version == made + 1
        assert job.state in ("cancelled", "done", "refused")
        assert len(versions(programs)) == made


def test_one_agency_s_long_job_does_not_make_another_wait(programs: Programs, tmp_path: Path, long: Path) -> None:
    mine, other = programs.key(), programs.key("health")
    queue(programs, long, mine)
    queue(programs, long, mine, "construction.sheds")
    programs.worker("--jobs", "2")
    eventually(lambda: jobs(programs)[0].state == "running", PATIENCE)
    houses(5).to_file(tmp_path / "small.gpkg")
    queue(programs, tmp_path / "small.gpkg", other, "health.clinics")
    eventually(lambda: jobs(programs)[2].state == "done", PATIENCE)
    first, second, small = jobs(programs)
    # It ran beside the long one, and the long one's agency had one place.
    assert first.finished_at is None or small.started_at < first.finished_at
    assert second.started_at is None or second.started_at >= first.finished_at


def test_agencies_take_turns(programs: Programs, tmp_path: Path) -> None:
    mine, other = programs.key(), programs.key("health")
    houses(5).to_file(tmp_path / "small.gpkg")
    for number in range(3):
        queue(programs, tmp_path / "small.gpkg", mine, ("construction.sheds", LAYER)[number % 2], reason=str(number))
    queue(programs, tmp_path / "small.gpkg", other, "health.clinics")
    programs.worker("--jobs", "1", "--once").wait(200)
    done = jobs(programs)
    assert [job.state for job in done] == ["done"] * 4
    # Queued last, taken second.
    assert sorted(done, key=lambda job: job.started_at).index(done[3]) == 1


def test_a_worker_leaves_a_kind_of_job_that_it_does_not_know_to_others(programs: Programs, tmp_path: Path) -> None:
    houses(5).to_file(tmp_path / "small.gpkg")
    queue(programs, tmp_path / "small.gpkg", programs.key())
    with programs.database.session() as session:
        session.execute(sa.text("UPDATE twin.job SET kind = 'flood'"))
    programs.worker("--once").wait(200)
    (job,) = jobs(programs)
    assert (job.state, job.attempts, job.kind) == ("queued", 0, "flood")


def test_a_worker_that_stops_gives_all_its_jobs_back(programs: Programs, long: Path) -> None:
    queue(programs, long, programs.key())
    queue(programs, long, programs.key("health"), "health.clinics")
    worker = programs.worker("--jobs", "2")
    eventually(lambda: [job.state for job in jobs(programs)] == ["running"] * 2, PATIENCE)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 0
    assert [(job.state, job.attempts) for job in jobs(programs)] == [("queued", 0)] * 2

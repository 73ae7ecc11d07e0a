"""What operators see: numbers of requests, counts with bounded labels, a log that tells what failed."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.conftest import LiveServer, serving
from twin.db.database import Database


def numbers(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_every_answer_has_a_number_and_a_client_s_own_is_kept_if_it_is_harmless(live_server: LiveServer) -> None:
    with httpx.Client(base_url=live_server.url) as http:
        seen = {http.get("/health/live").headers["x-request-id"] for _ in range(3)}
        assert len(seen) == 3
        assert (
            http.get("/health/live", headers={"X-Request-ID": "from-a-proxy.7"}).headers["x-request-id"]
            == "from-a-proxy.7"
        )
        for bad in ("with blank", "<script>", "x" * 65, '{"a": 1}'):
            assert http.get("/health/live", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad
        assert "x-request-id" in http.get("/nothing/here").headers


def test_requests_are_counted_by_route_method_and_class_of_status_whatever_clients_ask_for(
    live_server: LiveServer,
) -> None:
    with httpx.Client(base_url=live_server.url) as http:
        before = numbers(http.get("/metrics").text)
        for n in range(20):
            http.get(f"/nothing/{n}")
            http.get(f"/collections/unknown.layer{n}")
            http.request(f"METHOD{n}", "/collections")
        http.get("/tiles/construction.buildings/15/26104/15382.mvt")
        http.get("/tiles/construction.buildings/15/26104/15382.mvt")
        after = numbers(http.get("/metrics").text)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown['twin_requests_total{method="GET",route="/collections/{layer}",status="4xx"}'] == 20
    assert grown['twin_requests_total{method="GET",route="/tiles/{layers}/{z}/{x}/{y}.mvt",status="2xx"}'] == 2
    assert grown['twin_tile_cache_asked{what="found"}'] >= 1
    # Sixty strange requests made no more than a few new lines.
    assert sum(name.startswith("twin_requests_total{") for name in set(after) - set(before)) < 10
    assert not any("METHOD" in name or "unknown.layer" in name or "nothing" in name for name in after)


def test_several_processes_tell_one_sum_and_a_slow_request_is_written_without_its_query(
    sample_database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with serving(sample_database, log, settings={"TWIN_WORKERS": "2", "TWIN_SLOW_SECONDS": "0.000001"}) as server:
        for _ in range(30):
            assert httpx.get(f"{server.url}/health/live?key=secret").status_code == 200
        counted = [
            numbers(httpx.get(f"{server.url}/metrics").text)[
                'twin_requests_total{method="GET",route="/health/live",status="2xx"}'
            ]
            for _ in range(8)
        ]
    assert counted == [30] * 8
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"twin.requests"' in line]
    live = [line for line in lines if line["path"] == "/health/live"]
    assert len(live) == 30
    assert {line["status"] for line in live} == {200}
    assert "secret" not in log.read_text()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics"])
def test_what_is_for_operators_is_never_kept_by_a_cache(live_server: LiveServer, path: str) -> None:
    assert httpx.get(live_server.url + path).headers["cache-control"] == "no-store"

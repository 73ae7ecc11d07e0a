"""The OpenAPI document against the running program, by schemathesis: all its checks, all operations."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, LiveServer
from twin.access.keys import new_key
from twin.db.tables import PrincipalRole

EXAMPLES = 12
CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_schemathesis_finds_nothing(live_server: LiveServer, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", f"{live_server.url}/api", "--checks", "all",
            "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--max-time", "25",
            "--generation-deterministic", "--no-color", "--warnings", "off",
            "--continue-on-failure",
        ],
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.features.api_values", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    (tmp_path / "schemathesis.log").write_text(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    operations = sum(len(path) for path in httpx.get(f"{live_server.url}/api").json()["paths"].values())
    assert f"Tested: {operations}" in run.stdout


def test_the_document_names_every_parameter_and_every_format(live_server: LiveServer) -> None:
    answer = httpx.get(f"{live_server.url}/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.1"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    items = document["paths"]["/collections/{layer}/items"]["get"]
    assert {p["name"] for p in items["parameters"]} >= {
        "layer", "bbox", "bbox-crs", "crs", "datetime", "limit", "filter", "filter-lang", "filter-crs", "sortby",
        "properties", "ids", "asOf", "at", "version", "count", "token", "f", "lang",
    }  # fmt: skip
    assert set(items["responses"]["200"]["content"]) >= {
        "application/geo+json", "application/fg+json", "text/csv", "application/x-ndjson",
        "application/vnd.flatgeobuf", "application/vnd.apache.parquet", "text/html",
    }  # fmt: skip
    assert "422" not in str(document["paths"].keys()) and "HTTPValidationError" not in answer.text
    for path in document["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["400"]["content"]


SHARED = ("/tiles/construction.buildings/3/8/0.mvt", "/tiles/construction.buildings/3/0/8.mvt")


@pytest.mark.parametrize("path", SHARED)
def test_a_tile_that_the_schema_allows_and_the_zoom_does_not_have_is_a_404(live_server: LiveServer, path: str) -> None:
    assert httpx.get(f"{live_server.url}{path}").status_code == 404


def test_the_schemas_refuse_what_the_server_refuses(live_server: LiveServer) -> None:
    paths = httpx.get(f"{live_server.url}/api").json()["paths"]

    def schema_of(path: str, method: str, name: str) -> dict[str, Any]:
        found = next(p["schema"] for p in paths[path][method]["parameters"] if p["name"] == name)
        # What may be left out is written as a choice with null.
        return next((one for one in found.get("anyOf", ()) if one.get("type") == "string"), {}) | found

    at = schema_of("/cells/{cell}", "get", "at")
    for text, good in (
        ("106.7,10.77", True), ("-180,90", True), ("180.0, -90.0", True), ("0,0", True), ("", False), ("1", False),
        ("181,0", False), ("0,90.5", False), ("nan,nan", False), ("1e2,3", False), ("1,2,3", False),
    ):  # fmt: skip
        assert (re.search(at["pattern"], text) is not None) is good, text
        answer = httpx.get(f"{live_server.url}/cells/8b65b56628cafff", params={"at": text})
        assert answer.status_code == (200 if good else 400), text
    layer = schema_of("/jobs", "get", "layer")
    assert re.search(layer["pattern"], "construction.houses") and not re.search(layer["pattern"], "")
    metadata = schema_of("/uploads", "post", "upload-metadata")
    for text, good in (
        ("layer Y29uc3RydWN0aW9uLmhvdXNlcw==", True), ("filename YS5jc3Y=,layer Y29uc3RydWN0aW9uLmhvdXNlcw==", True),
        ("", False), ("filename YS5jc3Y=", False), ("layer", False), ("layer a", False), ("layer ****", False),
    ):  # fmt: skip
        assert (re.search(metadata["pattern"], text) is not None) is good, text


def test_the_list_of_jobs_is_kept_by_nobody_though_it_is_empty(live_server: LiveServer) -> None:
    with live_server.database.session() as session:
        token = new_key(session, "construction", f"desk-{secrets.token_hex(3)}", PrincipalRole.PUBLISHER, "a test")
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 10
    while (answer := httpx.get(f"{live_server.url}/jobs", headers=headers)).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answer.status_code == 200 and answer.json() == {"jobs": []}
    assert answer.headers["cache-control"] == "private, no-store"

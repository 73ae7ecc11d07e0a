"""The OpenAPI document against the running program, by schemathesis: all its checks, all operations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.conftest import ROOT, LiveServer

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
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
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
        "properties", "ids", "asOf", "version", "count", "token", "f", "lang",
    }  # fmt: skip
    assert set(items["responses"]["200"]["content"]) >= {
        "application/geo+json", "application/fg+json", "text/csv", "application/x-ndjson",
        "application/vnd.flatgeobuf", "application/vnd.apache.parquet", "text/html",
    }  # fmt: skip
    assert "422" not in str(document["paths"].keys()) and "HTTPValidationError" not in answer.text
    for path in document["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["400"]["content"]

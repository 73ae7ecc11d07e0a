"""What docs/catalogue.md says can be typed as it stands."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, LiveServer

LINES = re.findall(r"^    (curl .*)$", (ROOT / "docs" / "catalogue.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_documentation_works(live_server: LiveServer, tmp_path: Path, line: str) -> None:
    script = f"set -euo pipefail; B={live_server.url}; {line.replace('curl ', 'curl -f ')}"
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    if "-o wards.gpkg" in line:
        assert (tmp_path / "wards.gpkg").read_bytes().startswith(b"SQLite format 3\0")
    elif "head -c" in line:
        assert run.stdout == b"SQLite format 3"
    elif "-I" in line:
        assert b"200" in run.stdout.splitlines()[0] and b"planning.wards_v1.csv" in run.stdout
    elif "text/html" in line:
        assert b"<h1>Wards</h1>" in run.stdout
    else:
        said = json.loads(run.stdout)
        assert "planning.wards" in json.dumps(said)


def test_there_are_lines() -> None:
    assert len(LINES) >= 6

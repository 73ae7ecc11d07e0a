"""What docs/cells-api.md says can be typed as it stands."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import pyarrow.parquet as pq

from tests.conftest import ROOT, LiveServer

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "cells-api.md").read_text("utf-8"), re.DOTALL)


def test_the_commands_of_the_documentation_give_cells(live_server: LiveServer, tmp_path: Path) -> None:
    (script,) = (text for language, text in BLOCKS if language == "sh")
    script = script.replace("http://127.0.0.1:8000", live_server.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.count('"layer":"construction.buildings"') == 3 and '"cells":[{' in done.stdout
    assert len(list(csv.DictReader((tmp_path / "cells.csv").open()))) > 20
    assert pq.read_table(tmp_path / "cells.parquet").num_rows > 100
    assert mapbox_vector_tile.decode((tmp_path / "cells.mvt").read_bytes())["construction.buildings:cells"]["features"]


def test_the_lines_of_python_run(live_server: LiveServer) -> None:
    names: dict[str, Any] = {}
    (lines,) = (text for language, text in BLOCKS if language == "python")
    exec(lines.replace("http://127.0.0.1:8000", live_server.url), names)  # noqa: S102
    assert len(names["cells"]) > 10

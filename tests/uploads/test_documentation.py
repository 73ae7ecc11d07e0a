"""What docs/upload-api.md says can be typed as it stands."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT
from tests.test_publish import LAYER, houses, rows
from tests.uploads.programs import Programs


def test_the_commands_of_the_documentation_publish_a_file(programs: Programs, tmp_path: Path) -> None:
    programs.serve()
    programs.worker()
    houses().to_file(tmp_path / "houses.gpkg")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "upload-api.md").read_text(), re.DOTALL)
    script = "\n".join(blocks).replace("http://127.0.0.1:8000", programs.url)
    assert f"LAYER={LAYER}" in script
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=programs.environment | {"TWIN_KEY": programs.key()},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    job, listed = done.stdout.splitlines()[-1].split("}{") if "}{" in done.stdout else (done.stdout, "")
    assert '"state":"done"' in job and len(json.loads("{" + listed)["jobs"]) == 1
    assert "đối tượng" in (tmp_path / "report.html").read_text()
    assert len(rows(programs.database)) == 60

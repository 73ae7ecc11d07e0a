"""What docs/sensorthings.md says can be typed as it stands."""

from __future__ import annotations

import re
import subprocess

from tests.conftest import ROOT
from tests.sensorthings.conftest import City

TEXT = (ROOT / "docs/sensorthings.md").read_text()
BLOCKS = [block for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) if "curl" in block]


def test_the_examples_run_one_after_another(city: City) -> None:
    key = city.keys["device"]["Authorization"].removeprefix("Bearer ")
    for block in BLOCKS:
        # The port and the layer are those of the test; the rest is as it stands.
        script = re.sub(r"^B=.*$", "", block, flags=re.MULTILINE).replace("env.sensors", "env.open")
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env={"B": city.root, "KEY": key, "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert run.returncode == 0, (block, run.stdout, run.stderr)
    assert len(BLOCKS) == 3
    assert "Box 7" in str(city.get("Things"))


def test_what_the_root_says_is_kept_names_requirements_of_the_standard(city: City) -> None:
    named = city.get(city.root)["serverSettings"]["conformance"]
    assert len(named) == len(set(named))
    assert all(one.startswith("http://www.opengis.net/spec/iot_sensing/1.1/req/") for one in named)

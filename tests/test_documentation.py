"""What docs/features-api.md and docs/tiles-api.md say can be typed as it stands, one line after another."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import h3
import httpx
import pytest

from tests.conftest import ROOT, LiveServer
from twin.city import read_city

# The readers of agencies' files leave out GDAL's drivers that they do not need, for this process and its children.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("GDAL_SKIP", "OGR_SKIP")}


def typed(page: str, server: str) -> str:
    """The page's commands as one script that ends at the first that fails."""
    lines = re.findall(r"^    (.*)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    script = "\n".join(lines).replace("http://127.0.0.1:8000", server).replace("curl -s", "curl -sf")
    assert script.count("curl -sf") >= 5
    # Two lines show what a mistake is answered with.
    script = re.sub(r"curl -sf (.*(?:heigth|'tall'))", r"curl -s \1", script)
    return f"set -euo pipefail\n{script}\n"


@pytest.mark.parametrize(
    ("page", "sentences"),
    [
        ("features-api.md", ['"type":"FeatureCollection"', '"numberMatched"', '"status":400']),
        (
            "tiles-api.md",
            ["Layer name: construction.buildings", "immutable", '"id":"VN2000Zone10545Quad"', '"tilejson":"3.0.0"'],
        ),
    ],
)
def test_the_commands_of_a_page_work_from_its_top_to_its_end(
    live_server: LiveServer, tmp_path: Path, page: str, sentences: list[str]
) -> None:
    run = subprocess.run(
        ["bash", "-c", typed(page, live_server.url)], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    answered = run.stdout.decode("utf-8", "replace")
    for expected in sentences:
        assert expected in answered


def test_the_program_on_the_landing_page_runs_as_it_stands(live_server: LiveServer, tmp_path: Path) -> None:
    page = httpx.get(f"{live_server.url}/landing", params={"f": "html", "lang": "en"}).text
    found = re.search(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    assert found, "the sample city has open layers"
    program = html.unescape(found[1]) + "\nassert len(features) > 0 and cells.features.sum() > 0\n"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "construction.buildings" in run.stdout


def test_the_area_of_a_cell_is_that_of_this_city_wherever_it_is_told() -> None:
    """Cells of one resolution differ by a third over the world: the mean of all of them holds nowhere."""
    view = read_city("hcmc").view
    lng, lat = view.center
    area = round(h3.cell_area(h3.latlng_to_cell(lat, lng, 11), "m^2"))
    assert abs(area - 2468) <= 2
    for name in ("docs/architecture.md", "docs/cells-api.md", "tiles/cells/profile.py"):
        text = (ROOT / name).read_text()
        assert "2,468 m²" in text, name
        # The mean is named as what it is, or not at all.
        assert text.count("2,150") <= len(re.findall(r"mean[^.]*2,150|2,150[^.]*mean", text)), name

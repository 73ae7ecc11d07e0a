"""What docs/live-api.md says can be typed as it stands."""

from __future__ import annotations

import re
import subprocess
from typing import Any, get_args

import pytest

from tests.conftest import ROOT, LiveServer
from tiles.live.visible import Kind

TEXT = (ROOT / "docs" / "live-api.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def test_the_commands_end_and_say_what_is_current(live_server: LiveServer) -> None:
    script = "".join(COMMANDS).replace("http://127.0.0.1:8000", live_server.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    whole, part, *_ = re.findall(r"data: (.*)", done.stdout)
    assert part == '{"layers":{"construction.buildings":1,"transport.roads":1}}'
    assert "planning.wards" in whole and done.stdout.count("event: current") == 4
    # The sample city has no streams of its own.
    assert done.stdout.count('event: state\ndata: {"values":[]}') == 2


def test_the_lines_of_python_run(live_server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS["python"].replace("http://127.0.0.1:8000", live_server.url), names)  # noqa: S102
    assert names["about"].version == 1 and "construction.buildings" in names["event"].layers


def test_every_kind_of_change_is_explained() -> None:
    explained = re.findall(r"\n\| `([a-z-]+)` \|", TEXT.split("| `kind` |")[1])
    assert sorted(explained) == sorted(get_args(Kind))

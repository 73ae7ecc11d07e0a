"""The notebook of the documentation runs from beginning to end against a running server."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, LiveServer

NOTEBOOK = ROOT / "docs" / "city-in-python.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: what its last line gives is shown."""
    tree = ast.parse(source)
    shown = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    exec(compile(tree, NOTEBOOK.name, "exec"), names)  # noqa: S102
    return eval(compile(shown, NOTEBOOK.name, "eval"), names) if shown else None  # noqa: S307


def test_every_cell_runs_and_shows_something(
    live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIN_URL", live_server.url)
    monkeypatch.delenv("TWIN_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            shown = run("".join(cell["source"]), names)
            if hasattr(shown, "_repr_html_"):
                assert "<table" in shown._repr_html_()
    assert len(names["layers"]) > 10 and not names["nearby"].empty
    assert names["tall"].crs.to_epsg() == 9210 and (names["tall"]["height"] > 20).all()
    assert not names["both"].empty and 0 <= names["share"] <= 1
    page = (tmp_path / "buildings.html").read_text("utf-8")
    assert "H3HexagonLayer" in page and names["shown"]["cell"].iloc[0] in page
    assert names["before"].attrs["version"] == 1 and "construction.buildings" in names["place"].layers


def test_the_notebook_keeps_no_results_of_the_machine_that_wrote_it() -> None:
    for cell in CELLS:
        assert cell["cell_type"] != "code" or (cell["outputs"] == [] and cell["execution_count"] is None)

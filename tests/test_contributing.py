"""The recipes of CONTRIBUTING.md, followed word by word in a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HOME, ROOT
from twin.db.database import Database

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("twin", "layers", "ingest", "tiles", "viewer", "tests")
TRIANGLE = "district\nfirst\n   106.7 10.7\n   106.8 10.7\n   106.8 10.8\nEND\nEND\n"
ASK_FOR_VERSIONS = """
import time
from fastapi.testclient import TestClient
from tiles.app import create_app
from twin.config import load_settings
from twin.db.database import open_database
settings = load_settings()
with TestClient(create_app(settings, open_database(settings))) as client:
    while client.get("/health").status_code != 200:
        time.sleep(0.05)
    assert "/collections/{layer}/versions" in client.get("/api").json()["paths"]
    print(client.get("/collections/parks.street_trees/versions").text)
    print(client.get("/collections/parks.hidden/versions").status_code)
"""
OPEN_POLY = """
from pathlib import Path
from ingest.readers.opening import open_file
reader = open_file(Path("district.poly"))
(batch,) = reader.batches(10)
print(reader.format, reader.count, list(batch["name"]), batch.geometry.area.round(3).to_list())
"""


class Copy:
    """A copy of the project, on a database and the test cluster of this run."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "en_US.UTF-8", "PYTHONPATH": str(folder),
            "TWIN_HOME": str(HOME), "TWIN_DATABASE": str(database.url.database),
        }  # fmt: skip

    def run(self, *arguments: str) -> str:
        """Run Python in the copy; it must end well."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def apply(self, diff: str) -> None:
        """Change a file as a diff says, each hunk at the one place that it fits."""
        head, *hunks = diff.split("@@\n")
        path = self.folder / head.removeprefix("--- ").strip()
        text = path.read_text()
        for hunk in hunks:
            lines = hunk.splitlines()
            before = "".join(line[1:] + "\n" for line in lines if line[:1] in " -")
            assert text.count(before) == 1, f"{path.name} has this not once but {text.count(before)} times:\n{before}"
            text = text.replace(before, "".join(line[1:] + "\n" for line in lines if line[:1] in " +"))
        path.write_text(text)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def copy(database: Database, tmp_path: Path) -> Iterator[Copy]:
    folder = tmp_path / "project"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / ".twin").symlink_to(ROOT / ".twin")
    return Copy(folder, database)


def add_entry_point(copy: Copy, block: str) -> None:
    """Add a command to pyproject.toml and do what an installation does with it."""
    header, _, line = block.partition("\n")
    text = (copy.folder / "pyproject.toml").read_text()
    assert text.count(f"{header}\n") == 1
    text = text.replace(f"{header}\n", f"{header}\n{line}")
    (copy.folder / "pyproject.toml").write_text(text)
    project = tomllib.loads(text)["project"]
    information = copy.folder / "city_twin.egg-info"
    information.mkdir()
    (information / "PKG-INFO").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = {**project["entry-points"], "console_scripts": project["scripts"]}
    (information / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in given.items()) for group, given in groups.items())
    )


def test_every_recipe_works_as_it_is_written(copy: Copy) -> None:
    modules = dict(re.findall(r"This is all of\s`([a-z_/]+\.py)`[^`]*```python\n(.*?)```", PAGE, re.DOTALL))
    assert set(modules) == {"layers/street_trees.py", "ingest/readers/poly.py", "tiles/versions.py", "twin/agencies.py"}
    for path, block in modules.items():
        (copy.folder / path).write_text(block)
    for diff in blocks("diff"):
        copy.apply(diff)
    entry_point, description = sorted(blocks("toml"), key=lambda block: "entry-points" not in block)
    add_entry_point(copy, entry_point)
    (table,) = blocks("csv")
    data = copy.folder / "data"
    data.mkdir()
    (data / "trees.csv").write_text(table)
    (data / "city.toml").write_text(description)
    (copy.folder / "district.poly").write_text(TRIANGLE)

    (migration,) = [block for block in blocks("python") if "command.revision" in block]
    copy.run("-c", migration)
    (made,) = {p.name for p in (copy.folder / "twin/db/migrations/versions").glob("0*.py")} - {
        p.name for p in (ROOT / "twin/db/migrations/versions").glob("0*.py")
    }
    assert "phone_numbers" in made
    copy.run("-m", "twin", "db", "migrate")
    written = [
        *modules,
        f"twin/db/migrations/versions/{made}",
        "ingest/readers/recognise.py",
        "ingest/readers/opening.py",
    ]
    copy.run("-m", "ruff", "check", "--quiet", "--fix", *written)
    copy.run("-m", "ruff", "format", "--quiet", *written)

    assert "twin agency list" in copy.run("-m", "twin", "agency", "list", "--help")
    copy.run("-m", "twin", "ingest", "city", "--data", str(data))
    agencies = json.loads(copy.run("-m", "twin", "agency", "list", "--json"))
    assert {"agency": "parks", "title": {"vi": "Công viên cây xanh", "en": "Parks"}} in agencies

    answer, hidden = copy.run("-c", ASK_FOR_VERSIONS).splitlines()
    (version,) = json.loads(answer)["versions"]
    assert (version["version"], version["features"], hidden) == (1, 2, "404")

    assert copy.run("-c", OPEN_POLY) == "POLY 1 ['first'] [0.005]\n"

    copy.run(
        "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/test_themes.py", "tests/test_database.py",
        "tests/test_settings.py", "-k", "street_trees or migrations or adding_a_theme",
    )  # fmt: skip

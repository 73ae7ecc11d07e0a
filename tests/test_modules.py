"""Modules do not import each other in a circle when they are loaded: any of them can be the first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("twin", "layers", "ingest", "tiles", "viewer")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_when_loaded(body: list[ast.stmt]) -> Iterator[tuple[str, str | None]]:
    """Yield what a module imports outside functions and `if TYPE_CHECKING`."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from imported_when_loaded([*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With):
            yield from imported_when_loaded(node.body)


def loads(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules that loading one loads: what it imports, and the packages that these stand in."""
    direct = set()
    for module, member in imported_when_loaded(ast.parse(path.read_text("utf-8")).body):
        direct.add(f"{module}.{member}" if f"{module}.{member}" in known else module)
    own = {name.rpartition(".")[0]}
    every = {m.rsplit(".", n)[0] for m in direct for n in range(m.count(".") + 1)}
    # A package that is being loaded does not have to be loaded for the modules in it.
    packages = {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)}
    return (every & known.keys()) - packages - own - {name}


def test_no_module_imports_itself_through_others_when_it_is_loaded() -> None:
    known = modules()
    assert len(known) > 250
    graph = {name: loads(name, path, known) for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())

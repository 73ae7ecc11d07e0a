"""Nobody but the policy decides about columns, and no channel takes a layer without a permit: held over the sources."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("twin", "layers", "ingest", "tiles", "viewer")
# What a version stores is read by the catalogue, which writes it, and by access, which makes permits of it.
STORED = frozenset({"stored_columns", "stored_rollup"})
MAY_READ_STORED = ("twin/catalogue/", "twin/access/")
# What a policy's answer consists of is read by access alone; channels ask the permit.
DECISIONS = frozenset({"hidden_columns", "EVERYTHING", "Grant", "grant"})
# The catalogue of a server is passed on to these, which give permits or publish into a layer.
GIVERS = frozenset(
    {
        "permit_of",
        "permits_of",
        "every_permit",
        "operator_permit",
        "operator_permits",
        "readable_streams",
        "require_publisher",
    }
)
# These look at the catalogue as a whole and tell nobody of a layer: when it changed, how many layers there are, which
# files of downloads may still be requested.
WITHOUT_PERMIT = {
    "tiles/http/server.py", "tiles/http/health.py", "tiles/downloads/prepare.py", "tiles/http/response_cache.py",
    "tiles/vector/fast_path.py", "tiles/live/visible.py",
}  # fmt: skip
# Permits for an operator, and permits made by hand, are for commands and for publishing, never for a request.
OPERATORS = frozenset({"operator_permit", "operator_permits", "whole_permit"})
FOR_OPERATORS = {
    "tiles/commands.py", "tiles/downloads/commands.py", "layers/commands.py", "ingest/publish/engine.py",
    "ingest/mapping/joins.py",
}  # fmt: skip

Finding = Iterator[tuple[int, str]]


def _name(node: ast.AST) -> str:
    """The last name of an expression: `permit_of` of `permit.permit_of`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def stored(path: str, tree: ast.AST) -> Finding:
    if not path.startswith(MAY_READ_STORED):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in STORED:
                yield node.lineno, f"reads {node.attr}: ask the permit for its columns"


def decisions(path: str, tree: ast.AST) -> Finding:
    if path.startswith("twin/access/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twin.access"):
            for alias in node.names:
                if alias.name in DECISIONS or alias.name.startswith("_"):
                    yield node.lineno, f"imports {alias.name}: the sharing policy decides in twin.access alone"
        elif isinstance(node, ast.Attribute) and node.attr in DECISIONS:
            yield node.lineno, f"reads {node.attr}: the sharing policy decides in twin.access alone"
        elif isinstance(node, ast.Call) and _name(node.func) == "Permit":
            yield node.lineno, "makes a Permit: twin.access gives them"
        elif isinstance(node, ast.Call) and _name(node.func) == "replace":
            changed = {keyword.arg for keyword in node.keywords}
            if changed & {"columns", "is_public", "key"} and "permit" in ast.unparse(node).casefold():
                yield node.lineno, "changes a Permit: twin.access gives them"


def catalogue_of_the_server(path: str, tree: ast.AST) -> Finding:
    """`city.layers` stands only where it is handed to what gives permits."""
    if not path.startswith(("tiles/", "viewer/")) or path in WITHOUT_PERMIT:
        return
    handed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in GIVERS:
            for argument in node.args:
                handed |= {id(part) for part in ast.walk(argument)}
        if isinstance(node, ast.Call):
            # A function that is called so, such as the page of all layers.
            handed.add(id(node.func))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("layers", "known_layers") and id(node) not in handed:
            yield node.lineno, f"takes {ast.unparse(node)} by itself: ask {', '.join(sorted(GIVERS - OPERATORS))}"


def current_versions(path: str, tree: ast.AST) -> Finding:
    """A channel takes a version from its permit, for the layer's own are without one."""
    if not path.startswith(("tiles/", "viewer/")) or path == "tiles/http/server.py":
        return
    allowed = {"number", "published", "key"}
    whole = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in allowed and isinstance(node.value, ast.Attribute)
    }
    compared = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot)
        for part in (node.left,)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr != "current" or id(node) in whole | compared:
            continue
        if _name(node.value) in ("layer", "found", "wards", "item"):
            yield node.lineno, f"takes {ast.unparse(node)}: take the version of the permit"


def operators(path: str, tree: ast.AST) -> Finding:
    if path.startswith("twin/access/") or path in FOR_OPERATORS:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and _name(node) in OPERATORS:
            yield node.lineno, f"uses {_name(node)}: it is for commands and for publishing"


RULES: tuple[Callable[[str, ast.AST], Finding], ...] = (
    stored, decisions, catalogue_of_the_server, current_versions, operators,
)  # fmt: skip


def sources() -> Iterator[tuple[str, ast.AST]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nobody_goes_round_the_permit(rule: Callable[[str, ast.AST], Finding]) -> None:
    found = [f"{path}:{line} {what}" for path, tree in sources() for line, what in rule(path, tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (stored, "names = [c.name for c in permit.version.stored_columns]"),
        (stored, "kept = self.permit.version.stored_rollup"),
        (decisions, "from twin.access.policy import grant"),
        (decisions, "shown = [c for c in columns if c.name not in permit.grant.hidden_columns]"),
        (decisions, "one = Permit(layer, version, given, columns, True, True, '')"),
        (decisions, "one = replace(permit, columns=())"),
        (catalogue_of_the_server, "layer = city.layers[name]"),
        (catalogue_of_the_server, "for layer in city_context(request).layers.values(): pass"),
        (catalogue_of_the_server, "layers = city.known_layers"),
        (current_versions, "version = layer.current"),
        (operators, "permit = operator_permit(layers, name)"),
    ],
)
def test_each_rule_finds_what_it_is_for(rule: Callable[[str, ast.AST], Finding], code: str) -> None:
    assert list(rule("tiles/new/routes.py", ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "permit = permit_of(reader, city.layers, name)",
        "permits = every_permit(principal_of(request), city_context(request).layers)",
        "number = layer.current.number",
        "is_current = layer.current is not None",
    ],
)
def test_the_rules_let_the_right_way_pass(code: str) -> None:
    assert not [found for rule in RULES for found in rule("tiles/new/routes.py", ast.parse(code))]


def test_the_exceptions_are_still_there() -> None:
    for path in WITHOUT_PERMIT | FOR_OPERATORS:
        assert (ROOT / Path(path)).is_file(), path

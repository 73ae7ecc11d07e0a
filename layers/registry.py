"""Finds the themes: every module of this package, and packages that register under `twin.themes`."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

import layers
from layers.theme import Theme
from twin.errors import NotFound
from twin.text import Text


def _of_module(module: ModuleType) -> list[Theme]:
    return [value for value in vars(module).values() if isinstance(value, Theme)]


@cache
def themes() -> Mapping[str, Theme]:
    """Return all known themes by name. Two of one name are an error of the installation."""
    found: dict[str, Theme] = {}
    modules = [import_module(f"layers.{m.name}") for m in pkgutil.iter_modules(layers.__path__)]
    modules += [point.load() for point in entry_points(group="twin.themes")]
    for module in modules:
        for theme in _of_module(module):
            if found.setdefault(theme.name, theme) is not theme:
                raise ValueError(f"two themes are called {theme.name!r}")
    return found


def theme(name: str) -> Theme:
    """Return the theme of that name; NotFound names those there are."""
    try:
        return themes()[name]
    except KeyError:
        raise NotFound(
            Text(
                en="There is no theme “{name}”. Known themes: {known}.",
                vi="Không có chuyên đề “{name}”. Các chuyên đề hiện có: {known}.",
            ).format(name=name, known=", ".join(sorted(themes())))
        ) from None

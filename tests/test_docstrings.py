"""The examples in the documentation of the public Python API run, and give what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from tests.conftest import LiveServer
from twin.client import Twin

MODULES = ("twin.crs", "twin.spreadsheets", "twin.cells.cover", "layers.theme")
CLIENT = ("twin.client.city", "twin.client.layer")


def failures(module: str, **names: object) -> tuple[int, int]:
    found = doctest.testmod(import_module(module), extraglobs=names)
    return found.failed, found.attempted


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_the_documentation_give_what_they_say(module: str) -> None:
    failed, attempted = failures(module)
    assert failed == 0 and attempted > 0


@pytest.mark.parametrize("module", CLIENT)
def test_examples_of_the_client_give_what_they_say_of_a_running_city(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    # The examples name the address of a demo; here the city is at another.
    made = Twin.__init__

    def elsewhere(self: Twin, _url: str, *arguments: object, **options: object) -> None:
        made(self, live_server.url, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Twin, "__init__", elsewhere)
    with Twin(live_server.url) as city:
        failed, attempted = failures(module, city=city)
    assert failed == 0 and attempted > 0

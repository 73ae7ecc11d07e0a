"""Languages: both wordings side by side, the reader's chosen."""

from __future__ import annotations

import pytest

from twin.cli import language_of_arguments
from twin.text import Text, language_of_environment, language_of_header, speaking

HELLO = Text(en="Hello {name}", vi="Chào {name}")


def test_a_text_is_shown_in_the_language_of_the_moment() -> None:
    with speaking("vi"):
        assert str(HELLO.format(name="Sài Gòn")) == "Chào Sài Gòn"
    with speaking("en"):
        assert str(HELLO.format(name="Saigon")) == "Hello Saigon"


def test_a_text_inside_a_text_is_filled_in_its_own_language() -> None:
    greeting = HELLO.format(name=Text(en="city", vi="thành phố"))
    assert greeting.as_dict() == {"en": "Hello city", "vi": "Chào thành phố"}


@pytest.mark.parametrize(
    ("environment", "language"),
    [({"LANG": "vi_VN.UTF-8"}, "vi"), ({"LANG": "C"}, "en"), ({}, "en"), ({"LANG": "en_US", "LC_ALL": "vi_VN"}, "vi"), ({"LC_ALL": "", "LANG": "vi"}, "vi")],
)  # fmt: skip
def test_the_environment_says_the_language(environment: dict[str, str], language: str) -> None:
    assert language_of_environment(environment) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"), ("en-GB;q=0.7, vi;q=0.3", "en"), ("fr, de;q=0.5", None), (None, None),
        ("vi;q=0", None), ("en;q=x, vi", "vi"), (",;q=;;", None),
    ],
)  # fmt: skip
def test_the_browser_says_the_language(header: str | None, language: str | None) -> None:
    assert language_of_header(header) == language


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    assert language_of_arguments(["--lang", "vi", "db", "status"]) == "vi"
    assert language_of_arguments(["--lang=vi"]) == "vi"
    assert language_of_arguments(["db", "status"]) == "en"

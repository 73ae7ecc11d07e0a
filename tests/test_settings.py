"""Settings: each is documented where people look, and one that does not fit is named."""

from __future__ import annotations

import pytest

from ingest.readers.limits import PREFIX, Limits, load_limits
from tests.conftest import ROOT
from twin.config import Settings
from twin.errors import SetupProblem


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_stands_in_the_readme(name: str) -> None:
    assert f"`TWIN_{name.upper()}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", Limits.model_fields)
def test_every_limit_stands_on_its_page_with_its_default(name: str) -> None:
    default = Limits.model_fields[name].default
    assert f"| `{PREFIX}{name.upper()}` | {default:,} |" in (ROOT / "docs" / "limits.md").read_text()


def test_a_limit_is_taken_from_the_environment_and_one_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWIN_LIMIT_PIXELS", "1000")
    assert load_limits().pixels == 1000
    monkeypatch.setenv("TWIN_LIMIT_PIXELS", "many")
    with pytest.raises(SetupProblem, match="TWIN_LIMIT_PIXELS"):
        load_limits()

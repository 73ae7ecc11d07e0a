"""Files of rules: what is wrong with one is a sentence with the file, the place and what to do, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from layers.observed.stream_grades import check_rule
from tests.conftest import ROOT
from twin.errors import BadInput
from twin.incidents.rules import AlertRule, Words, read_rule, read_rule_file
from twin.text import Text

GOOD = """
version = 1

[[rule]]
name = "dust"
agency = "env"
severity = "warning"
title = { en = "Dust at {name}", vi = "Bụi tại {name}" }
streams = { kinds = ["pm2_5"], codes = ["st-*"] }
when = { type = "threshold", raise_at = 100, clear_at = 80, seconds = 600 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "env.alerts.toml"
    path.write_text(text)
    return path


def test_a_file_of_rules_is_read(tmp_path: Path) -> None:
    (rule,) = read_rule_file(written(tmp_path, GOOD))
    assert (rule.name, rule.when.type, rule.when.seconds) == ("dust", "threshold", 600)
    # What the database keeps is the same rule.
    assert AlertRule.model_validate_json(rule.definition()) == rule


@pytest.mark.parametrize(
    ("before", "after", "en", "vi"),
    [
        ("raise_at = 100,", "", "rule.1.when: give one of raise_at and grade", "chỉ nêu một trong"),
        ("raise_at = 100", 'raise_at = "100"', "rule.1.when.raise_at: a number is needed", "cần một số"),
        ("raise_at = 100", "raise_at = nan", "raise_at", "raise_at"),
        ("clear_at = 80", "clear_at = 120", "wrong side", "sai phía"),
        ('"threshold"', '"treshold"', "the type is none of", "type không thuộc"),
        ('severity = "warning"', 'severity = "bad"', "rule.1.severity: “bad” is none of", "không thuộc"),
        ('severity = "warning"', "", "rule.1.severity: this has to be given", "bắt buộc"),
        ("{name}", "{nam}", "there is no {nam} to fill in; known: {count}", "để điền"),
        ("{name}", "{name.__class__}", "to fill in", "để điền"),
        ("seconds = 600", "second = 600", "when.second: there is no such setting", "không có mục này"),
        ('kinds = ["pm2_5"], codes = ["st-*"]', "", "name the streams by", "hãy chọn luồng"),
        ("version = 1", "version = 2", "version", "version"),
        ("version = 1", 'version = 1\nwebhook = "x"', "no such setting", "không có mục này"),
        ('agency = "env"', 'agency = "env"\nwebhook = "ftp://x"', "webhook", "webhook"),
        ('agency = "env"', 'agency = "env"\nemails = ["a@b\\nBcc: c@d.vn"]', "emails.1", "emails.1"),
        ("[[rule]]", "[[rule", "env.alerts.toml", "env.alerts.toml"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, before: str, after: str, en: str, vi: str) -> None:
    assert before in GOOD
    with pytest.raises(BadInput) as refused:
        read_rule_file(written(tmp_path, GOOD.replace(before, after)))
    assert "env.alerts.toml" in refused.value.message.en and en in refused.value.message.en
    assert vi in refused.value.message.vi


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two rules are called 'dust'"):
        read_rule_file(written(tmp_path, GOOD + GOOD.replace("version = 1", "")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"streams": {"kinds": ["dust"]}}, "nothing called “dust” is observed"),
        ({"when": {"type": "threshold", "grade": "IX"}, "streams": {"kinds": ["pm2_5"]}}, "no grade “IX”; its grades"),
        ({"when": {"type": "level_change"}, "streams": {"kinds": ["humidity"]}}, "no grades"),
    ],
)
def test_kinds_and_grades_that_do_not_exist_are_refused(changes: dict[str, object], words: str) -> None:
    given = {
        "name": "r", "agency": "env", "severity": "warning", "title": {"en": "t", "vi": "t"},
        "streams": {"kinds": ["pm2_5"]}, "when": {"type": "threshold", "raise_at": 1},
    }  # fmt: skip
    with pytest.raises(BadInput, match=words):
        check_rule(read_rule(given | changes))


def test_names_in_braces_are_filled_and_nothing_else_is_run() -> None:
    words = Words(en="{value} at {stream}, {grade}", vi="{value} tại {stream}")
    assert words.fill({"value": Text(en="1.5", vi="1,5"), "stream": Text(en="{unit}", vi="<b>")}) == Text(
        en="1.5 at {unit}, —", vi="1,5 tại <b>"
    )


def test_the_example_in_the_documentation_can_be_used(tmp_path: Path) -> None:
    for page in ("docs/alerts.md", "docs/vi/alerts.md"):
        text = (ROOT / page).read_text()
        (example,) = [part.split("```")[0] for part in text.split("```toml\n")[1:]]
        rules = read_rule_file(written(tmp_path, example))
        assert {rule.when.type for rule in rules} == {
            "threshold", "rate", "silence", "aggregate", "level_change", "flag",
        }  # fmt: skip
        for rule in rules:
            check_rule(rule)

"""Options that no file could be read with are refused with a sentence, over HTTP and on the command line."""

from __future__ import annotations

import codecs
import time
from encodings.aliases import aliases
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import run
from twin.bounded_toml import DEPTH, LENGTH, check_toml, parse_toml, read_toml
from twin.errors import BadInput
from twin.jobs.queue import PublishOrder, check_order
from twin.text_encodings import TEXT_ENCODINGS, text_encoding

NO_TEXT = sorted(
    {"zip", "zlib", "bz2", "hex", "base64", "uu", "quopri", "rot13", "rot_13", "idna", "punycode", "unicode_escape"}
    | {"raw_unicode_escape", "undefined", "utf-7", "nonsense", "", "a\0b", "../../etc/passwd", "ký tự", "x" * 5000}
)
DEEP = {
    "arrays": "x = " + "[" * 50_000,
    "closed arrays": "x = " + "[" * 5_000 + "]" * 5_000,
    "tables in line": "x = " + "{a = " * 10_000,
    "a key": ".".join(["a"] * 100_000) + " = 1",
    "a header": "[" + ".".join(["a"] * 100_000) + "]",
    "behind a text": 'x = "[" \ny = ' + "[" * 100,
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_text_encoding_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="There is no text encoding"):
        check_order(PublishOrder.model_construct(encoding=name, mapping=None))


@pytest.mark.parametrize("name", sorted(TEXT_ENCODINGS | {"UTF8", "windows-1258", "latin-1", "Shift-JIS"}))
def test_text_encodings_are_taken_by_any_of_their_names_and_decode_any_bytes_to_text(name: str) -> None:
    canonical = text_encoding(name)
    assert isinstance(bytes(range(256)).decode(canonical, "replace"), str)


def test_every_codec_of_python_is_taken_or_refused_and_never_a_fault() -> None:
    for name in set(aliases) | set(aliases.values()):
        try:
            assert text_encoding(name) == codecs.lookup(name).name
        except BadInput as refused:
            assert name in str(refused)


@pytest.mark.parametrize("kind", DEEP)
def test_a_mapping_that_is_nested_without_bound_is_refused_at_once(kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(BadInput, match="nested deeper"):
        check_order(PublishOrder(mapping=DEEP[kind]))
    assert time.monotonic() - began < 2


def test_a_mapping_is_bounded_in_length_also_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="characters"):
        check_toml("#" * (LENGTH + 1), "mapping")
    with pytest.raises(BadInput, match="characters"):
        read_toml(Path("/dev/zero"))
    with pytest.raises(BadInput, match="no such file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "number.toml").write_text("x = " + "9" * 5_000)
    with pytest.raises(BadInput, match=r"number\.toml cannot be used"):
        read_toml(tmp_path / "number.toml")


def test_brackets_in_texts_and_comments_are_no_nesting() -> None:
    many = "[" * 100
    text = f'a = "{many}" # {many}\nb = \'{many}\'\nc = \'\'\'{many}\n{many}\'\'\'\nd = """{many}\\""""\n'
    assert parse_toml(text, "mapping") == {"a": many, "b": many, "c": f"{many}\n{many}", "d": f'{many}"'}


@given(text=st.text(alphabet="ab.=[]{}\"'#\\\n, 1", max_size=400))
def test_whatever_is_given_as_toml_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse_toml(text, "mapping")
    except BadInput as refused:
        assert "mapping cannot be used" in str(refused)


@given(depth=st.integers(1, 3 * DEPTH))
def test_values_are_taken_up_to_a_depth(depth: int) -> None:
    text = "x = " + "[" * depth + "]" * depth
    if depth <= DEPTH:
        assert parse_toml(text, "mapping")
    else:
        with pytest.raises(BadInput):
            parse_toml(text, "mapping")


def test_the_command_line_says_so_in_a_sentence(tmp_path: Path) -> None:
    table, mapping = tmp_path / "a.csv", tmp_path / "mapping.toml"
    table.write_text("ten,lon,lat\na,106.7,10.77\n")
    mapping.write_text(DEEP["arrays"])
    for options, message in (
        (["--encoding", "zip"], "no text encoding"),
        (["--mapping", str(mapping)], "nested deeper"),
    ):
        done = run(
            "ingest", "check", str(table), "--theme", "places", *options, LANG="C.UTF-8", TWIN_HOME=str(tmp_path)
        )
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr

"""Reading CQL2, as text or as JSON, into one kind of tree, with limits set before anything is parsed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import cql2
import orjson

from twin.errors import BadInput
from twin.text import Text

MAX_LENGTH = 60_000
MAX_DEPTH = 32
MAX_NODES = 20_000
# Each level of brackets can double the parser's time on a text that ends up being wrong; so can each sign in a row.
# This keeps the worst text within about a tenth of a second, and far from the depth at which the parser's stack ends.
MAX_WORK = 500_000
# The parser goes one call deeper for each operator, some 2 kB of a stack that nobody can catch the end of.
MAX_OPERATORS = 250
OPERATOR = re.compile(r"\b(?:and|or|not|like|in|between|is|div)\b|[-+*/^%<>=!]+", re.IGNORECASE)
# The corners of geometries, whose signs are no operators: two to four numbers, with commas between corners.
# Possessive throughout (++): a text that nearly is one is given up at once.
_NUMBER = r"[+-]?+(?>\d++\.?+\d*+|\.\d++)(?:[eE][+-]?+\d++)?+"
_BARE = rf"{_NUMBER}(?:\s++{_NUMBER}){{1,3}}+"
_CORNER = rf"(?>{_BARE}|\(\s*+{_BARE}\s*+\))"
CORNERS = re.compile(rf"\(\s*+{_CORNER}(?>\s*+,\s*+{_CORNER})*+\s*+\)")
SIGNS_IN_A_ROW = re.compile(r"-(\s*-){2,}")
QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")

Tree = Any


def refuse(reason: Text | str) -> BadInput:
    """Return the error for a filter that cannot be used."""
    return BadInput(Text(en="filter: {reason}", vi="filter: {reason}").format(reason=reason))


TOO_LONG = Text(
    en="it is longer than {limit:,} characters. Ask in parts.", vi="dài hơn {limit:,} ký tự. Hãy hỏi từng phần."
)
TOO_DEEP = Text(
    en="it is nested too deeply for its length. Write it with fewer brackets, or as cql2-json.",
    vi="lồng quá nhiều cấp so với độ dài. Hãy bớt dấu ngoặc, hoặc viết dạng cql2-json.",
)
TOO_MANY = Text(
    en="it has more than {limit} operators. Use IN (…), or write it as cql2-json.",
    vi="có hơn {limit} toán tử. Hãy dùng IN (…), hoặc viết dạng cql2-json.",
)
NOT_TEXT = Text(
    en="this is not CQL2 text; near “{near}” something else is expected. Example: height > 30 AND use = 'office'",
    vi="không phải CQL2 dạng văn bản; gần “{near}” cần một thứ khác. Ví dụ: height > 30 AND use = 'office'",
)
NOT_JSON = Text(
    en='this is not JSON. Example: {{"op": ">", "args": [{{"property": "height"}}, 30]}}',
    vi='không phải JSON. Ví dụ: {{"op": ">", "args": [{{"property": "height"}}, 30]}}',
)


def check_text(text: str) -> int:
    """Return the parser's work for a CQL2 text at most; refuse a text that is too much of it."""
    if len(text) > MAX_LENGTH:
        raise refuse(TOO_LONG.format(limit=MAX_LENGTH))
    bare = QUOTED.sub("''", text)
    work = len(text) << min(depth_of_brackets(bare), 60)
    if work > MAX_WORK or SIGNS_IN_A_ROW.search(bare):
        raise refuse(TOO_DEEP)
    if len(OPERATOR.findall(CORNERS.sub("()", bare))) > MAX_OPERATORS:
        raise refuse(TOO_MANY.format(limit=MAX_OPERATORS))
    return work


@lru_cache(maxsize=256)
def read_text(text: str) -> Tree:
    """Parse CQL2 text into the tree that CQL2 JSON would be."""
    check_text(text)
    try:
        tree = cql2.parse_text(text).to_json()
    except RecursionError:
        raise refuse(TOO_DEEP) from None
    except Exception as error:
        # Of a geometry without coordinates the library makes a plain Exception.
        raise refuse(NOT_TEXT.format(near=_near(text, str(error)))) from None
    check_size(tree)
    return tree


def _near(text: str, message: str) -> str:
    """Return the part of the text that a parser's message points to (line:column, from 1)."""
    place = re.search(r"--> (\d+):(\d+)", message)
    if place is None:
        return text[:30]
    line = text.split("\n")[int(place[1]) - 1 : int(place[1])]
    return (line[0][max(0, int(place[2]) - 6) :][:30] if line else "") or text[-30:]


def depth_of_brackets(bare: str) -> int:
    """Return how deeply round brackets are nested; unbalanced ones count as deeper than anything that is read."""
    depth = deepest = 0
    for sign in re.findall(r"[()]", bare):
        depth += 1 if sign == "(" else -1
        deepest = max(deepest, depth)
        if depth < 0:
            raise refuse(NOT_TEXT.format(near=")"))
    if depth:
        raise refuse(NOT_TEXT.format(near="("))
    return deepest


@lru_cache(maxsize=256)
def read_json(text: str) -> Tree:
    """Parse CQL2 JSON."""
    if len(text) > MAX_LENGTH:
        raise refuse(TOO_LONG.format(limit=MAX_LENGTH))
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise refuse(NOT_JSON.format()) from None
    check_size(tree)
    return tree


def check_size(tree: Tree) -> None:
    """Refuse a tree that is too deep or too large, without recursion."""
    waiting = [(tree, 0)]
    nodes = 0
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise refuse(TOO_DEEP)
        if isinstance(node, dict):
            waiting.extend((value, depth + 1) for value in node.values())
        elif isinstance(node, list):
            waiting.extend((value, depth + 1) for value in node)

"""Reading `$filter` and `$orderby`: the grammar of OData by a library, with what SensorThings adds to it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from tiles.sensorthings.errors import refuse
from twin.errors import BadInput

MAX_LENGTH = 8_000
MAX_DEPTH = 32
MAX_OPERATORS = 200
# Names that the library's lexer would take for one of its words and a rest are passed through under another name.
MARK = "name__"

_MOMENT = (
    r"[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+\- ]\d\d:\d\d)?"  # an unescaped plus is a blank
)
_WORD = re.compile(
    rf"(?P<quoted>'(?:[^']|'')*')|(?P<interval>{_MOMENT}/{_MOMENT})|(?P<moment>{_MOMENT})"
    r"|@iot\.(?P<iot>\w+)|/(?P<index>\d+)\b|(?P<negated>\bnot(?=\())"
    r"|(?P<name>\b(?:any|all|null|true|false|not)\w+)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_OPERATOR = re.compile(r"\b(?:and|or|not|eq|ne|lt|le|gt|ge|in|add|sub|mul|div|mod|any|all)\b|[-/,]", re.IGNORECASE)


@lru_cache(maxsize=256)
def parse(text: str, name: str = "$filter") -> Any:
    """Parse an expression into the library's tree.

    Raises
    ------
    BadInput
        If it is no expression, or too long, too deep or of too many parts.
    """
    bare = _QUOTED.sub("''", text)
    if len(text) > MAX_LENGTH or len(_OPERATOR.findall(bare)) > MAX_OPERATORS or _depth(bare) > MAX_DEPTH:
        raise refuse(
            "{name} is too long, too deep or has too many parts. Ask in parts.",
            "{name} quá dài, quá sâu hoặc có quá nhiều phần. Hãy hỏi từng phần.",
            name=name,
        )
    try:
        parser = ODataParser()
        # Which functions there are is the compiler's matter.
        parser._function_call = ast.Call  # type: ignore[method-assign]  # the library's rules call it
        tree = parser.parse(ODataLexer().tokenize(_WORD.sub(_rewritten, text.strip())))
    except (ODataException, RecursionError, ValueError, NotImplementedError, AttributeError, TypeError):
        raise _not_understood(text, name) from None
    if tree is None:
        raise _not_understood(text, name)
    return tree


def plain(name: str) -> str:
    """Return the name of a property as it was written."""
    name = name.removeprefix(MARK)
    return name[len("index__") :] if name.startswith("index__") else name


def _rewritten(match: re.Match[str]) -> str:
    """Write what SensorThings adds in the words of the library: intervals, `@iot.id`, indexes in paths."""
    match match.lastgroup:
        case "interval":
            first, last = match["interval"].replace(" ", "+").split("/")
            return f"interval({first},{last})"
        case "moment":
            return match["moment"].replace(" ", "+")
        case "iot":
            return match["iot"]
        case "index":
            return f"/index__{match['index']}"
        case "negated":
            return "not "
        case "name":
            return MARK + match["name"]
    return match[0]


def _depth(bare: str) -> int:
    depth = deepest = 0
    for sign in bare:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    return deepest


def _not_understood(text: str, name: str) -> BadInput:
    return refuse(
        "{name}: “{text}” cannot be read. Example: result gt 5 and Datastream/name eq 'PM2.5'",
        "{name}: không đọc được “{text}”. Ví dụ: result gt 5 and Datastream/name eq 'PM2.5'",
        name=name, text=text,
    )  # fmt: skip

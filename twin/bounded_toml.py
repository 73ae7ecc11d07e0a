"""TOML that others write, bounded before it is parsed: Python's parser recurses, and long keys cost it much time."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from twin.errors import BadInput
from twin.text import Text

LENGTH = 500_000
DEPTH = 24

# Strings and comments first, since brackets inside them mean nothing. One that is not closed ends with its line or
# the text: so every character is looked at once.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\\?\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"?|\'[^\'\n]*\'?|#[^\n]*|[\[\]{}.,=\n]',
    re.DOTALL,
)


def check_toml(text: str, name: str) -> None:
    """Refuse a text that is longer, or nested deeper, than any description of a file is."""
    if len(text) > LENGTH:
        raise _refused(
            name,
            Text(
                en="it has more than {n:,} characters, which are allowed",
                vi="dài hơn mức cho phép là {n:,} ký tự",
            ).format(n=LENGTH),
        )
    depth = parts = 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == ".":
            parts += 1
        elif sign in "[{":
            depth, parts = depth + 1, 0
        elif sign in "]}":
            depth, parts = max(0, depth - 1), 0
        elif sign in (",", "=", "\n"):
            parts = 0
        if depth > DEPTH or parts > DEPTH:
            raise _refused(
                name,
                Text(
                    en="its values or keys are nested deeper than {n} levels, which are allowed",
                    vi="các giá trị hoặc khóa lồng nhau sâu hơn mức cho phép là {n} cấp",
                ).format(n=DEPTH),
            )


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Parse a bounded TOML text; whatever is wrong with it is one sentence that names it."""
    check_toml(text, name)
    try:
        return tomllib.loads(text)
    # A number of thousands of digits is a ValueError of Python's own.
    except (ValueError, RecursionError) as error:
        raise _refused(name, str(error).split("\n")[0][:200]) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file that a person wrote, within the bounds."""
    try:
        with path.open("rb") as file:
            # At most four bytes a character: what is longer is refused, and no more of it is read.
            text = file.read(4 * LENGTH + 1).decode("utf-8-sig")
    except FileNotFoundError:
        raise _refused(path.name, Text(en="there is no such file", vi="không có tệp này")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path.name, str(error)) from None
    return parse_toml(text.replace("\r\n", "\n"), path.name)


def _refused(name: str, reason: str | Text) -> BadInput:
    return BadInput(
        Text(en="{name} cannot be used: {reason}.", vi="Không dùng được {name}: {reason}.").format(
            name=name, reason=reason
        )
    )

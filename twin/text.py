"""Text for people, in the city's languages: Vietnamese and English side by side, chosen when it is shown."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal, get_args

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_language: ContextVar[Language] = ContextVar("language", default="en")


@dataclass(frozen=True, slots=True)
class Text:
    """One message in both languages; `str()` gives the one for the current reader.

    Both are written where the message is used, so that neither can be forgotten.
    """

    en: str
    vi: str

    def __str__(self) -> str:
        return self.in_language(_language.get())

    def in_language(self, language: Language) -> str:
        """Give the wording in one language."""
        return self.vi if language == "vi" else self.en

    def format(self, **values: object) -> Text:
        """Fill `{name}` places; a value that is itself a Text is filled in its own language."""

        def fill(template: str, language: Language) -> str:
            of = {k: v.in_language(language) if isinstance(v, Text) else v for k, v in values.items()}
            return _FORMATTERS[language].vformat(template, (), of)

        return Text(en=fill(self.en, "en"), vi=fill(self.vi, "vi"))

    def stored(self) -> str:
        """Give the form that a column of text keeps: both languages, as JSON; see `read_stored`."""
        return json.dumps(self.as_dict(), ensure_ascii=False)

    def as_dict(self) -> dict[str, str]:
        """Give `{"en": …, "vi": …}`, as JSON answers carry it."""
        return {"en": self.en, "vi": self.vi}


class _Vietnamese(Formatter):
    """Writes numbers as Vietnamese does: 5.895 and 2,5."""

    def format_field(self, value: Any, spec: str) -> str:
        """Format a value; a number that is formatted with separators or decimals has Vietnamese ones."""
        written = str(super().format_field(value, spec))
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return written.translate(_SWAPPED) if is_number and spec else written


_SWAPPED = str.maketrans(",.", ".,")
_FORMATTERS: dict[Language, Formatter] = {"en": Formatter(), "vi": _Vietnamese()}


def format_number(value: float, spec: str = ",") -> str:
    """Write a number as the current reader's language does: 5,895 in English, 5.895 in Vietnamese."""
    return str(_FORMATTERS[_language.get()].format_field(value, spec))


def read_stored(text: str) -> Text:
    """Read what `Text.stored` wrote; any other text is the same in both languages."""
    if text.startswith('{"en": '):
        try:
            parsed = json.loads(text)
            return Text(en=str(parsed["en"]), vi=str(parsed["vi"]))
        except (ValueError, KeyError, TypeError):
            pass
    return Text(en=text, vi=text)


def current_language() -> Language:
    """Tell which language the current reader wants."""
    return _language.get()


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Show every Text inside the block in `language`."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def set_language(language: Language) -> None:
    """Set the language for the rest of the program (a command-line run)."""
    _language.set(language)


def language_of_environment(environment: dict[str, str] | None = None) -> Language:
    """Read the reader's language from LC_ALL, LC_MESSAGES or LANG, as gettext does; English if none says."""
    env = os.environ if environment is None else environment
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := env.get(name):
            return "vi" if value.lower().startswith("vi") else "en"
    return "en"


def language_of_header(accept_language: str | None) -> Language | None:
    """Choose from an Accept-Language header the supported language with the highest weight, if any."""
    best: tuple[float, Language] | None = None
    for part in (accept_language or "").split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            is_better = best is None or weight > best[0]
            if tag.lower().split("-")[0] == language and weight > 0 and is_better:
                best = (weight, language)
    return best[1] if best else None


def printable(text: object) -> str:
    """Return a text that cannot steer a terminal or a page: what is not a visible character becomes a dot."""
    return "".join(c if c.isprintable() else "·" for c in str(text))

"""Names of columns and fields compared as people write them: in two languages, without tone marks, shortened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import NamedTuple

from ingest.column_names import column_name
from layers.theme import Field
from twin.text import Text

Words = tuple[str, ...]

YEAR = re.compile(r"(19|20)\d\d")
_HUMP = re.compile(r"(?<=[a-zà-ỹ0-9])(?=[A-ZĐ])|(?<=[A-ZĐ])(?=[A-ZĐ][a-zà-ỹ])|(?<=[^\W\d_])(?=\d)")

SAME = Text(en="the same name", vi="cùng tên")
INSIDE = Text(en="“{known}” is in the name", vi="trong tên có “{known}”")
SHORT = Text(en="short for “{known}”", vi="viết tắt của “{known}”")
ALIKE = Text(en="almost “{known}”", vi="gần giống “{known}”")


class Likeness(NamedTuple):
    """Likeness of two names, 0 to 1, and its reason."""

    score: float
    reason: Text


UNLIKE = Likeness(0.0, Text("", ""))


@lru_cache(maxsize=10_000)
def words_of(name: str) -> Words:
    """Return the words of a name without tone marks: "SoTang", "so_tang" and "Số tầng" are all "so tang"."""
    return tuple(word for word in column_name(_HUMP.sub("_", name)[:200]).removeprefix("c_").split("_") if word)


def year_of(name: str) -> int | None:
    """Return the year that a column's name carries."""
    found = YEAR.search(name)
    return int(found[0]) if found else None


def known_names(field: Field) -> tuple[str, ...]:
    """Return all names of a field: its own, its titles, its aliases."""
    return tuple(dict.fromkeys((field.name, *field.aliases, field.title.vi, field.title.en)))


def likeness(column: str, field: Field) -> Likeness:
    """Return the likeness of a column's name to the nearest of a field's names."""
    return max((_like(column, known) for known in known_names(field)), key=lambda each: each.score)


@lru_cache(maxsize=20_000)
def _like(column: str, known: str) -> Likeness:
    mine, theirs = words_of(column), words_of(known)
    plain = tuple(word for word in mine if not word.isdigit())
    if not plain or not theirs:
        return UNLIKE
    numbered = 0.03 * (len(mine) - len(plain))
    one, other = "".join(plain), "".join(theirs)
    if one == other:
        return Likeness(1.0 - numbered, SAME)
    if _holds(plain, theirs) and len(other) > 2:
        extra = len(plain) - len(theirs)
        return Likeness(max(0.5, 0.84 - 0.06 * extra) - numbered, INSIDE.format(known=known))
    if len(one) > 1 and abbreviates(one, theirs):
        kept = len(one) / len(other)
        strength = 0.45 if len(one) == 2 else 0.62 + 0.3 * kept
        return Likeness(strength - numbered, SHORT.format(known=known))
    if len(theirs) == 1 and len(theirs[0]) > 4 and any(len(w) > 2 and theirs[0].startswith(w) for w in plain):
        return Likeness(0.6 - numbered, SHORT.format(known=known))
    # Half of a name, such as DT_XD for a "dien tich" of another kind: worth a hint, not worth taking.
    if (
        len(theirs) > 2
        and len(plain) > 1
        and any(abbreviates(word, theirs[:2]) and len(word) > 1 for word in plain[:1])
    ):
        return Likeness(0.4, SHORT.format(known=known))
    if len(one) > 4 and SequenceMatcher(None, one, other).ratio() > 0.86:
        return Likeness(0.7, ALIKE.format(known=known))
    return UNLIKE


def _holds(words: Words, part: Words) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words) - len(part) + 1))


def abbreviates(short: str, words: Sequence[str]) -> bool:
    """Return whether a word is made of beginnings of all the words, in order: "dtxd", "dtich", "sotang"."""
    if not words:
        return not short
    return any(
        short.startswith(words[0][:n]) and abbreviates(short[n:], words[1:])
        for n in range(1, min(len(words[0]), len(short)) + 1)
        if words[0][:n] == short[:n]
    )


# How like a value must be to a term to be offered for it.
LIKELY = 0.55


def likely_term(value: str, field: Field) -> str | None:
    """Return the term of a field's vocabulary that a value most likely means: its words among the term's or the other
    way round, or nearly the same letters. None if nothing is like it, or two terms are alike.
    """
    mine = words_of(value)
    scores: dict[str, float] = {}
    for spelling, term in field.lookup.items():
        scores[term] = max(scores.get(term, 0.0), _closeness(mine, words_of(spelling)))
    (best, score), (_, second) = (*sorted(scores.items(), key=lambda each: -each[1]), ("", 0.0), ("", 0.0))[:2]
    return best if score >= LIKELY and score > second else None


def _closeness(mine: Words, theirs: Words) -> float:
    if not mine or not theirs:
        return 0.0
    if mine == theirs:
        return 1.0
    short, long = sorted((mine, theirs), key=len)
    if _holds(long, short) and len("".join(short)) > 2:
        return 0.5 + 0.4 * len(short) / len(long)
    alike = SequenceMatcher(None, "".join(mine), "".join(theirs)).ratio()
    return alike if alike > 0.8 else 0.0

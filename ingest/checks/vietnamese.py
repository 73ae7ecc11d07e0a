"""The spelling of Vietnamese syllables: whether a word can be one. A judge of how a text was encoded.

A syllable is an initial consonant (perhaps none), a rhyme (vowels and perhaps a final consonant) and one of six tones.
The lists hold the quoc ngu spelling, with the few sounds that only borrowed words have left out: a name such as
"Krông" is no syllable by these rules, which costs nothing, because only shares of many words are compared.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

GRAVE, HOOK, TILDE, ACUTE, DOT = "\u0300", "\u0309", "\u0303", "\u0301", "\u0323"
TONES = frozenset((GRAVE, HOOK, TILDE, ACUTE, DOT))
# Circumflex, breve and horn: what makes another vowel of a letter. And a letter with all that stands on it.
MARKS, VOWELS = frozenset("\u0302\u0306\u031b"), frozenset("aeiouy")
_LETTERS = re.compile("[^\u0300-\u036f][\u0300-\u036f]*")
# Syllables that a stop closes have two tones only.
STOPPED_TONES = frozenset((ACUTE, DOT))
STOPS = ("c", "ch", "p", "t")

ONSETS = frozenset(
    ("", *"bcdđghklmnprstvx", "ch", "gh", "gi", "kh", "ng", "ngh", "nh", "ph", "qu", "th", "tr")
)  # fmt: skip
# These are written so only before e, ê, i and y; c, g and ng only before the other vowels ("gì" apart).
BEFORE_FRONT = frozenset(("k", "gh", "ngh"))
BEFORE_BACK = frozenset(("c", "g", "ng"))
FRONT = frozenset("eêiy")

# Vowels, and the finals that each can take; "-" is none.
_RHYMES = {
    "a": "- c ch i m n ng nh o p t u y", "ă": "c m n ng p t", "â": "c m n ng p t u y",
    "e": "- c m n ng o p t", "ê": "- c ch m n ng nh p t u", "i": "- a c ch m n ng nh p t u",
    "iê": "c m n ng p t u", "yê": "m n ng t u", "o": "- c i m n ng p t", "oo": "c ng",
    "oa": "- c ch i m n ng nh o p t y",
    "oă": "c m n ng t", "oe": "- m n o t", "ô": "- c i m n ng p t", "ơ": "- i m n p t",
    "u": "- a c i m n ng p t", "uô": "c i m n ng p t", "uâ": "n ng t y", "uê": "- ch n nh", "uơ": "-",
    "uy": "- a ch n nh p t u", "uyê": "n t", "ư": "- a c i m n ng t u", "ươ": "c i m n ng p t u",
    "y": "- a ch m n nh t u",
}  # fmt: skip
RHYMES = frozenset(
    vowels + ("" if final == "-" else final) for vowels, finals in _RHYMES.items() for final in finals.split()
)


@lru_cache(maxsize=50_000)
def is_syllable(word: str) -> bool:
    """Return whether a word, in any case, is spelled like a Vietnamese syllable."""
    if len(word) > 12:
        return False
    decomposed = unicodedata.normalize("NFD", word.casefold())
    tones = "".join(mark for mark in decomposed if mark in TONES)
    letters = "".join(letter for letter in decomposed if letter not in TONES)
    return (
        len(tones) <= 1
        and _is_toneless_syllable(unicodedata.normalize("NFC", letters), tones)
        and (not tones or _stands_right(decomposed, tones))
    )


def _stands_right(decomposed: str, tone: str) -> bool:
    """Return whether the tone stands on a vowel, and on one with a mark of its own if there is any: "phồi", never
    "phôì".

    Nor does it stand on the i, o, u or y that ends a glide: "xại", never "xaị"; but "gió", "quí" and "thuỷ".
    """
    letters = _LETTERS.findall(decomposed)
    toned = next((letter for letter in letters if tone in letter), "")
    marked = [letter for letter in letters if not MARKS.isdisjoint(letter)]
    if marked:
        return toned in marked
    bare = "".join(letter[0] for letter in letters)
    if toned is letters[-1] and bare[-1] in "iouy" and bare[-2:-1] in tuple(VOWELS):
        return bare.endswith(("uy", "qui", "quy", "gio", "giu"))
    return toned[:1] in VOWELS


def _is_toneless_syllable(letters: str, tone: str) -> bool:
    if letters.endswith(STOPS) and tone not in STOPPED_TONES:
        return False
    return any(
        letters[:cut] in ONSETS and letters[cut:] in RHYMES and _spelled(letters[:cut], letters[cut:])
        for cut in range(min(4, len(letters)))
    )


def _spelled(onset: str, rhyme: str) -> bool:
    if onset in BEFORE_FRONT:
        return rhyme[0] in FRONT
    if onset in BEFORE_BACK:
        return rhyme[0] not in FRONT or (onset == "g" and rhyme[0] == "i")
    if onset == "qu":
        return rhyme[0] not in "uư" and rhyme != "o"
    return onset != "" or not rhyme.startswith("iê")

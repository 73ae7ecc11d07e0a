"""Legacy encodings of Vietnamese text, decided by column: TCVN3 (ABC), VNI, CP1258, misread UTF-8, NFD.

A byte has a meaning in every one of these, so trying to decode proves nothing. What tells them apart is whether the
words that come out are spelled like Vietnamese syllables. Correct Unicode always wins a draw: "Gia công" stays what it
is, although its bytes could be read otherwise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ingest.checks.vietnamese import ACUTE, DOT, GRAVE, HOOK, TILDE, is_syllable
from twin.text import Text

Encoding = Literal["unicode", "nfd", "tcvn3", "vni", "cp1258", "utf-8"]

TITLES: Mapping[str, str] = {
    "unicode": "Unicode", "nfd": "Unicode NFD", "tcvn3": "TCVN3 (ABC)", "vni": "VNI", "cp1258": "Windows-1258",
    "utf-8": "UTF-8",
}  # fmt: skip

# TCVN 5712:1993. The fonts called ABC hold the set VN3: small letters, and capitals without a tone. Toned capitals have
# the places of VN2 where these are free; below 0xA0 stand the dashes and quotes of Windows, as in every text of a PC.
_TCVN3 = {
    0xA0: "\u00a0ĂÂÊÔƠƯĐăâêôơưđẰ", 0xB5: "àảãáạẲằẳẵắẴ",
    0xC0: "ẮẦẨẪẤỀặầẩẫấậèỂẻẽéẹềểễếệìỉỄẾỒĩíị", 0xDF: "òỔỏõóọồổỗốộờởỡớợùỖủũúụừửữứựỳỷỹýỵỐ",
}  # fmt: skip
TCVN3 = {start + i: letter for start, run in _TCVN3.items() for i, letter in enumerate(run)}
# Tone marks by themselves; in "m²" the same byte is meant as what it is elsewhere.
TCVN3_TONES = {0xB0: GRAVE, 0xB1: HOOK, 0xB2: TILDE, 0xB3: ACUTE, 0xB4: DOT}
_LONE_TONE = re.compile("([aeiouyăâêôơư])([\u00b0-\u00b4])", re.IGNORECASE)

# VNI for Windows: a letter that English has, then a byte that says what stands on it. The letters i, y with a dot, ơ, ư
# and đ have one byte; ơ and ư then take the tones of plain letters.
_VNI_TONES = {"ø": GRAVE, "û": HOOK, "õ": TILDE, "ù": ACUTE, "ï": DOT}
_CIRCUMFLEX, _BREVE = "\u0302", "\u0306"
_VNI_CIRCUMFLEX = {"â": "", "à": GRAVE, "å": HOOK, "ã": TILDE, "á": ACUTE, "ä": DOT}
_VNI_BREVE = {"ê": "", "è": GRAVE, "ú": HOOK, "ü": TILDE, "é": ACUTE, "ë": DOT}
_VNI_SINGLE = {"ô": "ơ", "ö": "ư", "ñ": "đ", "ì": "ì", "æ": "ỉ", "ó": "ĩ", "í": "í", "ò": "ị", "î": "ỵ"}


def _vni() -> dict[str, str]:
    small = dict(_VNI_SINGLE)
    for base in "aeouyôö":
        letter = _VNI_SINGLE.get(base, base)
        small |= {base + mark: letter + tone for mark, tone in _VNI_TONES.items()}
    for base in "aeo":
        small |= {base + mark: base + _CIRCUMFLEX + tone for mark, tone in _VNI_CIRCUMFLEX.items()}
    small |= {"a" + mark: "a" + _BREVE + tone for mark, tone in _VNI_BREVE.items()}
    del small["yï"]
    table: dict[str, str] = {}
    for code, letter in small.items():
        letter = unicodedata.normalize("NFC", letter)
        # A capital may have its mark in either size.
        table |= {code: letter, code.upper(): letter.upper(), code[0].upper() + code[1:]: letter.upper()}
    return table


VNI = _vni()
_VNI_CODES = re.compile("|".join(sorted(map(re.escape, VNI), key=len, reverse=True)))

# What Windows-1252 shows for the bytes 0x80 to 0x9F: a reader that took it for that has put these instead of the bytes.
_WINDOWS = {}
for _byte in range(0x80, 0xA0):
    try:
        _WINDOWS[ord(bytes([_byte]).decode("cp1252"))] = chr(_byte)
    except UnicodeDecodeError:
        continue
_TYPOGRAPHY = {ord(byte): chr(letter) for letter, byte in _WINDOWS.items()}

_C1 = re.compile("[\u0080-\u009f]")
_CAPITAL_INSIDE = re.compile(r"[A-Z\u0080-\u00ff][A-Z]")
# Runs of letters and of whatever has no place in ASCII: the last byte of "à" in UTF-8 looks like a blank elsewhere.
_WORDS = re.compile(r"[A-Za-z\u0080-\uffff]+")
_EDGES = "“”‘’‚„–—…«»·•\u00a0"


def as_bytes(text: str) -> str | None:
    """Give a text as characters that stand for single bytes, or None if it has others: then it is real Unicode."""
    text = text.translate(_WINDOWS)
    return text if not text or max(text) <= "\u00ff" else None


def decode_tcvn3(text: str, capitals: bool = False) -> str:
    """Read bytes (as characters below 256) as TCVN3.

    Its fonts draw capitals with the codes of small letters, so a text all in capitals comes with small toned letters.
    Such a text is known by itself unless it is short ("Hå" is "Hồ" or "HỒ"); `capitals` says it for all.
    """
    if text.isascii():
        return text
    marked = _LONE_TONE.sub(lambda m: m[1] + TCVN3_TONES[ord(m[2])], text.translate(TCVN3))
    decoded = unicodedata.normalize("NFC", marked).translate(_TYPOGRAPHY)
    return decoded.upper() if capitals or _in_capitals(text) else decoded


def _in_capitals(text: str) -> bool:
    return _CAPITAL_INSIDE.search(text) is not None and not any("a" <= letter <= "z" for letter in text)


def decode_vni(text: str) -> str:
    """Read bytes (as characters below 256) as VNI."""
    return text if text.isascii() else _VNI_CODES.sub(lambda code: VNI[code[0]], text).translate(_TYPOGRAPHY)


def decode_cp1258(text: str) -> str | None:
    """Read bytes (as characters below 256) as Windows-1258, its tone marks joined to their letters."""
    try:
        return unicodedata.normalize("NFC", text.encode("latin-1").decode("cp1258"))
    except UnicodeDecodeError:
        return None


def decode_utf8(text: str) -> str | None:
    """Read bytes (as characters below 256) as UTF-8 that somebody took for a one-byte encoding."""
    try:
        return unicodedata.normalize("NFC", text.encode("latin-1").decode("utf-8"))
    except UnicodeDecodeError:
        return None


_DECODERS: Mapping[Encoding, Callable[[str], str | None]] = {
    "utf-8": decode_utf8, "tcvn3": decode_tcvn3, "vni": decode_vni, "cp1258": decode_cp1258,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """The encoding of a column's text, the evidence, and one value before and after.

    `mixed`: some values are real Unicode already, so each value that is good Vietnamese as it stands is left alone.
    `windows`: dashes and quotes stand as the bytes that Windows has for them. `capitals`: there are no small letters.
    """

    encoding: Encoding
    evidence: Text
    before: str = ""
    after: str = ""
    mixed: bool = False
    windows: bool = False
    capitals: bool = False

    @property
    def decodes(self) -> bool:
        """Whether values change, apart from joining loose tone marks, which all text goes through."""
        return self.windows or self.encoding in _DECODERS

    @property
    def title(self) -> str:
        """The encoding's usual name."""
        return TITLES[self.encoding]

    def decode(self, value: str) -> str:
        """Bring one value to Unicode, NFC."""
        if value.isascii():
            return value
        decoder = _DECODERS.get(self.encoding)
        raw = as_bytes(value) if decoder else None
        if decoder is None or raw is None or (self.mixed and _is_fine(value)):
            return unicodedata.normalize("NFC", value.translate(_TYPOGRAPHY))
        decoded = decode_tcvn3(raw, self.capitals) if self.encoding == "tcvn3" else decoder(raw)
        return unicodedata.normalize("NFC", value if decoded is None else decoded)


# The share of words that must come out as syllables, of those with a letter that English lacks; and by how much that
# must be better than the words as they are.
ENOUGH = 0.7
BETTER = 0.3


def decide(values: Iterable[str]) -> Decision:
    """Judge how the text of one column is encoded, from some of its values (bytes as characters, or Unicode)."""
    telling = [value for value in values if not value.isascii()]
    if not telling:
        return Decision("unicode", Text(en="plain letters only", vi="chỉ có chữ cái không dấu"))
    raw = {value: as_bytes(value) for value in telling}
    words = {word for value in raw.values() if value for word in _WORDS.findall(value) if _tells(word)}
    real = sum(value is None for value in raw.values())
    best = max((_judge(encoding, words) for encoding in _DECODERS), key=lambda each: each.found - each.as_they_are)
    if best.convinces:
        evidence = Text(
            en="{found} of {words} words with special letters are Vietnamese when read as {encoding}, "
            "{as_it_is} as they stand",
            vi="{found}/{words} từ có ký tự đặc biệt là tiếng Việt khi đọc theo {encoding}, để nguyên thì {as_it_is}",
        ).format(found=best.found, words=best.words, as_it_is=best.as_they_are, encoding=TITLES[best.encoding])
        capitals = _in_capitals("".join(value for value in raw.values() if value))
        return _shown(Decision(best.encoding, evidence, mixed=real > 0, capitals=capitals), telling)
    composed = sum(not unicodedata.is_normalized("NFC", value) for value in telling)
    if composed:
        evidence = Text(
            en="{n} of {of} values have tone marks as characters of their own",
            vi="{n}/{of} giá trị có dấu thanh tách rời",
        ).format(n=composed, of=len(telling))
        return _shown(Decision("nfd", evidence), telling)
    evidence = Text(
        en="{n} values with special letters, good as they stand", vi="{n} giá trị có ký tự đặc biệt, đều đúng sẵn"
    ).format(n=len(telling))
    return Decision("unicode", evidence, windows=any(_C1.search(value) for value in telling))


def _tells(word: str) -> bool:
    """Return whether a word can show an encoding; a letter by itself, or a dash, cannot."""
    return len(word) > 1 and not word.isascii() and any(letter.isascii() for letter in word)


@dataclass(frozen=True, slots=True)
class _Judged:
    """How many of the words that an encoding would change are syllables then, and how many are as they stand."""

    encoding: Encoding
    words: int
    found: int
    as_they_are: int

    @property
    def convinces(self) -> bool:
        better = self.found - self.as_they_are
        return self.found >= ENOUGH * self.words and better >= max(1, BETTER * self.words)


def _judge(encoding: Encoding, words: Iterable[str]) -> _Judged:
    read = {word: _DECODERS[encoding](word) for word in words}
    # What stays the same speaks for nothing: "kênh" is written alike in Unicode and in Windows-1258.
    changed = {word: decoded for word, decoded in read.items() if decoded != word}
    return _Judged(
        encoding, len(changed), sum(decoded is not None and _is_word(decoded) for decoded in changed.values()),
        sum(map(_is_word, changed)),
    )  # fmt: skip


def _is_word(text: str) -> bool:
    return is_syllable(unicodedata.normalize("NFC", text).strip(_EDGES))


def _is_fine(value: str) -> bool:
    words = [word for word in _WORDS.findall(unicodedata.normalize("NFC", value)) if not word.isascii()]
    return all(is_syllable(word.strip(_EDGES)) for word in words)


def _shown(decision: Decision, values: list[str]) -> Decision:
    """Return the decision with the first value that it changes."""
    for value in values:
        after = decision.decode(value)
        if after != value:
            return replace(decision, before=value[:60], after=after[:60])
    return decision

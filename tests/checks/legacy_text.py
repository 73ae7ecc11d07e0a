"""Writes Vietnamese as old programs did, by rules written independently of the tables that read it."""

from __future__ import annotations

import unicodedata

GRAVE, HOOK, TILDE, ACUTE, DOT = "\u0300", "\u0309", "\u0303", "\u0301", "\u0323"
CIRCUMFLEX, BREVE, HORN = "\u0302", "\u0306", "\u031b"

# The bytes of TCVN 5712 VN3 in the order of the standard's own chart: tones grave, hook, tilde, acute, dot.
TCVN3_PLAIN = {"ă": 0xA8, "â": 0xA9, "ê": 0xAA, "ô": 0xAB, "ơ": 0xAC, "ư": 0xAD, "đ": 0xAE,
               "Ă": 0xA1, "Â": 0xA2, "Ê": 0xA3, "Ô": 0xA4, "Ơ": 0xA5, "Ư": 0xA6, "Đ": 0xA7}  # fmt: skip
TCVN3_TONED = {
    "a": (0xB5, 0xB6, 0xB7, 0xB8, 0xB9), "ă": (0xBB, 0xBC, 0xBD, 0xBE, 0xC6), "â": (0xC7, 0xC8, 0xC9, 0xCA, 0xCB),
    "e": (0xCC, 0xCE, 0xCF, 0xD0, 0xD1), "ê": (0xD2, 0xD3, 0xD4, 0xD5, 0xD6), "i": (0xD7, 0xD8, 0xDC, 0xDD, 0xDE),
    "o": (0xDF, 0xE1, 0xE2, 0xE3, 0xE4), "ô": (0xE5, 0xE6, 0xE7, 0xE8, 0xE9), "ơ": (0xEA, 0xEB, 0xEC, 0xED, 0xEE),
    "u": (0xEF, 0xF1, 0xF2, 0xF3, 0xF4), "ư": (0xF5, 0xF6, 0xF7, 0xF8, 0xF9), "y": (0xFA, 0xFB, 0xFC, 0xFD, 0xFE),
}  # fmt: skip
TONES = (GRAVE, HOOK, TILDE, ACUTE, DOT)

VNI_TONE = dict(zip(TONES, (0xF8, 0xFB, 0xF5, 0xF9, 0xEF), strict=True))
VNI_HAT = {"": 0xE2, GRAVE: 0xE0, HOOK: 0xE5, TILDE: 0xE3, ACUTE: 0xE1, DOT: 0xE4}
VNI_BREVE = {"": 0xEA, GRAVE: 0xE8, HOOK: 0xFA, TILDE: 0xFC, ACUTE: 0xE9, DOT: 0xEB}
VNI_I = {GRAVE: 0xEC, HOOK: 0xE6, TILDE: 0xF3, ACUTE: 0xED, DOT: 0xF2}


def parts(letter: str) -> tuple[str, str, str]:
    """A letter as its base, the mark of its vowel and its tone."""
    base, *marks = unicodedata.normalize("NFD", letter)
    tone = next((m for m in marks if m in TONES), "")
    return base, "".join(m for m in marks if m not in TONES), tone


def as_tcvn3(text: str) -> str:
    """Bytes as characters; capitals with a tone are written with the code of the small letter, as the fonts have it."""
    written = []
    for letter in unicodedata.normalize("NFC", text):
        base, mark, tone = parts(letter)
        vowel = unicodedata.normalize("NFC", base + mark)
        if tone:
            written.append(chr(TCVN3_TONED[vowel.lower()][TONES.index(tone)]))
        else:
            written.append(chr(TCVN3_PLAIN[vowel]) if vowel in TCVN3_PLAIN else vowel)
    return "".join(written)


def as_vni(text: str) -> str:
    written = []
    for letter in unicodedata.normalize("NFC", text):
        base, mark, tone = parts(letter)
        small = base.lower()
        if letter in "đĐ":
            code = "ñ"
        elif mark == CIRCUMFLEX:
            code = small + chr(VNI_HAT[tone])
        elif mark == BREVE:
            code = small + chr(VNI_BREVE[tone])
        elif mark == HORN:
            code = {"o": "ô", "u": "ö"}[small] + (chr(VNI_TONE[tone]) if tone else "")
        elif tone and small == "i":
            code = chr(VNI_I[tone])
        elif tone == DOT and small == "y":
            code = "î"
        else:
            code = small + (chr(VNI_TONE[tone]) if tone else "")
        written.append(code.upper() if letter.isupper() else code)
    return "".join(written)


def as_cp1258(text: str) -> str:
    """Windows-1258 has the vowels with their marks, and tones by themselves."""
    written = []
    for letter in unicodedata.normalize("NFC", text):
        base, mark, tone = parts(letter)
        written.append(unicodedata.normalize("NFC", base + mark) + tone)
    return "".join(written).encode("cp1258").decode("latin-1")


def as_utf8(text: str) -> str:
    return unicodedata.normalize("NFC", text).encode().decode("latin-1")


def as_nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


WRITERS = {"tcvn3": as_tcvn3, "vni": as_vni, "cp1258": as_cp1258, "utf-8": as_utf8, "nfd": as_nfd}

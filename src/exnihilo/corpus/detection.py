"""Text in other encodings than UTF-8: by what it states (byte order mark, header), then by detection with confidence.

uchardet proposes an encoding; it is believed if the whole text decodes and nearly all characters beyond ASCII are
such as that encoding is used for: letters of its script, or the common half of its Chinese characters. Bytes in a
wrong encoding decode to a random mix of signs, rare characters and letters in impossible places.
"""

from __future__ import annotations

import codecs
import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from exnihilo.corpus.decode import decode
from exnihilo.corpus.findings import Skipped

CONFIDENCE = 0.95
"""Share of the characters beyond ASCII that are common in an encoding, below which it is not believed."""
EVIDENCE = 5
"""Characters beyond ASCII without which nothing can be told."""

_LOOKED_AT = 20_000  # characters beyond ASCII that are looked at

_MARKS = {  # UTF-32's little-endian mark begins like UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Encodings and what they are read as: nearly all text that says it is the first is the second.
_READ_AS = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis-620": "iso8859-11",
}
_SCRIPTS = {
    "LATIN": "cp1250 cp1252 cp1254 cp1257 cp1258 iso8859-2 iso8859-4 iso8859-10 iso8859-13 iso8859-15 iso8859-16",
    "CYRILLIC": "cp1251 koi8-r koi8-u iso8859-5 cp866 mac-cyrillic",
    "GREEK": "cp1253 iso8859-7",
    "ARABIC": "cp1256 iso8859-6",
    "HEBREW": "cp1255 iso8859-8",
    "THAI": "iso8859-11 cp874",
}
_SCRIPT_OF = {
    codecs.lookup(name).name: script for script, names in _SCRIPTS.items() for name in names.split()
}
# The character set in which a standard lists the characters of daily use first, and the first bytes of that part.
_DAILY = {
    "gb18030": ("gb2312", range(0xA1, 0xD8)),
    "big5": ("big5", range(0xA1, 0xC7)),
    "cp932": ("shift_jis", range(0x81, 0x99)),
    "euc_jp": ("euc_jp", range(0xA1, 0xD0)),
    "cp949": ("euc_kr", range(0xA1, 0xC9)),
}
_SIGNS = frozenset("–—‘’‚“”„†‡•…‰‹›€™¡¢£§©«°±²³´·»¼½¾¿×÷№\u00a0\u00ad\u200c\u200d")
_CONTROLS = frozenset(map(chr, itertools.chain(range(9), range(14, 27), range(28, 32), range(127, 160))))
# Pairs of letters read as UTF-16 are Chinese. Latin text in UTF-16 has a zero in each pair, Chinese other bytes.
_ASCII = bytes(range(32, 127))
_ASCII_SHARE = 0.05


@dataclass(frozen=True)
class Decoded:
    """A text and the encoding it stood in."""

    text: str
    encoding: str = "utf-8"


def decode_any(data: bytes, name: str, stated: str | None = None) -> Decoded | Skipped:
    """The text in bytes, or why `name` is no text. `stated` is an encoding named beside or inside it.

    What is UTF-8 is taken for that, whatever is stated: other text is hardly ever valid UTF-8 by chance.
    """
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return _as_stated(data, encoding, name)
    text = decode(data, name)
    if isinstance(text, str):
        return Decoded(text)
    if text.reason != "not UTF-8" or data.startswith(codecs.BOM_UTF8):
        return text
    if b"\0" in data:
        return text
    if stated and _is_read(stated):
        decoded = _as_stated(data, stated, name)
        if isinstance(decoded, Decoded):
            return decoded
        return _detected(data) or decoded
    return _detected(data) or text


def codec_name(label: str) -> str | None:
    """Python's name of the encoding that a label means, or None: `latin1` is read as cp1252, as browsers do."""
    try:
        found = codecs.lookup(label.strip().strip("'\""))
    except (LookupError, ValueError):
        return None
    # base64, rot13 and their like are no encodings of text; UTF-7 hides markup from whoever looks for it.
    if not found._is_text_encoding or found.name in (
        "utf-7",
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
    ):
        return None
    return _READ_AS.get(found.name, found.name)


def confidence(text: str, encoding: str) -> float:
    """How well a text fits the encoding that it was decoded from, 0 to 1; 0 if too little of it is beyond ASCII."""
    rare = [at for at, char in enumerate(text) if char > "\x7f"][:_LOOKED_AT]
    fits = _fits(encoding)
    if fits is None or len(rare) < EVIDENCE:
        return 0.0
    if sum(text[at].isupper() for at in rare) > sum(text[at].islower() for at in rare):
        return 0.0  # KOI8 and Windows-1251 have each other's small letters where their capitals are
    return sum(text[at] in _SIGNS or fits(text, at) for at in rare) / len(rare)


def _is_read(label: str) -> bool:
    name = codec_name(label)
    return name is not None and name != "utf-8"


def _as_stated(data: bytes, label: str, name: str) -> Decoded | Skipped:
    encoding = codec_name(label) or label
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        return Skipped("not in the encoding it states", f"{name}: no {encoding} at byte {error.start}")
    if not _CONTROLS.isdisjoint(text):
        return Skipped("not in the encoding it states", f"{name}: control characters if read as {encoding}")
    if encoding in ("utf-16", "utf-32") and len(data.translate(None, _ASCII)) < _ASCII_SHARE * len(data):
        return Skipped("not in the encoding it states", f"{name}: ASCII behind a mark of {encoding}")
    return Decoded(text, encoding) if text.strip() else Skipped("empty", name)


def _detected(data: bytes) -> Decoded | None:
    from resiliparse.parse.encoding import detect_encoding

    proposed = codec_name(detect_encoding(data, html5_compatible=False) or "")
    if proposed is None:
        return None
    try:
        text = data.decode(proposed)
    except UnicodeDecodeError:
        return None
    if not _CONTROLS.isdisjoint(text) or confidence(text, proposed) < CONFIDENCE:
        return None
    return Decoded(text, proposed)


def _fits(encoding: str) -> Callable[[str, int], bool] | None:
    if encoding in _DAILY:
        charset, first = _DAILY[encoding]
        return lambda text, at: _is_daily(text[at], charset, first)
    script = _SCRIPT_OF.get(encoding)
    if script == "LATIN":
        return _in_latin_word
    if script is not None:
        return lambda text, at: _in_word_of(script, text, at)
    return None


def _is_daily(char: str, charset: str, first: range) -> bool:
    try:
        return char.encode(charset)[0] in first
    except UnicodeEncodeError:
        return False


def _in_latin_word(text: str, at: int) -> bool:
    """A letter at most two places from a letter of ASCII in its word ("větší"), not a capital after a small one."""
    if not text[at].isalpha() or (text[at].isupper() and text[at - 1 : at].islower()):
        return False
    before, after = text[max(at - 2, 0) : at][::-1], text[at + 1 : at + 3]
    if not (before[:1] + after[:1]).strip():
        return True  # a word of one letter
    return any(
        _is_ascii_letter(side[:1]) or (side[:1].isalpha() and _is_ascii_letter(side[1:]))
        for side in (before, after)
    )


def _in_word_of(script: str, text: str, at: int) -> bool:
    """A letter or mark of the script, not beside one of ASCII, and no capital after a small letter."""
    if not unicodedata.name(text[at], "").startswith(script):
        return False
    if _is_ascii_letter(text[at - 1 : at]) or _is_ascii_letter(text[at + 1 : at + 2]):
        return False
    return not (text[at].isupper() and text[at - 1 : at].islower())


def _is_ascii_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()

"""Telephone numbers, cautiously: in the international form, in the common national ones, and any after "tel." """

from __future__ import annotations

import re
from collections.abc import Iterator

_SIGNS = r"[ .\-/()]{0,2}"
_END = r"(?!\w|[.,:\-/][0-9])"
_FORMS = tuple(
    re.compile(form + _END)
    for form in (
        # +1 202 555 0143 has eleven digits, numbers of other countries ten to fifteen
        rf"(?<![\w+=)])\+1(?:{_SIGNS}[0-9]){{10}}",
        rf"(?<![\w+=)])\+[2-9](?:{_SIGNS}[0-9]){{9,14}}",
        rf"(?<![\w.,:+\-/])00[1-9](?:{_SIGNS}[0-9]){{8,13}}",
        # (202) 555-0143, 202-555-0143, 202.555.0143
        r"(?<![\w.,+\-/])(?:1[ .\-])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[.\-][0-9]{4}",
        r"(?<![\w.,+\-/])(?:1[ .\-])?[2-9][0-9]{2}(?P<sign>[.\-])[2-9][0-9]{2}(?P=sign)[0-9]{4}",
        # 020 7946 0958, 030/1234567, (0211) 123456, 01 23 45 67 89: after a zero, in groups
        r"(?<![\w.,:+\-/])(?:\(0[1-9][0-9]{0,3}\)|0[1-9][0-9]{0,3}(?![0-9]))[ .\-/]{1,2}[0-9]{2,8}"
        r"(?:(?P<sign>[ .\-])[0-9]{2,8}(?:(?P=sign)[0-9]{2,8}){0,3})?",
        # 138-1234-5678
        r"(?<![\w.,+\-/])1[3-9][0-9]-[0-9]{4}-[0-9]{4}",
    )
)
_ANY = re.compile(rf"[+(]{{0,2}}[0-9](?:{_SIGNS}[0-9]){{6,14}}" + _END)
_CUE = re.compile(
    r"(?:\b(?:t[ée]l|t[ée]l[ée]phone|tel[ée]fono?|telefone|telefon\w*|(?:tele)?phone|fax|mobile|m[óo]vil|handy|"
    r"whatsapp|call (?:us |me )?(?:at|on)|тел|телефон)|电话|電話|手机|هاتف|تلفن|फ़ोन|फोन)"
    r"(?:[ .]{1,2}(?:no|nr|number|is))?[\s.:：]{0,4}\Z",
    re.IGNORECASE,
)
_NO_CUE = re.compile(r"(?:isbn|issn|doi)\b[^\n]{0,8}\Z", re.IGNORECASE)


def phone_numbers(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of those in `text[start:end]`, a stretch of digits with the signs between them.

    Those kept free for stories (…-555-0100 to 0199) are none.
    """
    before = text[max(start - 24, 0) : start]
    if _NO_CUE.search(before):
        return
    named = before.rstrip("+(")
    first = start - len(before) + len(named)
    forms = (_ANY,) if _CUE.search(named) else ()
    for form in forms + _FORMS:
        for match in form.finditer(text, first, end + 2):
            if not _is_fictitious(match[0]) and (form is _ANY or _is_plausible(match[0])):
                yield match.start(), match.end()


def _is_plausible(number: str) -> bool:
    digits = sum(map(str.isdigit, number))
    if number.startswith("00"):
        return not number.isdigit()
    if number.lstrip("(").startswith("0"):
        return 10 <= digits <= 11 or (digits == 9 and "/" in number)
    return True


def _is_fictitious(number: str) -> bool:
    return re.sub("[^0-9]", "", number)[-7:-2] == "55501"

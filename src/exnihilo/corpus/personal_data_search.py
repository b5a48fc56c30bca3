"""Where a text has an e-mail address, a public IP address, an account, card or social security number, or a telephone
number.

Each search begins at what the kind can't do without, an at sign or a digit, so that text without costs next to nothing.
Checksums decide where there are any. What is fictitious already (example.com, documentation addresses, numbers kept
free for stories) is no finding, nor are private addresses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from exnihilo.corpus.phone_numbers import phone_numbers

Kind = Literal["email", "ip_address", "iban", "card", "ssn", "phone"]


@dataclass(frozen=True)
class PersonalDatum:
    """`text[start:end]` of a kind."""

    kind: Kind
    start: int
    end: int


_LOCAL_PART = re.compile(r"[\w%+'-][\w.%+'-]{0,63}\Z")
_GENERIC = (
    "com|org|net|edu|gov|mil|int|info|biz|name|mobi|pro|app|dev|blog|email|online|shop|site|store|tech|xyz"
)
_MAIL_DOMAIN = re.compile(
    rf"(?:[^\W_](?:[\w-]{{0,61}}[^\W_])?\.){{1,8}}(?:[^\W\d_]{{2}}|{_GENERIC}|xn--[a-z0-9-]+)(?![\w-]|\.\w)",
    re.IGNORECASE,
)
_FICTITIOUS_DOMAIN = re.compile(r"(?:.*\.)?example\.(?:com|org|net)", re.IGNORECASE)

# Seven digits or more with at most three signs between two of them: what numbers of all kinds are found in.
_NUMBER = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6,}")
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}(?<![\w:.].{4}):[0-9A-Fa-f:]{2,34}(?!\w|:\w)")
_VERSION_BEFORE = re.compile(r"(?:\bv|\bver\.?|version|release|build|section|[^\W\d]/|§)\s*\Z", re.IGNORECASE)
_NUMBERING = (
    20  # four parts all below it are a section or a version; of all addresses one in 27,000 is like that
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])")

_CARD = re.compile(
    r"(?<![\w.,/=#+-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})"
    r"(?![\w-]|[.,][0-9])"
)
_CARD_PREFIX = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|3[068][0-9]{12}|(?:6011|65[0-9]{2}|64[4-9][0-9]|35[2-8][0-9])[0-9]{12}|62[0-9]{14,17}"
)

_IBAN = re.compile(r"[0-9]{2}(?<=[A-Z]{2}[0-9]{2})(?<!\w[A-Z]{2}[0-9]{2})(?:[ -]?[A-Z0-9]){11,30}")
_IBAN_LENGTH = {
    country: int(length)
    for country, length in re.findall(
        "([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18"
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20"
        "LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24"
        "SM27 TN24 TR26 UA29 VA22 XK20",
    )
}


def personal_data(text: str) -> list[PersonalDatum]:
    """What is found, in the text's order; where two overlap, the one of the surer kind."""
    found = list(_emails(text)) if "@" in text else []
    if re.search("[0-9]", text):
        found += _ipv6_addresses(text) if ":" in text else ()
        found += _ibans(text)
        for number in _NUMBER.finditer(text):
            found += _numbers(text, number.start(), number.end())
    if not found:
        return []
    taken = bytearray(len(text))
    kept = []
    for one in found:  # the surest kinds first
        if not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


def _emails(text: str) -> Iterator[PersonalDatum]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL_PART.search(text, max(at - 64, 0), at)
        domain = _MAIL_DOMAIN.match(text, at + 1)
        if local and domain and not _FICTITIOUS_DOMAIN.fullmatch(domain[0]):
            start, end = local.start(), domain.end()
            # Not the user of a URL, not `git@host:path`, not a product of matrices with a method behind it.
            if text[start - 1 : start] != "/" and not re.match(r":[\w~/]|\(", text[end : end + 2]):
                yield PersonalDatum("email", start, end)
        at = text.find("@", at + 1)


def _ipv6_addresses(text: str) -> Iterator[PersonalDatum]:
    for match in _IPV6.finditer(text):
        address = match[0] if match[0].endswith("::") else match[0].removesuffix(":")
        try:
            public = ipaddress.IPv6Address(address).is_global
        except ValueError:
            continue
        if public:
            yield PersonalDatum("ip_address", match.start(), match.start() + len(address))


def _ibans(text: str) -> Iterator[PersonalDatum]:
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = _IBAN_LENGTH.get(text[start : start + 2], 0)
        letters = [i for i in range(start, match.end()) if text[i].isalnum()][:length]
        if len(letters) < max(length, 1) or text[letters[-1] + 1 : letters[-1] + 2].isalnum():
            continue
        iban = "".join(text[i] for i in letters)
        if int("".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])) % 97 == 1:
            yield PersonalDatum("iban", start, letters[-1] + 1)


def _numbers(text: str, start: int, end: int) -> Iterator[PersonalDatum]:
    """Those in a stretch of digits and the signs between them."""
    stretch = slice(max(start - 2, 0), end + 2)  # the signs beside it decide, too
    for match in _matches(_IPV4, text, stretch):
        if _is_public(match[0]) and not _VERSION_BEFORE.search(
            text[max(match.start() - 12, 0) : match.start()]
        ):
            yield PersonalDatum("ip_address", match.start(), match.end())
    for match in _matches(_SSN, text, stretch):
        yield PersonalDatum("ssn", match.start(), match.end())
    for match in _matches(_CARD, text, stretch):
        digits = re.sub("[^0-9]", "", match[0])
        if _CARD_PREFIX.fullmatch(digits) and _luhn(digits):
            yield PersonalDatum("card", match.start(), match.end())
    for first, last in phone_numbers(text, start, end):
        yield PersonalDatum("phone", first, last)


def _matches(pattern: re.Pattern[str], text: str, where: slice) -> Iterator[re.Match[str]]:
    return pattern.finditer(text, where.start, where.stop)


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:  # above 255, or zeros before a number
        return False
    return parsed.is_global and not parsed.is_multicast and max(parsed.packed) >= _NUMBERING


def _luhn(digits: str) -> bool:
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[0::2]) + sum(sum(divmod(2 * value, 10)) for value in values[1::2])) % 10 == 0

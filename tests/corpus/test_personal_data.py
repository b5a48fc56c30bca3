"""Personal data found and left alone in cases written for it, and replaced the same way everywhere."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from exnihilo.corpus.personal_data import PersonalDataConfig, scrub
from exnihilo.corpus.personal_data_search import personal_data

ALL = PersonalDataConfig()


def check_digits(country: str, account: str) -> str:
    """An IBAN with the digits that make its checksum right."""
    number = "".join(str(int(letter, 36)) for letter in account + country + "00")
    return f"{country}{98 - int(number) % 97:02}{account}"


def with_luhn(digits: str) -> str:
    """A card number: the digits and the one that makes the doubled sum a multiple of ten."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if i % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return digits + str(-total % 10)


def grouped(text: str, size: int = 4, sign: str = " ") -> str:
    return sign.join(text[i : i + size] for i in range(0, len(text), size))


GERMAN = check_digits("DE", "370400440999013000")
BRITISH = check_digits("GB", "ABCD12345600765432")
VISA = with_luhn("453914880343644")
MASTER = with_luhn("550000555555559")
NEW_MASTER = with_luhn("222300004840001")
AMEX = with_luhn("37144963539843")

# What is between « and » is personal.
FOUND = {
    "email": [
        "Write to «maria.lopez@correo-sur.es» for more.",
        "mailto:«j.o'hara@mail.lough.ie»?subject=hi",
        "<«a_b-c+news@sub.domain.co.uk»>",
        "«THE.BOSS@BIGCORP.COM», «the.other@bigcorp.com»; both.",
        "Контакт: «иван@почта.рф».",
        "Ends with it: «x9@uni-n.edu».",
        "(«info@stadtwerke-h.info»)",
        'href="mailto:«web@nordwind.org»"',
        "«first@second.io»\n«third@fourth.dev»",
    ],
    "ip_address": [
        "Login from «84.23.117.9» failed",
        "http://«151.101.65.140»:8080/x",
        "[«203.119.8.111»]",
        "from «2a00:1450:4001:82b::200e» port 22",
        "AAAA «2606:4700:10::6816:1a2b».",
        "«91.198.174.192», «91.198.174.193»",
    ],
    "iban": [
        f"IBAN: «{GERMAN}»",
        f"«{grouped(GERMAN)}» AND MORE",
        f"to {GERMAN[:2].lower()} or «{grouped(BRITISH)}».",
        f"«{grouped(check_digits('FR', '20041010050500013M02606'))}»",
        f"(«{check_digits('NO', '86011117947')}»)",
    ],
    "card": [
        f"Card «{VISA}» exp 12/27",
        f"«{grouped(VISA)}»",
        f"«{grouped(MASTER, sign='-')}», thanks",
        f"«{NEW_MASTER}»",
        f"amex «{AMEX[:4]} {AMEX[4:10]} {AMEX[10:]}»",
    ],
    "ssn": ["SSN «123-45-6789»", "his number («078-05-1120») was printed"],
    "phone": [
        "Call «+1 202-456-1414» now",
        "«+44 20 7946 1234», weekdays",
        "«+44 (0)20 7946 1234»",
        "«+49 (0) 211 1234567»",
        "«+4915112345678»",
        "«0049 30 1234567»",
        "«+33 1 23 45 67 89»",
        "«+86 138 1234 5678»",
        "«+7 (495) 123-45-67»",
        "«(202) 456-1414»",
        "«202-456-1414» or «202.456.1415»",
        "«1-800-456-1414»",
        "(«030 12345678»)",
        "«0211/1234567»",
        "«01 23 45 67 89»",
        "«020 7946 1234»",
        "«07911 123456»",
        "«03-1234-5678»",
        "«0212 123 45 67»",
        "«138-1234-5678»",
        "Tel.: «912 345 678»",
        "Telefon «123 45 67»",
        "тел. «8 (495) 123-45-67»",
        "电话：«13812345678»",
        "call us at «555 123 4567»",
    ],
}
LEFT = [
    "version 10.24.117.91 is out",
    "Chrome/91.0.4472.124 and Firefox/89.123.45.67",
    "v2.30.12.44",
    "see 3.1.4.2 and section 12.30.45.61",
    "localhost 127.0.0.1, 10.20.30.40, 192.168.178.20, 172.16.99.1, 169.254.1.90",
    "documentation 192.0.2.55, 198.51.100.7, 203.0.113.9 and 2001:db8::17",
    "0.0.0.0, 255.255.255.0, 224.0.0.251",
    "256.300.12.80 and 1.2.3 and 1.2.3.400.5",
    "12:30:45, 2024:01:02, fe80::1ff:fe23:4567:890a, std::vec, 2001:not:an:address",
    "00:1A:2B:3C:4D:5E",
    "2001:2002:2003:2004:2005:2006:2007:2008:2009:200a",  # ten groups, not eight
    "user@example.com, me@mail.example.org, nobody@host.invalid, root@localhost",
    "git@github.com:owner/name.git and https://token@github.com/x",
    "@property\ndef f(self): return A@B.T @ x",
    "y = x@w.to(device)",
    "icon@2x.png, lodash@4.17.21, @handle, a @ b.com",
    "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, ISBN-13: 978 0 306 40615 7, ISSN 0378-5955",
    "3.14159265358979, 0.0012345678901, 1e-10, 2.718281828459045",
    "1,234,567.89 and 1.234.567,89 and 12 345 678",
    "2024-01-02, 01.02.2024, 01/02/2024, 2024-01-02T03:04:05.678901Z, 20240102030405",
    "01-02-2024 1200 and 03.04.2024 10.30",
    "1999-2003, 1914-1918, pages 1234-1245",
    "population 83 200 000, budget +20 000 000",
    "id 4539148803436468, order 1234567890123",  # no checksum holds
    f"https://site.example/status/{VISA} and id={VISA} and #{VISA}",
    f"{VISA}0123 and 0.{VISA}",
    f"{GERMAN[:-1]}8" if GERMAN[-1] != "8" else f"{GERMAN[:-1]}7",
    f"X{GERMAN} and {GERMAN}5",
    "000-12-3456, 666-12-3456, 912-34-5678, 123-00-4567, 123-45-0000, 1123-45-6789, 123-45-67890",
    "Boston, MA 02134-1234",
    "doi 10.1000/182 and arXiv:2112.11446 and 10.1109/5.771073",
    "+1 202 555 0143, (415) 555-0100, 202-555-0199",
    "123-456-7890",  # no area code begins with 1
    "0x7ffe1234abcd, deadbeef12345678, 550e8400-e29b-41d4-a716-446655440000",
    "1 2 3 4 5 6 7 8 9 10 11 12",
    "0.12 0.34 0.56 0.78 0.90 0.11",
    "007, 00 12, 0800",
    "x = 12345678 + 87654321 - 1234567",
    "1500000000 and 1500000000123 seconds",
    "call 1000000 times",
    "8.8.8.8 and 1.1.1.1",
    "RFC 2119, PEP 484, 3-2-1, 24/7, 9/11, 50/50",
    "tracking 1Z999AA10123456784",
    "The hotel 1234567 had 12345678 guests",
]
CASES = [(kind, text) for kind, texts in FOUND.items() for text in texts]


def marked(case: str) -> tuple[str, list[str]]:
    """The text without the marks, and what they held."""
    pieces = case.replace("»", "«").split("«")
    return "".join(pieces), pieces[1::2]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_found(kind: str, case: str) -> None:
    text, expected = marked(case)
    assert [(one.kind, text[one.start : one.end]) for one in personal_data(text)] == [
        (kind, match) for match in expected
    ]


@pytest.mark.parametrize("text", LEFT)
def test_left_alone(text: str) -> None:
    assert [text[one.start : one.end] for one in personal_data(text)] == []


def test_what_replaces_is_fictitious_and_found_no_more() -> None:
    for _, case in CASES:
        text, expected = marked(case)
        scrubbed = scrub(text, ALL)
        assert scrubbed.counts.total() == len(expected)
        assert not any(match in scrubbed.text for match in expected)
        assert scrub(scrubbed.text, ALL) == type(scrubbed)(scrubbed.text, Counter())


def test_replacements_do_not_depend_on_what_came_before() -> None:
    cases = [marked(case)[0] for _, case in CASES]
    alone = [scrub(text, ALL).text for text in cases]
    assert [scrub(text, ALL).text for text in reversed(cases)][::-1] == alone
    assert scrub("\n".join(cases), ALL).text.startswith("\n".join(alone[:4]))
    assert scrub(f"{VISA} {grouped(VISA)}", ALL).text[:19] == scrub(grouped(VISA), ALL).text
    different = {scrub(f"reader{i}@nordwind.org", ALL).text for i in range(300)}
    assert len(different) > 250


def test_only_the_kinds_asked_for() -> None:
    text = "a.b@nordwind.org, 84.23.117.9"
    assert scrub(text, PersonalDataConfig(kinds=["ip_address"])).text.startswith("a.b@nordwind.org, ")
    assert scrub(text, PersonalDataConfig(kinds=[])).text == text


def test_real_texts_hardly_change(data: Path) -> None:
    with gzip.open(data / "text" / "brown.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    found = [text[one.start : one.end] for text in texts for one in personal_data(text)]
    assert found == []  # of 1961, with many numbers and no personal ones

"""Personal data replaced by what is obviously fictitious: addresses at example.com, addresses and numbers kept free for
documentation and stories.

Which replacement a match gets depends on its hash alone, so it is the same in every text, shard and run; and there are
so few of each kind that none gives its match away. Replaced text holds nothing more to replace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import xxhash
from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.corpus.personal_data_search import Kind, personal_data


class PersonalDataConfig(Config):
    """What is replaced."""

    kinds: list[Kind] = Field(
        default=list(get_args(Kind)),
        description="kinds of personal data that are replaced; none turns the step off",
        json_schema_extra=why(
            "all that can be told by their form; names and street addresses can't", example="email,ip_address"
        ),
    )


@dataclass(frozen=True)
class Scrubbed:
    """A text after replacement, and how many of each kind there were."""

    text: str
    counts: Counter[str]


def scrub(text: str, config: PersonalDataConfig) -> Scrubbed:
    """Replace the personal data of the kinds asked for."""
    parts, done = [], 0
    counts: Counter[str] = Counter()
    for one in personal_data(text):
        if one.kind in config.kinds:
            parts += [text[done : one.start], _replacement(one.kind, text[one.start : one.end])]
            done = one.end
            counts[one.kind] += 1
    return Scrubbed("".join([*parts, text[done:]]) if parts else text, counts)


def _replacement(kind: Kind, match: str) -> str:
    form: Callable[[int], str] = {
        "email": lambda n: f"person{n % 1000}@example.{('com', 'org', 'net')[n // 1000 % 3]}",
        "ip_address": _ipv6_address if ":" in match else _ipv4_address,
        "iban": lambda n: f"XX00 TEST 0000 0000 {n % 10_000:04}",
        "card": lambda n: f"0000 0000 0000 {n % 10_000:04}",
        "ssn": lambda n: f"987-65-432{n % 10}",  # 4320 to 4329 are set aside for advertisements
        "phone": lambda n: f"+1 202 555 01{n % 100:02}",
    }[kind]
    # A number is the same however it is grouped, an address in either case.
    spoken = "".join(character for character in match.lower() if character.isalnum() or character in ".@:")
    return form(xxhash.xxh3_64_intdigest(f"{kind} {spoken}".encode()))


def _ipv4_address(n: int) -> str:
    """One of RFC 5737."""
    return f"{('192.0.2', '198.51.100', '203.0.113')[n // 254 % 3]}.{n % 254 + 1}"


def _ipv6_address(n: int) -> str:
    """One of RFC 3849."""
    return f"2001:db8::{n % 0x10000:x}"

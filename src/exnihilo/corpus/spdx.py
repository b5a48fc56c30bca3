"""The licence that a licence file holds, by sentences which no other of the common licences has."""

from __future__ import annotations

import re

# The words of a title, looked for where titles stand, and of the body. All words of an entry must be there.
# Which version of a GNU licence is meant, "only" or "or later", its text does not say: "only" allows less.
_TITLES = {
    "AGPL-3.0-only": "gnu affero general public license version 3",
    "LGPL-3.0-only": "gnu lesser general public license version 3",
    "LGPL-2.1-only": "gnu lesser general public license version 2 1",
    "GPL-3.0-only": "gnu general public license version 3",
    "GPL-2.0-only": "gnu general public license version 2",
    "Apache-2.0": "apache license version 2 0",
    "MPL-2.0": "mozilla public license version 2 0",
    "CC0-1.0": "cc0 1 0 universal",
}
_BODIES = {
    "Unlicense": ("free and unencumbered software released into the public domain",),
    "MIT": (
        "permission is hereby granted free of charge to any person obtaining a copy",
        "the above copyright notice and this permission notice shall be included",
    ),
    "BSD-3-Clause": (
        "redistribution and use in source and binary forms",
        "to endorse or promote products derived",
    ),
    "BSD-2-Clause": (
        "redistribution and use in source and binary forms",
        "must retain the above copyright notice",
    ),
    "ISC": ("permission to use copy modify and or distribute this software for any purpose",),
}
_TITLE_WORDS = 60
_NAME = re.compile(r"(?:un)?licen[cs]e|copying", re.IGNORECASE)


def is_licence_file(name: str) -> bool:
    """Whether a file's name is a licence's: `LICENSE`, `LICENCE.md`, `COPYING`, `LICENSE-MIT` …"""
    return _NAME.match(name) is not None


def spdx_of(text: str) -> str | None:
    """The SPDX identifier of the licence in a text, or None: MIT, Apache-2.0, BSD, GPL, LGPL, AGPL, MPL-2.0 …"""
    words = re.findall(r"[a-z0-9]+", text.lower())
    title = " ".join(words[:_TITLE_WORDS])
    body = " ".join(words)
    found = {title.find(phrase): name for name, phrase in _TITLES.items() if phrase in title}
    if found:
        return found[min(found)]
    for name, phrases in _BODIES.items():
        if all(phrase in body for phrase in phrases):
            return name
    return None

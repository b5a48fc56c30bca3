"""Fenced blocks in replies."""

from __future__ import annotations

import re


def final_block(reply: str, *languages: str) -> str:
    """The last fenced block of a reply, marked with one of `languages` or with none; all of it where there is none."""
    marks = "|".join(languages)
    blocks: list[str] = re.findall(rf"```(?:{marks})?[^\S\n]*\n(.*?)(?:```|\Z)", reply, re.DOTALL)
    return blocks[-1] if blocks else reply

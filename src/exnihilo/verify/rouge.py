"""ROUGE-L: how much of a reference a text says, in the reference's order (Lin 2004)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, 0 to 1; case and punctuation do not count.

    On ASCII text it is that of the package `rouge_score` without its stemmer; letters of other scripts are words here,
    which that package drops.
    """
    said, wanted = (_WORD.findall(one.casefold()) for one in (text, reference))
    common = _longest_common(said, wanted)
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest sequence of words that stands in both, in this order, with gaps or without."""
    row = [0] * (len(b) + 1)
    for word in a:
        above = 0  # of the row before, one place to the left
        for place, other in enumerate(b, start=1):
            above, row[place] = row[place], above + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]

"""How many ids a tokenizer should have, from how much text there is."""

from __future__ import annotations

import math

_AT_ONE_MEGABYTE = 2048
_SMALLEST, _LARGEST = 512, 65536


def automatic_vocabulary(text_bytes: int) -> tuple[int, str]:
    """(vocabulary, reason in one line) for a corpus of so many bytes of UTF-8.

    Doubles with each tenfold of text: 2048 at 1 MB, 4096 at 10 MB, 8192 at 100 MB; a multiple of 64 from 512
    to 65536, the most that two bytes a token hold. The rule is a compromise of ours, not a law: a token must
    be seen often enough to be learned (in 14 MB of English the middle one of 4096 tokens occurs 330 times,
    one in twenty under 80 times), and in a model of a few million parameters a larger table would take most
    of them.
    """
    megabytes = max(text_bytes, 1) / 1e6
    wanted = _AT_ONE_MEGABYTE * 2 ** math.log10(megabytes)
    vocabulary = min(max(64 * round(wanted / 64), _SMALLEST), _LARGEST)
    reason = f"the corpus has {megabytes:.3g} MB; 2048 at 1 MB, doubled with each tenfold"
    return vocabulary, f"vocabulary {vocabulary}: {reason}"

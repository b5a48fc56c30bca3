"""A vocabulary of characters, with bytes for those it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, decoders, models

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.bpe import SMALLEST, new_tokenizer
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer

_SPACE_SIGN = "▁"
"""What stands for a space in vocabularies with bytes as `<0x0A>`; as a character it is left to its bytes."""


def train_characters(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """The most frequent characters (code points) of texts: special tokens, 256 bytes, then characters by falling count.

    A character that has no id is the bytes of its UTF-8, so that every text comes back. Ties go to the lower code
    point. The vocabulary is smaller where the text has fewer characters.

    Raises ConfigError for a vocabulary under 264, Refused for no text.
    """
    if vocabulary < SMALLEST:
        raise ConfigError(
            f"vocabulary: {vocabulary} is too small; special tokens and bytes alone are {SMALLEST}"
        )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    if not counts:
        raise Refused("no text to train a tokenizer on; look at what the corpus holds")
    del counts[_SPACE_SIGN]
    characters = sorted(counts, key=lambda character: (-counts[character], character))
    names = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *characters[: vocabulary - SMALLEST]]
    # BPE without a merge: each character by itself.
    backend = tokenizers.Tokenizer(
        models.BPE({name: i for i, name in enumerate(names)}, [], byte_fallback=True)
    )
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    return new_tokenizer(backend)

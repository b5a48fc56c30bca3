"""A vocabulary of whole words: what subwords are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.bpe import new_tokenizer
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer, bytes_of_token

UNKNOWN = "<|unk|>"
"""What a vocabulary without bytes has for everything that it lacks."""

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_LETTER = rf"[\p{{L}}\p{{M}}&&[^{_UNSPACED}]]"

# A word has the space before it, so that the text is its words put side by side. Abbreviations keep their points,
# compounds and contractions stay whole, numbers keep their commas; each sign, each further space and each character
# of a script without spaces is alone.
_WORD = (
    rf" ?{_LETTER}\.(?:{_LETTER}\.)+| ?{_LETTER}+(?:['’-]{_LETTER}+)*| ?\p{{N}}+(?:[.,]\p{{N}}+)*"
    rf"| ?[{_UNSPACED}]| ?[^\s\p{{L}}\p{{M}}\p{{N}}]|\r\n|\s"
)


def train_words(texts: Iterable[str], vocabulary: int, *, min_count: int = 2) -> Tokenizer:
    """The most frequent words of texts: special tokens, the unknown word, then words by falling count.

    A word seen fewer than `min_count` times is unknown, and is lost when ids are decoded; everything else comes back
    to the byte. Ties go to the word whose bytes come first.

    Raises ConfigError for a vocabulary without room for a word, Refused for no text and where no word is frequent
    enough.
    """
    fixed = len(SPECIALS) + 1
    if vocabulary <= fixed:
        raise ConfigError(f"vocabulary: {vocabulary} is too small; the first {fixed} ids are special tokens")
    cutter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in cutter.pre_tokenize_str(text))
    if not counts:
        raise Refused("no text to train a tokenizer on; look at what the corpus holds")
    known = [word for word, count in counts.items() if count >= min_count]
    if not known:
        raise Refused(f"no word occurs {min_count} times in the text; give more text or a lower min_count")
    known.sort(key=lambda word: (-counts[word], bytes_of_token(word)))
    names = [*SPECIALS, UNKNOWN, *known[: vocabulary - fixed]]
    backend = tokenizers.Tokenizer(
        models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN)
    )
    backend.pre_tokenizer, backend.decoder = cutter, decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in (*SPECIALS, UNKNOWN)]
    )
    return new_tokenizer(backend, UNKNOWN)

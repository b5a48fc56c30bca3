"""What a tokenizer makes of texts: how short they get, and what of the vocabulary they use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.tokenizer import Tokenizer

_BATCH = 256


@dataclass(frozen=True)
class Stats:
    """Counts over a set of texts; the ratios are of the sums. Special tokens take no part.

    `tokens_per_word` is the fertility, with words as space parts them: of little meaning in scripts without
    spaces. `byte_tokens` counts tokens that are one byte of a longer character: script that the vocabulary
    does not know; `byte_share` is their share of the tokens. `unused` are ids that no text needed, `longest`
    the longest tokens by bytes, the longest first.
    """

    texts: int
    bytes: int
    characters: int
    words: int
    tokens: int
    byte_tokens: int
    vocabulary: int
    special: int
    bytes_per_token: float
    tokens_per_character: float
    tokens_per_word: float
    byte_share: float
    unused: list[int]
    longest: list[str]


def stats(tokenizer: Tokenizer, texts: Iterable[str]) -> Stats:
    """Measure a tokenizer on texts. Raises Refused if they hold no text."""
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    number = size = characters = words = 0
    for batch in _batches(texts):
        for ids in tokenizer.encode_batch(batch):
            counts += np.bincount(np.asarray(ids, dtype=np.int64), minlength=tokenizer.vocab_size)
        number += len(batch)
        size += sum(len(text.encode("utf-8")) for text in batch)
        characters += sum(map(len, batch))
        words += sum(len(text.split()) for text in batch)
    if not size:
        raise Refused("no text to measure the tokenizer on; give texts that are not empty")
    table = tokenizer.token_bytes
    parts = [i for i, token in enumerate(table) if len(token) == 1 and token[0] >= 0x80]
    ordinary = [i for i, token in enumerate(table) if token]
    longest = sorted(ordinary, key=lambda i: (-len(table[i]), i))[:10]
    tokens, byte_tokens = int(counts.sum()), int(counts[parts].sum())
    return Stats(
        texts=number,
        bytes=size,
        characters=characters,
        words=words,
        tokens=tokens,
        byte_tokens=byte_tokens,
        vocabulary=tokenizer.vocab_size,
        special=len(tokenizer.special),
        bytes_per_token=size / tokens,
        tokens_per_character=tokens / characters,
        tokens_per_word=tokens / max(words, 1),
        byte_share=byte_tokens / tokens,
        unused=[i for i in ordinary if not counts[i]],
        longest=[tokenizer.decode([i]) for i in longest],
    )


def format_stats(measured: Stats) -> str:
    """Lines for people."""
    m = measured
    rows = [
        ("vocabulary", f"{m.vocabulary:,} ids, {m.special} of them special"),
        (
            "measured on",
            f"{m.texts:,} texts, {m.bytes:,} bytes, {m.characters:,} characters, {m.words:,} words",
        ),
        ("tokens", f"{m.tokens:,}"),
        ("bytes per token", f"{m.bytes_per_token:.3f}"),
        ("tokens per character", f"{m.tokens_per_character:.3f}"),
        ("tokens per word", f"{m.tokens_per_word:.3f}  (words as space parts them)"),
        ("single bytes", f"{m.byte_share:.2%} of tokens are one byte of a longer character"),
        ("unused", f"{len(m.unused):,} ids ({len(m.unused) / m.vocabulary:.1%}) do not occur in these texts"),
        ("longest tokens", " ".join(repr(token) for token in m.longest)),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    left = iter(texts)
    while batch := list(islice(left, _BATCH)):
        yield batch

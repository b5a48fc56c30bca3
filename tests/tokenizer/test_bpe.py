from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer import bpe
from exnihilo.tokenizer.bpe import SMALLEST, byte_tokenizer, train_tokenizer
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer


def test_the_order_of_ids_is_specials_then_bytes_then_merges(tokenizer: Tokenizer) -> None:
    assert list(tokenizer.special.items()) == [(name, i) for i, name in enumerate(SPECIALS)]
    assert sorted(tokenizer.token_bytes[8:264]) == [bytes([byte]) for byte in range(256)]
    assert all(len(token) > 1 for token in tokenizer.token_bytes[264:])


@pytest.mark.parametrize("vocabulary", [264, 265, 300, 777, 1024])
def test_the_vocabulary_has_exactly_the_size_asked_for(corpus: list[str], vocabulary: int) -> None:
    assert train_tokenizer(corpus, vocabulary).vocab_size == vocabulary


def test_a_text_with_few_pairs_gives_a_smaller_vocabulary() -> None:
    # "ab" twice is the one pair that repeats, " ab" the one that repeats after it is merged.
    tokenizer = train_tokenizer(["xyz ab ab"], 1000)
    assert [tokenizer.token_bytes[i] for i in range(SMALLEST, tokenizer.vocab_size)] == [b"ab", b" ab"]


def test_too_small_a_vocabulary_and_no_text_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="vocabulary: 263 is too small; special tokens and bytes alone are 264"
    ):
        train_tokenizer(["text"], 263)
    with pytest.raises(Refused, match="no text to train a tokenizer on"):
        train_tokenizer(["", ""], 300)


def reference_merges(words: dict[str, int], count: int) -> list[tuple[bytes, bytes]]:
    """The algorithm of arXiv 1508.07909 on bytes, by the book; raises where the best pair is not alone."""
    split = {tuple(bytes([byte]) for byte in word.encode()): n for word, n in words.items()}
    merges = []
    for _ in range(count):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for parts, n in split.items():
            for pair in pairwise(parts):
                pairs[pair] += n
        (best, most), (_, second) = pairs.most_common(2)
        assert most > second, "a tie: not a text to compare on"
        merges.append(best)
        merged = {}
        for parts, n in split.items():
            out: list[bytes] = []
            for part in parts:
                if out and (out[-1], part) == best:
                    out[-1] += part
                else:
                    out.append(part)
            merged[tuple(out)] = n
        split = merged
    return merges


def test_tok_5_merges_are_those_of_the_paper_on_text_without_ties() -> None:
    rng = random.Random(51)  # the first seed whose thirty merges have no ties
    words = {"".join(rng.choices("abcdeéß", k=rng.randrange(2, 7))): rng.randrange(1, 200) for _ in range(60)}
    text = "\n".join(word for word, n in words.items() for _ in range(n))
    expected = reference_merges(words, 30)
    tokenizer = train_tokenizer([text], SMALLEST + len(expected))
    assert [tokenizer.token_bytes[i] for i in range(SMALLEST, tokenizer.vocab_size)] == [
        a + b for a, b in expected
    ]


def test_tok_2_more_text_than_the_32_bit_counts_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bpe.MOST_BYTES == 2**31 - 1
    monkeypatch.setattr(bpe, "MOST_BYTES", 1000)
    train_tokenizer(["é" * 500], 300)
    with pytest.raises(Refused, match="give sample_bytes"):
        train_tokenizer(["é" * 500, "x"], 300)


TRAIN = """
import sys
from exnihilo.tokenizer.bpe import train_tokenizer
source = open(sys.argv[1], encoding="utf-8").read()
words = source.split(" ")
texts = [" ".join(words[i : i + 50]) for i in range(0, len(words), 50)]
train_tokenizer(reversed(texts) if sys.argv[3] == "reversed" else texts, 1500).save(sys.argv[2])
"""


def test_tok_3_the_file_depends_on_the_texts_alone(corpus: list[str], tmp_path: Path) -> None:
    """Neither on the hash seed, nor on the number of threads, nor on the order of the texts."""
    (tmp_path / "text").write_text("\n".join(corpus), encoding="utf-8")
    files = []
    for seed, threads, order in (("0", "1", "given"), ("77", "4", "given"), ("123", "2", "reversed")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(tmp_path / "text"), str(out), order],
            env=environment,
            check=True,
        )
        files.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert files[0] == files[1] == files[2]
    assert len(files[0]) == 4


def test_the_byte_tokenizer_has_no_merges(scripts: dict[str, str]) -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.vocab_size == SMALLEST
    for text in scripts.values():
        assert len(tokenizer.encode(text)) == len(text.encode())

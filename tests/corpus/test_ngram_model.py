"""The language model against plain Python; what is a probability; text against its own words in another order."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus import ngram_counts
from exnihilo.corpus.ngram_counts import Triples
from exnihilo.corpus.ngram_model import NgramModel

TEXTS = [
    "the cat sat on the mat and the dog sat on the cat",
    "The dog ate, the cat ran; the mat is on the dog.",
    "a cat and a dog and a mat",
    "the cat sat on the dog",
    "mat",
    "",
]


class Plain:
    """Interpolated Kneser-Ney with dictionaries."""

    def __init__(self, texts: list[str]) -> None:
        self.triples: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            words = ["<", "<", *self.words(text)]
            self.triples.update(zip(words, words[1:], words[2:], strict=False))
        self.pairs = Counter(gram[1:] for gram in self.triples)
        self.singles = Counter(pair[1:] for pair in self.pairs)

    @staticmethod
    def words(text: str) -> list[str]:
        return text.lower().replace(",", "").replace(";", "").replace(".", "").split()

    def chance(self, context: tuple[str, ...], word: str) -> float:
        grams = (self.singles, self.pairs, self.triples)[len(context)]
        once, twice = (sum(count == times for count in grams.values()) for times in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.75
        lower = self.chance(context[1:], word) if context else 1 / (len(self.singles) + 1)
        after = [count for gram, count in grams.items() if gram[:-1] == context]
        if not after:
            return lower
        return (max(grams[(*context, word)] - discount, 0) + discount * len(after) * lower) / sum(after)

    def perplexity(self, text: str) -> float:
        words = ["<", "<", *self.words(text)]
        surprise = [
            -math.log(self.chance((a, b), c)) for a, b, c in zip(words, words[1:], words[2:], strict=False)
        ]
        return math.exp(sum(surprise) / len(surprise)) if surprise else math.inf


@pytest.mark.parametrize("characters", [1, 1 << 20])
def test_as_plain_python_has_it(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_counts, "CHARACTERS", characters)  # texts one by one, or all at once
    new = [
        *TEXTS,
        "the mat ate the dog",
        "entirely new words",
        "cat entirely",
        "on the mat and a",
        "the the the",
    ]
    plain = Plain(TEXTS)
    assert NgramModel.of(TEXTS).perplexity(new).tolist() == [
        pytest.approx(plain.perplexity(text)) for text in new
    ]


def test_probabilities_add_up_to_one() -> None:
    model = NgramModel.of(TEXTS)
    words = sorted({word for text in TEXTS for word in Plain.words(text)} | {"unseen"})
    for context in ("the cat", "cat sat", "mat is", "never seen", "never the", ""):
        ends = Triples.of([f"{context} {word}" for word in words])
        last = np.append(np.diff(ends.text) != 0, True)
        assert model.probability(ends)[last].sum() == pytest.approx(1)


def test_the_order_of_the_texts_changes_nothing(tmp_path: Path) -> None:
    one, two = NgramModel.of(TEXTS), NgramModel.of(TEXTS[::-1])
    one.save(tmp_path / "one", note=[1])
    two.save(tmp_path / "two", note=[1])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again, stated = NgramModel.load(tmp_path / "one")
    assert again.perplexity(TEXTS).tolist() == one.perplexity(TEXTS).tolist()
    assert [again.perplexity([text])[0] for text in TEXTS] == one.perplexity(TEXTS).tolist()
    assert stated == {"note": [1]}


def test_words_in_another_order_are_more_perplexing(data: Path) -> None:
    with gzip.open(data / "text" / "wikitext2-valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        whole = [json.loads(line)["text"] for line in lines]
    texts = [text[i : i + 1000] for text in whole for i in range(0, len(text) - 1000, 1000)]
    known, new = texts[0::2], texts[1::2]
    model = NgramModel.of(known)
    draw = random.Random(1)
    shuffled = [" ".join(draw.sample(text.split(), len(text.split()))) for text in new]
    assert len(new) > 400
    assert (model.perplexity(shuffled) > model.perplexity(new)).mean() >= 0.99
    assert np.median(model.perplexity(known)) < 0.2 * np.median(model.perplexity(new))  # seen is not new


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no words"):
        NgramModel.of(["", "..."])
    path = tmp_path / "model"
    with pytest.raises(Refused, match="no whole language model"):
        NgramModel.load(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(Refused, match="no whole language model"):
        NgramModel.load(path)
    NgramModel.of(TEXTS).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(Refused, match="no whole language model"):
        NgramModel.load(path)

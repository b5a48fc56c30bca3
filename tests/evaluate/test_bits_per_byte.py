"""Bits per byte: by hand, whatever the windows, whatever else is in the batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exnihilo.core.documents import Document
from exnihilo.core.errors import ExnihiloError
from exnihilo.evaluate.bits_per_byte import score_documents, windows
from exnihilo.evaluate.results import text_scores
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer

BOS, EOS, A, B, E_ACUTE = range(5)


class Letters:
    """A tokenizer of three letters, one of two bytes."""

    bos, eos = BOS, EOS

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[{"a": A, "b": B, "é": E_ACUTE}[letter] for letter in text] for text in texts]


class Chain(nn.Module):
    """A model with known probabilities: the next token depends on the last one only."""

    def __init__(self, probabilities: Tensor, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(probabilities.log())
        self.config: Any = type("Shape", (), {"max_length": max_length, "vocab_size": len(probabilities)})

    def hidden(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[1] <= self.config.max_length
        return torch.eye(len(self.table))[tokens]

    def head(self, hidden: Tensor) -> Tensor:
        return hidden @ self.table


@pytest.fixture
def chain() -> Tensor:
    """The probabilities named here; what a token leaves is shared among its other followers."""
    known = {(BOS, A): 1 / 2, (A, B): 1 / 4, (B, EOS): 1 / 8, (B, E_ACUTE): 1 / 2, (E_ACUTE, EOS): 1 / 16}
    table = torch.zeros(5, 5)
    for (last, following), probability in known.items():
        table[last, following] = probability
    for row in table:
        row[row == 0] = (1 - row.sum()) / (row == 0).sum()
    return table


def score(model: Any, tokenizer: Any, *texts: str, stride: int | None = None) -> list[Any]:
    given = [Document(f"d{i}", text, "here", "CC0-1.0") for i, text in enumerate(texts)]
    return list(score_documents(model, tokenizer, given, stride=stride))


def test_eval_10_bits_per_byte_by_hand(chain: Tensor) -> None:
    """BOS is given, EOS is predicted, and bytes are those of the text in UTF-8."""
    ab, abé = score(Chain(chain, 8), Letters(), "ab", "abé")
    assert ab.bits == pytest.approx(1 + 2 + 3) and (ab.bytes, ab.tokens) == (2, 3)
    assert abé.bits == pytest.approx(1 + 2 + 1 + 4) and (abé.bytes, abé.tokens) == (4, 4)
    records = [{**vars(one), "bits": one.bits} for one in (ab, abé)]
    scores = text_scores(records, seed=0)
    # The ratio of the sums, not the mean of 6/2 and 8/4.
    assert scores["bits_per_byte"]["value"] == pytest.approx(14 / 6)
    assert scores["bits_per_byte"]["n"] == 2
    assert scores["loss"]["value"] == pytest.approx(14 * math.log(2) / 7)
    assert scores["perplexity"]["value"] == pytest.approx(4)


@pytest.mark.parametrize(("context", "stride"), [(2, 1), (3, 2), (4, 1), (5, 5), (64, 7)])
def test_windows_score_every_token_once_whatever_their_size(chain: Tensor, context: int, stride: int) -> None:
    text = "abéababééba"
    (whole,) = score(Chain(chain, 64), Letters(), text)
    (cut,) = score(Chain(chain, context), Letters(), text, stride=stride)
    assert cut.nats == pytest.approx(whole.nats, rel=1e-6) and cut.tokens == whole.tokens == len(text) + 1


@pytest.mark.parametrize("inputs", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("stride", [1, 3, 8])
def test_windows_cover_without_gap_and_with_context(inputs: int, stride: int) -> None:
    cut = windows(inputs, 8, stride)
    assert [i for w in cut for i in range(w.first, w.stop)] == list(range(inputs))
    assert all(w.stop - w.start <= 8 for w in cut)
    # Every later window is filled to the context, so a target has 8 - stride tokens before its own input.
    assert all(w.stop - w.start == 8 and w.first - w.start >= 8 - stride for w in cut[1:])


def test_a_decoder_sees_exactly_the_window(
    model: Decoder, tokenizer: Tokenizer, documents: list[Document]
) -> None:
    """Against one forward pass for each token, over the inputs that its window gives it."""
    document = documents[4]
    ids = [tokenizer.bos, *tokenizer.encode(document.text), tokenizer.eos]
    expected = 0.0
    with torch.no_grad():
        for window in windows(len(ids) - 1, model.config.max_length, 16):
            for t in range(window.first, window.stop):
                logits = model(torch.tensor([ids[window.start : t + 1]]))[0, -1]
                expected -= float(logits.log_softmax(-1)[ids[t + 1]])
    (found,) = score_documents(model, tokenizer, [document], stride=16)
    assert len(ids) > 2 * model.config.max_length
    assert found.nats == pytest.approx(expected, rel=1e-5)


def test_a_score_does_not_depend_on_the_other_documents(
    model: Decoder, tokenizer: Tokenizer, documents: list[Document]
) -> None:
    together = list(score_documents(model, tokenizer, documents))
    alone = [next(score_documents(model, tokenizer, [document])) for document in documents]
    assert [one.id for one in together] == [f"d{i}" for i in range(7)]
    assert [one.nats for one in together] == pytest.approx([one.nats for one in alone], rel=1e-6)


def test_a_special_token_in_the_text_is_text(model: Decoder, tokenizer: Tokenizer) -> None:
    (found,) = score(model, tokenizer, "a<|eos|>b")
    assert found.bytes == 9 and found.tokens == len(tokenizer.encode("a<|eos|>b")) + 1 > 4


def test_sources_are_also_scored_apart() -> None:
    records = [
        {"id": str(i), "source": source, "bytes": 10, "tokens": 5, "nats": bits * math.log(2), "bits": bits}
        for i, (source, bits) in enumerate([("docs", 10), ("docs", 30), ("code", 20)])
    ]
    scores = text_scores(records, seed=0)
    assert scores["bits_per_byte/docs"]["value"] == 2 and scores["bits_per_byte/docs"]["n"] == 2
    assert scores["bits_per_byte/code"]["value"] == 2
    assert "bits_per_byte/docs" not in text_scores(records[:2], seed=0)


def test_a_broken_model_is_refused_with_the_document_named(
    broken_model: Decoder, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ExnihiloError, match="document d0 no finite probability"):
        score(broken_model, tokenizer, "text")
